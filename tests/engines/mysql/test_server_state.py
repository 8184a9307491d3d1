"""What is looked at around a backup: temporary tables of a replica, history that piles up."""

from __future__ import annotations

import time

import pytest
from tests.conftest import MakeDatabase, Sql, connect_mysql, start_mysql
from tests.engines.mysql.sources import opened, rows_by_chunk

from dbtool.engines.mysql import server_state
from dbtool.engines.mysql.connect import connect
from dbtool.engines.mysql.flavour import flavour_of
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer


def test_temporary_tables_that_a_replica_holds_open_are_told(mysql_sql: Sql) -> None:
    statements = {"binlog_format": "STATEMENT", "server_id": "1"}
    with start_mysql("mariadb", statements) as source, start_mysql("mariadb", {"server_id": "2"}) as replica:
        mysql_sql(source.connection(""), "RESET MASTER; CREATE USER 'r'@'%'; GRANT ALL ON *.* TO 'r'@'%'")
        mysql_sql(
            replica.connection(""),
            f"CHANGE MASTER TO master_host = '127.0.0.1', master_port = {source.port}, master_user = 'r', "
            "master_use_gtid = no; START SLAVE",
        )
        mysql_sql(source.connection(""), "CREATE DATABASE shop; CREATE TABLE shop.t (id int)")
        with connect_mysql(source.connection("")) as session:
            session.query("CREATE TEMPORARY TABLE shop.passing (id int)")
            wait_for(mysql_sql, replica.connection(""), "1")
            with opened(replica.connection("shop")) as backup:
                assert ["1 temporary tables open" in warning for warning in backup.warnings] == [True]
                assert backup.snapshot.details["replica"]  # the source's position
        wait_for(mysql_sql, replica.connection(""), "0")
        with opened(replica.connection("shop")) as backup:
            assert backup.warnings == []


def wait_for(sql: Sql, connection: Connection, count: str) -> None:
    deadline = time.monotonic() + 30
    query = "SHOW GLOBAL STATUS LIKE 'Slave_open_temp_tables'"
    while sql(connection, query) != [("Slave_open_temp_tables", count)]:
        if time.monotonic() > deadline:
            raise TimeoutError(sql(connection, "SHOW SLAVE STATUS"))
        time.sleep(0.05)


def test_history_that_piles_up_is_told(
    mysql_matrix_database: Connection, mysql_sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_state, "MUCH_HISTORY", 300)
    mysql_sql(mysql_matrix_database, "CREATE TABLE t (id int PRIMARY KEY, n int)")
    mysql_sql(mysql_matrix_database, "INSERT INTO t VALUES (1, 0)")
    with opened(mysql_matrix_database) as source:
        rows_by_chunk(source)
        list(source.after_data())
        assert source.warnings == []
    with opened(mysql_matrix_database) as source:
        with connect_mysql(mysql_matrix_database) as session:
            for _ in range(1000):
                session.query("UPDATE t SET n = n + 1")
        rows_by_chunk(source)
        list(source.after_data())
        assert ["old versions of rows piled up" in warning for warning in source.warnings] == [True]


def test_who_may_not_see_it_is_told_nothing(
    mysql_matrix_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql
) -> None:
    root = make_mysql_database(mysql_matrix_server)
    mysql_sql(root, "CREATE USER guest")
    try:
        connection = mysql_matrix_server.connection("", "guest")
        with connect(connection, database=False) as session:
            found = server_state.history_length(session, flavour_of(session))
            assert (found is None) == (mysql_matrix_server.flavour_name == "mysql")
            assert server_state.temporary_tables_warning(session) is None
    finally:
        mysql_sql(root, "DROP USER guest")
