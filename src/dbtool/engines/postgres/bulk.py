"""COPY at full speed, both ways, on a psycopg connection that is otherwise idle.

Without TLS the rows go between the socket and `dbtool.rows` directly, and libpq does not see
them: it is idle before and after, with nothing in its buffers. With TLS, or GSSAPI encryption,
they go through libpq. What the server does and says is the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dbtool import rows
from dbtool.engines.postgres.binary import binary_pieces
from dbtool.errors import ConnectionFailedError, DbtoolError
from dbtool.model.database import Column

if TYPE_CHECKING:
    import psycopg

_SEND_BYTES = 64 * 1024
_POLL_SECONDS = 0.2
_HAS_SOCKET_CALLS = sys.platform != "win32"


class ServerError(DbtoolError):
    """The server ended a COPY with an error. `sqlstate` and `fields` are its own words."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields.get("M", "the server gave no reason"), fields.get("H"))
        self.fields = fields
        self.sqlstate = fields.get("C", "")

    @property
    def context(self) -> str:
        """Where in the data it happened, such as "COPY t, line 3, column b"."""
        return self.fields.get("W", "")


# Types whose text costs the server much, and which the C part writes: see rows/_fields.h.
_BINARY_TYPE = re.compile(r"bytea|date|uuid|timestamp(\(\d\))? with(out)? time zone")


def binary_formats(columns: Sequence[Column]) -> tuple[int, ...]:
    """For each column 1 if it shall come in binary, else 0."""
    return tuple(1 if _BINARY_TYPE.fullmatch(column.type) else 0 for column in columns)


class CopyOut:
    """Reads rows as the lines of COPY's text format, one statement after the other."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._pgconn = connection.pgconn
        self._is_raw = _is_raw(connection)
        self._is_stopped = False
        libpq = None if self._is_raw else _libpq_of(self._pgconn)
        self.stream: Any = rows.copy_stream(self._pgconn.socket, libpq)

    def begin(
        self,
        query: bytes,
        formats: Sequence[int],
        key: tuple[int, ...],
        buckets: bytearray | None,
        lock: bytes | None = None,
    ) -> None:
        """Ask for a query's rows, after the statement `lock` if there is one, in one round trip.

        The lines are those of `COPY (query) TO STDOUT`. A result costs the server less than a COPY,
        which looks at every byte for what it must escape; and where `formats` has a 1 the column
        comes in binary (see `binary_formats`). Where libpq or Python reads, it is a COPY.
        `key` and `buckets` as in `rows.pure.CopyStream.begin`.
        """
        self.stream.begin(key, buckets)
        if not (self._is_raw and rows.is_native):
            self._begin_copy((lock + b"; " if lock else b"") + b"COPY (" + query + b") TO STDOUT")
            return
        messages = _extended_query(lock, ()) if lock else b""
        _send(self._pgconn.socket, messages + _extended_query(query, formats) + _message(b"S"))

    def read(self, target_bytes: int) -> bool:
        """Read until the text has so many bytes; False once the statement is over.

        Raises `ServerError`, or `ConnectionFailedError` where the connection is lost.
        """
        try:
            status = self.stream.read(target_bytes)
        except ConnectionError as error:
            raise ConnectionFailedError(f"connection to the server lost: {error}") from None
        if status == rows.MORE:
            return True
        if self._is_raw:
            if status == rows.SERVER_ERROR:
                raise ServerError(_error_fields(self.stream.error))
            self.rows_sent = int(self.stream.tag.rsplit(" ", 1)[-1])
        else:
            self.rows_sent = self._end_in_libpq()
        return False

    rows_sent = 0  # as the server counted them, once the statement is over

    def stop(self) -> None:
        """End a begin or a read in another thread: it raises InterruptedError."""
        self._is_stopped = True
        self.stream.stop()

    def _begin_copy(self, statement: bytes) -> None:
        if self._is_raw:
            _send(self._pgconn.socket, _message(b"Q", statement + b"\0"))
            return
        from psycopg import pq

        self._pgconn.send_query(statement)
        while self._pgconn.flush():
            select.select([self._pgconn.socket], [self._pgconn.socket], [])
            self._pgconn.consume_input()
        while True:
            while self._pgconn.is_busy():
                select.select([self._pgconn.socket], [], [], _POLL_SECONDS)
                if self._is_stopped:
                    raise InterruptedError("stopped")
                self._pgconn.consume_input()
            result = self._pgconn.get_result()
            if result is None:
                raise DbtoolError("the server ended the query without copying")
            if result.status == pq.ExecStatus.COPY_OUT:
                return
            if result.status == pq.ExecStatus.FATAL_ERROR:
                self._drain()
                raise ServerError(_result_fields(result))

    def _end_in_libpq(self) -> int:
        from psycopg import pq

        count = 0
        failure = None
        while (result := self._pgconn.get_result()) is not None:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                failure = failure or ServerError(_result_fields(result))
            else:
                count = result.command_tuples or 0
        if failure:
            raise failure
        return count

    def _drain(self) -> None:
        while self._pgconn.get_result() is not None:
            pass


def copy_in(
    connection: psycopg.Connection[Any], statement: bytes, data: memoryview, kinds: bytes | None
) -> int:
    """Run `COPY … FROM STDIN` with these lines; the number of rows that the server took.

    With `kinds` (see `binary.column_kinds`) they are sent in binary. What that cannot say, or the
    server refuses so, is sent as text after all: then an error speaks of what stands in the archive.
    Raises `ServerError` or `ConnectionFailedError`.
    """
    if kinds is not None:
        with contextlib.suppress(ServerError, ValueError):
            return _copy(connection, statement + b" WITH (FORMAT binary)", binary_pieces(data, kinds))
    starts = range(0, len(data), _SEND_BYTES)
    return _copy(connection, statement, (data[start : start + _SEND_BYTES] for start in starts))


def _copy(connection: psycopg.Connection[Any], statement: bytes, pieces: Iterable[bytes | memoryview]) -> int:
    import psycopg

    try:
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for piece in pieces:
                    copy.write(piece)
            return cursor.rowcount
    except psycopg.Error as error:
        if error.diag.sqlstate is None:
            raise ConnectionFailedError(f"connection to the server lost: {error}") from None
        raise ServerError(
            {
                "M": error.diag.message_primary or str(error),
                "C": error.diag.sqlstate,
                "W": error.diag.context or "",
                **({"D": error.diag.message_detail} if error.diag.message_detail else {}),
            }
        ) from None


def _is_raw(connection: psycopg.Connection[Any]) -> bool:
    """Whether the protocol's bytes can be read from the socket as they are."""
    if not _HAS_SOCKET_CALLS or connection.pgconn.ssl_in_use:
        return False
    row = connection.execute(
        "SELECT coalesce(bool_or(encrypted), false) FROM pg_catalog.pg_stat_gssapi WHERE pid = pg_backend_pid()"
    ).fetchone()
    return row is not None and not row[0]


