"""Long text through the user's pager, line by line, so that a huge result is never held in memory."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from itertools import chain, islice
from typing import TextIO

# Keep colours, cut long lines instead of wrapping them, leave the text on the screen.
_LESS_OPTIONS = "SRFX"


def page(lines: Iterable[str], out: TextIO, height: int | None) -> bool:
    """Write the lines to `out`; through the pager where there are more than `height`.

    `height` None never pages. False if the reader left the pager before the last line was written.
    """
    iterator = iter(lines)
    first = list(islice(iterator, max(height - 1, 1))) if height is not None else []
    command = pager_command() if height is not None else None
    following = next(iterator, None) if command else None
    if command is None or following is None:
        rest = iterator if following is None else chain((following,), iterator)
        for line in chain(first, rest):
            out.write(f"{line}\n")
        out.flush()
        return True
    out.flush()
    return _through(command, chain(first, (following,), iterator))


def pager_command() -> list[str] | None:
    """What `PAGER` says, else less, else more; None if there is none, or it only copies."""
    chosen = os.environ.get("PAGER")
    try:
        command = shlex.split(chosen) if chosen is not None else []
    except ValueError:
        command = []
    if chosen is not None:
        return command if command and command != ["cat"] and shutil.which(command[0]) else None
    return next(([name] for name in ("less", "more") if shutil.which(name)), None)


def _through(command: list[str], lines: Iterable[str]) -> bool:
    environment = {"LESS": _LESS_OPTIONS, "LESSCHARSET": "utf-8", **os.environ}
    pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    assert pager.stdin is not None  # noqa: S101
    try:
        for line in lines:
            pager.stdin.write(line.encode("utf-8", "replace") + b"\n")
        pager.stdin.flush()
        return True
    except BrokenPipeError:
        return False
    finally:
        with contextlib.suppress(OSError):
            pager.stdin.close()
        while pager.poll() is None:
            # Ctrl-C belongs to the pager now: while it runs, the terminal is its own.
            with contextlib.suppress(KeyboardInterrupt):
                pager.wait()
