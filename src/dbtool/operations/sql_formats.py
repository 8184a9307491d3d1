"""Rows as csv, tsv and jsonl text: the forms of an export, byte for byte. No I/O.

All are UTF-8. Values are the server's own text; what a spreadsheet might take for a formula is not
changed, for these are files for machines.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring as _json_text
from typing import Protocol

from dbtool.engines.session import ResultColumn
from dbtool.errors import UsageError

Row = Sequence[str | None]

_TSV_SPECIAL = re.compile(r"[\\\b\f\n\r\v]")
_TSV_ESCAPES = str.maketrans(
    {"\\": r"\\", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
)
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


class Format(Protocol):
    """One form of an export."""

    def header(self) -> bytes:
        """What stands before the first row."""

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Some rows."""


class Csv:
    """RFC 4180: CRLF, a header, quotes where needed. NULL is an empty field, the empty string `""`."""

    def __init__(self, columns: Sequence[ResultColumn]) -> None:
        self._columns = columns
        self._buffer = io.StringIO(newline="")
        self._writer = csv.writer(self._buffer, lineterminator="\r\n")

    def header(self) -> bytes:
        """The columns' names, as they are."""
        return _bytes(self._line([column.name for column in self._columns]))

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Lines. Rows that the csv module would write as we do go through it, for it is fast."""
        is_narrow = len(self._columns) < 2
        for row in rows:
            if is_narrow or "" in row:
                self._buffer.write(self._line(row))
            else:
                self._writer.writerow(row)
        text = self._buffer.getvalue()
        self._buffer.seek(0)
        self._buffer.truncate()
        return _bytes(text)

    @staticmethod
    def _line(row: Row) -> str:
        return ",".join(_csv_field(value) for value in row) + "\r\n"


class Tsv:
    """Tabs, a header, and the escapes of PostgreSQL's COPY: `\\t`, `\\n`, `\\\\`, …; NULL is `\\N`."""

    def __init__(self, columns: Sequence[ResultColumn]) -> None:
        self._columns = columns

    def header(self) -> bytes:
        """The columns' names, escaped like values."""
        return _bytes(self._line([column.name for column in self._columns]))

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Lines."""
        return _bytes("".join(map(self._line, rows)))

    @staticmethod
    def _line(row: Row) -> str:
        if None not in row:
            line = "\t".join(row)  # type: ignore[arg-type]
            if line.count("\t") == len(row) - 1 and not _TSV_SPECIAL.search(line):
                return line + "\n"
        return "\t".join("\\N" if value is None else value.translate(_TSV_ESCAPES) for value in row) + "\n"


class Jsonl:
    """One JSON object a line. Numbers, booleans and JSON are themselves; a number keeps every digit.

    NaN and Infinity, which JSON does not know, are strings. Of two columns of the same name the
    second is `name_2`.
    """

    def __init__(self, columns: Sequence[ResultColumn]) -> None:
        names = unique_names([column.name for column in columns])
        self._keys = [f"{_json_text(name)}: " for name in names]
        self._encoders: list[Callable[[str], str]] = [
            _JSON_ENCODERS.get(column.json_kind, _json_text) for column in columns
        ]

    def header(self) -> bytes:
        """Nothing."""
        return b""

    def rows(self, rows: Iterable[Row]) -> bytes:
        """Lines."""
        # A byte that is no UTF-8 is a lone surrogate in memory; as `\\udcXX` it is valid JSON.
        return "".join(self.object(row) + "\n" for row in rows).encode("utf-8", "backslashreplace")

    def object(self, row: Row) -> str:
        """One row as a JSON object, on one line."""
        fields = (
            key + ("null" if value is None else encode(value))
            for key, encode, value in zip(self._keys, self._encoders, row, strict=True)
        )
        return "{" + ", ".join(fields) + "}"


_FORMATS: dict[str, type[Csv] | type[Tsv] | type[Jsonl]] = {"csv": Csv, "tsv": Tsv, "jsonl": Jsonl}
FORMATS = tuple(_FORMATS)


def format_for(form: str, columns: Sequence[ResultColumn]) -> Format:
    """The writer of a form. Raises UsageError for one that is not known."""
    if form not in _FORMATS:
        raise UsageError(f"there is no export format {form}", f"Choose one of {', '.join(_FORMATS)}.")
    return _FORMATS[form](columns)


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, with `_2`, `_3`, … behind those that were there before."""
    taken = set(names)
    seen: set[str] = set()
    unique = []
    for name in names:
        candidate, number = name, 1
        while candidate in seen or (number > 1 and candidate in taken):
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate)
        unique.append(candidate)
    return unique


def _csv_field(value: str | None) -> str:
    if value is None:
        return ""
    if value and not ('"' in value or "," in value or "\n" in value or "\r" in value):
        return value
    return '"' + value.replace('"', '""') + '"'


def _json_number(value: str) -> str:
    return value if _JSON_NUMBER.fullmatch(value) else _json_text(value)


def _json_boolean(value: str) -> str:
    return {"t": "true", "f": "false", "1": "true", "0": "false"}.get(value) or _json_text(value)


def _json_itself(value: str) -> str:
    # Line breaks in JSON can only stand between its tokens.
    return value.replace("\r", " ").replace("\n", " ")


_JSON_ENCODERS: dict[str, Callable[[str], str]] = {
    "number": _json_number,
    "boolean": _json_boolean,
    "json": _json_itself,
}


def _bytes(text: str) -> bytes:
    # Bytes that were no UTF-8 go out as they came.
    return text.encode("utf-8", "surrogateescape")
