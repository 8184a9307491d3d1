"""A throw-away MySQL or MariaDB: its own data directory, on a free port, gone when it is closed or this
process ends.

Not for servers that keep somebody's data: `root` has no password.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from dbtool.errors import DbtoolError, NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers import base

GREETING_TIMEOUT_SECONDS = 5.0
ENGINES_VARIABLE = "DBTOOL_TEST_ENGINES"
GREETING_START = 4  # a packet's header comes before what it says
PROTOCOL_VERSION = 10  # the first byte of what a server says that takes connections

FlavourName = Literal["mysql", "mariadb"]
LABELS: Mapping[FlavourName, str] = {"mysql": "MySQL", "mariadb": "MariaDB"}
Settings = Mapping[str, "str | None"]  # the server's options by name; None for one that has no value

# What a data directory is made with, and the server cannot change afterwards.
INITIAL_SETTINGS = ("innodb_data_file_path", "innodb_page_size", "lower_case_table_names")
# For making a data directory, which nobody misses if it fails.
CARELESS_SETTINGS: Settings = {
    "innodb_doublewrite": "0",
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_flush_method": "nosync",
}
SMALL_LOG: Mapping[FlavourName, Settings] = {
    "mysql": {"innodb_redo_log_capacity": "16M"},
    "mariadb": {"innodb_log_file_size": "16M"},
}


def find_mysql(name: str = "mariadb") -> Path:
    """The directory that holds a server's `bin` and `sbin`, such as /usr.

    `name` is "mariadb" or "mysql" for any version, or has the major and the minor one behind it, as in
    "mariadb1011" or "mysql97". Looked for on PATH and where packages put it, then below the directory
    that DBTOOL_TEST_ENGINES names. `NotFoundError` if there is none.
    """
    flavour: FlavourName = "mysql" if name.startswith("mysql") else "mariadb"
    digits = name.removeprefix(flavour)
    for prefix in _prefixes():
        if flavour_of(prefix) == flavour and digits in ("", _digits_of(prefix)):
            return prefix
    major = 2 if flavour == "mariadb" else 1  # digits
    wanted = f"{LABELS[flavour]} {digits[:major]}.{digits[major:]}" if digits else LABELS[flavour]
    raise NotFoundError(
        f"the server programs of {wanted} were not found",
        "install them (Debian: apt-get install mariadb-server-core mariadb-client)"
        if name == "mariadb"
        else f"tools/engines.sh fetches them; {ENGINES_VARIABLE} says where they are",
    )


def _prefixes() -> Iterator[Path]:
    on_path = [Path(found).resolve() for name in DAEMONS if (found := shutil.which(name))]
    candidates = [found.parent.parent for found in on_path]
    candidates += [Path("/usr"), Path("/usr/local"), Path("/usr/local/mysql")]
    if engines := os.environ.get(ENGINES_VARIABLE):
        candidates += sorted(Path(engines).glob("m[ay]*/usr"))
    return (prefix for prefix in candidates if _daemon_path(prefix) is not None)


DAEMONS = ("mariadbd", "mysqld")


def _daemon_path(prefix: Path) -> Path | None:
    places = (prefix / folder / name for name in DAEMONS for folder in ("sbin", "bin", "libexec"))
    return next((place for place in places if place.exists()), None)


def daemon_of(prefix: Path) -> Path:
    """The server program below a prefix; `NotFoundError` if there is none."""
    daemon = _daemon_path(prefix)
    if daemon is None:
        raise NotFoundError(f"there is no server program below {prefix}")
    return daemon


@lru_cache
def _described(prefix: Path) -> tuple[FlavourName, str]:
    daemon = daemon_of(prefix)
    done = subprocess.run([daemon, "--no-defaults", "--version"], capture_output=True, text=True)
    found = re.search(r"Ver (\d+\.\d+\.\d+)", done.stdout)
    if found is None:
        raise DbtoolError(f"{daemon} does not run", done.stderr.strip() or None)
    return "mariadb" if "MariaDB" in done.stdout else "mysql", found.group(1)


def flavour_of(prefix: Path) -> FlavourName:
    """Whether the server program below a prefix is MySQL's or MariaDB's."""
    return _described(prefix)[0]


def version_of(prefix: Path) -> str:
    """The version of the server program below a prefix, such as "10.11.18"."""
    return _described(prefix)[1]


def _digits_of(prefix: Path) -> str:
    return "".join(version_of(prefix).split(".")[:2])


class MysqlServer(base.ThrowAwayServer):
    """A running server; use it as a context manager. Made by `start`."""

    start_timeout_seconds = 90.0
    poll_seconds = 0.02
    keeps_log = False

    def __init__(self, prefix: Path, folder: Path, settings: Settings, time_zone: str) -> None:
        super().__init__(folder)
        self.prefix = prefix
        self.bin_directory = prefix / "bin"  # of the client programs that belong to it
        self.flavour_name = flavour_of(prefix)
        self.version = version_of(prefix)
        self.socket_file = folder / "mysqld.sock"
        self._label = LABELS[self.flavour_name]
        self._settings = dict(settings)
        self._environment["TZ"] = time_zone

    @classmethod
    def start(
        cls,
        program_prefix: Path | None = None,
        settings: Settings | None = None,
        *,
        tls: tuple[Path, Path] | None = None,
        time_zone: str = "UTC",
    ) -> MysqlServer:
        """Make a data directory and start a server on it; returns when it takes connections.

        `program_prefix` as from `find_mysql`. `settings` are the server's options. `tls` are the files of a
        certificate and of its key; without them MySQL, and MariaDB from 11.4, make their own.
        `time_zone` is the system's, as the server sees it.
        """
        prefix = program_prefix or find_mysql()
        if not base.may_enter(prefix):
            raise DbtoolError(
                f"the account that runs throw-away servers may not enter {prefix}",
                "put the programs where every account may read them",
            )
        given = {name.replace("-", "_"): value for name, value in (settings or {}).items()}
        folder = base.scratch().folder()
        server = cls(prefix, folder, given, time_zone)
        try:
            _make_folder(folder / "tmp")
            _copy_template(prefix, {name: given[name] for name in INITIAL_SETTINGS if name in given}, folder)
            if tls is not None:
                server._use_certificate(*tls)
            server.launch()
        except BaseException:
            server.close()
            raise
        return server

    def connection(
        self, database: str = "mysql", user: str = "root", *, through_socket: bool = False
    ) -> Connection:
        """How to reach a database of this server, over TCP or the Unix socket."""
        return Connection(
            engine="mysql",
            database=database,
            host=str(self.socket_file) if through_socket else "127.0.0.1",
            port=None if through_socket else self.port,
            user=user,
        )

    def configure(self, settings: Settings) -> None:
        """Add options, for the next launch."""
        self._settings.update({name.replace("-", "_"): value for name, value in settings.items()})

    def _command(self) -> list[str]:
        settings: dict[str, str | None] = {
            "datadir": str(self.data_directory),
            "port": str(self.port),
            "bind_address": "127.0.0.1",
            "socket": str(self.socket_file),
            "pid_file": str(self._folder / "server.pid"),
            "tmpdir": str(self._folder / "tmp"),
            "secure_file_priv": str(self._folder),
            **({"mysqlx": "OFF"} if self.flavour_name == "mysql" else {}),
            **self._settings,
        }
        return [str(daemon_of(self.prefix)), *_options({**_own_directories(self.prefix), **settings})]

    def _is_ready(self, pid: int) -> bool:  # noqa: ARG002 - the socket is the server's own
        return _greets(self.socket_file)

    def _is_port_taken(self, said: Sequence[str]) -> bool:
        return any("Bind on TCP/IP port" in line for line in said[-20:])

    def _worth_telling(self, said: Sequence[str]) -> Sequence[str]:
        return [line for line in said if "ERROR" in line] or said

    def _use_certificate(self, certificate: Path, key: Path) -> None:
        inside = {"ssl_cert": self._folder / "server.crt", "ssl_key": self._folder / "server.key"}
        for source, copy in zip((certificate, key), inside.values(), strict=True):
            with os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(source.read_bytes())
            base.give_away(copy)
        self.configure({name: str(copy) for name, copy in inside.items()})

    def stop(self) -> None:
        """End the server in good order. Its data stays."""
        self._end(signal.SIGTERM)


def _greets(socket_file: Path) -> bool:
    """Whether a server answers there, and not with "too many connections" or the like."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(GREETING_TIMEOUT_SECONDS)
        probe.connect(str(socket_file))
        greeting = probe.recv(GREETING_START + 1, socket.MSG_WAITALL)
        return greeting[GREETING_START:] == bytes([PROTOCOL_VERSION])
    return False


