"""Keys of rows as hashes, in pure Python: the reference, and the twin of `_keysets.c` and `_keyhashes.c`.

Both give the same bytes, the same numbers and the same errors; the same tests run on both. Only the
C part keeps a set in flat memory.

Text is COPY's lines ("copy") or the archive's INSERT statements ("insert"), whole rows without what
stands around them. A key's text is that of docs/format.md, its hash is XXH64 with seed 0; where no
positions of a key are given, the whole row is its key. Hashes in bytes have 8 bytes each, in the machine's byte order.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import xxhash

from dbtool.rows import pure, pure_packets

_MASK = (1 << 64) - 1
_MOST_PARTITION_BITS = 16
_MOST_FIELDS = {"copy": pure.MOST_FIELDS, "insert": pure_packets.MOST_COLUMNS}


@dataclass(frozen=True)
class _Row:
    start: int  # in the text, of what is hashed
    end: int
    key: bytes
    statement: bytes = b""  # the head of its statement, if it is the first row of one
    ends_statement: bool = False


def _check_format(text_format: str) -> None:
    if text_format not in _MOST_FIELDS:
        raise ValueError("the format is copy or insert")


def _rows(text: bytes, key: tuple[int, ...], text_format: str) -> Iterator[_Row]:
    _check_format(text_format)
    pure.check_key(key, _MOST_FIELDS[text_format])
    return _lines(text, key) if text_format == "copy" else _insert_rows(text, key)


def _lines(text: bytes, key: tuple[int, ...]) -> Iterator[_Row]:
    start = 0
    while start < len(text):
        end = text.find(b"\n", start)
        if end < 0:
            raise ValueError("the last row has no end")
        yield _Row(start, end, pure.key_text(text[start:end], key) if key else text[start:end])
        start = end + 1


def _insert_rows(text: bytes, key: tuple[int, ...]) -> Iterator[_Row]:
    after = 0
    while after < len(text):
        before = after
        literals, end, after = pure_packets.row_at(text, before)
        if max(key, default=-1) >= len(literals):
            raise ValueError(pure_packets.TOO_FEW_FIELDS)
        start = literals[0].start()
        yield _Row(
            start,
            end,
            b",".join(literals[field][0] for field in key) if key else text[start:end],
            text[before : start - 1],
            text[end:after] == b");\n",
        )


def keys_of(text: Any, key: tuple[int, ...], text_format: str) -> Iterator[bytes]:
    """The text of each row's key."""
    return (row.key for row in _rows(bytes(text), key, text_format))


def key_hashes(text: Any, key: tuple[int, ...], text_format: str) -> bytes:
    """See `rows.key_hashes`."""
    rows = _rows(bytes(text), key, text_format)
    return array("Q", (xxhash.xxh64_intdigest(row.key) for row in rows)).tobytes()


def _hashes(data: Any) -> array[int]:
    taken = bytes(data)
    if len(taken) % 8:
        raise ValueError("hashes have 8 bytes each")
    return array("Q", taken)


def difference(left: Any, keys: KeySet) -> bytes:
    """See `rows.difference`; `left` is bytes here."""
    return array("Q", (value for value in _hashes(left) if not keys.contains(value))).tobytes()


def partition(hashes: Any, bits: int) -> list[bytes]:
    """See `rows.partition`."""
    if not 0 <= bits <= _MOST_PARTITION_BITS:
        raise ValueError("a partition has 0 to 16 bits")
    parts = [array("Q") for _ in range(1 << bits)]
    for value in _hashes(hashes):
        parts[value >> (64 - bits)].append(value)
    return [part.tobytes() for part in parts]


