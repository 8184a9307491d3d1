"""dbtool, and the command lines of PostgreSQL's own tools."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks import contestants
from benchmarks.contestants import JOBS
from benchmarks.measure import Program, shell
from dbtool.errors import NotFoundError
from dbtool.servers.postgres import PostgresServer, find_server_bin


class Contestants(contestants.Contestants):
    """Makes the programs for one server; what they write goes below one folder."""

    engine = "postgres"

    def __init__(self, server: PostgresServer, folder: Path, level: int) -> None:
        self._server = server
        self._client = server.bin_directory
        super().__init__(
            folder, level, ("--host", "127.0.0.1", "--port", str(server.port), "--user", "postgres")
        )

    def dump(self, database: str, level: int | None = None) -> Program:
        """pg_dump | zstd -T2."""
        target = shlex.quote(str(self.script_file(database)))
        pipe = (
            f"{self._native('pg_dump')} {database} | zstd -q -f -T{JOBS} -{level or self.level} -o {target}"
        )
        return Program(f"pg_dump | zstd -T{JOBS}", shell(pipe), self.environment)

    def directory_dump(self, database: str, client: Path) -> Program:
        """pg_dump -Fd -j2 of version 16 or newer, which knows zstd."""
        target = self.directory(database)
        shutil.rmtree(target, ignore_errors=True)
        options = f"-Fd -j{JOBS} --compress=zstd:{self.level} -f {shlex.quote(str(target))}"
        command = f"rm -rf {shlex.quote(str(target))}; {self._native('pg_dump', client)} {options} {database}"
        return Program(f"pg_dump 18 -Fd -j{JOBS}", shell(command), self.environment)

    def psql(self, database: str, into: str) -> Program:
        """zstd -dc | psql, as RESTORE.md says it, with what pg_dump wrote."""
        source = shlex.quote(str(self.script_file(database)))
        pipe = f"zstd -q -dc {source} | {self._native('psql')} -X -q -v ON_ERROR_STOP=1 -o /dev/null {into}"
        return Program("zstd -dc | psql", shell(pipe), self.environment)

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
        return Program(f"pg_restore -j{JOBS}", shell(command), self.environment)

    def floor(self, database: str, tables: Sequence[str]) -> Program:
        """The server alone: COPY to nowhere, two tables at once, the largest first."""
        copies = " ".join(shlex.quote(f"COPY {table} TO '/dev/null'") for table in tables)
        command = (
            f"printf '%s\\0' {copies} | xargs -0 -n1 -P{JOBS} {self._native('psql')} -X -q {database} -c"
        )
        return Program("COPY TO '/dev/null'", shell(command), self.environment)

    def directory(self, database: str) -> Path:
        """What `directory_dump` writes."""
        return self.folder / f"{database}.dir"

    def _native(self, program: str, client: Path | None = None) -> str:
        path = shlex.quote(str((client or self._client) / program))
        return f"{path} -h 127.0.0.1 -p {self._server.port} -U postgres"


def newest_client() -> Path | None:
    """The directory of PostgreSQL 18's client programs, if there is one."""
    try:
        return find_server_bin(18)
    except NotFoundError:
        return None
