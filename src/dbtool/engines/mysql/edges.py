"""Finding keys that cut a table into pieces of about the same size, by asking the server's index.

The server estimates, by a look at both ends, how many rows lie in a range of an index: so ranges are
halved until each is small, however sparse or crowded the keys are. Where a number lies between two others
is plain; between two texts only the server knows, so a text that may lie between is tried, and the key that the server
finds there is taken. Where that leads nowhere, the server steps through the index.

Any edges give whole and disjoint chunks, for each row lies on one side of each. Good ones only share the work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.queries import rows_of, stored_text
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.engines.mysql.table_facts import KeyColumn, TableFacts

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

Edge = tuple[str, ...]  # literals of the first columns of the key

_INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "integer", "bigint", "year"})
_NUMBERS = _INTEGERS | {"decimal", "numeric", "date", "datetime", "timestamp"}
_TEXTS = frozenset({"char", "varchar"})
_BINARIES = frozenset({"binary", "varbinary"})
# Letters of several bytes that are not seen to be such, or ASCII that is not one byte.
_WIDE = frozenset(
    {
        *("ucs2", "utf16", "utf16le", "utf32", "big5", "cp932", "eucjpms", "euckr", "gb18030", "gb2312"),
        *("gbk", "sjis", "ujis"),
    }
)
_MOST_PARTS = 16
_MOST_ESTIMATES = 20000
_DEEPEST = 200
_DAYS, _MONTHS = 28, 12  # of a calendar in which every date exists
_SECONDS = 86400
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
_TRIED = (0.5, 0.25, 0.75)


class EdgeFinder:
    """Cuts one table, or a partition. `source` is what stands behind FROM."""

    def __init__(self, session: Session, facts: TableFacts, source: str, rows: float, pieces: int) -> None:
        self._session = session
        index = quote_identifier(facts.index)
        self._source = f"{source} FORCE INDEX ({index})"
        self._estimated = f"{source} USE INDEX ({index})"
        self._cut = facts.cut
        self._wanted = max(1.0, rows / pieces)
        self._estimates_left = _MOST_ESTIMATES
        self._gathered = 0.0  # rows since the last edge
        self._edges: list[Edge] = []

    def edges(self) -> list[Edge]:
        """In the order of the key. Raises what the driver raises."""
        self._below((), 0)
        return list(dict.fromkeys(self._edges))

    def _below(self, prefix: Edge, depth: int) -> None:
        """Cut the rows whose key begins with `prefix`."""
        column = self._cut[len(prefix)]
        ends = self._ends(prefix, None, None)
        if ends is None:
            return
        if column.data_type in _NUMBERS:
            low, high = (_number(column, value) for value in ends)
            self._numbers(prefix, low, high + 1, depth)
        elif column.data_type in _TEXTS | _BINARIES:
            self._texts(prefix, None, None, ends, depth)
        else:
            self._steps(prefix, None, None)

    def _leaf(self, prefix: Edge, start: str | None, rows: float) -> None:
        """A range that is cut no further, from `start` on. An edge comes before it once enough is gathered."""
        if self._gathered and self._gathered + rows > self._wanted * 1.25:
            self._add(prefix, start)
        self._gathered += rows

    def _add(self, prefix: Edge, start: str | None) -> None:
        edge = prefix if start is None else (*prefix, start)
        if edge:
            self._edges.append(edge)
            self._gathered = 0.0

    # ---- numbers -------------------------------------------------------------------------------

    def _numbers(self, prefix: Edge, start: int, end: int, depth: int) -> None:
        column = self._cut[len(prefix)]
        # Python's numbers have no end, so BIGINT UNSIGNED cannot run over.
        waiting = [(start, end, depth)]
        while waiting:
            low, high, depth = waiting.pop()
            first = None if low == start else _number_literal(column, low)
            last = None if high == end else _number_literal(column, high)
            rows = self._estimate(prefix, first, last)
            parts = min(_MOST_PARTS, high - low, max(2, round(rows / self._wanted)))
            if rows <= self._wanted or depth >= _DEEPEST:
                self._leaf(prefix, first, rows)
            elif parts < 2:
                self._one_value(prefix, first, last, rows, depth)
            else:
                cuts = [low + (high - low) * part // parts for part in range(parts + 1)]
                ranges = list(pairwise(cuts))
                waiting += [(left, right, depth + 1) for left, right in reversed(ranges)]

    def _one_value(self, prefix: Edge, first: str | None, last: str | None, rows: float, depth: int) -> None:
        """A value, or a second, with many rows: the next column of the key may cut them."""
        ends = self._ends(prefix, first, last)
        if ends is None:
            return
        literal = _literal(self._cut[len(prefix)], ends[0])
        if ends[0] == ends[1] and len(prefix) + 1 < len(self._cut):
            self._add(prefix, literal)
            self._below((*prefix, literal), depth + 1)
        elif ends[0] == ends[1]:
            self._leaf(prefix, first, rows)
        else:
            self._steps(prefix, first, last)

    # ---- texts ---------------------------------------------------------------------------------

    def _texts(
        self, prefix: Edge, first: str | None, last: str | None, ends: tuple[bytes, bytes], depth: int
    ) -> None:
        column = self._cut[len(prefix)]
        rows = self._estimate(prefix, first, last)
        if rows <= self._wanted or depth >= _DEEPEST:
            self._leaf(prefix, first, rows)
            return
        if ends[0] == ends[1]:
            self._one_value(prefix, first, last, rows, depth)
            return
        for share in _TRIED:
            text = _between(column, ends[0], ends[1], share)
            if text is None:
                continue
            found = self._ends(prefix, first, last, _literal(column, text))
            if found is None or found[0] == ends[0]:
                continue
            middle = _literal(column, found[0])
            below = self._ends(prefix, first, middle)
            if below is None:
                continue
            self._texts(prefix, first, middle, below, depth + 1)
            self._texts(prefix, middle, last, found, depth + 1)
            return
        self._steps(prefix, first, last)

    # ---- asking the server -----------------------------------------------------------------------

    def _where(self, prefix: Edge, first: str | None, last: str | None, also_from: str | None = None) -> str:
        parts = [
            f"{quote_identifier(column.name)} = {literal}"
            for column, literal in zip(self._cut, prefix, strict=False)
        ]
        name = quote_identifier(self._cut[len(prefix)].name)
        parts += [f"{name} >= {first}"] if first else []
        parts += [f"{name} < {last}"] if last else []
        parts += [f"{name} >= {also_from}"] if also_from else []
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def _estimate(self, prefix: Edge, first: str | None, last: str | None) -> float:
        self._estimates_left -= 1
        if self._estimates_left < 0:
            return 0.0  # enough cuts for any table
        where = self._where(prefix, first, last)
        # MySQL estimates nothing for an index that it is forced to use.
        sql = f"EXPLAIN FORMAT=TRADITIONAL SELECT 1 FROM {self._estimated}{where}"  # noqa: S608
        with self._session.cursor() as cursor:
            cursor.execute(sql)
            names = [str(column[0]).lower() for column in cursor.description or ()]
            row: Sequence[Any] = cursor.fetchone() or ()
        return float(dict(zip(names, row, strict=False)).get("rows") or 0)

    def _ends(
        self, prefix: Edge, first: str | None, last: str | None, also_from: str | None = None
    ) -> tuple[bytes, bytes] | None:
        """The lowest and the highest value of the next column in a range; None where there is none."""
        name = quote_identifier(self._cut[len(prefix)].name)
        where = self._where(prefix, first, last, also_from)
        with stored_text(self._session):
            found = [
                rows_of(
                    self._session,
                    f"SELECT {name} FROM {self._source}{where} ORDER BY {name}{direction} LIMIT 1",  # noqa: S608
                )
                for direction in ("", " DESC")
            ]
        if not all(found):
            return None
        return _bytes(found[0][0][0]), _bytes(found[1][0][0])

    def _steps(self, prefix: Edge, first: str | None, last: str | None) -> None:
        """Every so many rows, the key that stands there."""
        step = max(1, int(self._wanted))
        name = quote_identifier(self._cut[len(prefix)].name)
        column = self._cut[len(prefix)]
        start = first
        seen: bytes | None = None
        while self._estimates_left > 0:
            self._estimates_left -= 1
            where = self._where(prefix, start, last)
            with stored_text(self._session):
                found = rows_of(
                    self._session,
                    f"SELECT {name} FROM {self._source}{where} ORDER BY {name} LIMIT {step}, 1",  # noqa: S608
                )
            if not found:
                return
            value = _bytes(found[0][0])
            start = _literal(column, value)
            if value == seen:  # more rows of one value than a piece: step over it
                where = self._where(prefix, None, last)
                beyond = f"{where} {'AND' if where else 'WHERE'} {name} > {start}"
                with stored_text(self._session):
                    found = rows_of(
                        self._session,
                        f"SELECT {name} FROM {self._source}{beyond} ORDER BY {name} LIMIT 1",  # noqa: S608
                    )
                if not found:
                    return
                value = _bytes(found[0][0])
                start = _literal(column, value)
            seen = value
            self._add(prefix, start)


def condition(cut: Sequence[KeyColumn], low: Edge | None, high: Edge | None) -> str:
    """That a row's key is at or behind an edge, and before another; whole keys are compared."""
    parts = []
    if low:
        parts.append(_compared(cut, low, ">", ">="))
    if high:
        parts.append(_compared(cut, high, "<", "<"))
    if low and high and len(low) > 1 and len(high) > 1:
        name = quote_identifier(cut[0].name)
        parts.append(f"{name} BETWEEN {low[0]} AND {high[0]}")  # for the server, to see the range at once
    return " AND ".join(parts)


