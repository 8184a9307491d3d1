"""One result of a running statement: its columns, and its rows as they come, in flat memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from dbtool.engines.mysql.wire import Decode, Ending, Row, strings
from dbtool.engines.session import ResultColumn
from dbtool.text import counted

_BINARY_CHARSET = 63
_UNSIGNED, _ENUM, _SET = 0x20, 0x100, 0x800

# The protocol's numbers of types.
_NUMBERS = {
    0: "decimal",
    1: "tinyint",
    2: "smallint",
    3: "int",
    4: "float",
    5: "double",
    8: "bigint",
    9: "mediumint",
    13: "year",
    246: "decimal",
}
_OTHERS = {
    6: "null",
    7: "timestamp",
    10: "date",
    11: "time",
    12: "datetime",
    14: "date",
    16: "bit",
    242: "vector",
    245: "json",
    247: "enum",
    248: "set",
    255: "geometry",
}
# (as text, as bytes)
_STRINGS = {
    15: ("varchar", "varbinary"),
    249: ("tinytext", "tinyblob"),
    250: ("mediumtext", "mediumblob"),
    251: ("longtext", "longblob"),
    252: ("text", "blob"),
    253: ("varchar", "varbinary"),
    254: ("char", "binary"),
}
_BYTES = ("bit", "vector", "geometry")  # always shown as what they are


class Statement(Protocol):
    """What a result needs of the session that runs its statement."""

    def more_rows(self, decoders: Sequence[Decode | None]) -> tuple[list[Row], Ending | None]:
        """The rows that came next, or how the result ended. Raises what the server refuses."""

    def skip_rows(self) -> tuple[int, Ending | None]:
        """The same for rows that nobody wants: how many came."""

    def end_statement(self) -> None:
        """Ask the server to end the running statement, and read what it still sends."""

    def finished(self, ending: Ending | None) -> None:
        """The result is over."""


def column_of(packet: bytes) -> tuple[ResultColumn, Decode | None]:
    """A column's definition, and what makes text of its values where they are bytes."""
    (_, _, _, _, name, _), position = strings(packet, 6)
    charset = int.from_bytes(packet[position + 1 : position + 3], "little")
    number = packet[position + 7]
    flags = int.from_bytes(packet[position + 8 : position + 10], "little")
    is_binary = False
    if number in _NUMBERS:
        type_name = _NUMBERS[number] + (" unsigned" if flags & _UNSIGNED and number != 13 else "")
    elif flags & (_ENUM | _SET):
        type_name = "enum" if flags & _ENUM else "set"
    elif number in _STRINGS:
        is_binary = charset == _BINARY_CHARSET
        type_name = _STRINGS[number][is_binary]
    else:
        type_name = _OTHERS.get(number, "unknown")
        is_binary = type_name in _BYTES
    kind = "number" if number in _NUMBERS else "json" if type_name == "json" else "string"
    column = ResultColumn(name.decode("utf-8", "surrogateescape"), type_name, kind == "number", kind)
    return column, hexadecimal if is_binary else None


def hexadecimal(value: bytes) -> str:
    """Bytes as SQL takes them and as the mysql client shows them; nothing where there are none."""
    return f"0x{value.hex().upper()}" if value else ""


def status_text(ending: Ending) -> str:
    """What the server said of a statement without rows, in the words of its own client."""
    rows = f"OK, {counted(ending.affected, 'row')} affected{_warnings(ending)}"
    return rows + (f" ({' '.join(ending.message.split())})" if ending.message else "")


def _warnings(ending: Ending) -> str:
    return f", {counted(ending.warnings, 'warning')}" if ending.warnings else ""


class MysqlResult:
    """A result; see the protocol `Result`."""

    is_raw = False

    def __init__(
        self,
        statement: Statement,
        columns: Sequence[tuple[ResultColumn, Decode | None]] | None,
        may_be_ended: bool,
        status: str = "",
    ) -> None:
        self._statement = statement
        self._may_be_ended = may_be_ended
        self._status = status
        self._is_done = columns is None
        self._is_read = False
        self._rows_read = 0
        self._decoders = [decode for _, decode in columns or ()]
        self.columns: Sequence[ResultColumn] | None = None
        if columns is not None:
            self.columns = tuple(column for column, _ in columns)

    @property
    def status(self) -> str:
        """What became of it."""
        return self._status

    def rows(self) -> Iterator[Sequence[str | None]]:
        """The rows, once."""
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[Sequence[Sequence[str | None]]]:
        """The rows, once, as many at a time as have arrived."""
        if self._is_read:
            return
        self._is_read = True
        while not self._is_done:
            rows, ending = self._statement.more_rows(self._decoders)
            if ending is not None:
                self._finish(ending)
            else:
                self._rows_read += len(rows)
                yield rows

    def close(self) -> None:
        """End or drain the statement."""
        if self._is_done:
            return
        if self._may_be_ended:
            self._is_done = True
            self._statement.end_statement()
            self._status = f"{counted(self._rows_read, 'row')} (not read to its end)"
            self._statement.finished(None)
        else:
            self.drain()

    def drain(self) -> None:
        """Let the statement run to its end, and forget its rows."""
        while not self._is_done:
            count, ending = self._statement.skip_rows()
            self._rows_read += count
            if ending is not None:
                self._finish(ending)

    def abandon(self) -> None:
        """The statement failed: there is nothing more to read."""
        self._is_done = True

    def _finish(self, ending: Ending) -> None:
        self._status = f"OK, {counted(self._rows_read, 'row')}{_warnings(ending)}"
        self._is_done = True
        self._statement.finished(ending)
