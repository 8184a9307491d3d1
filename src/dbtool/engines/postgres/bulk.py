"""COPY at full speed, both ways, on a psycopg connection that is otherwise idle.

Without TLS the rows go between the socket and `dbtool.rows` directly, and libpq does not see
them: it is idle before and after, with nothing in its buffers. With TLS, or GSSAPI encryption,
they go through libpq. What the server does and says is the same.
"""

from __future__ import annotations

import os
import select
import struct
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dbtool import rows
from dbtool.errors import ConnectionFailedError, DbtoolError

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


class CopyOut:
    """Reads `COPY … TO STDOUT`, one after the other."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._pgconn = connection.pgconn
        self._is_raw = _is_raw(connection)
        self._is_stopped = False
        libpq = None if self._is_raw else _libpq_of(self._pgconn)
        self.stream: Any = rows.copy_stream(self._pgconn.socket, libpq)

    def begin(self, statement: bytes, key: tuple[int, ...], buckets: bytearray | None) -> None:
        """Send the statement. `key` and `buckets` as in `rows.pure.CopyStream.begin`."""
        self.stream.begin(key, buckets)
        if self._is_raw:
            _send_query(self._pgconn.socket, statement)
        else:
            self._begin_in_libpq(statement)

    def read(self, target_bytes: int) -> bool:
        """Read until the text has so many bytes; False once the COPY is over.

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

    rows_sent = 0  # as the server counted them, once the COPY is over

    def stop(self) -> None:
        """End a begin or a read in another thread: it raises InterruptedError."""
        self._is_stopped = True
        self.stream.stop()

    def _begin_in_libpq(self, statement: bytes) -> None:
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


def copy_in(connection: psycopg.Connection[Any], statement: bytes, data: memoryview) -> int:
    """Run `COPY … FROM STDIN` with these rows; the number that the server took.

    Raises `ServerError` or `ConnectionFailedError`.
    """
    import psycopg

    try:
        with connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for start in range(0, len(data), _SEND_BYTES):
                    copy.write(data[start : start + _SEND_BYTES])
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


def _send_query(fd: int, statement: bytes) -> None:
    """Write a Query message of the protocol to a socket that does not block."""
    message = memoryview(b"Q" + struct.pack(">I", len(statement) + 5) + statement + b"\0")
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
