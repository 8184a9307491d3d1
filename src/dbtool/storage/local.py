"""A repository in a directory of this machine: durable writes, private files.

A write goes to a temporary name in the target's folder, is synced, renamed, and the folder is
synced too: after `commit` the object survives a power failure, before it nobody sees it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from dbtool import platforms
from dbtool.errors import BusyError, NotFoundError, StorageError
from dbtool.storage.base import Entry
from dbtool.storage.direct import FileWriter
from dbtool.text import printable

TEMPORARY_PREFIX = ".dbtool-tmp-"
PIECE_BYTES = 1 << 20
_OWN_PREFIX = ".dbtool-"  # temporary and lock files: never listed

_EXPLAINED = {
    errno.ENOSPC: ("no space is left on the device", "free space there, or choose another repository"),
    errno.EDQUOT: ("the disk quota is used up", "free space there, or have the quota raised"),
    errno.EFBIG: (
        "the file would be larger than the limit",
        "see `ulimit -f`, or choose another file system",
    ),
    errno.EACCES: ("permission denied", "give this account the rights to it, or choose another directory"),
    errno.EPERM: (
        "operation not permitted",
        "give this account the rights to it, or choose another directory",
    ),
    errno.EROFS: ("the file system is read-only", "mount it writable, or choose another directory"),
    errno.EIO: ("the device reports an input/output error", "check the disk and the system's log"),
    errno.ENOTDIR: ("a part of the path is not a directory", "check the path"),
    errno.ELOOP: ("it is a symbolic link", "give the path of the real file"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter path"),
}


def translated(error: OSError, doing: str, path: Path) -> StorageError | NotFoundError:
    """Our error for the system's, in one line; `doing` is a verb, such as "write"."""
    shown = printable(str(path))
    if error.errno == errno.ENOENT:
        return NotFoundError(f"{shown} is not there", "check the path, or see `dbtool list`")
    reason, hint = _EXPLAINED.get(error.errno or 0, (error.strerror or str(error), None))
    return StorageError(f"cannot {doing} {shown}: {reason}", hint)


@contextlib.contextmanager
def _storage_errors(doing: str, path: Path) -> Iterator[None]:
    """Turn the system's errors into ours; `doing` is a verb, such as "write"."""
    try:
        yield
    except OSError as error:
        raise translated(error, doing, path) from error


def make_folder(path: Path) -> None:
    """Make a directory and the missing ones above it, durably and private whatever the umask.

    Raises OSError.
    """
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        return
    path.chmod(0o700)
    platforms.sync_folder(path.parent)


def _create_temporary(folder: Path) -> tuple[Path, int]:
    path = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | platforms.NO_FOLLOW | platforms.CLOSE_ON_EXEC
    descriptor = os.open(path, flags | platforms.BINARY, 0o600)
    platforms.make_private(descriptor)  # a strange umask takes rights from the owner
    return path, descriptor


