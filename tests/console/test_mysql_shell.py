"""The console on a real terminal, with a MariaDB or MySQL behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.console.test_shell import Terminal

from dbtool.model.connection import Connection

Sql = Callable[..., "list[tuple[Any, ...]]"]


@pytest.fixture
def shop(mysql_database: Connection, mysql_sql: Sql) -> Connection:
    """A database with a table."""
    mysql_sql(
        mysql_database,
        [
            "CREATE TABLE customers (id int PRIMARY KEY, email varchar(40))",
            "INSERT INTO customers SELECT seq, CONCAT('customer', seq) FROM seq_1_to_100",
        ],
    )
    return mysql_database


@pytest.fixture
def terminal(shop: Connection, tmp_path: Path) -> Iterator[Terminal]:
    """The console, open on that database."""
    opened = Terminal(shop, tmp_path, "--path", str(tmp_path / "backups"))
    yield opened
    opened.child.close(force=True)


def test_the_seeds_session(terminal: Terminal, tmp_path: Path) -> None:
    terminal.expect("MariaDB 1")
    terminal.type("help")
    terminal.expect("back up the whole database")
    terminal.type("full database")
    terminal.expect("1 table, 100 rows")
    terminal.type("full tables -tablename customers")
    terminal.expect("partial_")
    terminal.type("SQL SELECT `email` FROM customers WHERE id < 3 ORDER BY id")
    terminal.expect("customer2")
    terminal.expect("(2 rows")
    terminal.type(f"SQL SELECT * FROM customers -extract -path {tmp_path}")
    terminal.expect("100 rows")
    terminal.type("list")
    terminal.expect("completed")
    terminal.type("doctor")
    terminal.expect("logical backup: snapshot")
    terminal.type("exit")
    assert terminal.end() == 0
    assert len(list(tmp_path.glob("*_query_*.csv"))) == 1


def test_a_mistake_is_told_and_the_console_goes_on(terminal: Terminal) -> None:
    terminal.type("SQL SELECT wrong FROM customers")
    terminal.expect("Unknown column 'wrong'")
    terminal.type("SQL SELECT 1 / 0")
    terminal.expect("NULL")
    terminal.expect("WARNING 1365: Division by 0")
    terminal.type("SQL SELECT 'still here'")
    terminal.expect("still here\r\n")
    terminal.expect(f"[{terminal.database}]> ")
    terminal.child.send("\x04")
    assert terminal.end() == 0


def test_ctrl_c_cancels_the_statement_and_not_the_console(
    terminal: Terminal, shop: Connection, mysql_sql: Sql
) -> None:
    terminal.type("SQL SELECT COUNT(*) FROM seq_1_to_1000000 a, seq_1_to_1000000 b")
    query = "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT COUNT(*) FROM seq%'"
    while not mysql_sql(shop, query):
        pass
    terminal.child.send("\x03")
    terminal.expect("cancelled")
    terminal.type("half a line\x03")
    terminal.type("SQL SELECT 6 * 7 AS answer")
    terminal.expect("42")


def test_enter_runs_what_is_complete_and_goes_on_in_what_is_not(terminal: Terminal) -> None:
    terminal.type("SQL SELECT (1 +")
    terminal.expect("…")
    terminal.child.send("41)\x1b\r AS answer\r")
    terminal.expect("42")
    terminal.type('SQL SELECT "two')
    terminal.expect("…")
    terminal.child.send('lines" AS text\r')
    terminal.expect("two↵lines")
    terminal.type("SQL CREATE PROCEDURE p() BEGIN SELECT 'first';")
    terminal.expect("…")
    terminal.child.send("SELECT 'second'; END\r")
    terminal.expect("OK, 0 rows affected")
    terminal.type("SQL CALL p()")
    terminal.expect("first\r\n")
    terminal.expect("second\r\n")


def test_destructive_sql_asks_first(terminal: Terminal, shop: Connection, mysql_sql: Sql) -> None:
    for statement in (
        "DELETE c FROM customers c JOIN customers d USING (id)",
        "REPLACE INTO customers VALUES (1, NULL)",
        "/*! TRUNCATE customers */",
    ):
        terminal.type(f"SQL {statement}")
        terminal.expect("Run it? [y/N] ")
        terminal.child.send("n\r")
        terminal.expect("not run")
    assert mysql_sql(shop, "SELECT count(email) FROM customers") == [(100,)]
    terminal.type("SQL DELETE FROM customers")
    terminal.expect("Run it? [y/N] ")
    terminal.child.send("y\r")
    terminal.expect("OK, 100 rows affected")


def test_a_lost_connection_is_made_again(terminal: Terminal, shop: Connection, mysql_sql: Sql) -> None:
    terminal.type("SQL SELECT 1 AS first")
    terminal.expect("(1 row")
    other = shop.with_database("mysql")
    ids = mysql_sql(other, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = %s", (shop.database,))
    for (number,) in ids:
        mysql_sql(other, f"KILL {number}")
    terminal.type("SQL SELECT 2 AS second")
    terminal.expect("has been made again")
    terminal.type("SQL SELECT 3 AS third")
    terminal.expect("(1 row")


def test_use_changes_what_the_prompt_and_the_commands_speak_of(terminal: Terminal) -> None:
    terminal.type("SQL USE information_schema")
    terminal.expect("[information_schema]> ")
    terminal.child.send("\\d ENGINES\r")
    terminal.expect("ENGINES")


def test_looking_around_and_switches(terminal: Terminal) -> None:
    terminal.type("\\d")
    terminal.expect("customers")
    terminal.type("\\d customers")
    terminal.expect("PRIMARY KEY")
    terminal.type("\\d nothing")
    terminal.expect("error: ")
    terminal.type("\\x")
    terminal.expect("blocks")
    terminal.type("SQL SELECT 1 AS a, NULL AS b")
    terminal.expect("[ 1 ]")
    terminal.expect("NULL")
    terminal.type("\\timing")
    terminal.expect("Timing is off.")
    terminal.type("\\q")
    assert terminal.end() == 0


def test_tab_completes_commands_and_tables(terminal: Terminal, shop: Connection) -> None:
    terminal.type("\\d")
    terminal.expect("customers")
    terminal.expect(f"[{terminal.database}]> ")
    terminal.child.send("SQL SELECT count(*) FROM `custo")
    terminal.expect(f"table  {shop.database}")  # the menu, once the names are there
    terminal.child.send("\t\r\r")
    terminal.expect("100\r\n")


def test_the_history_is_kept_without_passwords(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("SQL SELECT 'remember me'")
    terminal.expect("(1 row")
    terminal.type("SQL ALTER USER nobody_at_all IDENTIFIED BY 'hunter2'")
    terminal.expect("error: ")
    terminal.type("exit")
    assert terminal.end() == 0
    history = tmp_path / ".local" / "state" / "dbtool" / "history"
    assert "remember me" in history.read_text()
    assert "hunter2" not in history.read_text()
