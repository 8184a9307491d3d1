"""Rows as bytes: counting, digests, keys. The C part where it was built, else its twin.

`DBTOOL_PURE_PYTHON=1` chooses the twin, which gives the same bytes and numbers, slower.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from dbtool.rows import pure

DONE = pure.DONE
MORE = pure.MORE
SERVER_ERROR = pure.SERVER_ERROR


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
    """The text of a CopyStream, without a copy. Release it before the stream is used again."""
    return memoryview(stream if is_native else stream.text)


def copy_stream(fd: int, libpq: Any = None) -> Any:
    """A CopyStream on a connection's socket; see `pure.CopyStream`, of which it is one or the twin."""
    return _implementation.CopyStream(fd, libpq)
