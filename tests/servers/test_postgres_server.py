"""Throw-away PostgreSQL servers: they start, they stop, and they leave nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dbtool.errors import DbtoolError, NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer, find_server_bin

Sql = Callable[..., "list[tuple[Any, ...]]"]


def test_a_fresh_database_is_there_and_empty(database: Connection, sql: Sql) -> None:
    assert sql(
        database, "SELECT current_database(), count(*) FROM pg_tables WHERE schemaname = 'public'"
    ) == [(database.database, 0)]


def test_databases_may_have_any_name(
    postgres_server: PostgresServer, make_database: Callable[..., Connection], sql: Sql
) -> None:
    for name in ('Weird ""name"', "-rf", "select", "a/b", "two\nlines", "ünïcödé"):
        assert sql(make_database(postgres_server, name), "SELECT current_database()") == [(name,)]


def test_the_server_does_not_run_as_root(postgres_server: PostgresServer) -> None:
    assert Path(f"/proc/{postgres_server.pid}").stat().st_uid != 0


def test_socket_and_tcp_reach_the_same_server(postgres_server: PostgresServer, sql: Sql) -> None:
    identity = "SELECT system_identifier FROM pg_control_system()"
    through_socket = postgres_server.connection(through_socket=True)
    assert sql(through_socket, identity) == sql(postgres_server.connection(), identity)


def test_a_password_is_asked_for_when_wanted(sql: Sql) -> None:
    with PostgresServer.start(authentication="scram-sha-256") as server:
        good = server.connection()
        assert sql(good, "SELECT 1") == [(1,)]
        wrong = Connection(
            "postgres", "postgres", host=good.host, port=good.port, user="postgres", password="no"
        )
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            sql(wrong, "SELECT 1")


def test_settings_and_identity(sql: Sql) -> None:
    with (
        PostgresServer.start(settings={"application_name": "it's"}, data_checksums=True) as one,
        PostgresServer.start(own_identity=True) as other,
    ):
        assert sql(one.connection(), "SHOW data_checksums") == [("on",)]
        assert sql(other.connection(), "SHOW data_checksums") == [("off",)]
        identity = "SELECT system_identifier FROM pg_control_system()"
        assert sql(one.connection(), identity) != sql(other.connection(), identity)
        assert "application_name = 'it''s'" in (one.data_directory / "postgresql.conf").read_text()


def test_committed_rows_outlive_a_crash_and_nothing_outlives_close(sql: Sql) -> None:
    with PostgresServer.start() as server:
        folder, pid = server.socket_directory, server.pid
        sql(server.connection(), "CREATE TABLE kept AS SELECT 42 AS answer")
        server.crash()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(DbtoolError):
            _ = server.pid
        server.launch()
        assert sql(server.connection(), "TABLE kept") == [(42,)]
        server.stop()
        server.launch()
        assert sql(server.connection(), "TABLE kept") == [(42,)]
        pid = server.pid
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_dies_with_the_process_that_started_it() -> None:
    program = (
        "import os, sys\n"
        "from dbtool.servers.postgres import PostgresServer\n"
        "stopped, crashed, server = (PostgresServer.start() for _ in range(3))\n"
        "stopped.stop(); crashed.crash()\n"
        "(server.socket_directory / 'made by us').touch()\n"
        "print(server.pid, server.socket_directory, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    pid, folder = int(output.split()[0]), Path(output.split()[1])
    deadline = time.monotonic() + 20
    while (Path(f"/proc/{pid}").exists() or folder.parent.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.parent.exists()


def test_a_setting_that_is_wrong_says_so_and_leaves_nothing() -> None:
    with pytest.raises(DbtoolError, match="did not start") as caught:
        PostgresServer.start(settings={"shared_buffers": "a lot"})
    assert "shared_buffers" in (caught.value.hint or "")


def test_a_version_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFoundError, match="PostgreSQL 9"):
        find_server_bin(9)


def test_every_version_of_the_matrix_starts(
    matrix_server: PostgresServer, matrix_database: Connection, sql: Sql
) -> None:
    [(version,)] = sql(matrix_database, "SHOW server_version_num")
    assert int(version) // 10000 == matrix_server.major
