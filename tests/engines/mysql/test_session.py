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

from dbtool.engines.mysql.session import MysqlSession
from dbtool.errors import (
    ConnectionFailedError,
    DbtoolError,
    InterruptedByUserError,
    NotFoundError,
    SqlError,
    UsageError,
)
from dbtool.model.connection import Connection

Sql = Callable[..., "list[tuple[Any, ...]]"]

# Runs for minutes, and is one row of nothing that a server would send before its end.
LONG = "SELECT COUNT(*) FROM information_schema.COLUMNS a, information_schema.COLUMNS b, information_schema.COLUMNS c"
ENDLESS = "SELECT seq, 'x', 'y' FROM seq_1_to_1000000000000"  # MariaDB only


@pytest.fixture
def session(mysql_database: Connection) -> Iterator[MysqlSession]:
    opened = MysqlSession(mysql_database)
    yield opened
    opened.close()


def every_row(session: MysqlSession, statements: str) -> list[list[tuple[str | None, ...]]]:
    """The rows of each result; an empty list for one without."""
    return [[tuple(row) for row in result.rows()] for result in session.run(statements)]


def rows(session: MysqlSession, statements: str) -> list[tuple[str | None, ...]]:
    """The rows of the last result."""
    return every_row(session, statements)[-1]


def failure(session: MysqlSession, statements: str) -> DbtoolError:
    with pytest.raises(DbtoolError) as caught:
        every_row(session, statements)
    return caught.value


def test_every_statement_that_gives_rows_gives_them(session: MysqlSession) -> None:
    every_row(
        session,
        "CREATE TABLE t (id int PRIMARY KEY, a varchar(9));"
        "CREATE PROCEDURE p(x int) BEGIN SELECT x + 1; SELECT id FROM t WHERE id = x; END",
    )
    given = {
        "INSERT INTO t VALUES (1, 'x'), (2, NULL), (3, '') RETURNING *": [("1", "x"), ("2", None), ("3", "")],
        "SELECT * FROM t ORDER BY id": [("1", "x"), ("2", None), ("3", "")],
        "VALUES (1, true), (2, false)": [("1", "1"), ("2", "0")],
        "WITH d AS (SELECT 2 AS id) SELECT * FROM d": [("2",)],
        "SHOW VARIABLES LIKE 'character_set_client'": [("character_set_client", "utf8mb4")],
        "(SELECT 1) UNION ALL (SELECT 2) ORDER BY 1": [("1",), ("2",)],
        "SELECT /*! 1, */ 2": [("1", "2")],
    }
    for statement, expected in given.items():
        assert rows(session, statement) == expected, statement
    assert every_row(session, "CALL p(3); SELECT 9") == [[("4",)], [("3",)], [("9",)]]
    assert rows(session, "EXPLAIN SELECT 1")


def test_values_are_the_servers_own_text(session: MysqlSession) -> None:
    assert rows(
        session,
        "SELECT 1.50, CAST(1.234567 AS FLOAT), CAST('0000-00-00' AS DATE), 'é\\n\\0', x'00ff', x'', b'101', "
        "TIME '-838:59:59', 18446744073709551615, NULL, ''",
    ) == [
        (
            *("1.50", "1.23457", "0000-00-00", "é\n\0", "0x00FF", "", "0x05"),
            *("-838:59:59", "18446744073709551615", None, ""),
        )
    ]


def test_columns_say_how_they_are_written(session: MysqlSession) -> None:
    every_row(
        session,
        "CREATE TABLE t (i bigint unsigned, n decimal(5,2), y year, b binary(2), t text, e enum('a'), s set('b'), "
        "d datetime(3), j json, g point, v varbinary(9), m mediumblob)",
    )
    (result,) = session.run("SELECT * FROM t")
    assert result.columns is not None
    assert [column.type_name for column in result.columns] == [
        *("bigint unsigned", "decimal", "year", "binary", "text", "enum", "set"),
        *("datetime", "text", "geometry", "varbinary", "blob"),
    ]
    assert [column.json_kind for column in result.columns][:4] == ["number", "number", "number", "string"]
    assert [column.is_numeric for column in result.columns][:4] == [True, True, True, False]


def test_a_statement_without_rows_has_a_status(session: MysqlSession) -> None:
    results = list(
        session.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); UPDATE t SET a = 3 WHERE a = 1")
    )
    assert [(result.columns, result.status) for result in results] == [
        (None, "OK, 0 rows affected"),
        (None, "OK, 2 rows affected (Records: 2 Duplicates: 0 Warnings: 0)"),
        (None, "OK, 1 row affected (Rows matched: 1 Changed: 1 Warnings: 0)"),
    ]


