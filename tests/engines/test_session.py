"""SQL on a real server: what runs, what streams, what fails, and what happens when the line breaks."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dbtool.engines.postgres.session import PostgresSession
from dbtool.errors import (
    ConnectionFailedError,
    DbtoolError,
    InterruptedByUserError,
    NotFoundError,
    SqlError,
    UsageError,
)
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

Sql = Callable[..., "list[tuple[Any, ...]]"]
MakeDatabase = Callable[..., Connection]


@pytest.fixture
def session(database: Connection) -> Iterator[PostgresSession]:
    opened = PostgresSession(database)
    yield opened
    opened.close()


def every_row(session: PostgresSession, statements: str) -> list[list[tuple[str | None, ...]]]:
    """The rows of each statement; an empty list for one without."""
    return [[tuple(row) for row in result.rows()] for result in session.run(statements)]


def rows(session: PostgresSession, statements: str) -> list[tuple[str | None, ...]]:
    """The rows of the last statement."""
    return every_row(session, statements)[-1]


def failure(session: PostgresSession, statements: str) -> DbtoolError:
    with pytest.raises(DbtoolError) as caught:
        every_row(session, statements)
    return caught.value


def test_every_statement_that_gives_rows_gives_them(session: PostgresSession) -> None:
    every_row(
        session,
        "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE PROCEDURE p(INOUT x int) "
        "LANGUAGE plpgsql AS 'BEGIN x := x + 1; END'",
    )
    given = {
        "INSERT INTO t VALUES (1, 'x'), (2, NULL), (3, '') RETURNING *": [("1", "x"), ("2", None), ("3", "")],
        "TABLE t": [("1", "x"), ("2", None), ("3", "")],
        "VALUES (1, true), (2, false)": [("1", "t"), ("2", "f")],
        "UPDATE t SET a = 'y' WHERE id = 1 RETURNING a": [("y",)],
        "WITH d AS (DELETE FROM t WHERE id = 2 RETURNING id) SELECT * FROM d": [("2",)],
        "SHOW client_encoding": [("UTF8",)],
        "CALL p(4)": [("5",)],
        "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1": [("1",), ("2",)],
    }
    for statement, expected in given.items():
        assert rows(session, statement) == expected, statement
    assert "Result" in str(rows(session, "EXPLAIN SELECT 1")[0][0])


def test_values_are_the_servers_own_text(session: PostgresSession) -> None:
    assert rows(
        session,
        "SELECT 1.50, 'NaN'::float8, '{1,NULL}'::int[], '\\x00ff'::bytea, DATE '0044-03-15 BC', "
        "E'é\\n\\x01', true",
    ) == [("1.50", "NaN", "{1,NULL}", "\\x00ff", "0044-03-15 BC", "é\n\x01", "t")]


def test_columns_say_how_they_are_written(session: PostgresSession) -> None:
    (result,) = session.run("SELECT 1 AS i, 1.5 AS n, true AS b, '{}'::jsonb AS j, 'x' AS t, 'x'::name AS i")
    assert result.columns is not None
    assert [column.name for column in result.columns] == ["i", "n", "b", "j", "t", "i"]
    assert [column.json_kind for column in result.columns] == [
        "number",
        "number",
        "boolean",
        "json",
        "string",
        "string",
    ]
    assert [column.is_numeric for column in result.columns] == [True, True, False, False, False, False]


def test_a_statement_without_rows_has_a_status(session: PostgresSession) -> None:
    results = list(session.run("CREATE TABLE t (); COMMENT ON TABLE t IS 'x'"))
    assert [(result.columns, result.status) for result in results] == [
        (None, "CREATE TABLE"),
        (None, "COMMENT"),
    ]


def test_each_statement_commits_by_itself(session: PostgresSession, database: Connection, sql: Sql) -> None:
    failure(session, "CREATE TABLE t (a int); INSERT INTO t VALUES (1); SELECT 1/0; INSERT INTO t VALUES (2)")
    assert sql(database, "SELECT a FROM t") == [(1,)]


def test_begin_holds_until_commit_or_rollback(
    session: PostgresSession, database: Connection, sql: Sql
) -> None:
    every_row(session, "CREATE TABLE t (a int); BEGIN; INSERT INTO t VALUES (1)")
    assert session.in_transaction
    assert sql(database, "SELECT a FROM t") == []
    assert isinstance(failure(session, "SELECT 1/0"), SqlError)
    assert session.in_transaction
    every_row(session, "ROLLBACK; BEGIN; INSERT INTO t VALUES (2); COMMIT")
    assert not session.in_transaction
    assert sql(database, "SELECT a FROM t") == [(2,)]


def test_statements_that_refuse_transactions_run(session: PostgresSession) -> None:
    every_row(session, "CREATE TABLE t (a int); VACUUM t; CREATE INDEX CONCURRENTLY i ON t (a)")
    assert rows(session, "SELECT count(*) FROM pg_index WHERE indexrelid = 'i'::regclass") == [("1",)]


def test_a_refused_statement_says_where_and_what_helps(session: PostgresSession) -> None:
    every_row(session, "CREATE TABLE t (amount int)")
    error = failure(session, "SELECT 1;\nSELECT\n  ammount FROM t")
    assert isinstance(error, SqlError)
    assert error.message == 'column "ammount" does not exist (line 3, column 3)'
    assert "amount" in str(error.hint)
    raised = failure(
        session, "DO $$ BEGIN RAISE EXCEPTION 'no' USING HINT = 'do this', DETAIL = 'because'; END $$"
    )
    assert raised.message == "no"
    assert str(raised.hint).startswith("because\ndo this\n")


def test_notices_are_collected(session: PostgresSession) -> None:
    every_row(session, "DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$")
    assert session.notices() == ["NOTICE: first", "WARNING: second"]
    assert session.notices() == []


def test_copy_to_stdout_gives_its_lines(session: PostgresSession) -> None:
    (result,) = session.run("COPY (SELECT 1, E'a\\tb', NULL) TO STDOUT")
    assert result.is_raw
    assert list(result.rows()) == [("1\ta\\tb\t\\N",)]
    assert result.status == "COPY 1"


def test_copy_that_cannot_be_is_refused_and_the_session_goes_on(session: PostgresSession) -> None:
    every_row(session, "CREATE TABLE t (a int)")
    assert "no input" in failure(session, "COPY t FROM STDIN").message
    assert "binary" in failure(session, "COPY t TO STDOUT (FORMAT binary)").message
    assert rows(session, "SELECT count(*) FROM t") == [("0",)]


def test_a_large_result_streams_in_flat_memory(session: PostgresSession) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (result,) = session.run("SELECT i, 'row number ' || i FROM generate_series(1, 1000000) i")
    assert sum(len(batch) for batch in result.batches()) == 1_000_000
    assert result.status == "SELECT 1000000"
    grown_kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kilobytes < 20_000


def test_a_result_left_unread_runs_to_its_end(
    session: PostgresSession, database: Connection, sql: Sql
) -> None:
    every_row(session, "CREATE TABLE t (a int)")
    for _ in session.run("INSERT INTO t SELECT generate_series(1, 1000) RETURNING a; SELECT 1"):
        pass
    assert sql(database, "SELECT count(*) FROM t") == [(1000,)]
    for result in session.run("INSERT INTO t SELECT generate_series(1, 1000) RETURNING a"):
        next(iter(result.rows()))
        result.close()
        assert result.status == "INSERT 0 1000"
    assert sql(database, "SELECT count(*) FROM t") == [(2000,)]


def test_closing_a_query_ends_it_on_the_server(session: PostgresSession) -> None:
    started = time.monotonic()
    (result,) = session.run("SELECT generate_series(1, 1000000000000)")
    assert next(iter(result.rows())) == ("1",)
    result.close()
    assert "not read" in result.status
    assert rows(session, "SELECT 'still here'") == [("still here",)]
    assert time.monotonic() - started < 10


def test_cancel_from_another_thread_ends_the_statement_only(session: PostgresSession) -> None:
    threading.Timer(0.2, session.cancel).start()
    assert isinstance(failure(session, "SELECT pg_sleep(30)"), InterruptedByUserError)
    assert rows(session, "SELECT 1") == [("1",)]


def test_ctrl_c_ends_the_statement_and_not_the_session(session: PostgresSession) -> None:
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert isinstance(failure(session, "SELECT pg_sleep(30)"), InterruptedByUserError)
    assert rows(session, "SELECT 1") == [("1",)]


def test_ctrl_c_while_a_query_is_prepared(session: PostgresSession, database: Connection) -> None:
    locker = PostgresSession(database)
    try:
        every_row(locker, "CREATE TABLE t (); BEGIN; LOCK TABLE t")
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(InterruptedByUserError):
            session.query("SELECT * FROM t")
    finally:
        locker.close()
    assert rows(session, "SELECT 1") == [("1",)]


def end_connections(database: Connection, sql: Sql) -> None:
    sql(
        database.with_database("postgres"),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbtool' "
        "AND datname = %s",
        (database.database,),
    )
    time.sleep(0.1)


def test_a_lost_idle_connection_is_made_again(
    session: PostgresSession, database: Connection, sql: Sql
) -> None:
    end_connections(database, sql)
    assert rows(session, "SELECT 1") == [("1",)]
    assert any("made again" in notice for notice in session.notices())


def test_a_connection_lost_in_a_transaction_is_an_error(
    session: PostgresSession, database: Connection, sql: Sql
) -> None:
    every_row(session, "BEGIN")
    end_connections(database, sql)
    error = failure(session, "SELECT 1")
    assert isinstance(error, ConnectionFailedError)
    assert "rolled back" in error.message
    assert not session.in_transaction
    assert rows(session, "SELECT 1") == [("1",)]


def test_a_connection_lost_while_a_statement_runs_is_an_error(
    session: PostgresSession, database: Connection, sql: Sql
) -> None:
    threading.Timer(0.2, end_connections, (database, sql)).start()
    error = failure(session, "SELECT pg_sleep(30)")
    assert isinstance(error, ConnectionFailedError)
    assert "not known" in str(error.hint)
    assert rows(session, "SELECT 1") == [("1",)]


def test_query_refuses_what_is_no_query_before_it_runs(
    session: PostgresSession, database: Connection, sql: Sql
) -> None:
    every_row(session, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    for statement in (
        "DELETE FROM t",
        "UPDATE t SET a = 2",
        "DROP TABLE t",
        "TRUNCATE t",
        "DO 'BEGIN END'",
        "COPY t TO STDOUT",
        "SELECT 1; DELETE FROM t",
        "",
        "BEGIN",
    ):
        with pytest.raises(UsageError):
            session.query(statement)
    assert not session.in_transaction
    assert sql(database, "SELECT a FROM t") == [(1,)]
    assert list(session.query("DELETE FROM t RETURNING a;").rows()) == [("1",)]
    with pytest.raises(SqlError):
        session.query("SELEC 1")


def test_bytes_that_are_no_text_come_as_they_are(
    postgres_server: PostgresServer, make_database: MakeDatabase
) -> None:
    where = make_database(postgres_server, options="ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    session = PostgresSession(where)
    try:
        assert rows(session, "SELECT E'\\xff' || 'é'") == [("\udcffé",)]
        every_row(session, "CREATE TABLE t (é int)")
        assert "é" in "\n".join(session.describe("t"))
    finally:
        session.close()


def test_the_session_says_who_it_is(session: PostgresSession, database: Connection, sql: Sql) -> None:
    assert session.server_label.startswith("PostgreSQL 1")
    assert session.database == database.database
    assert rows(session, "SHOW application_name") == [("dbtool",)]
    assert rows(session, "SHOW search_path") == [('"$user", public',)]


def test_a_nul_character_is_an_error(session: PostgresSession) -> None:
    assert isinstance(failure(session, "SELECT '\0'"), UsageError)


def test_no_driver_is_imported_with_the_protocol() -> None:
    check = "import sys, dbtool.engines.session; sys.exit('psycopg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


SCHEMA = """
CREATE SCHEMA s;
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TABLE customer (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL DEFAULT 'x', feeling mood);
CREATE TABLE s.orders (
  id int PRIMARY KEY, customer bigint REFERENCES customer ON DELETE CASCADE,
  price numeric(10,2) CHECK (price > 0),
  twice numeric GENERATED ALWAYS AS (price * 2) STORED, UNIQUE (customer, price));
