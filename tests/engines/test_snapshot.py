"""Locks and snapshot while others change the database's tables, wait for them, or cut connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MakeDatabase, Sql, connect
from tests.logical import backup, bring_back, contents

from dbtool.catalog.repository import Repository
from dbtool.engines.base import SourceOptions
from dbtool.engines.postgres import snapshot as snapshot_module
from dbtool.engines.postgres.dump import PostgresSource
from dbtool.engines.postgres.reader import CopyReader
from dbtool.engines.postgres.snapshot import HeldSnapshot
from dbtool.errors import BusyError, DbtoolError
from dbtool.model.backup import Status
from dbtool.model.connection import Connection
from dbtool.progress import Silent
from dbtool.rows import tally_lines
from dbtool.servers.postgres import PostgresServer
from dbtool.storage.local import LocalStore


@pytest.fixture
def filled(database: Connection, sql: Sql) -> Connection:
    """Two tables of a hundred rows."""
    sql(database, "CREATE TABLE a AS SELECT generate_series(1, 100) AS n; CREATE TABLE b AS SELECT n FROM a")
    return database


@pytest.fixture
def copy(postgres_server: PostgresServer, make_database: MakeDatabase) -> Connection:
    """An empty database beside it."""
    return make_database(postgres_server)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch, sql: Sql) -> Callable[..., list[str]]:
    """`between(connection, statements)` runs them once, between listing the tables and locking them."""

    def arrange(connection: Connection, *statements: str, place: str = "listed") -> list[str]:
        left = list(statements)
        reached: list[str] = []

        def reach(name: str) -> None:
            reached.append(name)
            if name == place and left:
                sql(connection, left.pop(0))

        monkeypatch.setattr(snapshot_module, "reach", reach)
        return reached

    return arrange


def held(connection: Connection, lock_timeout_seconds: float = 10.0) -> HeldSnapshot:
    return HeldSnapshot(connection, lock_timeout_seconds)


def rows_of(snapshot: HeldSnapshot) -> dict[str, int]:
    """What the snapshot shows, by table."""
    found = {}
    for table in snapshot.tables:
        query = f'SELECT count(*) FROM "{table.schema}"."{table.name}"'
        found[table.name] = snapshot.session.execute(query.encode()).fetchone()[0]  # type: ignore[index]
    return found


@pytest.mark.parametrize(
    ("statement", "expected", "attempts"),
    [
        ("TRUNCATE a", {"a": 0, "b": 100}, 1),
        ("ALTER TABLE a ALTER n TYPE bigint", {"a": 100, "b": 100}, 1),
        ("DROP TABLE a", {"b": 100}, 2),
        ("CREATE TABLE c AS SELECT 1 AS n", {"a": 100, "b": 100, "c": 1}, 2),
        ("ALTER TABLE a RENAME TO z; CREATE TABLE a (n int)", {"a": 0, "b": 100, "z": 100}, 2),
        (
            "CREATE TABLE new AS SELECT 1 AS n; ALTER TABLE a RENAME TO old; ALTER TABLE new RENAME TO a",
            {"a": 1, "b": 100, "old": 100},
            2,
        ),
        ("ALTER TABLE a RENAME TO tmp; ALTER TABLE b RENAME TO a; ALTER TABLE tmp RENAME TO b", None, 1),
        ("DROP TABLE a; CREATE VIEW a AS SELECT 1 AS n", {"b": 100}, 1),
        ("CREATE SCHEMA s; ALTER TABLE a SET SCHEMA s", {"a": 100, "b": 100}, 2),
        ("DELETE FROM a WHERE n > 10", {"a": 10, "b": 100}, 1),
    ],
)
def test_what_happens_between_listing_and_locking(
    filled: Connection,
    between: Callable[..., list[str]],
    statement: str,
    expected: dict[str, int] | None,
    attempts: int,
) -> None:
    """The snapshot is as of after the change, and no table looks emptier than it is."""
    reached = between(filled, statement)
    snapshot = held(filled)
    try:
        assert rows_of(snapshot) == (expected or {"a": 100, "b": 100})
        assert reached.count("listed") == attempts
    finally:
        snapshot.close()


def test_a_table_that_is_locked_cannot_be_truncated_any_more(
    filled: Connection, between: Callable[..., list[str]]
) -> None:
    with pytest.raises(Exception, match="lock timeout"):  # noqa: PT012
        between(filled, "SET lock_timeout = '200ms'; TRUNCATE a", place="locked")
        held(filled)


def test_a_table_made_after_the_locks_is_not_in_the_snapshot_or_begins_it_anew(
    filled: Connection, between: Callable[..., list[str]]
) -> None:
    reached = between(filled, "CREATE TABLE c AS SELECT 1 AS n", place="locked")
    snapshot = held(filled)
    try:
        assert rows_of(snapshot) == {"a": 100, "b": 100, "c": 1}
        assert reached.count("locked") == 2
    finally:
        snapshot.close()


def test_tables_that_change_all_the_time_end_in_an_error(
    filled: Connection, between: Callable[..., list[str]]
) -> None:
    between(filled, *(f"CREATE TABLE new_{number} (n int)" for number in range(20)))
    with pytest.raises(BusyError, match="no lock on all of them") as caught:
        held(filled, 0.01)
    assert "migration" in str(caught.value.hint)


@contextmanager
def locked(connection: Connection, statement: str) -> Iterator[Any]:
    with connect(connection) as holder:
        holder.execute("BEGIN")
        holder.execute(statement.encode())
        yield holder
        holder.execute("ROLLBACK")


def test_a_lock_that_is_not_given_names_the_table(filled: Connection) -> None:
    began = time.monotonic()
    with (
        locked(filled, "LOCK TABLE b IN ACCESS EXCLUSIVE MODE"),
        pytest.raises(
            BusyError, match=r"public\.b is locked by somebody else, for longer than 1 s"
        ) as caught,
    ):
        held(filled, 1.0)
    assert 0.8 < time.monotonic() - began < 5
    assert "-lock-timeout" in str(caught.value.hint)


def test_a_lock_that_is_given_in_time_is_waited_for(filled: Connection) -> None:
    with locked(filled, "LOCK TABLE b IN ACCESS EXCLUSIVE MODE") as holder:
        timer = threading.Timer(0.5, lambda: holder.execute("COMMIT"))
        timer.start()
        held(filled, 20.0).close()
        timer.join()


def test_timeouts_of_the_database_do_not_end_it(filled: Connection, sql: Sql, tmp_path: Path) -> None:
    for setting in ("idle_in_transaction_session_timeout", "statement_timeout", "lock_timeout"):
        sql(filled, f"ALTER DATABASE \"{filled.database}\" SET {setting} = '300ms'")
    snapshot = held(filled)
    try:
        time.sleep(0.8)
        snapshot.session.execute("SELECT pg_sleep(0.5)")
        snapshot.check()
        assert rows_of(snapshot) == {"a": 100, "b": 100}
    finally:
        snapshot.close()


# Somebody waits for a lock that the backup holds


@contextmanager
def waiting_for_exclusive_lock(connection: Connection, table: str) -> Iterator[None]:
    """Somebody queues for an exclusive lock, and everybody else behind him."""

    def wait() -> None:
        with connect(connection) as session:
            session.execute("SET lock_timeout = '60s'")
            session.execute("BEGIN")
            session.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
            session.execute("ROLLBACK")

    thread = threading.Thread(target=wait)
    thread.start()
    query = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND database = "
    query += "(SELECT oid FROM pg_database WHERE datname = current_database())"
    with connect(connection) as session:
        while session.execute(query.encode()).fetchone() is None:
            time.sleep(0.02)
    yield
    thread.join()


def test_a_chunk_of_such_a_table_comes_from_the_holder_of_the_locks(filled: Connection) -> None:
    source = PostgresSource(filled, SourceOptions(), Silent())
    closed = False
    try:
        list(source.before_data())  # pg_dump is done
        chunks = source.chunks()
        assert [source.tables[chunk.table].name for chunk in chunks] in (["a", "b"], ["b", "a"])
        with waiting_for_exclusive_lock(filled, "a"):
            reader = source.open_reader()
            found = {
                source.tables[chunk.table].name: [
                    (block.rows, bytes(block.text)) for block in reader.read(chunk)
                ]
                for chunk in chunks
            }
            reader.close()
            assert found["a"] == []
            assert [rows for rows, _ in found["b"]] == [100]
            (handed_back,) = source.leftovers()
            (block,) = (
                (block.rows, block.digest, bytes(block.text))
                for block in source.leftover_reader().read(handed_back)
            )
            text = "".join(f"{n}\n" for n in range(1, 101)).encode()
            assert block[:2] == tally_lines(text)[:2]
            assert text in block[2]
            list(source.after_data())
            source.close()
            closed = True
    finally:
        if not closed:
            source.close()


def test_a_whole_backup_while_somebody_waits(
    filled: Connection, copy: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PostgresSource.chunks
    waiting: list[Any] = []

    def chunks(self: PostgresSource) -> Any:
        found = real(self)
        self._schema.result()
        queue = waiting_for_exclusive_lock(filled, "a")
        queue.__enter__()
        waiting.append(queue)
        return found

    monkeypatch.setattr(PostgresSource, "chunks", chunks)
    metadata = backup(filled, tmp_path)
    waiting[0].__exit__(None, None, None)
    assert {table.name: table.rows for table in metadata.tables} == {"a": 100, "b": 100}
    bring_back(tmp_path, copy)
    assert contents(copy) == contents(filled)


def test_pg_dump_waits_no_longer_than_it_may(filled: Connection, tmp_path: Path) -> None:
    """It has no locks yet when somebody queues for one: it would wait for him, and he for us."""
    real = HeldSnapshot._hold
    waiting: list[Any] = []

    def hold(self: HeldSnapshot) -> None:
        real(self)
        waiting.append(waiting_for_exclusive_lock(filled, "a"))
        waiting[-1].__enter__()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeldSnapshot, "_hold", hold)
        with pytest.raises(BusyError, match=r"exclusive lock on public\.a,") as caught:
            backup(filled, tmp_path, lock_timeout_seconds=1.0)
    waiting[0].__exit__(None, None, None)
    assert "-lock-timeout" in str(caught.value.hint)


# Connections that are cut


def end_sessions(connection: Connection, application: str) -> None:
    with connect(connection) as session:
        session.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = %s",
            (application,),
        )


@pytest.mark.parametrize("place", ["schema-written", "rows-read"])
def test_a_backup_without_its_holder_fails(
    filled: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    def reach(name: str) -> None:
        if name == place:
            end_sessions(filled, "dbtool backup snapshot")

    monkeypatch.setattr("dbtool.operations.backup.reach", reach)
    monkeypatch.setattr("dbtool.engines.postgres.dump.reach", reach)
    with pytest.raises(DbtoolError) as caught:
        backup(filled, tmp_path)
    assert "\n" not in caught.value.message
    (known,) = Repository(LocalStore(tmp_path)).all()
    assert known.status is Status.FAILED


def test_a_backup_without_a_reader_fails(
    filled: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CopyReader.read

    def read(self: CopyReader, chunk: Any) -> Any:
        end_sessions(filled, "dbtool backup reader")
        return real(self, chunk)

    monkeypatch.setattr(CopyReader, "read", read)
    with pytest.raises(DbtoolError, match=r"connection to the server lost|terminat"):
        backup(filled, tmp_path, jobs=1)
    (known,) = Repository(LocalStore(tmp_path)).all()
    assert known.status is Status.FAILED


def test_a_server_that_dies_in_the_middle(tmp_path: Path, sql: Sql) -> None:
    with PostgresServer.start() as server:
        connection = server.connection()
        sql(
            connection,
            "CREATE TABLE big AS SELECT n, repeat('x', 900) AS t FROM generate_series(1, 60000) AS n",
        )
        real = CopyReader.read

        def read(self: CopyReader, chunk: Any) -> Any:
            for number, block in enumerate(real(self, chunk)):
                if number == 1:
                    server.crash()
                yield block

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(CopyReader, "read", read)
            with pytest.raises(DbtoolError) as caught:
                backup(connection, tmp_path)
        assert "\n" not in caught.value.message
    (known,) = Repository(LocalStore(tmp_path)).all()
    assert known.status is Status.FAILED