def test_each_statement_commits_by_itself(
    session: MysqlSession, mysql_database: Connection, mysql_sql: Sql
) -> None:
    error = failure(
        session, "CREATE TABLE t (a int); INSERT INTO t VALUES (1); SELECT nothing; INSERT INTO t VALUES (2)"
    )
    assert isinstance(error, SqlError)
    assert mysql_sql(mysql_database, "SELECT a FROM t") == [(1,)]


@pytest.mark.parametrize("begin", ["BEGIN", "START TRANSACTION"])
def test_begin_holds_until_commit_or_rollback(
    session: MysqlSession, mysql_database: Connection, mysql_sql: Sql, begin: str
) -> None:
    every_row(session, f"CREATE TABLE t (a int); {begin}; INSERT INTO t VALUES (1)")
    assert session.in_transaction
    assert mysql_sql(mysql_database, "SELECT a FROM t") == []
    assert isinstance(failure(session, "SELECT nothing"), SqlError)
    assert session.in_transaction
    every_row(session, f"ROLLBACK; {begin}; INSERT INTO t VALUES (2); COMMIT")
    assert not session.in_transaction
    assert mysql_sql(mysql_database, "SELECT a FROM t") == [(2,)]


def test_an_error_that_ends_the_transaction_is_noticed(
    session: MysqlSession, mysql_database: Connection
) -> None:
    other = MysqlSession(mysql_database)
    try:
        every_row(session, "CREATE TABLE t (a int PRIMARY KEY, b int); INSERT INTO t VALUES (1, 0), (2, 0)")
        every_row(session, "BEGIN; UPDATE t SET b = 1 WHERE a = 1")
        # Whoever changed more is not the victim.
        every_row(other, "BEGIN; UPDATE t SET b = 2 WHERE a = 2; INSERT INTO t VALUES (3, 0), (4, 0), (5, 0)")
        thread = threading.Thread(target=every_row, args=(other, "UPDATE t SET b = 2 WHERE a = 1"))
        thread.start()
        time.sleep(0.3)
        error = failure(session, "UPDATE t SET b = 1 WHERE a = 2")
        assert "Deadlock" in error.message
        assert not session.in_transaction
        thread.join()
    finally:
        other.close()


def test_a_refused_statement_says_where_and_what_helps(session: MysqlSession) -> None:
    error = failure(session, "SELECT 1;\nSELECT\n  1 FORM t")
    assert isinstance(error, SqlError)
    assert error.message.endswith("near 't' (line 3)")
    assert failure(session, "SELECT ammount FROM (SELECT 1 AS amount) x").message.startswith(
        "Unknown column 'ammount'"
    )
    every_row(session, "CREATE PROCEDURE p() BEGIN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END")
    assert failure(session, "CALL p()").message == "no"
    assert failure(session, "DELIMITER ;;").hint is not None
    assert "LOAD DATA LOCAL" in failure(session, "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t").message


def test_warnings_are_collected(session: MysqlSession) -> None:
    every_row(session, "SET sql_mode = ''; CREATE TABLE t (a tinyint); INSERT INTO t VALUES (300)")
    assert session.notices() == ["WARNING 1264: Out of range value for column 'a' at row 1"]
    assert session.notices() == []
    every_row(session, "INSERT INTO t VALUES " + ", ".join(["(300)"] * 12) + "; SELECT 1")
    assert len(session.notices()) == 11


def test_a_large_result_streams_in_flat_memory(session: MysqlSession) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    (result,) = session.run("SELECT seq, CONCAT('row number ', seq) FROM seq_1_to_1000000")
    assert sum(len(batch) for batch in result.batches()) == 1_000_000
    assert result.status == "OK, 1,000,000 rows"
    grown_kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kilobytes < 20_000


def test_rows_of_any_size_come_whole(session: MysqlSession) -> None:
    every_row(session, "SET GLOBAL max_allowed_packet = 1073741824")
    session.close()
    sizes = [250, 251, 65535, 65536, 262144, (1 << 24) - 6, (1 << 24) - 5, (1 << 24) - 4, 40_000_000]
    statement = " UNION ALL ".join(f"SELECT {size}, REPEAT('x', {size})" for size in sizes)
    found = [(int(size or 0), len(text or "")) for size, text in rows(session, statement)]
    assert found == [(size, size) for size in sizes]


