"""What every throw-away server needs: an account that may run it, a folder, a free port, a guardian.

Nothing here knows a database. Server programs refuse to run as root, so root runs them as an
unprivileged account; everybody else runs them as themselves.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dbtool.errors import DbtoolError, NotFoundError

if TYPE_CHECKING:
    from typing_extensions import Self

LONGEST_SCRATCH_PATH_BYTES = 60  # leaves room for the names below it in a Unix socket's 107 bytes
UNPRIVILEGED_USERS = ("nobody", "postgres", "mysql", "daemon")

# Outlives this process, however that ends, and then clears up: the pipe on its standard input closes even
# after SIGKILL. Through the pipe it hears of servers, and it ends those that still run, by their pid only.
GUARDIAN_SCRIPT = """
servers=" "
while read -r change pid; do
    case $change in
    runs) servers="$servers$pid " ;;
    ended) servers="${servers%% $pid *} ${servers#* $pid }" ;;
    esac
done
for pid in $servers; do
    kill -QUIT "$pid" 2>/dev/null
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 100 ]; do sleep 0.1; tries=$((tries + 1)); done
    kill -KILL "$pid" 2>/dev/null
done
rm -rf "$0"
"""


def run_as() -> dict[str, Any]:
    """The arguments for `subprocess` that make a child run unprivileged; empty unless we are root."""
    if os.geteuid() != 0:
        return {}
    account = _unprivileged_account()
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _unprivileged_account() -> pwd.struct_passwd:
    for name in UNPRIVILEGED_USERS:
        with contextlib.suppress(KeyError):
            account = pwd.getpwnam(name)
            if account.pw_uid != 0:
                return account
    raise NotFoundError(
        "no unprivileged account was found to run a throw-away server as",
        f"root must not run it: add an account such as {UNPRIVILEGED_USERS[0]}, or run as another user",
    )


def may_enter(directory: Path) -> bool:
    """Whether the account that runs the servers can reach what is in `directory`."""
    if os.geteuid() != 0:
        return os.access(directory, os.X_OK)
    resolved = directory.resolve()
    return all(part.stat().st_mode & stat.S_IXOTH for part in (resolved, *resolved.parents))


def clean_environment(home: Path) -> dict[str, str]:
    """An environment without anything of the caller's (PG* variables, a home that is closed to others)."""
    return {"PATH": os.defpath, "HOME": str(home), "LC_ALL": "C", "TZ": "UTC"}


