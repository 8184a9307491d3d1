"""Running dbtool as a user does, for the tests of the command line and of the console."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dbtool.model.connection import Connection

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 120


def environment(**variables: str) -> dict[str, str]:
    """This process's own, with dbtool's sources, and `variables`."""
    return {**os.environ, "PYTHONPATH": str(ROOT / "src"), **variables}


def server(connection: Connection) -> list[str]:
    """The options that name a server and a database."""
    host, port, user = str(connection.host), str(connection.port), str(connection.user)
    return ["--host", host, "--port", port, "--user", user, "--database", connection.database]


def backup(connection: Connection, repository: Path, *action: str) -> list[str]:
    """`dbtool backup` for a database and a repository."""
    start = ["backup", "--db", connection.engine, "--storage", "local", "--config", "manual"]
    return [*start, *server(connection), "--path", str(repository), *action]


def dbtool(
    *arguments: str, stdin: str = "", folder: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run it to its end. Whatever happens, no traceback reaches the user."""
    done = subprocess.run(
        [sys.executable, "-m", "dbtool", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment(**variables),
        timeout=TIMEOUT_SECONDS,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done