def test_a_result_left_unread_runs_to_its_end(
    session: MysqlSession, mysql_database: Connection, mysql_sql: Sql
) -> None:
    every_row(session, "CREATE TABLE t (a int)")
    for _ in session.run("INSERT INTO t SELECT seq FROM seq_1_to_1000 RETURNING a; SELECT 1"):
        pass
    assert mysql_sql(mysql_database, "SELECT count(*) FROM t") == [(1000,)]
    for result in session.run("INSERT INTO t SELECT seq FROM seq_1_to_1000 RETURNING a"):
        next(iter(result.rows()))
        result.close()
        assert result.status == "OK, 1,000 rows"
    assert mysql_sql(mysql_database, "SELECT count(*) FROM t") == [(2000,)]
    every_row(session, "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; INSERT INTO t VALUES (1); END")
    next(session.run("CALL p()"))
    assert rows(session, "SELECT count(*) FROM t") == [("2001",)]


def test_closing_a_query_ends_it_on_the_server(session: MysqlSession) -> None:
    started = time.monotonic()
    (result,) = session.run(ENDLESS)
    assert next(iter(result.rows()))
    result.close()
    assert "not read" in result.status
    assert rows(session, "SELECT 'still here'") == [("still here",)]
    assert time.monotonic() - started < 10


def test_cancelling_what_has_just_ended_harms_nothing(session: MysqlSession) -> None:
    for _ in range(20):
        (result,) = session.run("SELECT seq FROM seq_1_to_20000")
        next(iter(result.rows()))
        result.close()
        assert rows(session, "SELECT 1") == [("1",)]
    session.cancel()
    assert rows(session, "SELECT 1") == [("1",)]


def test_cancel_from_another_thread_ends_the_statement_only(session: MysqlSession) -> None:
    threading.Timer(0.3, session.cancel).start()
    assert isinstance(failure(session, LONG), InterruptedByUserError)
    assert rows(session, "SELECT 1") == [("1",)]


def test_ctrl_c_ends_the_statement_and_not_the_session(session: MysqlSession) -> None:
    every_row(session, "SET @here = 1")
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    assert isinstance(failure(session, LONG), InterruptedByUserError)
    assert rows(session, "SELECT @here") == [("1",)]


# In a process of its own: one in which others have hooks in the garbage collector may lose a signal in them.
AT_ANY_MOMENT = """
import os, signal, sys, threading
from dbtool.engines.mysql.session import MysqlSession
from dbtool.errors import InterruptedByUserError
from dbtool.model.connection import Connection

host, port, user, database = sys.argv[1:]
session = MysqlSession(Connection("mysql", database, host, int(port), user))
list(session.run("SET @here = 1"))
for number in range(30):
    threading.Timer(0.02 + 0.005 * number, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        for result in session.run("SELECT seq, 'x', 'y' FROM seq_1_to_1000000000000"):
            try:
                for _ in result.batches():
                    pass
            finally:
                result.close()
        sys.exit("it came to its end")
    except (KeyboardInterrupt, InterruptedByUserError):
        pass
    assert [list(result.rows()) for result in session.run("SELECT 1")] == [[("1",)]]
assert [list(result.rows()) for result in session.run("SELECT @here")] == [[("1",)]]
"""


def test_ctrl_c_at_any_moment_ends_the_query(mysql_database: Connection) -> None:
    place = [mysql_database.host, mysql_database.port, mysql_database.user, mysql_database.database]
    script = [sys.executable, "-c", AT_ANY_MOMENT, *map(str, place)]
    assert subprocess.run(script, timeout=60).returncode == 0


def test_ctrl_c_while_a_query_is_prepared(session: MysqlSession, mysql_database: Connection) -> None:
    locker = MysqlSession(mysql_database)
    try:
        every_row(locker, "CREATE TABLE t (a int); LOCK TABLES t WRITE")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(InterruptedByUserError):
            session.query("SELECT * FROM t").drain()
    finally:
        locker.close()
    assert rows(session, "SELECT 1") == [("1",)]


def end_connections(database: Connection, mysql_sql: Sql) -> None:
    ids = mysql_sql(
        database.with_database("mysql"),
        "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = %s",
        (database.database,),
    )
    for (number,) in ids:
        mysql_sql(database.with_database("mysql"), f"KILL {number}")
    time.sleep(0.1)


def test_a_lost_idle_connection_is_made_again(
    session: MysqlSession, mysql_database: Connection, mysql_sql: Sql
) -> None:
    end_connections(mysql_database, mysql_sql)
    assert rows(session, "SELECT 1") == [("1",)]
    assert any("made again" in notice for notice in session.notices())


