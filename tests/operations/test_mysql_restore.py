"""Restores into real MySQL and MariaDB databases: what comes back, what stays as it was, what is refused."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import MYSQL_MATRIX, MakeDatabase, Sql, back_ticked, start_mysql
from tests.fidelity.mysql_awkward import build_awkward
from tests.fidelity.mysql_picture import Picture, difference, take_picture
from tests.mysql_logical import backup, bring_back

import dbtool
from dbtool.archive.reader import ArchiveReader
from dbtool.catalog.repository import Repository
from dbtool.engines.mysql import journal
from dbtool.errors import (
    BusyError,
    DbtoolError,
    ExitCode,
    NotFoundError,
    RefusedError,
    SqlError,
    UsageError,
    VerificationError,
)
from dbtool.failpoints import VARIABLE
from dbtool.model.backup import Metadata
from dbtool.model.connection import Connection
from dbtool.operations.restore import RestoreReport
from dbtool.operations.verify import verify_resolved
from dbtool.progress import Silent
from dbtool.rows import tally_inserts
from dbtool.servers.mysql import MysqlServer, Settings
from dbtool.storage.local import LocalStore

SOURCE = (
    "SET SESSION sql_mode = ''",
    "CREATE TABLE parents (id int PRIMARY KEY, name varchar(40))",
    "CREATE TABLE children (id int AUTO_INCREMENT PRIMARY KEY, parent int NOT NULL, note text, KEY by_parent (parent), "
    "FULLTEXT KEY words (note), CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE)",
    "CREATE TABLE others (id int PRIMARY KEY)",
    "CREATE VIEW both_of_them AS SELECT p.name, c.note FROM parents AS p JOIN children AS c ON c.parent = p.id",
    "CREATE FUNCTION shout(t text) RETURNS text DETERMINISTIC RETURN upper(t)",
    "INSERT INTO parents WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100) "
    "SELECT i, concat('p', i) FROM n",
    "INSERT INTO children (parent, note) SELECT p.id, concat('quiet ', q.id) FROM parents AS p, parents AS q WHERE q.id <= 30",
    "CREATE TRIGGER shouting BEFORE INSERT ON children FOR EACH ROW SET NEW.note = shout(NEW.note)",
    "CREATE EVENT sweeping ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO DELETE FROM others",
)
_names = itertools.count(1)


@pytest.fixture
def source(mysql_database: Connection, mysql_sql: Sql) -> Connection:
    """A small database."""
    mysql_sql(mysql_database, SOURCE)
    return mysql_database


@pytest.fixture
def taken(source: Connection, tmp_path: Path) -> Metadata:
    """A full backup of it, in `tmp_path`."""
    return backup(source, tmp_path)


@pytest.fixture
def target(source: Connection, mysql_sql: Sql) -> Iterator[Connection]:
    """A database that does not exist yet; dropped afterwards, with all that appeared meanwhile."""
    target = source.with_database(f"target_{next(_names)}_of_{source.database}")
    before = databases(mysql_sql, source)
    yield target
    for name in databases(mysql_sql, source) - before:
        mysql_sql(source.with_database(""), f"SET foreign_key_checks = 0; DROP DATABASE {back_ticked(name)}")


def databases(sql: Sql, connection: Connection) -> set[str]:
    found = sql(connection.with_database(""), "SELECT schema_name FROM information_schema.schemata")
    return {str(name) for (name,) in found}


def beside(sql: Sql, connection: Connection) -> set[str]:
    return {name for name in databases(sql, connection) if "_dbtool_" in name}


def killed(
    repository: Path, target: Connection, moment: str, *flags: str
) -> subprocess.CompletedProcess[str]:
    """A restore in a process of its own that dies at that moment."""
    command = [sys.executable, "-m", "tests.mysql_logical", str(repository)]
    command += [str(target.port), target.database, *flags]
    paths = f"{Path(dbtool.__file__).parents[1]}{os.pathsep}{Path(__file__).parents[2]}"
    environment = {**os.environ, VARIABLE: f"{moment}:kill", "PYTHONPATH": paths}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def same(left: Connection, right: Connection | Picture) -> list[str]:
    """What differs between two databases."""
    picture = right if isinstance(right, Picture) else take_picture(right)
    return difference(take_picture(left), picture)


# Where to


def test_into_a_new_database(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    report = bring_back(tmp_path, target)
    assert same(target, source) == []
    assert report.document()["status"] == "completed"
    assert (report.rows, report.tables, report.compared) == (3100, 3, True)
    assert report.notes == []
    assert beside(mysql_sql, source) == set()


def test_everything_works(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    bring_back(tmp_path, target)
    mysql_sql(target, "INSERT INTO children (parent, note) VALUES (1, 'loud')")
    assert mysql_sql(target, "SELECT note FROM children WHERE id > 3000") == [("LOUD",)]
    assert mysql_sql(target, "SELECT count(*) FROM both_of_them") == [(3001,)]
    assert mysql_sql(target, "SELECT count(*) > 0 FROM children WHERE MATCH (note) AGAINST ('loud')") == [
        (1,)
    ]
    with pytest.raises(Exception, match="foreign key constraint fails"):
        mysql_sql(target, "INSERT INTO children (parent, note) VALUES (999, '')")
    mysql_sql(target, "DELETE FROM parents WHERE id = 1")
    assert mysql_sql(target, "SELECT count(*) FROM children WHERE parent = 1") == [(0,)]
    # Nothing of it reaches into the source.
    assert mysql_sql(source, "SELECT count(*) FROM children") == [(3000,)]


def test_an_awkward_database_on_every_server(
    mysql_matrix_server: MysqlServer, tmp_path: Path, mysql_sql: Sql
) -> None:
    source = build_awkward(mysql_matrix_server, "awk ward")
    back = source.with_database("b`ack; --")
    try:
        backup(source, tmp_path)
        before = take_picture(source)
        has_history = mysql_matrix_server.flavour_name == "mariadb" and tuple(
            int(part) for part in mysql_matrix_server.version.split(".")[:2]
        ) >= (10, 11)
        parts = [part for part in Picture.__dataclass_fields__ if has_history or part != "history"]
        bring_back(tmp_path, back)
        assert difference(take_picture(back), before, parts) == []
        mysql_sql(back, "DROP TABLE many_columns")
        bring_back(tmp_path, back, replace=True)
        assert difference(take_picture(back), before, parts) == []
        assert beside(mysql_sql, source) == set()
    finally:
        for connection in (source, back):
            drop = f"SET foreign_key_checks = 0; DROP DATABASE IF EXISTS {back_ticked(connection.database)}"
            mysql_sql(connection.with_database(""), drop)


def test_into_an_empty_database(
    source: Connection,
    taken: Metadata,
    tmp_path: Path,
    mariadb_server: MysqlServer,
    make_mysql_database: MakeDatabase,
) -> None:
    empty = make_mysql_database(mariadb_server, options="CHARACTER SET greek COLLATE greek_bin")
    report = bring_back(tmp_path, empty)
    assert (
        difference(take_picture(empty), take_picture(source), ["tables", "rows", "views", "routines"]) == []
    )
    assert "greek_bin" in str(take_picture(empty).properties)
    assert any("exists and is empty" in note for note in report.notes)


def test_a_database_that_is_not_empty_is_refused(
    source: Connection, taken: Metadata, tmp_path: Path, mysql_sql: Sql
) -> None:
    mysql_sql(source, "DELETE FROM children WHERE id > 5")
    before = take_picture(source)
    with pytest.raises(RefusedError, match="is not empty: it holds 3 tables") as caught:
        bring_back(tmp_path, source)
    assert caught.value.exit_code is ExitCode.REFUSED
    assert "--replace" in str(caught.value.hint)
    assert same(source, before) == []


@pytest.mark.parametrize(
    "content",
    [
        "CREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN 1",
        "CREATE VIEW v AS SELECT 1",
        "CREATE SEQUENCE s",
    ],
)
def test_a_database_without_tables_may_still_hold_something(
    taken: Metadata,
    tmp_path: Path,
    mysql_sql: Sql,
    content: str,
    mariadb_server: MysqlServer,
    make_mysql_database: MakeDatabase,
) -> None:
    filled = make_mysql_database(mariadb_server)
    mysql_sql(filled, content)
    with pytest.raises(RefusedError, match="is not empty"):
        bring_back(tmp_path, filled)


def test_a_dry_run_changes_nothing(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    before = databases(mysql_sql, source)
    report = bring_back(tmp_path, target, dry_run=True)
    assert databases(mysql_sql, source) == before
    assert [step["stage"] for step in report.steps] == [
        "schema",
        "rows",
        "foreign keys",
        "objects behind the rows",
    ]
    assert bring_back(tmp_path, source, dry_run=True, replace=True).rows == 0
    assert same(source, source) == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_with_any_number_of_workers(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, jobs: int
) -> None:
    bring_back(tmp_path, target, jobs=jobs)
    assert same(target, source) == []


def test_a_large_table_is_loaded_by_several_at_once(
    mysql_matrix_server: MysqlServer,
    make_mysql_database: MakeDatabase,
    tmp_path: Path,
    mysql_sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dbtool.engines.mysql.reader.FRAME_BYTES", 30_000)
    source, target = make_mysql_database(mysql_matrix_server), make_mysql_database(mysql_matrix_server)
    digits = ", ".join(f"({digit})" for digit in range(10))
    statements = (
        "CREATE TABLE counted (id int AUTO_INCREMENT PRIMARY KEY, v varchar(40), KEY (v), UNIQUE KEY (v, id))",
        "CREATE TABLE plain (id int, v varchar(40), KEY (id))",
        "INSERT INTO counted (v) SELECT concat('v', a.i, b.i, c.i, d.i) "
        "FROM digits AS a, digits AS b, digits AS c, digits AS d",
        "INSERT INTO plain SELECT id, v FROM counted",
        "SET GLOBAL innodb_lock_wait_timeout = 2, GLOBAL autocommit = 0",
    )
    mysql_sql(
        source,
        (
            "CREATE TABLE digits (i int PRIMARY KEY)",
            f"INSERT INTO digits VALUES {digits}",
        ),
    )
    mysql_sql(source, statements)
    try:
        metadata = backup(source, tmp_path)
        archive = ArchiveReader(LocalStore(tmp_path), f"{metadata.id}/{metadata.artefacts[0].name}")
        assert len(archive.index.frames) > 10
        report = bring_back(tmp_path, target, jobs=4)
    finally:
        mysql_sql(source, "SET GLOBAL innodb_lock_wait_timeout = 50, GLOBAL autocommit = 1")
    assert report.rows == 20010
    assert difference(take_picture(target), take_picture(source), ["tables", "rows"]) == []


def test_a_server_that_does_not_tell_cases_apart(source: Connection, tmp_path: Path, mysql_sql: Sql) -> None:
    mysql_sql(source, "CREATE TABLE Parents (id int)")
    mysql_sql(source, "CREATE TABLE `Mixed` (id int)")
    mysql_sql(source, "INSERT INTO `Mixed` VALUES (1)")
    backup(source, tmp_path)
    with start_mysql("mariadb", {"lower_case_table_names": "1"}) as server:
        target = server.connection("folding")
        with pytest.raises(RefusedError, match=r"names of tables \w+ and \w+ for the same"):
            bring_back(tmp_path, target)
        bring_back(tmp_path, target, "Mixed", "Parents")
        with pytest.raises(RefusedError, match="there is already mixed"):
            bring_back(tmp_path, target, "Mixed")
        bring_back(tmp_path, target, "Mixed", "others", replace=True)
        assert mysql_sql(target, "SHOW TABLES") == [("mixed",), ("others",), ("parents",)]
        assert mysql_sql(target, "SELECT * FROM MIXED") == [(1,)]


def test_verifying_sees_changed_rows(source: Connection, taken: Metadata, tmp_path: Path) -> None:
    resolved = Repository(LocalStore(tmp_path)).resolve("latest")
    report = verify_resolved(resolved, Silent(), 2)
    assert (report.outcome, report.tables, report.rows) == ("passed", 3, 3100)
    main = next(tmp_path.glob("*/*.sql.zst"))
    reader = ArchiveReader(LocalStore(tmp_path), str(main.relative_to(tmp_path)))
    number = next(n for n, frame in enumerate(reader.index.frames) if frame.rows > 1000)
    text = reader.read(number).replace(b"'quiet 1'", b"'quiet 2'", 1)
    frame = reader.index.frames[number]
    count, digest, key_digest = tally_inserts(text[frame.prefix_bytes :], (0,))
    assert (count, key_digest) == (frame.rows, frame.key_digest)
    assert digest != frame.digest


def test_made_by_somebody_meanwhile(
    source: Connection,
    taken: Metadata,
    target: Connection,
    tmp_path: Path,
    mysql_sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dbtool.engines.mysql.target import MysqlTarget

    finish = MysqlTarget.finish

    def late(self: MysqlTarget) -> None:
        mysql_sql(source.with_database(""), f"CREATE DATABASE {back_ticked(target.database)}")
        mysql_sql(target, "CREATE TABLE mine (id int)")
        finish(self)

    monkeypatch.setattr(MysqlTarget, "finish", late)
    with pytest.raises(RefusedError, match="made"):
        bring_back(tmp_path, target)
    assert mysql_sql(target, "SHOW TABLES") == [("mine",)]
    assert beside(mysql_sql, source) == set()


# In the place of another


def test_replacing_puts_the_backup_in_its_place(
    source: Connection, taken: Metadata, tmp_path: Path, mysql_sql: Sql
) -> None:
    before = take_picture(source)
    mysql_sql(
        source,
        (
            "DROP TRIGGER shouting",
            "CREATE TABLE newer (id int PRIMARY KEY)",
            "DELETE FROM children",
            "CREATE VIEW of_newer AS SELECT * FROM newer",
            "DROP TABLE others",
            "CREATE VIEW others AS SELECT 1 AS id",
        ),
    )
    report = bring_back(tmp_path, source, replace=True)
    assert same(source, before) == []
    assert beside(mysql_sql, source) == set()
    assert report.notes == []


@pytest.mark.parametrize(
    "moment", ["task-done", "before-swap", "swap-prepared", "swap-moved", "swap-finished"]
)
def test_a_failing_replacement_loses_nothing(
    source: Connection,
    taken: Metadata,
    tmp_path: Path,
    mysql_sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
) -> None:
    mysql_sql(source, "DELETE FROM children WHERE id > 5")
    before = take_picture(source)
    monkeypatch.setenv(VARIABLE, f"{moment}:error")
    with pytest.raises(DbtoolError, match="failpoint"):
        bring_back(tmp_path, source, replace=True)
    assert same(source, before) == []
    assert beside(mysql_sql, source) == set()


@pytest.mark.parametrize(
    ("moment", "becomes"),
    [
        ("task-done", "old"),
        ("before-swap", "old"),
        ("swap-prepared", "old"),
        ("swap-moved", "new"),
        ("swap-done", "new"),
    ],
)
def test_a_killed_replacement_is_mended_by_the_next_one(
    source: Connection,
    taken: Metadata,
    tmp_path: Path,
    mysql_sql: Sql,
    mariadb_server: MysqlServer,
    moment: str,
    becomes: str,
) -> None:
    new = take_picture(source)
    mysql_sql(source, ("DELETE FROM children WHERE id > 5", "DROP VIEW both_of_them"))
    old = take_picture(source)
    done = killed(tmp_path, source, moment, "--replace")
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert beside(mysql_sql, source)
    # Whatever the next restore is, it first mends what it finds; this one is then refused.
    with pytest.raises(RefusedError, match="is not empty"):
        bring_back(tmp_path, source)
    assert same(source, old if becomes == "old" else new) == []
    assert beside(mysql_sql, source) == set()


# Some tables


def test_some_tables_into_a_new_database(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    report = bring_back(tmp_path, target, "child*")
    assert mysql_sql(target, "SHOW TABLES") == [("children",)]
    assert mysql_sql(target, "SELECT count(*) FROM children") == [(3000,)]
    assert mysql_sql(target, "SHOW TRIGGERS LIKE 'children'")[0][0] == "shouting"
    assert report.notes == ["FK CONSTRAINT children to_parent is left out: it needs a table that is"]


def test_a_table_may_be_named_with_the_database_that_it_was_in(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path
) -> None:
    assert bring_back(tmp_path, target, f"{source.database}.parents").tables == 1


def test_some_tables_beside_others(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    bring_back(tmp_path, target, "parents", "others")
    mysql_sql(target, "CREATE VIEW mine AS SELECT * FROM parents")
    report = bring_back(tmp_path, target, "children")
    assert report.notes == []
    keys = "SELECT constraint_name, referenced_table_name, unique_constraint_schema FROM "
    keys += "information_schema.referential_constraints WHERE constraint_schema = %s"
    assert mysql_sql(target, keys, (target.database,)) == [("to_parent", "parents", target.database)]
    with pytest.raises(RefusedError, match="there is already children"):
        bring_back(tmp_path, target, "children")
    assert mysql_sql(target, "SELECT count(*) FROM mine") == [(100,)]


def test_some_tables_are_replaced(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    before = take_picture(source)
    mysql_sql(
        source,
        ("UPDATE parents SET name = 'changed'", "DELETE FROM others", "INSERT INTO others VALUES (77)"),
    )
    bring_back(tmp_path, source, "parents", replace=True)
    assert mysql_sql(source, "SELECT count(*) FROM parents WHERE name = 'changed'") == [(0,)]
    assert mysql_sql(source, "SELECT * FROM others") == [(77,)]
    mysql_sql(source, "DELETE FROM others")
    assert same(source, before) == []
    assert beside(mysql_sql, source) == set()


def test_rows_that_would_lose_their_parents_are_an_error(
    source: Connection, taken: Metadata, tmp_path: Path, mysql_sql: Sql
) -> None:
    mysql_sql(
        source, ("INSERT INTO parents VALUES (500, 'late')", "INSERT INTO children (parent) VALUES (500)")
    )
    before = take_picture(source)
    with pytest.raises(SqlError, match=r"foreign key to_parent of .*children could not be made"):
        bring_back(tmp_path, source, "parents", replace=True)
    assert same(source, before) == []
    assert beside(mysql_sql, source) == set()


def test_a_trigger_of_another_table_is_in_the_way(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    mysql_sql(source.with_database(""), f"CREATE DATABASE {back_ticked(target.database)}")
    mysql_sql(
        target,
        ("CREATE TABLE t (id int)", "CREATE TRIGGER shouting BEFORE INSERT ON t FOR EACH ROW SET @x = 1"),
    )
    before = take_picture(target)
    with pytest.raises(RefusedError, match="there is already a trigger shouting"):
        bring_back(tmp_path, target, "children")
    assert same(target, before) == []


def test_tables_that_are_not_in_the_backup(taken: Metadata, target: Connection, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no table is called childern") as caught:
        bring_back(tmp_path, target, "childern")
    assert "children" in str(caught.value.hint)


def test_a_partial_backup(source: Connection, target: Connection, tmp_path: Path, mysql_sql: Sql) -> None:
    backup(source, tmp_path, "children")
    bring_back(tmp_path, target)
    assert mysql_sql(target, "SHOW TABLES") == [("children",)]
    # Into the database that it came from, with the key that was kept aside.
    mysql_sql(source, "DROP TABLE children")
    bring_back(tmp_path, source)
    with pytest.raises(Exception, match="foreign key constraint fails"):
        mysql_sql(source, "INSERT INTO children (parent) VALUES (999)")


# Owners, users, rights


def test_definers(source: Connection, tmp_path: Path, target: Connection, mysql_sql: Sql) -> None:
    for name in ("one", "two"):
        mysql_sql(source, f"CREATE DEFINER=`ghost`@`nowhere` PROCEDURE {name}() SELECT 1")
    backup(source, tmp_path)
    report = bring_back(tmp_path, target)
    assert same(target, source) == []
    (note,) = report.notes
    assert "ghost" in note
    assert "PROCEDURE one, PROCEDURE two" in note
    report = bring_back(tmp_path, target, replace=True, with_owners=False)
    assert report.notes == []
    definers = "SELECT DISTINCT definer FROM information_schema.routines WHERE routine_schema = %s"
    ((definer,),) = mysql_sql(target, definers, (target.database,))
    assert definer.startswith("root@")


def remarks(report: RestoreReport) -> list[str]:
    """The report's notes, but for that of a server's setting."""
    return [note for note in report.notes if "local_infile" not in note]


def test_definers_of_everything_are_mapped_or_left_out(
    mysql_matrix_server: MysqlServer, make_mysql_database: MakeDatabase, tmp_path: Path, mysql_sql: Sql
) -> None:
    source = make_mysql_database(mysql_matrix_server)
    target = source.with_database(f"target_{next(_names)}_of_{source.database}")
    control = source.with_database("")
    old, other = "DEFINER=`old``one`@`here`", "DEFINER=`other`@`%`"
    mysql_sql(control, "CREATE USER new@`%`, `old``one`@here; GRANT ALL ON *.* TO `old``one`@here")
    mysql_sql(
        source,
        [
            "CREATE TABLE t (id int)",
            f"CREATE {old} PROCEDURE p() SELECT 'DEFINER=`old``one`@`here`'",
            f"CREATE {other} FUNCTION f() RETURNS int DETERMINISTIC RETURN 1",
            f"CREATE {old} VIEW v AS SELECT 1 AS one",
            f"CREATE {other} VIEW w AS SELECT * FROM v",
            f"CREATE {old} TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.id = 1",
            f"CREATE {old} EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO DELETE FROM t",
            f"CREATE {other} EVENT o ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DISABLE DO DELETE FROM t",
        ],
    )
    if mysql_matrix_server.flavour_name == "mariadb":
        mysql_sql(
            source, ["SET sql_mode = 'ORACLE'", f"CREATE {old} PACKAGE k AS FUNCTION f RETURN int; END"]
        )
    found = " UNION ".join(
        f"SELECT {name}, definer FROM information_schema.{place} WHERE {schema} = %s"
        for name, place, schema in (
            ("routine_name", "routines", "routine_schema"),
            ("table_name", "views", "table_schema"),
            ("trigger_name", "triggers", "trigger_schema"),
            ("event_name", "events", "event_schema"),
        )
    )
    mysql_sql(control, "DROP USER `old``one`@here")
    try:
        backup(source, tmp_path)
        report = bring_back(tmp_path, target, definers=("`old``one`@HERE=new@%",))
        definers = {
            str(name): str(definer) for name, definer in mysql_sql(target, found, (target.database,) * 4)
        }
        assert {name for name, definer in definers.items() if definer == "new@%"} >= {"p", "v", "g", "e"}
        assert definers.get("k", "new@%") == "new@%"
        assert {definers[name] for name in ("f", "w", "o")} == {"other@%"}
        body = (
            "SELECT routine_definition LIKE '%%old``one%%' FROM information_schema.routines "
            "WHERE routine_schema = %s AND routine_name = 'p'"
        )
        assert mysql_sql(target, body, (target.database,)) == [(1,)]
        # Who is not there is named, with what waits for them.
        assert ["'other'@'%'" in note and "FUNCTION f" in note for note in remarks(report)] == [True]
        status = "SELECT event_name, status FROM information_schema.events WHERE event_schema = %s ORDER BY 1"
        states = mysql_sql(target, status, (target.database,))
        assert states == [("e", "ENABLED"), ("o", "DISABLED")]
        report = bring_back(tmp_path, target, replace=True, definers=("*=new@%",))
        assert {definer for _, definer in mysql_sql(target, found, (target.database,) * 4)} == {"new@%"}
        assert remarks(report) == []
        report = bring_back(tmp_path, target, replace=True, with_owners=False)
        (definer,) = {definer for _, definer in mysql_sql(target, found, (target.database,) * 4)}
        assert definer.startswith("root@")
        assert mysql_sql(target, status, (target.database,)) == states
        assert remarks(report) == []
    finally:
        mysql_sql(control, f"DROP USER new@`%`; DROP DATABASE IF EXISTS {back_ticked(target.database)}")


def test_definers_are_not_mapped_by_nonsense(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    before = databases(mysql_sql, source)
    for wrong in ({"definers": ("nobody",)}, {"definers": ("a=b",), "with_owners": False}):
        with pytest.raises(UsageError, match="-definer") as caught:
            bring_back(tmp_path, target, **wrong)
        assert caught.value.exit_code is ExitCode.USAGE
    assert databases(mysql_sql, source) == before


def test_users_are_made_on_request(
    source: Connection, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    control = source.with_database("")
    names = [f"user_{next(_names)}" for _ in range(2)]
    for name in names:
        mysql_sql(control, f"CREATE USER '{name}'@'%' IDENTIFIED BY 'secret'")
        mysql_sql(control, f"GRANT SELECT ON {back_ticked(target.database)}.* TO '{name}'@'%'")
    mysql_sql(source, f"GRANT UPDATE (note) ON children TO '{names[0]}'@'%'")
    mysql_sql(source, f"GRANT EXECUTE ON FUNCTION shout TO '{names[0]}'@'%'")
    grants = mysql_sql(control, f"SHOW GRANTS FOR '{names[0]}'@'%'")
    try:
        backup(source, tmp_path)
        # As on another server: neither user nor database is there.
        mysql_sql(control, f"DROP USER '{names[0]}'@'%'; ALTER USER '{names[1]}'@'%' IDENTIFIED BY 'other'")
        kept = mysql_sql(control, f"SHOW CREATE USER '{names[1]}'@'%'")
        mysql_sql(control, f"SET foreign_key_checks = 0; DROP DATABASE {back_ticked(source.database)}")
        report = bring_back(tmp_path, source, with_globals=True)
        assert mysql_sql(control, f"SHOW GRANTS FOR '{names[0]}'@'%'") == grants
        assert mysql_sql(control, f"SHOW CREATE USER '{names[1]}'@'%'") == kept
        assert f"user {names[1]}@% is there already and keeps password and options" in report.notes
        assert not any(names[0] in note for note in report.notes)
    finally:
        for name in names:
            mysql_sql(control, f"DROP USER IF EXISTS '{name}'@'%'")


@pytest.fixture
def limited(target: Connection, mysql_sql: Sql) -> Iterator[Connection]:
    """An account that has all rights, but on the target's own name only."""
    control = target.with_database("")
    name = f"limited_{next(_names)}"
    pattern = target.database.replace("_", "\\_")
    mysql_sql(control, f"CREATE USER '{name}'@'%'")
    mysql_sql(control, f"GRANT ALL PRIVILEGES ON `{pattern}`.* TO '{name}'@'%'")
    mysql_sql(control, f"GRANT SET USER ON *.* TO '{name}'@'%'")
    mysql_sql(control, "SET GLOBAL log_bin_trust_function_creators = 1")
    yield Connection("mysql", target.database, host=target.host, port=target.port, user=name)
    mysql_sql(control, "SET GLOBAL log_bin_trust_function_creators = 0")
    mysql_sql(control, f"DROP USER '{name}'@'%'")


