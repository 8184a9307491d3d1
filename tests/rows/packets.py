"""The packets by which a MySQL server answers a query, made by hand, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dbtool import rows

HYPOTHESIS = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WHOLE = 0xFFFFFF
PREFIX = b"INSERT INTO `t` (`a`,`b`) VALUES\n"
ESCAPES = {0: b"\\0", 9: b"\\t", 10: b"\\n", 13: b"\\r", 26: b"\\Z", 39: b"\\'", 92: b"\\\\"}

Row = Sequence["bytes | None"]


def length_of(value: bytes, width: int | None = None) -> bytes:
    """A value's length as the protocol has it; `width` chooses a form that is longer than it need be."""
    size = len(value)
    if width is None:
        width = 1 if size < 251 else 2 if size < 1 << 16 else 3 if size < 1 << 24 else 8
    if width == 1:
        return bytes([size])
    return {2: b"\xfc", 3: b"\xfd", 8: b"\xfe"}[width] + size.to_bytes(width, "little")


def row_payload(row: Row, width: int | None = None) -> bytes:
    """A row as the text protocol has it."""
    return b"".join(b"\xfb" if value is None else length_of(value, width) + value for value in row)


class Wire:
    """Numbers packets, and divides payloads into them."""

    def __init__(self, first_number: int = 1) -> None:
        self._number = first_number
        self.data = bytearray()

    def put(self, payload: bytes, number: int | None = None) -> Wire:
        """Add a payload, in as many packets as it needs."""
        while True:
            part, payload = payload[:WHOLE], payload[WHOLE:]
            self.data += len(part).to_bytes(3, "little") + bytes([self._number if number is None else number])
            self.data += part
            self._number = (self._number + 1) % 256
            if len(part) < WHOLE:
                return self

    def head(self, columns: int) -> Wire:
        """How many columns, their definitions, and the end of these."""
        self.put(bytes([columns]) if columns < 251 else b"\xfc" + columns.to_bytes(2, "little"))
        for number in range(columns):
            self.put(b"\x03def\0\0\0\x02c%d" % (number % 10) + b"\x0c?\0\0\0\0\0\xfd\0\0\0\0\0")
        return self.end()

    def end(self, warnings: int = 0, status: int = 2) -> Wire:
        """An EOF packet."""
        return self.put(b"\xfe" + warnings.to_bytes(2, "little") + status.to_bytes(2, "little"))

    def error(self, code: int, message: bytes, **options: Any) -> Wire:
        """An ERR packet."""
        return self.put(b"\xff" + code.to_bytes(2, "little") + b"#HY000" + message, **options)


def answer(given: Sequence[Row], columns: int, warnings: int = 0) -> bytes:
    """A whole answer with these rows."""
    wire = Wire().head(columns)
    for row in given:
        wire.put(row_payload(row))
    return bytes(wire.end(warnings).data)


def literal(value: bytes | None, kind: str) -> bytes:
    """A value as the archive has it."""
    if value is None:
        return b"NULL"
    if kind == "n":
        return value
    quoted = re.sub(rb"[\0\t\n\r\x1a'\\]", lambda found: ESCAPES[found[0][0]], value)
    return (b"_utf8mb4'" if kind == "j" else b"'") + quoted + b"'"


def row_text(row: Row, kinds: str) -> bytes:
    """What stands between a row's parentheses."""
    return b",".join(literal(value, kind) for value, kind in zip(row, kinds, strict=True))


def begun(kinds: str, **options: Any) -> Any:
    """A stream that waits for the answer to a query."""
    stream = rows.packet_stream()
    wanted = {"key": (), "buckets": None, "prefix": PREFIX, "statement_bytes": 1 << 20, **options}
    stream.begin(kinds.encode(), *wanted.values())
    return stream


def give(stream: Any, data: bytes, target: int = 1 << 40, sizes: Sequence[int] = (1 << 18,)) -> int:
    """Let these bytes arrive in pieces of those sizes, in turn, until the stream says anything else than
    that it needs more; what it said last."""
    position = turn = 0
    while True:
        status: int = stream.advance(target)
        if status != rows.NEED or position == len(data):
            return status
        with stream.input(sizes[turn % len(sizes)]) as room:
            part = data[position : position + len(room)]
            room[: len(part)] = part
        stream.take(len(part))
        position += len(part)
        turn += 1


def text(stream: Any) -> bytes:
    """A stream's text, ended."""
    stream.finish_text()
    with rows.text_of(stream) as view:
        return bytes(view)


NUMBERS = st.from_regex(rb"-?[0-9]{1,25}(\.[0-9]{1,9})?(e[-+]?[0-9]{1,3})?", fullmatch=True)
SPECIAL = st.sampled_from(
    [b"\0", b"\t", b"\n", b"\r", b"\x1a", b"'", b"\\", b"\x08", b"\x1b", b"\x7f", b"\xff", b"x" * 17]
)
TEXTS = st.one_of(st.binary(max_size=60), st.lists(SPECIAL, max_size=40).map(b"".join), st.just(b"NULL"))
KINDS = st.text("nsj", min_size=1, max_size=6)


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[Row]]:
    """Kinds of columns, and rows of them."""
    kinds = draw(KINDS)
    fields = [st.none() | (NUMBERS if kind == "n" else TEXTS) for kind in kinds]
    return kinds, draw(st.lists(st.tuples(*fields), max_size=12))


def statements(prefix: bytes, row_texts: list[bytes]) -> bytes:
    """One statement, or none."""
    return prefix + b",\n".join(b"(" + row + b")" for row in row_texts) + b";\n" if row_texts else b""


def load_line(row: Row, kinds: str) -> bytes:
    """A row as LOAD DATA has it, made from its values."""
    fields = []
    for value, kind in zip(row, kinds, strict=True):
        if value is None:
            fields.append(b"\\N")
        else:
            literal = row_text([value], kind).removeprefix(b"_utf8mb4")
            fields.append(literal if kind == "n" else literal[1:-1])
    return b"\t".join(fields) + b"\n"
