"""What a server refuses, or dies of, reaches the user as one line and a hint, with the right exit code."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.breakage.conftest import completed, outcome, paused, session
from tests.conftest import CARELESS_SETTINGS, MakeDatabase, Sql, connect
from tests.fidelity.dbtool_runs import Dbtool

from dbtool.engines.postgres.messages import readable_errors
from dbtool.errors import BusyError, ConnectionFailedError, DbtoolError, ExitCode, RefusedError, SqlError
from dbtool.model.connection import Connection
from dbtool.servers import base
from dbtool.servers.postgres import PostgresServer


def lines(text: str) -> tuple[str, str]:
    """(error, hint or "") of what dbtool said; nothing else is an error, and neither blames dbtool."""
    errors = [line for line in text.splitlines() if line.startswith("error: ")]
    hints = [line for line in text.splitlines() if line.startswith("hint: ")]
    assert len(errors) == 1 >= len(hints), text
    assert "unexpected" not in text, text
    return errors[0], "".join(hints)


@pytest.fixture
def reader(database: Connection, sql: Sql) -> Iterator[str]:
    """An account that may read every table, in a database whose large object it may not read."""
    name = f"reader_of_{database.database}"
    sql(
        database,
        f"CREATE TABLE t AS SELECT 1 AS n; SELECT lo_from_bytea(4711, 'x'); CREATE ROLE {name} LOGIN; "
        f"GRANT pg_read_all_data TO {name}",
    )
    yield name
    sql(database, f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_a_large_object_that_may_not_be_read(
    dbtool: Dbtool, database: Connection, reader: str, postgres_server: PostgresServer
) -> None:
    account = postgres_server.connection(database.database, reader)
    done = dbtool.run(dbtool.backup_arguments(account, "full", "database"), expect=ExitCode.REFUSED)
    error, hint = lines(done.stderr.decode())
    assert "permission denied for large object 4711" in error
    assert "dbtool doctor" in hint
    assert completed(dbtool) == []


def test_a_database_that_is_refused_does_not_keep_the_others_from_being_backed_up(
    dbtool: Dbtool,
    database: Connection,
    reader: str,
    postgres_server: PostgresServer,
    make_database: MakeDatabase,
) -> None:
    make_database(postgres_server, f"{database.database}_0")
    make_database(postgres_server, f"{database.database}z")
    account = postgres_server.connection(database.database, reader)
    others = [
        name
        for (name,) in session(account).execute("SELECT datname FROM pg_database WHERE NOT datistemplate")
        if not name.startswith(database.database)
    ]
    excluded = [argument for name in others for argument in ("-exclude", name)]
    arguments = dbtool.backup_arguments(account, "full", "database", "-all", *excluded)
    done = dbtool.run(arguments, expect=ExitCode.PARTLY)
    assert "large object 4711" in lines(done.stderr.decode())[0]
    assert len(completed(dbtool)) == 2


def test_a_session_that_an_administrator_ends(dbtool: Dbtool, source: Connection) -> None:
    with paused(dbtool, dbtool.backup_arguments(source, "full", "database"), "rows-read") as process:
        with session(source) as administrator:
            administrator.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name = 'dbtool backup snapshot'"
            )
        wait_for_end_of(source)
    code, text = outcome(process)
    assert code == ExitCode.CONNECTION
    error, hint = lines(text)
    assert "connection to the server lost" in error
    assert "log" in hint


@pytest.mark.parametrize("point", ["locked", "schema-written", "rows-read"])
def test_a_server_that_stops_in_the_middle(dbtool: Dbtool, point: str) -> None:
    with PostgresServer.start(settings=CARELESS_SETTINGS) as server:
        where = server.connection("postgres")
        with session(where) as link:
            link.execute("CREATE TABLE t AS SELECT n, repeat('x', 500) FROM generate_series(1, 50000) AS n")
        with paused(dbtool, dbtool.backup_arguments(where, "full", "database"), point) as process:
            server.stop()
        code, text = outcome(process)
    assert code == ExitCode.CONNECTION, text
    assert "connection to the server lost" in lines(text)[0]
    assert completed(dbtool) == []


@pytest.mark.parametrize(
    ("state", "kind", "hint"),
    [
        ("42501", RefusedError, "dbtool doctor"),
        ("53100", DbtoolError, "make room"),
        ("53200", DbtoolError, "max_locks_per_transaction"),
        ("40001", DbtoolError, "hot_standby_feedback"),
        ("55P03", BusyError, "wait"),
        ("57P02", ConnectionFailedError, "log"),
        ("XX001", DbtoolError, "damaged"),
        ("P0001", SqlError, "what the server advises"),
    ],
)
def test_each_refusal_has_its_hint(
    postgres_server: PostgresServer, state: str, kind: type[DbtoolError], hint: str
) -> None:
    statement = (
        f"DO $$ BEGIN RAISE 'it is\nthis' USING ERRCODE = '{state}', HINT = 'what the server advises'; END $$"
    )
    with (
        connect(postgres_server.connection()) as link,
        pytest.raises(DbtoolError) as caught,
        readable_errors("trying"),
    ):
        link.execute(statement)
    assert type(caught.value) is kind
    assert "trying" in caught.value.message
    assert caught.value.message.endswith("it is this")
    assert hint in str(caught.value.hint)


def test_a_copy_whose_connection_dies_while_it_is_shown(dbtool: Dbtool, source: Connection) -> None:
    arguments = [
        *("sql", "--host", str(source.host), "--port", str(source.port), "--user", str(source.user)),
        *("--database", source.database),
        *("-c", "COPY (SELECT pg_terminate_backend(pg_backend_pid()) FROM big) TO STDOUT"),
    ]
    code, text = outcome(dbtool.start(arguments))
    assert code == ExitCode.CONNECTION
    assert "the connection was lost while the statement ran" in lines(text)[0]


@pytest.mark.slow
def test_a_standby_that_cancels_the_backup_says_what_helps(dbtool: Dbtool) -> None:
    with PostgresServer.start(settings={**CARELESS_SETTINGS, "autovacuum": "off"}) as primary:
        with connect(primary.connection()) as link:
            link.execute("CREATE TABLE t AS SELECT n, repeat('x', 500) FROM generate_series(1, 200000) AS n")
        with standby_of(primary) as standby:
            where = standby.connection()
            with paused(dbtool, dbtool.backup_arguments(where, "full", "database"), "rows-read") as process:
                with connect(primary.connection()) as link:
                    link.execute("UPDATE t SET n = n WHERE n < 1000")
                    link.execute("VACUUM t")
                    ((sent,),) = link.execute("SELECT pg_current_wal_lsn()").fetchall()
                with connect(where) as link:
                    while link.execute("SELECT pg_last_wal_replay_lsn() < %s", (sent,)).fetchall()[0][0]:
                        time.sleep(0.05)
            code, text = outcome(process)
    assert code != ExitCode.DONE
    assert "hot_standby_feedback" in lines(text)[1]


def standby_of(primary: PostgresServer) -> PostgresServer:
    """A started standby that waits for nobody who reads on it."""
    standby = PostgresServer.start(primary.bin_directory, CARELESS_SETTINGS)
    standby.stop("immediate")
    base.remove(standby.data_directory)
    base.run_tool(
        [
            *(primary.bin_directory / "pg_basebackup", "-R", "-c", "fast", "-X", "stream"),
            *("-D", standby.data_directory, "-h", "127.0.0.1", "-p", str(primary.port), "-U", "postgres"),
        ],
        standby.socket_directory,
    )
    standby.configure(
        {"unix_socket_directories": str(standby.socket_directory), "max_standby_streaming_delay": "0"}
    )
    standby.launch()
    return standby


def wait_for_end_of(connection: Connection) -> None:
    """Wait until no snapshot of a backup is held any more."""
    with session(connection) as link:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dbtool backup snapshot'"
        while link.execute(statement).fetchall() != [(0,)]:
            time.sleep(0.02)
