"""MySQL's rows as bytes, in pure Python: the reference, and the twin of `_packets.c`.

Both give the same bytes, the same numbers and the same errors; the same tests run on both.

A row is what stands between its parentheses in an INSERT statement of the archive (the grammar is
in docs/format.md, "MySQL's rows"). Its hash is XXH64 with seed 0. A digest is the sum of hashes
modulo 2^64. A key's text is its literals, as they stand in the row, joined by commas in the key's
order.
"""

from __future__ import annotations

import re
import threading
from typing import Any

import xxhash

from dbtool.rows.pure import DONE, MORE, SERVER_ERROR, check_key

NEED = 3

MOST_COLUMNS = 4096
_WHOLE_PACKET = 0xFFFFFF  # a packet of this length goes on in the next
_LONGEST_CONTROL_PACKET = 65536  # all but rows are far smaller
_LONGEST_ROW = 1 << 32  # no server sends as much
_SMALLEST_INPUT = 4096

_NOT_THE_PROTOCOL = "the server sent something that is not its protocol"
_OTHER_COLUMNS = "the server sent other columns than were asked for"
_NOT_A_NUMBER = "the server sent a number that is none"
_NOT_INSERTS = "the text is not made of the archive's INSERT statements"
TOO_FEW_FIELDS = "a row has fewer fields than its key needs"

_MASK = (1 << 64) - 1
_bucket_lock = threading.Lock()

_NUMBER = re.compile(rb"[-+.0-9e]+")
_IDENTIFIER = rb"`(?:[^`]|``)+`"
_PREFIX = re.compile(
    rb"INSERT INTO " + _IDENTIFIER + rb" \(" + _IDENTIFIER + rb"(?:," + _IDENTIFIER + rb")*\) VALUES\n"
)
_PLAIN = rb"[^\0\t\n\r\x1a'\\]*"
_LITERAL = re.compile(
    rb"(NULL)|([-+.0-9e]+)|(?:_utf8mb4)?'(" + _PLAIN + rb"(?:\\[0'\\nrtZ]" + _PLAIN + rb")*)'"
)


def _quoted(value: bytes) -> bytes:
    """A value's bytes between quotes, with the seven escapes."""
    value = value.replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return b"'" + value.replace(b"\t", b"\\t").replace(b"\0", b"\\0").replace(b"\x1a", b"\\Z") + b"'"


def _literals(row: bytes, kinds: bytes) -> list[bytes]:
    """The literals of a row as the text protocol has it: each value's length and bytes."""
    literals = []
    position = 0
    for kind in kinds:
        if position >= len(row):
            raise ConnectionError(_NOT_THE_PROTOCOL)
        length = row[position]
        position += 1
        if length == 0xFB:
            literals.append(b"NULL")
            continue
        if length > 0xFB:
            width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(length, len(row))
            length = int.from_bytes(row[position : position + width], "little")
            position += width
        if position + length > len(row):
            raise ConnectionError(_NOT_THE_PROTOCOL)
        value = row[position : position + length]
        position += length
        if kind == 0x6E:  # n
            if not _NUMBER.fullmatch(value):
                raise ConnectionError(_NOT_A_NUMBER)
            literals.append(value)
        else:
            literals.append((b"_utf8mb4" if kind == 0x6A else b"") + _quoted(value))
    if position != len(row):
        raise ConnectionError(_NOT_THE_PROTOCOL)
    return literals