def _compared(cut: Sequence[KeyColumn], edge: Edge, further: str, last: str) -> str:
    """`a > x OR (a = x AND (b > y OR (b = y AND c >= z)))`"""
    name = quote_identifier(cut[0].name)
    if len(edge) == 1:
        return f"{name} {last} {edge[0]}"
    inner = _compared(cut[1:], edge[1:], further, last)
    return f"({name} {further} {edge[0]} OR ({name} = {edge[0]} AND {inner}))"


# ---- values ----------------------------------------------------------------------------------------


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _literal(column: KeyColumn, value: bytes) -> str:
    """A stored value as SQL, in its own character set and collation."""
    if column.data_type in _BINARIES:
        return f"x'{value.hex()}'"
    if column.data_type in _TEXTS:
        return f"_{column.charset} x'{value.hex()}' COLLATE {column.collation}"
    text = value.decode("ascii")
    return text if column.data_type in _INTEGERS | {"decimal", "numeric"} else f"'{text}'"


def _number(column: KeyColumn, value: bytes) -> int:
    """A value's place among those of its type: whole numbers, days or seconds."""
    text = value.decode("ascii")
    if column.data_type in _INTEGERS:
        return int(text)
    if column.data_type in ("decimal", "numeric"):
        return int(Decimal(text).to_integral_value(rounding="ROUND_FLOOR"))
    year, month, day = (int(part) for part in text[:10].split("-"))
    days = (year * _MONTHS + max(month, 1) - 1) * _DAYS + min(max(day, 1), _DAYS) - 1
    if column.data_type == "date":
        return days
    hours, minutes, seconds = (int(part) for part in text[11:19].split(":"))
    return days * _SECONDS + hours * 3600 + minutes * 60 + seconds


