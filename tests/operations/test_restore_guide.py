"""RESTORE.md: its commands, as they stand there, bring a database back without dbtool."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.conftest import MakeDatabase, Sql, connect
from tests.logical import backup, contents

from dbtool.servers.postgres import PostgresServer

NAMES = [
    "plain",
    "-rf",
    "a b",
    "it's",
    'Weird "name" $HOME `id` \\n 100%',
    "x=y",
    "postgresql://nowhere/x",
    "new\nline's \\ \u202e\x1b end\n",
    "\\ größe ☃",
]


def commands(guide: str) -> dict[str, str]:
    """The commands by what they do; each stands on a line of its own."""
    found = re.findall(r"^ {4,}((?:psql|zstd) .*)$", guide, re.MULTILINE)
    signs = {"globals": "globals.sql", "create": "CREATE DATABASE", "run": "| psql", "analyze": "ANALYZE"}
    return {name: next(line for line in found if sign in line) for name, sign in signs.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_database_comes_back_by_the_guide_whatever_its_name(
    name: str, postgres_server: PostgresServer, make_database: MakeDatabase, sql: Sql, tmp_path: Path
) -> None:
    where = make_database(postgres_server, name)
    sql(where, "CREATE TABLE t AS SELECT n, 'it''s ' || n AS a FROM generate_series(1, 20) AS n")
    before = contents(where)
    folder = tmp_path / backup(where, tmp_path).id
    with connect(where.with_database("postgres")) as session:
        session.execute(f"DROP DATABASE {quoted(name)}".encode())
    guide = (folder / "RESTORE.md").read_text()
    assert "superuser's too" in guide
    assert "dbtool restore --globals" in guide
    said = commands(guide)
    for step in ("create", "run", "analyze"):
        in_shell(said[step], folder, postgres_server)
    assert contents(where) == before


def test_globals_run_by_psql_change_roles_that_are_there_as_the_guide_warns(
    postgres_server: PostgresServer, make_database: MakeDatabase, sql: Sql, tmp_path: Path
) -> None:
    where = make_database(postgres_server)
    role = f"role_of_{where.database}"
    sql(where, f"CREATE ROLE {role} CONNECTION LIMIT 3")
    try:
        folder = tmp_path / backup(where, tmp_path).id
        sql(where, f"ALTER ROLE {role} CONNECTION LIMIT 7")
        in_shell(commands((folder / "RESTORE.md").read_text())["globals"], folder, postgres_server)
        limit = f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{role}'"
        assert sql(where, limit) == [(3,)]
    finally:
        sql(where, f"DROP ROLE {role}")


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def in_shell(command: str, folder: Path, server: PostgresServer) -> None:
    """Run it as a person would who is in the backup's folder."""
    variables = {
        "PATH": f"{server.bin_directory}{os.pathsep}{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGCLIENTENCODING": "UTF8",
    }
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, (command, done.stderr)
