"""What a script learns from dbtool about a MariaDB or MySQL: exit codes, stdout, stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import backup, dbtool, server

from dbtool.model.connection import Connection

Sql = Callable[..., "list[tuple[Any, ...]]"]


@pytest.fixture
def shop(mysql_database: Connection, mysql_sql: Sql) -> Connection:
    """A database with two tables."""
    mysql_sql(
        mysql_database,
        [
            "CREATE TABLE users (id int PRIMARY KEY, email varchar(40))",
            "INSERT INTO users SELECT seq, CONCAT('user', seq) FROM seq_1_to_100",
            "CREATE TABLE `-rf` (a int)",
        ],
    )
    return mysql_database


def test_a_backup_goes_out_and_comes_back(shop: Connection, tmp_path: Path, mysql_sql: Sql) -> None:
    repository = tmp_path / "my 'own' bäckups"
    done = dbtool(*backup(shop, repository, "full", "database", "-json"))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["type"], document["status"]) == ("full", "completed")
    assert document["statistics"]["total_rows_processed"] == 100

    path = ["--path", str(repository)]
    assert json.loads(dbtool("list", *path, "--json").stdout)["backups"][0]["id"] == document["id"]
    assert "users" in dbtool("show", document["id"], *path).stdout
    verified = dbtool("verify", "latest", *path, "--json")
    assert (verified.returncode, json.loads(verified.stdout)["outcome"]) == (0, "passed")

    target = f"{shop.database}_copy"
    try:
        # The backup says which kind of server it is of.
        done = dbtool("restore", "latest", *path, "--into", target, *server(shop), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == 100
        assert mysql_sql(shop.with_database(target), "SELECT count(*) FROM users") == [(100,)]
        refused = dbtool("restore", "latest", *path, "--into", target, *server(shop))
        assert refused.returncode == 9, refused.stderr
        other = dbtool("restore", "latest", *path, "--into", target, "--db", "postgres", *server(shop))
        assert (other.returncode, "--db mysql" in other.stderr) == (2, True), other.stderr
    finally:
        mysql_sql(shop.with_database("mysql"), f"DROP DATABASE IF EXISTS `{target}`")


def test_tables_with_any_name(shop: Connection, tmp_path: Path) -> None:
    done = dbtool(*backup(shop, tmp_path, "full", "tables", "-tablename", "-rf", "-json"))
    assert done.returncode == 0, done.stderr
    assert [table["name"] for table in json.loads(done.stdout)["tables"]] == ["-rf"]


def test_sql_from_a_script(shop: Connection, tmp_path: Path, mysql_sql: Sql) -> None:
    sql = ["sql", "--db", "mysql", *server(shop)]
    done = dbtool(*sql, "-c", "SELECT `email`, NULL AS `n` FROM users WHERE id = 7", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["results"][0]["rows"] == [{"email": "user7", "n": None}]
    exported = dbtool(*sql, "-c", "SELECT * FROM users", "--extract", "--output", str(tmp_path), "--json")
    assert json.loads(exported.stdout)["rows"] == 100
    assert dbtool(*sql, "-c", "DELETE FROM users").returncode == 9
    assert dbtool(*sql, "-c", "REPLACE INTO users VALUES (1, 'x')").returncode == 9
    assert dbtool(*sql, "-c", "SELECT nothing").returncode == 1
    assert mysql_sql(shop, "SELECT count(*) FROM users") == [(100,)]
    assert dbtool(*sql, "-c", "DELETE FROM users WHERE id > 50", "--yes").returncode == 0
    assert mysql_sql(shop, "SELECT count(*) FROM users") == [(50,)]


def test_piped_commands_are_read_in_mysqls_way(shop: Connection, tmp_path: Path) -> None:
    lines = (
        "SQL SELECT 'it\\'s; -yes' AS a, \"b\" AS b # a comment ' with a quote\n"
        "SQL CREATE PROCEDURE p()\nBEGIN\nSELECT 1;\nEND\n"
        "SQL CALL p() -json\n"
        "\\d users\n"
    )
    done = dbtool(*backup(shop, tmp_path), stdin=lines)
    assert done.returncode == 0, done.stderr
    assert "it's; -yes" in done.stdout
    assert '"rows": [' in done.stdout
    assert "PRIMARY KEY (id)" in done.stdout


def test_what_goes_wrong_has_its_exit_code(shop: Connection, tmp_path: Path) -> None:
    start = ["--db", "mysql", "--config", "manual", "--database", shop.database]
    closed = dbtool("backup", *start, "--host", "127.0.0.1", "--port", "1", "--user", "root", "doctor")
    assert closed.returncode == 1
    closed = dbtool(
        "backup", *start, "--host", "127.0.0.1", "--port", "1", "--user", "root", "SQL", "SELECT 1"
    )
    assert (closed.returncode, "nothing listens at 127.0.0.1:1" in closed.stderr) == (4, True)
    stranger = dbtool(
        "backup", *start, *server(shop)[:4], "--user", "stranger", "--password", "p4ss", "SQL", "SELECT 1"
    )
    assert stranger.returncode == 4
    assert "p4ss" not in stranger.stderr
    missing = [*server(shop)[:6], "--database", "nowhere_at_all"]
    assert dbtool("sql", "--db", "mysql", *missing, "-c", "SELECT 1").returncode == 4
    assert dbtool("doctor", "--db", "mysql", *server(shop), "--path", str(tmp_path), "--json").returncode == 0