class PacketStream:
    """Turns the packets that answer a query into the archive's INSERT statements.

    The caller sends the query (COM_QUERY) and then, in turn, asks `advance` to work, and where it
    says `NEED` gives it more of what the server sent: `take(socket.recv_into(stream.input(size)))`.
    The connection must speak protocol 4.1 with EOF packets (no CLIENT_DEPRECATE_EOF) and without
    compression, as PyMySQL's does.

    `rows.text_of(stream)` is the text: what `reset` was given, statements, and what was appended.
    """

    def __init__(self) -> None:
        self._room = bytearray()
        self._input = bytearray()
        self._text = bytearray()
        self._kinds = b""
        self._key: tuple[int, ...] = ()
        self._buckets: Any = None
        self._bucket_bits = 0
        self._prefix = b""
        self._statement_bytes = 0
        self._statement_start = -1  # in the text; -1: none is open
        self._definitions_left = -1  # -1: the result set's head is to come; 0: their EOF is
        self._in_rows = False
        self._failure: ConnectionError | None = ConnectionError("no query has been sent")
        self._sequence = -1
        self.rows = 0
        self.digest = 0
        self.key_digest = 0
        self.warnings = 0
        self.error: bytes | None = None

    def begin(
        self, kinds: bytes, key: tuple[int, ...], buckets: Any, prefix: bytes, statement_bytes: int
    ) -> None:
        """A query has been sent, its answer begins; the text of the one before is thrown away.

        `kinds` has a letter for each column: n a number, s anything else, j JSON with its
        character set said. `key` and `buckets` as in `pure.CopyStream.begin`. `prefix` begins each
        statement ("INSERT INTO … VALUES" and a line end). A statement has about
        `statement_bytes`, unless it is that of a single row.
        """
        if not 1 <= len(kinds) <= MOST_COLUMNS or kinds.strip(b"nsj"):
            raise ValueError("the kinds of columns are n, s and j, for 1 to 4096 columns")
        check_key(key, len(kinds))
        if statement_bytes < 0:
            raise ValueError("a statement cannot have less than no bytes")
        self._buckets = None
        if buckets is not None:
            size = len(memoryview(buckets).cast("B"))
            if size < 8 or size & (size - 1):
                raise ValueError("buckets must hold a power of two of 8-byte sums")
            self._buckets = memoryview(buckets).cast("B").cast("Q")
            self._bucket_bits = size.bit_length() - 4
        self._kinds, self._key = bytes(kinds), key
        self._prefix, self._statement_bytes = bytes(prefix), statement_bytes
        self._definitions_left, self._in_rows, self._sequence = -1, False, -1
        self._failure = None
        self._input = bytearray()
        self.error = None
        self.warnings = 0
        self.reset()

    def input(self, size: int) -> memoryview:
        """Room for at least one byte that arrives, and at most `size`, to be filled from its start.
        Valid until the next call of anything."""
        if len(self._room) < size:
            self._room = bytearray(max(size, _SMALLEST_INPUT))
        return memoryview(self._room)[: max(size, 1)]

    def take(self, count: int) -> None:
        """So many bytes have been written into the room that `input` gave."""
        if not 0 <= count <= len(self._room):
            raise ValueError("more was taken than there was room for")
        self._input += memoryview(self._room)[:count]

    def advance(self, target: int) -> int:
        """Work on what has arrived until the text has rows and `target` bytes (`MORE`), or all of it
        is used up (`NEED`), or the result set is over (`DONE`, see `warnings`), or the server
        ended it with an error (`SERVER_ERROR`, see `error`).

        Raises ConnectionError on what is no answer to a query for such columns; then nothing
        more can be read from this connection.
        """
        if self._failure is not None:
            raise self._failure
        try:
            return self._advance(target)
        except ConnectionError as failure:
            self._failure = failure
            raise

    def reset(self, head: bytes = b"") -> None:
        """A new text begins with these bytes, before its first statement; the counters begin at zero."""
        self._text = bytearray(head)
        self._statement_start = -1
        self.rows = self.digest = self.key_digest = 0

    def finish_text(self) -> None:
        """End the statement that is open, if one is."""
        if self._statement_start >= 0:
            self._text += b";\n"
            self._statement_start = -1

    def append(self, data: bytes) -> None:
        """Add bytes that are no rows, when no statement is open."""
        if self._statement_start >= 0:
            raise ValueError("a statement is still open")
        self._text += data

    @property
    def length(self) -> int:
        """Bytes of text so far."""
        return len(self._text)

    @property
    def text(self) -> bytearray:
        """The text itself."""
        return self._text

    def _advance(self, target: int) -> int:
        position = 0
        try:
            while self.rows == 0 or len(self._text) < target:
                packet, first_length, end = self._packet_at(position)
                if packet is None:
                    return NEED
                position = end
                status = self._take_packet(packet, first_length)
                if status is not None:
                    self._failure = ConnectionError("the query's answer is over")
                    if position != len(self._input):
                        raise ConnectionError(_NOT_THE_PROTOCOL)
                    return status
        finally:
            del self._input[:position]
        return MORE

    def _packet_at(self, position: int) -> tuple[bytes | None, int, int]:
        """(payload, length of its first part, where the next begins); no payload: it is not there yet."""
        data, sequence = self._input, self._sequence
        parts: list[bytes] = []
        first_length = total = 0
        while True:
            if len(data) - position < (4 if parts else 5):
                return None, 0, 0
            length = int.from_bytes(data[position : position + 3], "little")
            total += length
            is_error = not parts and data[position + 4] == 0xFF  # of a server that shuts down: with number 0
            if sequence >= 0 and data[position + 3] != (sequence + 1) & 0xFF and not is_error:
                raise ConnectionError(_NOT_THE_PROTOCOL)
            sequence = data[position + 3]
            if not parts:
                first_length = length
                is_control = is_error or not self._in_rows
                if length == 0 or (is_control and length > _LONGEST_CONTROL_PACKET):
                    raise ConnectionError(_NOT_THE_PROTOCOL)
            if total > _LONGEST_ROW:
                raise ConnectionError(_NOT_THE_PROTOCOL)
            position += 4 + length
            if position > len(data):
                return None, 0, 0
            parts.append(bytes(data[position - length : position]))
            if length < _WHOLE_PACKET:
                self._sequence = sequence
                return b"".join(parts), first_length, position

    def _take_packet(self, packet: bytes, first_length: int) -> int | None:
        if packet[0] == 0xFF:
            self.error = packet
            return SERVER_ERROR
        if self._in_rows:
            if packet[0] == 0xFE and len(packet) < 9:
                return self._take_eof(packet)
            self._take_row(packet, first_length)
        elif self._definitions_left < 0:
            self._take_column_count(packet)
        elif self._definitions_left > 0:
            if packet[0] == 0xFE:
                raise ConnectionError(_NOT_THE_PROTOCOL)
            self._definitions_left -= 1
        else:
            if packet[0] != 0xFE or len(packet) != 5:
                raise ConnectionError(_NOT_THE_PROTOCOL)
            self._in_rows = True
        return None

    def _take_column_count(self, packet: bytes) -> None:
        # 0x00 would be the answer to a statement without rows, 0xFB a wish to read a file of ours.
        if packet[0] in (0, 0xFB) or len(packet) != (3 if packet[0] == 0xFC else 1):
            raise ConnectionError(_NOT_THE_PROTOCOL)
        count = packet[0] if len(packet) == 1 else int.from_bytes(packet[1:], "little")
        if count != len(self._kinds):
            raise ConnectionError(_OTHER_COLUMNS)
        self._definitions_left = count

    def _take_eof(self, packet: bytes) -> int:
        more_results = 8
        if len(packet) != 5 or packet[3] & more_results:
            raise ConnectionError(_NOT_THE_PROTOCOL)
        self.warnings = int.from_bytes(packet[1:3], "little")
        return DONE

    def _take_row(self, packet: bytes, first_length: int) -> None:
        literals = _literals(packet, self._kinds)
        row = b",".join(literals)
        if self._statement_start >= 0 and (
            len(self._text) - self._statement_start + first_length > self._statement_bytes
        ):
            self.finish_text()
        if self._statement_start < 0:
            self._statement_start = len(self._text)
            self._text += self._prefix + b"("
        else:
            self._text += b",\n("
        self._text += row + b")"
        self.rows += 1
        self.digest = (self.digest + xxhash.xxh64_intdigest(row)) & _MASK
        if not self._key:
            return
        value = xxhash.xxh64_intdigest(b",".join(literals[field] for field in self._key))
        self.key_digest = (self.key_digest + value) & _MASK
        if self._buckets is not None:
            bucket = value >> (64 - self._bucket_bits) if self._bucket_bits else 0
            with _bucket_lock:
                self._buckets[bucket] = (self._buckets[bucket] + value) & _MASK


