"""Bytes between being found and being written, kept in a file without a name."""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from typing import IO

from dbtool.archive.zstd import compress_frame, decompress_frame

_IN_MEMORY_BYTES = 32 << 20
_LEVEL = 1


@dataclass(frozen=True)
class Piece:
    """Bytes in the spool file."""

    offset: int
    size_bytes: int
    plain_bytes: int


class Spool:
    """Rows and keys between being found and being written: compressed, in a file without a name."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        self._lock = threading.Lock()
        self._end = 0

    def put(self, text: bytes) -> Piece:
        """Keep some bytes. Raises OSError, such as when the disk is full."""
        data = compress_frame(text, _LEVEL)
        with self._lock:
            piece = Piece(self._end, len(data), len(text))
            self._file.seek(piece.offset)
            self._file.write(data)
            self._end += len(data)
        return piece

    def get(self, piece: Piece) -> bytes:
        """Those bytes again."""
        with self._lock:
            self._file.seek(piece.offset)
            data = self._file.read(piece.size_bytes)
        return decompress_frame(data, "the temporary file of changed rows")

    def close(self) -> None:
        """Forget all."""
        self._file.close()
