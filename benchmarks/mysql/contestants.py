"""dbtool, and the command lines of mariadb-dump, mariadb, mydumper and myloader."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from benchmarks import contestants
from benchmarks.contestants import JOBS
from benchmarks.measure import Program, shell
from benchmarks.mysql.server import Server
from benchmarks.mysql.source import open_source

_ROOT = Path(__file__).resolve().parents[2]
_ROWS_OF_A_CHUNK = 250_000


@dataclass(frozen=True)
class Mydumper:
    """mydumper and myloader as they are installed here."""

    dump: str
    load: str | None
    version: str
    has_zstd: bool

    @property
    def name(self) -> str:
        """With its compression, which is gzip where it knows no other."""
        return f"mydumper {self.version} -t{JOBS}, {'zstd' if self.has_zstd else 'gzip'}"

    @property
    def loader_name(self) -> str:
        """myloader, of the same version."""
        return f"myloader {self.version} -t{JOBS}"


@lru_cache
def find_mydumper() -> Mydumper | None:
    """What is on PATH, if it is there and runs."""
    path = shutil.which("mydumper")
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True)
    words = said.stdout.replace(",", " ").split()
    if said.returncode != 0 or len(words) < 2:
        return None
    helped = subprocess.run([path, "--help"], capture_output=True, text=True).stdout
    return Mydumper(path, shutil.which("myloader"), words[1].lstrip("v"), "--exec-per-thread" in helped)


class Contestants(contestants.Contestants):
    """Makes the programs for one server; what they write goes below one folder."""

    engine = "mysql"

    def __init__(self, server: Server, folder: Path, level: int) -> None:
        self._server = server
        port = str(server.process.port)
        self._place = ("--host", "127.0.0.1", "--port", port, "--user", "root")
        super().__init__(folder, level, (*self._place, "--tls-mode", "disable"))

    def backup_with_tls(self, database: str) -> Program:
        """dbtool as in `backup`, on encrypted connections."""
        return self.backup(database, connection=(*self._place, "--tls-mode", "require"))

    def dump(self, database: str, *, tls: bool = False) -> Program:
        """mariadb-dump | zstd -T2."""
        target = shlex.quote(str(self.script_file(database)))
        client = self._native("mariadb-dump", tls=tls)
        options = "--single-transaction --quick --routines --triggers --events"
        pipe = f"{client} {options} {database} | zstd -q -f -T{JOBS} -{self.level} -o {target}"
        return Program(f"mariadb-dump | zstd -T{JOBS}", shell(pipe), self.environment)

    def client(self, database: str, into: str) -> Program:
        """zstd -dc | mariadb, with what mariadb-dump wrote."""
        source = shlex.quote(str(self.script_file(database)))
        pipe = f"zstd -q -dc {source} | {self._native('mariadb')} {into}"
        return Program("zstd -dc | mariadb", shell(pipe), self.environment)

    def mydumper(self, database: str, program: Mydumper) -> Program:
        """mydumper with two threads, tables in chunks; at our level of zstd where it knows zstd."""
        target = self.directory(database)
        shutil.rmtree(target, ignore_errors=True)
        words = [program.dump, *self._mydumper_place(), "-B", database, "-o", str(target)]
        words += ["-r", str(_ROWS_OF_A_CHUNK), "--routines", "--triggers", "--events", "-v", "1"]
        if program.has_zstd:
            zstd = shutil.which("zstd") or "/usr/bin/zstd"
            words += ["--exec-per-thread", f"{zstd} -q -c -{self.level}"]
            words += ["--exec-per-thread-extension", ".zst"]
        else:
            words += ["--compress"]
        return Program(program.name, words, self.environment)

    def myloader(self, database: str, into: str, program: Mydumper) -> Program:
        """myloader with two threads, of what mydumper wrote; with the binary log, as the others."""
        words = [program.load or "myloader", *self._mydumper_place(), "-d", str(self.directory(database))]
        words += ["-B", into, "--enable-binlog", "-v", "1"]
        return Program(program.loader_name, words, self.environment)

    def floor(self, database: str) -> Program:
        """All rows read from the bare socket on two connections, and thrown away; the queries are dbtool's."""
        queries = self.folder / f"{database}.queries"
        with open_source(self._server.connection(database)) as source:
            queries.write_bytes(b"".join(chunk.statement + b"\n" for chunk in source.chunks()))
        command = [sys.executable, "-m", "benchmarks.mysql.floor", str(self._server.process.port), database]
        path = os.pathsep.join([str(_ROOT), self.environment["PYTHONPATH"]])
        variables = {**self.environment, "PYTHONPATH": path}
        return Program("floor", [*command, str(JOBS), str(queries)], variables)

    def directory(self, database: str) -> Path:
        """What `mydumper` writes."""
        return self.folder / f"{database}.dir"

    def _mydumper_place(self) -> list[str]:
        return ["-h", "127.0.0.1", "-P", str(self._server.process.port), "-u", "root", "-t", str(JOBS)]

    def _native(self, program: str, *, tls: bool = False) -> str:
        path = shlex.quote(str(self._server.process.bin_directory / program))
        place = f"--protocol=TCP -h 127.0.0.1 -P {self._server.process.port} -u root"
        return f"{path} --no-defaults {place} {'--ssl' if tls else '--skip-ssl'}"
