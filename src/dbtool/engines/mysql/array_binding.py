"""Many rows for one prepared INSERT at a time, as MariaDB from 10.2 on takes them (COM_STMT_BULK_EXECUTE).

It costs the server less than LOAD DATA, and needs no `local_infile`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.quoting import quote_identifier

if TYPE_CHECKING:
    import pymysql

_PREPARE, _CLOSE, _BULK_EXECUTE = 0x16, 0x19, 0xFA
_SEND_TYPES = 128
_STRING_TYPE = b"\xfe\0"
_HEADER = struct.Struct("<IH")
_PREPARED = struct.Struct("<IHH")

# In the first packets that a client sends: its abilities, and, where bit 0 of those is not set, MariaDB's own.
_NO_MARIADB = 1
_OWN_ABILITIES = slice(28, 32)
_ARRAY_BINDING = 1 << 2
_FIRST_PACKET_BYTES = 32


class TooLargeError(Exception):
    """A row is larger than what the server takes at once."""


@contextmanager
def offered(session: pymysql.connections.Connection[Any]) -> Iterator[None]:
    """While inside, the session that is connected to a MariaDB says that it can do this; to a MySQL it
    says nothing."""
    driver: Any = session
    send = driver.write_packet
    is_said = False

    def write_packet(payload: bytes) -> Any:
        nonlocal is_said
        if not is_said and len(payload) >= _FIRST_PACKET_BYTES:
            # With TLS, the same stands in a packet of its own before.
            is_said = len(payload) > _FIRST_PACKET_BYTES
            if not driver.server_capabilities & _NO_MARIADB:
                said = bytearray(payload)
                said[0] &= ~_NO_MARIADB
                said[_OWN_ABILITIES] = struct.pack("<I", _ARRAY_BINDING)
                payload = bytes(said)
        return send(payload)

    driver.write_packet = write_packet
    try:
        yield
    finally:
        del driver.write_packet


class ArrayInsert:
    """A prepared INSERT into one table. The session was made inside `offered`."""

    def __init__(
        self,
        session: pymysql.connections.Connection[Any],
        table: str,
        columns: Sequence[tuple[str, str]],
        most_bytes: int,
    ) -> None:
        """`columns` are names, each with the expression that takes its value, such as "?". `most_bytes` is the
        server's max_allowed_packet. Raises what the driver raises."""
        driver: Any = session
        self._session = driver
        self._most_bytes = most_bytes
        self._waits, self._counts = 0, (0, 0)
        self._types = _STRING_TYPE * len(columns)
        listed = ", ".join(quote_identifier(name) for name, _ in columns)
        marks = ", ".join(mark for _, mark in columns)
        statement = f"INSERT INTO {quote_identifier(table)} ({listed}) VALUES ({marks})"  # noqa: S608
        self._session._execute_command(_PREPARE, statement.encode("utf-8", "surrogateescape"))
        answer = self._session._read_packet().get_all_data()
        self._number, results, parameters = _PREPARED.unpack_from(answer, 1)
        for count in (parameters, results):
            for _ in range(count + 1 if count else 0):  # the definitions, and what ends them
                self._session._read_packet()

    def run(self, pieces: Iterable[bytes]) -> tuple[int, int]:
        """Insert rows, as `rows.insert_to_parameters` gives them: (rows, warnings).

        Raises TooLargeError before such a piece is sent, and what the driver raises; in a transaction,
        for what was inserted before that is there.
        """
        head = _HEADER.pack(self._number, _SEND_TYPES) + self._types
        self._waits, self._counts = 0, (0, 0)
        try:
            for piece in pieces:
                if len(head) + len(piece) + 1 >= self._most_bytes:
                    raise TooLargeError
                # The server finds its next work waiting when it has done the last.
                self._session._execute_command(_BULK_EXECUTE, head + piece)
                self._waits += 1
                if self._waits > 1:
                    self._take_answer()
            while self._waits:
                self._take_answer()
        finally:
            with suppress(Exception):
                while self._waits and self._session.open:
                    self._take_answer()
        return self._counts

    def _take_answer(self) -> None:
        from pymysql.protocol import OKPacketWrapper

        self._waits -= 1
        self._session._next_seq_id = 1  # packets are counted anew for each command
        answer = OKPacketWrapper(self._session._read_packet())
        self._session.server_status = answer.server_status
        affected, warnings = self._counts
        self._counts = affected + int(answer.affected_rows), warnings + int(answer.warning_count)

    def close(self) -> None:
        """Let go of the statement."""
        self._session._execute_command(_CLOSE, struct.pack("<I", self._number))
