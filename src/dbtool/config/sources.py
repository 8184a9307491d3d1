"""Where settings are written down: `.env`, `dbtool.toml`, the environment.

Each source gives plain values with their origin; which of them wins is said in `settings.py`.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dbtool import platforms
from dbtool.config import known
from dbtool.config.known import Kind
from dbtool.errors import UsageError

DOTENV_NAME = ".env"
TOML_NAME = "dbtool.toml"
_PROFILES = "profiles"


@dataclass(frozen=True)
class Value:
    """One value and where it came from, in words. A command is a tuple of its arguments."""

    value: str | tuple[str, ...]
    origin: str


Values = dict[str, Value]


def home_folder() -> Path:
    """The user's home; in a container whose user has none, a folder that is not there."""
    try:
        return Path.home()
    except RuntimeError:
        return Path("/nonexistent")


def user_folder() -> Path:
    """Where a user's own dbtool.toml lies."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or home_folder() / ".config") / "dbtool"


def from_dotenv(folder: Path) -> tuple[Values, list[str]]:
    """The `.env` of a folder, if it has one, and notes about it. Raises UsageError.

    Values are taken as they are written: nothing in a password is expanded.
    """
    file = folder / DOTENV_NAME
    if not file.is_file():
        return {}, []
    from dotenv.parser import parse_stream

    values: Values = {}
    notes: list[str] = []
    try:
        with open(file, encoding="utf-8") as stream:
            bindings = list(parse_stream(stream))
    except (OSError, UnicodeError) as error:
        raise UsageError(f"cannot read {file}: {_why(error)}") from error
    for binding in bindings:
        if binding.error:
            raise UsageError(
                f"{file}, line {binding.original.line}: not NAME=VALUE",
                "A value with spaces or # needs quotes: 'single ones' take everything as it is.",
            )
        if not binding.key or not binding.value:
            continue
        setting = known.BY_VARIABLE.get(binding.key)
        if setting:
            values[setting.name] = Value(_plain(setting, binding.value, folder), f"{file}: {binding.key}")
        elif binding.key.startswith(("DB_", "BACKUP_")):
            notes.append(f"{file}: {binding.key} is not a setting{_nearest(binding.key, known.BY_VARIABLE)}")
    if "password" in values and _others_can_read(file):
        notes.append(f"{file} holds a password that others on this machine can read: chmod 600 {file}")
    _refuse_foreign_programs(file, values)
    return values, notes


def from_environment(environment: Mapping[str, str], folder: Path) -> Values:
    """The same names as in `.env`, in the environment. Relative files start at `folder`."""
    return {
        setting.name: Value(_plain(setting, environment[variable], folder), f"environment: {variable}")
        for variable, setting in known.BY_VARIABLE.items()
        if environment.get(variable)
    }


def from_toml(folder: Path, profile: str | None) -> Values:
    """dbtool.toml of a folder, else the user's own: what it says at its top, then the profile's.

    Raises UsageError for an unknown key or profile, and for a file that others can read which
    holds a password.
    """
    files = [file for file in (folder / TOML_NAME, user_folder() / TOML_NAME) if file.is_file()]
    names: set[str] = set()
    for file in files:
        document = _document(file)
        profiles = document.pop(_PROFILES)
        if profile is None or profile in profiles:
            values = _table(file, document, file.parent)
            if profile is not None:
                values = overlay(values, _table(file, profiles[profile], file.parent, profile))
            _refuse_foreign_programs(file, values)
            return values
        names.update(profiles)
    if profile is None:
        return {}
    where = " and ".join(map(str, files)) or f"there is no {TOML_NAME} here or in {user_folder()}"
    raise UsageError(f"there is no profile {profile!r}{_nearest(profile, names)}", f"Looked in: {where}")


def overlay(lower: Values, upper: Values) -> Values:
    """The upper values over the lower ones; one way of giving the password replaces the others."""
    if any(name in upper for name in known.PASSWORD_SOURCES):
        lower = {name: value for name, value in lower.items() if name not in known.PASSWORD_SOURCES}
    return {**lower, **upper}


def _document(file: Path) -> dict[str, Any]:
    """A parsed dbtool.toml whose every key is known; `profiles` is always there."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        document: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {file}: {_why(error)}") from error
    profiles = document.setdefault(_PROFILES, {})
    if not isinstance(profiles, dict) or not all(isinstance(table, dict) for table in profiles.values()):
        raise UsageError(f"{file}: {_PROFILES} must be tables, such as [{_PROFILES}.production]")
    tables = {"": {key: value for key, value in document.items() if key != _PROFILES}, **profiles}
    for name, table in tables.items():
        for key in table:
            if key not in known.KNOWN:
                place = f"profile {name!r}: " if name else ""
                raise UsageError(f"{file}: {place}{key!r} is not a setting{_nearest(key, known.KNOWN)}")
    if any(table.get("password") for table in tables.values()) and _others_can_read(file):
        raise UsageError(
            f"{file} holds a password and can be read by others",
            f"chmod 600 {file}; or use password_file or password_command instead.",
        )
    return document


def _table(file: Path, table: Mapping[str, Any], folder: Path, profile: str | None = None) -> Values:
    origin = f"{file} [{_PROFILES}.{profile}]" if profile else str(file)
    values: Values = {}
    for name, given in table.items():
        setting = known.KNOWN[name]
        if (
            setting.kind is Kind.COMMAND
            and isinstance(given, list)
            and all(isinstance(a, str) for a in given)
        ):
            values[name] = Value(tuple(given), origin)
        elif isinstance(given, str) or _is_number(setting.kind, given):
            if given != "":
                values[name] = Value(_plain(setting, str(given), folder), origin)
        else:
            raise UsageError(f"{origin}: {name} must be a {setting.kind.value}")
    return values


def _is_number(kind: Kind, given: Any) -> bool:
    """Whether it is a number, of the setting's kind."""
    if isinstance(given, bool):
        return False
    if kind is Kind.RATIO:
        return isinstance(given, (int, float))
    return kind is Kind.INTEGER and isinstance(given, int)


def _plain(setting: known.Known, text: str, folder: Path) -> str | tuple[str, ...]:
    """A value as the rest of dbtool takes it: commands in arguments, files with their folder."""
    if setting.kind is Kind.COMMAND:
        return command_arguments(text)
    if setting.kind is Kind.FILE or (setting.kind is Kind.REPOSITORY and "://" not in text):
        return str(folder / expanded(text))
    return text


def expanded(path: str) -> Path:
    """A path with a leading `~/` made the home folder. `~somebody` is a name like any other."""
    return home_folder() / path[2:] if path == "~" or path.startswith("~/") else Path(path)


def command_arguments(text: str) -> tuple[str, ...]:
    """A command's arguments, split as a shell would; no shell is ever started. Raises UsageError."""
    import shlex

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"password_command is not a command line: {error}") from error


def _refuse_foreign_programs(file: Path, values: Values) -> None:
    """A file that somebody else can write must not decide which programs we start."""
    if not any(name in values for name in known.RUNS_PROGRAMS):
        return
    facts = file.stat()
    if not platforms.is_own_or_roots(facts) or platforms.others_can_change(facts):
        raise UsageError(
            f"{file} names programs to start, and others can change it",
            f"It must be your own or root's, and: chmod go-w {file}",
        )


def _others_can_read(file: Path) -> bool:
    return platforms.others_can_read(file.stat())


def _nearest(name: str, names: Mapping[str, Any] | set[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
