"""Results of SQL on a terminal: aligned tables, records one below the other, JSON.

Rows are shown as they come: widths are those of the first rows, and grow later if they must.
Exact values are had from an export or from JSON; here, what a terminal would obey is shown escaped.
"""

from __future__ import annotations

import bisect
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from dbtool.console.units import duration_text
from dbtool.engines.session import Result, ResultColumn
from dbtool.text import counted, printable

ROWS_MEASURED = 1000
CHARACTERS_MEASURED = 4_000_000  # fewer rows where they are wide, for they are kept meanwhile
NARROWEST_CUT_COLUMN = 16
WIDEST_PADDING = 500  # a longer cell stands out rather than padding every other row

_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"

Row = Sequence[str | None]


@dataclass(frozen=True)
class Style:
    """How results are shown.

    `width` is the terminal's, in columns; None (not a terminal) cuts nothing. `expanded` None
    means: where a table would not fit.
    """

    width: int | None = None
    color: bool = False
    is_unicode: bool = True
    expanded: bool | None = None


def show(
    result: Result, style: Style, out: TextIO, *, started: float | None = None, height: int | None = None
) -> str:
    """Show a result on `out`; the line to say below it: rows or status, and the time.

    `started` is `time.monotonic()` from before the statement was sent. With a `height` (the
    terminal's, in lines) what is longer goes through the pager; who leaves that early ends the result.
    """
    if result.columns is None:
        return f"{printable(result.status)}{_time_since(started, ' (', ')')}"
    lines = _Lines(result, result.columns, style)
    from dbtool.console.pager import page

    if page(lines, out, height):
        count = counted(lines.count, "row")
    else:
        result.close()
        count = f"the first {counted(lines.count, 'row')}, not all"
    return f"({count}{_time_since(started, ', ', '')}{'; … marks cells cut to fit' if lines.has_cut else ''})"


def json_document(results: Iterable[Result]) -> Iterator[str]:
    """Pieces of one JSON document: `{"results": [{"columns", "rows", "row_count", "status"}, …]}`.

    Rows are objects, their values as in a jsonl export. A statement without rows has null columns.
    """
    from dbtool.operations.sql_formats import Jsonl

    yield '{"results": ['
    for number, result in enumerate(results):
        columns = result.columns
        described = None
        if columns is not None:
            described = [{"name": column.name, "type": column.type_name} for column in columns]
        yield f'{"," if number else ""}\n{{"columns": {json.dumps(described)}, "rows": ['
        count = 0
        if columns is not None:
            encode = Jsonl(columns).object
            for row in result.rows():
                text = encode(row).encode("utf-8", "backslashreplace").decode()
                yield f"{',' if count else ''}\n{text}"
                count += 1
        yield f'], "row_count": {count}, "status": {json.dumps(result.status)}}}'
    yield "\n]}\n"


