"""The settings that hold: of all sources the later wins, and each value knows where it came from.

built-in < `.env` < dbtool.toml (with its profile) < environment < command line
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dbtool.config import known, secrets, sources
from dbtool.config.known import Kind
from dbtool.config.sources import Value, Values
from dbtool.errors import UsageError
from dbtool.model.connection import Connection

_COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Settings:
    """What holds. `notes` are for a person to read, once."""

    values: Values = field(repr=False)
    notes: tuple[str, ...] = ()

    def text(self, name: str) -> str | None:
        """A setting's value, None where it is not set. Not for the password: see `connection`."""
        found = self.values.get(name)
        return None if found is None or not isinstance(found.value, str) else found.value

    @property
    def database(self) -> str | None:
        """The database to work on."""
        return self.text("database")

    @property
    def path(self) -> str | None:
        """The repository; `repository.choose` knows what holds where this is None."""
        return self.text("path")

    @property
    def client_directories(self) -> tuple[str, ...]:
        """Folders in which client programs are looked for first."""
        folder = self.text("client_directory")
        return (folder,) if folder else ()

    def connection(self, engine: str, database: str | None = None) -> Connection:
        """How to reach a database; the setting's if none is named. Reads the password from where
        it is kept. Raises UsageError."""
        name = database or self.database
        if not name:
            raise UsageError("no database is named", "Name it: --database NAME, or DB_NAME in .env.")
        port, timeout = self.text("port"), self.text("connect_timeout")
        return Connection(
            engine=engine,
            database=name,
            host=self.text("host"),
            port=int(port) if port else None,
            user=self.text("user"),
            password=secrets.password(self.values),
            service=self.text("service"),
            passfile=self.text("passfile"),
            tls_mode=self.text("tls_mode"),
            tls_root_certificate=self.text("tls_root_certificate"),
            tls_certificate=self.text("tls_certificate"),
            tls_key=self.text("tls_key"),
            connect_timeout_seconds=int(timeout) if timeout else Connection.connect_timeout_seconds,
        )

    def show(self) -> list[tuple[str, str, str]]:
        """(name, value, origin) of all that is set, without secrets: they are "(set)"."""
        return [
            (name, _shown(name, self.values[name]), self.values[name].origin)
            for name in known.KNOWN
            if name in self.values
        ]


def load(
    command_line: Mapping[str, str | None], profile: str | None = None, use_files: bool = True
) -> Settings:
    """The settings of this run. Raises UsageError.

    `command_line` has the names of dbtool.toml; what was not given is None. Without `use_files`
    nothing but the command line counts, as with `--config manual`; where client programs lie is no
    connection option, and the environment may say it even so.
    """
    if profile is not None and not use_files:
        raise UsageError("a profile is read from a file, and the files were ruled out", "Use --config file.")
    values: Values = {
        setting.name: Value(setting.default, "built-in")
        for setting in known.KNOWN.values()
        if setting.default is not None
    }
    notes: list[str] = []
    layers: list[Values] = []
    if use_files:
        folder = _current_folder()
        dotenv, notes = sources.from_dotenv(folder)
        layers = [dotenv, sources.from_toml(folder, profile), sources.from_environment(os.environ, folder)]
    else:
        variable = known.KNOWN["client_directory"].variable
        layers = [sources.from_environment({variable: os.environ.get(variable, "")}, Path())]
    given = _from_command_line(command_line)
    if "password" in given:
        notes.append("others on this machine can see a password on the command line while dbtool runs")
    for layer in (*layers, given):
        _refuse_two_passwords(layer)
        values = sources.overlay(values, layer)
    for name, value in values.items():
        if isinstance(value.value, str):
            known.check(name, value.value, value.origin)
    return Settings(values, tuple(notes))


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder is gone", "Change to another one.") from None


def _from_command_line(command_line: Mapping[str, str | None]) -> Values:
    values: Values = {}
    for name, given in command_line.items():
        if given is None or given == "":
            continue
        kind = known.KNOWN[name].kind
        plain = sources.command_arguments(given) if kind is Kind.COMMAND else given
        values[name] = Value(plain, _COMMAND_LINE)
    return values


def _refuse_two_passwords(values: Values) -> None:
    given = [name for name in known.PASSWORD_SOURCES if name in values]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} are both set ({values[given[0]].origin})", "Keep one.")


def _shown(name: str, value: Value) -> str:
    kind = known.KNOWN[name].kind
    if kind is Kind.SECRET:
        return "(set)"
    if isinstance(value.value, tuple):  # its arguments might be secrets
        return value.value[0] + (" …" if len(value.value) > 1 else "")
    return value.value