class KeySet:
    """A set of keys: either their hashes alone (`add`), or their bytes as well (`add_keys`).

    A set of hashes takes two keys with the same hash for one. A set with bytes compares these
    wherever it is given rows. In the C part a key takes 12 to 16 bytes, twice that for a moment when
    the set grows beyond `expected` keys, and the bytes of its line where those are kept.

    Threads may share a set: many look up in it at a time, while nobody adds to it.
    """

    def __init__(self, expected: int = 0) -> None:
        if expected < 0:
            raise ValueError("a set cannot expect fewer than no keys")
        self._hashes: set[int] = set()
        self._keys: set[bytes] = set()
        self._kind: str | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._keys) if self._holds_keys() else len(self._hashes)

    def add(self, hashes: Any, /) -> None:
        """Add keys by their hashes, 8 bytes each in the machine's byte order.

        Raises ValueError if the set has been given keys with their bytes.
        """
        taken = _hashes(hashes)
        with self._lock:
            self._take_kind("hashes")
            self._hashes.update(taken)

    def add_keys(self, lines: Any, text_format: str = "copy", /) -> None:
        """Add keys with their bytes: lines as `absent_keys` gives them.

        Raises ValueError on text that is not made of such lines, of which then none is added, and if
        the set has been given hashes, or keys of the other format.
        """
        _check_format(text_format)
        keys = list(_key_lines(bytes(lines), text_format))
        with self._lock:
            self._take_kind(text_format)
            self._keys.update(keys)
            self._hashes.update(map(xxhash.xxh64_intdigest, keys))

    def contains(self, key_hash: int, /) -> bool:
        """Whether a key with this hash is there."""
        if not 0 <= key_hash <= _MASK:
            raise OverflowError("a hash has 64 bits")
        return key_hash in self._hashes

    def absent_keys(self, text: Any, key: tuple[int, ...], text_format: str, /) -> tuple[bytes, int]:
        """The keys of those rows that are not in the set, in the rows' order, and how many.

        Each is a line: of "copy" the key's text, of "insert" the key's text in parentheses. Raises
        ValueError on malformed text, and if the set holds keys of the other format.
        """
        return self._lines(text, key, text_format, wanted=False)

    def present_keys(self, text: Any, key: tuple[int, ...], text_format: str, /) -> tuple[bytes, int]:
        """The same of those rows whose keys are in the set."""
        return self._lines(text, key, text_format, wanted=True)

    def without(
        self, text: Any, key: tuple[int, ...], text_format: str, seen: KeySet | None = None, /
    ) -> tuple[Any, int, int, int, int, int]:
        """(text without those rows whose keys are in the set, rows left, their digest, their key
        digest, rows taken out, their digest).

        INSERT statements stay whole; those that lose all of their rows are not there any more. If
        nothing is taken out, the text is the very object that was given, whatever its type; else it
        is bytes. Another set, `seen`, is given the hashes of all the rows' keys. Raises ValueError as
        `absent_keys`.
        """
        if seen is self:
            raise ValueError("what is seen goes into another set")
        data = bytes(text)
        left = bytearray()
        rows = digest = key_digest = taken_rows = taken_digest = 0
        head = b""
        for row in self._of_format(_rows(data, key, text_format), text_format):
            head = row.statement or head
            if seen is not None:
                seen.add(array("Q", [xxhash.xxh64_intdigest(row.key)]).tobytes())
            line = data[row.start : row.end]
            if self._has(row.key):
                taken_rows += 1
                taken_digest += xxhash.xxh64_intdigest(line)
            else:
                rows += 1
                digest += xxhash.xxh64_intdigest(line)
                key_digest += xxhash.xxh64_intdigest(row.key)
                if text_format == "insert":
                    left += (head or b",\n") + b"(" + line + b")"
                    head = b""
                else:
                    left += line + b"\n"
            if row.ends_statement:
                left += b"" if head else b";\n"
        whole = bytes(left) if taken_rows else text
        return whole, rows, digest & _MASK, key_digest & _MASK, taken_rows, taken_digest & _MASK

    def _holds_keys(self) -> bool:
        return self._kind in _MOST_FIELDS

    def _take_kind(self, kind: str) -> None:
        if self._kind not in (None, kind):
            raise ValueError("a set holds hashes, or keys of one format, and no others")
        self._kind = kind

    def _of_format(self, rows: Iterator[_Row], text_format: str) -> Iterator[_Row]:
        if self._holds_keys():
            self._take_kind(text_format)
        return rows

    def _has(self, key: bytes) -> bool:
        return key in self._keys if self._holds_keys() else xxhash.xxh64_intdigest(key) in self._hashes

    def _lines(self, text: Any, key: tuple[int, ...], text_format: str, *, wanted: bool) -> tuple[bytes, int]:
        rows = self._of_format(_rows(bytes(text), key, text_format), text_format)
        form = b"%b\n" if text_format == "copy" else b"(%b)\n"
        lines = [form % row.key for row in rows if self._has(row.key) == wanted]
        return b"".join(lines), len(lines)


def _key_lines(lines: bytes, text_format: str) -> Iterator[bytes]:
    if not lines:
        return
    if not lines.endswith(b"\n"):
        raise ValueError("the text is not made of keys, each on its line")
    for line in lines[:-1].split(b"\n"):
        if text_format == "copy":
            yield line
        elif pure_packets.is_row(line):
            yield line[1:-1]
        else:
            raise ValueError("the text is not made of keys, each on its line")
