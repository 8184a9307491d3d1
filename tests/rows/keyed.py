"""Tables of rows in both formats, and keys with a hash that is wanted."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import xxhash
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

MASK = (1 << 64) - 1
CALM = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
FORMATS = ("copy", "insert")

_COPY_FIELD = st.one_of(
    st.sampled_from([b"", rb"\N", b"1", b"2", b"23", rb"a\tb", rb"\\", b"(1)", b"\x00\xff"]),
    st.binary(max_size=40).map(lambda field: field.replace(b"\n", b"").replace(b"\t", b"")),
)
_INSERT_FIELD = st.one_of(
    st.sampled_from(
        [b"NULL", b"1", b"2", b"-2.5e-7", b"''", rb"'\\'", rb"'\'),\n('", b"_utf8mb4'{}'", b"'),'"]
    ),
    st.binary(max_size=40).map(lambda value: b"'" + quoted(value) + b"'"),
)
_HEADS = (
    b"INSERT INTO `t` (`a`,`b`) VALUES\n",
    b"INSERT INTO `;\n` (`),\n(`,`b``\n`) VALUES\n",
)


def quoted(value: bytes) -> bytes:
    """The bytes as they stand between quotes in an INSERT statement."""
    value = value.replace(b"\\", b"\\\\").replace(b"'", b"\\'").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return value.replace(b"\t", b"\\t").replace(b"\0", b"\\0").replace(b"\x1a", b"\\Z")


@dataclass(frozen=True)
class Keyed:
    """Rows with a key: statements of rows of fields. COPY text has one statement only."""

    text_format: str
    key: tuple[int, ...]
    statements: list[tuple[bytes, list[list[bytes]]]]

    @property
    def rows(self) -> list[list[bytes]]:
        return [row for _, rows in self.statements for row in rows]

    def row_text(self, row: list[bytes]) -> bytes:
        return (b"\t" if self.text_format == "copy" else b",").join(row)

    def key_of(self, row: list[bytes]) -> bytes:
        """Of no fields: then the whole row is its key."""
        return self.row_text([row[field] for field in self.key] if self.key else row)

    def text(self, left_out: Iterable[bytes] = ()) -> bytes:
        """The text, without the rows that have these keys."""
        text = b""
        keys_left_out = set(left_out)
        for head, rows in self.statements:
            lines = [self.row_text(row) for row in rows if self.key_of(row) not in keys_left_out]
            if self.text_format == "copy":
                text += b"".join(line + b"\n" for line in lines)
            elif lines:
                text += head + b",\n".join(b"(" + line + b")" for line in lines) + b";\n"
        return text

    def key_lines(self, keys: Iterable[bytes]) -> bytes:
        return b"".join(key + b"\n" if self.text_format == "copy" else b"(" + key + b")\n" for key in keys)


@st.composite
def keyed_tables(draw: st.DrawFn, text_format: str | None = None) -> Keyed:
    chosen = text_format or draw(st.sampled_from(FORMATS))
    width = draw(st.integers(1, 5))
    field = _COPY_FIELD if chosen == "copy" else _INSERT_FIELD
    rows = st.lists(st.lists(field, min_size=width, max_size=width), min_size=1, max_size=8)
    statements = draw(st.lists(st.tuples(st.sampled_from(_HEADS), rows), max_size=5))
    key = draw(st.lists(st.integers(0, width - 1), max_size=4))
    return Keyed(chosen, tuple(key), statements)


def packed(hashes: Iterable[int]) -> bytes:
    """Hashes as bytes."""
    return array("Q", hashes).tobytes()


def hashes_of(keys: Iterable[bytes]) -> bytes:
    """The hashes of these texts, as bytes."""
    return packed(map(xxhash.xxh64_intdigest, keys))


_PRIME1, _PRIME2, _PRIME3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_PRIME4, _PRIME5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & MASK


def _unshifted(value: int, bits: int) -> int:
    """What `value ^ (value >> bits)` was made of."""
    found = value
    for _ in range(64 // bits + 1):
        found = value ^ (found >> bits)
    return found


def text_with_hash(wanted: int, text_format: str, seed: int = 0) -> bytes:
    """A field of 16 bytes with this XXH64: all steps of the hash of two blocks can be undone."""
    state = _unshifted(wanted, 32) * pow(_PRIME3, -1, 1 << 64) & MASK
    state = _unshifted(_unshifted(state, 29) * pow(_PRIME2, -1, 1 << 64) & MASK, 33)
    before = _rotated((state - _PRIME4) * pow(_PRIME1, -1, 1 << 64) & MASK, 37)
    rng = random.Random(seed)
    while True:
        first = rng.randbytes(8) if text_format == "copy" else b"'" + rng.randbytes(7)
        lane = _rotated(int.from_bytes(first, "little") * _PRIME2 & MASK, 31) * _PRIME1 & MASK
        middle = (_rotated((_PRIME5 + 16) & MASK ^ lane, 27) * _PRIME1 + _PRIME4) & MASK
        lane = (before ^ middle) * pow(_PRIME1, -1, 1 << 64) & MASK
        second = _rotated(lane, 33) * pow(_PRIME2, -1, 1 << 64) & MASK
        text = first + second.to_bytes(8, "little")
        if text_format == "copy" and not set(text) & set(b"\t\n"):
            return text
        if text.endswith(b"'") and not set(text[1:-1]) & set(b"\0\t\n\r\x1a'\\"):
            return text
