"""The console on a real terminal, with a real server behind it."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from tests.cli.running import environment, server

from dbtool.model.connection import Connection

Sql = Callable[..., "list[tuple[Any, ...]]"]

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[()][A-Z0-9]|[=>]|\][^\x07]*\x07)")
_TIMEOUT_SECONDS = 20


class Terminal:
    """A person at the console. What is read are the lines that dbtool writes, without escapes."""

    def __init__(self, connection: Connection, home: Path, *more: str) -> None:
        self.database = connection.database
        kind = ["--db", connection.engine, "--storage", "local", "--config", "file"]
        options = [*kind, *server(connection), *more]
        self.child = pexpect.spawn(
            sys.executable,
            ["-m", "dbtool", "backup", *options],
            env=environment(
                HOME=str(home), TERM="xterm", PROMPT_TOOLKIT_NO_CPR="1", PAGER="cat", NO_COLOR="1"
            ),
            cwd=str(home),
            dimensions=(40, 140),
            encoding="utf-8",
            timeout=_TIMEOUT_SECONDS,
        )
        self.seen = ""

    def expect(self, text: str) -> None:
        """Wait until dbtool has written this (a literal) after what was expected before."""
        while text not in self.seen:
            self.child.expect([r".+"])
            self.seen = _ESCAPES.sub("", self.seen + str(self.child.after))
        self.seen = self.seen.partition(text)[2]

    def type(self, text: str) -> None:
        """Type a line and Enter, once the prompt is there."""
        self.expect(f"[{self.database}]> ")
        self.child.send(text + "\r")

    def end(self) -> int:
        """Wait for the end; the exit code."""
        self.child.expect(pexpect.EOF)
        self.child.close()
        status = self.child.exitstatus
        return status if status is not None else -(self.child.signalstatus or 0)


@pytest.fixture
def shop(database: Connection, sql: Sql) -> Connection:
    """A database with a table."""
    sql(
        database,
        "CREATE TABLE customers (id int PRIMARY KEY, email text);"
        "INSERT INTO customers SELECT n, 'customer' || n FROM generate_series(1, 100) AS n",
    )
    return database


@pytest.fixture
def terminal(shop: Connection, tmp_path: Path) -> Iterator[Terminal]:
    """The console, open on that database."""
    opened = Terminal(shop, tmp_path, "--path", str(tmp_path / "backups"))
    yield opened
    opened.child.close(force=True)


def test_the_seeds_session(terminal: Terminal, tmp_path: Path) -> None:
    terminal.type("help")
    terminal.expect("back up the whole database")
    terminal.type("full database")
    terminal.expect("1 table, 100 rows")
    terminal.type("full tables -tablename customers")
    terminal.expect("partial_")
    terminal.type("SQL SELECT email FROM customers WHERE id < 3 ORDER BY id")
    terminal.expect("customer2")
    terminal.expect("(2 rows")
    terminal.type(f"SQL SELECT * FROM customers -extract -path {tmp_path}")
    terminal.expect("100 rows")
    terminal.type("list")
    terminal.expect("completed")
    terminal.type("exit")
    assert terminal.end() == 0
    assert len(list(tmp_path.glob("*_query_*.csv"))) == 1


def test_ctrl_d_leaves_and_a_mistake_does_not(terminal: Terminal) -> None:
    terminal.type("lst")
    terminal.expect("Did you mean list?")
    terminal.type("SQL SELECT wrong FROM customers")
    terminal.expect('column "wrong" does not exist')
    terminal.type("SQL SELECT 'still here'")
    terminal.expect("still here\r\n")
    terminal.expect(f"[{terminal.database}]> ")
    terminal.child.send("\x04")
    assert terminal.end() == 0


def test_ctrl_c_cancels_the_statement_and_not_the_console(
    terminal: Terminal, shop: Connection, sql: Sql
) -> None:
    terminal.type("SQL SELECT pg_sleep(60)")
    while not sql(
        shop, "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    ):
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
    terminal.type("SQL SELECT 'two")
    terminal.expect("…")
    terminal.child.send("lines' AS text\r")
    terminal.expect("two↵lines")


def test_destructive_sql_asks_first(terminal: Terminal, shop: Connection, sql: Sql) -> None:
    terminal.type("SQL DELETE FROM customers")
    terminal.expect("Run it? [y/N] ")
    terminal.child.send("n\r")
    terminal.expect("not run")
    assert sql(shop, "SELECT count(*) FROM customers") == [(100,)]
    terminal.type("SQL DELETE FROM customers")
    terminal.expect("Run it? [y/N] ")
    terminal.child.send("y\r")
    terminal.expect("DELETE 100")


def test_a_lost_connection_is_made_again(terminal: Terminal, shop: Connection, sql: Sql) -> None:
    terminal.type("SQL SELECT 1 AS first")
    terminal.expect("(1 row")
    sql(
        shop.with_database("postgres"),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
        [shop.database],
    )
    terminal.type("SQL SELECT 2 AS second")
    terminal.expect("has been made again")
    terminal.type("SQL SELECT 3 AS third")
    terminal.expect("(1 row")


def test_looking_around_and_switches(terminal: Terminal) -> None:
    terminal.type("\\d")
    terminal.expect("customers")
    terminal.type("\\d customers")
    terminal.expect("PRIMARY KEY")
    terminal.type("\\d nothing")
    terminal.expect("error: ")
    terminal.type("\\x")
    terminal.expect("blocks")
    terminal.type("SQL SELECT 1 AS a, 2 AS b")
    terminal.expect("[ 1 ]")
    terminal.type("\\timing")
    terminal.expect("Timing is off.")
    terminal.type("\\frobnicate")
    terminal.expect("unknown: \\frobnicate")
    terminal.type("\\q")
    assert terminal.end() == 0


def test_tab_completes_commands_and_tables(terminal: Terminal) -> None:
    terminal.type("\\d")
    terminal.expect("customers")
    terminal.expect(f"[{terminal.database}]> ")
    terminal.child.send("SQL SELECT count(*) FROM custo")
    terminal.expect("table  public")  # the menu, once the names are there
    terminal.child.send("\t\r\r")
    terminal.expect("100\r\n")


def test_the_history_is_kept_without_passwords(terminal: Terminal, shop: Connection, tmp_path: Path) -> None:
    terminal.type("SQL SELECT 'remember me'")
    terminal.expect("(1 row")
    terminal.type("SQL ALTER ROLE nobody_at_all PASSWORD 'hunter2'")
    terminal.expect("does not exist")
    terminal.type("exit")
    assert terminal.end() == 0
    history = tmp_path / ".local" / "state" / "dbtool" / "history"
    assert "remember me" in history.read_text()
    assert "hunter2" not in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600

    again = Terminal(shop, tmp_path)
    again.expect(f"[{shop.database}]> ")
    again.child.send("\x1b[A\x1b[A\r")  # up: exit, then what was before it
    again.expect("remember me\r\n")
    again.child.close(force=True)


def test_a_termination_signal_ends_the_console(terminal: Terminal) -> None:
    terminal.expect(f"[{terminal.database}]> ")
    assert terminal.child.pid is not None
    os.kill(terminal.child.pid, signal.SIGTERM)
    assert terminal.end() == 130


def test_without_a_server_there_is_no_console(tmp_path: Path) -> None:
    opened = Terminal(Connection("postgres", "mydb", host="127.0.0.1", port=1, user="nobody"), tmp_path)
    opened.expect("error: ")
    assert opened.end() == 4


def test_missing_settings_are_asked_for(shop: Connection, tmp_path: Path) -> None:
    child = pexpect.spawn(
        sys.executable,
        ["-m", "dbtool", "backup", "--config", "manual", "--port", str(shop.port), "SQL", "SELECT 6 * 7"],
        env=environment(HOME=str(tmp_path)),
        encoding="utf-8",
        timeout=_TIMEOUT_SECONDS,
    )
    for question, answer in (
        ("database: ", shop.database),
        ("host: ", str(shop.host)),
        ("user: ", str(shop.user)),
        ("password", "typed-secret"),
    ):
        child.expect(question)
        child.sendline(answer)
    child.expect("42")
    child.expect(pexpect.EOF)
    assert "typed-secret" not in str(child.before)
