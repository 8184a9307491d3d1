"""Every setting there is: its names in the files and in the environment, and what it may hold."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from dbtool.errors import UsageError

TLS_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
ENGINES = ("postgres", "mysql")
_HIGHEST_PORT = 65535


class Kind(Enum):
    """What a setting's value is."""

    TEXT = "text"
    INTEGER = "whole number"
    FILE = "file"  # a relative one starts at the folder of the settings file
    REPOSITORY = "repository"  # a folder, or a URL
    SECRET = "secret"  # noqa: S105 - the word, not one
    COMMAND = "command"
    DURATION = "duration"  # such as 12h or 7d
    RATIO = "ratio"  # a number above 0


@dataclass(frozen=True)
class Known:
    """One setting. `name` is its key in dbtool.toml, `variable` in `.env` and the environment."""

    name: str
    variable: str
    kind: Kind = Kind.TEXT
    default: str | None = None


_ALL = (
    Known("engine", "DB_ENGINE"),
    Known("host", "DB_HOST"),
    Known("port", "DB_PORT", Kind.INTEGER),
    Known("user", "DB_USER"),
    Known("password", "DB_PASSWORD", Kind.SECRET),
    Known("password_file", "DB_PASSWORD_FILE", Kind.FILE),
    Known("password_command", "DB_PASSWORD_COMMAND", Kind.COMMAND),
    Known("passfile", "DB_PASSFILE", Kind.FILE),
    Known("service", "DB_SERVICE"),
    Known("database", "DB_NAME"),
    Known("tls_mode", "DB_SSLMODE"),
    Known("tls_root_certificate", "DB_SSLROOTCERT", Kind.FILE),
    Known("tls_certificate", "DB_SSLCERT", Kind.FILE),
    Known("tls_key", "DB_SSLKEY", Kind.FILE),
    Known("connect_timeout", "DB_CONNECT_TIMEOUT", Kind.INTEGER, "15"),
    Known("path", "BACKUP_PATH", Kind.REPOSITORY),
    Known("client_directory", "PG_BIN_DIRECTORY", Kind.FILE),
    Known("max_differentials", "BACKUP_MAX_DIFFERENTIALS", Kind.INTEGER, "30"),
    Known("max_chain_age", "BACKUP_MAX_CHAIN_AGE", Kind.DURATION, "7d"),
    Known("max_differential_ratio", "BACKUP_MAX_DIFFERENTIAL_RATIO", Kind.RATIO, "0.5"),
)

KNOWN: Mapping[str, Known] = MappingProxyType({known.name: known for known in _ALL})
BY_VARIABLE: Mapping[str, Known] = MappingProxyType({known.variable: known for known in _ALL})

# Three ways to say the same thing: a later source that uses one of them replaces all of an
# earlier one's.
PASSWORD_SOURCES = ("password", "password_file", "password_command")

# Whoever can write these decides which programs run.
RUNS_PROGRAMS = ("password_command", "client_directory")


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhdw])", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def duration_seconds(value: str) -> float | None:
    """A duration such as `90s`, `30m`, `12h`, `7d` or `2w` in seconds; None if it is none."""
    match = _DURATION.fullmatch(value.strip().lower())
    return float(match.group(1)) * _SECONDS[match.group(2)] if match else None


def check(name: str, value: str, origin: str) -> None:
    """Raises UsageError where a value cannot be one of that setting's."""
    kind = KNOWN[name].kind
    if kind is Kind.DURATION and not duration_seconds(value):
        raise UsageError(
            f"{name} must be a time such as 12h or 7d, not {value!r} ({origin})",
            "The units are s, m, h, d and w: seconds, minutes, hours, days and weeks.",
        )
    if kind is Kind.RATIO and not _is_ratio(value):
        raise UsageError(f"{name} must be a number above 0, such as 0.5, not {value!r} ({origin})")
    if KNOWN[name].kind is Kind.INTEGER:
        highest = _HIGHEST_PORT if name == "port" else None
        if not (value.isascii() and value.isdigit() and 0 < int(value) <= (highest or int(value))):
            limits = f"from 1 to {highest}" if highest else "from 1"
            raise UsageError(f"{name} must be a whole number {limits}, not {value!r} ({origin})")
    words = {"tls_mode": TLS_MODES, "engine": ENGINES}.get(name)
    if words and value not in words:
        raise UsageError(f"{name} {value!r} is not known ({origin})", "One of: " + ", ".join(words))


def _is_ratio(value: str) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    return math.isfinite(number) and number > 0
