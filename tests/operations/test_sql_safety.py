"""What SQL destroys: told before it runs, by meaning and not by its first word."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbtool.operations.sql_safety import dangers

DESTRUCTIVE = {
    "DROP TABLE users": "DROP TABLE users",
    'drop view if exists a.b, "C d" cascade': "drop view if exists a.b",
    "DROP OWNED BY somebody": "DROP OWNED",
    "DROP FUNCTION f(int)": "DROP FUNCTION",
    "DROP DATABASE shop": "DROP DATABASE shop",
    "DROP SUBSCRIPTION s": "DROP SUBSCRIPTION",
    "REASSIGN OWNED BY a TO b": "REASSIGN OWNED",
    "TRUNCATE a, b": "TRUNCATE a, b",
    "TRUNCATE TABLE ONLY a RESTART IDENTITY CASCADE": "TRUNCATE",
    "DELETE FROM orders": "DELETE FROM orders",
    "DELETE FROM orders WHERE id = 1": "DELETE FROM orders",
    "delete from only orders o using x where o.i = x.i returning *": "DELETE FROM",
    "DELETE FROM orders WHERE CURRENT OF c": "DELETE FROM orders",
    "WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone": "DELETE FROM orders",
    "WITH gone AS MATERIALIZED (DELETE FROM orders RETURNING *) TABLE gone": "DELETE FROM orders",
    "WITH a AS (SELECT 1) DELETE FROM orders USING a": "DELETE FROM orders",
    "WITH u AS (UPDATE a SET b = 1 RETURNING *) INSERT INTO c SELECT * FROM u": "UPDATE a without WHERE",
    "UPDATE a SET b = 1": "UPDATE a without WHERE",
    "UPDATE a SET b = (SELECT c FROM d WHERE d.id = a.id)": "UPDATE a without WHERE",
    "UPDATE a SET b = 1 FROM (SELECT 1 WHERE true) x": "UPDATE a without WHERE",
    "UPDATE a SET b = 1 WHERE true": "UPDATE a without WHERE",
    "UPDATE a SET b = 1 WHERE 1 = 1": "UPDATE a without WHERE",
    "ALTER TABLE a DROP COLUMN b": "DROP COLUMN b",
    "ALTER TABLE a DROP b": "DROP COLUMN b",
    "ALTER TABLE IF EXISTS ONLY a ADD c int, DROP COLUMN IF EXISTS b CASCADE": "DROP COLUMN IF EXISTS b",
    "ALTER TYPE t DROP ATTRIBUTE a": "ALTER TYPE t DROP ATTRIBUTE a",
    "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN DELETE": "MERGE",
    "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED AND c THEN DELETE WHEN MATCHED THEN DO NOTHING": "MERGE",
    "DO $$ BEGIN PERFORM 1; END $$": "DO ",
    "DO LANGUAGE plpgsql 'BEGIN END'": "DO ",
    "EXPLAIN ANALYZE DELETE FROM a": "DELETE FROM a",
    "EXPLAIN ANALYZE VERBOSE DELETE FROM a": "DELETE FROM a",
    "EXPLAIN (VERBOSE, ANALYZE, FORMAT json) DELETE FROM a": "DELETE FROM a",
    "EXPLAIN (ANALYZE true) WITH x AS (DELETE FROM a RETURNING 1) SELECT 1": "DELETE FROM a",
    "EXPLAIN ANALYZE (WITH x AS (DELETE FROM a RETURNING 1) SELECT 1)": "DELETE FROM a",
    "EXPLAIN ANALYZE UPDATE a SET b = 1": "UPDATE a without WHERE",
    "PREPARE x AS DELETE FROM a": "DELETE FROM a",
    "PREPARE x (int, text) AS DELETE FROM a WHERE b = $1": "DELETE FROM a",
    "COPY a FROM PROGRAM 'curl http://example.org'": "PROGRAM",
    "COPY a TO PROGRAM 'cat > /tmp/x'": "PROGRAM",
    "COPY (DELETE FROM a RETURNING *) TO STDOUT": "DELETE FROM a",
    "-- all of them\nDELETE/* really */FROM a": "DELETE FROM a",
    "SELECT 1; DROP TABLE a; SELECT 2": "DROP TABLE a",
    "SELECT 'it''s'; DROP TABLE a": "DROP TABLE a",
    "SELECT $$ ' $$; DROP TABLE a; -- ' $$": "DROP TABLE a",
    "SELECT E'\\''; DROP TABLE a; SELECT ''": "DROP TABLE a",
    "/* /* nested */ */ DROP TABLE a": "DROP TABLE a",
    "BEGIN; DELETE FROM a; COMMIT": "DELETE FROM a",
    "DELETE": "DELETE",
    "this is ( no SQL ] but drop table a": "drop table a",
    "DELETE FROM a WHERE 'open": "DELETE FROM a",
}

HARMLESS = [
    "",
    ";;;",
    "-- DROP TABLE a",
    "SELECT 1",
    "TABLE a",
    "VALUES (1)",
    "SELECT 'DROP TABLE a; DELETE FROM b'",
    "SELECT $$DELETE FROM a;$$",
    "SELECT E'\\'; DROP TABLE a; --'",
    "SELECT 1 /* ; DROP TABLE a */",
    'SELECT "delete", "drop" FROM "truncate"',
    "SELECT delete FROM t",
    "SELECT t.delete, t.update FROM t",
    "SELECT * FROM t FOR UPDATE",
    "SELECT * FROM t FOR NO KEY UPDATE SKIP LOCKED",
    "INSERT INTO a VALUES (1) ON CONFLICT (i) DO UPDATE SET x = 1",
    "INSERT INTO a VALUES (1) ON CONFLICT DO NOTHING",
    "UPDATE a SET b = 1 WHERE c = 2",
    "UPDATE a SET b = 1 WHERE CURRENT OF c",
    "UPDATE a SET (b, c) = (SELECT 1, 2) WHERE a.id IN (1, 2) RETURNING *",
    "WITH u AS (UPDATE a SET b = 1 WHERE c RETURNING *) SELECT * FROM u",
    "MERGE INTO a USING b ON a.i = b.i WHEN MATCHED THEN UPDATE SET x = 1 WHEN NOT MATCHED THEN DO NOTHING",
    "EXPLAIN DELETE FROM a",
    "EXPLAIN (VERBOSE) DELETE FROM a",
    "EXPLAIN (ANALYZE false) DELETE FROM a",
    "EXPLAIN (COSTS off, ANALYZE off) UPDATE a SET b = 1",
    "EXPLAIN ANALYZE SELECT * FROM a FOR UPDATE",
    "EXPLAIN (ANALYZE) (SELECT 1) UNION (SELECT 2 FROM a FOR UPDATE)",
    "CREATE TABLE delete (update int, drop int)",
    "CREATE TABLE x (a int REFERENCES b ON DELETE CASCADE ON UPDATE SET NULL)",
    "CREATE RULE r AS ON DELETE TO a DO INSTEAD DELETE FROM b",
    "CREATE RULE r AS ON INSERT TO a DO ALSO (DELETE FROM b; DELETE FROM c)",
    "CREATE OR REPLACE FUNCTION f() RETURNS void LANGUAGE sql AS 'DELETE FROM a'",
    "CREATE FUNCTION f() RETURNS void LANGUAGE sql BEGIN ATOMIC DELETE FROM a; DELETE FROM b; END",
    "CREATE TRIGGER t BEFORE DELETE OR UPDATE OR TRUNCATE ON a FOR EACH STATEMENT EXECUTE FUNCTION f()",
    "CREATE POLICY p ON a FOR DELETE USING (true)",
    "CREATE OR REPLACE VIEW v AS SELECT 1",
    "GRANT DELETE, UPDATE, TRUNCATE ON a TO b",
    "REVOKE DELETE ON a FROM b",
    "ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO b",
    "ALTER TABLE a ALTER COLUMN x DROP DEFAULT",
    "ALTER TABLE a ALTER x DROP NOT NULL, ALTER y DROP IDENTITY IF EXISTS, ALTER z DROP EXPRESSION",
    "ALTER TABLE a DETACH PARTITION b",
    "ALTER FOREIGN TABLE a OPTIONS (DROP x)",
    "ALTER PUBLICATION p DROP TABLE a",
    "ALTER DATABASE x SET y = 1",
    "ALTER ROLE x PASSWORD 'drop'",
    "COMMENT ON TABLE a IS 'drop'",
    "DISCARD ALL",
    "VACUUM (FULL) a",
    "EXECUTE x",
    "CALL delete_everything()",
    "SELECT truncate(1.5, 1)",
    "DECLARE c CURSOR FOR SELECT * FROM a FOR UPDATE",
    "LISTEN delete",
    "COPY a TO STDOUT",
    "COPY a FROM '/some/file'",
    "SELECT 'open DROP TABLE a",
]

MYSQL_DESTRUCTIVE = {
    "REPLACE INTO a VALUES (1)": "REPLACE INTO a",
    "REPLACE a SET b = 1": "REPLACE a",
    "LOAD DATA INFILE 'x' REPLACE INTO TABLE a": "LOAD DATA",
    "DELETE FROM a USING a JOIN b": "DELETE FROM a",
    "DELETE t1 FROM t1 JOIN t2 ON t1.a = t2.a": "DELETE FROM t1",
    "DELETE LOW_PRIORITY QUICK FROM t WHERE a = 1": "DELETE",
    "DELETE FROM t LIMIT 1": "DELETE FROM t",
    "/*!50000 DROP TABLE x */": "DROP TABLE x",
    "/*M!100100 DROP TABLE x */": "DROP TABLE x",
    "SELECT 1 /*! ; DROP TABLE x */": "DROP TABLE x",
    'SELECT "a\\""; DROP TABLE x': "DROP TABLE x",
    "SELECT 1 # '\n; DROP TABLE x": "DROP TABLE x",
    "TRUNCATE x": "TRUNCATE x",
    "ALTER TABLE a DROP PARTITION p": "DROP PARTITION p",
    "ALTER TABLE a TRUNCATE PARTITION p": "TRUNCATE PARTITION p",
    "ALTER TABLE a DISCARD TABLESPACE": "DISCARD TABLESPACE",
    "ALTER TABLE a DROP `b`": "DROP COLUMN `b`",
    "UPDATE LOW_PRIORITY a SET b = 1": "UPDATE",
    "UPDATE a JOIN b ON a.i = b.i SET a.x = 1": "UPDATE",
    "CREATE OR REPLACE TABLE x (a int)": "CREATE OR REPLACE TABLE",
    "PREPARE s FROM 'DROP TABLE x'": "DROP TABLE x",
    "EXECUTE IMMEDIATE 'DELETE FROM x'": "DELETE FROM x",
    "SET STATEMENT max_statement_time = 1 FOR DELETE FROM x": "DELETE FROM x",
    "BEGIN NOT ATOMIC SELECT 1; DELETE FROM x; END": "DELETE FROM x",
    "EXECUTE IMMEDIATE @text": "EXECUTE IMMEDIATE",
    "RESET MASTER": "RESET MASTER",
    "PURGE BINARY LOGS TO 'x'": "PURGE BINARY LOGS",
    "ANALYZE FORMAT=JSON DELETE FROM x": "DELETE FROM x",
    "EXPLAIN ANALYZE DELETE FROM x": "DELETE FROM x",
}

MYSQL_HARMLESS = [
    "LOAD DATA INFILE 'x' INTO TABLE a",
    "SELECT REPLACE(a, 'b', 'c'), TRUNCATE(1.5, 1) FROM t",
    "INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE x = 1",
    "SELECT `drop`, `delete` FROM `truncate`",
    "SELECT 'it\\'s; DROP TABLE x'",
    "SELECT 1 # ; DROP TABLE x",
    "SELECT 1--'\n; DROP TABLE x -- '",
    "SELECT 1 -- ; DROP TABLE x",
    "DO SLEEP(0)",
    "ANALYZE TABLE x",
    "CREATE PROCEDURE p() BEGIN IF a THEN DELETE FROM x; END IF; UPDATE y SET z = 1; END",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM x",
    "EXECUTE s",
    "FLUSH TABLES",
    "UPDATE a JOIN b ON a.i = b.i SET a.x = 1 WHERE b.y = 2",
]


@pytest.mark.parametrize(("statement", "reason"), DESTRUCTIVE.items())
def test_what_destroys_is_named(statement: str, reason: str) -> None:
    found = dangers(statement, "postgres")
    assert len(found) == 1
    assert reason in found[0]


@pytest.mark.parametrize("statement", HARMLESS)
def test_what_destroys_nothing_is_not_asked_about(statement: str) -> None:
    assert dangers(statement, "postgres") == []


@pytest.mark.parametrize(("statement", "reason"), MYSQL_DESTRUCTIVE.items())
def test_mysql_has_its_own_ways_to_destroy(statement: str, reason: str) -> None:
    found = dangers(statement, "mysql")
    assert len(found) == 1
    assert reason in found[0]


@pytest.mark.parametrize("statement", MYSQL_HARMLESS)
def test_mysql_statements_that_destroy_nothing(statement: str) -> None:
    assert dangers(statement, "mysql") == []


def test_each_destructive_statement_has_its_reason() -> None:
    found = dangers("DROP TABLE a; SELECT 1; DELETE FROM b; DELETE FROM b", "postgres")
    assert found == ["DROP TABLE a", "DELETE FROM b"]


def test_a_reason_is_one_short_line() -> None:
    (reason,) = dangers(
        'DROP TABLE "two\nlines", ' + ", ".join(f"t{number}" for number in range(99)), "postgres"
    )
    assert "\n" not in reason
    assert len(reason) < 100


def test_the_parser_says_nothing_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        dangers("ALTER TYPE t DROP ATTRIBUTE a; DROP OWNED BY b", "postgres")
    assert caplog.records == []


PIECES = r"""DELETE FROM a ( ) ' " $$ /* */ -- ; WITH AS E'\\ UPDATE DROP EXPLAIN ANALYZE PREPARE COPY
ALTER TABLE é ` /*! """.split()  # noqa: SIM905


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12),
    st.sampled_from(["postgres", "mysql"]),
)
def test_garbage_is_judged_and_never_trips_it(parts: list[str], dialect: str) -> None:
    assert isinstance(dangers(" ".join(parts), dialect), list)
