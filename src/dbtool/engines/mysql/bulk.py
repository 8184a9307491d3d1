"""Rows at full speed, both ways, on a PyMySQL connection that is otherwise idle.

The bytes go between the connection's own socket (or its TLS) and `dbtool.rows`; PyMySQL sends the
statement, and sees nothing of the rows. Errors are the driver's own, `pymysql.MySQLError`, as for
any other statement: `messages.explain` puts them into words.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dbtool import rows

if TYPE_CHECKING:
    import pymysql

STATEMENT_BYTES = 1 << 20
_RECEIVE_BYTES = 256 * 1024
# The server takes no packet beyond its max_allowed_packet, which is 1 MiB or more wherever rows are
# loaded, and 16 MiB by default; much smaller ones cost more calls.
_SEND_BYTES = 128 * 1024
# In the middle of a large result, rather wait a little and find much than wake up for each 16 KiB that
# the server sends: waking costs both sides more than the bytes do.
_BULK_BYTES = 1 << 20
_BULK_PAUSE_SECONDS = 0.0004
_FULL_BYTES = 160 * 1024  # so much is found where the server had to wait for us: then there is no pause
_DO_NOT_WAIT = getattr(socket, "MSG_DONTWAIT", 0)

_SERVER_LOST = 2013
_MALFORMED_PACKET = 2027


class RowReader:
    """Reads the rows of queries as the archive's INSERT statements, one query after the other."""

    def __init__(self, session: pymysql.connections.Connection[Any]) -> None:
        driver: Any = session
        self._session = driver
        self._socket = driver._sock
        self._is_plain = type(self._socket) is socket.socket and bool(_DO_NOT_WAIT)
        self._is_stopped = False
        self._received = 0
        self._found = 0  # at the last look
        self.stream: Any = rows.packet_stream()

    def begin(
        self,
        query: str | bytes,
        kinds: bytes,
        key: tuple[int, ...],
        buckets: bytearray | None,
        prefix: bytes,
        statement_bytes: int = STATEMENT_BYTES,
    ) -> None:
        """Send a query. The stream's text is empty then, unless `stream.reset(head)` says otherwise.

        `kinds`, `key`, `buckets`, `prefix` as in `rows.pure_packets.PacketStream.begin`. The
        session's `character_set_results` must be NULL or binary, so that rows come as they are stored.
        Raises `pymysql.MySQLError`, or InterruptedError after `stop`.
        """
        self.stream.begin(kinds, key, buckets, prefix, statement_bytes)
        self._received = self._found = 0
        with self._interruptible():
            _send_query(self._session, query)

    def read(self, target_bytes: int) -> bool:
        """Read until the text has so many bytes (and a row at least); False once the result is over.

        The last statement is then still open: see `stream.finish_text`. Raises the server's error as
        `pymysql.MySQLError`; the connection is usable after it. One that is lost, or has sent
        what is no answer, is an `OperationalError`, after which it is closed.
        """
        while True:
            try:
                status = self.stream.advance(target_bytes)
            except ConnectionError as error:
                raise self._broken(_MALFORMED_PACKET, str(error)) from None
            if status == rows.MORE:
                return True
            if status == rows.DONE:
                return False
            if status == rows.SERVER_ERROR:
                raise self._server_error(self.stream.error)
            with self._interruptible():
                self._receive()

    def stop(self) -> None:
        """End a begin or a read in another thread: it raises InterruptedError, and the connection is
        of no more use."""
        self._is_stopped = True
        _shut(self._socket)

    def _receive(self) -> None:
        count = -1
        with self.stream.input(_RECEIVE_BYTES) as room:
            try:
                if self._is_plain:
                    count = self._receive_what_is_there(room)
                if count < 0:
                    count = self._socket.recv_into(room)
            except OSError as error:
                raise self._broken(
                    _SERVER_LOST, f"Lost connection to MySQL server during query ({error})"
                ) from None
        if count == 0:
            raise self._broken(_SERVER_LOST, "Lost connection to MySQL server during query")
        self._received += count
        self._found = count
        self.stream.take(count)

    def _receive_what_is_there(self, room: memoryview) -> int:
        """Bytes received without waiting for more than a moment; -1: there are none."""
        for pause in (True, False):
            try:
                return int(self._socket.recv_into(room, 0, _DO_NOT_WAIT))
            except BlockingIOError:
                if not pause or self._received < _BULK_BYTES or self._found >= _FULL_BYTES:
                    break
                time.sleep(_BULK_PAUSE_SECONDS)
        return -1

    @contextlib.contextmanager
    def _interruptible(self) -> Any:
        """Whatever fails after `stop` has failed because of it."""
        import pymysql

        try:
            if self._is_stopped:
                raise InterruptedError("stopped")
            yield
        except pymysql.MySQLError:
            if self._is_stopped:
                raise InterruptedError("stopped") from None
            raise

    def _server_error(self, packet: bytes) -> Exception:
        """What the driver raises for an error packet."""
        import pymysql

        try:
            pymysql.err.raise_mysql_exception(packet)
        except pymysql.MySQLError as error:
            return error
        except (struct.error, IndexError, UnicodeDecodeError):
            pass
        return self._broken(_MALFORMED_PACKET, "the server sent an error without a reason")

    def _broken(self, number: int, message: str) -> Exception:
        """The error of a connection that is of no more use; it is closed."""
        import pymysql

        self._session._force_close()
        return pymysql.OperationalError(number, message)


