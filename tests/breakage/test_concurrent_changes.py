"""A database that is changed while it is backed up: every backup shows one point in its history."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from tests.breakage.conftest import NewName, completed, outcome, paused, session, wait_until
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import difference, take_picture

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

# What a migration may do between the list of tables and their locks.
CHANGES = {
    "truncate": "TRUNCATE big",
    "truncate and refill": "TRUNCATE small CASCADE; INSERT INTO small SELECT generate_series(1, 70), 7",
    "rewrite": "ALTER TABLE small ALTER n TYPE bigint",
    "new column": "ALTER TABLE small ADD COLUMN added text DEFAULT md5(random()::text)",
    "dropped column": "ALTER TABLE big DROP COLUMN t",
    "drop": "DROP TABLE other",
    "drop and create": "DROP TABLE other; CREATE TABLE other (x text); INSERT INTO other VALUES ('new')",
    "new table": "CREATE TABLE added (a integer); INSERT INTO added SELECT generate_series(1, 10)",
    "rename": "ALTER TABLE other RENAME TO renamed",
    "swap": "ALTER TABLE small RENAME TO x; ALTER TABLE other RENAME TO small; ALTER TABLE x RENAME TO other",
    "other schema": "CREATE SCHEMA elsewhere; ALTER TABLE big SET SCHEMA elsewhere",
    "new partition": "CREATE TABLE parted_3 PARTITION OF parted DEFAULT; INSERT INTO parted VALUES (5000)",
    "detached partition": "ALTER TABLE parted DETACH PARTITION parted_1",
    "a view in its place": "DROP TABLE other; CREATE VIEW other AS SELECT 1 AS a",
    "dropped schema": "DROP TABLE other, big CASCADE",
    "full vacuum": "VACUUM FULL big",
    "rows": "DELETE FROM other; UPDATE small SET n = 5; INSERT INTO big VALUES (-1, 'x')",
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_between_list_and_lock(
    change: str, source: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    programs = postgres_server.bin_directory
    with (
        paused(dbtool, dbtool.backup_arguments(source, "full", "database"), "listed") as process,
        session(source) as link,
    ):
        for statement in CHANGES[change].split("; "):
            link.execute(statement.encode())
    code, said = outcome(process)
    assert code == 0, said
    copy = new_name()
    dbtool.restore("latest", copy)
    assert "\n".join(difference(take_picture(source, programs), take_picture(copy, programs))) == ""


def test_tables_made_after_the_locks(
    source: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    programs = postgres_server.bin_directory
    with (
        paused(dbtool, dbtool.backup_arguments(source, "full", "database"), "locked") as process,
        session(source) as link,
    ):
        link.execute("CREATE TABLE added (a integer)")
        link.execute("INSERT INTO added SELECT generate_series(1, 10)")
        link.execute("CREATE TABLE parted_3 (LIKE parted)")
        link.execute("INSERT INTO parted_3 VALUES (5000, 'x')")
        link.execute("ALTER TABLE parted ATTACH PARTITION parted_3 FOR VALUES FROM (5000) TO (6000)")
    code, said = outcome(process)
    assert code == 0, said
    copy = new_name()
    dbtool.restore("latest", copy)
    assert "\n".join(difference(take_picture(source, programs), take_picture(copy, programs))) == ""


def test_rows_changed_after_the_snapshot_are_as_they_were(
    source: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    programs = postgres_server.bin_directory
    before = take_picture(source, programs)
    with (
        paused(dbtool, dbtool.backup_arguments(source, "full", "database"), "schema-written") as process,
        session(source) as link,
    ):
        link.execute("DELETE FROM other")
        link.execute("UPDATE big SET t = 'changed' WHERE id > 75000")
        link.execute("CREATE TABLE added (a integer)")
    code, said = outcome(process)
    assert code == 0, said
    copy = new_name()
    dbtool.restore("latest", copy)
    assert difference(before, take_picture(copy, programs), ("schema", "tables")) == []


def test_a_table_that_is_always_swapped_never_dumps_empty(
    source: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    """TRUNCATE and refill in one transaction, and rename swaps, with hardly a pause."""
    stop = threading.Event()

    def disturb() -> None:
        with session(source) as link:
            link.execute("CREATE TABLE shadow (LIKE small INCLUDING ALL)")
            link.execute("INSERT INTO shadow SELECT * FROM small")
            link.execute("ALTER TABLE other DROP CONSTRAINT other_id_fkey")
            ready.set()
            while not stop.is_set():
                with link.transaction():
                    link.execute("TRUNCATE other")
                    link.execute("INSERT INTO other SELECT i, 100 FROM generate_series(1, 1000) i")
                with link.transaction():
                    link.execute("ALTER TABLE small RENAME TO swap")
                    link.execute("ALTER TABLE shadow RENAME TO small")
                    link.execute("ALTER TABLE swap RENAME TO shadow")
                stop.wait(0.5)

    ready = threading.Event()
    thread = threading.Thread(target=disturb)
    thread.start()
    taken = 0
    try:
        ready.wait(30)
        for _ in range(2):
            done = dbtool.run(
                dbtool.backup_arguments(source, "full", "database", "-lock-timeout", "20"), expect=None
            )
            # Giving up on a database that never holds still is allowed; a wrong backup is not.
            assert done.returncode in (0, 5), done.stderr
            taken += done.returncode == 0
    finally:
        stop.set()
        thread.join()
    assert len(completed(dbtool)) == taken > 0
    for backup in completed(dbtool):
        copy = new_name()
        dbtool.restore(backup, copy)
        tables = take_picture(copy, postgres_server.bin_directory).tables
        for name in ("public.small", "public.shadow", "public.other"):
            assert tables[name].startswith("1000 rows"), (name, tables[name])


def test_one_point_in_time_for_all_tables(source: Connection, dbtool: Dbtool, new_name: NewName) -> None:
    """Money moves between tables in transactions; no backup sees it created or lost."""
    stop = threading.Event()

    def transfer() -> None:
        with session(source) as link:
            number = 0
            while not stop.is_set():
                number = number % 1000 + 1
                with link.transaction():
                    link.execute("UPDATE small SET n = n - 1 WHERE id = %s", [number])
                    link.execute("UPDATE other SET n = n + 1 WHERE id = %s", [1001 - number])

    threads = [threading.Thread(target=transfer) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            dbtool.backup(source)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    for backup in completed(dbtool):
        copy = new_name()
        dbtool.restore(backup, copy)
        with session(copy) as link:
            row = link.execute("SELECT (SELECT sum(n) FROM small) + (SELECT sum(n) FROM other)").fetchone()
        assert row == (200_000,)


def test_locked_table_is_named(source: Connection, dbtool: Dbtool) -> None:
    with session(source) as link, link.transaction():
        link.execute("LOCK TABLE other IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        done = dbtool.run(dbtool.backup_arguments(source, "full", "database", "-lock-timeout", "1"), expect=5)
        assert time.monotonic() - began < 20
    assert b"public.other" in done.stderr
    assert b"-lock-timeout" in done.stderr
    assert completed(dbtool) == []


def test_lock_that_ends_in_time_is_waited_for(source: Connection, dbtool: Dbtool) -> None:
    with session(source) as link, link.transaction():
        link.execute("LOCK TABLE other IN ACCESS EXCLUSIVE MODE")
        process = dbtool.start(dbtool.backup_arguments(source, "full", "database", "-lock-timeout", "60"))
        time.sleep(2)
        assert process.poll() is None
    code, said = outcome(process)
    assert code == 0, said


@pytest.mark.parametrize("point", ["locked", "schema-written"])
def test_exclusive_lock_queued_in_the_middle(
    point: str, source: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    """Somebody who waits for a table bars the way for all who come after, our own sessions too."""
    programs = postgres_server.bin_directory
    before = take_picture(source, programs)
    arguments = dbtool.backup_arguments(source, "full", "database", "-lock-timeout", "5")
    waiters = []
    with paused(dbtool, arguments, point) as process:
        for table in ("big", "small", "other", "parted_1"):
            waiters.append(threading.Thread(target=_lock_briefly, args=(source, table)))
            waiters[-1].start()
        with session(source) as link:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            wait_until(lambda: link.execute(query).fetchone() == (4,))
    code, said = outcome(process)
    for waiter in waiters:
        waiter.join(30)
        assert not waiter.is_alive()
    if point == "locked" and code == 5:
        assert any(f"public.{table}" in said for table in ("big", "small", "other", "parted_1")), said
        assert completed(dbtool) == []
        return
    assert code == 0, said
    copy = new_name()
    dbtool.restore("latest", copy)
    assert difference(before, take_picture(copy, programs), ("schema", "tables")) == []


def _lock_briefly(connection: Connection, table: str) -> None:
    with session(connection) as link, link.transaction():
        link.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())


TIMEOUTS = {
    "idle_in_transaction_session_timeout": "300ms",
    "statement_timeout": "200ms",
    "lock_timeout": "1ms",
    "tcp_user_timeout": "1000",
}
LATER_TIMEOUTS = {14: {"idle_session_timeout": "300ms"}, 17: {"transaction_timeout": "300ms"}}


@pytest.mark.parametrize("point", ["locked", "schema-written", "rows-read"])
def test_timeouts_of_the_database_do_not_end_the_snapshot(
    point: str, source: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    timeouts = dict(TIMEOUTS)
    for major, later in LATER_TIMEOUTS.items():
        if postgres_server.major >= major:
            timeouts.update(later)
    for name, value in timeouts.items():
        with session(source.with_database("postgres")) as link:
            link.execute(f"ALTER DATABASE {source.database} SET {name} = '{value}'".encode())
    with paused(dbtool, dbtool.backup_arguments(source, "full", "database"), point) as process:
        time.sleep(1.5)
    code, said = outcome(process)
    assert code == 0, said
    programs = postgres_server.bin_directory
    copy = new_name()
    dbtool.restore("latest", copy)
    assert difference(take_picture(source, programs), take_picture(copy, programs)) == []


@pytest.mark.parametrize("point", ["listed", "locked", "schema-written", "rows-read"])
@pytest.mark.parametrize(
    "name", ["dbtool backup snapshot", "dbtool backup reader", "dbtool backup control", "%"]
)
def test_terminated_sessions_never_make_a_wrong_backup(
    point: str,
    name: str,
    source: Connection,
    dbtool: Dbtool,
    new_name: NewName,
    postgres_server: PostgresServer,
) -> None:
    programs = postgres_server.bin_directory
    before = take_picture(source, programs)
    with paused(dbtool, dbtool.backup_arguments(source, "full", "database"), point) as process:
        with session(source.with_database("postgres")) as link:
            link.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND application_name LIKE %s AND pid <> pg_backend_pid()",
                [source.database, name],
            )
        with session(source) as link:  # the locks are gone: the old snapshot must not be trusted
            link.execute("SET lock_timeout = '500ms'")
            try:
                link.execute("TRUNCATE other")
                before = (
                    before if point in ("schema-written", "rows-read") else take_picture(source, programs)
                )
            except psycopg.errors.LockNotAvailable:
                pass
    code, said = outcome(process)
    if code != 0:
        assert code in (1, 4), said
        assert completed(dbtool) == []
        return
    copy = new_name()
    dbtool.restore("latest", copy)
    assert difference(before, take_picture(copy, programs), ("tables",)) == []


def test_two_backups_at_once(
    source: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    processes = [dbtool.start(dbtool.backup_arguments(source, "full", "database")) for _ in range(3)]
    for process in processes:
        code, said = outcome(process)
        assert code == 0, said
    assert len(completed(dbtool)) == 3
    dbtool.run(["verify", "--all", "--path", str(dbtool.repository)])
