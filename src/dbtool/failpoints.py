"""Named places where a test lets the process die, fail or wait: `DBTOOL_FAILPOINT=name:kill`.

Actions: `kill` (SIGKILL to this process), `error` (a `DbtoolError`), `sleep` (an hour), `pause=FILE`
(makes the file, once, and waits until somebody removes it). Several are separated by commas.
Without the variable nothing ever happens; it is of no use to users.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from dbtool.errors import DbtoolError

VARIABLE = "DBTOOL_FAILPOINT"


def reach(name: str) -> None:
    """Do what `DBTOOL_FAILPOINT` asks for at the place called `name`; nearly always nothing."""
    wanted = os.environ.get(VARIABLE)
    if not wanted:
        return
    for entry in wanted.split(","):
        place, _, action = entry.partition(":")
        if place != name:
            continue
        if action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif action == "sleep":
            time.sleep(3600)
        elif action.startswith("pause="):
            _pause(Path(action.partition("=")[2]))
        else:
            raise DbtoolError(f"stopped at the failpoint {name}", f"unset {VARIABLE}")


_paused: set[Path] = set()


def _pause(file: Path) -> None:
    if file not in _paused:
        _paused.add(file)
        file.touch()
        while file.exists():
            time.sleep(0.01)
