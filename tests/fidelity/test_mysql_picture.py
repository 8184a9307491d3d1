"""The judge of MySQL and MariaDB copies is judged: it sees every kind of damage, and none where none is."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from tests.conftest import MYSQL_MATRIX, MakeDatabase, back_ticked, start_mysql
from tests.fidelity.mysql_accounts import account_statements, drop_statements, picture_of_accounts
from tests.fidelity.mysql_awkward import (
    DATABASE_OPTIONS,
    INVALID,
    build_awkward,
    build_large_blob,
    build_many_rows,
    build_other_engines,
    dialect_of,
    make_text_invalid,
    run,
)
from tests.fidelity.mysql_picture import difference, take_picture

from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer

SAMPLE = (
    "SET sql_mode = ''",
    "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v varchar(30) CHARACTER SET latin1, f float, d double,"
    " e enum('', 'a') DEFAULT 'a', ts timestamp NULL, KEY i (v))",
    "INSERT INTO t (v, f, d, ts) VALUES ('1', 1.234567, 0.3, '2024-01-01'), ('2', 0, 0, NULL), (NULL, NULL, NULL, NULL)",
    "CREATE VIEW w AS SELECT id FROM t",
    "CREATE TRIGGER one BEFORE INSERT ON t FOR EACH ROW SET @x = 1",
    "CREATE TRIGGER two BEFORE INSERT ON t FOR EACH ROW SET @x = 2",
    "CREATE FUNCTION f() RETURNS int NO SQL RETURN 1 /* said */",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DISABLE DO SET @x = 1",
    "CREATE TABLE p (id int) PARTITION BY HASH (id) PARTITIONS 2",
    "INSERT INTO p VALUES (1), (2)",
)
SAMPLE_MARIADB = (
    "CREATE SEQUENCE s",
    "CREATE TABLE h (id int) WITH SYSTEM VERSIONING",
    "INSERT INTO h VALUES (1)",
)

# What is done to it -> the part of the picture that must show it.
DAMAGE = {
    "INSERT INTO p VALUES (1)": "rows",
    "DELETE FROM t WHERE id = 2": "rows",
    "UPDATE t SET v = IF(id = 1, '2', '1') WHERE id < 3": "rows",
    "UPDATE t SET f = 1.23457 WHERE id = 1": "rows",
    "UPDATE t SET d = 0.30000000000000004 WHERE id = 1": "rows",
    "UPDATE t SET d = -0e0 WHERE id = 2": "rows",
    "UPDATE t SET v = '' WHERE v IS NULL": "rows",
    "UPDATE t SET v = 'NULL' WHERE v IS NULL": "rows",
    "UPDATE t SET v = '1 ' WHERE id = 1": "rows",
    "SET sql_mode = ''; UPDATE t SET e = 'no label' WHERE id = 1": "rows",  # not the label ''
    "UPDATE t SET e = '' WHERE id = 1": "rows",
    "UPDATE t SET ts = ts + INTERVAL 1 HOUR": "rows",
    "INSERT INTO t (v) VALUES ('x'); DELETE FROM t WHERE v = 'x'": "tables",  # the counter has moved
    "ALTER TABLE t DROP KEY i": "tables",
    "ALTER TABLE t MODIFY v varchar(30) CHARACTER SET latin1 COMMENT 'x'": "tables",
    "ALTER TABLE t MODIFY v varchar(30) CHARACTER SET latin2": "columns",
    "ALTER TABLE p PARTITION BY HASH (id DIV 3) PARTITIONS 2": "partitions",
    "CREATE OR REPLACE SQL SECURITY INVOKER VIEW w AS SELECT id FROM t": "views",
    "CREATE OR REPLACE VIEW w AS SELECT id AS id FROM t WHERE 1": "views",
    "DROP TRIGGER one; CREATE TRIGGER one BEFORE INSERT ON t FOR EACH ROW SET @x = 1": "triggers",
    "SET sql_mode = 'ANSI'; DROP FUNCTION f; CREATE FUNCTION f() RETURNS int NO SQL RETURN 1 /* said */": "routines",
    "DROP FUNCTION f; CREATE FUNCTION f() RETURNS int NO SQL RETURN 1": "routines",
    "ALTER EVENT e ENABLE": "events",
    "SET time_zone = '+03:00'; ALTER EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 03:00:00'": "events",
    "ALTER DATABASE COLLATE latin1_bin": "properties",
    "DO NEXTVAL(s)": "sequences",
    "UPDATE h SET id = 2; UPDATE h SET id = 1": "history",
}

# What the servers' own tools lose of the awkward database, as a part and a name in it. Those for
# MariaDB alone are of sequences in defaults, database comments and versions; each has FLOAT, dates
# that are none, and labels of an ENUM that look the same.
LOST = {
    *(("rows", table) for table in ("floats", "key_float", "moments", "twins")),
    *(("columns", view) for view in ("a_top", "b view`s", "m_middle")),
    ("views", "m_middle"),  # its base is a stand-in when it is made
}
LOST_BY_MARIADB = {
    ("properties", "definition"),
    *((part, "from_sequence") for part in ("tables", "columns", "rows")),
    *((part, "fk_a") for part in ("tables", "columns", "rows")),
    *(("history", table) for table in ("versioned", "versioned_named", "versioned_parts")),
}
LOST_BY_MYSQL = {(part, "fk_loose_parent") for part in ("tables", "columns", "rows")}


@pytest.fixture(
    scope="module", params=[None, *(pytest.param(n, marks=pytest.mark.matrix) for n in MYSQL_MATRIX)]
)
def server(request: pytest.FixtureRequest) -> Iterator[MysqlServer]:
    """This machine's MariaDB, and each supported server in turn, in a zone with summer time."""
    with start_mysql(request.param or "mariadb", time_zone="Europe/Paris") as running:
        yield running


