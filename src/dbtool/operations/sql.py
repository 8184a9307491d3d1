"""Run SQL, and export what a query returns into a file.

What is shown on a terminal is made in `console/render.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from dbtool import platforms
from dbtool.engines.session import Result, Session
from dbtool.errors import NotFoundError, RefusedError, StorageError, UsageError
from dbtool.operations.sql_formats import FORMATS, format_for
from dbtool.operations.sql_safety import dangers
from dbtool.progress import Progress

# Asks a person about the dangers that it is given; True if they may be run.
Confirm = Callable[[Sequence[str]], bool]

_BUFFER_BYTES = 1 << 20
_LEFTOVER = re.compile(r"\..+_query_\d{8}_\d{6}\.[0-9a-f]{8}\.part", re.DOTALL)
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EACCES}


@dataclass(frozen=True)
class ExportReport:
    """An export that is complete and durable."""

    path: Path
    rows: int
    bytes: int


def run(
    session: Session, statements: str, *, may_destroy: bool = False, confirm: Confirm | None = None
) -> Iterator[Result]:
    """Run the statements; one result each, to be read in order.

    What destroys is run only if `may_destroy` says so, or `confirm` does when asked. Raises
    RefusedError before anything ran; then what `Session.run` raises.
    """
    permit(statements, session.dialect, may_destroy, confirm)
    return session.run(statements)


def permit(statements: str, dialect: str, may_destroy: bool, confirm: Confirm | None) -> None:
    """Raise RefusedError if the statements destroy something and nobody allows it."""
    if may_destroy:
        return
    found = dangers(statements, dialect)
    if not found:
        return
    if confirm is None:
        raise RefusedError(
            f"this SQL destroys: {'; '.join(found)}", "Nothing was run. Say -yes if it is what you want."
        )
    if not confirm(found):
        raise RefusedError("not run, as you chose")


def extract(
    session: Session,
    statement: str,
    folder: Path,
    form: str,
    progress: Progress,
    *,
    may_destroy: bool = False,
    confirm: Confirm | None = None,
    moment: datetime | None = None,
) -> ExportReport:
    """Run one statement that returns rows, and write them to a new file in `folder`.

    The folder is tried, and the statement understood, before it runs. Raises UsageError for a
    statement that returns no rows (it did not run) or an unknown form, NotFoundError for a folder
    that is not there, StorageError where it cannot be written, RefusedError, SqlError.
    """
    _check_form(form)
    moment = moment or datetime.now(timezone.utc)
    with _OutputFile(folder, session.database, form, moment) as output:
        permit(statement, session.dialect, may_destroy, confirm)
        return _write(session.query(statement), output, form, progress)


def export(
    result: Result, folder: Path, database: str, form: str, moment: datetime, progress: Progress
) -> ExportReport:
    """Write the rows of a result to `<database>_query_<UTC time>.<form>`, a new file in `folder`.

    `form` is "csv", "tsv" or "jsonl"; `moment` is timezone-aware. A name that is taken gets `_2`,
    `_3`, …. There is no file unless all of it is there. Raises as `extract` does.
    """
    _check_form(form)
    with _OutputFile(folder, database, form, moment) as output:
        return _write(result, output, form, progress)


def _check_form(form: str) -> None:
    if form not in FORMATS:
        format_for(form, ())


def _write(result: Result, output: _OutputFile, form: str, progress: Progress) -> ExportReport:
    if result.columns is None or result.is_raw:
        raise UsageError(
            "this statement returns no rows that could be exported", "A query is needed here, such as SELECT."
        )
    progress.phase("export")
    writer = format_for(form, result.columns)
    count = 0
    try:
        output.write(writer.header())
        for batch in result.batches():
            data = writer.rows(batch)
            output.write(data)
            count += len(batch)
            progress.advance(len(data))
    except BaseException:
        with contextlib.suppress(Exception):  # the first error is the one to tell
            result.close()
        raise
    return ExportReport(output.commit(), count, output.bytes_written)


class _OutputFile:
    """A file that has its name only when it is whole and durable; until then a hidden one beside it."""

    def __init__(self, folder: Path, database: str, suffix: str, moment: datetime) -> None:
        from dbtool.catalog.names import file_safe_name, utc_stamp

        self._folder = folder
        self._stem = f"{file_safe_name(database)}_query_{utc_stamp(moment)}"
        self._suffix = suffix
        self._temporary = folder / f".{self._stem}.{os.urandom(4).hex()}.part"
        self.bytes_written = 0
        if not folder.is_dir():
            if os.path.lexists(folder):
                raise StorageError(f"{folder} is not a folder", "-path names the folder of the export.")
            raise NotFoundError(f"there is no folder {folder}", f"Make it first: mkdir -p '{folder}'")
        _remove_leftovers(folder)
        with self._explained():
            self._file: BinaryIO = os.fdopen(self._open_locked(), "wb", buffering=_BUFFER_BYTES)

    def _open_locked(self) -> int:
        """The hidden file, whose lock says that we live. Until we hold it, another export may take the
        file for a dead one's and remove it: then it is made again."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | platforms.NO_FOLLOW | platforms.CLOSE_ON_EXEC
        while True:
            descriptor = os.open(self._temporary, flags | platforms.BINARY, 0o600)
            with contextlib.suppress(OSError):  # a file system without locks: nobody removes anything
                platforms.lock(descriptor)
            if os.fstat(descriptor).st_nlink:
                return descriptor
            os.close(descriptor)

    def write(self, data: bytes) -> None:
        """Append."""
        with self._explained():
            self._file.write(data)
        self.bytes_written += len(data)

    def commit(self) -> Path:
        """Make it durable, and give it a name that nobody has."""
        with self._explained():
            self._file.flush()
            os.fsync(self._file.fileno())
            path = self._name()
            self._file.close()  # and only now its lock
            self._temporary.unlink(missing_ok=True)
            platforms.sync_folder(self._folder)
        return path

    def _name(self) -> Path:
        number = 1
        while True:
            path = self._folder / f"{self._stem}{f'_{number}' if number > 1 else ''}.{self._suffix}"
            number += 1
            try:
                os.link(self._temporary, path)  # unlike a rename, it never replaces a file
            except FileExistsError:
                continue
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                if os.path.lexists(path):
                    continue
                self._temporary.rename(path)
            return path

    def __enter__(self) -> _OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._file.close()  # flushes, and fails again where the disk is full
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hints = {
                errno.ENOSPC: "The disk is full: make room, or choose another folder.",
                errno.EDQUOT: "The disk quota is used up: make room, or choose another folder.",
                errno.EFBIG: "A file may not become that large here: see ulimit -f.",
                errno.EROFS: "The file system is read-only: choose another folder.",
            }
            raise StorageError(
                f"cannot write to {self._folder}: {error.strerror or error}",
                hints.get(error.errno or 0, "Choose a folder that you may write to."),
            ) from error


def _remove_leftovers(folder: Path) -> None:
    """Remove the hidden files of exports that were killed: those whose lock nobody holds."""
    for path in folder.glob(".*_query_*.part"):
        if _LEFTOVER.fullmatch(path.name):
            with contextlib.suppress(OSError):
                _remove_if_dead(path)


def _remove_if_dead(path: Path) -> None:
    flags = os.O_RDWR | platforms.NO_FOLLOW | platforms.NON_BLOCKING | platforms.CLOSE_ON_EXEC
    descriptor = os.open(path, flags)
    try:
        facts = os.fstat(descriptor)
        is_ours = stat.S_ISREG(facts.st_mode) and platforms.is_own(facts)
        if is_ours and platforms.lock(descriptor, timeout_seconds=0):
            path.unlink()
    finally:
        os.close(descriptor)