def is_row(text: bytes) -> bool:
    """Whether this is one row in its parentheses."""
    position = 0
    while text[position : position + 1] == (b"," if position else b"("):
        literal = _LITERAL.match(text, position + 1)
        if not literal:
            return False
        position = literal.end()
    return position > 0 and text[position:] == b")"


def row_at(text: bytes, position: int) -> tuple[list[re.Match[bytes]], int, int]:
    """(literals, where the row ends, where what follows begins) of the row or the statement that
    begins here."""
    if text[max(position - 2, 0) : position] != b",\n":
        prefix = _PREFIX.match(text, position)
        if not prefix or (position > 0 and text[position - 2 : position] != b";\n"):
            raise ValueError(_NOT_INSERTS)
        position = prefix.end()
    if text[position : position + 1] != b"(":
        raise ValueError(_NOT_INSERTS)
    literals = []
    while True:
        literal = _LITERAL.match(text, position + 1)
        if not literal:
            raise ValueError(_NOT_INSERTS)
        literals.append(literal)
        position = literal.end()
        if text[position : position + 1] != b",":
            break
    after = text[position : position + 3]
    is_last = after == b");\n"
    if not is_last and (after != b"),\n" or position + 3 == len(text)):
        raise ValueError(_NOT_INSERTS)
    return literals, position, position + 3


