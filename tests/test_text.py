"""Words for numbers."""

from __future__ import annotations

import pytest

from dbtool.text import counted, plural


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 tables"), (1, "1 table"), (2, "2 tables"), (1200, "1,200 tables")]
)
def test_what_is_counted_stands_in_its_plural_unless_it_is_one(count: int, words: str) -> None:
    assert counted(count, "table") == words
    assert plural(count, "table") == words.split()[1]
