"""One snapshot for all connections, while others write, change the database's tables, or are in the way."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.conftest import MakeDatabase, Sql, back_ticked, connect_mysql, start_mysql
from tests.engines.mysql.sources import opened, rows_by_chunk

from dbtool.engines.mysql import locks, plan
from dbtool.engines.mysql import snapshot as snapshot_module
from dbtool.engines.mysql.dump import MysqlSource
from dbtool.errors import BusyError, ConnectionFailedError, DbtoolError, RefusedError
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer

ACCOUNTS = 200
TOTAL = ACCOUNTS * 1000

WAYS = {
    "compared snapshots": (),
    "BACKUP STAGE": ("open_by_comparing",),
    "LOCK TABLES": ("open_by_comparing", "open_under_backup_stage"),
    "one connection": ("open_by_comparing", "open_under_backup_stage", "open_under_table_locks"),
}


@pytest.fixture(scope="session")
def logging_server() -> Iterator[MysqlServer]:
    """A MariaDB with a binary log."""
    with start_mysql("mariadb", {"log_bin": "binlog", "server_id": "1"}) as server:
        yield server


@pytest.fixture
def bank(logging_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql) -> Connection:
    """Two tables between which money moves: at any moment it is as much."""
    return fill_bank(make_mysql_database(logging_server), mysql_sql)


def fill_bank(connection: Connection, mysql_sql: Sql) -> Connection:
    values = ", ".join(f"({number}, 500)" for number in range(ACCOUNTS))
    mysql_sql(
        connection,
        [f"CREATE TABLE {name} (id int PRIMARY KEY, money int NOT NULL)" for name in ("a", "b")]
        + [f"INSERT INTO {name} VALUES {values}" for name in ("a", "b")],
    )
    return connection


@contextmanager
def moving_money(connection: Connection, pause: float = 0.0) -> Iterator[list[int]]:
    """Several threads move money all the time; gives how often it was moved."""
    stop = threading.Event()
    moved = [0] * 3

    def move(number: int) -> None:
        with connect_mysql(connection, autocommit=False) as session, session.cursor() as cursor:
            while not stop.is_set():
                time.sleep(pause)
                row = (moved[number] * 7 + number * 50) % ACCOUNTS
                cursor.execute(f"UPDATE a SET money = money - 1 WHERE id = {row}")
                cursor.execute(f"UPDATE b SET money = money + 1 WHERE id = {row}")
                session.commit()
                moved[number] += 1

    threads = [threading.Thread(target=move, args=(number,)) for number in range(len(moved))]
    for thread in threads:
        thread.start()
    try:
        yield moved
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def read_with_all(source: MysqlSource) -> int:
    """All money, where each table is read by another reader."""
    chunks = list(source.chunks())
    assert len(chunks) == 2
    total = 0
    readers = [source.open_reader() for _ in chunks]
    for reader, chunk in zip(readers, chunks, strict=True):
        for block in reader.read(chunk):
            text = bytes(block.text)[block.prefix_bytes :].decode()
            rows = [line for line in text.split("\n") if line.startswith("(")]
            total += sum(int(row.split(",")[1].strip(");")) for row in rows)
    for reader in readers:
        reader.close()
    return total


def block(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    def unavailable(*_: object) -> None:
        raise locks.UnavailableError("not in this test")

    for name in names:
        monkeypatch.setattr(locks, name, unavailable)


def check_consistent(connection: Connection, *methods: str, pause: float = 0.0) -> None:
    with moving_money(connection, pause) as moved:
        for _ in range(3):
            before = sum(moved)
            with opened(connection, lock_timeout_seconds=30.0) as source:
                assert source.snapshot.details["method"] in methods
                assert read_with_all(source) == TOTAL
                deadline = time.monotonic() + 20
                while sum(moved) == before and time.monotonic() < deadline:
                    time.sleep(0.01)  # it goes on meanwhile
            assert sum(moved) > before


@pytest.mark.parametrize("method", WAYS)
def test_connections_see_the_same(bank: Connection, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    block(monkeypatch, WAYS[method])
    check_consistent(bank, method, pause=0.003 if method == "compared snapshots" else 0)


def test_there_is_always_a_way(bank: Connection) -> None:
    check_consistent(bank, "compared snapshots", "BACKUP STAGE")


def test_without_a_binary_log(make_mysql_database: MakeDatabase, mysql_sql: Sql) -> None:
    with start_mysql("mariadb", {"skip_log_bin": None}) as server:
        connection = server.connection("bank")
        mysql_sql(server.connection(), "CREATE DATABASE bank")
        check_consistent(fill_bank(connection, mysql_sql), "BACKUP STAGE")


@pytest.mark.matrix
@pytest.mark.parametrize("method", ["FLUSH TABLES WITH READ LOCK", "LOCK TABLES", "one connection"])
def test_connections_see_the_same_on_mysql(
    mysql_server: MysqlServer,
    make_mysql_database: MakeDatabase,
    mysql_sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
) -> None:
    names = ("open_under_read_lock", "open_under_table_locks")
    block(monkeypatch, {"LOCK TABLES": names[:1], "one connection": names}.get(method, ()))
    check_consistent(fill_bank(make_mysql_database(mysql_server), mysql_sql), method)


@pytest.mark.matrix
def test_on_every_server(
    mysql_matrix_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql
) -> None:
    connection = fill_bank(make_mysql_database(mysql_matrix_server), mysql_sql)
    is_mariadb = mysql_matrix_server.flavour_name == "mariadb"
    expected = ("compared snapshots", "BACKUP STAGE") if is_mariadb else ("FLUSH TABLES WITH READ LOCK",)
    check_consistent(connection, *expected)


def test_where_the_snapshot_stands(bank: Connection, mysql_sql: Sql) -> None:
    mysql_sql(bank, "FLUSH BINARY LOGS")
    ((file, position, *_),) = mysql_sql(bank, "SHOW MASTER STATUS")
    ((gtid,),) = mysql_sql(bank, "SELECT @@gtid_binlog_pos")
    with opened(bank) as source:
        details = source.snapshot.details
        assert (details["binlog_file"], details["binlog_position"], details["gtid"]) == (file, position, gtid)
        assert source.snapshot.time.endswith("+00:00")
        assert source.server.identity


# ---- definitions that change meanwhile -------------------------------------------------------------


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch, mysql_sql: Sql) -> Callable[..., list[str]]:
    """`between(connection, place, statements…)` runs them, one at each time that place is reached."""

    def arrange(connection: Connection, place: str, *statements: str) -> list[str]:
        left = list(statements)
        reached: list[str] = []

        def reach(name: str) -> None:
            reached.append(name)
            if name == place and left:
                mysql_sql(connection, left.pop(0))

        monkeypatch.setattr(snapshot_module, "reach", reach)
        return reached

    return arrange


CHANGES = {
    "TRUNCATE a": {"a": 0, "b": ACCOUNTS},
    "DROP TABLE a": {"b": ACCOUNTS},
    "RENAME TABLE a TO z": {"b": ACCOUNTS, "z": ACCOUNTS},
    "RENAME TABLE a TO x, b TO a, x TO b": {"a": ACCOUNTS, "b": ACCOUNTS},
    "ALTER TABLE a ADD c int": {"a": ACCOUNTS, "b": ACCOUNTS},
    "ALTER TABLE a MODIFY money bigint": {"a": ACCOUNTS, "b": ACCOUNTS},
    "CREATE TABLE c AS SELECT * FROM a": {"a": ACCOUNTS, "b": ACCOUNTS, "c": ACCOUNTS},
    "CREATE OR REPLACE TABLE a (n int PRIMARY KEY)": {"a": 0, "b": ACCOUNTS},
}


@pytest.mark.parametrize("place", ["listed", "locked"])
@pytest.mark.parametrize("statement", CHANGES)
@pytest.mark.parametrize("method", ["compared snapshots", "LOCK TABLES"])
def test_a_change_while_it_begins(
    bank: Connection,
    monkeypatch: pytest.MonkeyPatch,
    between: Callable[..., list[str]],
    place: str,
    statement: str,
    method: str,
) -> None:
    block(monkeypatch, WAYS[method])
    reached = between(bank, place, statement)
    with opened(bank) as source:
        found = {name: sum(map(len, chunks)) for name, chunks in rows_by_chunk(source).items()}
        assert found == CHANGES[statement]
        for table in source.tables:
            if table.name == "a" and "ADD c" in statement:
                assert [column.name for column in table.columns] == ["id", "money", "c"]
    if "ADD c" not in statement:  # that one is seen by a snapshot, whether it was noticed or not
        assert reached.count("listed") >= 2


@pytest.mark.matrix
@pytest.mark.parametrize("statement", [text for text in CHANGES if "REPLACE" not in text])
def test_a_change_before_the_lock_on_mysql(
    mysql_server: MysqlServer,
    make_mysql_database: MakeDatabase,
    mysql_sql: Sql,
    between: Callable[..., list[str]],
    statement: str,
) -> None:
    connection = fill_bank(make_mysql_database(mysql_server), mysql_sql)
    between(connection, "listed", statement)
    with opened(connection) as source:
        found = {name: sum(map(len, chunks)) for name, chunks in rows_by_chunk(source).items()}
    assert found == CHANGES[statement]


@pytest.mark.matrix
def test_a_change_on_mysql_waits(
    mysql_server: MysqlServer,
    make_mysql_database: MakeDatabase,
    mysql_sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = fill_bank(make_mysql_database(mysql_server), mysql_sql)
    changer = threading.Thread(target=mysql_sql, args=(connection, "TRUNCATE a"))

    def reach(name: str) -> None:
        if name == "locked":
            changer.start()
            time.sleep(0.3)

    monkeypatch.setattr(snapshot_module, "reach", reach)
    with opened(connection) as source:
        assert changer.is_alive()
        assert {name: sum(map(len, chunks)) for name, chunks in rows_by_chunk(source).items()} == {
            "a": 200,
            "b": 200,
        }
        assert changer.is_alive()  # the readers' own locks hold it off
        made = threading.Thread(target=mysql_sql, args=(connection, "CREATE TABLE new (a int)"))
        made.start()
        made.join(10)
        assert not made.is_alive()  # all others may go on
    changer.join(10)
    assert not changer.is_alive()


def test_a_change_all_the_time(bank: Connection, monkeypatch: pytest.MonkeyPatch, mysql_sql: Sql) -> None:
    def reach(name: str) -> None:
        if name == "locked":
            mysql_sql(bank, "RENAME TABLE a TO x, b TO a, x TO b")

    monkeypatch.setattr(snapshot_module, "reach", reach)
    with pytest.raises(BusyError) as caught, opened(bank, lock_timeout_seconds=1.0):
        pass
    assert "made, dropped, renamed or truncated" in caught.value.message


def test_a_waiting_change_does_not_stop_the_readers(bank: Connection, mysql_sql: Sql) -> None:
    with opened(bank) as source:
        changer = threading.Thread(target=mysql_sql, args=(bank, "ALTER TABLE a ADD c int, ALGORITHM=COPY"))
        changer.start()
        time.sleep(0.5)
        assert changer.is_alive()
        assert read_with_all(source) == TOTAL
    changer.join(10)
    assert not changer.is_alive()


# ---- others in the way -----------------------------------------------------------------------------


@contextmanager
def held_by_others(connection: Connection, *statements: str) -> Iterator[Any]:
    with connect_mysql(connection) as session:
        for statement in statements:
            session.query(statement)
        yield session


def test_a_locked_table(bank: Connection) -> None:
    with (
        held_by_others(bank, "LOCK TABLES a WRITE"),
        pytest.raises(BusyError) as caught,
        opened(bank, lock_timeout_seconds=1.0),
    ):
        pass
    assert "-lock-timeout" in str(caught.value.hint)


@pytest.mark.matrix
def test_a_long_query_is_seen_before_the_lock(
    mysql_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql
) -> None:
    connection = fill_bank(make_mysql_database(mysql_server), mysql_sql)
    sleeper = threading.Thread(target=mysql_sql, args=(connection, "SELECT SLEEP(7) FROM a LIMIT 1"))
    sleeper.start()
    time.sleep(2.5)
    waits: list[float] = []

    def write() -> None:
        while sleeper.is_alive():
            start = time.monotonic()
            mysql_sql(connection, "UPDATE a SET money = money WHERE id = 1")
            waits.append(time.monotonic() - start)
            time.sleep(0.05)

    writer = threading.Thread(target=write)
    writer.start()
    with pytest.raises(BusyError) as caught, opened(connection, lock_timeout_seconds=1.0):
        pass
    assert "SELECT SLEEP(7)" in caught.value.message
    with opened(connection, lock_timeout_seconds=30.0) as source:
        assert read_with_all(source) == TOTAL
    writer.join()
    assert max(waits) < 2.0  # nobody waited behind us
    sleeper.join()


def test_a_replica_that_logs_only_its_own(bank: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        locks, "_log_status", lambda _: [{"binlog_ignore_db": "other", "file": "x", "position": 1}]
    )
    with opened(bank) as source:
        assert source.snapshot.details["method"] == "BACKUP STAGE"


# ---- what is lost ----------------------------------------------------------------------------------


def kill_idle(connection: Connection, mysql_sql: Sql) -> None:
    """End all connections that do nothing just now."""
    found = "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND COMMAND = 'Sleep'"
    for (number,) in mysql_sql(connection, found):
        mysql_sql(connection, f"KILL {number}")


def test_a_reader_that_loses_its_connection_fails(
    bank: Connection, mysql_sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "CHUNK_BYTES", 1 << 13)
    with opened(bank) as source:
        chunks = list(source.chunks())
        reader = source.open_reader()
        kill_idle(bank, mysql_sql)
        with pytest.raises(ConnectionFailedError):
            list(reader.read(chunks[0]))


def test_a_holder_that_loses_its_connection_fails(bank: Connection, mysql_sql: Sql) -> None:
    with opened(bank) as source:
        number = source._held.session.thread_id()  # type: ignore[no-untyped-call]
        mysql_sql(bank, f"KILL {number}")
        with pytest.raises(DbtoolError):
            list(source.after_data())


def test_table_locks_end_with_their_rows(bank: Connection, mysql_sql: Sql) -> None:
    mysql_sql(bank, ["CREATE TABLE m (a int) ENGINE=MyISAM", "INSERT INTO m VALUES (1)"])
    with opened(bank) as source:
        writer = threading.Thread(target=mysql_sql, args=(bank, "INSERT INTO m VALUES (2)"))
        writer.start()
        time.sleep(0.3)
        assert writer.is_alive()
        chunks = list(source.chunks())
        assert source.tables[chunks[0].table].name == "m"
        reader = source.open_reader()
        assert sum(block.rows for block in reader.read(chunks[0])) == 1
        writer.join(10)
        assert not writer.is_alive()
        source._held.check()


def test_an_account_without_any_lock_reads_on_one_connection(
    logging_server: MysqlServer, bank: Connection, mysql_sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    block(monkeypatch, WAYS["BACKUP STAGE"])
    root = logging_server.connection("mysql")
    mysql_sql(
        root,
        [
            "CREATE OR REPLACE USER small@'%' IDENTIFIED BY 'pw'",
            f"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON {back_ticked(bank.database)}.* TO small@'%'",
        ],
    )
    with opened(replace(bank, user="small", password="pw")) as source:
        assert source.snapshot.details["method"] == "one connection"
        assert any("one connection" in warning for warning in source.warnings)
        assert read_with_all(source) == TOTAL
    mysql_sql(root, "DROP USER small@'%'")


def test_a_database_that_is_not_there(bank: Connection) -> None:
    with pytest.raises((DbtoolError, RefusedError)) as caught, opened(bank.with_database("not there")):
        pass
    assert "no database" in caught.value.message
