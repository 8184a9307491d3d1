"""From which moment on a column of times says that a row changed since a full backup.

The moment is the server's, never this machine's. It lies before the beginning of every transaction that was
open at the full's snapshot: their rows are not in it, but may be stamped with the time of that beginning. More rows
than those that changed do no harm.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any

from dbtool.errors import NeedsFullError

# Applications stamp rows by clocks of their own, and before they write them.
_MARGIN = timedelta(minutes=10)
# A time without a zone is that of a zone which nothing tells: of the server, a session, an application. No clock
# shows less than that of UTC minus this, at whatever time of the year. (No zone in use is behind it by more
# than half of it.)
_FURTHEST_ZONE = timedelta(hours=24)


@dataclass(frozen=True)
class Watermark:
    """The moment, for each kind of column."""

    instant: datetime  # in UTC, for columns that are aware of zones

    @property
    def local(self) -> datetime:
        """For columns without a zone: earlier than what any zone's clock showed at that instant."""
        return (self.instant - _FURTHEST_ZONE).replace(tzinfo=None)

    @property
    def day(self) -> date:
        """For columns of days."""
        return self.local.date()


def watermark_of(base: Mapping[str, Any], now: str) -> Watermark:
    """The watermark of a full whose snapshot is `base`, for a snapshot whose time, by the server's clock, is
    `now`. `NeedsFullError` where the full does not tell enough."""
    oldest = base.get("oldest_transaction_time")
    if oldest is None:
        raise NeedsFullError(
            "the base does not say since when transactions were open (a standby cannot tell), and "
            "-method timestamp has to know"
        )
    earliest = min(_instant(oldest), _instant(base["time"]))
    if _instant(now) < _instant(base["time"]):
        raise NeedsFullError(f"the server's clock was put back: it shows {now}, and the base {base['time']}")
    return Watermark(earliest - _MARGIN)


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(timezone.utc)
