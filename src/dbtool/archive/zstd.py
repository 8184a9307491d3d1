"""zstd: whole frames with content checksums.

By the library `zstandard`, which unpacks a frame into one buffer of the right size: the standard library's
way, of growing buffers, takes twice as long.
"""

from __future__ import annotations

import threading
from typing import Any

import zstandard

from dbtool.errors import VerificationError

#: Chosen by measurement: see docs/performance.md.
DEFAULT_LEVEL = 1
LOWEST_LEVEL, HIGHEST_LEVEL = 1, 19

# Of a frame's header: RFC 8878, section 3.1.1.1.1.
_DESCRIPTOR, _HAS_CHECKSUM = 4, 0x04

_own = threading.local()  # contexts are not for several threads at once


def compress_frame(text: Any, level: int) -> bytes:
    """One independent zstd frame with its content size and checksum. Releases the GIL."""
    compressors: dict[int, zstandard.ZstdCompressor] = _own.__dict__.setdefault("compressors", {})
    if level not in compressors:
        compressors[level] = zstandard.ZstdCompressor(level, write_checksum=True, write_content_size=True)
    return compressors[level].compress(text)


def frame_checksum(frame: bytes) -> int:
    """The checksum at the end of a frame: the low 32 bits of the XXH64 of its text, which is what
    the seek table holds as well (RFC 8878, section 3.1.1)."""
    return int.from_bytes(frame[-4:], "little")


def decompress_frame(frame: Any, what: str) -> bytes:
    """The text of exactly one frame that has its content's size and checksum. `VerificationError` naming
    `what` if it is damaged. Releases the GIL."""
    decompressor: zstandard.ZstdDecompressor = _own.__dict__.setdefault(
        "decompressor", zstandard.ZstdDecompressor()
    )
    try:
        if not frame[_DESCRIPTOR] & _HAS_CHECKSUM:
            raise ValueError("it has no checksum")
        return decompressor.decompress(frame, allow_extra_data=False)
    except (zstandard.ZstdError, MemoryError, OverflowError, ValueError, IndexError) as error:
        raise VerificationError(
            f"{what} is damaged, cut off or followed by stray bytes: {error}", "restore from another backup"
        ) from None
