"""The only place that starts client programs: streams, deadlines, the end of stderr, exit codes.

Arguments are lists, never a shell's text. Each program leads a process group of its own, which
is ended as a whole when its caller is interrupted, fails or loses interest.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from dbtool import platforms
from dbtool.errors import DbtoolError, NotFoundError
from dbtool.redaction import redact

_PIECE_BYTES = 256 * 1024
_STDERR_TAIL_BYTES = 16 * 1024
_TERMINATION_GRACE_SECONDS = 5.0

_PRIVATE_PREFIX = "dbtool-run-"
_LOCK_NAME = "lock"


class ProgramFailedError(DbtoolError):
    """A client program ended with an error, or was ended because it took too long.

    `exit_status` is negative for a signal, None where the program was ended by us. `stderr` is
    the end of what it said, without secrets.
    """

    def __init__(self, message: str, program: str, exit_status: int | None, stderr: str) -> None:
        super().__init__(message)
        self.program = program
        self.exit_status = exit_status
        self.stderr = stderr


@dataclass(frozen=True)
class Finished:
    """How a program ended. `stderr` is the end of what it said, without secrets."""

    exit_status: int
    stdout: bytes
    stderr: str


def run(
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: Iterable[bytes] | None = None,
    stdout_to: Callable[[bytes], object] | None = None,
    deadline_seconds: float | None = None,
    stall_seconds: float | None = None,
    check: bool = True,
) -> Finished:
    """Run a program to its end.

    `stdin` is sent as it comes (another program's `stream` makes a pipeline, in which every
    stage's exit status counts); none means an empty input. Without `stdout_to` its output is
    kept in memory. No environment means this process's own. Raises ProgramFailedError for an
    exit status other than 0 (unless `check` is false), for the deadline, and for `stall_seconds`
    in which nothing moved in any of its streams; NotFoundError if there is no such program.
    """
    kept: list[bytes] = []
    child = _Child(arguments, environment, stdin, deadline_seconds, stall_seconds)
    take = stdout_to or kept.append
    for piece in child.output():
        take(piece)
    if check:
        child.check()
    return Finished(child.exit_status, b"".join(kept), child.stderr)


def stream(
    arguments: Sequence[str | Path],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: Iterable[bytes] | None = None,
    deadline_seconds: float | None = None,
    stall_seconds: float | None = None,
) -> Iterator[bytes]:
    """A program's output, in pieces of at most 256 KiB, as it comes. Errors as for `run`, at the
    end at the latest. Leaving the iterator early ends the program."""
    child = _Child(arguments, environment, stdin, deadline_seconds, stall_seconds)
    yield from child.output()
    child.check()


class _Child:
    """One program in its own process group, and what flows to and from it."""

    def __init__(
        self,
        arguments: Sequence[str | Path],
        environment: Mapping[str, str] | None,
        stdin: Iterable[bytes] | None,
        deadline_seconds: float | None,
        stall_seconds: float | None,
    ) -> None:
        self._arguments = [os.fspath(argument) for argument in arguments]
        self._environment = environment
        self._stdin = None if stdin is None else iter(stdin)
        self._unsent = memoryview(b"")
        self._deadline = None if deadline_seconds is None else time.monotonic() + deadline_seconds
        self._stall_seconds = stall_seconds
        self._tail = bytearray()
        self._input_refused = False
        self.program = Path(self._arguments[0]).name
        self.exit_status = -1

    @property
    def stderr(self) -> str:
        return redact(self._tail.decode("utf-8", "replace")).strip()

    def output(self) -> Iterator[bytes]:
        """Run to the end, giving the output on the way; whatever happens, nothing keeps running."""
        process = self._start()
        try:
            yield from self._exchange(process)
            self.exit_status = process.wait(self._seconds_left())
        except subprocess.TimeoutExpired:
            raise self._too_slow("took longer than it was given") from None
        finally:
            _end_group(process)

    def check(self) -> None:
        """Raise unless the program ended well and took all of its input."""
        if self.exit_status != 0:
            last = self.stderr.splitlines()[-1:] or [_status_words(self.exit_status)]
            raise ProgramFailedError(
                f"{self.program} failed: {last[0]}", self.program, self.exit_status, self.stderr
            )
        if self._input_refused:
            raise ProgramFailedError(
                f"{self.program} ended before it had read all of its input", self.program, 0, self.stderr
            )

    def _start(self) -> subprocess.Popen[bytes]:
        if sys.platform == "win32":  # whose pipes cannot be waited for as ours are
            raise DbtoolError(f"cannot start {self.program}: that does not work on Windows yet")
        try:
            return subprocess.Popen(
                self._arguments,
                env=None if self._environment is None else dict(self._environment),
                stdin=subprocess.DEVNULL if self._stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
                raise NotFoundError(f"cannot start {self.program}: {error.strerror}") from error
            raise DbtoolError(f"cannot start {self.program}: {error.strerror}") from error

    def _exchange(self, process: subprocess.Popen[bytes]) -> Iterator[bytes]:
        """Move bytes until both outputs are closed."""
        with selectors.DefaultSelector() as selector, contextlib.ExitStack() as opened:
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    opened.callback(pipe.close)
            outputs = [pipe for pipe in (process.stdout, process.stderr) if pipe is not None]
            for pipe in outputs:
                selector.register(pipe, selectors.EVENT_READ)
            if process.stdin is not None:
                os.set_blocking(process.stdin.fileno(), False)
                selector.register(process.stdin, selectors.EVENT_WRITE)
            while outputs:
                for key, _ in self._wait(selector):
                    if key.fileobj is process.stdin:
                        self._feed(process.stdin, selector)
                        continue
                    piece = os.read(key.fd, _PIECE_BYTES)
                    if not piece:
                        selector.unregister(key.fileobj)
                        outputs = [pipe for pipe in outputs if pipe is not key.fileobj]
                    elif key.fileobj is process.stdout:
                        yield piece
                    else:
                        self._tail = (self._tail + piece)[-_STDERR_TAIL_BYTES:]

    def _wait(self, selector: selectors.BaseSelector) -> list[tuple[selectors.SelectorKey, int]]:
        """What can be read or written. Only time spent here counts as a stall: a slow consumer,
        or a slow producer of the input, is not the program's fault."""
        left = self._seconds_left()
        limits = [limit for limit in (left, self._stall_seconds) if limit is not None]
        ready = selector.select(min(limits) if limits else None)
        if not ready:
            if left is not None and (self._stall_seconds is None or left <= self._stall_seconds):
                raise self._too_slow("took longer than it was given")
            raise self._too_slow(f"did nothing for {self._stall_seconds:g} seconds")
        return ready

    def _feed(self, pipe: IO[bytes], selector: selectors.BaseSelector) -> None:
        if not self._unsent and self._stdin is not None:
            piece = next(self._stdin, None)
            if piece is None:
                selector.unregister(pipe)
                pipe.close()
                return
            self._unsent = memoryview(piece)
        try:
            self._unsent = self._unsent[os.write(pipe.fileno(), self._unsent) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._input_refused = True
            selector.unregister(pipe)
            pipe.close()

    def _seconds_left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def _too_slow(self, what: str) -> ProgramFailedError:
        return ProgramFailedError(f"{self.program} {what} and was ended", self.program, None, self.stderr)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End the program and all that it started: ask first, then insist."""
    if process.poll() is not None:
        return
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):  # nobody of the group is left
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_TERMINATION_GRACE_SECONDS)


def _status_words(status: int) -> str:
    if status < 0:
        return f"ended by signal {signal.Signals(-status).name}"
    return f"exit status {status}"


@contextmanager
def private_directory() -> Iterator[Path]:
    """A folder that nobody else can enter, gone at the end; for files that hold secrets.

    What processes that died left behind is wiped first: a folder whose lock nobody holds.
    """
    base = _runtime_base()
    _wipe_leftovers(base)
    directory, lock = _locked_directory(base)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _locked_directory(base: Path) -> tuple[Path, int]:
    """A new folder and its lock, held. As long as we do not hold it, somebody who wipes may take the
    folder for a dead process's and remove it: then another one is made."""
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | platforms.CLOSE_ON_EXEC
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_PRIVATE_PREFIX, dir=base))
        with contextlib.suppress(FileNotFoundError):
            directory.chmod(0o700)  # mkdtemp's mode is narrowed by a hostile umask
            lock = os.open(directory / _LOCK_NAME, flags, 0o600)
            platforms.lock(lock)
            if os.fstat(lock).st_nlink:
                return directory, lock
            os.close(lock)


