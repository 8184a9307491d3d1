"""Keys that are one integer, packed: the pure-Python twin of _integers.c."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from dbtool.rows import pure_keys

_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1
_MASK = (1 << 64) - 1


def pack_integers(text: Any, key: tuple[int, ...], text_format: str) -> bytes | None:
    """See `dbtool.rows.pack_integers`."""
    packed = bytearray()
    before = 0
    for line in pure_keys.keys_of(text, key, text_format):
        if not _INTEGER.fullmatch(line) or not _LEAST <= int(line) <= _MOST:
            return None
        step = (int(line) - before) & _MASK
        before = int(line)
        step = ((step << 1) & _MASK) ^ (_MASK if step >> 63 else 0)
        while step >= 0x80:
            packed.append((step & 0x7F) | 0x80)
            step >>= 7
        packed.append(step)
    return bytes(packed)


def unpack_integers(packed: Any) -> bytes:
    """See `dbtool.rows.unpack_integers`."""
    return b"".join(b"%d\n" % value for value in _values(bytes(packed)))


def _values(packed: bytes) -> Iterator[int]:
    value = step = shift = 0
    for byte in packed:
        if shift > 63:
            raise ValueError("the packed numbers are cut off")
        step |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            value = (value + ((step >> 1) ^ (_MASK if step & 1 else 0))) & _MASK
            yield value - (1 << 64) if value >> 63 else value
            step = shift = 0
    if shift:
        raise ValueError("the packed numbers are cut off")
