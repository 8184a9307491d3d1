"""Whatever changes after a full backup of MySQL or MariaDB, the restored chain is the database as it is then: through
dbtool, and through the client program alone, which runs the second script twice."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from tests.cli import running
from tests.conftest import MYSQL_MATRIX, MakeDatabase, Sql, back_ticked, start_mysql
from tests.fidelity.mysql_awkward import (
    DATABASE_OPTIONS,
    awkward_statements,
    build_other_engines,
    dialect_of,
    run,
)
from tests.fidelity.mysql_picture import Picture, difference, take_picture
from tests.mysql_logical import backup, bring_back, differential

from dbtool.archive.reader import ArchiveReader
from dbtool.catalog.repository import Repository
from dbtool.engines.mysql.locks import UnavailableError
from dbtool.model.backup import BackupType, Metadata
from dbtool.model.connection import Connection
from dbtool.operations.verify import verify_resolved
from dbtool.progress import Silent
from dbtool.servers.mysql import MysqlServer
from dbtool.storage.local import LocalStore

OPTIONS = "CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"
NUMBERS = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT {} FROM n"


def numbered(table: str, most: int, values: str) -> str:
    """Rows for the numbers i from 1 on."""
    return f"INSERT INTO {table} " + NUMBERS.format(most, values)


START = (
    "SET SESSION sql_mode = ''",
    "CREATE TABLE plain (id int PRIMARY KEY, other int UNIQUE, note text)",
    numbered("plain", 900, "i, -i, concat('note ', i)"),
    "CREATE TABLE keyless (a int, b varchar(20))",
    numbered("keyless", 300, "i % 50, 'text'"),
    "CREATE TABLE named (name varchar(40) COLLATE utf8mb4_general_ci PRIMARY KEY, v int)",
    numbered("named", 500, "concat('name ', i), i"),
    "CREATE TABLE pairs (a varchar(20) COLLATE utf8mb4_bin, b datetime(3), c decimal(20, 6), d bit(9), e enum('x', 'y'),"
    " PRIMARY KEY (b, a, c, d, e))",
    numbered(
        "pairs", 500, "concat('k', i), '2024-01-01' + INTERVAL i HOUR, i / 7, i % 512, if(i % 2, 'x', 'y')"
    ),
    "CREATE TABLE binaries (k varbinary(20) PRIMARY KEY, b longblob, j json)",
    numbered(
        "binaries",
        300,
        "unhex(left(sha2(i, 256), 32)), repeat(unhex(left(sha2(i, 256), 32)), i), concat('{\"i\": ', i, '}')",
    ),
    "CREATE TABLE floats (f float PRIMARY KEY, d double, s float(7, 4))",
    numbered("floats", 300, "i / 3, i / 7, i / 9"),
    "CREATE TABLE parent (id int PRIMARY KEY, code int NOT NULL, KEY by_code (code), UNIQUE KEY once (code))",
    numbered("parent", 100, "i, i * 10"),
    "CREATE TABLE child (id int AUTO_INCREMENT PRIMARY KEY, parent_id int NOT NULL, code int, self_id int,"
    " CONSTRAINT to_parent FOREIGN KEY (parent_id) REFERENCES parent (id) ON DELETE CASCADE,"
    " CONSTRAINT to_code FOREIGN KEY (code) REFERENCES parent (code) ON UPDATE CASCADE,"
    " CONSTRAINT to_self FOREIGN KEY (self_id) REFERENCES child (id))",
    numbered("child", 400, "i, 1 + i % 100, 10 * (1 + i % 100), nullif(i DIV 2, 0)"),
    "CREATE TABLE one (id int PRIMARY KEY, other int)",
    "CREATE TABLE two (id int PRIMARY KEY, other int, CONSTRAINT to_one FOREIGN KEY (other) REFERENCES one (id))",
    "ALTER TABLE one ADD CONSTRAINT to_two FOREIGN KEY (other) REFERENCES two (id)",
    "SET foreign_key_checks = 0",
    numbered("one", 50, "i, i"),
    numbered("two", 50, "i, i"),
    "SET foreign_key_checks = 1",
    "CREATE TABLE measured (id int NOT NULL, at date NOT NULL, value double, doubled double AS (value * 2) STORED,"
    " twice double AS (value + value) VIRTUAL, PRIMARY KEY (id, at), KEY by_value (value))"
    " PARTITION BY RANGE (year(at)) (PARTITION old VALUES LESS THAN (2024), PARTITION now VALUES LESS THAN (2025),"
    " PARTITION later VALUES LESS THAN MAXVALUE)",
    "INSERT INTO measured (id, at, value) "
    + NUMBERS.format(600, "i, '2023-06-01' + INTERVAL i DAY, sqrt(i)"),
    "CREATE TABLE counted (id int AUTO_INCREMENT PRIMARY KEY, v varchar(20)) AUTO_INCREMENT = 1000",
    numbered("counted", 200, "NULL, concat('v', i)"),
    "CREATE TABLE moods (id int PRIMARY KEY, how enum('sad', 'fine'), since timestamp NULL, zero date)",
    numbered("moods", 200, "i, 1 + i % 2, '2024-03-31 00:30:00', '0000-00-00'"),
    "CREATE TABLE logged (id int AUTO_INCREMENT PRIMARY KEY, said varchar(90))",
    "CREATE TRIGGER watched AFTER INSERT ON plain FOR EACH ROW INSERT INTO logged (said) VALUES ('insert')",
    "CREATE TRIGGER watched_too AFTER INSERT ON plain FOR EACH ROW INSERT INTO logged (said) VALUES ('again')",
    "CREATE TRIGGER missed AFTER DELETE ON plain FOR EACH ROW INSERT INTO logged (said) VALUES (concat('gone ', OLD.id))",
    "CREATE TRIGGER changed BEFORE INSERT ON moods FOR EACH ROW SET NEW.how = 'fine'",
    "CREATE VIEW shown AS SELECT id, note FROM plain WHERE other < 0",
    "CREATE VIEW shown_twice AS SELECT id FROM shown",
    "CREATE FUNCTION answer(n int) RETURNS int DETERMINISTIC RETURN n + 41",
    "CREATE PROCEDURE talk() BEGIN SELECT 1; SELECT ';;'; END",
    "CREATE EVENT sweeping ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM plain",
    "CREATE EVENT resting ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE DO DELETE FROM plain",
)
START_MARIADB = (
    "ALTER DATABASE COMMENT 'it''s one'",
    "CREATE SEQUENCE counter START WITH 5",
    "DO NEXTVAL(counter)",
    "CREATE TABLE numbered (id int DEFAULT NEXTVAL(counter) PRIMARY KEY, v int)",
    "INSERT INTO numbered (v) VALUES (1), (2)",
    "CREATE TABLE versioned (id int PRIMARY KEY, v int) WITH SYSTEM VERSIONING",
    "INSERT INTO versioned VALUES (1, 1), (2, 2), (3, 3)",
    "UPDATE versioned SET v = 4 WHERE id = 2",
)


@dataclass(frozen=True)
class Change:
    """Statements, and what then must be taken of a table."""

    statements: tuple[str, ...]
    table: str
    taken: str
    mariadb_only: bool = False


def change(statements: str | Sequence[str], taken: str, table: str = "plain") -> Change:
    return Change((statements,) if isinstance(statements, str) else tuple(statements), table, taken)


def mariadb(statements: str | Sequence[str], taken: str, table: str) -> Change:
    found = change(statements, taken, table)
    return Change(found.statements, table, taken, mariadb_only=True)


CHANGES = {
    "nothing": change("DO 1", "unchanged"),
    "inserts": change(
        "INSERT INTO plain VALUES (0, 0, 'new'), (-5, 5, NULL), (901, 7, 'it''s \\\\ \n')", "rows"
    ),
    "updates": change("UPDATE plain SET note = concat(note, '!') WHERE id % 90 = 0", "rows"),
    "deletes": change("DELETE FROM plain WHERE id % 77 = 0", "rows"),
    "all three": change(
        [
            "INSERT INTO plain VALUES (5000, 5000, 'new')",
            "UPDATE plain SET note = NULL WHERE id = 5",
            "DELETE FROM plain WHERE id = 6",
        ],
        "rows",
    ),
    "everything deleted": change("DELETE FROM plain", "whole"),
    "deleted and inserted again": change(
        ["DELETE FROM plain WHERE id = 5", "INSERT INTO plain VALUES (5, -5, 'note 5')"], "unchanged"
    ),
    "truncate": change("TRUNCATE plain", "whole"),
    "truncated and filled": change(["TRUNCATE plain", "INSERT INTO plain VALUES (1, 1, 'one')"], "whole"),
    "keys changed": change("UPDATE plain SET id = id + 100000 WHERE id < 20", "rows"),
    "keys moved up": change("UPDATE plain SET id = id + 1 WHERE id > 880 ORDER BY id DESC", "rows"),
    "swapped in a second unique index": change(
        [
            "UPDATE plain SET other = NULL WHERE id IN (1, 2)",
            "UPDATE plain SET other = -2 WHERE id = 1",
            "UPDATE plain SET other = -1 WHERE id = 2",
        ],
        "rows",
    ),
    "most rows": change("UPDATE plain SET note = 'x' WHERE id > 100", "whole"),
    "without a key": change(
        ["INSERT INTO keyless VALUES (1, 'text')", "DELETE FROM keyless WHERE a = 7"], "whole", "keyless"
    ),
    "without a key, and nothing": change("INSERT INTO plain VALUES (0, 0, 'new')", "unchanged", "keyless"),
    "the case of a key": change(
        [
            "UPDATE named SET name = upper(name) WHERE v % 100 = 0",
            "DELETE FROM named WHERE name = 'name 7'",
            "INSERT INTO named VALUES ('NAMÉ 7', 7)",
        ],
        "rows",
        "named",
    ),
    "keys of many columns": change(
        [
            "UPDATE pairs SET c = c + 0.000001 WHERE a = 'k17'",
            "UPDATE pairs SET b = b + INTERVAL 1000 MICROSECOND WHERE a = 'k18'",
            "UPDATE pairs SET e = 'y' WHERE a = 'k19'",
            "DELETE FROM pairs WHERE a = 'k20'",
            "INSERT INTO pairs VALUES ('K21', '0000-00-00', 0, 0, 'x')",
        ],
        "rows",
        "pairs",
    ),
    "bytes and JSON": change(
        [
            "UPDATE binaries SET b = concat(b, x'00270a5c1a') WHERE k < x'20'",
            "UPDATE binaries SET j = '{\"other\": [1, 2, \"\\\\u00e9\"]}' WHERE k > x'e8'",
            "INSERT INTO binaries VALUES (x'', '', NULL), (x'005c271a0a2c0d', NULL, '[]')",
        ],
        "rows",
        "binaries",
    ),
    "a float for a key": change("UPDATE floats SET d = 0.1 WHERE d < 1", "whole", "floats"),
    "a float for a key, and nothing": change("DO 1", "unchanged", "floats"),
    "cascades": change(
        [
            "UPDATE child SET self_id = NULL",
            "DELETE FROM parent WHERE id IN (7, 9)",
            "DELETE FROM child WHERE id > 390",
        ],
        "rows",
        "parent",
    ),
    "a cascading update": change("UPDATE parent SET code = 77777 WHERE id = 3", "rows", "child"),
    "references to each other": change(
        [
            "SET foreign_key_checks = 0",
            "UPDATE one SET other = 51 WHERE id = 1",
            "INSERT INTO two VALUES (51, 52)",
            "INSERT INTO one VALUES (52, 51)",
        ],
        "rows",
        "two",
    ),
    "a referenced table is made anew": change(
        "ALTER TABLE parent ADD COLUMN extra int DEFAULT 7", "whole", "parent"
    ),
    "a referenced table comes whole": change(
        ["SET foreign_key_checks = 0", "UPDATE parent SET id = id + 1000, code = code + 7"], "whole", "parent"
    ),
    "moved between partitions": change(
        [
            "UPDATE measured SET at = '2026-01-01' WHERE id < 20",
            "UPDATE measured SET at = '2020-01-01' WHERE id > 590",
            "UPDATE measured SET value = 0 WHERE id = 300",
        ],
        "rows",
        "measured",
    ),
    "other partitions": change(
        "ALTER TABLE measured REORGANIZE PARTITION later INTO (PARTITION soon VALUES LESS THAN (2026),"
        " PARTITION far VALUES LESS THAN MAXVALUE)",
        "whole",
        "measured",
    ),
    "a partition dropped": change("ALTER TABLE measured DROP PARTITION old", "whole", "measured"),
    "an index less": change(
        ["DROP INDEX by_value ON measured", "CREATE INDEX by_note ON plain (note(20))"], "whole", "measured"
    ),
    "new tables": change(
        [
            "CREATE TABLE fresh (id int AUTO_INCREMENT PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES parent (id))",
            "INSERT INTO fresh (p) VALUES (1), (2)",
            "CREATE TABLE empty_one (a int)",
        ],
        "whole",
        "fresh",
    ),
    "dropped tables": change(
        ["DROP TABLE child", "DROP TABLE parent", "DROP TABLE measured", "DROP TABLE keyless"], "unchanged"
    ),
    "column added": change("ALTER TABLE plain ADD COLUMN extra int DEFAULT 7", "whole"),
    "column dropped": change(
        ["ALTER TABLE binaries DROP COLUMN j", "UPDATE plain SET note = 'y' WHERE id = 3"], "rows"
    ),
    "type changed": change("ALTER TABLE plain MODIFY note varchar(99)", "whole"),
    "renamed": change(
        ["RENAME TABLE named TO renamed", "CREATE TABLE named (id int PRIMARY KEY)"], "whole", "named"
    ),
    "swapped": change(
        [
            "CREATE TABLE plain2 (id int PRIMARY KEY, other int UNIQUE, note text)",
            "INSERT INTO plain2 SELECT * FROM plain WHERE id > 30",
            "RENAME TABLE plain TO plain_old, plain2 TO plain",
        ],
        "rows",
    ),
    "a label renamed": change("ALTER TABLE moods MODIFY how enum('gloomy', 'fine')", "whole", "moods"),
    "a label added": change("ALTER TABLE moods MODIFY how enum('sad', 'fine', 'great')", "whole", "moods"),
    "zero dates and summer time": change(
        [
            "UPDATE moods SET zero = '2024-00-00' WHERE id = 7",
            "SET time_zone = '+00:00'",
            "UPDATE moods SET since = '2024-03-31 01:30:00', how = 'sad' WHERE id = 8",
            "UPDATE moods SET since = '2038-01-19 03:14:07' WHERE id = 9",
        ],
        "rows",
        "moods",
    ),
    "counters": change(
        [
            "INSERT INTO counted (v) VALUES ('x')",
            "DELETE FROM counted WHERE v = 'x'",
            "ALTER TABLE child AUTO_INCREMENT = 5000",
        ],
        "unchanged",
        "counted",
    ),
    "a counter moved back": change(
        ["DELETE FROM counted WHERE id > 1100", "ALTER TABLE counted AUTO_INCREMENT = 1"], "rows", "counted"
    ),
    "an id of zero": change(
        ["SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'", "INSERT INTO counted VALUES (0, 'zero')"],
        "rows",
        "counted",
    ),
    "views": change(
        [
            "CREATE OR REPLACE VIEW shown AS SELECT id, note FROM plain WHERE other < -1",
            "DROP VIEW shown_twice",
        ],
        "unchanged",
    ),
    "a view for a table": change(
        [
            "DROP TABLE keyless",
            "CREATE VIEW keyless AS SELECT id FROM plain",
            "DROP VIEW shown",
            "CREATE TABLE shown (id int)",
        ],
        "whole",
        "shown",
    ),
    "routines": change(
        [
            "DROP FUNCTION answer",
            "CREATE FUNCTION answer(n int) RETURNS int DETERMINISTIC RETURN n + 42",
            "DROP PROCEDURE talk",
            "CREATE FUNCTION talk() RETURNS int NO SQL RETURN 1",
        ],
        "unchanged",
    ),
    "triggers": change(
        [
            "DROP TRIGGER watched",
            "CREATE TRIGGER watched AFTER UPDATE ON moods FOR EACH ROW INSERT INTO logged (said) VALUES ('mood')",
            "UPDATE moods SET how = 'sad' WHERE id < 9",
            "DROP TRIGGER missed",
        ],
        "rows",
        "moods",
    ),
    "the order of triggers": change(
        [
            "DROP TRIGGER watched",
            "CREATE TRIGGER watched AFTER INSERT ON plain FOR EACH ROW INSERT INTO logged (said) VALUES ('insert')",
        ],
        "unchanged",
    ),
    "events": change(
        [
            "ALTER EVENT sweeping DISABLE",
            "ALTER EVENT resting ENABLE",
            "CREATE EVENT third ON SCHEDULE EVERY 2 DAY STARTS '2037-01-01 00:00:00' DO BEGIN SELECT 1; SELECT 2; END",
        ],
        "unchanged",
    ),
    "an event gone": change("DROP EVENT sweeping", "unchanged"),
    "the database's character set": change(
        "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin", "unchanged"
    ),
    "another comment on the database": mariadb("ALTER DATABASE COMMENT 'said'", "unchanged", "plain"),
    "no comment on the database": mariadb("ALTER DATABASE COMMENT ''", "unchanged", "plain"),
    "a foreign key": change(
        [
            "ALTER TABLE child DROP FOREIGN KEY to_code",
            "ALTER TABLE moods ADD CONSTRAINT plain_one FOREIGN KEY (id) REFERENCES plain (id)",
        ],
        "whole",
        "child",
    ),
    "a column of a generated value": change(
        "ALTER TABLE plain ADD COLUMN twice int AS (id * 2) STORED, ADD KEY by_twice (twice)", "whole"
    ),
    "rebuilt": change(
        ["ALTER TABLE plain ENGINE = InnoDB", "UPDATE plain SET note = 'z' WHERE id = 9"], "rows"
    ),
    "sequences": mariadb(["DO NEXTVAL(counter)", "INSERT INTO numbered (v) VALUES (3)"], "rows", "numbered"),
    "another sequence": mariadb(
        ["ALTER SEQUENCE counter INCREMENT BY 3", "CREATE SEQUENCE more"], "unchanged", "numbered"
    ),
    "a sequence gone": mariadb(
        ["ALTER TABLE numbered ALTER id DROP DEFAULT", "DROP SEQUENCE counter"], "whole", "numbered"
    ),
    "history": mariadb(
        ["UPDATE versioned SET v = 5 WHERE id = 3", "DELETE FROM versioned WHERE id = 1"],
        "whole",
        "versioned",
    ),
    "history, and nothing": mariadb("INSERT INTO plain VALUES (0, 0, 'new')", "unchanged", "versioned"),
}


@pytest.fixture(
    scope="module", params=[None, *(pytest.param(n, marks=pytest.mark.matrix) for n in MYSQL_MATRIX)]
)
def server(request: pytest.FixtureRequest) -> Iterator[MysqlServer]:
    """This machine's MariaDB, and each supported server in turn, in a zone with summer time."""
    with start_mysql(request.param or "mariadb", time_zone="Europe/Paris") as running:
        yield running


