"""Restores into real databases: what comes back, what stays as it was, and what is refused."""

from __future__ import annotations

import itertools
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MakeDatabase, Sql, connect
from tests.logical import archive_of, backup, bring_back, contents, databases

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
from dbtool.servers.postgres import PostgresServer

SOURCE = """
CREATE TABLE parents (id int PRIMARY KEY, name text);
CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents ON DELETE CASCADE, note text);
CREATE INDEX ON children (parent);
CREATE SEQUENCE numbers;
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := upper(NEW.note); RETURN NEW; END$$;
CREATE TRIGGER shouting BEFORE INSERT ON children FOR EACH ROW EXECUTE FUNCTION shout();
CREATE VIEW both_of_them AS SELECT p.name, c.note FROM parents AS p JOIN children AS c ON c.parent = p.id;
CREATE MATERIALIZED VIEW counted AS SELECT parent, count(*) FROM children GROUP BY parent;
INSERT INTO parents SELECT n, 'p' || n FROM generate_series(1, 100) AS n;
ALTER TABLE children DISABLE TRIGGER shouting;
INSERT INTO children SELECT n, 1 + n % 100, 'quiet ' || n FROM generate_series(1, 3000) AS n;
ALTER TABLE children ENABLE TRIGGER shouting;
REFRESH MATERIALIZED VIEW counted;
SELECT setval('numbers', 41);
"""
_names = itertools.count(1)


@pytest.fixture
def source(database: Connection, sql: Sql) -> Connection:
    """A small database."""
    sql(database, SOURCE)
    return database


@pytest.fixture
def taken(source: Connection, tmp_path: Path) -> Metadata:
    """A full backup of it, in `tmp_path`."""
    return backup(source, tmp_path)


@pytest.fixture
def target(source: Connection) -> Iterator[Connection]:
    """A database that does not exist yet; dropped afterwards, with all that begins like it."""
    target = source.with_database(f"target_{next(_names)}_of_{source.database}")
    before = databases(source)
    yield target
    with connect(source.with_database("postgres")) as session:
        for name in databases(source) - before:
            session.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


def leftovers(connection: Connection) -> set[str]:
    return {name for name in databases(connection) if "_dbtool_" in name}


# Where to


def test_into_a_new_database(source: Connection, taken: Metadata, target: Connection, tmp_path: Path) -> None:
    report = bring_back(tmp_path, target)
    assert contents(target) == contents(source)
    assert report.document()["status"] == "completed"
    assert report.rows == 3100
    assert report.compared
    assert leftovers(source) == set()


def test_everything_is_there(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, sql: Sql
) -> None:
    bring_back(tmp_path, target)
    assert sql(target, "SELECT nextval('numbers')") == [(42,)]
    assert sql(target, "SELECT count(*) FROM counted") == [(100,)]
    assert sql(target, "SELECT count(*) FROM both_of_them") == [(3000,)]
    assert sql(target, "INSERT INTO children VALUES (9999, 1, 'loud') RETURNING note") == [("LOUD",)]
    constraints = (
        "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid <> 0 ORDER BY 1, 2"
    )
    assert sql(target, constraints) == sql(source, constraints)
    # The planner knows the new tables.
    assert sql(target, "SELECT reltuples FROM pg_class WHERE relname = 'children'") == [(3000.0,)]
    owner = "SELECT pg_get_userbyid(datdba), datacl::text FROM pg_database WHERE datname = current_database()"
    assert sql(target, owner)[0][0] == sql(source, owner)[0][0]
    # Everybody may connect, as by default.
    assert sql(target, "SELECT has_database_privilege('public', current_database(), 'CONNECT')") == [(True,)]


def test_into_an_empty_database(
    source: Connection,
    taken: Metadata,
    tmp_path: Path,
    postgres_server: PostgresServer,
    make_database: MakeDatabase,
) -> None:
    empty = make_database(postgres_server)
    report = bring_back(tmp_path, empty)
    assert contents(empty) == contents(source)
    assert any("exists and is empty" in note for note in report.notes)


def test_a_database_that_is_not_empty_is_refused(
    source: Connection, taken: Metadata, tmp_path: Path, sql: Sql
) -> None:
    sql(source, "DELETE FROM children WHERE id > 5")
    before = contents(source)
    with pytest.raises(RefusedError, match="is not empty: it holds 2 tables") as caught:
        bring_back(tmp_path, source)
    assert caught.value.exit_code is ExitCode.REFUSED
    assert "--replace" in str(caught.value.hint)
    assert contents(source) == before