def write_private_file(path: Path, content: bytes) -> None:
    """Make a new file with mode 0600, whatever the umask."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | platforms.NO_FOLLOW | platforms.CLOSE_ON_EXEC
    descriptor = os.open(path, flags | platforms.BINARY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        platforms.make_private(descriptor)
        file.write(content)


def _runtime_base() -> Path:
    """Where private folders live: memory-backed and one's own, where the system offers that."""
    for variable in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        folder = os.environ.get(variable, "").partition(":")[0]
        if folder and os.access(folder, os.W_OK | os.X_OK):
            return Path(folder)
    return Path(tempfile.gettempdir())


def _wipe_leftovers(base: Path) -> None:
    for directory in base.glob(_PRIVATE_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if platforms.is_own(directory.lstat()) and not directory.is_symlink():
                _wipe_if_dead(directory)


def _wipe_if_dead(directory: Path) -> None:
    """Remove a folder whose lock nobody holds. We hold it meanwhile: its maker, who may just be about
    to take it, then finds that it is gone."""
    try:
        lock = os.open(directory / _LOCK_NAME, os.O_RDWR | platforms.CLOSE_ON_EXEC | platforms.NO_FOLLOW)
    except FileNotFoundError:  # just being made, or its maker died in between: it is empty
        directory.rmdir()
        return
    try:
        if platforms.lock(lock, timeout_seconds=0):
            shutil.rmtree(directory)
    finally:
        os.close(lock)
