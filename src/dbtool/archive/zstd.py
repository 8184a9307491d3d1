"""zstd, from the standard library or its backport: whole frames with content checksums."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from dbtool.errors import VerificationError

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd as _zstd
else:
    from compression import zstd as _zstd

#: Chosen by measurement: see docs/performance.md.
DEFAULT_LEVEL = 1
LOWEST_LEVEL, HIGHEST_LEVEL = 1, 19


def compress_frame(text: Any, level: int) -> bytes:
    """One independent zstd frame with its content size and checksum. Releases the GIL."""
    parameters = _zstd.CompressionParameter
    return _zstd.compress(text, options={parameters.compression_level: level, parameters.checksum_flag: 1})


def frame_checksum(frame: bytes) -> int:
    """The checksum at the end of a frame: the low 32 bits of the XXH64 of its text, which is what
    the seek table holds as well (RFC 8878, section 3.1.1)."""
    return int.from_bytes(frame[-4:], "little")


def decompress_frame(frame: Any, what: str) -> bytes:
    """The text of exactly one frame. `VerificationError` naming `what` if it is damaged."""
    decompressor = _zstd.ZstdDecompressor()
    try:
        text: bytes = decompressor.decompress(frame)
    except _zstd.ZstdError as error:
        raise VerificationError(f"{what} is damaged: {error}", "restore from another backup") from None
    if not decompressor.eof or decompressor.unused_data:
        raise VerificationError(
            f"{what} is cut off or followed by stray bytes", "restore from another backup"
        )
    return text
