"""A session's connection to the server: made, watched, cancelled, made again."""

from __future__ import annotations

import contextlib
import select
import time
from dataclasses import replace
from typing import Any

from dbtool.engines.mysql import messages, wire
from dbtool.engines.mysql.connect import connect
from dbtool.engines.mysql.flavour import flavour_of
from dbtool.engines.mysql.wire import LostError, ServerError, Wire
from dbtool.errors import ConnectionFailedError, DbtoolError, InterruptedByUserError
from dbtool.model.connection import Connection

CANCEL_TIMEOUT_SECONDS = 5
CANCEL_AGAIN_SECONDS = 2.0
PING_AFTER_SECONDS = 10.0  # of silence; a firewall may have forgotten us meanwhile


class Line:
    """The connection of a session. Connects at once. `where` may be changed for the connections to come.

    `is_running` says that a statement is on its way, `is_cancelled` that it was cancelled.
    """

    def __init__(self, where: Connection) -> None:
        self.where = where
        self.in_transaction = False
        self.is_running = False
        self.is_cancelled = False
        self._session: Any = None
        self._heard_at = 0.0
        self._connect()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._session is not None

    def _connect(self) -> None:
        self._session = connect(self.where)
        try:
            with messages.readable_errors("asking for the server's version"):
                self.label = flavour_of(self._session).label
        except BaseException:
            self.close()
            raise
        self.wire = Wire(self._session, self._wait)
        self.in_transaction = False
        self.heard()

    def heard(self) -> None:
        """The server said something just now."""
        self._heard_at = time.monotonic()

    def note_status(self, status: int) -> None:
        """What the server says of the session with each answer."""
        self.in_transaction = bool(status & wire.IN_TRANSACTION)

    def be_ready(self) -> bool:
        """Make a connection found lost again; whether it was. Raises ConnectionFailedError, also where
        that was inside a transaction."""
        if self.is_open and not self._is_lost():
            return False
        was_in_transaction = self.in_transaction
        self.drop()
        if was_in_transaction:
            raise ConnectionFailedError(
                "the connection was lost inside a transaction, which is thereby rolled back",
                "Begin the transaction again: the connection is made anew with the next statement.",
            )
        self._connect()
        return True

    def _is_lost(self) -> bool:
        """Whether the server is gone. It says nothing unasked, but for a farewell."""
        socket = self._session._sock
        if socket is None:
            return True
        silent_for = time.monotonic() - self._heard_at
        if silent_for < PING_AFTER_SECONDS and not select.select([socket], [], [], 0)[0]:
            return False
        socket.settimeout(self.where.connect_timeout_seconds)
        try:
            self.note_status(self.wire.ping())
        except (LostError, ServerError):
            return True
        finally:
            with contextlib.suppress(OSError):
                socket.settimeout(None)
        self.heard()
        return False

    def cancel(self) -> None:
        """Ask the server to end the running statement. May be called from any thread."""
        import pymysql

        session = self._session
        if session is None or not self.is_running:
            return
        self.is_cancelled = True
        quick = replace(self.where, connect_timeout_seconds=CANCEL_TIMEOUT_SECONDS)
        with (
            contextlib.suppress(DbtoolError, pymysql.MySQLError, OSError),
            connect(quick, database=False) as other,
        ):
            other.query(f"KILL QUERY {int(session.thread_id())}")

    def absorb_cancel(self) -> None:
        """The statement ended before the cancelling did: let that hit a statement that does nothing.
        Raises LostError."""
        self.is_cancelled = False
        with contextlib.suppress(ServerError):
            self.wire.query(b"DO 0")
            wire.first_of(self.wire.packet())

    def _wait(self, socket: Any) -> None:
        """Wait for the server. The first Ctrl-C cancels the statement, the second drops the connection."""
        timeout = socket.gettimeout()
        while True:
            try:
                seconds = CANCEL_AGAIN_SECONDS if self.is_cancelled and self.is_running else timeout
                if select.select([socket], [], [], seconds)[0]:
                    return
                if seconds == timeout:
                    raise LostError("the server does not answer")
                self.cancel()  # the first one may have come before the statement
            except KeyboardInterrupt:
                with contextlib.suppress(KeyboardInterrupt):
                    if not self.is_cancelled and self.is_running:
                        self.cancel()
                        continue
                self.drop()
                raise InterruptedByUserError(
                    "interrupted before the server answered; the connection was given up",
                    "It is made again with the next statement.",
                ) from None

    def lost(self, why: str) -> ConnectionFailedError:
        """What to raise when the connection went away while a statement ran."""
        outcome = (
            "The transaction is rolled back."
            if self.in_transaction
            else "Whether it took effect is not known."
        )
        self.drop()
        lines = [line.strip() for line in why.splitlines() if line.strip()]
        return ConnectionFailedError(
            f"the connection was lost while the statement ran: {lines[0] if lines else 'no reason given'}",
            f"{outcome} The connection is made again with the next statement.",
        )

    def drop(self) -> None:
        """Give the connection up, without a word to the server, which might not be listening."""
        if self._session is not None:
            self._session._force_close()
        self.close()

    def close(self) -> None:
        """End the connection."""
        session, self._session = self._session, None
        self.in_transaction = self.is_running = False
        if session is not None and session.open:
            session.close()
