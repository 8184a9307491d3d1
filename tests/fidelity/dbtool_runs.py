"""Running dbtool as a user does: as a program of its own, judged by exit code, stdout and stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dbtool.model.connection import Connection

TIMEOUT_SECONDS = 300
SOURCES = Path(__file__).resolve().parents[2] / "src"


class Dbtool:
    """dbtool with one repository and the client programs of one folder."""

    def __init__(self, repository: Path, programs: Path, variables: Mapping[str, str] | None = None) -> None:
        self.repository = repository
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(SOURCES),
            "PG_BIN_DIRECTORY": str(programs),
            **(variables or {}),
        }

    def start(self, arguments: Sequence[str], **variables: str) -> subprocess.Popen[bytes]:
        """Start it, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "dbtool", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.repository.parent,
            env={**self.environment, **variables},
            start_new_session=True,
        )

    def run(
        self, arguments: Sequence[str], expect: int | None = 0, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end; its exit code must be `expect`, unless that is None."""
        process = self.start(arguments, **variables)
        try:
            out, err = process.communicate(timeout=TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        done = subprocess.CompletedProcess(arguments, process.returncode, out, err)
        if expect is not None and done.returncode != expect:
            raise AssertionError(
                f"dbtool {' '.join(arguments)}\nended with {done.returncode}, not {expect}\n"
                f"{err.decode(errors='replace')}\n{out.decode(errors='replace')[:2000]}"
            )
        assert b"Traceback" not in err, err.decode(errors="replace")
        return done

    def backup_arguments(self, connection: Connection, *action: str) -> list[str]:
        """What takes a backup; `action` is the console's command, such as `full database`."""
        return [
            *("backup", "--db", "postgres", "--database", connection.database),
            *("--storage", "local", "--config", "manual"),
            *_server(connection),
            *("--path", str(self.repository)),
            *action,
            "-json",
        ]

    def backup(self, connection: Connection, *action: str) -> dict[str, Any]:
        """Take a backup; its metadata."""
        done = self.run(self.backup_arguments(connection, *(action or ("full", "database"))))
        metadata: dict[str, Any] = json.loads(done.stdout)
        assert metadata["status"] == "completed", metadata
        return metadata

    def restore_arguments(self, backup: str, into: Connection, *options: str) -> list[str]:
        """What restores a backup into a database."""
        return [
            *("restore", backup, "--path", str(self.repository), "--into", into.database),
            *_server(into),
            *options,
            "--json",
        ]

    def restore(self, backup: str, into: Connection, *options: str) -> dict[str, Any]:
        """Restore a backup; what dbtool says of it."""
        done = self.run(self.restore_arguments(backup, into, *options))
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def listed(self) -> list[dict[str, Any]]:
        """The repository's backups, of every state."""
        document = json.loads(self.run(["list", "--path", str(self.repository), "--json"]).stdout)
        backups: list[dict[str, Any]] = document["backups"] if isinstance(document, dict) else document
        return backups


def archive_of(metadata: Mapping[str, Any]) -> Path:
    """The main file of a backup."""
    folder = Path(metadata["backup_location"])
    return next(folder.glob("*.sql.zst"))


def _server(connection: Connection) -> list[str]:
    return [
        *("--host", str(connection.host), "--port", str(connection.port), "--user", str(connection.user)),
    ]