@pytest.fixture
def started(server: MysqlServer, make_mysql_database: MakeDatabase) -> Connection:
    source = make_mysql_database(server, options=OPTIONS)
    run(source, *START, *(START_MARIADB if dialect_of(server).mariadb else ()))
    return source


def parts_that_come_back(server: MysqlServer) -> list[str]:
    """MariaDB before 10.11 lets nobody insert the rows of history."""
    has_history = not dialect_of(server).mariadb or dialect_of(server).is_mariadb(10, 11)
    return [part.name for part in fields(Picture) if part.name != "history" or has_history]


def pipe(server: MysqlServer, database: str, folder: Path, frames: int | None = None) -> None:
    """The script of a backup, as RESTORE.md says; or only so many frames of it."""
    program = server.bin_directory / ("mysql" if server.flavour_name == "mysql" else "mariadb")
    command = [str(program), "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{server.port}", "-uroot"]
    command += ["--comments", "--binary-mode", "--default-character-set=utf8mb4", "--max-allowed-packet=1G"]
    (archive,) = folder.glob("*.sql.zst")
    script = subprocess.run(["zstd", "-dcq", archive], capture_output=True, check=True).stdout
    if frames is not None:
        listed = ArchiveReader(LocalStore(folder), archive.name).index.frames
        script = script[: sum(frame.plain_bytes for frame in listed[:frames])]
    done = subprocess.run([*command, f"--database={database}"], input=script, capture_output=True)
    assert done.returncode == 0, f"{archive}: {done.stderr.decode(errors='replace')}"


