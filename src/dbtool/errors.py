"""The one tree of errors: what is wrong, what mends it, and the exit code a script sees.

Nothing below the command line prints an error or ends the process: it raises one of these.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a script learns from the process's end. The numbers are a contract."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    CONNECTION = 4
    BUSY = 5
    VERIFICATION = 6
    STORAGE = 7
    NOT_FOUND = 8
    REFUSED = 9
    INTERRUPTED = 130


class DbtoolError(Exception):
    """Something failed. `message` is one line that says what; `hint` says what to do about it."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DbtoolError):
    """The command line, a console command or the configuration is not usable."""

    exit_code = ExitCode.USAGE


class PartlyDoneError(DbtoolError):
    """Some of what was asked for is done and stays done; the rest failed."""

    exit_code = ExitCode.PARTLY


class ConnectionFailedError(DbtoolError):
    """The server cannot be reached, or does not let us in."""

    exit_code = ExitCode.CONNECTION


class BusyError(DbtoolError):
    """Something is locked by somebody else."""

    exit_code = ExitCode.BUSY


class VerificationError(DbtoolError):
    """Bytes, counts or digests are not what was recorded."""

    exit_code = ExitCode.VERIFICATION


class StorageError(DbtoolError):
    """The repository or an output file cannot be read or written."""

    exit_code = ExitCode.STORAGE


class NotFoundError(DbtoolError):
    """A backup, a table, a file or a folder that was named is not there."""

    exit_code = ExitCode.NOT_FOUND


class RefusedError(DbtoolError):
    """It could be done, but would destroy something, and nobody said that it may."""

    exit_code = ExitCode.REFUSED


class InterruptedByUserError(DbtoolError):
    """Ctrl-C or a termination signal."""

    exit_code = ExitCode.INTERRUPTED


class NeedsFullError(DbtoolError):
    """A differential cannot be exact here. `message` is the reason; whoever asked takes a full instead."""


class SqlError(DbtoolError):
    """The server refused a statement."""