@pytest.fixture
def database(server: MysqlServer, make_mysql_database: MakeDatabase) -> Connection:
    return make_mysql_database(server)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_seen(damage: str, server: MysqlServer, database: Connection) -> None:
    mariadb = server.flavour_name == "mariadb"
    if DAMAGE[damage] in ("sequences", "history") and not mariadb:
        pytest.skip("only MariaDB has them")
    if "-0e0" in damage and mariadb and not server.version.startswith("10.5."):
        pytest.skip("newer ones store no negative zero")
    run(database, *SAMPLE, *(SAMPLE_MARIADB if mariadb else ()))
    before = take_picture(database)
    assert difference(before, take_picture(database)) == []
    run(database, *damage.split("; "))
    assert any(
        line.startswith(DAMAGE[damage] + ": ") for line in difference(before, take_picture(database))
    ), difference(before, take_picture(database))


def test_a_copy_by_the_own_tools_is_the_same_but_for_what_they_lose(
    server: MysqlServer, make_mysql_database: MakeDatabase
) -> None:
    source = server.connection("native `source`")
    run(server.connection(""), f"DROP DATABASE IF EXISTS {back_ticked(source.database)}")
    build_awkward(server, source.database, gentle=True)
    copy = make_mysql_database(server, options=DATABASE_OPTIONS)
    native_copy(server, source.database, copy.database)
    before, after = take_picture(source), take_picture(copy)
    run(server.connection(""), f"DROP DATABASE {back_ticked(source.database)}")
    mariadb = server.flavour_name == "mariadb"
    lost = {
        (part, name)
        for part in (field for field in before.__dataclass_fields__)
        for name in {*getattr(before, part), *getattr(after, part)}
        if getattr(before, part).get(name) != getattr(after, part).get(name)
    }
    assert ("rows", "floats") in lost
    assert lost <= LOST | (LOST_BY_MARIADB if mariadb else LOST_BY_MYSQL), "\n".join(
        difference(before, after)
    )
    floats = [line for line in difference(before, after) if line.startswith("rows: 'floats': only on")]
    assert "00000060C9C0F33F" in floats[0]  # 1.234567 in 64 bits


def native_copy(server: MysqlServer, source: str, target: str) -> None:
    """What the server's own dump program and client make of a database, going on after errors."""
    names = {"mariadb": ("mariadb-dump", "mariadb"), "mysql": ("mysqldump", "mysql")}[server.flavour_name]
    link = ("--no-defaults", "-h127.0.0.1", f"-P{server.port}", "-uroot")
    options = ("--routines", "--events", "--triggers", "--hex-blob", "--single-transaction")
    no_gtid = () if server.flavour_name == "mariadb" else ("--set-gtid-purged=OFF",)
    dump, client = (server.bin_directory / name for name in names)
    dumped = subprocess.run(
        [dump, *link, *options, *no_gtid, source], capture_output=True, check=True, timeout=60
    )
    subprocess.run(
        [client, *link, "--force", "--binary-mode", "--comments", target], input=dumped.stdout, check=False
    )


def test_all_of_the_awkward_database_can_be_looked_at(server: MysqlServer) -> None:
    build_awkward(server, "awkward")
    connection = server.connection("awkward")
    build_other_engines(server, connection)
    picture = take_picture(connection)
    assert difference(picture, take_picture(connection)) == []
    assert picture.rows["numbers"].count == 4
    assert picture.rows["engine_myisam"].count == 3
    assert "c_ghost" in picture.views
    run(server.connection(), *account_statements(dialect_of(server), connection.database))
    accounts = picture_of_accounts(connection)
    assert len([name for name in accounts if "@" in name or "role" not in name]) >= 4
    run(server.connection(), "REVOKE RELOAD ON *.* FROM 'dbtool -rf'@'localhost'")
    assert picture_of_accounts(connection) != accounts
    run(server.connection(), *drop_statements())
    assert picture_of_accounts(connection) == {}
    run(server.connection(""), "DROP DATABASE awkward")


def test_what_is_added_on_request(server: MysqlServer, database: Connection) -> None:
    make_text_invalid(server, database)
    build_large_blob(database, megabytes=20)
    build_many_rows(database, rows=10_000)
    picture = take_picture(database)
    assert any(INVALID.hex().upper() in row for row in picture.rows["invalid_text"].rows)
    assert any(f"{20 << 21} characters" in row for row in picture.rows["large_blob"].rows)
    assert picture.rows["many_rows"].count == 10_000
