"""What a run gives: lines of what was measured, and verdicts on what was promised."""

from __future__ import annotations

from dataclasses import dataclass, field

MEGABYTE = 1_000_000


@dataclass
class Line:
    """One measured thing: medians, and beside whom it stood."""

    section: str
    name: str
    wall_seconds: float
    client_cpu_seconds: float = 0.0
    server_cpu_seconds: float = 0.0
    other_cpu_seconds: float = 0.0
    size_bytes: int = 0
    is_ours: bool = False
    is_drawn: bool = False  # in the chart


@dataclass
class Verdict:
    """One promise: a figure, its goal ("at most"; None: only told), and whether it was kept.

    `reached` is None where it was not measured.
    """

    section: str
    what: str
    goal: float | None
    reached: float | None
    by_cpu: float | None = None  # the same ratio in CPU seconds of client and server
    unit: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether there is no goal, or it was reached."""
        return self.goal is None or (self.reached is not None and self.reached <= self.goal)


@dataclass
class Results:
    """All lines and verdicts of a run."""

    lines: list[Line] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