def folder_of(repository: Path, reference: str) -> Path:
    resolved = Repository(LocalStore(repository)).resolve(reference)
    assert resolved.backup is not None
    return repository / resolved.backup.folder


def check_chain(
    taken: Metadata,
    expected: Picture,
    server: MysqlServer,
    make: MakeDatabase,
    repository: Path,
    options: str,
) -> None:
    """Through dbtool, and through the client alone."""
    assert taken.type is BackupType.DIFFERENTIAL, taken.options
    parts = parts_that_come_back(server)
    copy = make(server)
    run(copy.with_database(""), f"DROP DATABASE {back_ticked(copy.database)}")
    report = bring_back(repository, copy, reference=taken.id)
    assert report.compared is True
    assert "\n".join(difference(expected, take_picture(copy), parts)) == ""
    by_hand = make(server, options=options)
    folder = folder_of(repository, taken.id)
    pipe(server, by_hand.database, folder.parent.parent)
    for _ in range(2):
        pipe(server, by_hand.database, folder)
        assert "\n".join(difference(expected, take_picture(by_hand), parts)) == ""


def taken_of(taken: Metadata, table: str) -> str:
    (details,) = (one.details for one in taken.tables if one.name == table)
    return str(details["differential"]["taken"])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change(
    name: str, started: Connection, server: MysqlServer, make_mysql_database: MakeDatabase, tmp_path: Path
) -> None:
    wanted = CHANGES[name]
    if wanted.mariadb_only and not dialect_of(server).mariadb:
        pytest.skip("MySQL has no sequences and no history")
    full = backup(started, tmp_path)
    run(started, "SET SESSION sql_mode = ''", *wanted.statements)
    expected = take_picture(started)
    taken = differential(started, tmp_path)
    assert taken.parent is not None, taken.options
    assert taken.parent.id == full.id
    assert taken_of(taken, wanted.table) == wanted.taken
    check_chain(taken, expected, server, make_mysql_database, tmp_path, OPTIONS)
    report = verify_resolved(Repository(LocalStore(tmp_path)).resolve(taken.id), Silent(), 2)
    assert report.findings == []