def test_a_connection_lost_in_a_transaction_is_an_error(
    session: MysqlSession, mysql_database: Connection, mysql_sql: Sql
) -> None:
    every_row(session, "BEGIN")
    end_connections(mysql_database, mysql_sql)
    error = failure(session, "SELECT 1")
    assert isinstance(error, ConnectionFailedError)
    assert "rolled back" in error.message
    assert not session.in_transaction
    assert rows(session, "SELECT 1") == [("1",)]


def test_a_connection_lost_while_a_statement_runs_is_an_error(
    session: MysqlSession, mysql_database: Connection, mysql_sql: Sql
) -> None:
    threading.Timer(0.3, end_connections, (mysql_database, mysql_sql)).start()
    error = failure(session, LONG)
    assert isinstance(error, ConnectionFailedError)
    assert "not known" in str(error.hint)
    assert rows(session, "SELECT 1") == [("1",)]


def test_a_silent_connection_is_asked_for_a_sign_of_life(session: MysqlSession) -> None:
    every_row(session, "SET @here = 1")
    session._line._heard_at -= 3600
    assert rows(session, "SELECT @here") == [("1",)]


def test_query_refuses_what_is_no_query_before_it_runs(
    session: MysqlSession, mysql_database: Connection, mysql_sql: Sql
) -> None:
    every_row(session, "CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
    for statement in (
        "DELETE FROM t",
        "UPDATE t SET a = 2",
        "DROP TABLE t",
        "TRUNCATE t",
        "DO 1",
        "CREATE PROCEDURE p() SELECT 1",
        "SELECT 1; DELETE FROM t",
        "SELECT a FROM t INTO OUTFILE '/tmp/never'",
        "",
        "BEGIN",
    ):
        with pytest.raises(UsageError):
            session.query(statement)
    assert not session.in_transaction
    assert mysql_sql(mysql_database, "SELECT a FROM t") == [(1,)]
    assert list(session.query("DELETE FROM t RETURNING a;").rows()) == [("1",)]
    for statement in (
        "SHOW TABLES",
        "EXPLAIN SELECT 1",
        "DESCRIBE t",
        "SHOW CREATE TABLE t",
        "CHECK TABLE t",
    ):
        assert list(session.query(statement).rows()), statement
    every_row(session, "CREATE PROCEDURE p() BEGIN SELECT 4; END")
    assert list(session.query("CALL p()").rows()) == [("4",)]
    assert rows(session, "SELECT 1") == [("1",)]
    with pytest.raises(SqlError):
        session.query("SELEC 1")
    with pytest.raises(SqlError):
        session.query("SELECT ?")


def test_bytes_that_are_no_text_come_as_they_are(session: MysqlSession) -> None:
    every_row(session, "SET NAMES latin1")
    assert rows(session, "SELECT CONVERT(x'e9' USING latin1)") == [("\udce9",)]


def test_use_chooses_the_database_also_for_the_connection_after_the_next(
    session: MysqlSession, mysql_database: Connection, mysql_sql: Sql
) -> None:
    every_row(session, "USE `mysql`")
    assert session.database == "mysql"
    assert isinstance(failure(session, "USE nothing_like_it"), DbtoolError)
    assert session.database == "mysql"
    session.close()
    assert rows(session, "SELECT DATABASE()") == [("mysql",)]


def test_the_session_says_who_it_is(session: MysqlSession, mysql_database: Connection) -> None:
    assert session.server_label.startswith("MariaDB 1")
    assert session.database == mysql_database.database
    assert rows(session, "SELECT @@autocommit, @@character_set_results") == [("1", "utf8mb4")]


def test_no_driver_is_imported_with_the_protocol() -> None:
    check = "import sys, dbtool.engines.mysql.session; sys.exit('pymysql' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


SCHEMA = """
CREATE TABLE customer (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY, name varchar(40) NOT NULL DEFAULT 'x' COMMENT 'their name',
  mood enum('low','high'), KEY by_name (name(10)));
CREATE TABLE orders (
  id int PRIMARY KEY, customer bigint unsigned, price decimal(10,2) CHECK (price > 0),
  twice decimal(11,2) AS (price * 2) STORED, at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY `Some index` (customer, price DESC),
  CONSTRAINT fk FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE) COMMENT 'what they ordered';
CREATE VIEW cheap AS SELECT id FROM orders WHERE price < 5;
CREATE TRIGGER tr BEFORE INSERT ON customer FOR EACH ROW SET NEW.name = UPPER(NEW.name);
CREATE FUNCTION f(x int) RETURNS int DETERMINISTIC RETURN x + 1;
CREATE TABLE part (a int) PARTITION BY RANGE (a) (PARTITION p1 VALUES LESS THAN (10));
CREATE TABLE `Weird ``na
me` (`a b` int);
"""


def test_names_for_completion(session: MysqlSession) -> None:
    every_row(session, SCHEMA)
    names = session.names()
    by_name = {(relation.schema, relation.name): relation for relation in names.relations}
    here = session.database
    assert by_name[here, "customer"].columns == (
        ("id", "bigint(20) unsigned"),
        ("name", "varchar(40)"),
        ("mood", "enum('low','high')"),
    )
    assert by_name[here, "customer"].visible
    assert by_name[here, "cheap"].kind == "view"
    assert (here, "Weird `na\nme") in by_name
    assert not by_name["mysql", "proc"].visible
    assert names.relations[-1].schema == "sys"
    assert names.schemas[0] not in ("mysql", "information_schema", "sys", "performance_schema")
    assert names.functions[0] == (here, "f")
    assert ("", "concat") in names.functions
    assert "SELECT" in names.keywords
    assert "root" in names.roles
    assert here in names.databases


def test_describe_lists_and_describes(session: MysqlSession) -> None:
    every_row(session, SCHEMA)
    listed = "\n".join(session.describe(None))
    assert "customer" in listed
    assert "proc" not in listed
    assert "Weird `na\\x0ame" in listed
    described = "\n".join(session.describe("orders"))
    for expected in (
        f"table {session.database}.orders, engine InnoDB",
        "decimal(10,2)",
        "not null",
        "AS (`price` * 2) STORED GENERATED",
        "DEFAULT current_timestamp()",
        "    PRIMARY KEY (id)",
        "`Some index` UNIQUE (customer, price DESC)",
        "`price` > 0",
        "fk FOREIGN KEY (customer) REFERENCES customer (id) ON DELETE CASCADE",
        "what they ordered",
    ):
        assert expected in described
    customer = "\n".join(session.describe("CUSTOMER"))
    for expected in (
        "auto_increment",
        "DEFAULT 'x'",
        "their name",
        "by_name (name(10))",
        "Referenced by:\n    orders fk FOREIGN KEY",
        "tr BEFORE INSERT: SET NEW.name",
    ):
        assert expected in customer
    assert "select" in "\n".join(session.describe("cheap"))
    assert "p1 RANGE (`a`) 10" in "\n".join(session.describe("part"))
    assert len(session.describe("*r*")) == 2 + 4
    assert "a b" in "\n".join(session.describe("`Weird ``na\nme`"))
    assert "table mysql.db" in "\n".join(session.describe("mysql.db"))


def test_describe_offers_the_nearest_names(session: MysqlSession) -> None:
    every_row(session, SCHEMA)
    with pytest.raises(NotFoundError) as caught:
        session.describe("custmer")
    assert "customer" in str(caught.value.hint)


def test_a_session_works_on_every_version(mysql_matrix_database: Connection) -> None:
    session = MysqlSession(mysql_matrix_database)
    try:
        every_row(session, SCHEMA)
        assert len(session.names().relations) > 100
        for name in ("customer", "orders", "cheap", "part"):
            assert session.describe(name)
        described = "\n".join(session.describe("orders"))
        for expected in ("Check constraints:\n", "Some index", "CURRENT_TIMESTAMP", "* 2)"):
            assert expected.lower() in described.lower()
        assert list(session.query("SELECT 1 AS a UNION ALL SELECT 2 ORDER BY 1").rows()) == [("1",), ("2",)]
        every_row(session, "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 'x', NULL; END")
        assert every_row(session, "CALL p(); SELECT 9") == [[("1",)], [("x", None)], [("9",)]]
        for statement in ("DELETE FROM orders", "SELECT 1 INTO OUTFILE '/tmp/never'", "SELECT 1 INTO @x"):
            with pytest.raises(UsageError):
                session.query(statement)
        for statement in ("SHOW TABLES", "EXPLAIN SELECT 1", "DESCRIBE orders", "CHECK TABLE orders"):
            assert list(session.query(statement).rows()), statement
        assert isinstance(failure(session, "SELECT nothing"), SqlError)
        every_row(session, "SET @here = 1; BEGIN")
        assert session.in_transaction
        threading.Timer(0.3, session.cancel).start()
        assert isinstance(failure(session, LONG), InterruptedByUserError)
        assert session.in_transaction
        assert rows(session, "ROLLBACK; SELECT @here") == [("1",)]
        every_row(session, "INSERT INTO part VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9)")
        for _ in range(10):
            (result,) = session.run(
                "SELECT a.a FROM part" + " JOIN part".join(f" {letter}" for letter in "abcdef")
            )
            next(iter(result.rows()))
            result.close()
            assert rows(session, "SELECT @here") == [("1",)]
    finally:
        session.close()
