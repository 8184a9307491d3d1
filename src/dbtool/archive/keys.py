"""The keys of a frame's rows, in a skippable frame behind it: a differential need not unpack the rows for them.

Its payload is 8 bytes that say what it is, then one zstd frame of packed integers (see `rows.pack_integers`).
"""

from __future__ import annotations

import struct

from dbtool.archive.zstd import compress_frame, decompress_frame
from dbtool.errors import VerificationError

KEYS_MAGIC = 0x184D2A5C  # a skippable frame: decoders pass over it
KEYS_LABEL = b"dbtoolky"
_HEADER = struct.Struct("<II")
_LEVEL = 1


def keys_frame(packed: bytes) -> bytes:
    """The whole skippable frame."""
    payload = KEYS_LABEL + compress_frame(packed, _LEVEL)
    return _HEADER.pack(KEYS_MAGIC, len(payload)) + payload


def decode_keys(frame: bytes, what: str) -> bytes:
    """The packed keys. `VerificationError` naming `what` if it holds none, or is damaged."""
    start = _HEADER.size + len(KEYS_LABEL)
    if len(frame) < start or _HEADER.unpack_from(frame) != (KEYS_MAGIC, len(frame) - _HEADER.size):
        raise VerificationError(f"{what} is damaged: there are no keys behind it")
    if frame[_HEADER.size : start] != KEYS_LABEL:
        raise VerificationError(f"{what} is damaged: what is behind it is no keys")
    return decompress_frame(frame[start:], f"the keys of {what}")
