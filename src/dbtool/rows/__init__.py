"""Rows as bytes: counting, digests, keys. The C part where it was built, else its twin.

`DBTOOL_PURE_PYTHON=1` chooses the twin, which gives the same bytes and numbers, slower.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from dbtool.rows import pure, pure_packets

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
