"""The judge is judged: a picture sees every kind of damage, and nothing where there is none."""

from __future__ import annotations

import pytest
from tests.conftest import Sql
from tests.fidelity.building import create_database, native_copy
from tests.fidelity.conftest import Awkward, NewName
from tests.fidelity.picture import difference, take_picture

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

SAMPLE = """
CREATE TABLE t (id integer PRIMARY KEY, v text, f float8);
INSERT INTO t SELECT i, i, i FROM generate_series(1, 10) i;
CREATE SEQUENCE s;
CREATE INDEX i ON t (v);
CREATE MATERIALIZED VIEW m AS SELECT id FROM t;
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS '
SELECT 1';
SELECT lo_from_bytea(4242, 'large');
"""

DAMAGE = {
    "a row twice": (
        "tables",
        "ALTER TABLE t DROP CONSTRAINT t_pkey; INSERT INTO t SELECT * FROM t WHERE id = 1",
    ),
    "a row gone": ("tables", "DELETE FROM t WHERE id = 1"),
    "values swapped between rows": ("tables", "UPDATE t SET v = 11 - id"),
    "the last bit of a float": ("tables", "UPDATE t SET f = 0.30000000000000004 WHERE id = 1"),
    "NULL for an empty text": ("tables", "UPDATE t SET v = NULL WHERE id = 1"),
    "a sequence moved": ("sequences", "SELECT nextval('s')"),
    "a sequence set back": ("sequences", "SELECT setval('s', 1, true)"),
    "an index gone": ("schema", "DROP INDEX i"),
    "a newline in a function": (
        "schema",
        "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT 1'",
    ),
    "a comment": ("schema", "COMMENT ON COLUMN t.v IS 'x'"),
    "a privilege": ("schema", "GRANT SELECT (v) ON t TO PUBLIC"),
    "an owner": ("schema", "CREATE ROLE {name}; ALTER TABLE t OWNER TO {name}"),
    "a view emptied": ("materialized_views", "REFRESH MATERIALIZED VIEW m WITH NO DATA"),
    "a stale view": ("tables", "REFRESH MATERIALIZED VIEW m; DELETE FROM t; REFRESH MATERIALIZED VIEW m"),
    "a byte of a large object": ("large_objects", "SELECT lo_put(4242, 2, 'R')"),
    "a large object's privileges": ("large_objects", "GRANT SELECT ON LARGE OBJECT 4242 TO PUBLIC"),
    "a large object's comment": ("large_objects", "COMMENT ON LARGE OBJECT 4242 IS 'x'"),
    "a setting of the database": ("properties", "ALTER DATABASE {name} SET work_mem = '5MB'"),
    "the database's comment": ("properties", "COMMENT ON DATABASE {name} IS 'x'"),
    "the database's privileges": ("properties", "REVOKE CONNECT ON DATABASE {name} FROM PUBLIC"),
    "a table's access method": (
        "storage",
        "CREATE ACCESS METHOD a TYPE TABLE HANDLER heap_tableam_handler; "
        "DROP TABLE t CASCADE; CREATE TABLE t () USING a",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_seen(damage: str, postgres_server: PostgresServer, database: Connection, sql: Sql) -> None:
    part, statements = DAMAGE[damage]
    sql(database, SAMPLE)
    before = take_picture(database, postgres_server.bin_directory)
    assert difference(before, take_picture(database, postgres_server.bin_directory)) == []
    for statement in statements.format(name=database.database).split("; "):
        sql(database, statement)
    after = take_picture(database, postgres_server.bin_directory)
    assert any(line.startswith(part) for line in difference(before, after)), difference(before, after)
    if damage == "an owner":
        sql(database, f"DROP OWNED BY {database.database} CASCADE; DROP ROLE {database.database}")


def test_native_copies_are_alike(awkward: Awkward, new_name: NewName) -> None:
    """A second copy, made of the first, is as the first: what a round trip gives is well defined."""
    programs = awkward.server.bin_directory
    second = new_name()
    create_database(awkward.server.connection(), second.database)
    native_copy(awkward.server.connection("native"), second, programs)
    again = take_picture(second, programs)
    parts = ("schema", "storage", "tables", "sequences", "large_objects", "materialized_views")
    assert difference(awkward.expected, again, parts) == []


def test_native_copy_has_all_rows(awkward: Awkward) -> None:
    """What is compared is worth comparing: the database is as awkward as it says, and its copy is whole."""
    known = {"awkward_config.not_configuration"}  # of an extension, which fills it itself
    for table, digest in awkward.picture.tables.items():
        if table not in known:
            assert awkward.expected.tables[table] == digest, table
    assert awkward.picture.large_objects == awkward.expected.large_objects
    assert awkward.picture.materialized_views == awkward.expected.materialized_views
    assert len(awkward.expected.schema) > 400
