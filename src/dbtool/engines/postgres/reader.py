"""One worker's connection in the shared snapshot: turns chunks into blocks of COPY text."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.base import Chunk, LockQueuedError
from dbtool.engines.postgres.bulk import CopyOut, ServerError
from dbtool.engines.postgres.connect import backup_session_settings, connect
from dbtool.engines.postgres.messages import readable_errors, server_error
from dbtool.engines.postgres.quoting import qualified, quote_identifier, quote_literal
from dbtool.errors import InterruptedByUserError, VerificationError
from dbtool.model.archive import Block, FrameKind
from dbtool.model.connection import Connection
from dbtool.model.database import Table
from dbtool.rows import pack_integers, text_of
from dbtool.text import counted

if TYPE_CHECKING:
    import psycopg

FRAME_BYTES = 16 << 20
_PIECE_BYTES = 1 << 20
_PACKED_FROM_BYTES = 8 << 20
TERMINATOR = b"\\.\n\n\n"
_LOCK_NOT_AVAILABLE = "55P03"
# Locks are let go now and then: the server has room for so many, and the holder keeps its own.
_MOST_LOCKED_TABLES = 1000


class CopyReader:
    """Reads chunks inside one snapshot.

    A reader with a connection of its own locks each table without waiting: behind somebody who
    waits for an exclusive lock it would wait for ever, for that one waits for the holder. Such a
    chunk is handed to `hand_back` and left to the reader on the holder's connection, whose locks
    are there already.
    """

    def __init__(
        self,
        session: psycopg.Connection[Any],
        tables: Sequence[Table],
        codec: str,
        key_buckets: Callable[[int], bytearray | None],
        begin: Callable[[], None] | None,
        hand_back: Callable[[Chunk], None],
    ) -> None:
        self._session = session
        self._tables = tables
        self._codec = codec
        self._key_buckets = key_buckets
        self._begin = begin
        self._hand_back = hand_back
        self._locked: set[int] = set()
        self._copy = CopyOut(session)
        if begin:
            begin()

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The chunk's rows as blocks of about 16 MiB."""
        table = self._tables[chunk.table]
        key = table.key_positions
        prefix = insert_statement(table).encode(self._codec, "surrogateescape")
        buckets = self._key_buckets(chunk.table) if key else None
        try:
            with self._reading(table):
                self._copy.begin(chunk.statement, chunk.formats, key, buckets, self._lock(table))
                yield from self._blocks(chunk, prefix, key if self._packs_keys(table) else ())
        except LockQueuedError:
            self._hand_back(chunk)

    def _packs_keys(self, table: Table) -> bool:
        """Whether the keys are kept apart, too: of large tables, if they are integers."""
        types = {column.name: column.type for column in table.columns}
        return (
            table.size_bytes >= _PACKED_FROM_BYTES
            and len(table.key) == 1
            and types[table.key[0]] in ("smallint", "integer", "bigint")
        )

    def lines(self, number: int, query: bytes, formats: Sequence[int] = ()) -> Iterator[memoryview]:
        """The rows of any query of one table, by its position, as COPY text: pieces of whole lines, each valid
        until the next. Raises `LockQueuedError` where `read` hands back."""
        table = self._tables[number]
        with self._reading(table):
            self._copy.begin(query, formats, (), None, self._lock(table))
            more = True
            while more:
                self._copy.stream.reset(b"")
                more = self._copy.read(_PIECE_BYTES)
                with text_of(self._copy.stream) as text:
                    if text:
                        yield text

    @contextlib.contextmanager
    def _reading(self, table: Table) -> Iterator[None]:
        """Turns the server's errors into ours. After a `LockQueuedError` the reader can go on."""
        try:
            yield
        except ServerError as error:
            if error.sqlstate != _LOCK_NOT_AVAILABLE or self._begin is None:
                doing = f"reading {table.qualified_name}"
                raise server_error(error.sqlstate, error.message, error.hint, doing) from None
            with readable_errors("joining the snapshot again"):
                self._restart()
            raise LockQueuedError(f"somebody waits to lock {table.qualified_name}") from None
        except InterruptedError:
            raise InterruptedByUserError("stopped") from None

    def _lock(self, table: Table) -> bytes | None:
        """The statement that locks a table which this connection has not locked yet."""
        if self._begin is None or table.identity in self._locked:
            return None
        if len(self._locked) >= _MOST_LOCKED_TABLES:
            self._restart()
        self._locked.add(table.identity)
        name = qualified(table.schema, table.name).encode(self._codec, "surrogateescape")
        return b"LOCK TABLE ONLY " + name + b" IN ACCESS SHARE MODE NOWAIT"

    def _restart(self) -> None:
        self._locked.clear()
        self._session.execute("ROLLBACK")
        assert self._begin is not None  # noqa: S101
        self._begin()

    def _blocks(self, chunk: Chunk, prefix: bytes, key: tuple[int, ...]) -> Iterator[Block]:
        stream = self._copy.stream
        total_rows, more = 0, True
        while more:
            stream.reset(prefix)
            more = self._copy.read(FRAME_BYTES)
            if stream.rows:
                total_rows += stream.rows
                stream.append(TERMINATOR)
                with text_of(stream) as text:
                    packed = b""
                    if key:
                        with text[len(prefix) : len(text) - len(TERMINATOR)] as lines:
                            packed = pack_integers(lines, key, "copy") or b""
                    yield Block(
                        kind=FrameKind.DATA,
                        text=text,
                        table=chunk.table,
                        rows=stream.rows,
                        digest=stream.digest,
                        key_digest=stream.key_digest,
                        prefix_bytes=len(prefix),
                        suffix_bytes=len(TERMINATOR),
                        bounds=chunk.bounds,
                        packed_keys=packed,
                    )
        if total_rows != self._copy.rows_sent:
            raise VerificationError(
                f"{self._tables[chunk.table].qualified_name}: the server sent "
                f"{counted(self._copy.rows_sent, 'row')}, {total_rows:,} arrived"
            )

    def stop(self) -> None:
        """End a read in another thread."""
        self._copy.stop()

    def close(self) -> None:
        """End the connection, unless it is the holder's."""
        if self._begin is not None:
            with contextlib.suppress(Exception):
                self._session.close()


def insert_statement(table: Table) -> str:
    """`COPY … FROM stdin;`, as it stands before the rows in the script."""
    columns = ", ".join(quote_identifier(column.name) for column in table.columns)
    columns = f" ({columns})" if columns else ""
    schema, name = table.details.get("loaded_through") or (table.schema, table.name)
    return f"COPY {qualified(schema, name)}{columns} FROM stdin;\n"


def open_in_snapshot(
    connection: Connection, exported: str
) -> tuple[psycopg.Connection[Any], Callable[[], None]]:
    """A new connection, and what begins its transaction in an exported snapshot."""
    session = connect(connection, application_name="dbtool backup reader")
    backup_session_settings(session)

    def begin() -> None:
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        session.execute(f"SET TRANSACTION SNAPSHOT {quote_literal(exported)}".encode())

    return session, begin
