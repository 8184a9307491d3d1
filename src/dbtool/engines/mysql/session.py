"""One connection to MySQL or MariaDB on which a person, or a script, runs SQL.

The user's own session: nothing is set but utf8mb4 and that each statement commits. Backups have their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from dbtool.engines import lexical
from dbtool.engines.mysql import messages, wire
from dbtool.engines.mysql.connect import connect
from dbtool.engines.mysql.line import Line
from dbtool.engines.mysql.result import MysqlResult, column_of, status_text
from dbtool.engines.mysql.wire import Decode, Ending, LostError, Row, ServerError
from dbtool.engines.session import Names
from dbtool.errors import ConnectionFailedError, DbtoolError, InterruptedByUserError, SqlError, UsageError
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    pass

_SHOWN_WARNINGS = 10

_READING_WORDS = {"SELECT", "TABLE", "VALUES", "SHOW", "WITH", "DESCRIBE", "DESC", "EXPLAIN"}
_WRITING_WORDS = {"INSERT", "UPDATE", "DELETE", "REPLACE", "INTO"}
# What gives rows, though the server may not say so, or not prepare it.
_QUERY_WORDS = {
    "SHOW",
    "DESCRIBE",
    "DESC",
    "EXPLAIN",
    "ANALYZE",
    "CHECK",
    "CHECKSUM",
    "HELP",
    "OPTIMIZE",
    "REPAIR",
}
# What may give several results, one after the other.
_SEVERAL_RESULTS = {"CALL", "EXECUTE", "BEGIN"}
_CANCELLED = 1317
_CANNOT_BE_PREPARED = 1295

Answer = TypeVar("Answer")


class MysqlSession:
    """A session on a MySQL or MariaDB server; see the protocol `Session`. Connects at once."""

    dialect = "mysql"

    def __init__(self, connection: Connection) -> None:
        self._line = Line(connection)
        self._has_more = False
        self._warnings = 0
        self._notices: list[str] = []
        self._active: MysqlResult | None = None
        self._source = ""
        self._offset = 0

    @property
    def database(self) -> str:
        """The database that USE chose last, else the one it connected to."""
        return self._line.where.database

    @property
    def server_label(self) -> str:
        """Such as "MariaDB 10.11.19"."""
        return self._line.label

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was said, and no COMMIT or ROLLBACK yet."""
        return self._line.in_transaction

    def run(self, statements: str) -> Iterator[MysqlResult]:
        """Run the statements one after the other; see the protocol. CALL may give several results."""
        for index, statement in enumerate(lexical.split(statements, self.dialect)):
            if index == 0:
                self._be_ready()
            else:
                self._read_to_end()
            self._refuse(statement)
            self._collect_warnings()
            self._source, self._offset = statements, statement.start
            yield from self._results(statement)

    def query(self, statement: str) -> MysqlResult:
        """Run one statement that returns rows; anything else is refused before it runs, but for a CALL
        of a procedure that gives none."""
        parsed = lexical.split(statement, self.dialect)
        if len(parsed) != 1:
            raise UsageError(f"one statement is needed here, not {len(parsed) or 'none'}", "Nothing was run.")
        self._be_ready()
        self._refuse(parsed[0])
        self._collect_warnings()
        self._source, self._offset = statement, parsed[0].start
        if not self._gives_rows(parsed[0]):
            raise UsageError(
                "this statement returns no rows, so it was not run", "A query is needed here, such as SELECT."
            )
        result = next(self._results(parsed[0]))
        if result.columns is None:
            raise UsageError("this statement was run, and returned no rows")
        return result

    def notices(self) -> list[str]:
        """What the server said beside the results since the last call."""
        if self._active is None and not self._has_more:
            with contextlib.suppress(DbtoolError):
                self._collect_warnings()
        said, self._notices = self._notices, []
        return said

    def cancel(self) -> None:
        """Ask the server to end the running statement. May be called from any thread."""
        self._line.cancel()

    def names(self) -> Names:
        """Read the database's names on a connection of its own."""
        from dbtool.engines.mysql import names

        doing = "reading the names of the database"
        with messages.readable_errors(doing), connect(self._line.where) as connection:
            return names.load(connection, self.database)

    def describe(self, pattern: str | None) -> list[str]:
        """Lines that describe relations as `\\d` does, read on a connection of its own: whatever the user
        set in this one."""
        from dbtool.engines.mysql import describe

        with messages.readable_errors("reading the catalogue"), connect(self._line.where) as connection:
            return describe.describe(connection, self.database, pattern)

    def close(self) -> None:
        """End the connection."""
        self._active, self._has_more = None, False
        self._line.close()

    # What a MysqlResult asks of its session.

    def more_rows(self, decoders: Sequence[Decode | None]) -> tuple[list[Row], Ending | None]:
        """The rows that came next, or how the result ended."""
        return self._hearing(lambda: self._line.wire.rows(decoders))

    def skip_rows(self) -> tuple[int, Ending | None]:
        """The rows that came next, counted, or how the result ended."""
        return self._hearing(self._line.wire.skip)

    def end_statement(self) -> None:
        """Cancel the running statement, and read what it still sends."""
        if not self._line.is_cancelled:
            self._line.cancel()
        was_ended = False
        with contextlib.suppress(InterruptedByUserError):
            while self._active is not None:
                _, ending = self.skip_rows()
                if ending is not None:
                    self._note(ending)
                    was_ended = True
                    break
        if was_ended:
            self._hearing(self._line.absorb_cancel)

    def finished(self, ending: Ending | None) -> None:
        """A result is over."""
        self._active = None
        if ending is not None:
            self._note(ending)
            if not ending.has_more and self._line.is_cancelled:
                self._hearing(self._line.absorb_cancel)

    # Running.

    def _results(self, statement: lexical.Statement) -> Iterator[MysqlResult]:
        """Send it, and give its results. The bare "OK" behind those of a CALL is not one of them."""
        sql = statement.text.encode("utf-8", "surrogateescape")
        self._line.is_cancelled = False
        self._line.is_running = True
        try:
            self._hearing(lambda: self._line.wire.query(sql))
        except KeyboardInterrupt:  # half of it may be on its way
            self._drop()
            raise InterruptedByUserError("interrupted while the statement was being sent") from None
        is_plain = _only_reads(statement) and not self._line.in_transaction
        result = self._next_result(is_plain)
        self._follow_use(statement)
        yield result
        if _first_word(statement) not in _SEVERAL_RESULTS:
            return
        while True:
            result.drain()
            if not self._has_more:
                return
            following = self._next_result(is_plain)
            if following.columns is None and not self._has_more:
                return
            result = following
            yield result

    def _next_result(self, is_plain: bool) -> MysqlResult:
        """What the server answers. Interrupted in the midst of it, nobody knows how to read on."""
        try:
            return self._result(is_plain)
        except KeyboardInterrupt:
            self._drop()
            raise InterruptedByUserError("interrupted; the connection was given up") from None

    def _result(self, is_plain: bool) -> MysqlResult:
        packet = self._hearing(self._line.wire.packet)
        kind = self._hearing(lambda: wire.first_of(packet))
        if kind == "ok":
            ending = Ending.read(packet)
            self._note(ending)
            return MysqlResult(self, None, is_plain, status_text(ending))
        if kind == "file":  # no server asks for one, unless it is up to something
            self._line.wire.refuse_file()
            with contextlib.suppress(SqlError):
                self._hearing(lambda: wire.first_of(self._line.wire.packet()))
            raise SqlError("the server asked for a file of this machine, and got none")
        count = packet[0] if packet[0] < 0xFC else int.from_bytes(packet[1:3], "little")
        columns = [column_of(self._hearing(self._line.wire.packet)) for _ in range(count)]
        self._hearing(self._line.wire.packet)  # which ends them
        self._active = MysqlResult(self, columns, is_plain)
        return self._active

    def _gives_rows(self, statement: lexical.Statement) -> bool:
        sql = statement.text.encode("utf-8", "surrogateescape")
        first = _first_word(statement)
        # Which rows a procedure gives is not known before, and MariaDB does not say it of DELETE … RETURNING.
        words = {token.word for token in statement.tokens}
        if first == "CALL" or (first in _WRITING_WORDS and "RETURNING" in words):
            return True
        self._line.is_cancelled, self._line.is_running = False, True
        try:
            return self._wire_prepare(sql) > 0 or first in _QUERY_WORDS
        except ServerError as error:
            if messages.number_of(error) == _CANNOT_BE_PREPARED:
                return first in _QUERY_WORDS
            raise self._failed(error) from None
        finally:
            self._line.is_running = False

    def _wire_prepare(self, sql: bytes) -> int:
        try:
            return self._line.wire.prepare(sql)
        except LostError as error:
            raise self._lost(str(error)) from error

    def _refuse(self, statement: lexical.Statement) -> None:
        """Say what cannot be here, where the server's own words would not help."""
        words = [token.word for token in statement.tokens[:5]]
        if words[:1] == ["DELIMITER"]:
            raise UsageError(
                "DELIMITER is a command of the mysql client, not of the server",
                "It is not needed here: the body of a routine ends with its END. Leave it out.",
            )
        if words[:1] == ["LOAD"] and "LOCAL" in words:
            raise UsageError(
                "LOAD DATA LOCAL has no input here; nothing was loaded",
                "Use the mysql client, or LOAD DATA with a file of the server's.",
            )

    def _follow_use(self, statement: lexical.Statement) -> None:
        tokens = statement.tokens
        if len(tokens) == 2 and tokens[0].word == "USE":
            name = tokens[1].text
            if tokens[1].kind is lexical.Kind.QUOTED:
                name = name[1:-1].replace("``", "`")
            self._line.where = self._line.where.with_database(name)

    def _read_to_end(self) -> None:
        """What is left of the last statement."""
        while self._active is not None or self._has_more:
            if self._active is None:
                self._next_result(is_plain=False)
            if self._active is not None:
                self._active.drain()

    def _collect_warnings(self) -> None:
        """Read what the server warned of. Its own list of warnings stays as it is."""
        count, self._warnings = self._warnings, 0
        if not count or not self._line.is_open:
            return
        with contextlib.suppress(ServerError):
            try:
                self._line.wire.query(b"SHOW WARNINGS LIMIT %d" % _SHOWN_WARNINGS)
                if wire.first_of(self._line.wire.packet()) == "ok":
                    return
                for _ in range(4):  # three columns, and what ends them
                    self._line.wire.packet()
                ending = None
                while ending is None:
                    rows, ending = self._line.wire.rows((None, None, None))
                    for level, number, text in rows:
                        self._notices.append(f"{str(level).upper()} {number}: {text}")
            except LostError as error:
                raise self._lost(str(error)) from error
        if count > _SHOWN_WARNINGS:
            self._notices.append(f"… and {count - _SHOWN_WARNINGS:,} more: SQL SHOW WARNINGS")

    def _be_ready(self) -> None:
        """End what still runs, and make a connection found lost again, unless in a transaction."""
        with contextlib.suppress(SqlError, InterruptedByUserError):
            if self._active is not None:
                self._active.close()
            self._read_to_end()
        if self._line.be_ready():
            self._warnings = 0
            self._notices.append(
                "the connection was lost and has been made again; "
                "settings and temporary tables of the old session are gone"
            )

    def _drop(self) -> None:
        self._active, self._has_more = None, False
        self._line.drop()

    # What the server says.

    def _hearing(self, act: Callable[[], Answer]) -> Answer:
        """Do what talks to the server, and turn what goes wrong into what a user is told."""
        try:
            answer = act()
        except ServerError as error:
            raise self._failed(error) from None
        except LostError as error:
            raise self._lost(str(error)) from error
        self._line.heard()
        return answer

    def _note(self, ending: Ending) -> None:
        self._warnings = ending.warnings
        self._has_more = ending.has_more
        self._line.note_status(ending.status)
        if not self._has_more:
            self._line.is_running = False

    def _failed(self, error: ServerError) -> DbtoolError:
        """What to raise for the server's error, which ends the statement with all its results."""
        if self._active is not None:
            self._active.abandon()
            self._active = None
        self._has_more = self._line.is_running = False
        self._warnings = 0
        if messages.is_lost(error):
            return self._lost(messages.text_of(error))
        if self._line.in_transaction:  # an error may have ended it: only a sign of life tells
            try:
                self._line.note_status(self._line.wire.ping())
            except (LostError, ServerError) as lost:
                return self._lost(str(lost))
        if messages.number_of(error) == _CANCELLED and self._line.is_cancelled:
            return InterruptedByUserError("the statement was cancelled")
        return messages.sql_error(error, self._source, self._offset)

    def _lost(self, why: str) -> ConnectionFailedError:
        if self._active is not None:
            self._active.abandon()
        self._active, self._has_more = None, False
        return self._line.lost(why)


def _first_word(statement: lexical.Statement) -> str:
    return next((token.word for token in statement.tokens if token.word), "")


def _only_reads(statement: lexical.Statement) -> bool:
    """Whether ending the statement early undoes nothing, as far as its words tell."""
    words = [token.word for token in statement.tokens if token.text != "("]
    return words[0] in _READING_WORDS and not _WRITING_WORDS.intersection(words)