@pytest.mark.parametrize(
    "content",
    [
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA s",
        "CREATE VIEW v AS SELECT 1",
    ],
)
def test_a_database_without_tables_may_still_hold_something(
    taken: Metadata,
    tmp_path: Path,
    sql: Sql,
    content: str,
    postgres_server: PostgresServer,
    make_database: MakeDatabase,
) -> None:
    other = make_database(postgres_server)
    sql(other, content)
    with pytest.raises(RefusedError, match="1 other object"):
        bring_back(tmp_path, other)


# Replacing a database


def test_replace_swaps(source: Connection, taken: Metadata, tmp_path: Path, sql: Sql) -> None:
    expected = contents(source)
    before = databases(source)
    sql(source, "DELETE FROM children; CREATE TABLE later (n int)")
    bring_back(tmp_path, source, replace=True)
    assert contents(source) == expected
    assert databases(source) == before


def test_replace_ends_the_sessions_of_others(
    source: Connection, taken: Metadata, tmp_path: Path, sql: Sql
) -> None:
    expected = contents(source)
    with connect(source) as idle:
        idle.execute("SELECT 1")
        sql(source, "DELETE FROM children")
        bring_back(tmp_path, source, replace=True)
    assert contents(source) == expected


def test_a_database_that_cannot_be_replaced_stays(
    source: Connection, taken: Metadata, tmp_path: Path, sql: Sql
) -> None:
    """A prepared transaction keeps a database from being renamed."""
    before = databases(source)
    with connect(source) as session:
        session.execute("BEGIN")
        session.execute("DELETE FROM children WHERE id = 1")
        session.execute("PREPARE TRANSACTION 'waiting'")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dbtool.engines.postgres.staging._RENAME_ATTEMPTS", 1)
            with pytest.raises(BusyError, match="could not take the place"):
                bring_back(tmp_path, source, replace=True)
        assert len(contents(source)["public.children"]) == 3000
        assert databases(source) == before
    finally:
        sql(source, "ROLLBACK PREPARED 'waiting'")


