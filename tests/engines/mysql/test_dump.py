"""A whole database goes out, and comes back through the servers' own clients as it was."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MakeDatabase, Sql, back_ticked
from tests.fidelity.mysql_awkward import (
    DATABASE_OPTIONS,
    awkward_statements,
    build_other_engines,
    dialect_of,
    make_text_invalid,
    run,
)
from tests.fidelity.mysql_picture import Picture, difference, take_picture

from dbtool.archive.reader import ArchiveReader
from dbtool.engines.mysql.after import statements_of
from dbtool.engines.mysql.engine import MysqlEngine
from dbtool.errors import DbtoolError, RefusedError
from dbtool.model.backup import Metadata
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, logical_backup
from dbtool.progress import Silent
from dbtool.servers.mysql import MysqlServer
from dbtool.storage.open import open_store

BackUp = Callable[..., tuple[Metadata, Path]]


@pytest.fixture
def back_up(tmp_path: Path) -> BackUp:
    """`back_up(connection, **options)` gives the metadata and the main file."""

    def run_backup(connection: Connection, **options: Any) -> tuple[Metadata, Path]:
        folder = tmp_path / "repository"
        store = open_store(str(folder), create=True)
        metadata = logical_backup(MysqlEngine(), connection, store, BackupOptions(**options), Silent())
        return metadata, next((folder / metadata.id).glob("*.sql.zst"))

    return run_backup


def archive_of(main_file: Path) -> ArchiveReader:
    return ArchiveReader(open_store(str(main_file.parent)), main_file.name)


def pipe_into(server: MysqlServer, database: str, main_file: Path) -> None:
    """What RESTORE.md says."""
    name = "mariadb" if server.flavour_name == "mariadb" else "mysql"
    client = [
        str(server.bin_directory / name),
        "--no-defaults",
        "--protocol=tcp",
        "-h127.0.0.1",
        f"-P{server.port}",
        "-uroot",
    ]
    options: list[str] = [
        "--comments",
        "--binary-mode",
        "--default-character-set=utf8mb4",
        "--max-allowed-packet=1G",
    ]
    script = subprocess.run(["zstd", "-dcq", str(main_file)], stdout=subprocess.PIPE, check=True).stdout
    done = subprocess.run([*client, *options, f"--database={database}"], input=script, capture_output=True)
    assert done.returncode == 0, done.stderr.decode(errors="replace")


def check_awkward(server: MysqlServer, make: MakeDatabase, back_up: BackUp) -> None:
    source = make(server, options=DATABASE_OPTIONS)
    run(source, *awkward_statements(dialect_of(server)))
    before = take_picture(source)
    metadata, main_file = back_up(source)
    assert metadata.type.value == "full"
    target = make(server)
    pipe_into(server, target.database, main_file)
    parts = [part.name for part in fields(Picture) if part.name != "history" or restores_history(server)]
    assert "\n".join(difference(before, take_picture(target), parts)) == ""
    assert any("history is left out" in text for text in metadata.warnings) is not restores_history(server)


def restores_history(server: MysqlServer) -> bool:
    """MariaDB before 10.11 lets nobody insert the rows of history; MySQL has none."""
    return server.flavour_name == "mysql" or dialect_of(server).is_mariadb(10, 11)


def test_an_awkward_database_comes_back_through_the_client(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp
) -> None:
    check_awkward(mariadb_server, make_mysql_database, back_up)


def test_on_every_server(
    mysql_matrix_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp
) -> None:
    check_awkward(mysql_matrix_server, make_mysql_database, back_up)


@pytest.mark.matrix
def test_libraries(
    mysql_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp, mysql_sql: Sql
) -> None:
    source = make_mysql_database(mysql_server)
    body = "export function f(n) { return n + ';;' }"
    mysql_sql(source, f"CREATE LIBRARY `l``ib` COMMENT 'it''s' LANGUAGE JAVASCRIPT AS $$ {body} $$")
    _, main_file = back_up(source)
    target = make_mysql_database(mysql_server)
    pipe_into(mysql_server, target.database, main_file)
    shown = "SHOW CREATE LIBRARY `l``ib`"
    assert mysql_sql(target, shown) == mysql_sql(source, shown)


@pytest.mark.parametrize(
    "name", ["it's `odd`\n-- ü", "-rf", "percent%s", "a.b", "名" * 30, "back\\slash", "select"]
)
def test_any_name_of_a_database(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp, mysql_sql: Sql, name: str
) -> None:
    source = make_mysql_database(mariadb_server, name)
    quoted = back_ticked(name)
    mysql_sql(
        source,
        [
            f"CREATE TABLE {quoted} ({quoted} int PRIMARY KEY, b int) COMMENT 'odd'",
            f"INSERT INTO {quoted} VALUES (1, 1), (2, 2)",
            f"CREATE VIEW v AS SELECT {quoted}.* FROM {quoted}.{quoted}",
            f"CREATE VIEW other AS SELECT t.b, u.User FROM {quoted}.{quoted} AS t JOIN mysql.user AS u",
            f"CREATE TRIGGER {quoted}.tr BEFORE INSERT ON {quoted}.{quoted} FOR EACH ROW SET @x = 1",
        ],
    )
    before = take_picture(source)
    _, main_file = back_up(source)
    target = make_mysql_database(mariadb_server)
    pipe_into(mariadb_server, target.database, main_file)
    found = [
        line
        for line in difference(before, take_picture(target))
        if not line.startswith(("triggers", "views"))
    ]
    assert found == []
    assert mysql_sql(target, "SELECT COUNT(*) FROM v") == [(2,)]
    assert mysql_sql(target, "SELECT COUNT(*) > 2 FROM other") == [(1,)]
    for statement in ("SHOW CREATE TRIGGER tr", "SHOW CREATE VIEW v", "SHOW CREATE VIEW other"):
        shown = " ".join(str(value) for value in mysql_sql(target, statement)[0])
        assert f"{quoted}.{quoted}.{quoted}" not in shown
        assert f"{quoted}.`tr`" not in shown


def test_tables_without_transactions_are_locked_while_they_are_read(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp, mysql_sql: Sql
) -> None:
    source = make_mysql_database(mariadb_server)
    mysql_sql(source, ["CREATE TABLE plain (a int PRIMARY KEY)", "INSERT INTO plain VALUES (1), (2)"])
    build_other_engines(mariadb_server, source)
    before = take_picture(source)
    metadata, main_file = back_up(source)
    target = make_mysql_database(mariadb_server)
    pipe_into(mariadb_server, target.database, main_file)
    assert difference(before, take_picture(target)) == []
    assert "merged" not in [table.name for table in metadata.tables]


@pytest.mark.matrix
def test_tables_without_transactions_on_mysql(
    mysql_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp
) -> None:
    source = make_mysql_database(mysql_server)
    build_other_engines(mysql_server, source)
    before = take_picture(source)
    _, main_file = back_up(source)
    target = make_mysql_database(mysql_server)
    pipe_into(mysql_server, target.database, main_file)
    assert difference(before, take_picture(target)) == []


def check_invalid_text(server: MysqlServer, make: MakeDatabase, back_up: BackUp, mysql_sql: Sql) -> None:
    source = make(server)
    make_text_invalid(server, source)
    mysql_sql(
        source,
        [
            "CREATE TABLE good (a int PRIMARY KEY, v varchar(20) CHARACTER SET utf8mb4)",
            "INSERT INTO good VALUES (1, 'né😀')",
        ],
    )
    with pytest.raises(RefusedError) as caught:
        back_up(source)
    assert "invalid_text, column v, row id = 2: the text is not valid utf8mb4" in caught.value.message
    assert "-allow-invalid-text" in str(caught.value.hint)
    metadata, _ = back_up(source, allow_invalid_text=True)
    assert any("invalid_text, column v, row id = 2" in text for text in metadata.warnings)
    back_up(source, tables=("good",))


def test_text_that_is_none_is_found(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp, mysql_sql: Sql
) -> None:
    check_invalid_text(mariadb_server, make_mysql_database, back_up, mysql_sql)


@pytest.mark.matrix
def test_text_that_is_none_is_found_on_mysql(
    mysql_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp, mysql_sql: Sql
) -> None:
    check_invalid_text(mysql_server, make_mysql_database, back_up, mysql_sql)


def test_valid_text_beside_bytes_is_no_invalid_text(
    mysql_database: Connection, back_up: BackUp, mysql_sql: Sql
) -> None:
    mysql_sql(
        mysql_database,
        [
            "SET NAMES utf8mb4",
            """CREATE TABLE t (b varbinary(20), u varchar(20) CHARACTER SET utf8mb4, s varchar(20) CHARACTER SET utf8mb3,
            l varchar(20) CHARACTER SET latin1, w varchar(20) CHARACTER SET utf16, g varchar(20) CHARACTER SET gbk,
            j json, a varchar(20) CHARACTER SET ascii, e enum('é') CHARACTER SET latin1)""",
            "INSERT INTO t VALUES (X'FFFE80', '名😀', '名', 'éÿ', '名😀', '名', '{\"é\": 1}', '~', 'é')",
            "CREATE TABLE only_utf8 (u mediumtext CHARACTER SET utf8mb4, s varchar(20) CHARACTER SET utf8mb3)",
            "INSERT INTO only_utf8 VALUES (REPEAT('é😀', 500000), '名')",
        ],
    )
    back_up(mysql_database)


PARTS = [
    "CREATE TABLE parent (id int PRIMARY KEY, v int, KEY (v))",
    """CREATE TABLE child (id int PRIMARY KEY, p int, q int,
    FOREIGN KEY own (p) REFERENCES parent (id), FOREIGN KEY (q) REFERENCES child (id))""",
    "CREATE TABLE `order items` (id int PRIMARY KEY)",
    "CREATE TRIGGER tr BEFORE INSERT ON child FOR EACH ROW SET @x = 1",
    "CREATE VIEW v AS SELECT * FROM parent",
    "CREATE PROCEDURE p() SELECT 1",
    "INSERT INTO parent VALUES (1, 1), (2, 2)",
    "INSERT INTO child VALUES (1, 1, 1)",
]


def test_some_tables_with_what_belongs_to_them(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp, mysql_sql: Sql
) -> None:
    source = make_mysql_database(mariadb_server)
    mysql_sql(
        source,
        [
            *PARTS,
            "CREATE SEQUENCE s",
            "CREATE SEQUENCE unused",
            "ALTER TABLE child ADD n int DEFAULT NEXTVAL(s)",
            "DO NEXTVAL(s)",
        ],
    )
    metadata, main_file = back_up(source, tables=("child", "order*"))
    assert [table.name for table in metadata.tables] == ["child", "order items"]
    assert any("FK CONSTRAINT child" in text and "left out" in text for text in metadata.warnings)
    target = make_mysql_database(mariadb_server)
    pipe_into(mariadb_server, target.database, main_file)
    before, after = take_picture(source), take_picture(target)
    assert difference(before, after, ["rows"]) == ["rows: 'parent': only on the left"]
    assert set(after.triggers) == set(before.triggers)
    assert set(after.sequences) == {"s"}
    assert not after.views
    assert not after.routines
    assert "REFERENCES `child`" in after.tables["child"]
    (aside,) = archive_of(main_file).index.omitted
    assert "REFERENCES `parent` (`id`)" in str(aside.sql)


@pytest.mark.parametrize(
    ("pattern", "error"),
    [("nothing", "no table is called nothing"), ("v", "v is a view, not a table")],
)
def test_names_of_no_tables(
    mysql_database: Connection, back_up: BackUp, mysql_sql: Sql, pattern: str, error: str
) -> None:
    mysql_sql(mysql_database, PARTS)
    with pytest.raises(DbtoolError) as caught:
        back_up(mysql_database, tables=(pattern,))
    assert error in caught.value.message


def test_a_broken_view_is_left_out_and_said(
    mysql_database: Connection, back_up: BackUp, mysql_sql: Sql
) -> None:
    mysql_sql(
        mysql_database,
        [
            "CREATE TABLE gone (a int)",
            "CREATE VIEW broken AS SELECT a FROM gone",
            "CREATE VIEW above AS SELECT a FROM broken",
            "DROP TABLE gone",
        ],
    )
    metadata, main_file = back_up(mysql_database)
    assert len([text for text in metadata.warnings if "is broken on the server" in text]) == 2
    assert {item.name for item in archive_of(main_file).index.omitted} == {"broken", "above"}


def test_the_index_says_where_each_object_stands(
    mysql_database: Connection, back_up: BackUp, mysql_sql: Sql
) -> None:
    mysql_sql(mysql_database, PARTS)
    _, main_file = back_up(mysql_database)
    archive = archive_of(main_file)
    objects = {}
    for number, frame in enumerate(archive.index.frames):
        text = archive.read(number)
        for item in frame.objects:
            objects[item.kind, item.name] = text[item.offset : item.offset + item.length].decode()
    assert objects["TABLE", "parent"].startswith("CREATE TABLE `parent` (")
    assert objects["INDEX", "parent"] == "ALTER TABLE `parent`\n  ADD KEY `v` (`v`);\n"
    assert "ADD CONSTRAINT" in objects["FK CONSTRAINT", "child child_ibfk_1"]
    statements = statements_of(objects["TRIGGER", "tr"])
    assert [text.split()[0] for text in statements] == ["SET", "SET", "CREATE", "SET", "SET"]


def test_values_at_the_ends_of_the_packets(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp, mysql_sql: Sql
) -> None:
    source = make_mysql_database(mariadb_server)
    mysql_sql(source.with_database("mysql"), "SET GLOBAL max_allowed_packet = 1073741824")
    mysql_sql(
        source,
        [
            "CREATE TABLE t (id int PRIMARY KEY, b longblob)",
            "INSERT INTO t VALUES (1, REPEAT(X'0027', 20000000)), (2, 'x')",
        ],
    )
    before = take_picture(source)
    metadata, main_file = back_up(source)
    guide = (main_file.parent / "RESTORE.md").read_text()
    assert "at least 78 MiB" in guide  # every byte has an escape
    target = make_mysql_database(mariadb_server)
    pipe_into(mariadb_server, target.database, main_file)
    assert difference(before, take_picture(target)) == []
    assert metadata.statistics["total_rows_processed"] == 2


def test_minus_zero_and_inexact_fractions(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, back_up: BackUp, mysql_sql: Sql
) -> None:
    source = make_mysql_database(mariadb_server)
    mysql_sql(
        source,
        ["CREATE TABLE t (d double, f float)", "INSERT INTO t VALUES ('-0', '-0'), (0, 0), (0.1, 0.1)"],
    )
    _, main_file = back_up(source)
    target = make_mysql_database(mariadb_server)
    pipe_into(mariadb_server, target.database, main_file)
    found = mysql_sql(target, "SELECT CAST(d AS CHAR), CAST(f AS CHAR) FROM t")
    assert found == mysql_sql(source, "SELECT CAST(d AS CHAR), CAST(f AS CHAR) FROM t")


USERS = [
    "CREATE USER `it's`@'%' IDENTIFIED BY 'secret one'",
    "CREATE ROLE the_role",
    "GRANT SELECT ON *.* TO the_role",
    "GRANT the_role TO `it's`@'%'",
    "SET DEFAULT ROLE the_role FOR `it's`@'%'",
    "GRANT INSERT, UPDATE ON mysql.* TO `it's`@'%' WITH GRANT OPTION",
]


def test_users_and_roles_come_back(
    mariadb_server: MysqlServer, mysql_database: Connection, back_up: BackUp, mysql_sql: Sql
) -> None:
    root = mariadb_server.connection("mysql")
    mysql_sql(root, USERS)
    shown = ("SHOW GRANTS FOR `it's`@'%'", "SHOW CREATE USER `it's`@'%'", "SHOW GRANTS FOR the_role")
    before = [mysql_sql(root, statement) for statement in shown]
    try:
        _, main_file = back_up(mysql_database)
        script = (main_file.parent / "globals.sql").read_bytes()
        mysql_sql(root, ["DROP USER `it's`@'%'", "DROP ROLE the_role"])
        client = [
            str(mariadb_server.bin_directory / "mariadb"),
            "--no-defaults",
            "-h127.0.0.1",
            f"-P{mariadb_server.port}",
            "-uroot",
        ]
        subprocess.run([*client, "--binary-mode"], input=script, check=True)
        assert [mysql_sql(root, statement) for statement in shown] == before
        # Who is there keeps the password.
        mysql_sql(root, "ALTER USER `it's`@'%' IDENTIFIED BY 'another'")
        changed = mysql_sql(root, shown[1])
        subprocess.run([*client, "--binary-mode"], input=script, check=True)
        assert mysql_sql(root, shown[1]) == changed
    finally:
        mysql_sql(root, ["DROP USER IF EXISTS `it's`@'%'", "DROP ROLE IF EXISTS the_role"])


@pytest.fixture
def account(
    mariadb_server: MysqlServer, mysql_database: Connection, mysql_sql: Sql
) -> Iterator[Callable[..., Connection]]:
    """`account(grants...)` gives the database as somebody sees it who has been granted only these."""
    root = mariadb_server.connection("mysql")

    def make(*grants: str) -> Connection:
        place = back_ticked(mysql_database.database)
        mysql_sql(root, "CREATE OR REPLACE USER small@'%' IDENTIFIED BY 'pw'")
        for grant in grants:
            mysql_sql(root, f"GRANT {grant.replace('DB', place)} TO small@'%'")
        return replace(mysql_database, user="small", password="pw")

    yield make
    mysql_sql(root, "DROP USER IF EXISTS small@'%'")


@pytest.mark.parametrize(
    ("grants", "message"),
    [
        (("SELECT ON DB.*",), "it lacks SHOW VIEW, TRIGGER, EVENT"),
        (("SELECT, SHOW VIEW, TRIGGER, EVENT ON DB.*",), "may not see the routines"),
    ],
)
def test_an_account_that_may_not_see_everything_is_refused(
    account: Callable[..., Connection], back_up: BackUp, grants: tuple[str, ...], message: str
) -> None:
    with pytest.raises(RefusedError) as caught:
        back_up(account(*grants))
    assert message in caught.value.message
    assert "GRANT" in str(caught.value.hint)


LEAST = "SELECT, SHOW VIEW, TRIGGER, EVENT ON DB.*", "SELECT ON mysql.proc"


def test_an_account_with_no_more_than_it_needs(
    account: Callable[..., Connection], back_up: BackUp, mysql_sql: Sql, mysql_database: Connection
) -> None:
    mysql_sql(mysql_database, PARTS)
    metadata, main_file = back_up(account(*LEAST))
    assert metadata.statistics["total_rows_processed"] == 3
    assert any("globals.sql" in warning for warning in metadata.warnings)
    assert "PROCEDURE `p`" in (main_file.parent / "schema.sql").read_text()
    assert not (main_file.parent / "globals.sql").exists()


def test_a_table_without_transactions_needs_the_right_to_lock_it(
    account: Callable[..., Connection], back_up: BackUp, mysql_sql: Sql, mysql_database: Connection
) -> None:
    mysql_sql(mysql_database, ["CREATE TABLE t (a int) ENGINE=MyISAM", "INSERT INTO t VALUES (1)"])
    with pytest.raises(RefusedError) as caught:
        back_up(account(*LEAST))
    assert "the rows of t cannot be held still" in caught.value.message
    metadata, _ = back_up(account(*LEAST, "LOCK TABLES ON DB.*"))
    assert metadata.statistics["total_rows_processed"] == 1
