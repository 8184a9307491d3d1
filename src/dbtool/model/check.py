"""One thing that `doctor` looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """How a check came out. Only a problem makes `doctor` fail."""

    OK = "ok"
    NOTE = "note"  # worth knowing, nothing to do
    WARNING = "warning"  # something works less well, or will not work one day
    PROBLEM = "problem"  # backups do not work


@dataclass(frozen=True)
class Check:
    """What was found. `mend` is what to do: an SQL statement or a command where there is one."""

    name: str
    state: State
    message: str
    mend: str | None = None