@pytest.mark.parametrize("place", ["task-done", "before-swap"])
def test_a_restore_that_fails_leaves_the_old_database_as_it_was(
    source: Connection, taken: Metadata, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    sql(source, "DELETE FROM children WHERE id > 7; CREATE TABLE later (n int)")
    before, names = contents(source), databases(source)
    monkeypatch.setenv(VARIABLE, f"{place}:error")
    with pytest.raises(DbtoolError, match="failpoint"):
        bring_back(tmp_path, source, replace=True)
    assert contents(source) == before
    assert databases(source) == names
    with pytest.raises(DbtoolError, match="failpoint"):
        bring_back(tmp_path, source.with_database("never_there"))
    assert databases(source) == names


def test_a_database_made_meanwhile_is_not_replaced(
    source: Connection,
    taken: Metadata,
    target: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sql: Sql,
) -> None:
    def make_it(place: str) -> None:
        if place == "before-swap":
            sql(source.with_database("postgres"), f'CREATE DATABASE "{target.database}"')

    monkeypatch.setattr("dbtool.engines.postgres.target.reach", make_it)
    with pytest.raises(RefusedError, match="was made by somebody"):
        bring_back(tmp_path, target)
    assert contents(target) == {}
    assert leftovers(source) == set()


@pytest.mark.parametrize(
    "name", ['Weird ""name"', "-rf", "select", "a/b", "new\nline", "ä" * 31, "x" * 63, "dbname=postgres"]
)
def test_names_of_databases(source: Connection, taken: Metadata, tmp_path: Path, name: str) -> None:
    target = source.with_database(name)
    try:
        bring_back(tmp_path, target)
        assert contents(target) == contents(source)
        bring_back(tmp_path, target, replace=True)
        assert contents(target) == contents(source)
        assert leftovers(source) == set()
    finally:
        with connect(source.with_database("postgres")) as session:
            quoted = name.replace('"', '""')
            session.execute(f'DROP DATABASE IF EXISTS "{quoted}" WITH (FORCE)'.encode())


# Some tables


@pytest.fixture
def other(postgres_server: PostgresServer, make_database: MakeDatabase, sql: Sql) -> Connection:
    """A database with tables of its own."""
    connection = make_database(postgres_server)
    sql(connection, "CREATE TABLE mine (n int); INSERT INTO mine VALUES (1), (2)")
    return connection


def test_tables_into_a_database_with_others(
    source: Connection, taken: Metadata, other: Connection, tmp_path: Path, sql: Sql
) -> None:
    report = bring_back(tmp_path, other, "parents", "children")
    expected = contents(source)
    assert contents(other) == {
        "public.children": expected["public.children"],
        "public.mine": ["(1)", "(2)"],
        "public.parents": expected["public.parents"],
    }
    assert (report.tables, report.rows) == (2, 3100)
    with pytest.raises(Exception, match="foreign key"):
        sql(other, "INSERT INTO children VALUES (100000, 100000, 'x')")


def test_one_table_without_the_one_it_points_to(
    source: Connection, taken: Metadata, other: Connection, tmp_path: Path, sql: Sql
) -> None:
    report = bring_back(tmp_path, other, "children")
    assert len(contents(other)["public.children"]) == 3000
    assert any("children_parent_fkey" in note for note in report.notes)
    assert sql(other, "SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(0,)]


def test_tables_by_pattern_into_a_new_database(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path
) -> None:
    bring_back(tmp_path, target, "p*")
    assert contents(target) == {"public.parents": contents(source)["public.parents"]}


def test_a_table_that_the_backup_has_not(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path
) -> None:
    with pytest.raises(NotFoundError, match="no table is called childen") as caught:
        bring_back(tmp_path, target, "childen")
    assert "children" in str(caught.value.hint)
    assert target.database not in databases(source)


def test_tables_that_are_there_are_refused(
    source: Connection, taken: Metadata, tmp_path: Path, sql: Sql
) -> None:
    sql(source, "DELETE FROM children WHERE id > 5")
    before = contents(source)
    with pytest.raises(RefusedError, match=r"there is already public\.children") as caught:
        bring_back(tmp_path, source, "children")
    assert "--replace" in str(caught.value.hint)
    assert contents(source) == before


SURROUNDINGS = """
CREATE TABLE pointing (id int PRIMARY KEY, child int CONSTRAINT "a key" REFERENCES children ON DELETE SET NULL);
INSERT INTO pointing SELECT n, n FROM generate_series(1, 50) AS n;
CREATE VIEW quiet WITH (security_barrier = true) AS SELECT id, note FROM children WHERE note LIKE 'quiet%';
CREATE VIEW quieter AS SELECT * FROM quiet WHERE id < 10 WITH CASCADED CHECK OPTION;
GRANT SELECT ON quiet TO PUBLIC;
DROP MATERIALIZED VIEW counted;
"""
AROUND = """
SELECT conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE contype = 'f' ORDER BY 1
"""
VIEWS = """
SELECT relname, pg_get_viewdef(oid), reloptions, relacl::text FROM pg_class WHERE relkind = 'v' ORDER BY 1
"""


def test_tables_are_replaced_under_keys_and_views_of_others(
    source: Connection, taken: Metadata, tmp_path: Path, sql: Sql
) -> None:
    expected = contents(source)["public.children"]
    sql(source, SURROUNDINGS)
    keys, views = sql(source, AROUND), sql(source, VIEWS)
    sql(source, "DELETE FROM children WHERE id > 60; UPDATE children SET note = 'changed'")
    bring_back(tmp_path, source, "children", replace=True)
    assert contents(source)["public.children"] == expected
    assert sql(source, AROUND) == keys
    assert sql(source, VIEWS) == views
    assert sql(source, "SELECT count(*) FROM quiet") == [(3000,)]
    assert sql(source, "SELECT count(*) FROM quieter") == [(9,)]
    sql(source, "DELETE FROM children WHERE id = 3")
    assert sql(source, "SELECT child FROM pointing WHERE id = 3") == [(None,)]
    assert sql(source, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'dbtool%%'") == [(0,)]
    assert sql(source, "INSERT INTO children VALUES (99999, 1, 'loud') RETURNING note") == [("LOUD",)]


def test_both_tables_are_replaced(source: Connection, taken: Metadata, tmp_path: Path, sql: Sql) -> None:
    sql(source, SURROUNDINGS)
    expected = contents(source)
    sql(source, "DELETE FROM parents; INSERT INTO parents VALUES (1, 'other')")
    bring_back(tmp_path, source, "parents", "children", replace=True)
    after = contents(source)
    assert after["public.parents"] == expected["public.parents"]
    assert after["public.children"] == expected["public.children"]


def test_replacing_needs_no_table_to_be_there(
    source: Connection, taken: Metadata, other: Connection, tmp_path: Path, sql: Sql
) -> None:
    sql(other, "CREATE TABLE parents (something text); INSERT INTO parents VALUES ('else')")
    bring_back(tmp_path, other, "parents", "children", replace=True)
    assert contents(other)["public.parents"] == contents(source)["public.parents"]
    assert contents(other)["public.children"] == contents(source)["public.children"]


@pytest.mark.parametrize("place", ["task-done", "before-swap"])
def test_the_old_tables_are_back_when_replacing_fails(
    source: Connection, taken: Metadata, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    sql(source, SURROUNDINGS)
    sql(source, "CREATE STATISTICS known ON id, parent FROM children; DELETE FROM children WHERE id > 60")
    before, keys, views = contents(source), sql(source, AROUND), sql(source, VIEWS)
    monkeypatch.setenv(VARIABLE, f"{place}:error")
    with pytest.raises(DbtoolError, match="failpoint"):
        bring_back(tmp_path, source, "children", replace=True)
    assert contents(source) == before
    assert sql(source, AROUND) == keys
    assert sql(source, VIEWS) == views
    assert sql(source, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'dbtool%%'") == [(0,)]
    assert sql(source, "SELECT stxnamespace::regnamespace::text FROM pg_statistic_ext") == [("public",)]


def test_a_key_that_the_old_rows_need_stops_the_replacement(
    source: Connection, taken: Metadata, tmp_path: Path, sql: Sql
) -> None:
    """A row that points to a child which the backup does not have: nothing may be lost."""
    sql(source, SURROUNDINGS)
    sql(source, "INSERT INTO children VALUES (70000, 1, 'new'); INSERT INTO pointing VALUES (70000, 70000)")
    before = contents(source)
    with pytest.raises(SqlError, match="a key"):
        bring_back(tmp_path, source, "children", replace=True)
    assert contents(source) == before


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("CREATE MATERIALIZED VIEW hanging AS SELECT * FROM children", "hanging"),
        ("CREATE TABLE hanging () INHERITS (children)", "hanging"),
        ("CREATE FUNCTION hanging(children) RETURNS int LANGUAGE sql AS 'SELECT 1'", "hanging"),
        (
            "CREATE TABLE x (n int); CREATE POLICY hanging ON x USING (EXISTS (SELECT FROM children))",
            "hanging",
        ),
        (
            "CREATE TABLE x (n int); CREATE RULE hanging AS ON INSERT TO x DO ALSO DELETE FROM children",
            "hanging",
        ),
        ("CREATE TABLE x (hanging children)", "hanging"),
        ("CREATE PUBLICATION hanging FOR TABLE children", "hanging"),
    ],
)
def test_what_cannot_follow_is_said_before_anything_changes(
    source: Connection, taken: Metadata, tmp_path: Path, sql: Sql, statement: str, name: str
) -> None:
    sql(source, "DROP MATERIALIZED VIEW counted")
    sql(source, statement)
    with pytest.raises(RefusedError, match="cannot replace") as caught:
        bring_back(tmp_path, source, "children", replace=True)
    assert name in caught.value.message
    assert sql(source, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'dbtool%%'") == [(0,)]


def test_a_table_with_everything_of_its_own_is_replaced(
    database: Connection, tmp_path: Path, sql: Sql
) -> None:
    """Indexes, statistics, policies, rules, triggers, defaults: none trips over its predecessor's name."""
    sql(
        database,
        """
        CREATE TABLE rich (
            id serial PRIMARY KEY, i int GENERATED ALWAYS AS IDENTITY, a int CHECK (a > 0), b int UNIQUE,
            c int GENERATED ALWAYS AS (a * 2) STORED, me int REFERENCES rich);
        CREATE INDEX by_a ON rich (a) WHERE b > 5;
        CREATE STATISTICS rich_stats ON a, b FROM rich;
        ALTER TABLE rich ENABLE ROW LEVEL SECURITY;
        CREATE POLICY only_some ON rich USING (EXISTS (SELECT FROM rich AS r WHERE r.a > 3));
        CREATE RULE quiet AS ON DELETE TO rich DO INSTEAD NOTHING;
        CREATE FUNCTION same() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE TRIGGER t BEFORE UPDATE ON rich FOR EACH ROW EXECUTE FUNCTION same();
        COMMENT ON TABLE rich IS 'a table'; COMMENT ON COLUMN rich.a IS 'a column';
        GRANT SELECT (a) ON rich TO PUBLIC;
        INSERT INTO rich (a, b, me) SELECT n, n, 1 FROM generate_series(1, 100) AS n;
        """,
    )
    expected = contents(database)
    facts = """
        SELECT pg_describe_object(classid, objid, 0) FROM pg_depend WHERE refobjid = 'rich'::regclass AND objid > 16384
          AND classid <> 'pg_type'::regclass
        UNION ALL SELECT obj_description('rich'::regclass) UNION ALL SELECT stxname FROM pg_statistic_ext ORDER BY 1
    """
    described = sql(database, facts)
    backup(database, tmp_path)
    for _ in range(2):
        bring_back(tmp_path, database, "rich", replace=True)
        assert contents(database) == expected
        assert sql(database, facts) == described
    assert sql(database, "INSERT INTO rich (a) VALUES (7) RETURNING id, i") == [(101, 101)]


def test_a_partitioned_table_is_replaced_whole(database: Connection, tmp_path: Path, sql: Sql) -> None:
    sql(
        database,
        """
        CREATE TABLE parts (n int PRIMARY KEY, t text) PARTITION BY RANGE (n);
        CREATE TABLE low PARTITION OF parts FOR VALUES FROM (0) TO (50);
        CREATE TABLE high PARTITION OF parts FOR VALUES FROM (50) TO (100);
        INSERT INTO parts SELECT n, 't' || n FROM generate_series(0, 99) AS n;
        """,
    )
    expected = contents(database)
    backup(database, tmp_path)
    sql(database, "DELETE FROM parts WHERE n % 3 = 0")
    bring_back(tmp_path, database, "parts", replace=True)
    assert contents(database) == expected
    assert sql(database, "SELECT count(*) FROM parts") == [(100,)]


def test_somebody_holds_a_lock_on_the_table(
    source: Connection, taken: Metadata, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbtool.engines.postgres.replace._LOCK_TIMEOUT_SECONDS", 1)
    before = contents(source)
    with connect(source) as holder:
        holder.execute("BEGIN")
        holder.execute("DROP MATERIALIZED VIEW counted")
        holder.execute("LOCK TABLE children IN ACCESS SHARE MODE")
        holder.execute("COMMIT")
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE children IN ACCESS SHARE MODE")
        with pytest.raises(BusyError, match="somebody holds a lock"):
            bring_back(tmp_path, source, "children", replace=True)
        holder.execute("ROLLBACK")
    del before["public.counted"]
    assert contents(source) == before


# Owners and privileges


@pytest.fixture
def owned(source: Connection, tmp_path: Path, sql: Sql) -> Iterator[Metadata]:
    """A backup whose tables belong to a role that has been dropped since."""
    sql(source, "DROP ROLE IF EXISTS somebody; CREATE ROLE somebody")
    sql(source, "GRANT CREATE ON SCHEMA public TO somebody; ALTER TABLE parents OWNER TO somebody")
    sql(source, "GRANT SELECT ON children TO somebody WITH GRANT OPTION")
    metadata = backup(source, tmp_path)
    sql(source, "REASSIGN OWNED BY somebody TO postgres; DROP OWNED BY somebody; DROP ROLE somebody")
    yield metadata
    with connect(source) as session:
        if session.execute("SELECT 1 FROM pg_roles WHERE rolname = 'somebody'").fetchone():
            session.execute("DROP OWNED BY somebody CASCADE")


def test_a_role_that_is_missing_is_an_error_that_says_so(
    source: Connection, owned: Metadata, target: Connection, tmp_path: Path
) -> None:
    with pytest.raises(SqlError, match='role "somebody" does not exist') as caught:
        bring_back(tmp_path, target)
    assert re.search(r"parents|children|public", caught.value.message)
    assert "the statement: " in str(caught.value.hint)
    assert "--no-owner" in str(caught.value.hint)
    assert target.database not in databases(source)
    assert leftovers(source) == set()


def test_without_owners_and_privileges(
    source: Connection, owned: Metadata, target: Connection, tmp_path: Path, sql: Sql
) -> None:
    bring_back(tmp_path, target, with_owners=False, with_privileges=False)
    assert contents(target) == contents(source)
    assert sql(target, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'") == [
        ("postgres",)
    ]
    assert sql(target, "SELECT relacl FROM pg_class WHERE relname = 'children'") == [(None,)]


def test_the_roles_come_on_request(
    source: Connection, owned: Metadata, target: Connection, tmp_path: Path, sql: Sql
) -> None:
    report = bring_back(tmp_path, target, with_globals=True)
    owner = "SELECT tableowner FROM pg_tables WHERE tablename = 'parents'"
    assert sql(target, owner) == [("somebody",)]
    assert any("role postgres is there already" in note for note in report.notes)
    sql(target, "DROP OWNED BY somebody CASCADE")


def test_a_missing_owner_of_the_database_is_said_at_once(
    postgres_server: PostgresServer, make_database: MakeDatabase, tmp_path: Path, sql: Sql
) -> None:
    administration = postgres_server.connection()
    sql(administration, "CREATE ROLE landlord")
    source = make_database(postgres_server, None, "OWNER landlord")
    sql(source, "CREATE TABLE t AS SELECT 1 AS n")
    backup(source, tmp_path)
    bring_back(tmp_path, source, replace=True)
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()"
    assert sql(source, owner) == [("landlord",)]
    sql(source, "ALTER DATABASE " + source.database + " OWNER TO postgres")
    sql(administration, "DROP ROLE landlord")
    with pytest.raises(SqlError, match='"landlord" does not exist') as caught:
        bring_back(tmp_path, source, replace=True)
    assert "--no-owner" in str(caught.value.hint)
    bring_back(tmp_path, source, replace=True, with_owners=False)


def test_an_account_that_may_not_make_databases(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, sql: Sql
) -> None:
    sql(source, "DROP ROLE IF EXISTS small; CREATE ROLE small LOGIN")
    with pytest.raises(RefusedError, match="may not create the database") as caught:
        bring_back(tmp_path, replace(target, user="small"), with_owners=False)
    assert "CREATEDB" in str(caught.value.hint)


# Roles and tablespaces: globals.sql


def test_globals_make_what_is_missing_and_leave_what_is_there(tmp_path: Path, sql: Sql) -> None:
    with PostgresServer.start() as old, PostgresServer.start() as new:
        sql(
            old.connection(),
            """
            CREATE ROLE "we""ird; role" LOGIN PASSWORD 'x;y'; CREATE ROLE staff; CREATE ROLE there;
            GRANT staff TO "we""ird; role" WITH ADMIN OPTION; GRANT there TO staff;
            ALTER ROLE staff SET search_path TO 'a;b', c; COMMENT ON ROLE staff IS 'it''s; $$ a comment';
            ALTER ROLE there CREATEDB; COMMENT ON ROLE there IS 'the old one';
            ALTER ROLE there SET work_mem = '1MB';
            """,
        )
        sql(old.connection(), "CREATE TABLE t AS SELECT 1 AS n")
        backup(old.connection(), tmp_path)
        sql(new.connection(), "CREATE ROLE there CREATEROLE; COMMENT ON ROLE there IS 'the new one'")
        target = new.connection("restored")
        report = bring_back(tmp_path, target, with_globals=True)
        assert {note for note in report.notes if "stays as it is" in note} == {
            "role postgres is there already and stays as it is",
            "role there is there already and stays as it is",
        }
        roles = "SELECT rolname, rolcreatedb, rolcreaterole, rolconfig, shobj_description(oid, 'pg_authid') FROM pg_roles"
        found = {row[0]: row[1:] for row in sql(target, roles)}
        assert found["there"] == (False, True, None, "the new one")
        assert found["staff"] == (False, False, ['search_path="a;b", c'], "it's; $$ a comment")
        password = "SELECT rolpassword FROM pg_authid WHERE rolname LIKE 'we%%'"
        assert sql(target, password) == sql(old.connection(), password)
        members = (
            "SELECT roleid::regrole::text, member::regrole::text, admin_option "
            "FROM pg_auth_members WHERE roleid >= 16384 ORDER BY 1"
        )
        assert sql(target, members) == sql(old.connection(), members)
        # Once more: all is there, and nothing fails.
        bring_back(tmp_path, target, with_globals=True, replace=True)
        assert sql(target, members) == sql(old.connection(), members)


def test_a_statement_of_the_globals_that_fails_is_an_error_without_a_password(
    tmp_path: Path, sql: Sql
) -> None:
    with PostgresServer.start() as old, PostgresServer.start() as new:
        sql(old.connection(), "CREATE ROLE secretive LOGIN PASSWORD 'hunter2'")
        backup(old.connection(), tmp_path)
        sql(new.connection(), "CREATE ROLE maker LOGIN CREATEDB CREATEROLE")
        sql(old.connection(), "SELECT 1")
        limited = new.connection("restored", user="maker")
        with pytest.raises(SqlError, match=r"globals\.sql: ") as caught:
            bring_back(tmp_path, replace(limited, password=None), with_globals=True)
        assert "SCRAM" not in f"{caught.value.message} {caught.value.hint}"


# Dry run, damage, the archive alone


def test_a_dry_run_changes_nothing(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, sql: Sql
) -> None:
    before, names = contents(source), databases(source)
    report = bring_back(tmp_path, target, dry_run=True)
    assert report.document()["status"] == "planned"
    assert sum(step["rows"] for step in report.steps) == 3100
    bring_back(tmp_path, source, dry_run=True, replace=True)
    bring_back(tmp_path, source, "children", dry_run=True, replace=True)
    with pytest.raises(RefusedError):
        bring_back(tmp_path, source, dry_run=True)
    assert databases(source) == names
    assert contents(source) == before


def test_a_damaged_backup_is_refused_before_anything_is_made(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path
) -> None:
    names = databases(source)
    for artefact in taken.artefacts:
        path = tmp_path / taken.id / artefact.name
        data = path.read_bytes()
        path.write_bytes(
            data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :]
        )
        with pytest.raises(VerificationError, match=re.escape(artefact.name)):
            bring_back(tmp_path, target)
        path.write_bytes(data[:-1])
        with pytest.raises(VerificationError, match=re.escape(artefact.name)):
            bring_back(tmp_path, target)
        path.unlink()
        with pytest.raises(VerificationError, match=re.escape(artefact.name)):
            bring_back(tmp_path, target)
        path.write_bytes(data)
    assert databases(source) == names
    bring_back(tmp_path, target)


def test_a_damaged_frame_of_an_archive_alone_leaves_nothing_behind(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path
) -> None:
    reader = archive_of(tmp_path, taken)
    alone = tmp_path / "alone" / "x.sql.zst"
    alone.parent.mkdir()
    shutil.copy(tmp_path / reader.name, alone)
    data = bytearray(alone.read_bytes())
    frame = next(frame for frame in reader.index.frames if frame.rows > 1000)
    data[frame.offset + frame.stored_bytes // 2] ^= 0x10
    alone.write_bytes(data)
    with pytest.raises(VerificationError, match=r"data of public\.children"):
        bring_back(tmp_path, target, reference=str(alone))
    assert target.database not in databases(source)
    assert leftovers(source) == set()


def test_from_the_archive_alone(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path
) -> None:
    alone = tmp_path / "somewhere else"
    alone.mkdir()
    shutil.copy(tmp_path / archive_of(tmp_path, taken).name, alone / "renamed.zst")
    report = bring_back(tmp_path, target, reference=str(alone / "renamed.zst"))
    assert report.backup == taken.id
    assert contents(target) == contents(source)
    with pytest.raises(VerificationError, match=r"no globals\.sql"):
        bring_back(tmp_path, target, reference=str(alone / "renamed.zst"), with_globals=True, replace=True)


def test_by_id_by_latest_by_folder_and_by_file(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path
) -> None:
    folder = tmp_path / taken.id
    archive = tmp_path / archive_of(tmp_path, taken).name
    for reference in (taken.id, "latest", str(folder), str(folder / "metadata.json"), str(archive)):
        bring_back(tmp_path, target, reference=reference, replace=True)
    assert contents(target) == contents(source)


def test_rows_that_are_not_those_of_the_backup_are_found(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trigger, say, or somebody else changes a row before it is compared."""
    from dbtool.engines.postgres.load import CopyLoader

    real = CopyLoader.tally

    def tally(self: CopyLoader, number: int) -> Any:
        self._session.execute("UPDATE public.parents SET name = 'other' WHERE id = 50")
        return real(self, number)

    monkeypatch.setattr(CopyLoader, "tally", tally)
    with pytest.raises(VerificationError, match=r"public\.parents is not what was backed up"):
        bring_back(tmp_path, target)
    assert target.database not in databases(source)
    report = bring_back(tmp_path, target, compare=False)
    assert not report.compared


@pytest.mark.parametrize(
    ("original", "other_encoding"),
    [("UTF8", "LATIN1"), ("LATIN1", "UTF8"), ("SQL_ASCII", "UTF8"), ("EUC_JP", "UTF8")],
)
def test_another_encoding(
    postgres_server: PostgresServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    sql: Sql,
    original: str,
    other_encoding: str,
) -> None:
    source = make_database(postgres_server, None, f"ENCODING '{original}' LOCALE 'C'")
    letters = "日本" if original == "EUC_JP" else "é÷ß"
    with connect(source, client_encoding="UTF8") as session:
        session.execute(f'CREATE TABLE "t{letters}" ("{letters}" text PRIMARY KEY, n int)'.encode())
        session.execute(
            f"""INSERT INTO "t{letters}" VALUES ('{letters}', 1), (E'\\t{letters}', 2)""".encode()
        )
    backup(source, tmp_path)
    target = make_database(postgres_server, None, f"ENCODING '{other_encoding}' LOCALE 'C'")
    bring_back(tmp_path, target)
    assert contents(target) == contents(source)
    bring_back(tmp_path, source, replace=True)
    assert contents(target) == contents(source)
    encoding = "SELECT encoding = pg_char_to_encoding(%s) FROM pg_database WHERE datname = current_database()"
    assert sql(source, encoding, (original,)) == [(True,)]


def test_bytes_of_any_kind_in_a_database_without_encoding(
    postgres_server: PostgresServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    source = make_database(postgres_server, None, "ENCODING 'SQL_ASCII' LOCALE 'C'")
    latin = "ma\xdf".encode("latin-1")
    with connect(source, client_encoding="SQL_ASCII") as session:
        session.execute(b'CREATE TABLE "' + latin + b'" (id serial PRIMARY KEY, t text)')
        session.execute(b'INSERT INTO "' + latin + b"\" (t) VALUES ('" + latin + b"\xff'), ('plain')")
        session.execute(b'CREATE SEQUENCE "s' + latin + b'"')
    metadata = backup(source, tmp_path)
    assert metadata.tables[0].rows == 2
    bring_back(tmp_path, source, replace=True)
    with connect(source, client_encoding="SQL_ASCII") as session:
        query = b"SELECT encode(t::bytea, 'escape') FROM \"" + latin + b'" ORDER BY id'
        assert session.execute(query).fetchone() == (b"ma\\337\\377",)
    bring_back(tmp_path, source, "ma*", replace=True)


def test_a_lost_connection_is_an_error(
    source: Connection,
    taken: Metadata,
    target: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sql: Sql,
) -> None:
    def cut(place: str) -> None:
        if place == "task-done":
            kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbtool restore'"
            sql(source, kill)

    monkeypatch.setattr("dbtool.operations.restore.reach", cut)
    with pytest.raises(DbtoolError, match=r"connection to the server lost|terminating connection"):
        bring_back(tmp_path, target)
    assert target.database not in databases(source)
    assert leftovers(source) == set()


def test_interrupting_ends_the_restore_at_once(
    source: Connection,
    taken: Metadata,
    target: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sql: Sql,
) -> None:
    """What Ctrl-C does: an exception in the main thread while loaders work on the server."""
    sql(source, "CREATE FUNCTION slow(n int) RETURNS bool LANGUAGE sql AS 'SELECT pg_sleep(30) IS NOT NULL'")
    sql(source, "CREATE TABLE slow_one (n int CHECK (slow(n))); ALTER TABLE slow_one DISABLE TRIGGER ALL")
    sql(source, "ALTER TABLE slow_one DROP CONSTRAINT slow_one_n_check; INSERT INTO slow_one VALUES (1), (2)")
    sql(source, "ALTER TABLE slow_one ADD CHECK (slow(n)) NOT VALID; CREATE TABLE quick AS SELECT 1 AS n")
    backup(source, tmp_path)
    sql(source, "DROP TABLE slow_one")
    import time

    from dbtool.operations import scheduler

    real = scheduler._Board.wait

    def wait(self: Any) -> None:
        if any(name == "rows" for name in names):
            time.sleep(1)
            raise KeyboardInterrupt
        real(self)

    names: list[str] = []
    real_run = scheduler.Scheduler.run

    def run(self: Any, stage: Any, runner: Any) -> None:
        names.append(stage.name)
        real_run(self, stage, runner)

    monkeypatch.setattr(scheduler._Board, "wait", wait)
    monkeypatch.setattr(scheduler.Scheduler, "run", run)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bring_back(tmp_path, target)
    assert time.monotonic() - began < 15
    assert leftovers(source) == set()
    assert threading.active_count() < 20


PARTED = """
CREATE TABLE parted (n int PRIMARY KEY, t text) PARTITION BY RANGE (n);
CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (50) PARTITION BY LIST (n);
CREATE TABLE low_other PARTITION OF low DEFAULT;
CREATE TABLE high PARTITION OF parted FOR VALUES FROM (50) TO (100);
INSERT INTO parted SELECT n, 't' || n FROM generate_series(0, 99) AS n;
"""


@pytest.mark.matrix
@pytest.mark.parametrize(("pattern", "rows"), [("parted", 100), ("low", 50), ("high", 50)])
def test_partitions_on_every_version(
    matrix_database: Connection,
    matrix_server: PostgresServer,
    make_database: MakeDatabase,
    tmp_path: Path,
    sql: Sql,
    pattern: str,
    rows: int,
) -> None:
    """Older clients write a partition's attachment into its definition, newer ones beside it."""
    sql(matrix_database, PARTED)
    backup(matrix_database, tmp_path, tool_directories=(str(matrix_server.bin_directory),))
    target = make_database(matrix_server)
    assert bring_back(tmp_path, target, pattern).rows == rows
    assert sql(target, "SELECT count(*) FROM parted") == [(rows,)]
    expected = contents(matrix_database)
    sql(matrix_database, "DELETE FROM parted WHERE n % 3 = 0")
    if pattern != "parted":
        sql(matrix_database, f"DELETE FROM {pattern}")
    bring_back(tmp_path, matrix_database, pattern, replace=True)
    assert contents(matrix_database)["public.high"] == expected["public.high"] or pattern == "low"
    assert contents(matrix_database)["public.low_other"] == expected["public.low_other"] or pattern == "high"
    bounds = "SELECT relname FROM pg_class WHERE relispartition AND relkind IN ('r', 'p') ORDER BY 1"
    assert sql(matrix_database, bounds) == [("high",), ("low",), ("low_other",)]
    metadata = backup(
        matrix_database, tmp_path, pattern, tool_directories=(str(matrix_server.bin_directory),)
    )
    assert metadata.statistics["total_tables"] == (1 if pattern != "parted" else 2)


def test_definers_are_none_of_postgresqls(
    source: Connection, taken: Metadata, target: Connection, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="-definer is for MySQL and MariaDB") as caught:
        bring_back(tmp_path, target, definers=("a@b=c@d",))
    assert caught.value.exit_code is ExitCode.USAGE
    assert target.database not in databases(source)
