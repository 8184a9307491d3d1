"""What operating systems do differently: flags of files, private files, locks.

Linux is what dbtool is tested on; where another system lacks something, it is done without.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
import time
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NO_FOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
CLOSE_ON_EXEC: int = getattr(os, "O_CLOEXEC", 0)
NON_BLOCKING: int = getattr(os, "O_NONBLOCK", 0)
BINARY: int = getattr(os, "O_BINARY", 0)  # without it Windows changes the ends of lines

_LOCK_POLL_SECONDS = 0.02


def make_private(descriptor: int) -> None:
    """Give an open file of ours mode 0600, whatever the umask made of it."""
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, 0o600)


def set_direct(descriptor: int, wanted: bool) -> bool:
    """Have writes to an open file pass by the page cache, or not; whether they now do."""
    flag: int = getattr(os, "O_DIRECT", 0)
    if sys.platform == "win32" or not flag:
        return False
    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | flag if wanted else flags & ~flag)
    except OSError:
        return False
    return wanted


def is_own(facts: os.stat_result) -> bool:
    """Whether a file belongs to this account; true where files have no owners."""
    return not hasattr(os, "getuid") or facts.st_uid == os.getuid()


def is_own_or_roots(facts: os.stat_result) -> bool:
    """Whether a file belongs to this account, or to the system's own; true where files have no owners."""
    return is_own(facts) or facts.st_uid == 0


def others_can_change(facts: os.stat_result) -> bool:
    """Whether the group or everybody may write to a file; modes say nothing of it on Windows."""
    return sys.platform != "win32" and bool(facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def others_can_read(facts: os.stat_result) -> bool:
    """Whether the group or everybody may read a file; modes say nothing of it on Windows."""
    return sys.platform != "win32" and bool(facts.st_mode & (stat.S_IRGRP | stat.S_IROTH))


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can. Raises OSError."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | CLOSE_ON_EXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a directory, and do not need it.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def lock(descriptor: int, timeout_seconds: float | None = None) -> bool:
    """Take the lock of an open file, which nobody else has then until it is closed or we die; False if
    somebody else still holds it after the timeout. Raises OSError where there are no locks."""
    deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
    while not _take_lock(descriptor):
        if deadline is not None and time.monotonic() >= deadline:
            return False
        time.sleep(_LOCK_POLL_SECONDS)
    return True


if sys.platform == "win32":

    def _take_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:

    def _take_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
