"""Reading what a query gives from the bare socket, and throwing it away: nobody can read with less.

Behind the query the end of the session is asked for at once. So the answer is over when the server
closes the connection, and no byte of it has to be looked at.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from dbtool.engines.mysql.connect import connect, dump_session_settings
from dbtool.model.connection import Connection

_QUERY, _QUIT = 0x03, 0x01
_ERROR = 0xFF
_RECEIVE_BYTES = 256 * 1024
# As dbtool reads: in the middle of a large result, wait for more than the server sends at once.
_BULK_BYTES = 1 << 20
_PAUSE_SECONDS = 0.0004
_FULL_BYTES = 160 * 1024


def read_away(connection: Connection, query: bytes, *, pauses: bool) -> tuple[int, float, float]:
    """The bytes of the answer, the seconds it took, and those of this thread on the processor.

    With `pauses` the reader waits a little where it finds little, as dbtool does. Raises
    RuntimeError where the server answers with an error.
    """
    session: Any = connect(connection)
    dump_session_settings(session)
    session.query("SET SESSION character_set_results = NULL")
    opened: socket.socket = session._sock
    room = memoryview(bytearray(_RECEIVE_BYTES))
    clock, cpu = time.perf_counter(), time.thread_time()
    opened.sendall(_packet(_QUERY, query) + _packet(_QUIT, b""))
    found = received = opened.recv_into(room)
    if received > 4 and room[4] == _ERROR:
        raise RuntimeError(bytes(room[7:received]).decode("utf-8", "replace"))
    while found:
        found = _found(opened, room, pauses and received >= _BULK_BYTES and found < _FULL_BYTES)
        received += found
    spent = time.perf_counter() - clock, time.thread_time() - cpu
    session._force_close()
    return received, *spent


def _found(opened: socket.socket, room: memoryview, pauses: bool) -> int:
    if pauses:
        try:
            return opened.recv_into(room, 0, socket.MSG_DONTWAIT)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
    return opened.recv_into(room)


def _packet(command: int, content: bytes) -> bytes:
    size = 1 + len(content)
    return size.to_bytes(3, "little") + b"\0" + bytes([command]) + content
