"""What a server went through since the full: a differential is exact, or a full is taken and says why."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.breakage.conftest import session
from tests.conftest import CARELESS_SETTINGS, Sql
from tests.fidelity.building import create_database, native_copy
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import Picture, difference, take_picture
from tests.fidelity.test_differential import run_chain

from dbtool.engines.postgres import introspect
from dbtool.engines.postgres.engine import PostgresEngine
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, logical_backup
from dbtool.operations.differential import DifferentialOptions, differential_backup
from dbtool.progress import Silent
from dbtool.servers import base
from dbtool.servers.postgres import PostgresServer
from dbtool.storage.local import LocalStore

CONTENT = """
CREATE TABLE things (id int PRIMARY KEY, at timestamptz, note text);
INSERT INTO things SELECT n, timestamptz '2024-03-31 00:00+00' + n * interval '7 min', 'x' FROM generate_series(1, 1000) AS n;
CREATE TABLE keyless (at timestamptz, what text);
INSERT INTO keyless SELECT now(), 'x' FROM generate_series(1, 100);
"""


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    """One that may be stopped, and put back."""
    with PostgresServer.start(settings=CARELESS_SETTINGS, own_identity=True) as started:
        yield started


@pytest.fixture
def shop(server: PostgresServer, sql: Sql) -> Connection:
    connection = server.connection("shop")
    create_database(server.connection(), "shop")
    sql(connection, CONTENT)
    return connection


@pytest.fixture
def dbtool(tmp_path: Path, server: PostgresServer) -> Dbtool:
    return Dbtool(tmp_path / "repository", server.bin_directory)


def now(server: PostgresServer) -> Connection:
    """The database, wherever the server listens by now."""
    return server.connection("shop")


def differential(dbtool: Dbtool, source: Connection) -> dict[str, Any]:
    return dbtool.backup(source, "differential", "backup", "-max-differential-ratio", "1000")


def native(source: Connection, server: PostgresServer) -> Picture:
    copy = server.connection(f"native_{source.database}")
    create_database(server.connection(), copy.database)
    native_copy(source, copy, server.bin_directory)
    return take_picture(copy, server.bin_directory)


def check(made: dict[str, Any], expected: Picture, server: PostgresServer, dbtool: Dbtool) -> None:
    """The chain, restored by dbtool and by psql."""
    assert made["type"] == "differential", made["options"]
    parts = ("schema", "tables", "sequences")
    dbtool.restore(made["id"], server.connection("restored"))
    assert (
        difference(expected, take_picture(server.connection("restored"), server.bin_directory), parts) == []
    )
    create_database(server.connection(), "by_hand")
    run_chain(made, server.connection("by_hand"), server)
    assert difference(expected, take_picture(server.connection("by_hand"), server.bin_directory), parts) == []


def control(server: PostgresServer, program: str, *arguments: str) -> None:
    """Run one of the server's programs on its data directory."""
    base.run_tool(
        [server.bin_directory / program, *arguments, "-D", server.data_directory], server.socket_directory
    )


def test_another_time_zone(shop: Connection, server: PostgresServer, dbtool: Dbtool, sql: Sql) -> None:
    dbtool.backup(shop)
    server.stop()
    server.configure({"timezone": "Pacific/Apia", "log_timezone": "Asia/Kathmandu", "datestyle": "SQL, DMY"})
    server.launch()
    sql(now(server), "DELETE FROM things WHERE id % 100 = 0; UPDATE things SET at = now() WHERE id % 100 = 1")
    sql(now(server), "INSERT INTO things SELECT 5000 + n, now(), 'new' FROM generate_series(1, 20) AS n")
    made = differential(dbtool, now(server))
    taken = {one["name"]: one["details"]["differential"] for one in made["tables"]}
    assert (taken["things"]["taken"], taken["things"]["removed"]) == ("rows", 20)
    assert taken["keyless"]["taken"] == "unchanged"
    check(made, native(now(server), server), server, dbtool)


