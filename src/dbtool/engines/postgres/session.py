"""One connection to PostgreSQL on which a person, or a script, runs SQL.

The user's own session: no setting is changed but the client encoding. Backups have their own.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from dbtool.engines import lexical
from dbtool.engines.postgres import messages
from dbtool.engines.postgres.connect import connect
from dbtool.engines.postgres.result import ROWS_PER_BATCH, PostgresResult
from dbtool.engines.session import Names
from dbtool.errors import ConnectionFailedError, InterruptedByUserError, SqlError, UsageError
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    import psycopg
    from psycopg.errors import Diagnostic
    from psycopg.pq.abc import PGconn, PGresult

CANCEL_TIMEOUT_SECONDS = 5.0
_READING_WORDS = {"SELECT", "TABLE", "VALUES", "SHOW", "WITH"}
_WRITING_WORDS = {"INSERT", "UPDATE", "DELETE", "MERGE"}
_CANCELLED = "57014"

_CANCELLED_PATIENCE_SECONDS = 10.0  # for the server to end a statement that it was asked to end


class PostgresSession:
    """A session on a PostgreSQL server; see the protocol `Session`. Connects at once."""

    dialect = "postgres"

    def __init__(self, connection: Connection) -> None:
        self._where = connection
        self._connection: psycopg.Connection[Any] | None = None
        self._in_transaction = False
        self._is_cancelled = False
        self._notices: list[str] = []
        self._active: PostgresResult | None = None
        self._source = ""
        self._offset = 0
        self._connect()

    @property
    def database(self) -> str:
        """The database it is connected to."""
        return self._where.database

    @property
    def server_label(self) -> str:
        """Such as "PostgreSQL 15.18"."""
        return self._server_label

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was said, and no COMMIT or ROLLBACK yet."""
        return self._in_transaction

    def run(self, statements: str) -> Iterator[PostgresResult]:
        """Run the statements one after the other; see the protocol."""
        for index, statement in enumerate(lexical.split(statements, self.dialect)):
            if index == 0:
                self._be_ready()
            elif self._active is not None:
                self._active.drain()
            self._source, self._offset = statements, statement.start
            sql = _encoded(statement.text)
            first = self._start(lambda pgconn, sql=sql: pgconn.send_query_params(sql, None))  # type: ignore[misc]
            yield self._result(first, statement)

    def query(self, statement: str) -> PostgresResult:
        """Run one statement that returns rows; anything else is refused before it runs."""
        parsed = lexical.split(statement, self.dialect)
        if len(parsed) != 1:
            raise UsageError(f"one statement is needed here, not {len(parsed) or 'none'}", "Nothing was run.")
        self._be_ready()
        self._source, self._offset = statement, parsed[0].start
        sql = _encoded(parsed[0].text)
        self._exchange(lambda pgconn: pgconn.send_prepare(b"", sql))
        described = self._exchange(lambda pgconn: pgconn.send_describe_prepared(b""))
        if described is None or described.nfields == 0:
            self._after_statement()
            raise UsageError(
                "this statement returns no rows, so it was not run",
                "A query is needed here, such as SELECT, or INSERT … RETURNING.",
            )
        first = self._start(lambda pgconn: pgconn.send_query_prepared(b"", None))
        return self._result(first, parsed[0])

    def notices(self) -> list[str]:
        """What the server said beside the results since the last call."""
        said, self._notices = self._notices, []
        return said

    def cancel(self) -> None:
        """Ask the server to end the running statement. May be called from any thread."""
        import psycopg

        connection = self._connection
        if connection is not None and not connection.closed:
            self._is_cancelled = True
            with contextlib.suppress(psycopg.Error):  # who waits for the statement waits only so long
                connection.cancel_safe(timeout=CANCEL_TIMEOUT_SECONDS)

    def names(self) -> Names:
        """Read the database's names on a connection of its own."""
        from dbtool.engines.postgres import names

        doing = "reading the names of the database"
        with messages.readable_errors(doing), connect(self._where, application_name="dbtool") as connection:
            return names.load(connection)

    def describe(self, pattern: str | None) -> list[str]:
        """Lines that describe relations as `\\d` does."""
        import psycopg

        from dbtool.engines.postgres import describe

        self._be_ready()
        assert self._connection is not None  # noqa: S101
        if self._has_raw_bytes():  # which the driver would not decode
            doing = "reading the catalogue"
            with messages.readable_errors(doing), connect(self._where, application_name="dbtool") as other:
                return describe.describe(other, pattern)
        try:
            return describe.describe(self._connection, pattern)
        except psycopg.Error as error:
            if self._connection.closed:
                raise self._lost(str(error)) from error
            raise SqlError(error.diag.message_primary or str(error), error.diag.message_hint) from error
        finally:
            self._after_statement()

    def close(self) -> None:
        """End the connection."""
        connection, self._connection, self._active = self._connection, None, None
        if connection is not None:
            connection.close()

    # What a PostgresResult asks of its session.

    @property
    def pgconn(self) -> PGconn:
        """libpq's connection. Raises ConnectionFailedError."""
        if self._connection is None:
            raise ConnectionFailedError("the connection is closed")
        return self._connection.pgconn

    @property
    def is_utf8(self) -> bool:
        """Whether all text that comes is UTF-8: not where the database has no encoding at all."""
        return self.pgconn.parameter_status(b"client_encoding") == b"UTF8" and not self._has_raw_bytes()

    def _has_raw_bytes(self) -> bool:
        """Whether the database has no encoding, so that any bytes may be in it."""
        return self.pgconn.parameter_status(b"server_encoding") == b"SQL_ASCII"

    def next_result(self) -> PGresult | None:
        """The next result of the running statement; None after its last."""
        from psycopg.pq import ExecStatus

        pgconn = self.pgconn
        with self._noticing_loss():
            while pgconn.is_busy():
                self.wait_readable()
                pgconn.consume_input()
            result = pgconn.get_result()
        if result is not None and result.status == ExecStatus.FATAL_ERROR:
            raise self._failed(result)
        return result

    def next_copied(self) -> bytes | None:
        """What COPY … TO STDOUT sends next; None after its end."""
        pgconn = self.pgconn
        with self._noticing_loss():
            while (found := pgconn.get_copy_data(1))[0] == 0:
                self.wait_readable()
                pgconn.consume_input()
        return bytes(found[1]) if found[0] > 0 else None

    def wait_readable(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the server. The first Ctrl-C cancels the statement, the second drops the connection, and
        so does a server that does not end the statement."""
        while True:
            patience = timeout_seconds
            if self._is_cancelled and patience is None:
                patience = _CANCELLED_PATIENCE_SECONDS
            try:
                is_readable = bool(select.select([self.pgconn.socket], [], [], patience)[0])
                if is_readable or patience is timeout_seconds:
                    return is_readable
            except KeyboardInterrupt:
                if not self._is_cancelled:
                    self.cancel()
                    continue
            self._drop()
            raise InterruptedByUserError(
                "interrupted before the server answered; the connection was given up",
                "It is made again with the next statement.",
            ) from None

    def end_statement(self) -> None:
        """Cancel the running statement, and read what it still sends."""
        self.cancel()
        with contextlib.suppress(InterruptedByUserError):
            self.read_to_end()

    def read_to_end(self) -> str:
        """Read and forget what is left of the statement; the last command tag."""
        from psycopg.pq import ExecStatus

        tag = b""
        while (result := self.next_result()) is not None:
            if result.status == ExecStatus.COPY_OUT:
                while self.next_copied() is not None:
                    pass
            tag = result.command_status or tag
        return tag.decode("utf-8", "replace")

    def finished(self) -> None:
        """The statement is over."""
        self._active = None
        self._after_statement()

    # Sending.

    def _start(self, send: Callable[[PGconn], None]) -> PGresult:
        """Send a statement, and wait for the first of its results."""
        import psycopg

        pgconn = self.pgconn
        self._is_cancelled = False
        with self._noticing_loss():
            send(pgconn)
            if hasattr(pgconn, "set_chunked_rows_mode") and psycopg.capabilities.has_stream_chunked():
                pgconn.set_chunked_rows_mode(ROWS_PER_BATCH)
            else:
                pgconn.set_single_row_mode()
            self._flush()
        result = self.next_result()
        if result is None:
            raise self._lost("the server gave no answer")
        return result

    def _exchange(self, send: Callable[[PGconn], None]) -> PGresult | None:
        """Send one message of the extended protocol; its answer."""
        self._is_cancelled = False
        with self._noticing_loss():
            send(self.pgconn)
            self._flush()
        answer = None
        while (result := self.next_result()) is not None:
            answer = result
        return answer

    def _flush(self) -> None:
        pgconn = self.pgconn
        while pgconn.flush():
            readable, _, _ = select.select([pgconn.socket], [pgconn.socket], [])
            if readable:
                pgconn.consume_input()

    def _result(self, first: PGresult, statement: lexical.Statement) -> PostgresResult:
        from psycopg.pq import ExecStatus

        if first.status in (ExecStatus.COPY_IN, ExecStatus.COPY_BOTH):
            raise self._refuse_input()
        is_plain = _only_reads(statement) and not self._in_transaction
        if first.status not in (ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY):
            result = PostgresResult(self, first, is_plain)
            self._active = result
            return result
        self._exchange_rest()
        return PostgresResult(self, first, is_plain)

    def _exchange_rest(self) -> None:
        while self.next_result() is not None:
            pass

    def _refuse_input(self) -> SqlError:
        """End a COPY … FROM STDIN before any row went in."""
        with self._noticing_loss():
            self.pgconn.put_copy_end(b"dbtool has no input for it")
            self._flush()
        with contextlib.suppress(SqlError):
            self.read_to_end()
        self._after_statement()
        return SqlError(
            "COPY … FROM STDIN has no input here; nothing was copied",
            "Use psql's \\copy, or COPY … FROM 'FILE' with a file of the server's.",
        )

    # The connection's life.

    def _connect(self) -> None:
        self._connection = connect(self._where, application_name="dbtool")
        self._connection.autocommit = True
        self._connection.add_notice_handler(self._on_notice)
        pgconn = self._connection.pgconn
        if self._has_raw_bytes():
            # Elsewhere `connect` has seen to UTF-8; here the server would refuse to send some values.
            with messages.readable_errors("setting the encoding"):
                self._connection.execute("SET client_encoding TO 'SQL_ASCII'")
        version = (pgconn.parameter_status(b"server_version") or b"").decode().split(" ")[0]
        self._server_label = f"PostgreSQL {version}"
        self._in_transaction = False

    def _be_ready(self) -> None:
        """End what still runs, and make a connection found lost again, unless in a transaction."""
        if self._active is not None:
            with contextlib.suppress(SqlError, InterruptedByUserError):
                self._active.close()
        if self._connection is not None and not self._is_lost():
            return
        was_in_transaction = self._in_transaction
        self._drop()
        if was_in_transaction:
            raise ConnectionFailedError(
                "the connection was lost inside a transaction, which is thereby rolled back",
                "Begin the transaction again: the connection is made anew with the next statement.",
            )
        self._connect()
        self._notices.append(
            "the connection was lost and has been made again; "
            "settings and temporary tables of the old session are gone"
        )

    def _is_lost(self) -> bool:
        import psycopg
        from psycopg.pq import ConnStatus

        pgconn = self.pgconn
        try:
            while pgconn.status == ConnStatus.OK and self.wait_readable(0):
                pgconn.consume_input()
                while (notify := pgconn.notifies()) is not None:
                    channel, payload = notify.relname.decode(), notify.extra.decode("utf-8", "replace")
                    self._notices.append(f"NOTIFY {channel}: {payload}")
        except psycopg.OperationalError:
            return True
        return pgconn.status != ConnStatus.OK

    def _drop(self) -> None:
        self.close()
        self._in_transaction = False

    @contextlib.contextmanager
    def _noticing_loss(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.OperationalError as error:
            raise self._lost(str(error)) from error

    def _lost(self, why: str) -> ConnectionFailedError:
        """What to raise when the connection went away while a statement ran."""
        was_in_transaction = self._in_transaction
        self._drop()
        outcome = (
            "The transaction is rolled back."
            if was_in_transaction
            else "Whether it took effect is not known."
        )
        lines = [line.strip() for line in why.splitlines() if line.strip()]
        return ConnectionFailedError(
            f"the connection was lost while the statement ran: {lines[0] if lines else 'no reason given'}",
            f"{outcome} The connection is made again with the next statement.",
        )

    def _after_statement(self) -> None:
        from psycopg.pq import TransactionStatus

        if self._connection is not None:
            status = self._connection.pgconn.transaction_status
            self._in_transaction = status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    # What the server says.

    def _on_notice(self, diagnostic: Diagnostic) -> None:
        self._notices.append(messages.notice_text(diagnostic))

    def _failed(self, result: PGresult) -> SqlError | ConnectionFailedError | InterruptedByUserError:
        import psycopg
        from psycopg.errors import Diagnostic
        from psycopg.pq import ConnStatus

        diagnostic = Diagnostic(result, "utf-8")
        with contextlib.suppress(psycopg.OperationalError):
            while self.pgconn.get_result() is not None:
                pass
        if self._active is not None:
            self._active.abandon()
            self._active = None
        if self.pgconn.status != ConnStatus.OK:
            return self._lost(diagnostic.message_primary or "")
        self._after_statement()
        if diagnostic.sqlstate == _CANCELLED and self._is_cancelled:
            return InterruptedByUserError("the statement was cancelled")
        return messages.sql_error(diagnostic, self._source, self._offset)


def _only_reads(statement: lexical.Statement) -> bool:
    """Whether ending the statement early undoes nothing, as far as its words tell."""
    words = [token.word for token in statement.tokens if token.text != "("]
    return words[0] in _READING_WORDS and (words[0] != "WITH" or not _WRITING_WORDS.intersection(words))


def _encoded(sql: str) -> bytes:
    if "\0" in sql:
        raise UsageError("the statement has a NUL character in it, which SQL cannot have")
    return sql.encode("utf-8", "surrogateescape")
