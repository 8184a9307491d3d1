"""The protocol's packets, read in large pieces from the driver's own socket, so that rows stream.

The driver's cursors make a Python object of each value and parse a packet at a time. Everything here
stands an interrupt at any place: what arrived is never lost, and what was taken stays taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

PIECE_BYTES = 256 * 1024
MORE_RESULTS = 0x0008  # of the status that ends a result
IN_TRANSACTION = 0x0001

_QUERY, _PREPARE, _CLOSE_STATEMENT, _PING = 0x03, 0x16, 0x19, 0x0E
_OK, _LOCAL_FILE, _EOF, _ERROR = 0x00, 0xFB, 0xFE, 0xFF
_NULL = 0xFB
_LONGEST_EOF = 9
_LONGEST_PACKET = 0xFFFFFF

Row = tuple["str | None", ...]
Decode = Callable[[bytes], str]


class ServerError(Exception):
    """The server's own error: its number and what it said, as the driver's errors have them."""


class LostError(Exception):
    """The connection is gone; the text says why."""


class Wire:
    """Reads what the server sends. `wait` is called before each read that may have to wait, with the
    socket; what it raises passes through."""

    def __init__(self, session: Any, wait: Callable[[Any], None]) -> None:
        self._session = session
        self._wait = wait
        self._data = b""
        self._position = 0

    # Sending.

    def query(self, sql: bytes) -> None:
        """Send a statement. Raises LostError."""
        self._command(_QUERY, sql)

    def prepare(self, sql: bytes) -> int:
        """Have the server understand a statement without running it: how many columns it gives.
        Raises ServerError, LostError."""
        self._command(_PREPARE, sql)
        answer = self.packet()
        _raise_error(answer)
        columns, parameters = _number(answer, 5, 2), _number(answer, 7, 2)
        for count in (parameters, columns):
            for _ in range(count + 1 if count else 0):  # and the packet that ends them
                self.packet()
        self._command(_CLOSE_STATEMENT, answer[1:5])
        return columns

    def ping(self) -> int:
        """Ask for a sign of life: the status of the session. Raises ServerError, LostError."""
        self._command(_PING, b"")
        answer = self.packet()
        _raise_error(answer)
        return Ending.read(answer).status

    def refuse_file(self) -> None:
        """Send nothing where the server asked for a file of ours."""
        self._session.write_packet(b"")

    def _command(self, command: int, content: bytes) -> None:
        import pymysql

        try:
            self._session._execute_command(command, content)
        except (pymysql.MySQLError, OSError) as error:
            raise LostError(str(error)) from error

    # Receiving.

    def packet(self) -> bytes:
        """The next packet's content. Raises LostError."""
        parts: list[bytes] = []
        offset, size = 0, _LONGEST_PACKET
        while size == _LONGEST_PACKET:
            self._need(offset + 4)
            size = _number(self._data, self._position + offset, 3)
            offset += 4
            self._need(offset + size)
            start = self._position + offset
            parts.append(self._data[start : start + size])
            offset += size
        whole = parts[0] if len(parts) == 1 else b"".join(parts)
        self._session._next_seq_id = (self._data[start - 1] + 1) % 256
        self._position += offset  # last, so that an interrupt loses nothing
        return whole

    def rows(self, decoders: Sequence[Decode | None]) -> tuple[list[Row], Ending | None]:
        """The rows that have arrived, at least one; or none and how the result ended.

        A column's decoder is None where it is text. Raises ServerError, LostError.
        """
        self._need(5)
        data, start = self._data, self._position
        found, position = _rows(data, start, decoders) if any(decoders) else _text_rows(data, start)
        if found:
            self._position = position
            return found, None
        packet, ending = self._row_or_ending()
        return ([], ending) if ending else ([_row(packet, 0, len(packet), decoders)], None)

    def skip(self) -> tuple[int, Ending | None]:
        """Like `rows`, for rows that nobody wants: how many they were."""
        self._need(5)
        count, position = _skipped(self._data, self._position)
        if count:
            self._position = position
            return count, None
        _, ending = self._row_or_ending()
        return (0, ending) if ending else (1, None)

    def _row_or_ending(self) -> tuple[bytes, Ending | None]:
        """A row that is larger than what is read at once, or the end."""
        packet = self.packet()
        _raise_error(packet)
        if packet[0] == _EOF and len(packet) < _LONGEST_EOF:
            return packet, Ending(0, _number(packet, 3, 2), _number(packet, 1, 2), "")
        return packet, None

    def _need(self, size: int) -> None:
        """Have that many bytes at hand."""
        missing = size - (len(self._data) - self._position)
        if missing <= 0:
            return
        pieces = [self._data[self._position :]] if self._position < len(self._data) else []
        before = len(pieces)
        try:
            while missing > 0:
                missing -= self._receive(pieces)
        finally:
            if len(pieces) > before:
                self._data, self._position = b"".join(pieces), 0

    def _receive(self, pieces: list[bytes]) -> int:
        """Append what comes next; how much it is."""
        socket = self._session._sock
        if socket is None:
            raise LostError("the connection is closed")
        tls = getattr(socket, "_sslobj", None)
        try:
            if tls is None or not tls.pending():
                self._wait(socket)
            # In one step, so that no interrupt comes between the taking and the keeping.
            pieces.extend(map(socket.recv if tls is None else tls.read, (PIECE_BYTES,)))
        except OSError as error:
            raise LostError(str(error)) from error
        if not pieces[-1]:
            pieces.pop()
            raise LostError("the server closed the connection")
        return len(pieces[-1])


