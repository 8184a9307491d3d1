"""Plain aligned tables, for what dbtool itself reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dbtool.text import printable


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows below their headings, the columns aligned; without a final newline."""
    lines = [list(headings), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