class _Lines:
    """The lines of a result, made as they are asked for. `count` is the number of rows so far."""

    def __init__(self, result: Result, columns: Sequence[ResultColumn], style: Style) -> None:
        self.count = 0
        self.has_cut = False
        self._result = result
        self._style = style
        self._columns = columns
        self._names = [self._cell(column.name) for column in columns]
        self._natural = [display_width(name) for name in self._names]
        self._widths: list[int] = []

    def __iter__(self) -> Iterator[str]:
        if self._result.is_raw:
            for (line,) in self._result.rows():
                self.count += 1
                yield self._raw(line or "")
            return
        if not self._columns:
            self.count = sum(1 for _ in self._result.rows())
            return
        is_expanded = self._style.expanded
        for rows in _measured(self._result.rows()):
            if not self.count and is_expanded is None:
                self._measure(rows)
                is_expanded = self._fit() is None
            yield from self._records(rows) if is_expanded else self._table(rows)
        if not self.count and not is_expanded:
            yield from self._table([])

    def _raw(self, line: str) -> str:
        """A line of COPY: as it is, but on a terminal without what that would obey."""
        if self._style.width is None:
            return line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        return "\t".join(printable(part) for part in line.split("\t"))

    def _cell(self, value: str) -> str:
        if value.isascii() and value.isprintable():
            return value
        newline, tab = ("↵", "⇥") if self._style.is_unicode else ("\\n", "\\t")
        return printable(value.replace("\r\n", newline).replace("\n", newline).replace("\t", tab))

    def _table(self, rows: Sequence[Row]) -> Iterator[str]:
        self._measure(rows)
        self._widths = self._fit() or self._natural
        if not self.count:
            yield self._line([(name, _BOLD) for name in self._names])
            rule, cross = ("─", "─┼─") if self._style.is_unicode else ("-", "-+-")
            yield cross.join(rule * min(width, self._padding) for width in self._widths)
        for row in rows:
            self.count += 1
            yield self._line([("NULL", _DIM) if value is None else (self._cell(value), "") for value in row])

    def _measure(self, rows: Sequence[Row]) -> None:
        """Widen the natural widths by what these rows need."""
        for index in range(len(self._columns)):
            widest = max((display_width(self._cell(row[index] or "")) for row in rows), default=0)
            null = 4 if any(row[index] is None for row in rows) else 0
            self._natural[index] = max(self._natural[index], widest, null)

    @property
    def _padding(self) -> int:
        return WIDEST_PADDING if self._style.width is None else self._style.width

    def _fit(self) -> list[int] | None:
        """Widths with which a table fits the terminal; None if numbers or too many columns forbid it."""
        widths = list(self._natural)
        if self._style.width is None:
            return widths
        available = self._style.width - 3 * (len(widths) - 1)
        floors = [
            width if column.is_numeric else min(width, NARROWEST_CUT_COLUMN)
            for width, column in zip(widths, self._columns, strict=True)
        ]
        if sum(floors) > available:
            return None

        def limited(limit: int) -> list[int]:
            return [min(width, max(limit, floor)) for width, floor in zip(widths, floors, strict=True)]

        # The widest columns give way, down to the widest limit with which all of them fit.
        limit = bisect.bisect_right(
            range(max(widths) + 1), available, key=lambda candidate: sum(limited(candidate))
        )
        return limited(limit - 1)

    def _line(self, cells: Sequence[tuple[str, str]]) -> str:
        parts = []
        last = len(cells) - 1
        for index, (text, look) in enumerate(cells):
            width = self._widths[index]
            used = display_width(text)
            if used > width and self._style.width is not None:
                text, used = cut(text, width, "…" if self._style.is_unicode else "~")
                self.has_cut = True
            blanks = " " * (min(width, self._padding) - used)
            painted = f"{look}{text}{_PLAIN}" if look and self._style.color else text
            if self._columns[index].is_numeric:
                painted = blanks + painted
            elif index < last:
                painted += blanks
            parts.append(painted)
        return (" │ " if self._style.is_unicode else " | ").join(parts)

    def _records(self, rows: Sequence[Row]) -> Iterator[str]:
        names = [display_width(name) for name in self._names]
        name_width = max(names)
        bar = "│" if self._style.is_unicode else "|"
        rule = "─" if self._style.is_unicode else "-"
        room = None if self._style.width is None else max(20, self._style.width - name_width - 3)
        for row in rows:
            self.count += 1
            title = f"{rule}[ {self.count} ]"
            yield title + rule * max(0, min(self._style.width or 40, 40) - len(title))
            for name, used, value in zip(self._names, names, row, strict=True):
                head = f"{_BOLD}{name}{_PLAIN}" if self._style.color else name
                head += " " * (name_width - used)
                for piece in self._pieces(value, room):
                    yield f"{head} {bar} {piece}"
                    head = " " * name_width

    def _pieces(self, value: str | None, room: int | None) -> Iterator[str]:
        """A value's lines in a record, none wider than the room there is."""
        if value is None:
            yield f"{_DIM}NULL{_PLAIN}" if self._style.color else "NULL"
            return
        for line in value.replace("\r\n", "\n").split("\n"):
            yield from wrapped(self._cell(line), room)


def display_width(text: str) -> int:
    """How many columns of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    from wcwidth import wcswidth

    width = wcswidth(text)
    return width if width >= 0 else len(text)


def wrapped(text: str, width: int | None) -> Iterator[str]:
    """A printable text in pieces that take at most `width` columns; at least one piece."""
    if width is None or not text:
        yield text
    elif text.isascii():
        for start in range(0, len(text), width):
            yield text[start : start + width]
    else:
        start = 0
        while start < len(text):
            window = text[start : start + width]  # no character takes less than nothing
            piece = window if display_width(window) <= width else cut(window, width, "")[0]
            yield piece
            start += len(piece)


def cut(text: str, width: int, mark: str) -> tuple[str, int]:
    """The beginning of a text that fits `width` columns with the mark behind it, and its width."""
    if text.isascii():
        kept = text[: max(width - len(mark), 0)] + mark
        return kept, len(kept)
    from wcwidth import wcwidth

    used = end = 0
    for end, character in enumerate(text):
        columns = max(wcwidth(character), 0)
        if used + columns > width - len(mark) and end:
            break
        used += columns
    else:
        end = len(text)
    return text[:end] + mark, used + len(mark)


def _measured(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The rows in groups small enough to keep, large enough to measure."""
    group: list[Row] = []
    size = 0
    for row in rows:
        group.append(row)
        size += sum(len(value) for value in row if value is not None)
        if len(group) >= ROWS_MEASURED or size >= CHARACTERS_MEASURED:
            yield group
            group, size = [], 0
    if group:
        yield group


def _time_since(started: float | None, before: str, after: str) -> str:
    if started is None:
        return ""
    return f"{before}{duration_text(time.monotonic() - started)}{after}"
