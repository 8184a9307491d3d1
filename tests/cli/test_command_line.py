"""The program as such: help, version, settings, mistakes, start-up. No server is needed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.cli.running import ROOT, dbtool, environment

from dbtool import __version__
from dbtool.console import commands
from dbtool.console.grammar import Command


def test_help_names_every_command_and_nothing_that_is_not_there() -> None:
    done = dbtool("--help")
    assert done.returncode == 0
    assert all(f"  {command.name} " in done.stdout for command in commands.SCRIPT)
    assert not any(f"\n  {name} " in done.stdout for name in commands.LATER)
    assert done.stderr == ""


@pytest.mark.parametrize("command", commands.SCRIPT, ids=lambda command: str(command.name))
def test_every_command_has_its_help(command: Command) -> None:
    done = dbtool(*command.words, "--help")
    assert done.returncode == 0
    assert all(option.name in done.stdout for option in command.options)
    assert dbtool("help", *command.words).stdout == done.stdout


def test_the_version_is_said() -> None:
    assert dbtool("--version").stdout == f"dbtool {__version__}\n"


def test_the_checkout_runs_as_the_seed_says(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "cli" / "dbtool.py"), "--version"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, f"dbtool {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no command"),
        (("frobnicate",), "unknown command"),
        (("--frobnicate",), "unknown option"),
        (("lst",), "Did you mean list?"),
        (("drill", "latest"), "not in this version"),
        (("expire",), "not in this version"),
        (("list", "--pth", "/b"), "--path"),
        (("list", "--path"), "needs a value"),
        (("catalog",), "catalog rebuild"),
        (("verify", "--path", "/"), "latest"),
        (("restore", "latest", "--path", "/", "--to-time", "now"), "not in this version"),
        (("sql",), "-c STATEMENT"),
        (("sql", "-c", "SELECT 1", "--output", "/x"), "--extract"),
        (("list",), "no repository"),
        (("backup", "--db", "oracle"), "postgres, mysql"),
        (("backup", "--db", "postgres", "--config", "file", "full", "database"), "no database"),
        (("backup", "--database", "d", "--storage", "s3", "list"), "not in this version"),
        (("backup", "--config", "manual", "--database", "d", "list"), "--host and --user"),
        (("backup", "--database", "d", "--port", "0", "list"), "port must be"),
        (("backup", "--database", "d", "full", "database", "-method", "physical"), "not in this version"),
        (("backup", "--database", "d", "full", "tables"), "-tablename"),
        (("backup", "--database", "d", "differential", "backup", "-method", "blocks"), "physical full"),
        (("backup", "--database", "d", "differential", "backup", "-method", "timestamp"), "-column"),
        (("backup", "--database", "d", "differential", "backup", "-column", "c"), "-method timestamp"),
        (("backup", "--database", "d", "differential", "backup", "-only-changed"), "-method timestamp"),
        (("backup", "--database", "d", "differential", "backup", "-max-chain-age", "7"), "12h or 7d"),
        (("backup", "--database", "d", "differential", "backup", "-max-differential-ratio", "x"), "above 0"),
        (("backup", "--database", "d", "incremental", "backup"), "not in this version"),
        (("backup", "--database", "d", "full", "database", "-exclude", "x"), "-all"),
    ],
)
def test_a_mistake_ends_with_2_and_a_line_that_helps(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = dbtool(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert message in done.stderr


def test_debug_shows_the_traceback_and_nothing_else_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dbtool", "--debug", "list", "--path", "/nowhere"],
        capture_output=True,
        text=True,
        env=environment(),
    )
    assert done.returncode == 8
    assert "Traceback" in done.stderr
    assert dbtool("list", "--path", "/nowhere").returncode == 8


def test_settings_are_shown_with_their_origin_and_without_secrets(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DB_HOST=db.example\nDB_PASSWORD=hunter2\n")
    (tmp_path / ".env").chmod(0o600)
    done = dbtool("config", "show", "--database", "mydb", "--json", folder=tmp_path, DB_USER="bob")
    shown = {one["name"]: (one["value"], one["origin"]) for one in json.loads(done.stdout)["settings"]}
    assert shown["host"] == ("db.example", f"{tmp_path}/.env: DB_HOST")
    assert shown["user"] == ("bob", "environment: DB_USER")
    assert shown["database"] == ("mydb", "command line")
    assert "hunter2" not in done.stdout + done.stderr
    assert "db.example" in dbtool("config", "show", folder=tmp_path).stdout


def test_an_empty_repository_is_an_empty_list(tmp_path: Path) -> None:
    done = dbtool("list", "--path", str(tmp_path), "--json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"backups": []})
    done = dbtool("list", "--path", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
    assert "no backups" in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("list", "--path", ".")])
def test_what_needs_no_server_starts_fast(arguments: tuple[str, ...], tmp_path: Path) -> None:
    program = [sys.executable, "-X", "importtime", "-m", "dbtool", *arguments]
    done = subprocess.run(
        program, capture_output=True, text=True, cwd=tmp_path, env=environment(), check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"psycopg", "prompt_toolkit", "rich", "sqlglot", "pygments", "asyncio", "argparse"}
    took = []
    for _ in range(3):
        began = time.perf_counter()
        dbtool(*arguments, folder=tmp_path)
        took.append(time.perf_counter() - began)
    assert min(took) < 0.5  # half of it is plenty on a machine that does nothing else
