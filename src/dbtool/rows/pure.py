"""Rows as bytes, in pure Python: the reference, and the twin of `_rows.c` where there is no compiler.

Both give the same bytes and the same numbers; the same tests run on both.

A row is one line of PostgreSQL's COPY text format, without its newline. Its hash is XXH64 with
seed 0. A digest is the sum of hashes modulo 2^64, so the order of rows does not matter. A key's
text is its fields, as they stand in the row, joined by tabs in the key's order.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import xxhash

DONE = 0
MORE = 1
SERVER_ERROR = 2

MOST_FIELDS = 1664  # of a PostgreSQL result
_MOST_KEY_FIELDS = 32

_MASK = (1 << 64) - 1
_bucket_lock = threading.Lock()


def xxh64(data: Any, seed: int = 0) -> int:
    """The 64-bit xxHash of any bytes-like object."""
    return xxhash.xxh64_intdigest(data, seed)


def check_key(key: tuple[int, ...], fields: int) -> None:
    """Raise ValueError if these cannot be the positions of a key, in rows with so many fields."""
    if len(key) > _MOST_KEY_FIELDS:
        raise ValueError("a key has at most 32 fields")
    if not all(0 <= position < fields for position in key):
        raise ValueError("a key field's position is out of range")


def key_text(row: bytes, key: tuple[int, ...]) -> bytes:
    """The text of a row's key: the fields at these positions, joined by tabs."""
    fields = row.split(b"\t", max(key) + 1)
    if len(fields) <= max(key):
        raise ValueError("a row has fewer fields than its key needs")
    return b"\t".join(fields[position] for position in key)


def tally_lines(data: Any, key: tuple[int, ...]) -> tuple[int, int, int]:
    """(rows, digest, key digest) of COPY text, whole lines without the terminator."""
    check_key(key, MOST_FIELDS)
    text = bytes(data)
    if not text:
        return 0, 0, 0
    if not text.endswith(b"\n"):
        raise ValueError("the last row has no end")
    rows = text[:-1].split(b"\n")
    digest = sum(map(xxhash.xxh64_intdigest, rows)) & _MASK
    key_digest = sum(xxhash.xxh64_intdigest(key_text(row, key)) for row in rows) & _MASK if key else 0
    return len(rows), digest, key_digest


class CopyStream:
    """Reads the rows of one `COPY … TO STDOUT` after the other from a connection.

    `fd` is the connection's socket, not blocking, with nothing unread: the caller writes the
    query to it and leaves all reading to `read` until that says `DONE`. Where TLS is between,
    `libpq` is the connection itself and rows come through its `get_copy_data`.

    The stream is a buffer: `memoryview(stream)` is the text of prefix, rows and what was appended.
    """

    def __init__(self, fd: int, libpq: Any = None) -> None:
        self._fd = fd
        self._libpq = libpq
        self._input = bytearray()
        self._text = bytearray()
        self._key: tuple[int, ...] = ()
        self._buckets: Any = None
        self._bucket_bits = 0
        self._stopped = False
        self.rows = 0
        self.digest = 0
        self.key_digest = 0
        self.tag = ""
        self.error: bytes | None = None

    def begin(self, key: tuple[int, ...], buckets: Any) -> None:
        """A new COPY begins: positions of the key's fields, and None or a writable buffer of 2^n
        sums of key hashes (8 bytes each), shared between threads; a key belongs to the bucket of
        the n highest bits of its hash."""
        check_key(key, MOST_FIELDS)
        self._key = key
        self._buckets = None
        if buckets is not None:
            size = len(memoryview(buckets).cast("B"))
            if size < 8 or size & (size - 1):
                raise ValueError("buckets must hold a power of two of 8-byte sums")
            self._buckets = memoryview(buckets).cast("B").cast("Q")
            self._bucket_bits = size.bit_length() - 4
        self.tag = ""
        self.error = None

    def reset(self, prefix: bytes) -> None:
        """A new text begins with these bytes; the counters begin at zero."""
        self._text = bytearray(prefix)
        self.rows = self.digest = self.key_digest = 0

    def append(self, data: bytes) -> None:
        """Add bytes that are no rows."""
        self._text += data

    def stop(self) -> None:
        """End a `read` that waits in another thread: it raises InterruptedError."""
        self._stopped = True

    @property
    def length(self) -> int:
        """Bytes of text so far."""
        return len(self._text)

    @property
    def text(self) -> bytearray:
        """The text itself."""
        return self._text

    def read(self, target: int) -> int:
        """Read rows until the text has `target` bytes (`MORE`), or the COPY is over (`DONE`), or
        the server ended it with an error (`SERVER_ERROR`, see `error`).

        Raises ConnectionError if the connection is lost.
        """
        return self._read_libpq(target) if self._libpq is not None else self._read_socket(target)

    def _take_row(self, row: bytes) -> None:
        self._text += row
        row = row[:-1] if row.endswith(b"\n") else row
        self.rows += 1
        self.digest = (self.digest + xxhash.xxh64_intdigest(row)) & _MASK
        if not self._key:
            return
        value = xxhash.xxh64_intdigest(key_text(row, self._key))
        self.key_digest = (self.key_digest + value) & _MASK
        if self._buckets is not None:
            bucket = value >> (64 - self._bucket_bits) if self._bucket_bits else 0
            with _bucket_lock:
                self._buckets[bucket] = (self._buckets[bucket] + value) & _MASK

    def _wait_readable(self) -> None:
        is_ready = False
        while not is_ready:
            is_ready = bool(select.select([self._fd], [], [], 0.2)[0])
            if self._stopped:
                raise InterruptedError("stopped")

    def _receive(self) -> None:
        borrowed = socket.socket(fileno=self._fd)
        try:
            data = borrowed.recv(512 * 1024)
        except BlockingIOError:
            self._wait_readable()
            return
        finally:
            borrowed.detach()
        if not data:
            raise ConnectionError("the server closed the connection")
        self._input += data
        if self._stopped:
            raise InterruptedError("stopped")

    def _read_socket(self, target: int) -> int:
        while len(self._text) < target:
            position, data = 0, self._input
            while len(data) - position >= 5 and len(self._text) < target:
                kind = data[position]
                length = int.from_bytes(data[position + 1 : position + 5], "big")
                if len(data) - position <= length:
                    break
                payload = bytes(data[position + 5 : position + 1 + length])
                position += length + 1
                if kind == 0x64:  # d: a row
                    self._take_row(payload)
                elif kind == 0x45:  # E: the first error is the cause
                    self.error = self.error or payload
                elif kind == 0x43:  # C: a command is complete
                    self.tag = payload.rstrip(b"\0").decode("latin-1")
                elif kind == 0x5A:  # Z: ready for the next query
                    del data[:position]
                    return SERVER_ERROR if self.error is not None else DONE
                elif kind not in b"HcNSATDI":
                    raise ConnectionError("the server sent something that is not its protocol")
            del data[:position]
            if len(self._text) < target:
                self._receive()
        return MORE

    def _read_libpq(self, target: int) -> int:
        get_copy_data: Callable[[int], tuple[int, memoryview | None]] = self._libpq.get_copy_data
        while len(self._text) < target:
            length, row = get_copy_data(1)
            if length > 0 and row is not None:
                self._take_row(bytes(row))
            elif length == 0:
                self._wait_readable()
                self._libpq.consume_input()
            else:
                return DONE
        return MORE