def test_an_awkward_database_of_which_a_little_changed(
    server: MysqlServer, make_mysql_database: MakeDatabase, tmp_path: Path
) -> None:
    """A chain of every kind of object."""
    source = make_mysql_database(server, options=DATABASE_OPTIONS)
    run(source, *awkward_statements(dialect_of(server)))
    backup(source, tmp_path)
    nothing = differential(source, tmp_path)
    assert {taken_of(nothing, table.name) for table in nothing.tables} == {"unchanged"}
    time.sleep(1)  # a differential's folder is called by its second
    run(source, "CREATE TABLE plain (id int PRIMARY KEY)", "INSERT INTO plain VALUES (1)")
    taken = differential(source, tmp_path)
    check_chain(taken, take_picture(source), server, make_mysql_database, tmp_path, DATABASE_OPTIONS)


def test_all_rows_of_the_awkward_database_came_and_went(
    server: MysqlServer, make_mysql_database: MakeDatabase, tmp_path: Path
) -> None:
    """Every kind of key and value goes through removed keys and changed rows: the base is another third of the rows."""
    source = make_mysql_database(server, options=DATABASE_OPTIONS)
    run(source, *awkward_statements(dialect_of(server)))
    kept = [
        one.name
        for one in ArchiveReader(LocalStore(tmp_path), archive_of(backup(source, tmp_path))).index.tables
    ]
    for table in kept:
        try_to(source, f"DELETE FROM {back_ticked(table)} ORDER BY 1 LIMIT 1")
    check_chain(
        differential(source, tmp_path),
        take_picture(source),
        server,
        make_mysql_database,
        tmp_path,
        DATABASE_OPTIONS,
    )


