"""One worker's connection in the shared snapshot: turns chunks into blocks of INSERT statements."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

from dbtool.engines.base import Chunk, LockQueuedError
from dbtool.engines.mysql.after import ROW_SETTINGS
from dbtool.engines.mysql.bulk import STATEMENT_BYTES, RowReader
from dbtool.engines.mysql.messages import explain, number_of
from dbtool.engines.mysql.plan import Planned
from dbtool.engines.mysql.quoting import STATEMENT_END, insert_prefix
from dbtool.engines.mysql.snapshot import CHANGED
from dbtool.engines.mysql.table_facts import TableFacts
from dbtool.engines.mysql.wellformed import Finding, TextCheck
from dbtool.errors import InterruptedByUserError
from dbtool.model.archive import Block, FrameKind
from dbtool.rows import text_of

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

FRAME_BYTES = 16 << 20
HEAD = ROW_SETTINGS.encode()
_EDGE_LOW, _EDGE_HIGH = STATEMENT_BYTES - (1 << 16), STATEMENT_BYTES + (1 << 16)


class Work(Protocol):
    """What a reader asks of its source."""

    def planned(self, chunk: Chunk) -> tuple[TableFacts, Planned]:
        """What is known of a chunk."""

    def key_buckets(self, table: int) -> bytearray | None:
        """Where the hashes of a table's keys are added up."""

    def rows_read(self, chunk: Chunk, rows: int) -> None:
        """A chunk is done."""

    def found_invalid(self, facts: TableFacts, finding: Finding) -> None:
        """A value is no text in its character set. Raises RefusedError, unless it may be."""

    def statement_written(self, size_bytes: int) -> None:
        """A statement may be as large as this."""


class MysqlReader:
    """Reads chunks inside one snapshot. `turn` is held while a chunk is read, where several readers
    share a connection; `give_back` gets the connection at the end."""

    def __init__(
        self,
        session: Session,
        work: Work,
        give_back: Callable[[Session], None],
        turn: threading.Lock | None = None,
    ) -> None:
        self._session = session
        self._work = work
        self._give_back = give_back
        self._turn = turn
        self._stopped = threading.Event()
        self._is_closed = False
        self._reader = RowReader(session)
        self._reads_bytes = False

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The chunk's rows as blocks of about 16 MiB."""
        import pymysql

        facts, planned = self._work.planned(chunk)
        doing = f"reading {facts.table.qualified_name}"
        if self._turn is not None:
            self._turn.acquire()
        try:
            self._raise_if_stopped()
            yield from self._blocks(chunk, facts, planned)
        except InterruptedError:
            raise InterruptedByUserError("stopped") from None
        except (pymysql.MySQLError, OSError) as error:
            self._raise_if_stopped()
            if number_of(error) in CHANGED:
                raise LockQueuedError(
                    f"{doing} failed: somebody changed its definition meanwhile", "run it again"
                ) from None
            raise explain(error, doing) from None
        finally:
            if self._turn is not None:
                self._turn.release()

    def _blocks(self, chunk: Chunk, facts: TableFacts, planned: Planned) -> Iterator[Block]:
        table = facts.table
        key = table.key_positions
        buckets = self._work.key_buckets(chunk.table) if key else None
        check = TextCheck(facts)
        must_ask = False
        total = 0
        if not self._reads_bytes:
            self._session.query("SET SESSION character_set_results = NULL")  # text comes as it is stored
            self._reads_bytes = True
        kinds = table.details["kinds"].encode("ascii")
        prefix = insert_prefix(table.name, (column.name for column in table.columns))
        self._reader.begin(chunk.statement, kinds, key, buckets, prefix)
        stream = self._reader.stream
        more = True
        while more:
            stream.reset(HEAD)
            more = self._reader.read(FRAME_BYTES)
            if not stream.rows:
                continue
            total += stream.rows
            stream.finish_text()
            with text_of(stream) as text:
                if check.is_needed and not must_ask:
                    must_ask = not check.is_surely_good(text[len(HEAD) :])
                self._work.statement_written(largest_statement(text))
                yield Block(
                    kind=FrameKind.DATA,
                    text=text,
                    table=chunk.table,
                    rows=stream.rows,
                    digest=stream.digest,
                    key_digest=stream.key_digest,
                    prefix_bytes=len(HEAD),
                    bounds=chunk.bounds,
                    part=chunk.part,
                )
        if must_ask and (finding := check.ask(self._session, planned.source, planned.condition)):
            self._work.found_invalid(facts, finding)
        self._work.rows_read(chunk, total)

    def _raise_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise InterruptedByUserError("stopped")

    def stop(self) -> None:
        """End a read in another thread. Its connection is of no more use then, unless it was closed."""
        self._stopped.set()
        if not self._is_closed:
            self._reader.stop()

    def close(self) -> None:
        """Let go of the connection; others may use it in the same snapshot."""
        if not self._stopped.is_set() and not self._is_closed:
            self._is_closed = True
            self._give_back(self._session)


def largest_statement(text: memoryview) -> int:
    """About the size of the largest of a text's statements, never less.

    They are ended by ";" and a line's end, which stand nowhere else, and nearly all of them near
    `STATEMENT_BYTES`: looking there is enough to pass over those.
    """
    start = largest = 0
    while start < len(text):
        end = -1
        for low, high in ((_EDGE_LOW, _EDGE_HIGH), (0, _EDGE_LOW), (_EDGE_HIGH, len(text))):
            found = bytes(text[start + low : start + high]).find(STATEMENT_END)
            if found >= 0:
                end = start + low + found + len(STATEMENT_END)
                break
        if end < 0:
            end = len(text)
        largest = max(largest, end - start)
        start = end
    return largest
