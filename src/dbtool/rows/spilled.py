"""Hashes of more rows than fit into memory, kept in parts that do."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from dbtool import rows

_BUFFER_BYTES = 1 << 20
_MOST_PARTS = 256  # each may have an open file


class SpilledHashes:
    """Hashes, 8 bytes each in the machine's byte order, parted by their highest bits.

    Two tables whose hashes are parted alike can be compared part by part. A part has at most 1 MiB in
    memory; what is more lies in a temporary file in `folder`, which has no name and vanishes with the
    process. A part whose buffer was never full has no file.

    Threads may add at the same time. Raises OSError if the files cannot be made or written, and
    ValueError after `close`.
    """

    def __init__(self, folder: str | Path, parts: int) -> None:
        """`parts` is a power of two, 256 at most."""
        if not 1 <= parts <= _MOST_PARTS or parts & (parts - 1):
            raise ValueError(f"parts must be a power of two, from 1 to {_MOST_PARTS}")
        self.parts = parts
        self._folder = folder
        self._bits = parts.bit_length() - 1
        self._buffers: list[bytearray] = [bytearray() for _ in range(parts)]
        self._files: list[IO[bytes] | None] = [None] * parts
        self._spilled = [0] * parts  # bytes in the files
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> SpilledHashes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return (sum(self._spilled) + sum(map(len, self._buffers))) // 8

    @property
    def spilled_bytes(self) -> int:
        """Bytes in temporary files."""
        return sum(self._spilled)

    def add(self, hashes: Any) -> None:
        """Add hashes; a hash that comes twice is kept twice."""
        pieces = rows.partition(hashes, self._bits)
        with self._lock:
            self._refuse_if_closed()
            for part, piece in enumerate(pieces):
                if len(self._buffers[part]) + len(piece) > _BUFFER_BYTES:
                    self._spill(part, self._buffers[part])
                    self._buffers[part] = bytearray()
                if len(piece) > _BUFFER_BYTES:
                    self._spill(part, piece)
                else:
                    self._buffers[part] += piece

    def part(self, number: int) -> Iterator[bytes]:
        """Blocks of one part's hashes, of 1 MiB at most, in the order in which they were added."""
        with self._lock:
            self._refuse_if_closed()
            file, size, rest = self._files[number], self._spilled[number], bytes(self._buffers[number])
        return self._blocks(file, size, rest)

    def close(self) -> None:
        """Give up memory and files. May be called again."""
        with self._lock:
            self._closed = True
            for file in self._files:
                if file is not None:
                    file.close()
            self._files = [None] * self.parts
            self._spilled = [0] * self.parts
            self._buffers = [bytearray() for _ in range(self.parts)]

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ValueError("the hashes were closed")

    def _spill(self, part: int, data: bytes | bytearray) -> None:
        file = self._files[part]
        if file is None:
            file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - close() does it
            self._files[part] = file
        view = memoryview(data)
        while view:
            written = os.pwrite(file.fileno(), view, self._spilled[part])
            self._spilled[part] += written
            view = view[written:]

    def _blocks(self, file: IO[bytes] | None, size: int, rest: bytes) -> Iterator[bytes]:
        place = 0
        while file is not None and place < size:
            self._refuse_if_closed()
            block = os.pread(file.fileno(), min(_BUFFER_BYTES, size - place), place)
            if not block or len(block) % 8:
                raise OSError("a temporary file was cut off")
            place += len(block)
            yield block
        if rest:
            yield rest