class Ending:
    """How a statement, or one of its results, ended."""

    def __init__(self, affected: int, status: int, warnings: int, message: str) -> None:
        self.affected = affected
        self.status = status
        self.warnings = warnings
        self.message = message

    @property
    def has_more(self) -> bool:
        """Whether the same statement has another result."""
        return bool(self.status & MORE_RESULTS)

    @classmethod
    def read(cls, packet: bytes) -> Ending:
        """Of an OK packet."""
        affected, position = _length(packet, 1)
        _, position = _length(packet, position)
        status, warnings = _number(packet, position, 2), _number(packet, position + 2, 2)
        position += 4
        if position < len(packet):
            _, position = _length(packet, position)
        return cls(affected, status, warnings, packet[position:].decode("utf-8", "replace"))


def first_of(packet: bytes) -> str:
    """What the first packet of an answer begins: "ok", "file" or "rows". Raises ServerError."""
    _raise_error(packet)
    return {_OK: "ok", _LOCAL_FILE: "file"}.get(packet[0], "rows")


def _raise_error(packet: bytes) -> None:
    if packet[:1] == bytes([_ERROR]):
        text = packet[9:] if packet[3:4] == b"#" else packet[3:]
        raise ServerError(_number(packet, 1, 2), text.decode("utf-8", "replace"))


def _number(data: bytes, position: int, size: int) -> int:
    return int.from_bytes(data[position : position + size], "little")


def _length(data: bytes, position: int) -> tuple[int, int]:
    """A number of the protocol's own form, and where it ends."""
    first = data[position]
    if first < _NULL:
        return first, position + 1
    size = {0xFC: 2, 0xFD: 3, 0xFE: 8}[first]
    return _number(data, position + 1, size), position + 1 + size


def strings(packet: bytes, count: int) -> tuple[list[bytes], int]:
    """The first strings of a packet, and where the last one ends."""
    found = []
    position = 0
    for _ in range(count):
        size, position = _length(packet, position)
        found.append(packet[position : position + size])
        position += size
    return found, position


def _text_rows(data: bytes, position: int) -> tuple[list[Row], int]:
    """All whole rows from a position on, of columns that are text; and where they end."""
    found: list[Row] = []
    size = len(data)
    while position + 4 < size:
        length = data[position] | data[position + 1] << 8 | data[position + 2] << 16
        at = position + 4
        end = at + length
        if end > size or length == _LONGEST_PACKET:
            break
        first = data[at]
        if first >= _EOF and (first == _ERROR or length < _LONGEST_EOF):
            break
        values: list[str | None] = []
        while at < end:
            count = data[at]
            if count < _NULL:
                at += 1
                stop = at + count
                values.append(data[at:stop].decode("utf-8", "surrogateescape"))
                at = stop
            elif count == _NULL:
                at += 1
                values.append(None)
            else:
                count, at = _length(data, at)
                values.append(data[at : at + count].decode("utf-8", "surrogateescape"))
                at += count
        found.append(tuple(values))
        position = end
    return found, position


def _rows(data: bytes, position: int, decoders: Sequence[Decode | None]) -> tuple[list[Row], int]:
    """The same, where some columns have a decoder."""
    found: list[Row] = []
    size = len(data)
    while position + 4 < size:
        length = _number(data, position, 3)
        start = position + 4
        if start + length > size or length == _LONGEST_PACKET:
            break
        if data[start] >= _EOF and (data[start] == _ERROR or length < _LONGEST_EOF):
            break
        found.append(_row(data, start, start + length, decoders))
        position = start + length
    return found, position


def _skipped(data: bytes, position: int) -> tuple[int, int]:
    """How many whole rows there are from a position on, and where they end."""
    count = 0
    size = len(data)
    while position + 4 < size:
        length = data[position] | data[position + 1] << 8 | data[position + 2] << 16
        start = position + 4
        if start + length > size or length == _LONGEST_PACKET:
            break
        if data[start] >= _EOF and (data[start] == _ERROR or length < _LONGEST_EOF):
            break
        count += 1
        position = start + length
    return count, position


def _row(data: bytes, position: int, end: int, decoders: Sequence[Decode | None]) -> Row:
    values: list[str | None] = []
    for decode in decoders:
        if position >= end:
            break
        if data[position] == _NULL:
            values.append(None)
            position += 1
            continue
        size, position = _length(data, position)
        value = data[position : position + size]
        values.append(value.decode("utf-8", "surrogateescape") if decode is None else decode(value))
        position += size
    return tuple(values)
