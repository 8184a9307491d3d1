"""The watermark of a column of times is early enough in every zone, and only a server's clock makes it."""

from __future__ import annotations

import zoneinfo
from datetime import datetime, timedelta, timezone

import pytest

from dbtool.engines.watermark import Watermark, watermark_of
from dbtool.errors import NeedsFullError

BASE = {
    "time": "2026-03-29T01:30:00.000000+00:00",
    "oldest_transaction_time": "2026-03-29T00:59:59.500000+00:00",
}
LATER = "2026-03-30T00:00:00.000000+00:00"


def test_it_lies_before_the_oldest_transaction() -> None:
    found = watermark_of(BASE, LATER)
    assert found.instant == datetime(2026, 3, 29, 0, 49, 59, 500000, timezone.utc)
    assert found.local == datetime(2026, 3, 28, 0, 49, 59, 500000)  # noqa: DTZ001
    assert found.day.isoformat() == "2026-03-28"
    turned = {**BASE, "oldest_transaction_time": "2026-03-29T02:00:00+00:00"}
    assert watermark_of(turned, LATER).instant == datetime(2026, 3, 29, 1, 20, tzinfo=timezone.utc)


def test_no_zone_shows_an_earlier_time_at_any_hour_of_the_year() -> None:
    """Also in the hour that comes twice when summer ends."""
    for name in sorted(zoneinfo.available_timezones()):
        zone = zoneinfo.ZoneInfo(name)
        for hours in range(0, 366 * 24, 97):
            instant = datetime(2026, 1, 1, tzinfo=timezone.utc) + timedelta(hours=hours)
            watermark, shown = Watermark(instant), instant.astimezone(zone).replace(tzinfo=None)
            assert watermark.local <= shown, name
            assert watermark.day <= shown.date(), name


@pytest.mark.parametrize("base", [{"time": BASE["time"]}, {**BASE, "oldest_transaction_time": None}])
def test_a_base_that_does_not_tell_needs_a_full(base: dict[str, str]) -> None:
    with pytest.raises(NeedsFullError, match="since when transactions were open"):
        watermark_of(base, LATER)


def test_a_clock_that_was_put_back_needs_a_full() -> None:
    with pytest.raises(NeedsFullError, match="clock was put back"):
        watermark_of(BASE, "2026-03-29T01:29:59.000000+00:00")
