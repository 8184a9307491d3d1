"""Writing a large file past the page cache.

A backup is written once and not read again soon: through the cache it would push out what the
database on the same machine keeps there, and cost a copy of every byte. Where the file system
cannot do it, the file is written as usual.
"""

from __future__ import annotations

import errno
import mmap
import os

from dbtool import platforms

_BUFFER_BYTES = 2 << 20  # a multiple of any block size


class FileWriter:
    """Appends to an open, empty file. Raises OSError; the descriptor stays its user's."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = memoryview(mmap.mmap(-1, _BUFFER_BYTES))  # aligned to a page
        self._used = 0
        self._is_direct: bool | None = None  # not known before there is enough to write

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; up to 2 MiB wait for more, or for `finish`."""
        rest = memoryview(data).cast("B")
        while rest:
            count = min(len(rest), _BUFFER_BYTES - self._used)
            self._buffer[self._used : self._used + count] = rest[:count]
            self._used += count
            rest = rest[count:]
            if self._used == _BUFFER_BYTES:
                self._write_block()

    def finish(self) -> None:
        """Write what waits, and make all of it durable."""
        if self._is_direct:
            platforms.set_direct(self._descriptor, False)
        _write_all(self._descriptor, self._buffer[: self._used])
        self._used = 0
        os.fsync(self._descriptor)

    def _write_block(self) -> None:
        if self._is_direct is None:
            self._is_direct = platforms.set_direct(self._descriptor, True)
        self._used = 0
        if self._is_direct:
            try:
                written = os.write(self._descriptor, self._buffer)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                written = 0
            if written == _BUFFER_BYTES:
                return
            # Not from here, or not any more: a disk that is full says so when the rest is written.
            self._is_direct = platforms.set_direct(self._descriptor, False)
            _write_all(self._descriptor, self._buffer[written:])
            return
        _write_all(self._descriptor, self._buffer)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