def archive_of(taken: Metadata) -> str:
    (main,) = (one.name for one in taken.artefacts if one.name.endswith(".sql.zst"))
    return f"{taken.id}/{main}"


def try_to(connection: Connection, statement: str) -> None:
    """Not every table lets its rows be deleted."""
    with suppress(RuntimeError):
        run(connection, "SET SESSION foreign_key_checks = 0", "SET SESSION sql_mode = ''", statement)


def test_other_engines(
    started: Connection, server: MysqlServer, make_mysql_database: MakeDatabase, tmp_path: Path
) -> None:
    """Tables that know no snapshot come whole."""
    build_other_engines(server, started)
    backup(started, tmp_path)
    run(started, "UPDATE engine_myisam SET v = 'other'", "INSERT INTO plain VALUES (0, 0, 'new')")
    taken = differential(started, tmp_path)
    assert (taken_of(taken, "engine_myisam"), taken_of(taken, "plain")) == ("whole", "rows")
    check_chain(taken, take_picture(started), server, make_mysql_database, tmp_path, OPTIONS)


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even small tables are cut into ranges, and little of one is kept."""
    monkeypatch.setattr("dbtool.engines.mysql.plan.CHUNK_BYTES", 64 << 10)


RANGES = {
    "ints": (
        "id int PRIMARY KEY, v varchar(200)",
        "i * 3, repeat('x', 150)",
        "PARTITION BY HASH (id) PARTITIONS 3",
    ),
    "texts": (
        "id varchar(30) COLLATE utf8mb4_unicode_ci PRIMARY KEY, v varchar(200)",
        "concat('Kéy ', i * 3), repeat('x', 150)",
        "",
    ),
    "two": ("a int, id int, v varchar(200), PRIMARY KEY (a, id)", "i DIV 100, i * 3, repeat('x', 150)", ""),
    "dates": (
        "id datetime PRIMARY KEY, v varchar(200)",
        "'2024-01-01' + INTERVAL i * 3 MINUTE, repeat('x', 150)",
        "",
    ),
}
EDITS = {
    "nothing": [],
    "some": [
        "UPDATE {t} SET v = 'changed' ORDER BY id LIMIT 40",
        "UPDATE {t} SET v = 'changed' ORDER BY id DESC LIMIT 5",
        "DELETE FROM {t} WHERE v = 'changed' ORDER BY id LIMIT 20",
    ],
    "a range emptied": ["DELETE FROM {t} ORDER BY id LIMIT 1500"],
    "many more": ["INSERT INTO {t} SELECT {more} FROM {t}"],
}
MORE = {
    "ints": "id + 100000, v",
    "texts": "concat('z', id), 'more'",
    "two": "a + 1000, id, v",
    "dates": "id + INTERVAL 3 YEAR, v",
}


THOUSANDS = (
    "WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 999) SELECT {} FROM"
    " (SELECT n.i + 1000 * m.i AS i FROM n, (SELECT i FROM n WHERE i < 4) AS m) AS counted"
)


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("kept_bytes", [96 << 20, 1 << 10])
@pytest.mark.parametrize("edit", EDITS)
def test_ranges(
    edit: str,
    kept_bytes: int,
    server: MysqlServer,
    make_mysql_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dbtool.engines.mysql.range_comparison._KEPT_BYTES", kept_bytes)
    source = make_mysql_database(server, options=OPTIONS)
    for table, (columns, values, partitions) in RANGES.items():
        run(source, f"CREATE TABLE {table} ({columns})")
        run(source, f"INSERT INTO {table} " + THOUSANDS.format(values))
        if partitions:
            run(source, f"CREATE TABLE parted LIKE {table}", f"ALTER TABLE parted {partitions}")
            run(source, f"INSERT INTO parted SELECT * FROM {table}")
        run(source, "ANALYZE TABLE " + table + (", parted" if partitions else ""))
    tables = [*RANGES, "parted"]
    reader = ArchiveReader(LocalStore(tmp_path), archive_of(backup(source, tmp_path)))
    cut = {reader.index.tables[frame.table or 0].name for frame in reader.index.frames if frame.bounds}
    assert cut >= set(RANGES)
    assert any(frame.part for frame in reader.index.frames)
    for table in tables:
        more = MORE.get(table, MORE["ints"])
        run(source, *(statement.format(t=table, more=more) for statement in EDITS[edit]))
    taken = differential(source, tmp_path, jobs=3)
    wanted = "unchanged" if edit == "nothing" else "rows"
    assert {taken_of(taken, table) for table in tables} == {wanted}
    check_chain(taken, take_picture(source), server, make_mysql_database, tmp_path, OPTIONS)


def test_from_the_command_line(
    started: Connection,
    server: MysqlServer,
    make_mysql_database: MakeDatabase,
    tmp_path: Path,
    mysql_sql: Sql,
) -> None:
    repository = tmp_path / "repository"
    full = json.loads(
        running.dbtool(*running.backup(started, repository, "full", "database", "-json")).stdout
    )
    mysql_sql(started, "UPDATE plain SET note = 'other' WHERE id = 5; DELETE FROM plain WHERE id = 6")
    done = running.dbtool(*running.backup(started, repository, "differential", "backup", "-json"))
    assert done.returncode == 0, done.stderr
    taken = json.loads(done.stdout)
    assert (taken["type"], taken["parent"]["id"]) == ("differential", full["id"])
    assert taken["statistics"]["total_rows_processed"] == 2  # with what a trigger wrote
    expected = take_picture(started)
    copy = make_mysql_database(server)
    run(copy.with_database(""), f"DROP DATABASE {back_ticked(copy.database)}")
    target = [*("--host", "127.0.0.1", "--port", str(server.port), "--user", "root"), "--into", copy.database]
    restored = running.dbtool("restore", taken["id"], "--path", str(repository), *target, "--json")
    assert restored.returncode == 0, restored.stderr
    assert json.loads(restored.stdout)["compared"] is True
    assert difference(expected, take_picture(copy), parts_that_come_back(server)) == []
    assert running.dbtool("verify", taken["id"], "--path", str(repository)).returncode == 0


def test_some_tables_of_a_chain(
    started: Connection,
    server: MysqlServer,
    make_mysql_database: MakeDatabase,
    tmp_path: Path,
    mysql_sql: Sql,
) -> None:
    backup(started, tmp_path)
    mysql_sql(started, "UPDATE plain SET note = 'other' WHERE id = 5; DELETE FROM named WHERE v = 6")
    taken = differential(started, tmp_path)
    copy = make_mysql_database(server, options=OPTIONS)
    bring_back(tmp_path, copy, "named", reference=taken.id)
    assert difference(take_picture(started), take_picture(copy), ["rows"])
    assert mysql_sql(copy, "SELECT count(*) FROM named") == [(499,)]


def test_on_a_server_that_was_restored(
    started: Connection,
    server: MysqlServer,
    make_mysql_database: MakeDatabase,
    tmp_path: Path,
    mysql_sql: Sql,
) -> None:
    """Rows are compared by what is in them: the database that was restored is the one that was backed up."""
    backup(started, tmp_path)
    mysql_sql(started, "UPDATE plain SET note = 'lost' WHERE id = 5")
    bring_back(tmp_path, started, replace=True)
    nothing = differential(started, tmp_path)
    time.sleep(1)  # a differential's folder is called by its second
    assert taken_of(nothing, "plain") == "unchanged"
    mysql_sql(started, "UPDATE plain SET note = 'new' WHERE id = 7")
    taken = differential(started, tmp_path)
    assert taken_of(taken, "plain") == "rows"
    check_chain(taken, take_picture(started), server, make_mysql_database, tmp_path, OPTIONS)


@pytest.mark.matrix
def test_another_series_needs_a_full(
    make_mysql_database: MakeDatabase,
    mysql_matrix_server: MysqlServer,
    mariadb_server: MysqlServer,
    tmp_path: Path,
) -> None:
    """The definitions and the values of another version may look different."""
    if mysql_matrix_server.version.split(".")[:2] == mariadb_server.version.split(".")[:2]:
        pytest.skip("it is the same series")
    before = make_mysql_database(mariadb_server, "moved")
    after = make_mysql_database(mysql_matrix_server, "moved")
    backup(before, tmp_path)
    time.sleep(1)
    taken = differential(after, tmp_path)
    assert taken.type is BackupType.FULL
    assert "the base is of" in str(taken.options["differential_refused"])


def test_on_one_connection(
    started: Connection,
    server: MysqlServer,
    make_mysql_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An account that may take no lock: readers take turns."""

    def refused(*_: object) -> None:
        raise UnavailableError("not for this account")

    for way in ("by_comparing", "under_backup_stage", "under_read_lock", "under_table_locks"):
        monkeypatch.setattr(f"dbtool.engines.mysql.locks.open_{way}", refused)
    backup(started, tmp_path)
    run(started, "ALTER TABLE parent ADD COLUMN extra int", "UPDATE plain SET note = NULL WHERE id = 3")
    taken = differential(started, tmp_path, jobs=3)
    assert any("one connection" in warning for warning in taken.warnings)
    assert taken_of(taken, "plain") == "rows"
    check_chain(taken, take_picture(started), server, make_mysql_database, tmp_path, OPTIONS)