def load_local(
    session: pymysql.connections.Connection[Any], statement: str | bytes, pieces: Iterable[bytes]
) -> tuple[int, int]:
    """Run `LOAD DATA LOCAL …`; the server gets these bytes, and nothing else: (affected rows, warnings).

    Which file the server names does not matter, none is opened. The connection must have been made
    with `local_infile`. LOCAL makes warnings of what would be errors (rows that are there already,
    values that do not fit), and leaves out rows: whoever loads must compare both numbers, and
    do it in a transaction, for what was loaded is there even if the bytes ended early.

    Raises `pymysql.MySQLError`. Whatever else `pieces` raises, or the connection's loss: the server
    gets no end of the data, and the connection is closed.
    """
    driver: Any = session
    _send_query(driver, statement)
    answer = driver._read_packet()
    if not answer.is_load_local_packet():
        raise _unexpected(driver, "the server does not ask for the rows of LOAD DATA LOCAL")
    is_complete = False
    try:
        for piece in pieces:
            view = memoryview(piece)
            for start in range(0, len(view), _SEND_BYTES):
                driver.write_packet(view[start : start + _SEND_BYTES])
        is_complete = True
    finally:
        if not is_complete:
            driver._force_close()
    driver.write_packet(b"")
    return _counts(driver, driver._read_packet())


def execute_raw(session: pymysql.connections.Connection[Any], sql: str | bytes) -> tuple[int, int]:
    """Run a statement that gives no rows, its bytes sent as they are: (affected rows, warnings).

    A server that asks for a file gets none. Raises `pymysql.MySQLError`.
    """
    driver: Any = session
    _send_query(driver, sql)
    return _counts(driver, driver._read_packet())


def abort(session: pymysql.connections.Connection[Any]) -> None:
    """End whatever the connection does in another thread; there it is an `OperationalError`."""
    driver: Any = session
    _shut(driver._sock)


def _send_query(driver: Any, sql: str | bytes) -> None:
    from pymysql.constants import COMMAND

    driver._execute_command(COMMAND.COM_QUERY, sql)


def _counts(driver: Any, answer: Any) -> tuple[int, int]:
    from pymysql.protocol import OKPacketWrapper

    if not answer.is_ok_packet():
        raise _unexpected(driver, "the server answered with something else than how many rows it changed")
    counts = OKPacketWrapper(answer)
    if counts.has_next:
        raise _unexpected(driver, "the server answered more than one statement")
    driver.server_status = counts.server_status
    return int(counts.affected_rows), int(counts.warning_count)


def _unexpected(driver: Any, message: str) -> Exception:
    """The error of a connection that says what we do not follow; it is closed."""
    import pymysql

    driver._force_close()
    return pymysql.OperationalError(_MALFORMED_PACKET, message)


def _shut(opened: Any) -> None:
    """Both directions, below TLS: whoever waits for the socket in another thread finds its end."""
    if opened is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(opened, socket.SHUT_RDWR)
