"""`doctor`: what works here, what is missing, and what mends it. Changes nothing."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from dbtool.engines.looks import Report
from dbtool.errors import ExitCode
from dbtool.model.check import Check, State
from dbtool.model.connection import Connection
from dbtool.storage.local import TEMPORARY_PREFIX, unfinished_files

_LEFTOVER_MINUTES = 60  # who still writes does so more often


def run(
    connection: Connection, repository: str | None = None, client_directories: Iterable[str] = ()
) -> list[Check]:
    """Look at the server, the client programs, the account's rights and the repository, as far as
    they can be reached."""
    report = _server(connection, client_directories)
    return [*report.checks, *_repository(repository, report.database_bytes)]


def _server(connection: Connection, client_directories: Iterable[str]) -> Report:
    if connection.engine == "mysql":
        from dbtool.engines.mysql import doctor as mysql

        return mysql.examine(connection, client_directories)
    from dbtool.engines.postgres import doctor as postgres

    return postgres.examine(connection, client_directories)


def exit_code(checks: Iterable[Check]) -> ExitCode:
    """0, or 1 if there is a problem."""
    failed = any(check.state is State.PROBLEM for check in checks)
    return ExitCode.FAILED if failed else ExitCode.DONE


def as_json(checks: Iterable[Check]) -> dict[str, object]:
    """What `--json` prints."""
    found = list(checks)
    return {
        "ok": exit_code(found) is ExitCode.DONE,
        "checks": [
            {"name": check.name, "state": check.state.value, "message": check.message, "mend": check.mend}
            for check in found
        ],
    }


def _repository(repository: str | None, database_bytes: int | None) -> Iterator[Check]:
    if repository is None:
        yield Check("repository", State.NOTE, "none is named", "-path FOLDER, or BACKUP_PATH in .env.")
        return
    if "://" in repository and not repository.startswith("file://"):
        yield Check("repository", State.NOTE, f"{repository}: only folders can be looked at")
        return
    folder = Path(repository.removeprefix("file://"))
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        yield Check("repository", State.PROBLEM, f"{existing} is not a folder")
        return
    if not os.access(existing, os.R_OK | os.W_OK | os.X_OK):
        yield Check(
            "repository", State.PROBLEM, f"{existing} cannot be written to", f"chmod u+rwx {existing}"
        )
        return
    yield Check("repository", State.OK, f"{folder}" + ("" if existing == folder else " will be made"))
    yield from _free_space(existing, database_bytes)
    if existing == folder:
        yield from _leftovers(folder)


def _free_space(folder: Path, database_bytes: int | None) -> Iterator[Check]:
    free = shutil.disk_usage(folder).free
    if database_bytes is None:
        yield Check("free space", State.OK, f"{_size(free)} free")
        return
    message = f"{_size(free)} free, the database has {_size(database_bytes)} on the server's disk"
    yield Check("free space", State.OK if free >= database_bytes else State.WARNING, message)


def _leftovers(folder: Path) -> Iterator[Check]:
    """Files that were being written when their process was killed. Nobody reads them."""
    sizes = unfinished_files(folder, _LEFTOVER_MINUTES * 60)
    if sizes:
        find = f"find {shlex.quote(str(folder))} -name '{TEMPORARY_PREFIX}*' -mmin +{_LEFTOVER_MINUTES}"
        yield Check(
            "unfinished files",
            State.NOTE,
            f"{len(sizes):,} of processes that were killed, {_size(sum(sizes))}",
            f"{find} -delete",
        )


def _size(size_bytes: int) -> str:
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