def test_an_account_that_may_not_make_a_database_beside_it(
    source: Connection, taken: Metadata, target: Connection, limited: Connection, tmp_path: Path
) -> None:
    report = bring_back(tmp_path, limited)
    assert same(target, source) == []
    assert any("may not make a database beside" in note for note in report.notes)
    with pytest.raises(RefusedError, match="may not make the database that is restored beside") as caught:
        bring_back(tmp_path, limited, replace=True)
    assert "GRANT ALL PRIVILEGES ON" in str(caught.value.hint)
    assert same(target, source) == []


def test_such_an_account_leaves_nothing_behind(
    source: Connection,
    taken: Metadata,
    target: Connection,
    limited: Connection,
    tmp_path: Path,
    mysql_sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "before-swap:error")
    with pytest.raises(DbtoolError, match="failpoint"):
        bring_back(tmp_path, limited)
    assert target.database not in databases(mysql_sql, source)
    mysql_sql(source.with_database(""), f"CREATE DATABASE {back_ticked(target.database)}")
    with pytest.raises(DbtoolError, match="failpoint"):
        bring_back(tmp_path, limited)
    assert mysql_sql(target, "SHOW TABLES") == []
    monkeypatch.delenv(VARIABLE)
    bring_back(tmp_path, limited)
    assert (
        difference(take_picture(target), take_picture(source), ["tables", "rows", "views", "routines"]) == []
    )