def test_a_row_that_was_moved_while_the_differential_is_taken(
    started: Connection,
    server: MysqlServer,
    make_mysql_database: MakeDatabase,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What others change meanwhile is not in it."""
    backup(started, tmp_path)
    run(started, "UPDATE plain SET note = 'before' WHERE id = 3")
    expected = take_picture(started)
    edits = iter(("UPDATE plain SET note = 'behind' WHERE id > 5", "DELETE FROM named"))

    def meanwhile(name: str) -> None:
        if name in ("locked", "compared"):
            run(started, next(edits))

    monkeypatch.setattr("dbtool.engines.mysql.differential.reach", meanwhile)
    monkeypatch.setattr("dbtool.engines.mysql.snapshot.reach", meanwhile)
    taken = differential(started, tmp_path)
    assert next(edits, None) is None
    check_chain(taken, expected, server, make_mysql_database, tmp_path, OPTIONS)


def test_a_script_that_was_broken_off(
    started: Connection, server: MysqlServer, make_mysql_database: MakeDatabase, tmp_path: Path
) -> None:
    """Wherever that was, running it again completes it."""
    backup(started, tmp_path)
    edits = (
        "all three",
        "a referenced table is made anew",
        "most rows",
        "new tables",
        "a view for a table",
        "routines",
    )
    run(started, "SET SESSION sql_mode = ''", *(one for edit in edits for one in CHANGES[edit].statements))
    run(
        started,
        "DELETE FROM named WHERE v < 9",
        "INSERT INTO named VALUES ('another', 1)",
        "DROP EVENT resting",
    )
    taken = differential(started, tmp_path)
    expected = take_picture(started)
    folder = folder_of(tmp_path, taken.id)
    (archive,) = folder.glob("*.sql.zst")
    frames = len(ArchiveReader(LocalStore(folder), archive.name).index.frames)
    target = make_mysql_database(server, options=OPTIONS)
    pipe(server, target.database, folder.parent.parent)
    for cut in range(1, frames):
        pipe(server, target.database, folder, cut)
    pipe(server, target.database, folder)
    assert "\n".join(difference(expected, take_picture(target), parts_that_come_back(server))) == ""
