"""Rows as bytes: counting, digests, keys. The C part where it was built, else its twin.

`DBTOOL_PURE_PYTHON=1` chooses the twin, which gives the same bytes and numbers, slower.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dbtool.rows import pure, pure_integers, pure_keys, pure_packets
from dbtool.rows.spilled import SpilledHashes

__all__ = [
    "DONE",
    "MORE",
    "NEED",
    "SERVER_ERROR",
    "KeySet",
    "SpilledHashes",
    "copy_stream",
    "difference",
    "insert_to_load",
    "insert_to_parameters",
    "is_native",
    "key_hashes",
    "pack_binary",
    "packet_stream",
    "partition",
    "tally_inserts",
    "tally_lines",
    "text_of",
    "xxh64",
]

DONE = pure.DONE
MORE = pure.MORE
SERVER_ERROR = pure.SERVER_ERROR
NEED = pure_packets.NEED


def _load_native() -> Any:
    if os.environ.get("DBTOOL_PURE_PYTHON") == "1":
        return None
    try:
        return importlib.import_module("dbtool.rows._rows")
    except ImportError:
        return None


_native = _load_native()

#: Whether the C part is in use.
is_native = _native is not None

_implementation: Any = _native or pure

if TYPE_CHECKING:
    KeySet = pure_keys.KeySet
else:
    KeySet = (_native or pure_keys).KeySet


def xxh64(data: Any, seed: int = 0) -> int:
    """The 64-bit xxHash of any bytes-like object."""
    value: int = _implementation.xxh64(data, seed)
    return value


def tally_lines(data: Any, key: tuple[int, ...] = ()) -> tuple[int, int, int]:
    """(rows, digest, key digest) of COPY text, whole lines without the terminator.

    `key` holds the positions of the key's fields. Raises ValueError on text that is cut off.
    """
    tally: tuple[int, int, int] = _implementation.tally_lines(data, key)
    return tally


def pack_binary(text: Any, start: int, kinds: bytes, limit: int) -> tuple[bytes, int]:
    """Lines of COPY text, from `start` on, as about `limit` bytes of tuples of COPY's binary format,
    and where the rest of the text begins. `kinds` has a letter for each column: see _binary.h.

    Only the C part can do it. Raises ValueError where a value is not in the one form that
    PostgreSQL itself writes.
    """
    packed: tuple[bytes, int] = _implementation.pack_binary(text, start, kinds, limit)
    return packed


def text_of(stream: Any) -> memoryview:
    """The text of a stream, without a copy. Release it before the stream is used again."""
    return memoryview(getattr(stream, "text", stream))


def copy_stream(fd: int, libpq: Any = None) -> Any:
    """A CopyStream on a connection's socket; see `pure.CopyStream`, of which it is one or the twin."""
    return _implementation.CopyStream(fd, libpq)


def _packets() -> Any:
    return _implementation if is_native else pure_packets


def packet_stream() -> Any:
    """A PacketStream, for the rows of MySQL; see `pure_packets.PacketStream`, of which it is one or
    the twin."""
    return _packets().PacketStream()


def insert_to_load(text: Any, start: int, limit: int) -> tuple[bytes, int, int]:
    """The archive's INSERT statements, from `start` on, as about `limit` bytes of LOAD DATA text:
    (piece, where the rest of the statements begins, rows in the piece).

    Fields are parted by tabs, lines end in LF, NULL is `\\N`, escapes stay as they are. `start` is 0
    or what the call before gave; all is done when that is the text's length. A piece holds whole
    rows, one at least. Raises ValueError on anything that is not the grammar.
    """
    piece: tuple[bytes, int, int] = _packets().insert_to_load(text, start, limit)
    return piece


def insert_to_parameters(text: Any, start: int, limit: int) -> tuple[bytes, int, int]:
    """The archive's INSERT statements, from `start` on, as the parameters of rows that MariaDB's
    COM_STMT_BULK_EXECUTE takes, all of them strings: as `insert_to_load` in all else.

    A value is a byte (1: NULL, and no more), its length as the protocol encodes it, and its bytes.
    """
    piece: tuple[bytes, int, int] = _packets().insert_to_parameters(text, start, limit)
    return piece


def tally_inserts(text: Any, key: tuple[int, ...] = ()) -> tuple[int, int, int]:
    """(rows, digest, key digest) of the archive's INSERT statements.

    `key` holds the positions of the key's fields. Raises ValueError on anything that is not the
    grammar.
    """
    tally: tuple[int, int, int] = _packets().tally_inserts(text, key)
    return tally


def _integers() -> Any:
    return _implementation if is_native else pure_integers


def _keys() -> Any:
    return _implementation if is_native else pure_keys


def key_hashes(text: Any, key: tuple[int, ...], text_format: str) -> bytes:
    """The hashes of the rows' keys, in the rows' order, 8 bytes each in the machine's byte order.

    `text` is whole rows: COPY's lines ("copy") or the archive's INSERT statements ("insert"). `key`
    holds the positions of the key's fields; if it is empty, the whole row is its key. Raises ValueError
    on malformed text.
    """
    hashes: bytes = _keys().key_hashes(text, key, text_format)
    return hashes


def pack_integers(text: Any, key: tuple[int, ...], text_format: str) -> bytes | None:
    """The rows' keys in few bytes, where each is one integer of 64 bits as a server prints it; else None.

    Of each key the difference from the one before, as an integer of groups of 7 bits, the lowest first,
    all but the last with the bit 0x80; in it the sign is the lowest bit. `text`, `key` as for `key_hashes`.
    """
    packed: bytes | None = _integers().pack_integers(text, key, text_format)
    return packed


def unpack_integers(packed: Any) -> bytes:
    """What `pack_integers` packed, as lines. Raises ValueError on what is cut off."""
    lines: bytes = _integers().unpack_integers(packed)
    return lines


def difference(left: Any, keys: KeySet) -> bytes:
    """Those hashes that are not in the set, in their order; one that comes twice is given twice.

    `left` is the bytes of hashes, or an iterable of such blocks.
    """
    find = _keys().difference
    if isinstance(left, Iterable) and not isinstance(left, (bytes, bytearray, memoryview)):
        return b"".join(find(block, keys) for block in left)
    missing: bytes = find(left, keys)
    return missing


def partition(hashes: Any, bits: int) -> list[bytes]:
    """The hashes as 2^`bits` parts by their highest bits, each in the order in which they came."""
    parts: list[bytes] = _keys().partition(hashes, bits)
    return parts