def test_such_an_accounts_dead_restore_can_be_told(
    source: Connection,
    taken: Metadata,
    target: Connection,
    limited: Connection,
    tmp_path: Path,
    mysql_sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from dbtool.engines.mysql.target import MysqlTarget

    monkeypatch.setenv(VARIABLE, "before-swap:error")
    with monkeypatch.context() as dying:
        dying.setattr(MysqlTarget, "_clear_away", lambda *_: None)
        with pytest.raises(DbtoolError, match="failpoint"):
            bring_back(tmp_path, limited)
    monkeypatch.delenv(VARIABLE)
    assert (journal.TABLE,) in mysql_sql(target, "SHOW TABLES")
    with pytest.raises(RefusedError, match="holds a part of a backup"):
        bring_back(tmp_path, limited)
    report = bring_back(tmp_path, limited, replace=True)
    assert same(target, source) == []
    assert any("what it left there was cleared away" in note for note in report.notes)


# Servers that differ


@pytest.fixture
def on_mysql(
    mysql_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql, tmp_path: Path
) -> Iterator[tuple[Connection, Connection]]:
    """A backed up database of a MySQL, where local_infile is off by default, and a place to restore to."""
    source = make_mysql_database(mysql_server)
    mysql_sql(source, SOURCE)
    backup(source, tmp_path)
    target = source.with_database(f"target_of_{source.database}")
    assert mysql_sql(source, "SELECT @@GLOBAL.local_infile") == [(0,)]
    yield source, target
    mysql_sql(source, "SET GLOBAL local_infile = 0")
    mysql_sql(source, f"SET foreign_key_checks = 0; DROP DATABASE IF EXISTS {back_ticked(target.database)}")


def test_local_infile_is_switched_on_and_back(
    on_mysql: tuple[Connection, Connection], tmp_path: Path, mysql_sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = on_mysql
    monkeypatch.setenv(VARIABLE, "before-swap:error")
    with pytest.raises(DbtoolError, match="failpoint"):
        bring_back(tmp_path, target)
    assert mysql_sql(source, "SELECT @@GLOBAL.local_infile") == [(0,)]
    monkeypatch.delenv(VARIABLE)
    report = bring_back(tmp_path, target)
    assert mysql_sql(source, "SELECT @@GLOBAL.local_infile") == [(0,)]
    assert same(target, source) == []
    assert any("local_infile was off" in note for note in report.notes)


def test_local_infile_of_a_killed_restore_is_switched_back(
    on_mysql: tuple[Connection, Connection], tmp_path: Path, mysql_sql: Sql
) -> None:
    source, target = on_mysql
    done = killed(tmp_path, target, "before-swap")
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert mysql_sql(source, "SELECT @@GLOBAL.local_infile") == [(1,)]
    bring_back(tmp_path, target)
    assert mysql_sql(source, "SELECT @@GLOBAL.local_infile") == [(0,)]
    assert same(target, source) == []


def test_local_infile_that_stays_off(
    on_mysql: tuple[Connection, Connection], tmp_path: Path, mysql_sql: Sql
) -> None:
    source, target = on_mysql
    control = source.with_database("")
    mysql_sql(control, "CREATE USER IF NOT EXISTS limited")
    mysql_sql(control, f"GRANT ALL PRIVILEGES ON {back_ticked(target.database)}.* TO limited")
    mysql_sql(control, "GRANT SET_ANY_DEFINER, SYSTEM_USER ON *.* TO limited")
    mysql_sql(control, "SET GLOBAL log_bin_trust_function_creators = 1")
    account = Connection("mysql", target.database, host=target.host, port=target.port, user="limited")
    try:
        report = bring_back(tmp_path, account)
    finally:
        mysql_sql(control, "DROP USER limited; SET GLOBAL log_bin_trust_function_creators = 0")
    assert same(target, source) == []
    assert any("rows go in as INSERT statements" in note for note in report.notes)


def test_a_damaged_archive_is_found_before_anything_is_made(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    main = next(tmp_path.glob("*/*.sql.zst"))
    main.chmod(0o600)
    damaged = bytearray(main.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    main.write_bytes(damaged)
    before = databases(mysql_sql, source)
    with pytest.raises(VerificationError):
        bring_back(tmp_path, target)
    assert databases(mysql_sql, source) == before


def test_an_error_in_the_middle_leaves_nothing(
    source: Connection, target: Connection, tmp_path: Path, mysql_sql: Sql
) -> None:
    mysql_sql(source, "CREATE TABLE wide (v mediumtext NOT NULL)")
    mysql_sql(source, f"INSERT INTO wide VALUES ('{'x' * 70000}')")
    backup(source, tmp_path)
    before = databases(mysql_sql, source)
    # A row is larger than what the server takes.
    mysql_sql(source, "SET GLOBAL max_allowed_packet = 1024")
    mysql_sql(source, "SET GLOBAL local_infile = 0")
    try:
        with pytest.raises(DbtoolError, match="loading rows of wide failed"):
            bring_back(tmp_path, target, jobs=2)
    finally:
        mysql_sql(source, "SET GLOBAL max_allowed_packet = DEFAULT; SET GLOBAL local_infile = 1")
    assert databases(mysql_sql, source) == before


def test_two_restores_into_one_name(
    source: Connection,
    taken: Metadata,
    target: Connection,
    limited: Connection,
    tmp_path: Path,
    mysql_sql: Sql,
) -> None:
    mysql_sql(source.with_database(""), f"CREATE DATABASE {back_ticked(target.database)}")
    from dbtool.engines.mysql.connect import connect

    with connect(target) as session:
        assert journal.take(session, target.database)
        with pytest.raises(BusyError, match="another restore into"):
            bring_back(tmp_path, limited)


@pytest.mark.matrix
def test_from_mariadb_to_mysql_and_back(
    source: Connection,
    taken: Metadata,
    mysql_server: MysqlServer,
    tmp_path: Path,
    mysql_sql: Sql,
    target: Connection,
) -> None:
    over = mysql_server.connection("from_mariadb")
    try:
        report = bring_back(tmp_path, over)
        assert report.rows == 3100
        assert difference(take_picture(over), take_picture(source), ["rows"]) == []
        mysql_sql(over, "INSERT INTO children (parent, note) VALUES (1, 'loud')")
        assert mysql_sql(over, "SELECT count(*) FROM children WHERE note = 'LOUD'") == [(1,)]
        mysql_sql(
            over,
            "CREATE TABLE modern (v varchar(9)) COLLATE utf8mb4_0900_ai_ci; INSERT INTO modern VALUES ('é')",
        )
        there = tmp_path / "there"
        backup(over, there)
        report = bring_back(there, target)
        assert any("utf8mb4_0900_ai_ci" in note and "stands in" in note for note in report.notes)
        assert difference(take_picture(target), take_picture(over), ["rows"]) == []
    finally:
        mysql_sql(over.with_database(""), "DROP DATABASE IF EXISTS from_mariadb")


@pytest.mark.matrix
def test_what_the_other_flavour_does_not_have_is_named(
    mysql_database: Connection, mysql_server: MysqlServer, tmp_path: Path, mysql_sql: Sql
) -> None:
    mysql_sql(mysql_database, "CREATE SEQUENCE counting")
    backup(mysql_database, tmp_path)
    over = mysql_server.connection("from_mariadb")
    with pytest.raises(SqlError, match="SEQUENCE counting could not be made") as caught:
        bring_back(tmp_path, over)
    assert "another kind or version" in str(caught.value.hint)
    assert "from_mariadb" not in databases(mysql_sql, over)


@pytest.mark.parametrize("account", ["root", "owner"])
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.matrix) for name in MYSQL_MATRIX])
def test_a_server_that_logs_statements(name: str, account: str, tmp_path: Path, mysql_sql: Sql) -> None:
    """InnoDB refuses changes of low isolation levels there, and who may not say otherwise must do with it."""
    settings: Settings = {
        "binlog_format": "STATEMENT",
        "transaction_isolation": "READ-COMMITTED",
        "log_bin_trust_function_creators": "1",
        "gtid_mode" if name.startswith("mysql") else "server_id": "OFF" if name.startswith("mysql") else "7",
        "local_infile": "1",
    }
    if name.startswith("mysql"):
        settings = {**settings, "enforce_gtid_consistency": "OFF"}
    with start_mysql(name, settings) as server:
        root = server.connection("shop")
        mysql_sql(
            root.with_database(""),
            "CREATE DATABASE shop; CREATE USER owner@`%`; GRANT ALL PRIVILEGES ON `shop%`.* TO owner@`%`",
        )
        mysql_sql(root, ["SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", *SOURCE])
        backup(root, tmp_path)
        target = server.connection("shop_again", account)
        report = bring_back(tmp_path, target, with_owners=False)
        assert report.compared
        again = root.with_database("shop_again")
        assert difference(take_picture(again), take_picture(root), ["tables", "rows"]) == []
        bring_back(tmp_path, target, replace=True, with_owners=False)
        assert difference(take_picture(again), take_picture(root), ["tables", "rows"]) == []


@pytest.mark.matrix
def test_vectors_are_found_by_their_index(tmp_path: Path, mysql_sql: Sql) -> None:
    with start_mysql("mariadb118") as server:
        source = server.connection("searched")
        mysql_sql(source.with_database(""), "CREATE DATABASE searched")
        mysql_sql(
            source,
            [
                "CREATE TABLE v (id int AUTO_INCREMENT PRIMARY KEY, e vector(3) NOT NULL, "
                "VECTOR INDEX near (e) M=6 DISTANCE=euclidean)",
                "INSERT INTO v (e) SELECT VEC_FromText(CONCAT('[', seq, ',', seq % 7, ',0.1]')) FROM seq_1_to_500",
            ],
        )
        backup(source, tmp_path)
        target = source.with_database(f"{source.database}_again")
        bring_back(tmp_path, target)
        assert same(target, source) == []
        query = "SELECT id FROM v ORDER BY VEC_DISTANCE(e, VEC_FromText('[250.3,5,0]')) LIMIT 2"
        assert mysql_sql(target, query) == mysql_sql(source, query)
        assert mysql_sql(target, f"EXPLAIN {query}")[0][5] == "near"
