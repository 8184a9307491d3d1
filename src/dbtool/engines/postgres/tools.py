"""Finding PostgreSQL's client programs: one that the server accepts, and how safe it is.

Which program is started with which arguments is said where it is used.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from dbtool import process
from dbtool.errors import DbtoolError, NotFoundError

# Older minors let a hostile server overwrite the client's memory (CVE-2026-6477).
SECURITY_FLOORS = {18: 180004, 17: 170010, 16: 160014, 15: 150018, 14: 140023}
_OLDEST_MAINTAINED_MAJOR = min(SECURITY_FLOORS)

_FOLDERS = (
    "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
    "/usr/pgsql-*/bin",  # PGDG on Red Hat and its kin
    "/opt/homebrew/opt/postgresql*/bin",
    "/opt/homebrew/opt/libpq/bin",
    "/usr/local/opt/postgresql*/bin",
    "/usr/local/opt/libpq/bin",
    "/usr/local/pgsql/bin",
)
_VERSION_SECONDS = 10.0


@dataclass(frozen=True)
class Tool:
    """One client program. `version_number` counts as the server does: 15.18 is 150018."""

    program: str
    path: Path
    version: str
    version_number: int
    warnings: tuple[str, ...] = ()


def find_tool(program: str, server_version_number: int, extra_directories: Iterable[str | Path] = ()) -> Tool:
    """The program that suits a server best: the same major version and the newest minor, else the
    nearest newer major. What lies in `extra_directories` is preferred, if the server accepts it.

    For pg_restore the version is that of the pg_dump which made the archive. Raises NotFoundError
    where there is none, DbtoolError where all are too old; both say what to install.
    """
    major = server_version_number // 10000
    found: list[Tool] = []
    for folders in (extra_directories, _known_folders()):
        found = found + list(_tools_in(program, folders))
        usable = [tool for tool in found if tool.version_number // 10000 >= major]
        if usable:
            return min(usable, key=lambda tool: (tool.version_number // 10000, -tool.version_number))
    hint = (
        f"apt-get install postgresql-client-{major} (Debian, Ubuntu), dnf install postgresql{major} "
        f"(Red Hat), brew install postgresql@{major}; or name the folder: PG_BIN_DIRECTORY."
    )
    if not found:
        raise NotFoundError(f"{program} is not installed", hint)
    newest = max(found, key=lambda tool: tool.version_number)
    raise DbtoolError(f"{program} {newest.version} is too old for a PostgreSQL {major} server", hint)


def security_warning(program: str, version: str, version_number: int) -> str | None:
    """What is dangerous about a client of this version, if something is."""
    major = version_number // 10000
    if major < _OLDEST_MAINTAINED_MAJOR:
        return f"{program} {version}: PostgreSQL {major} gets no more security fixes"
    floor = SECURITY_FLOORS.get(major, 0)
    if version_number < floor:
        return (
            f"{program} {version} is older than {major}.{floor % 10000}: "
            "a hostile server could take it over (CVE-2026-6477)"
        )
    return None


def _known_folders() -> Iterator[Path]:
    for pattern in _FOLDERS:
        yield from Path("/").glob(pattern.lstrip("/"))
    for folder in os.environ.get("PATH", "").split(os.pathsep):
        if folder:
            yield Path(folder)


def _tools_in(program: str, folders: Iterable[str | Path]) -> Iterator[Tool]:
    seen: set[Path] = set()
    for folder in folders:
        try:
            path = (Path(folder).expanduser() / program).resolve(strict=True)
        except OSError:
            continue
        # Debian's /usr/bin/pg_dump picks the version of a local cluster, not of our server.
        if path in seen or path.name == "pg_wrapper" or not os.access(path, os.X_OK):
            continue
        seen.add(path)
        tool = _inspect(program, path, path.stat().st_mtime_ns)
        if tool is not None:
            yield tool


@functools.lru_cache(maxsize=64)
def _inspect(program: str, path: Path, _modified: int) -> Tool | None:
    """Ask a program for its version; None if it does not answer as PostgreSQL's do."""
    try:
        answer = process.run([path, "--version"], deadline_seconds=_VERSION_SECONDS).stdout
    except DbtoolError:
        return None
    match = re.search(rb"\(PostgreSQL\) (\d+)(?:\.(\d+))?", answer)
    if match is None:
        return None
    major, minor = int(match[1]), int(match[2] or 0)
    version = f"{major}.{minor}" if match[2] else str(major)
    number = major * 10000 + minor
    warning = security_warning(program, version, number)
    return Tool(program, path, version, number, (warning,) if warning else ())