@pytest.mark.parametrize("year", ["1971", "2099"])
def test_no_clock_is_asked(
    year: str,
    shop: Connection,
    server: PostgresServer,
    dbtool: Dbtool,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The time that the full's snapshot says may be any."""
    store, progress = LocalStore(dbtool.repository), Silent()
    with monkeypatch.context() as patched:
        false = introspect._SNAPSHOT_SQL.replace("clock_timestamp()", f"timestamptz '{year}-01-01'")
        patched.setattr(introspect, "_SNAPSHOT_SQL", false)
        full = logical_backup(PostgresEngine(), shop, store, BackupOptions(), progress)
        assert full.snapshot["time"].startswith(year)
    sql(shop, "UPDATE things SET note = 'changed' WHERE id < 10; DELETE FROM things WHERE id > 990")
    made = differential_backup(PostgresEngine(), shop, store, DifferentialOptions(), progress)
    taken = {one.name: one.details["differential"] for one in made.tables}
    assert (taken["things"]["taken"], taken["things"]["removed"]) == ("rows", 19)
    dbtool.restore(made.id, server.connection("restored"))
    found = take_picture(server.connection("restored"), server.bin_directory)
    assert difference(native(shop, server), found, ("schema", "tables")) == []


def test_put_back_to_an_earlier_moment(
    shop: Connection, server: PostgresServer, dbtool: Dbtool, sql: Sql, tmp_path: Path
) -> None:
    server.stop()
    kept = server.socket_directory / "kept"
    subprocess.run(["cp", "-a", server.data_directory, kept], check=True)
    server.launch()
    sql(
        now(server),
        "INSERT INTO things SELECT 5000 + n, now(), repeat('lost', 99) FROM generate_series(1, 2000) AS n",
    )
    dbtool.backup(now(server))
    server.stop()
    subprocess.run(["rm", "-rf", server.data_directory], check=True)
    subprocess.run(["cp", "-a", kept, server.data_directory], check=True)
    server.launch()
    made = differential(dbtool, now(server))
    assert made["type"] == "full"
    assert "put back to an earlier moment" in made["options"]["differential_refused"]
    again = differential(dbtool, now(server))
    assert again["type"] == "differential"
    assert again["parent"]["id"] == made["id"]


def test_promoted(server: PostgresServer, dbtool: Dbtool, sql: Sql, shop: Connection) -> None:
    """The control file still has the old timeline: its checkpoint takes an hour."""
    dbtool.backup(shop)
    server.stop()
    server.configure(
        {"checkpoint_timeout": "3600", "checkpoint_completion_target": "0.9", "hot_standby": "on"}
    )
    (server.data_directory / "standby.signal").touch()
    server.launch()
    assert sql(now(server), "SELECT pg_is_in_recovery()") == [(True,)]
    on_standby = differential(dbtool, now(server))
    assert on_standby["type"] == "differential"
    with session(now(server)) as link:
        link.execute("SELECT pg_promote()")
        link.execute("INSERT INTO things VALUES (-1, now(), 'after')")
        made = differential(dbtool, now(server))
    assert made["type"] == "full"
    assert "its timeline was 1, and is 2" in made["options"]["differential_refused"]


def test_database_made_anew(shop: Connection, server: PostgresServer, dbtool: Dbtool, sql: Sql) -> None:
    dbtool.backup(shop)
    sql(server.connection(), "DROP DATABASE shop")
    create_database(server.connection(), "shop")
    sql(shop, CONTENT)
    made = differential(dbtool, shop)
    assert made["options"]["differential_refused"] == "the database was made anew since the base"


def test_another_server(shop: Connection, dbtool: Dbtool, sql: Sql) -> None:
    dbtool.backup(shop)
    with PostgresServer.start(settings=CARELESS_SETTINGS, own_identity=True) as other:
        create_database(other.connection(), "shop")
        made = differential(dbtool, other.connection("shop"))
    assert made["options"]["differential_refused"] == "the base is of another server"


def test_too_many_transactions(shop: Connection, server: PostgresServer, dbtool: Dbtool, sql: Sql) -> None:
    dbtool.backup(shop)
    _skip_to(server, (1 << 31) + (4 << 20), sql)
    made = differential(dbtool, now(server))
    assert made["type"] == "full"
    assert "transactions went by since the base" in made["options"]["differential_refused"]


def test_rows_older_than_numbers_can_tell(
    shop: Connection, server: PostgresServer, dbtool: Dbtool, sql: Sql
) -> None:
    """Frozen rows of a number that looks as if it was yet to come: too much is taken, and nothing lost."""
    _skip_to(server, (1 << 31) + (4 << 20), sql)
    sql(now(server), "INSERT INTO things SELECT 5000 + n, now(), 'later' FROM generate_series(1, 1500) AS n")
    assert sql(now(server), "SELECT count(*) FROM things WHERE age(xmin) < 0") == [(1000,)]
    dbtool.backup(now(server))
    sql(
        now(server),
        "DELETE FROM things WHERE id % 100 = 0; UPDATE things SET note = 'changed' WHERE id % 100 = 1",
    )
    check(differential(dbtool, now(server)), native(now(server), server), server, dbtool)


def _skip_to(server: PostgresServer, transaction: int, sql: Sql) -> None:
    """Let the server go on with a later transaction, with all that is older frozen; half-way it freezes again."""
    sql(server.connection(), "ALTER DATABASE template0 ALLOW_CONNECTIONS true")
    for step in (transaction // 2, transaction):
        for name in ("postgres", "shop", "template1", "template0"):
            with session(server.connection(name)) as link:
                link.execute("VACUUM FREEZE")
        server.stop()
        start = step // 1048576 * 1048576  # of a whole segment of the commit log, which must be there
        segment = server.data_directory / "pg_xact" / f"{start // 1048576:04X}"
        segment.write_bytes(bytes(256 * 1024))
        subprocess.run(["chown", "--reference", server.data_directory, segment], check=True)
        control(server, "pg_resetwal", "-f", "-x", str(start))
        server.launch()


def test_transactions_that_a_crash_took(
    server: PostgresServer, shop: Connection, dbtool: Dbtool, sql: Sql
) -> None:
    """A server that does not wait for its WAL forgets transactions, and gives their numbers to others."""
    server.stop()
    server.configure({"synchronous_commit": "off", "wal_writer_delay": "3s"})
    server.launch()
    with session(now(server)) as link:
        for number in range(30):
            link.execute(f"INSERT INTO things VALUES ({-number - 1}, now(), 'before the crash')".encode())
        link.execute("BEGIN")
        link.execute("INSERT INTO things VALUES (-100, now(), 'never')")
        link.execute("ROLLBACK")
    dbtool.backup(now(server))
    server.crash()
    server.launch()
    with session(now(server)) as link:
        for number in range(100):
            link.execute(f"INSERT INTO keyless VALUES (now(), 'after {number}')".encode())
            link.execute(f"INSERT INTO things VALUES ({-number - 1000}, now(), 'after the crash')".encode())
    made = differential(dbtool, now(server))
    check(made, native(now(server), server), server, dbtool)
