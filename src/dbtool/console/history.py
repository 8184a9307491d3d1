"""What was typed, kept across runs in a file that only its owner can read.

Lines that hold a password are remembered for this run alone.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from prompt_toolkit.history import FileHistory

from dbtool import platforms

_HOLDS_SECRET = re.compile(
    r"""\b(passw(or)?d|pwd)\b [\s=(,"':>-]* '      # ALTER USER u PASSWORD 'x', OPTIONS (password 'x')
      | (passw(or)?d|pwd) \s* = \s* \S           # a connection string: password=x
      | identified \s+ (with \s+ \S+ \s+)? (by|as)\b
      | --?password [\s=]
      | :// [^\s/@:]* : [^\s/@]+ @         # a URL with a password in it
    """,
    re.IGNORECASE | re.VERBOSE,
)
_MOST_BYTES = 2_000_000


def history_path() -> Path:
    """`$XDG_STATE_HOME/dbtool/history`, by default below `~/.local/state`."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "dbtool" / "history"


class PrivateHistory(FileHistory):
    """prompt_toolkit's history file, without secrets and with mode 0600."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        platforms.make_private(descriptor)
        os.close(descriptor)
        _keep_newest(path)
        super().__init__(str(path))

    def store_string(self, string: str) -> None:
        """Write one entry, unless it holds a secret."""
        if not holds_secret(string):
            with contextlib.suppress(OSError):  # a full disk must not end the console
                super().store_string(string)


def holds_secret(line: str) -> bool:
    """Whether a line seems to hold a password."""
    return _HOLDS_SECRET.search(line) is not None


def _keep_newest(path: Path) -> None:
    if path.stat().st_size <= _MOST_BYTES:
        return
    kept = path.read_bytes()[-_MOST_BYTES // 2 :]
    entry = kept.find(b"\n\n#")
    shorter = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(shorter, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(kept[entry + 1 :] if entry >= 0 else b"")
    shorter.replace(path)