COMMENT ON COLUMN s.orders.price IS 'in euros';
CREATE INDEX "Some index" ON s.orders (price DESC) WHERE price > 10;
CREATE VIEW cheap AS SELECT id FROM s.orders WHERE price < 5;
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER tr BEFORE INSERT ON customer FOR EACH ROW EXECUTE FUNCTION f();
ALTER TABLE customer ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON customer FOR SELECT USING (true);
CREATE TABLE part (a int) PARTITION BY RANGE (a);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (1) TO (10);
CREATE TABLE "Weird ""name
" ("a b" int);
"""


def test_names_for_completion(session: PostgresSession) -> None:
    every_row(session, SCHEMA)
    names = session.names()
    by_name = {(relation.schema, relation.name): relation for relation in names.relations}
    assert by_name["public", "customer"].columns == (("id", "bigint"), ("name", "text"), ("feeling", "mood"))
    assert by_name["public", "customer"].visible
    assert not by_name["s", "orders"].visible
    assert by_name["public", "cheap"].kind == "view"
    assert by_name["public", "part"].kind == "partitioned table"
    assert ("public", 'Weird "name\n') in by_name
    assert not by_name["pg_catalog", "pg_class"].visible
    assert names.relations[-1].schema in ("pg_catalog", "information_schema")
    assert not any(relation.schema.startswith(("pg_toast", "pg_temp")) for relation in names.relations)
    assert names.schemas[:2] == ("public", "s")
    assert names.functions[0] == ("public", "f")
    assert ("pg_catalog", "now") in names.functions
    assert "mood" in names.types
    assert "timestamp with time zone" in names.types
    assert "SELECT" in names.keywords
    assert session.database in names.databases


def test_describe_lists_and_describes(session: PostgresSession) -> None:
    every_row(session, SCHEMA)
    listed = "\n".join(session.describe(None))
    assert "customer" in listed
    assert "pg_class" not in listed
    assert '"name\\x0a' in listed
    described = "\n".join(session.describe("s.orders"))
    for expected in (
        "table s.orders",
        "numeric(10,2)",
        "not null",
        "generated always as ((price * (2)::numeric)) stored",
        "in euros",
        "orders_pkey PRIMARY KEY btree (id)",
        '"Some index" btree (price DESC) WHERE price > 10::numeric',
        "UNIQUE CONSTRAINT",
        "CHECK (price > 0::numeric)",
        "FOREIGN KEY (customer) REFERENCES customer(id) ON DELETE CASCADE",
    ):
        assert expected in described
    customer = "\n".join(session.describe("CUSTOMER"))
    for expected in (
        "generated always as identity",
        "'x'::text",
        "Referenced by:\n    s.orders orders_customer_fkey",
        "tr BEFORE INSERT ON customer",
        "Row security:\n    enabled",
        "mine FOR SELECT USING (true)",
    ):
        assert expected in customer
    assert "SELECT" in "\n".join(session.describe("cheap"))
    assert "part_1 FOR VALUES FROM (1) TO (10)" in "\n".join(session.describe("part"))
    assert "Partition of:\n    part FOR VALUES" in "\n".join(session.describe("part_1"))
    assert "Owned by:\n    customer.id" in "\n".join(session.describe("customer_id_seq"))
    assert len(session.describe("part*")) == 4
    assert "Some index" in "\n".join(session.describe('s."Some index"'))
    assert '"a b"' not in listed
    assert "a b" in "\n".join(session.describe('"Weird ""name\n"'))


def test_describe_offers_the_nearest_names(session: PostgresSession) -> None:
    every_row(session, SCHEMA)
    with pytest.raises(NotFoundError) as caught:
        session.describe("custmer")
    assert "customer" in str(caught.value.hint)


def test_a_session_works_on_every_version(matrix_database: Connection) -> None:
    session = PostgresSession(matrix_database)
    try:
        every_row(session, SCHEMA)
        assert len(session.names().relations) > 100
        for name in ("customer", "s.orders", "cheap", "part", "part_1", "customer_id_seq", "customer_pkey"):
            assert session.describe(name)
        assert list(session.query("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY 1").rows()) == [("1",), ("2",)]
        assert isinstance(failure(session, "SELECT 1/0"), SqlError)
    finally:
        session.close()
