"""What a script learns from dbtool: exit codes, stdout, stderr; on a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import backup, dbtool, environment, server
from tests.sample_backups import begin, take
from tests.tls import self_signed, tls_server

from dbtool.catalog.repository import Repository
from dbtool.model.connection import Connection
from dbtool.storage.local import LocalStore

Sql = Callable[..., "list[tuple[Any, ...]]"]


@pytest.fixture
def shop(database: Connection, sql: Sql) -> Connection:
    """A database with two tables."""
    sql(
        database,
        "CREATE TABLE users (id int PRIMARY KEY, email text);"
        "INSERT INTO users SELECT n, 'user' || n FROM generate_series(1, 100) AS n;"
        'CREATE TABLE "-rf" (a int)',
    )
    return database


def test_a_backup_goes_out_and_comes_back(shop: Connection, tmp_path: Path, sql: Sql) -> None:
    repository = tmp_path / "my 'own' bäckups"
    done = dbtool(*backup(shop, repository, "full", "database", "-json"))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["type"], document["status"]) == ("full", "completed")
    assert document["backup_location"] == f"{repository}/{document['id']}"
    assert document["statistics"]["total_rows_processed"] == 100

    path = ["--path", str(repository)]
    assert json.loads(dbtool("list", *path, "--json").stdout)["backups"][0]["id"] == document["id"]
    assert document["id"] in dbtool("list", *path).stdout
    assert json.loads(dbtool("show", "latest", *path, "--json").stdout)["id"] == document["id"]
    assert "users" in dbtool("show", document["id"], *path).stdout
    verified = dbtool("verify", "latest", *path, "--json")
    assert (verified.returncode, json.loads(verified.stdout)["outcome"]) == (0, "passed")
    assert json.loads(dbtool("verify", "--all", *path, "--json").stdout)["verifications"][0]["rows"] == 100
    assert dbtool("catalog", "rebuild", *path).returncode == 0

    target = f"{shop.database}_copy"
    try:
        done = dbtool("restore", "latest", *path, "--into", target, *server(shop), "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["rows"] == 100
        assert sql(shop.with_database(target), "SELECT count(*) FROM users") == [(100,)]
        refused = dbtool("restore", "latest", *path, "--into", target, *server(shop))
        assert refused.returncode == 9, refused.stderr
    finally:
        sql(shop.with_database("postgres"), f'DROP DATABASE IF EXISTS "{target}"')


def test_the_repository_last_used_is_remembered(shop: Connection, tmp_path: Path) -> None:
    arguments = ["backup", "--db", "postgres", "--config", "manual", *server(shop)]
    assert dbtool(*arguments, "full", "database", "-path", str(tmp_path / "b")).returncode == 0
    done = dbtool(*arguments, "list", "-json")
    assert len(json.loads(done.stdout)["backups"]) == 1


def test_tables_with_any_name(shop: Connection, tmp_path: Path) -> None:
    done = dbtool(*backup(shop, tmp_path, "full", "tables", "-tablename", "-rf", "-json"))
    assert done.returncode == 0, done.stderr
    assert [table["name"] for table in json.loads(done.stdout)["tables"]] == ["-rf"]


def test_piped_commands_run_in_order_and_end_at_the_first_that_fails(
    shop: Connection, tmp_path: Path
) -> None:
    lines = "full database\nlist -json\n\nSQL SELECT 'kept'\nshow nothing\nSQL SELECT 'never'\n"
    done = dbtool(*backup(shop, tmp_path), stdin=lines)
    assert done.returncode == 8
    assert "completed" in done.stdout
    assert "kept" in done.stdout
    assert "never" not in done.stdout
    done = dbtool(*backup(shop, tmp_path), stdin="SQL SELECT 'before'\nexit\nSQL SELECT 'after'\n")
    assert (done.returncode, "before" in done.stdout, "after" in done.stdout) == (0, True, False)
    assert dbtool(*backup(shop, tmp_path), stdin="").returncode == 0
    assert dbtool(*backup(shop, tmp_path), stdin="SQL SELECT 'open\n").returncode == 1


def test_sql_that_destroys_is_refused_in_a_script(shop: Connection, tmp_path: Path, sql: Sql) -> None:
    for statement in ("DELETE FROM users WHERE true", "WITH d AS (DELETE FROM users RETURNING 1) TABLE d"):
        assert dbtool(*backup(shop, tmp_path), stdin=f"SQL {statement}\n").returncode == 9
        assert dbtool(*backup(shop, tmp_path, "SQL", statement)).returncode == 9
        assert dbtool("sql", *server(shop), "-c", statement).returncode == 9
    assert sql(shop, "SELECT count(*) FROM users") == [(100,)]
    assert dbtool(*backup(shop, tmp_path), stdin="SQL DELETE FROM users -yes\n").returncode == 0
    assert sql(shop, "SELECT count(*) FROM users") == [(0,)]
    assert dbtool("sql", *server(shop), "-c", "DROP TABLE users", "--yes").returncode == 0


def test_sql_gives_data_on_stdout_alone(shop: Connection) -> None:
    done = dbtool("sql", *server(shop), "-c", "SELECT NULL AS n, 'x' AS t, 1 AS i", "--json")
    assert json.loads(done.stdout)["results"][0]["rows"] == [{"n": None, "t": "x", "i": 1}]
    done = dbtool("sql", *server(shop), "-c", "SELECT wrong", "--json")
    assert (done.returncode, done.stdout) == (1, "")
    done = dbtool("sql", *server(shop), "-c", "DO $$ BEGIN RAISE NOTICE 'heard'; END $$", "--yes")
    assert done.stdout == ""
    assert "heard" in done.stderr


def test_an_export_is_a_csv_file(shop: Connection, tmp_path: Path) -> None:
    folder = tmp_path / "ex ports"
    folder.mkdir()
    statement = "SELECT id, NULLIF(email, 'user2') AS email FROM users WHERE id < 3 ORDER BY id"
    done = dbtool(*backup(shop, tmp_path), stdin=f"SQL {statement} -extract -path '{folder}'\n")
    assert done.returncode == 0, done.stderr
    (file,) = folder.iterdir()
    assert file.read_bytes() == b"id,email\r\n1,user1\r\n2,\r\n"
    assert str(file) in done.stdout
    done = dbtool(
        "sql",
        *server(shop),
        "-c",
        statement,
        "--extract",
        "--output",
        str(folder),
        "--format",
        "jsonl",
        "--json",
    )
    assert json.loads(done.stdout)["rows"] == 2
    missing = dbtool(*backup(shop, tmp_path, "SQL", statement, "-extract", "-path", str(folder / "no")))
    assert missing.returncode == 8


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("sql", "--host", "127.0.0.1", "--port", "1", "--database", "d", "-c", "SELECT 1"), 4),
        (("list", "--path", "/nowhere"), 8),
        (("list", "--path", "/dev/null"), 7),
        (("show", "nothing", "--path", "/"), 8),
        (("restore", "/nowhere/file.sql.zst", "--into", "d"), 8),
    ],
)
def test_each_kind_of_failure_has_its_code(arguments: tuple[str, ...], code: int) -> None:
    done = dbtool(*arguments)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")


def test_a_damaged_backup_is_found_by_verify(shop: Connection, tmp_path: Path) -> None:
    document = json.loads(dbtool(*backup(shop, tmp_path, "full", "database", "-json")).stdout)
    archive = next(Path(document["backup_location"]).glob("*.sql.zst"))
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    done = dbtool("verify", "latest", "--path", str(tmp_path), "--json")
    assert done.returncode == 6
    assert json.loads(done.stdout)["outcome"] == "failed"
    assert dbtool("verify", "--all", "--path", str(tmp_path)).returncode == 6


def test_verify_all_means_what_was_completed(tmp_path: Path) -> None:
    assert dbtool("verify", "--all", "--path", str(tmp_path)).returncode == 8
    begin(Repository(LocalStore(tmp_path)), "broken").fail("the server went away")
    done = dbtool("verify", "--all", "--path", str(tmp_path))
    assert done.returncode == 8, done.stderr
    whole, lost = take(tmp_path, "whole"), take(tmp_path, "lost")
    assert dbtool("verify", "--all", "--path", str(tmp_path)).returncode == 0
    (tmp_path / lost / "metadata.json").unlink()
    done = dbtool("verify", "--all", "--path", str(tmp_path), "--json")
    assert done.returncode == 6
    outcomes = {one["backup"]: one["outcome"] for one in json.loads(done.stdout)["verifications"]}
    assert outcomes == {whole: "passed", lost: "failed"}


def test_a_harmless_statement_loads_no_more_than_it_needs(shop: Connection) -> None:
    program = [sys.executable, "-X", "importtime", "-m", "dbtool", "sql", *server(shop), "-c", "SELECT 1"]
    done = subprocess.run(program, capture_output=True, text=True, env=environment(), check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "psycopg_binary" in imported  # and not the implementation in Python
    assert not imported & {"sqlglot", "rich", "prompt_toolkit", "pygments", "xxhash", "zstandard"}
    assert not imported & {"dbtool.engines.base", "dbtool.catalog.names", "dbtool.process", "dbtool.rows"}


def test_what_a_killed_export_left_goes_with_the_next_one(shop: Connection, tmp_path: Path) -> None:
    def export(statement: str) -> list[str]:
        return ["sql", *server(shop), "-c", statement, "--extract", "--output", str(tmp_path)]

    strange = tmp_path / ".not_query_of_ours.part"
    strange.touch()
    program = [sys.executable, "-m", "dbtool", *export("SELECT pg_sleep(60)")]
    slow = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    deadline = time.monotonic() + 30
    while not (hidden := set(tmp_path.glob(".*.part")) - {strange}):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert dbtool(*export("SELECT 1")).returncode == 0
    assert all(path.exists() for path in hidden)  # its process lives
    slow.kill()
    slow.communicate()
    assert dbtool(*export("SELECT 2")).returncode == 0
    assert set(tmp_path.glob(".*")) == {strange}
    assert len(list(tmp_path.glob("*.csv"))) == 2


def test_tls_is_asked_for_on_the_command_line(tmp_path: Path) -> None:
    with tls_server(tmp_path) as (tls, authority):
        statement = ["-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()", "--json"]
        command = ["sql", *server(tls.connection()), *statement]
        for mode, encrypted in (("disable", False), ("require", True)):
            (result,) = json.loads(dbtool(*command, "--tls-mode", mode).stdout)["results"]
            assert result["rows"] == [{"ssl": encrypted}]
        proven = ["--tls-mode", "verify-full", "--tls-root-certificate"]
        assert dbtool(*command, *proven, str(authority)).returncode == 0
        (tmp_path / "stranger").mkdir()
        self_signed(tmp_path / "stranger")
        done = dbtool(*command, *proven, str(tmp_path / "stranger" / "server.crt"))
        assert (done.returncode, done.stdout) == (4, "")
        assert "--tls-root-certificate" in done.stderr
        done = dbtool(*command, "--tls-mode", "maybe")
        assert done.returncode == 2
        assert "verify-full" in done.stderr


def test_doctor_looks_at_the_server(shop: Connection, tmp_path: Path) -> None:
    done = dbtool("doctor", *server(shop), "--path", str(tmp_path), "--json")
    checks = {check["name"]: check["state"] for check in json.loads(done.stdout)["checks"]}
    assert checks["connection"] == "ok"


def test_a_reader_that_leaves_is_no_noise(shop: Connection) -> None:
    program = [
        sys.executable,
        "-m",
        "dbtool",
        "sql",
        *server(shop),
        "-c",
        "SELECT generate_series(1, 300000)",
    ]
    process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_130(number: int, shop: Connection, tmp_path: Path, sql: Sql) -> None:
    program = [sys.executable, "-m", "dbtool", *backup(shop, tmp_path, "SQL", "SELECT pg_sleep(60)")]
    process = subprocess.Popen(
        program,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # nohup would leave it ignored
    )
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'"
    deadline = time.monotonic() + 30
    while sql(shop, running) != [(1,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, number)
    _, narration = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"Traceback" not in narration
    deadline = time.monotonic() + 10
    while sql(shop, running) != [(0,)]:  # the server ends it, in its own time
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_password_on_the_command_line_is_noted_and_shown_nowhere(shop: Connection, tmp_path: Path) -> None:
    arguments = ["--password", "s3cret-value", "SQL", "SELECT 's3cret-value' FROM nowhere"]
    done = dbtool(*backup(shop, tmp_path), *arguments)
    assert done.stderr.count("others on this machine can see") == 1
    assert "s3cret-value" not in done.stdout + done.stderr
