"""What the catalogue is asked, and what is made of its answers."""

# Definitions are read more easily in one line.
# ruff: noqa: E501

from __future__ import annotations

import pytest
from tests.conftest import MakeDatabase, Sql, back_ticked, connect_mysql
from tests.engines.mysql.sources import opened

from dbtool.engines.mysql import introspect
from dbtool.engines.mysql.engine import MysqlEngine
from dbtool.engines.mysql.flavour import flavour_of
from dbtool.engines.mysql.table_facts import is_by_number
from dbtool.errors import NotFoundError
from dbtool.model.connection import Connection
from dbtool.model.database import Table
from dbtool.servers.mysql import MysqlServer


def table(connection: Connection, name: str = "t") -> Table:
    with opened(connection) as source:
        return next(table for table in source.tables if table.name == name)


def test_how_columns_are_read(mysql_database: Connection, mysql_sql: Sql) -> None:
    mysql_sql(
        mysql_database,
        """CREATE TABLE t (i int, f float, d double, dd double(10,2), t varchar(9) CHARACTER SET latin1, j json, b bit(3), y year,
        g int AS (i + 1) VIRTUAL, s int AS (i + 2) STORED, h int INVISIBLE, e datetime DEFAULT CURRENT_TIMESTAMP,
        x varchar(40) DEFAULT (concat('a', 'b')), a inet6, u uuid)""",
    )
    found = table(mysql_database)
    names = ["i", "f", "d", "dd", "t", "j", "b", "y", "h", "e", "x", "a", "u"]
    assert [column.name for column in found.columns] == names
    assert found.details["kinds"] == "nssssssnnssss"
    assert found.details["select"][1:4] == ["CAST(`f` AS DOUBLE)", "`d`", "CAST(`dd` AS DOUBLE)"]
    assert found.details["select"][-2:] == ["CAST(`a` AS BINARY(16))", "CAST(`u` AS BINARY(16))"]
    assert found.details["charsets"]["t"] == "latin1"


@pytest.mark.matrix
def test_how_columns_are_read_on_mysql(
    mysql_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql
) -> None:
    connection = make_mysql_database(mysql_server)
    mysql_sql(
        connection,
        [
            "SET sql_generate_invisible_primary_key = ON",
            "CREATE TABLE t (j json, d datetime DEFAULT (now()), g int AS (1) STORED INVISIBLE, v vector(3))",
        ],
    )
    found = table(connection)
    assert [column.name for column in found.columns] == ["my_row_id", "j", "d", "v"]
    assert found.details["kinds"] == "njss"
    assert found.key == ("my_row_id",)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("PRIMARY KEY (b, a)", ("b", "a")),
        ("UNIQUE KEY z (n), UNIQUE KEY y (t(3)), UNIQUE KEY x (a, b), UNIQUE KEY w (b)", ("a", "b")),
        ("UNIQUE KEY z (n)", ()),
        ("KEY (a)", ()),
        ("UNIQUE KEY g (g), UNIQUE KEY b (b)", ("b",)),
    ],
)
def test_the_key(mysql_database: Connection, mysql_sql: Sql, keys: str, expected: tuple[str, ...]) -> None:
    mysql_sql(
        mysql_database,
        f"CREATE TABLE t (a int NOT NULL, b int NOT NULL, n int, t varchar(9) NOT NULL, g int AS (a) STORED, {keys})",
    )
    assert table(mysql_database).key == expected


def test_history_has_its_end_in_the_key(mysql_database: Connection, mysql_sql: Sql) -> None:
    mysql_sql(
        mysql_database,
        [
            "CREATE TABLE plain (id int PRIMARY KEY) WITH SYSTEM VERSIONING",
            """CREATE TABLE named (id int PRIMARY KEY, s timestamp(6) GENERATED ALWAYS AS ROW START, e timestamp(6)
            GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING""",
            """CREATE TABLE by_transaction (id int PRIMARY KEY, s bigint unsigned GENERATED ALWAYS AS ROW START, e bigint unsigned
            GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING""",
        ],
    )
    with opened(mysql_database) as source:
        found = {table.name: table for table in source.tables}
        assert any("by_transaction: its history is left out" in warning for warning in source.warnings)
    assert found["plain"].key == ("id", "row_end")
    assert found["named"].key == ("id", "e")
    assert found["named"].details["from_suffix"] == " FOR SYSTEM_TIME ALL"
    assert "from_suffix" not in found["by_transaction"].details


@pytest.mark.parametrize("name", ["plain", "it's `odd`\\", "ünï", "名", "a#b", "t%_x"])
def test_a_table_keeps_its_identity(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql, name: str
) -> None:
    connection = make_mysql_database(mariadb_server, f"db {name}")
    mysql_sql(
        connection,
        [
            f"CREATE TABLE {back_ticked(name)} (a int)",
            "CREATE TABLE p (a int) PARTITION BY HASH (a) PARTITIONS 3",
        ],
    )
    first, partitioned = table(connection, name), table(connection, "p")
    assert 0 < first.identity < 1 << 60
    assert 0 < partitioned.identity < 1 << 60
    mysql_sql(connection, f"RENAME TABLE {back_ticked(name)} TO other")
    assert table(connection, "other").identity == first.identity
    mysql_sql(connection, ["DROP TABLE other", f"CREATE TABLE {back_ticked(name)} (a int)"])
    assert table(connection, name).identity != first.identity


def test_the_database_and_the_server(mariadb_server: MysqlServer, make_mysql_database: MakeDatabase) -> None:
    connection = make_mysql_database(
        mariadb_server, options="CHARACTER SET greek COLLATE greek_bin COMMENT 'it''s'"
    )
    with opened(connection) as source:
        facts = {name: source.database[name] for name in ("name", "encoding", "collation", "comment")}
        assert facts == {
            "name": connection.database,
            "encoding": "greek",
            "collation": "greek_bin",
            "comment": "it's",
        }
        assert source.server.flavour == "mariadb"
        assert source.server.version == mariadb_server.version
        identity = source.server.identity
    with opened(connection) as source:
        assert source.server.identity == identity


def test_a_database_that_is_not_there(mariadb_server: MysqlServer) -> None:
    with connect_mysql(mariadb_server.connection("")) as session, pytest.raises(NotFoundError):
        introspect.database_facts(session, "nowhere", flavour_of(session))


def test_databases_but_the_systems_own(mariadb_server: MysqlServer, mysql_database: Connection) -> None:
    found = MysqlEngine().databases(mariadb_server.connection("nowhere"))
    assert mysql_database.database in found
    assert not {"mysql", "information_schema", "performance_schema", "sys"} & set(found)


@pytest.mark.parametrize(
    ("column_type", "expected"),
    [
        ("enum('a','b')", False),
        ("enum('a','')", True),
        ("enum('')", True),
        ("enum('''')", False),
        ("enum('it''s','its')", False),
        ("enum('a,b',',')", False),
        ("ENUM('a','A')", True),
        ("set('é','e')", True),
        ("set('x','y','')", True),
        ("set('x','y')", False),
        ("enum('😀','😁')", True),
        ("enum('a','a ')", True),
        ("varchar(10)", False),
        ("int", False),
    ],
)
def test_which_labels_are_told_apart_by_numbers_only(column_type: str, expected: bool) -> None:
    assert is_by_number(column_type) == expected