def run_tool(command: Sequence[str | Path], folder: Path) -> str:
    """Run a server's own tool in `folder`, unprivileged; its output. `DbtoolError` if it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=clean_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **run_as(),
    )
    output = str(done.stdout, errors="replace")
    if done.returncode != 0:
        lines = output.strip().splitlines() or ["it said nothing"]
        raise DbtoolError(f"{command[0]} failed ({done.returncode}): {lines[-1]}", "\n".join(lines[-20:]))
    return output


def free_port() -> int:
    """A TCP port that nobody listens on now. Somebody may take it a moment later: be ready to try again."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Scratch:
    """This process's own temporary folder for servers, and the guardian that empties it.

    When the process ends, killed or not, the guardian ends the servers that it was told of and
    removes the folder.
    """

    def __init__(self) -> None:
        self.root = _make_root()
        self._count = 0
        self._lock = threading.Lock()
        self._guardian = subprocess.Popen(
            ["/bin/sh", "-c", GUARDIAN_SCRIPT, str(self.root)],
            cwd="/",
            env=clean_environment(Path("/")),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def folder(self) -> Path:
        """A new empty folder that the servers' account owns."""
        with self._lock:
            self._count += 1
            path = self.root / str(self._count)
        path.mkdir(mode=0o711)
        give_away(path)
        return path

    def runs(self, pid: int) -> None:
        """A server has been started: it is ended when this process ends."""
        self._tell(f"runs {pid}\n")

    def ended(self, pid: int) -> None:
        """A server has ended, and its pid may soon be somebody else's."""
        self._tell(f"ended {pid}\n")

    def _tell(self, message: str) -> None:
        assert self._guardian.stdin is not None  # noqa: S101 - it was made with a pipe
        with self._lock, contextlib.suppress(BrokenPipeError):
            self._guardian.stdin.write(message.encode())
            self._guardian.stdin.flush()

    def close(self) -> None:
        """End what still runs and remove everything."""
        self._guardian.communicate()


def give_away(path: Path) -> None:
    """Make the servers' account the owner of a file or folder that we made."""
    if os.geteuid() == 0:
        account = _unprivileged_account()
        os.chown(path, account.pw_uid, account.pw_gid)


def _make_root() -> Path:
    for parent in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - only the parent of a private folder
        if len(os.fsencode(parent)) > LONGEST_SCRATCH_PATH_BYTES or not Path(parent).is_dir():
            continue
        if may_enter(Path(parent)):
            root = Path(tempfile.mkdtemp(prefix="dbtool-", dir=parent))
            root.chmod(0o711)
            return root
    raise NotFoundError(
        "there is no temporary folder for a throw-away server",
        "set TMPDIR to a folder with a short name that other accounts may enter",
    )


_scratch: Scratch | None = None
_scratch_lock = threading.Lock()


def scratch() -> Scratch:
    """The one of this process, made when it is first asked for."""
    global _scratch
    with _scratch_lock:
        if _scratch is None:
            _scratch = Scratch()
            atexit.register(_scratch.close)
        return _scratch


def remove(folder: Path) -> None:
    """Remove a server's folder and all below it."""
    shutil.rmtree(folder, ignore_errors=True)


class ThrowAwayServer:
    """What every kind of throw-away server does: it is started on a free port, ended, and removed with its
    folder; use it as a context manager. The kinds say how it is started and how it ends.
    """

    start_timeout_seconds = 60.0
    stop_timeout_seconds = 60.0
    port_attempts = 5
    poll_seconds = 0.01
    keeps_log = True  # of earlier launches; else what they said would be taken for this one's

    def __init__(self, folder: Path) -> None:
        self.data_directory = folder / "data"
        self.log_file = folder / "server.log"
        self.port = 0
        self._folder = folder
        self._environment = clean_environment(folder)
        self._process: subprocess.Popen[bytes] | None = None

    # ---- what differs -------------------------------------------------------------------------

    _label: str  # what a person calls it

    def _command(self) -> list[str]:
        """What starts it on `port`."""
        raise NotImplementedError

    def _is_ready(self, pid: int) -> bool:
        """Whether it takes connections. May raise OSError where it has not come so far."""
        raise NotImplementedError

    def _is_port_taken(self, said: Sequence[str]) -> bool:
        """Whether the lines of its log say that somebody else has the port."""
        raise NotImplementedError

    def _worth_telling(self, said: Sequence[str]) -> Sequence[str]:
        """The lines of its log that say why it did not start; the last ones are told."""
        return said

    def _children(self, pid: int) -> list[int]:  # noqa: ARG002 - of those that have some
        """Processes of its own that live on when it is killed."""
        return []

    # ---- its life -----------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The server's process id; `DbtoolError` while it is stopped."""
        if self._process is None:
            raise DbtoolError("the throw-away server is not running")
        return self._process.pid

    def launch(self) -> None:
        """Start the server, again after `stop` or `crash`; the port may be another one."""
        for attempt in range(1, self.port_attempts + 1):
            self.port = free_port()
            self._spawn()
            if self._wait_until_ready():
                return
            said = self.log_file.read_text(errors="replace").strip().splitlines()
            if not self._is_port_taken(said) or attempt == self.port_attempts:
                told = "\n".join(self._worth_telling(said)[-10:])
                raise DbtoolError(f"the throw-away {self._label} did not start", told or None)

    def _spawn(self) -> None:
        # The folder is the server's, and we may be root: no link of its making is followed.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        flags |= 0 if self.keeps_log else os.O_TRUNC
        with os.fdopen(os.open(self.log_file, flags, 0o600), "ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **run_as(),
            )
        scratch().runs(self._process.pid)

    def _wait_until_ready(self) -> bool:
        """True once it takes connections, False if it ended before."""
        assert self._process is not None  # noqa: S101 - for the type checker
        deadline = time.monotonic() + self.start_timeout_seconds
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                self._ended()
                return False
            with contextlib.suppress(OSError):
                if self._is_ready(self._process.pid):
                    return True
            time.sleep(self.poll_seconds)
        self._abandon()
        return False

    def _end(self, by: signal.Signals) -> None:
        """Ask it to end, and wait; kill it if it does not."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(by)
            try:
                self._process.wait(self.stop_timeout_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._ended()

    def crash(self) -> None:
        """Kill the server, and all processes of its own, at once, as a power cut would. Its data stays."""
        if self._process is None:
            return
        children = self._children(self._process.pid)
        self._process.kill()
        self._process.wait()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        self._ended()

    def _abandon(self) -> None:
        """End it fast; its data is of no more use."""
        self.crash()

    def _ended(self) -> None:
        if self._process is not None:
            scratch().ended(self._process.pid)
        self._process = None

    def close(self) -> None:
        """End the server and remove everything of it."""
        self._abandon()
        remove(self._folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
