"""What stands side by side: dbtool by its own command line, and the command lines of the native tools."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Program, shell
from dbtool.servers.postgres import PostgresServer, find_server_bin

JOBS = 2
_SOURCES = Path(__file__).resolve().parents[1] / "src"


def environment() -> dict[str, str]:
    """An environment without anybody's settings for databases or dbtool."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "DB_", "BACKUP_")) and (not name.startswith("DBTOOL_"))
    }
    kept["PYTHONPATH"] = os.pathsep.join([str(_SOURCES), *filter(None, [os.environ.get("PYTHONPATH")])])
    return kept


class Contestants:
    """Makes the programs for one server; what they write goes below one folder."""

    def __init__(self, server: PostgresServer, folder: Path, level: int) -> None:
        self._server = server
        self.folder = folder
        self.level = level
        self.client = server.bin_directory
        self._environment = environment()

    # ---- dbtool ------------------------------------------------------------------------------

    def dbtool(self, *arguments: str, name: str = "dbtool") -> Program:
        """dbtool with these arguments, through the command that its installation made if there is one."""
        script = Path(sys.executable).with_name("dbtool")
        start = [str(script)] if script.exists() else [sys.executable, "-m", "dbtool"]
        return Program(name, [*start, *arguments], self._environment)

    def backup(self, database: str, level: int | None = None) -> Program:
        """A full backup into the repository of that database, which is emptied for it."""
        shutil.rmtree(self.repository(database), ignore_errors=True)
        words = [
            "backup",
            "--db",
            "postgres",
            "--database",
            database,
            "--storage",
            "local",
            "--config",
            "manual",
        ]
        action = ["full", "database", "-path", str(self.repository(database)), "-method", "logical", "-json"]
        action += ["-level", str(level or self.level), "-jobs", str(JOBS)]
        return self.dbtool(*words, *self._connection(), *action)

    def restore(self, database: str, into: str, *, compare: bool = True) -> Program:
        """The latest backup of a database into a new one."""
        words = ["restore", "latest", "--path", str(self.repository(database)), "--into", into]
        words += ["--jobs", str(JOBS), "--json", *self._connection()]
        return self.dbtool(*words, *([] if compare else ["--no-compare"]))

    def repository(self, database: str) -> Path:
        """Where dbtool keeps the backups of one database here."""
        return self.folder / f"repository_{database}"

    def _connection(self) -> list[str]:
        return ["--host", "127.0.0.1", "--port", str(self._server.port), "--user", "postgres"]

    # ---- the native tools ----------------------------------------------------------------------

    def dump(self, database: str, level: int | None = None) -> Program:
        """pg_dump | zstd -T2."""
        target = shlex.quote(str(self.script_file(database)))
        pipe = (
            f"{self._native('pg_dump')} {database} | zstd -q -f -T{JOBS} -{level or self.level} -o {target}"
        )
        return Program(f"pg_dump | zstd -T{JOBS}", shell(pipe), self._environment)

    def directory_dump(self, database: str, client: Path) -> Program:
        """pg_dump -Fd -j2 of version 16 or newer, which knows zstd."""
        target = self.directory(database)
        shutil.rmtree(target, ignore_errors=True)
        options = f"-Fd -j{JOBS} --compress=zstd:{self.level} -f {shlex.quote(str(target))}"
        command = f"rm -rf {shlex.quote(str(target))}; {self._native('pg_dump', client)} {options} {database}"
        return Program(f"pg_dump 18 -Fd -j{JOBS}", shell(command), self._environment)

    def psql(self, database: str, into: str) -> Program:
        """zstd -dc | psql, as RESTORE.md says it, with what pg_dump wrote."""
        source = shlex.quote(str(self.script_file(database)))
        pipe = f"zstd -q -dc {source} | {self._native('psql')} -X -q -v ON_ERROR_STOP=1 -o /dev/null {into}"
        return Program("zstd -dc | psql", shell(pipe), self._environment)

    def directory_restore(self, database: str, into: str, client: Path) -> Program:
        """pg_restore -j2 of a directory dump.

        Version 18 sets a parameter that older servers do not know, goes on, and exits with 1: that is
        no failure; any other error is.
        """
        options = f"-j{JOBS} -d {into} {shlex.quote(str(self.directory(database)))}"
        errors = shlex.quote(str(self.folder / "pg_restore.errors"))
        command = (
            f"{self._native('pg_restore', client)} {options} 2> {errors} || "
            f"! grep ERROR {errors} | grep -v transaction_timeout >&2"
        )
        return Program(f"pg_restore -j{JOBS}", shell(command), self._environment)

    def floor(self, database: str, tables: Sequence[str]) -> Program:
        """The server alone: COPY to nowhere, two tables at once, the largest first."""
        copies = " ".join(shlex.quote(f"COPY {table} TO '/dev/null'") for table in tables)
        command = (
            f"printf '%s\\0' {copies} | xargs -0 -n1 -P{JOBS} {self._native('psql')} -X -q {database} -c"
        )
        return Program("COPY TO '/dev/null'", shell(command), self._environment)

    def script_file(self, database: str) -> Path:
        """What `dump` writes."""
        return self.folder / f"{database}.sql.zst"

    def directory(self, database: str) -> Path:
        """What `directory_dump` writes."""
        return self.folder / f"{database}.dir"

    def _native(self, program: str, client: Path | None = None) -> str:
        path = shlex.quote(str((client or self.client) / program))
        return f"{path} -h 127.0.0.1 -p {self._server.port} -U postgres"

    def backup_bytes(self, output: str) -> int:
        """The size of the archive that a backup's JSON tells of."""
        return int(json.loads(output)["statistics"]["total_size_bytes"])


def newest_client() -> Path | None:
    """The directory of PostgreSQL 18's client programs, if there is one."""
    from dbtool.errors import NotFoundError

    try:
        return find_server_bin(18)
    except NotFoundError:
        return None
