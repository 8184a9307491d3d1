"""Splitting lines by shell-like quotes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtool.console import words
from dbtool.errors import UsageError


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a b  c", ["a", "b", "c"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        (r"a\ b \'c", ["a b", "'c"]),
        (r'"a\"b" "a\b"', ['a"b', r"a\b"]),
        (r"'a\b'", [r"a\b"]),
        ("a'b c'd", ["ab cd"]),
        ("''", [""]),
        ("  ", []),
        ("$HOME *.x # no comment", ["$HOME", "*.x", "#", "no", "comment"]),
    ],
)
def test_words_are_split_as_a_shell_does(line: str, expected: list[str]) -> None:
    assert words.split(line) == expected


@pytest.mark.parametrize("line", ["'a", 'x "b', "c\\"])
def test_an_open_quote_is_an_error(line: str) -> None:
    with pytest.raises(UsageError):
        words.split(line)


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=0, max_size=12), max_size=5))
def test_what_is_quoted_comes_back(texts: list[str]) -> None:
    assert words.split(" ".join(words.quote(text) for text in texts)) == texts


@given(st.text(max_size=40))
def test_scanning_never_fails_and_covers_the_line(line: str) -> None:
    position = 0
    for word in words.scan(line):
        assert line[position : word.start].strip() == ""
        assert word.start < word.end <= len(line)
        position = word.end
