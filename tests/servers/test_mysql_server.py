"""Throw-away MariaDB and MySQL servers: they start, they stop, and they leave nothing behind."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pymysql
import pytest
from tests.conftest import (
    CARELESS_MYSQL_SETTINGS,
    MYSQL_MATRIX,
    MakeDatabase,
    Sql,
    connect_mysql,
    start_mysql,
)
from tests.tls import self_signed

from dbtool.errors import DbtoolError, NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer, find_mysql

CARELESS = CARELESS_MYSQL_SETTINGS["mariadb"]


def test_a_fresh_database_is_there_and_empty(mysql_database: Connection, mysql_sql: Sql) -> None:
    query = (
        "SELECT DATABASE(), (SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE())"
    )
    assert mysql_sql(mysql_database, query) == [(mysql_database.database, 0)]


def test_databases_may_have_any_name(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql
) -> None:
    for name in ("Weird ``name`", "-rf", "select", "a/b", "two\nlines", "ünïcödé", "'\"%"):
        database = make_mysql_database(mariadb_server, name)
        assert mysql_sql(database, "SELECT DATABASE()") == [(name,)]


def test_the_server_does_not_run_as_root(mariadb_server: MysqlServer) -> None:
    assert Path(f"/proc/{mariadb_server.pid}").stat().st_uid != 0


def test_socket_and_tcp_reach_the_same_server(mariadb_server: MysqlServer, mysql_sql: Sql) -> None:
    identity = "SELECT @@datadir, @@port"
    through_socket = mariadb_server.connection(through_socket=True)
    assert mysql_sql(through_socket, identity) == mysql_sql(mariadb_server.connection(), identity)
    assert mysql_sql(through_socket, "SELECT 1; SELECT 2") == [(2,)]
    assert mysql_sql(through_socket, ["SET @a = 1", "SELECT @a"]) == [(1,)]


def test_nothing_of_this_machine_is_read_or_written(mariadb_server: MysqlServer, mysql_sql: Sql) -> None:
    places = "SELECT @@datadir, @@socket, @@pid_file, @@tmpdir, @@secure_file_priv"
    folder = mariadb_server.socket_file.parent
    for place in mysql_sql(mariadb_server.connection(), places)[0]:
        assert folder in (Path(place), *Path(place).parents)


def test_settings_and_time_zone(mysql_sql: Sql) -> None:
    settings = {
        **CARELESS,
        "sql-mode": "ANSI_QUOTES,NO_BACKSLASH_ESCAPES",
        "skip_log_bin": None,
        "lower_case_table_names": "1",
        "innodb_page_size": "8k",
    }
    with MysqlServer.start(settings=settings, time_zone="Europe/Paris") as server:
        query = "SELECT @@sql_mode, @@log_bin, @@lower_case_table_names, @@innodb_page_size"
        expected = ("ANSI_QUOTES,NO_BACKSLASH_ESCAPES", 0, 1, 8192)
        assert mysql_sql(server.connection(), query) == [expected]
        summer = "SET time_zone = 'SYSTEM'; SELECT UNIX_TIMESTAMP('2024-07-01 02:00:00')"
        assert mysql_sql(server.connection(), summer) == [(1719792000,)]


def test_tls(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    with MysqlServer.start(settings=CARELESS, tls=(certificate, key)) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        with (
            connect_mysql(server.connection(), host="localhost", ssl=context) as session,
            session.cursor() as cursor,
        ):
            cursor.execute("SHOW STATUS LIKE 'Ssl_cipher'")
            assert cursor.fetchall()[0][1]
        # Another certificate for the same name is another server.
        (tmp_path / "other").mkdir()
        stranger = ssl.create_default_context(cafile=str(self_signed(tmp_path / "other")[0]))
        with pytest.raises(pymysql.err.OperationalError, match="certificate verify failed"):
            connect_mysql(server.connection(), ssl=stranger)


def test_committed_rows_outlive_a_crash_and_nothing_outlives_close(mysql_sql: Sql) -> None:
    with MysqlServer.start() as server:
        folder, pid = server.socket_file.parent, server.pid
        mysql_sql(server.connection(), "CREATE TABLE kept ENGINE=InnoDB SELECT 42 AS answer")
        server.crash()
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        with pytest.raises(DbtoolError):
            _ = server.pid
        server.launch()
        assert mysql_sql(server.connection(), "SELECT * FROM kept") == [(42,)]
        server.stop()
        server.configure({"max_connections": "17"})
        server.launch()
        query = "SELECT answer, @@max_connections FROM kept"
        assert mysql_sql(server.connection(), query) == [(42, 17)]
        pid = server.pid
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_dies_with_the_process_that_started_it() -> None:
    program = (
        "import os, sys\n"
        "from dbtool.servers.mysql import MysqlServer\n"
        "stopped, crashed, server = (MysqlServer.start() for _ in range(3))\n"
        "stopped.stop(); crashed.crash()\n"
        "(server.socket_file.parent / 'made by us').touch()\n"
        "print(server.pid, server.socket_file, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout
    pid, folder = int(output.split()[0]), Path(output.split()[1]).parent
    deadline = time.monotonic() + 20
    while (Path(f"/proc/{pid}").exists() or folder.parent.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.parent.exists()


def test_a_setting_that_is_wrong_says_so() -> None:
    with pytest.raises(DbtoolError, match="did not start") as caught:
        MysqlServer.start(settings={"innodb_buffer_pool_siez": "1"})
    assert "innodb-buffer-pool-siez" in (caught.value.hint or "")


def test_a_version_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFoundError, match=r"MariaDB 52\.1 "):
        find_mysql("mariadb521")
    with pytest.raises(NotFoundError, match=r"MySQL 4\.0 "):
        find_mysql("mysql40")


def test_every_server_of_the_matrix_starts(
    mysql_matrix_server: MysqlServer, mysql_matrix_database: Connection, mysql_sql: Sql
) -> None:
    version = ".".join(mysql_matrix_server.version.split(".")[:2])
    name = mysql_matrix_server.flavour_name + version.replace(".", "")
    assert name in MYSQL_MATRIX
    [(said, comment)] = mysql_sql(mysql_matrix_database, "SELECT VERSION(), @@version_comment")
    assert said.startswith(version + ".")
    assert ("mariadb" in (said + comment).lower()) == (mysql_matrix_server.flavour_name == "mariadb")


def test_copies_of_one_template_are_servers_of_their_own(mysql_server: MysqlServer, mysql_sql: Sql) -> None:
    with start_mysql("mysql97") as other:
        identity = "SELECT @@server_uuid"
        assert mysql_sql(other.connection(), identity) != mysql_sql(mysql_server.connection(), identity)
        assert mysql_sql(other.connection(through_socket=True), "SELECT 1") == [(1,)]
