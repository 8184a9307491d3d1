"""Finds text that is none in its own character set: no server takes it back as it is.

Servers check text when it comes in, but upgrades, copied files and old errors have left such values. What
is read is looked at first: most of it is plain ASCII, or UTF-8 throughout, and then all is well. Only
where that does not decide, the server is asked, by a query over the chunk's rows.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtool.engines.mysql.queries import rows_of
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.engines.mysql.table_facts import TableFacts

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

# In these every byte is a letter, or is taken for one.
_EVERY_BYTE = frozenset(
    {
        *("armscii8", "binary", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8"),
        *("geostd8", "greek", "hebrew", "hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5"),
        *("latin7", "macce", "macroman", "swe7", "tis620"),
    }
)
_UTF8 = frozenset({"utf8mb4", "utf8mb3", "utf8"})
# ASCII is no text in these.
_WIDE = frozenset({"ucs2", "utf16", "utf16le", "utf32"})
_PIECE_BYTES = 1 << 19
_LABELS = ("enum", "set")  # kept as numbers: their texts stand in the definition
_SHOWN_KEY = 80


@dataclass(frozen=True)
class Finding:
    """A value that is no text."""

    column: str
    charset: str
    key: str  # of its row, as a person reads it; "" where the table has none


class TextCheck:
    """What must be looked at in a table's rows."""

    def __init__(self, facts: TableFacts) -> None:
        self._facts = facts
        texts = [column for column in facts.checked if column.data_type.lower() not in _LABELS]
        self._strict = [column for column in texts if str(column.charset).lower() not in _EVERY_BYTE]
        charsets = {str(column.charset).lower() for column in self._strict}
        self._is_wide = bool(charsets & _WIDE)
        # Only if all bytes beyond ASCII must be UTF-8 can it be seen without the server.
        others = {column.name for column in texts} - {column.name for column in self._strict}
        has_bytes = any(
            kind == "s" and column.type.lower().split("(")[0] in _OF_BYTES
            for kind, column in zip(facts.table.details["kinds"], facts.table.columns, strict=True)
        )
        labels = any(
            c.data_type.lower() in _LABELS and str(c.charset).lower() not in _UTF8 for c in facts.checked
        )
        self._is_all_utf8 = charsets <= _UTF8 and not others and not has_bytes and not labels
        self._has_short_utf8 = bool(charsets & {"utf8mb3", "utf8"})

    @property
    def is_needed(self) -> bool:
        """Whether there is any column whose values may be no text."""
        return bool(self._strict)

    def is_surely_good(self, text: memoryview) -> bool:
        """Whether the rows' text shows that all is well; if not, the server must be asked."""
        if self._is_wide:
            return False
        decoder = None
        for start in range(0, len(text), _PIECE_BYTES):
            piece = bytes(text[start : start + _PIECE_BYTES])
            if decoder is None and piece.isascii():
                continue
            if not self._is_all_utf8:
                return False
            decoder = decoder or codecs.getincrementaldecoder("utf-8")()
            try:
                letters = decoder.decode(piece)
            except UnicodeDecodeError:
                return False
            if self._has_short_utf8 and max(letters, default="") > "\uffff":
                return False
        try:
            return decoder is None or not decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False

    def ask(self, session: Session, source: str, condition: str) -> Finding | None:
        """Let the server look at rows; the first value that is no text."""
        tests = [_is_bad(quote_identifier(column.name), str(column.charset)) for column in self._strict]
        keys = [quote_identifier(name) for name in self._facts.table.key]
        shown = ", ".join(f"HEX({key})" for key in keys) or "NULL"
        where = f"({condition}) AND " if condition else ""
        found = rows_of(
            session,
            f"SELECT {', '.join(tests)}, {shown} FROM {source} WHERE {where}({' OR '.join(tests)}) LIMIT 1",  # noqa: S608
        )
        if not found:
            return None
        row = found[0]
        place = next(number for number in range(len(tests)) if row[number])
        column = self._strict[place]
        return Finding(column.name, str(column.charset), self._key(row[len(tests) :]))

    def _key(self, values: Sequence[str]) -> str:
        names = self._facts.table.key
        if not names:
            return ""
        texts = {column.name for column in self._facts.checked}
        parts = []
        for name, value in zip(names, values, strict=True):
            raw = str(value)
            kind = next(column.type for column in self._facts.table.columns if column.name == name)
            parts.append(f"{name} = {_shown(raw, name in texts, kind)}")
        return ", ".join(parts)[:_SHOWN_KEY]


_OF_BYTES = frozenset(
    {
        *("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "vector"),
        *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
        *("geometrycollection", "geomcollection", "uuid", "inet4", "inet6"),
    }
)


def _is_bad(name: str, charset: str) -> str:
    """Whether a column's bytes, taken anew as text of its character set, are no more the same."""
    raw = f"CAST({name} AS BINARY)"
    return f"NOT ({raw} <=> CAST(CONVERT({raw} USING {charset}) AS BINARY))"


def _shown(raw: str, is_text: bool, kind: str) -> str:
    """A key's value as a person reads it, of its hexadecimal form."""
    kind = kind.lower().split("(")[0].split(" ")[0]
    try:
        if is_text:
            return repr(bytes.fromhex(raw).decode())
        if kind in ("tinyint", "smallint", "mediumint", "int", "bigint"):
            return str(int(raw, 16))
        if kind in ("date", "datetime", "timestamp", "time", "decimal", "year"):
            return bytes.fromhex(raw).decode("ascii")
    except ValueError:
        pass
    return f"x'{raw}'"