def _number_literal(column: KeyColumn, number: int) -> str:
    if column.data_type not in ("date", "datetime", "timestamp"):
        return str(number)
    days, seconds = (number, 0) if column.data_type == "date" else divmod(number, _SECONDS)
    months, day = divmod(days, _DAYS)
    text = f"{months // _MONTHS:04}-{months % _MONTHS + 1:02}-{day + 1:02}"
    if column.data_type == "date":
        return f"'{text}'"
    return f"'{text} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}'"


def _between(column: KeyColumn, low: bytes, high: bytes, share: float) -> bytes | None:
    """A text that may well lie so far between two others."""
    if column.data_type in _BINARIES:
        width = max(len(low), len(high), 1)
        first, last = (int.from_bytes(end.ljust(width, b"\0"), "big") for end in (low, high))
        return (first + int((last - first) * Decimal(share))).to_bytes(width, "big")
    if column.charset in _WIDE:
        return None
    start = 0
    while start < min(len(low), len(high)) and low[start] == high[start]:
        start += 1
    while start and low[start : start + 1] and low[start] & 0xC0 == 0x80:  # not within a letter
        start -= 1
    lowest, highest = (_rank(end[start:]) for end in (low, high))
    if highest <= lowest:
        return None
    rank = lowest + (highest - lowest) * share
    letters = ""
    for _ in range(4):
        rank *= len(_LETTERS)
        letters += _LETTERS[min(int(rank), len(_LETTERS) - 1)]
        rank -= int(rank)
    return low[:start] + letters.encode("ascii")


def _rank(text: bytes) -> float:
    """A text's place among all, between 0 and 1, by its first letters and digits."""
    rank, weight = 0.0, 1.0
    for character in text[:8].decode("latin-1").lower():
        weight /= len(_LETTERS)
        place = _LETTERS.find(character)
        rank += weight * (place if place >= 0 else 0 if character < "0" else len(_LETTERS) - 1)
    return rank


def ranges(edges: Sequence[Edge]) -> Iterator[tuple[Edge | None, Edge | None]]:
    """Ranges that meet at the edges; the first and the last are open."""
    yield from zip([None, *edges], [*edges, None], strict=True)