def _options(settings: Settings) -> list[str]:
    """Options as a command line has them; no option file is read."""
    return [
        "--no-defaults",
        *(
            f"--{name.replace('_', '-')}" + ("" if value is None else f"={value}")
            for name, value in settings.items()
        ),
    ]


@lru_cache
def _own_directories(prefix: Path) -> Settings:
    """Where unpacked programs have their parts, which look for them at the places of installed ones."""
    if prefix == Path("/usr"):
        return {}
    found = {"basedir": prefix}
    parts = {
        "plugin_dir": ("lib/**/plugin", ""),
        "lc_messages_dir": ("share/**/english/errmsg.sys", "../.."),
        "character_sets_dir": ("share/**/charsets/Index.xml", ".."),
    }
    for name, (pattern, above) in parts.items():
        place = next(prefix.glob(pattern), None)
        if place is not None:
            found[name] = (place / above).resolve()
    return {name: str(place) for name, place in found.items()}


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    base.give_away(folder)


_templates: dict[tuple[Path, tuple[tuple[str, str | None], ...]], Path] = {}
_templates_lock = threading.Lock()


def _copy_template(prefix: Path, initial: Settings, folder: Path) -> None:
    """A copy of this process's data directory of that kind, which is many times faster than a new one."""
    kind = prefix, tuple(sorted(initial.items()))
    with _templates_lock:
        if kind not in _templates:
            template = base.scratch().folder()
            _initialise(prefix, initial, template)
            _templates[kind] = template / "data"
    base.run_tool(["cp", "-a", _templates[kind], folder / "data"], folder)
    # Where the server's identity stands; without it, each copy gives itself one.
    base.run_tool(["rm", "-f", folder / "data" / "auto.cnf"], folder)


def _initialise(prefix: Path, initial: Settings, folder: Path) -> None:
    """Make a data directory in `folder`/data, in which root has no password."""
    flavour = flavour_of(prefix)
    options = {**_own_directories(prefix), **CARELESS_SETTINGS, **SMALL_LOG[flavour], **initial}
    options |= {"datadir": str(folder / "data"), "tmpdir": str(folder)}
    if flavour == "mysql":
        base.run_tool([daemon_of(prefix), *_options({**options, "initialize_insecure": None})], folder)
        return
    names = ("mariadb-install-db", "mysql_install_db")
    places = [prefix / place / name for name in names for place in ("bin", "scripts", "sbin")]
    tool = next((place for place in places if place.exists()), None)
    if tool is None:
        raise NotFoundError(f"there is no {names[0]} below {prefix}")
    # With "force" it looks up no host names.
    words = ("--force", "--skip-test-db", "--auth-root-authentication-method=normal")
    base.run_tool([tool, *_options(options), *words], folder)