def _libpq_of(pgconn: Any) -> Any:
    """What `rows.copy_stream` needs to call libpq: for the C part the addresses of the functions
    in the library that psycopg loaded, for the twin the connection itself."""
    if not rows.is_native:
        return pgconn
    import ctypes

    library = ctypes.CDLL(_loaded_libpq())
    functions = (library.PQgetCopyData, library.PQconsumeInput, library.PQfreemem)
    addresses = [ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions]
    return (pgconn.pgconn_ptr, *addresses)


def _loaded_libpq() -> str:
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            if len(fields) == 6 and os.path.basename(fields[5]).startswith("libpq"):  # noqa: PTH119
                return fields[5]
    raise DbtoolError("cannot find the libpq that is in use")


def _message(kind: bytes, payload: bytes = b"") -> bytes:
    """A message of the protocol, version 3: its kind, a length that counts itself, the payload."""
    return kind + struct.pack(">I", len(payload) + 4) + payload


def _extended_query(statement: bytes, formats: Sequence[int]) -> bytes:
    """Parse, Bind, Describe and Execute; with no formats every column comes as text."""
    codes = struct.pack(f">{len(formats) + 1}H", len(formats), *formats)
    return (
        _message(b"P", b"\0" + statement + b"\0" + struct.pack(">H", 0))
        + _message(b"B", b"\0\0" + struct.pack(">HH", 0, 0) + codes)
        + _message(b"D", b"P\0")
        + _message(b"E", b"\0" + struct.pack(">I", 0))
    )


def _send(fd: int, data: bytes) -> None:
    """Write to a socket that does not block."""
    message = memoryview(data)
    while message:
        try:
            message = message[os.write(fd, message) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except OSError as error:
            raise ConnectionFailedError(f"connection to the server lost: {error}") from None


def _error_fields(payload: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse by their letters: M message, C SQLSTATE, H hint, …"""
    fields = (field.decode("utf-8", "replace") for field in payload.split(b"\0") if field)
    return {field[0]: field[1:] for field in fields}


def _result_fields(result: Any) -> dict[str, str]:
    from psycopg import pq

    letters: Sequence[tuple[str, Any]] = (
        ("M", pq.DiagnosticField.MESSAGE_PRIMARY),
        ("C", pq.DiagnosticField.SQLSTATE),
        ("D", pq.DiagnosticField.MESSAGE_DETAIL),
        ("H", pq.DiagnosticField.MESSAGE_HINT),
        ("W", pq.DiagnosticField.CONTEXT),
    )
    found = ((letter, result.error_field(field)) for letter, field in letters)
    return {letter: value.decode("utf-8", "replace") for letter, value in found if value}