def insert_to_load(text: Any, start: int, limit: int) -> tuple[bytes, int, int]:
    """See `rows.insert_to_load`."""
    data = bytes(text)
    if not 0 <= start <= len(data) or limit < 1:
        raise ValueError("start or limit is out of range")
    piece = bytearray()
    rows = 0
    while start < len(data) and len(piece) < limit:
        literals, _, start = row_at(data, start)
        fields = (rb"\N" if literal[1] else literal[2] or literal[3] for literal in literals)
        piece += b"\t".join(fields) + b"\n"
        rows += 1
    return bytes(piece), start, rows


_UNESCAPED = {b"0": b"\0", b"t": b"\t", b"n": b"\n", b"r": b"\r", b"Z": b"\x1a"}
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def insert_to_parameters(text: Any, start: int, limit: int) -> tuple[bytes, int, int]:
    """See `rows.insert_to_parameters`."""
    data = bytes(text)
    if not 0 <= start <= len(data) or limit < 1:
        raise ValueError("start or limit is out of range")
    piece = bytearray()
    rows = 0
    while start < len(data) and len(piece) < limit:
        literals, _, start = row_at(data, start)
        for literal in literals:
            piece += b"\1" if literal[1] else b"\0" + _length_encoded(_plain(literal[2] or literal[3]))
        rows += 1
    return bytes(piece), start, rows


def _plain(escaped: bytes) -> bytes:
    return _ESCAPED.sub(lambda found: _UNESCAPED.get(found[1], found[1]), escaped)


def _length_encoded(value: bytes) -> bytes:
    length = len(value)
    if length < 251:
        return bytes([length]) + value
    for first, size in ((0xFC, 2), (0xFD, 3), (0xFE, 8)):
        if length < 1 << (8 * size):
            return bytes([first]) + length.to_bytes(size, "little") + value
    raise ValueError("a value is too long")


def tally_inserts(text: Any, key: tuple[int, ...]) -> tuple[int, int, int]:
    """See `rows.tally_inserts`."""
    check_key(key, MOST_COLUMNS)
    data = bytes(text)
    rows = digest = key_digest = position = 0
    while position < len(data):
        literals, end, position = row_at(data, position)
        rows += 1
        digest += xxhash.xxh64_intdigest(data[literals[0].start() : end])
        if key:
            if max(key) >= len(literals):
                raise ValueError(TOO_FEW_FIELDS)
            key_digest += xxhash.xxh64_intdigest(b",".join(literals[field][0] for field in key))
    return rows, digest & _MASK, key_digest & _MASK
