"""Names and values as they may be shown to a person: one line, and nothing a terminal would obey."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# C0 and C1 controls, DEL, line and paragraph separators, directional overrides, lone surrogates.
_UNSAFE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")

_LISTED_NAMES = 3


def _escaped(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def printable(text: str) -> str:
    """`text` with control characters shown as `\\x1b`, `\\x0a`, `\\u2028`."""
    return _UNSAFE.sub(_escaped, text)


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    shown = ", ".join(names[:_LISTED_NAMES])
    more = len(names) - _LISTED_NAMES
    return f"{shown} and {more:,} more" if more > 0 else shown


def plural(count: int, noun: str) -> str:
    """The noun, in its plural unless the count is 1; for those that end in an s then."""
    return noun if count == 1 else f"{noun}s"


def counted(count: int, noun: str) -> str:
    """How many there are: `1 table`, `1,200 tables`."""
    return f"{count:,} {plural(count, noun)}"


def shell_word(text: str) -> str:
    """One word of a shell's, on one line: what a terminal would obey, or not show, comes by printf."""
    if printable(text) == text:
        return shlex.quote(text)
    escaped = "".join(
        character.replace("\\", "\\\\") if printable(character) == character else _octal(character)
        for character in text
    )
    return f"\"$(printf '%b' {shlex.quote(escaped)})\""


def _octal(character: str) -> str:
    return "".join(f"\\0{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def aligned(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a table as `\\d` shows it: titles, a rule, the rows."""
    from wcwidth import wcswidth

    cells = [tuple(titles), *([printable(str(value)) for value in row] for row in rows)]
    widths = [max(max(wcswidth(row[index]), 0) for row in cells) for index in range(len(titles))]

    def line(row: Sequence[str]) -> str:
        padded = (
            text + " " * (width - max(wcswidth(text), 0)) for text, width in zip(row, widths, strict=True)
        )
        return "  " + "  ".join(padded).rstrip()

    return [line(cells[0]), "  " + "  ".join("-" * width for width in widths), *map(line, cells[1:])]
