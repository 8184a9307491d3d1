"""Chunks of tables: together they are every row exactly once, whatever the key and its values."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conftest import Sql, connect

from dbtool.engines.buckets import bucket_bytes
from dbtool.engines.postgres import introspect, plan
from dbtool.engines.postgres.bulk import CopyOut
from dbtool.engines.postgres.connect import backup_session_settings
from dbtool.engines.postgres.connect import connect as open_connection
from dbtool.model.connection import Connection
from dbtool.model.database import Column, ServerFacts, Table
from dbtool.rows import text_of

BLOCK = 8192


def read(connection: Connection, query: bytes, formats: tuple[int, ...] = ()) -> list[bytes]:
    """The rows of one query, as a backup reads them."""
    with connect(connection) as session:
        backup_session_settings(session)
        copy = CopyOut(session)
        copy.begin(query, formats, (), None)
        copy.stream.reset(b"")
        while copy.read(1 << 26):
            pass
        with text_of(copy.stream) as text:
            return bytes(text).splitlines()


def chunks_of(
    connection: Connection, name: str, chunk_bytes: int, version: int | None = None, **changes: Any
) -> tuple[list[bytes], list[tuple[str, str] | None]]:
    """(all rows that the chunks give, their bounds), as if the server were of that version."""
    with open_connection(connection) as session, pytest.MonkeyPatch.context() as patch:
        backup_session_settings(session)
        patch.setattr(plan, "CHUNK_BYTES", chunk_bytes)
        server = introspect.server_facts(session)
        if version is not None:
            server = ServerFacts(**{**server.__dict__, "version_number": version})
        table = next(table for table in introspect.tables(session) if table.name == name)
        if changes:
            table = Table(**{**table.__dict__, **changes})
        chunks = plan.plan_chunks(session, server, [table], "utf-8")
    rows = [row for chunk in chunks for row in read(connection, chunk.statement, chunk.formats)]
    return rows, [chunk.bounds for chunk in chunks]


def whole(connection: Connection, name: str) -> list[bytes]:
    return sorted(read(connection, f'SELECT * FROM public."{name}"'.encode()))


FILL = {
    "integer": "SELECT n FROM generate_series(1, 20000) AS n",
    "bigint": "SELECT n * 1000000007::bigint FROM generate_series(-10000, 10000) AS n",
    "text": "SELECT chr(32 + n % 90) || '''\\x\"' || n FROM generate_series(1, 20000) AS n",
    "uuid": "SELECT md5(n::text)::uuid FROM generate_series(1, 20000) AS n",
    "timestamptz": "SELECT '2000-01-01Z'::timestamptz + n * interval '1.7 hours' FROM generate_series(1, 20000) AS n",
    "date": "SELECT date '0001-01-01 BC' + n * 30 FROM generate_series(0, 20000) AS n",
    "numeric": "SELECT n / 7.0 FROM generate_series(1, 20000) AS n",
    "float8": "SELECT n / 3.0 FROM generate_series(1, 20000) AS n",
    "bytea": "SELECT decode(md5(n::text), 'hex') FROM generate_series(1, 20000) AS n",
    "interval": "SELECT n * interval '1 day 3 seconds' FROM generate_series(1, 20000) AS n",
    "boolean": "SELECT n = 1 FROM generate_series(1, 2) AS n",
    "inet": "SELECT '10.0.0.0'::inet + n FROM generate_series(1, 20000) AS n",
    "varchar(20)": "SELECT 'v' || n FROM generate_series(1, 20000) AS n",
    "char(12)": "SELECT 'c' || n FROM generate_series(1, 20000) AS n",
    "jsonb": "SELECT to_jsonb(n::text || '\"') FROM generate_series(1, 20000) AS n",
    "int4range": "SELECT int4range(n, n + 2) FROM generate_series(1, 20000) AS n",
}


def filled(kind: str) -> str:
    """SQL that makes the table `t` with a key of that type."""
    return f"""
        CREATE TABLE t (k {kind} PRIMARY KEY, pad text);
        INSERT INTO t SELECT k, repeat('x', 50) FROM ({FILL[kind]}) AS f (k); ANALYZE t
    """


@pytest.mark.parametrize("kind", FILL)
@pytest.mark.parametrize("version", [130000, None], ids=["by-key", "by-ctid"])
def test_chunks_are_every_row_once(database: Connection, sql: Sql, kind: str, version: int | None) -> None:
    sql(database, filled(kind))
    rows, bounds = chunks_of(database, "t", 16 * BLOCK, version)
    assert sorted(rows) == whole(database, "t")
    if kind != "boolean":
        assert len(bounds) > 3


def test_skewed_keys(database: Connection, sql: Sql) -> None:
    """Nine of ten rows have the same first column."""
    sql(
        database,
        """CREATE TABLE t (a int, b int, pad text, PRIMARY KEY (a, b));
        INSERT INTO t SELECT CASE n % 10 WHEN 0 THEN n ELSE 5 END, n, repeat('x', 50) FROM generate_series(1, 30000) AS n;
        ANALYZE t""",
    )
    rows, bounds = chunks_of(database, "t", 16 * BLOCK, 130000)
    assert sorted(rows) == whole(database, "t")
    assert len(bounds) >= 2


def test_edges_are_open_and_meet(database: Connection, sql: Sql) -> None:
    sql(database, "CREATE TABLE t AS SELECT n, repeat('x', 500) AS pad FROM generate_series(1, 5000) AS n")
    _, bounds = chunks_of(database, "t", 32 * BLOCK)
    by_block = {int(bound[0][1:].split(",")[0]) if bound[0] else 0: bound for bound in bounds if bound}
    ordered = [by_block[block] for block in sorted(by_block)]
    assert len(ordered) == len(bounds)
    assert ordered[0][0] == ""
    assert ordered[-1][1] == ""
    assert [low for low, _ in ordered[1:]] == [high for _, high in ordered[:-1]]


def test_rows_behind_the_planned_end_are_read(database: Connection, sql: Sql) -> None:
    """A table may have grown since its size was looked at."""
    sql(database, "CREATE TABLE t AS SELECT n, repeat('x', 500) AS pad FROM generate_series(1, 8000) AS n")
    with open_connection(database) as session:
        table = next(table for table in introspect.tables(session) if table.name == "t")
    smaller = {**table.details, "heap_bytes": table.details["heap_bytes"] // 4}
    rows, bounds = chunks_of(database, "t", 32 * BLOCK, None, details=smaller)
    assert len(bounds) > 3
    assert sorted(rows) == whole(database, "t")


@pytest.mark.parametrize("version", [130000, None])
def test_a_table_without_a_key_or_without_columns_or_rows(
    database: Connection, sql: Sql, version: int | None
) -> None:
    sql(
        database,
        """CREATE TABLE bare AS SELECT n, repeat('x', 500) AS pad FROM generate_series(1, 5000) AS n;
        CREATE TABLE nothing (n int); CREATE TABLE no_columns ();
        INSERT INTO no_columns SELECT FROM generate_series(1, 7000)""",
    )
    rows, bounds = chunks_of(database, "bare", 32 * BLOCK, version)
    assert sorted(rows) == whole(database, "bare")
    assert (len(bounds) == 1) is (version is not None)
    assert chunks_of(database, "nothing", 32 * BLOCK, version) == ([], [])
    rows, _ = chunks_of(database, "no_columns", 8 * BLOCK, version)
    assert rows == [b""] * 7000


def test_wide_values_count(database: Connection, sql: Sql) -> None:
    """A table whose rows lie in TOAST is cut by what it holds, not by its few heap pages."""
    sql(
        database,
        """CREATE TABLE t (n int PRIMARY KEY, v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
        INSERT INTO t SELECT n, repeat(md5(n::text), 1000) FROM generate_series(1, 400) AS n; ANALYZE t""",
    )
    rows, bounds = chunks_of(database, "t", 1 << 20)
    assert len(bounds) > 1
    assert sorted(rows) == whole(database, "t")


def test_generated_columns_are_left_out_and_names_are_quoted(database: Connection, sql: Sql) -> None:
    sql(
        database,
        """CREATE TABLE "we""ird \\ 'x" ("a b" int PRIMARY KEY, "se""lect" text, g int GENERATED ALWAYS AS (1) STORED);
        INSERT INTO "we""ird \\ 'x" SELECT n, 'x' FROM generate_series(1, 20000) AS n; ANALYZE""",
    )
    for version in (None, 130000):
        rows, bounds = chunks_of(database, "we\"ird \\ 'x", 16 * BLOCK, version)
        assert len(bounds) > 1
        assert sorted(rows) == sorted(b"%d\tx" % n for n in range(1, 20001))


def test_inherited_rows_are_not_read_twice(database: Connection, sql: Sql) -> None:
    sql(
        database,
        """CREATE TABLE mother (n int PRIMARY KEY, pad text); CREATE TABLE child () INHERITS (mother);
        INSERT INTO mother SELECT n, repeat('m', 100) FROM generate_series(1, 9000) AS n;
        INSERT INTO child SELECT n, repeat('c', 100) FROM generate_series(1, 9000) AS n; ANALYZE""",
    )
    for version in (None, 130000):
        rows, _ = chunks_of(database, "mother", 16 * BLOCK, version)
        assert len(rows) == 9000
        assert all(row.endswith(b"m") for row in rows)


def test_conditions_of_configuration_tables() -> None:
    table = Table(1, "s", "t", (Column("a", "integer"),), condition="WHERE a > 3 OR a < 1")
    assert (
        plan.select_statement(table, "a < 9")
        == 'SELECT "a" FROM ONLY "s"."t" WHERE a < 9 AND (a > 3 OR a < 1)'
    )
    assert plan.select_statement(table, "").endswith("WHERE (a > 3 OR a < 1)")


@pytest.mark.parametrize(
    ("rows", "size", "buckets"),
    [(-1, 0, 1), (0, 0, 1), (500, 0, 1), (513, 0, 2), (0, 10**6, 32), (10**12, 0, 1 << 20)],
)
def test_how_many_buckets(rows: float, size: int, buckets: int) -> None:
    table = Table(1, "s", "t", (), row_estimate=rows, size_bytes=size)
    assert bucket_bytes(table) == 8 * buckets


@pytest.mark.matrix
@pytest.mark.parametrize("kind", ["integer", "text", "uuid", "timestamptz"])
def test_chunks_on_every_version(matrix_database: Connection, sql: Sql, kind: str) -> None:
    sql(matrix_database, filled(kind))
    rows, bounds = chunks_of(matrix_database, "t", 16 * BLOCK)
    assert len(bounds) > 3
    assert sorted(rows) == whole(matrix_database, "t")