def _write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    written = os.write(descriptor, data)
    if written == len(data):
        return
    rest = memoryview(data)[written:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _open_regular(path: Path) -> BinaryIO:
    # Non-blocking: a FIFO planted in the repository must not hang us; it means nothing for files.
    flags = os.O_RDONLY | platforms.NO_FOLLOW | platforms.NON_BLOCKING | platforms.CLOSE_ON_EXEC
    descriptor = os.open(path, flags | platforms.BINARY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise StorageError(f"{printable(str(path))} is not a regular file", "look at what lies there")
    return os.fdopen(descriptor, "rb", buffering=0)


class LocalUpload:
    """A file being written under a temporary name."""

    def __init__(self, target: Path) -> None:
        self._target = target
        with _storage_errors("write", target):
            make_folder(target.parent)
            self._temporary, descriptor = _create_temporary(target.parent)
        self._descriptor: int | None = descriptor
        self._writer = FileWriter(descriptor)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; `StorageError` when the disk is full, or after commit or abort."""
        if self._descriptor is None:
            raise StorageError(f"cannot write {printable(str(self._target))}: the upload has ended")
        try:
            self._writer.write(data)
        except OSError as error:
            raise translated(error, "write", self._target) from error

    def commit(self) -> None:
        """Sync, rename, sync the folder."""
        if self._descriptor is None:
            raise StorageError(f"cannot write {printable(str(self._target))}: the upload has ended")
        try:
            with _storage_errors("write", self._target):
                self._writer.finish()
                os.close(self._descriptor)
                self._descriptor = None
                self._temporary.replace(self._target)
                platforms.sync_folder(self._target.parent)
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove what was written."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        with contextlib.suppress(OSError):
            self._temporary.unlink()

    def __enter__(self) -> LocalUpload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class LocalStore:
    """The Store protocol over a directory."""

    def __init__(self, root: str | Path) -> None:
        self._root = Path(os.path.normpath(Path(root).absolute()))

    @property
    def url(self) -> str:
        """The directory's absolute path."""
        return str(self._root)

    def _path(self, name: str) -> Path:
        parts = name.split("/")
        if "\0" in name or any(part in ("", ".", "..") for part in parts):
            raise StorageError(f"{printable(name)!r} is no name for a stored file")
        return self._root.joinpath(*parts)

    def _folder(self, prefix: str) -> Path:
        return self._path(prefix.rstrip("/")) if prefix else self._root

    def put(self, name: str) -> LocalUpload:
        """Begin to write a file."""
        return LocalUpload(self._path(name))

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a whole file durably, unless there is one."""
        target = self._path(name)
        with _storage_errors("write", target):
            make_folder(target.parent)
            temporary, descriptor = _create_temporary(target.parent)
            try:
                try:
                    _write_all(descriptor, data)
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)
                if not _link_or_move(temporary, target):
                    return False
                try:
                    platforms.sync_folder(target.parent)
                except OSError:
                    target.unlink(missing_ok=True)  # not known to be durable: so it is not there
                    raise
                return True
            finally:
                temporary.unlink(missing_ok=True)

    def get(self, name: str) -> Iterator[bytes]:
        """The file in pieces of 1 MiB. A missing one is an error at once, not at the first piece."""
        path = self._path(name)
        with _storage_errors("read", path):
            file = _open_regular(path)
        return _pieces(file, path)

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer only at the end."""
        path = self._path(name)
        with _storage_errors("read", path), _open_regular(path) as file:
            file.seek(start)
            data = file.read(length)
            while data and len(data) < length:
                more = file.read(length - len(data))
                if not more:
                    break
                data += more
            return data

    def size(self, name: str) -> int:
        """The file's size in bytes."""
        path = self._path(name)
        with _storage_errors("read", path):
            facts = path.lstat()
        if not stat.S_ISREG(facts.st_mode):
            raise StorageError(f"{printable(str(path))} is not a regular file", "look at what lies there")
        return facts.st_size

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every file below a folder, by name. Symbolic links below it are not followed, nor listed."""
        return self._walk(self._folder(prefix), f"{prefix.rstrip('/')}/" if prefix else "")

    def _walk(self, folder: Path, prefix: str) -> Iterator[Entry]:
        found: list[tuple[str, os.DirEntry[str]]] = []
        for entry in _scan(folder):
            slash = "/" if entry.is_dir(follow_symlinks=False) else ""
            found.append((entry.name + slash, entry))
        for name, entry in sorted(found, key=lambda pair: pair[0]):
            if name.endswith("/"):
                yield from self._walk(folder / entry.name, prefix + name)
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISREG(facts.st_mode):
                yield Entry(prefix + name, facts.st_size, facts.st_mtime)

    def folders(self, prefix: str = "") -> Iterator[str]:
        """Names of the folders directly below one; a symbolic link to a folder counts as one."""
        return iter(sorted(entry.name for entry in _scan(self._folder(prefix)) if entry.is_dir()))

    def delete(self, name: str) -> None:
        """Remove a file durably, if it is there."""
        path = self._path(name)
        with _storage_errors("remove", path), contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            platforms.sync_folder(path.parent)

    def delete_folder(self, prefix: str) -> None:
        """Remove a folder and all below it, if it is there."""
        path = self._path(prefix.rstrip("/"))
        with _storage_errors("remove", path), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(path)
            platforms.sync_folder(path.parent)

    @contextlib.contextmanager
    def lock(self, name: str, timeout_seconds: float) -> Iterator[None]:
        """Hold `flock` on a hidden file; the system lets go of it when the process dies."""
        path = self._root / f"{_OWN_PREFIX}{name}.lock"
        flags = os.O_RDWR | os.O_CREAT | platforms.NO_FOLLOW | platforms.CLOSE_ON_EXEC
        with _storage_errors("lock", path):
            descriptor = os.open(path, flags, 0o600)
        try:
            with _storage_errors("lock", path):
                with contextlib.suppress(PermissionError):
                    platforms.make_private(descriptor)
                if not platforms.lock(descriptor, timeout_seconds):
                    raise BusyError(
                        f"{printable(str(path))} is locked by another process", "try again when it has ended"
                    )
            yield
        finally:
            os.close(descriptor)

    def now(self) -> float:
        """The clock of the file system, which on a network mount is not ours."""
        try:
            path, descriptor = _create_temporary(self._root)
        except OSError:
            return time.time()
        try:
            return os.fstat(descriptor).st_mtime
        finally:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                path.unlink()


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder but our temporary files; nothing where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(_OWN_PREFIX)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise translated(error, "read", folder) from error


def unfinished_files(root: Path, age_seconds: float) -> list[int]:
    """The sizes in bytes of all uploads below a folder to which nothing was written for so long: their
    processes were killed, or they are stuck. What cannot be looked into is passed over."""
    oldest = time.time() - age_seconds
    sizes = []
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(TEMPORARY_PREFIX):
                with contextlib.suppress(OSError):
                    facts = Path(folder, name).lstat()
                    if facts.st_mtime < oldest:
                        sizes.append(facts.st_size)
    return sizes


def _pieces(file: BinaryIO, path: Path) -> Iterator[bytes]:
    with file:
        while True:
            with _storage_errors("read", path):
                piece = file.read(PIECE_BYTES)
            if not piece:
                return
            yield piece


def _link_or_move(temporary: Path, target: Path) -> bool:
    """Give a finished file its name unless the name is taken; False if it is."""
    try:
        os.link(temporary, target, follow_symlinks=os.link not in os.supports_follow_symlinks)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
            raise
        return _move_unless_there(temporary, target)
    return True


def _move_unless_there(temporary: Path, target: Path) -> bool:
    """For file systems without hard links: exclusive among dbtool's own processes."""
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | platforms.CLOSE_ON_EXEC)
    try:
        platforms.lock(folder)
        if os.path.lexists(target):
            return False
        temporary.rename(target)
        return True
    finally:
        os.close(folder)
