"""When a chain has gone on long enough: the next backup is then a full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dbtool.catalog.index import BackupSummary
from dbtool.catalog.stored import moment
from dbtool.model.backup import Status
from dbtool.text import counted, printable

_DAY = 86400.0


@dataclass(frozen=True)
class DifferentialPolicy:
    """How many differentials a full may have, how old it may be for another one, and how large the last
    one may have been, as a share of the full's stored bytes."""

    max_differentials: int = 30
    max_chain_age_seconds: float = 7 * _DAY
    max_differential_ratio: float = 0.5


def policy_reason(
    full: BackupSummary, differentials: Sequence[BackupSummary], policy: DifferentialPolicy, now: datetime
) -> str | None:
    """Why the next backup on `full` must be a full, in one line; None if it may be a differential.

    Of its differentials only completed ones count. `now` is aware of its zone.
    """
    name = printable(full.id)
    completed = [one for one in differentials if one.status == Status.COMPLETED.value]
    if len(completed) >= policy.max_differentials:
        return (
            f"{name} has {counted(len(completed), 'differential')}, "
            f"and max_differentials is {policy.max_differentials}"
        )
    age = (now - moment(full.timestamp_start)).total_seconds()
    if age > policy.max_chain_age_seconds:
        return (
            f"{name} is {_age_text(age)} old, and max_chain_age is {_age_text(policy.max_chain_age_seconds)}"
        )
    last = max(completed, key=lambda one: moment(one.timestamp_start), default=None)
    if last is None or full.stored_bytes <= 0:
        return None
    ratio = last.stored_bytes / full.stored_bytes
    if ratio > policy.max_differential_ratio:
        return (
            f"the last differential has {ratio:.2f} of the size of {name}, "
            f"and max_differential_ratio is {policy.max_differential_ratio:g}"
        )
    return None


def _age_text(seconds: float) -> str:
    """In the largest unit that leaves at least two of it: `12 hours`, `7 days`."""
    for size, unit in ((_DAY, "day"), (3600.0, "hour"), (60.0, "minute")):
        if seconds >= 2 * size or (unit == "day" and seconds == size):
            text = f"{seconds / size:.1f}".removesuffix(".0")
            return f"{text} {unit if text == '1' else unit + 's'}"
    return counted(round(seconds), "second")
