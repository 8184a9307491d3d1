"""Counts the rows of whole tables in the snapshot, beside those who read their chunks.

Chunks of a table are ranges that meet at their edges: `k < x` and `k >= x`, with the same words for x. Of
numbers and bytes every row lies on one side, whatever index the server takes. Of text, dates and times it
is the server's collation or its reading of the literal that says on which side, and of partitions its list
of them: where an index was made under another version of a collation than the one that compares, rows
could be missed. So those tables are counted. A table that is read by one query without a range needs no
count: that query is the whole table.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from dbtool.engines.mysql.bulk import abort
from dbtool.engines.mysql.messages import readable_errors
from dbtool.engines.mysql.plan import Planned, source_of
from dbtool.engines.mysql.queries import value_of
from dbtool.engines.mysql.table_facts import TableFacts
from dbtool.errors import VerificationError
from dbtool.model.database import Table
from dbtool.text import counted

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

# Every server compares these in one way only.
_ORDERED_IN_ONE_WAY = frozenset(
    {
        *("tinyint", "smallint", "mediumint", "int", "integer", "bigint", "decimal", "numeric"),
        *("binary", "varbinary"),
    }
)


def to_be_counted(tables: Sequence[TableFacts], planned: Iterable[Planned]) -> list[int]:
    """Positions of the tables whose chunks are whole only if the server has it so."""
    chunks: dict[int, list[Planned]] = {}
    for item in planned:
        chunks.setdefault(item.chunk.table, []).append(item)
    return [
        number
        for number, items in chunks.items()
        if len(items) > 1
        and (
            tables[number].partitions
            or any(
                column.data_type not in _ORDERED_IN_ONE_WAY
                for column in tables[number].cut[: max(item.compared for item in items)]
            )
        )
    ]


class RowCounts:
    """Counts on the holder's connection, which is idle while rows are read. `turn` is held for each count,
    where readers share the connection."""

    def __init__(self, session: Session, turn: threading.Lock) -> None:
        self._session = session
        self._turn = turn
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dbtool-count")
        self._counts: dict[int, Future[int]] = {}

    def begin(self, number: int, table: Table, at_once: bool) -> None:
        """Count a table's rows; `at_once` for one that knows no snapshots, before its lock is let go."""
        self._counts[number] = self._pool.submit(self._count, table)
        if at_once:
            self._counts[number].result()

    def _count(self, table: Table) -> int:
        with self._turn:
            return int(value_of(self._session, f"SELECT COUNT(*) FROM {source_of(table)}"))  # noqa: S608

    def check(self, tables: Sequence[Table], rows: Mapping[int, int], besides: Collection[int] = ()) -> None:
        """Wait for all counts. Raises VerificationError where the chunks of a table have not its rows, but for
        those tables that are named."""
        for number, count in self._counts.items():
            with readable_errors("counting rows"):
                there = count.result()
            read = rows.get(number, 0)
            if there != read and number not in besides:
                raise VerificationError(
                    f"{tables[number].qualified_name}: its chunks have {counted(read, 'row')}, the table has {there:,}",
                    "its index may be damaged, or of another version of its collation: CHECK TABLE tells, "
                    "ALTER TABLE … FORCE mends",
                )

    def stop(self) -> None:
        """End a count that still runs, and with it the connection."""
        if any(count.running() for count in self._counts.values()):
            abort(self._session)
        self._pool.shutdown(wait=True, cancel_futures=True)
