"""Which rows of a database were changed, and which are gone, since a full backup.

Rows are compared by what is in them: the rows of each range of keys are read, and where their number or digest is
not that of the base's frames, row by row, by their hashes. So it does not matter whether the server is still
the one of the base, nor whether it was put back to an earlier moment.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from dbtool import rows
from dbtool.archive.reader import ArchiveReader
from dbtool.engines.base import Chunk
from dbtool.engines.mysql.counting import RowCounts, to_be_counted
from dbtool.engines.mysql.plan import Planned
from dbtool.engines.mysql.range_comparison import RangeComparison
from dbtool.engines.mysql.ranges import Range, frames_by_table, ranges_of
from dbtool.engines.mysql.reader import MysqlReader, Work
from dbtool.engines.mysql.spool import Piece, Spool
from dbtool.engines.mysql.table_facts import TableFacts, is_by_number
from dbtool.engines.mysql.wellformed import Finding
from dbtool.model.archive import Taken
from dbtool.progress import Progress

# More rows in one range than these cannot be told apart in flat memory.
_ROWS_AT_ONCE = 8_000_000
_MOST_REMOVED = 8_000_000
_MASK = (1 << 64) - 1
# Two values of these may be equal, and yet not look alike.
_UNSURE_KEYS = ("float", "double", "real")


@dataclass
class TableChange:
    """What became of one table since the base."""

    taken: Taken
    base: int | None = None  # its position in the base's tables
    rows: int = 0  # all rows in the snapshot, where they were counted
    removed: int = 0  # rows of the base that are changed or gone
    added: int = 0  # rows that are new or changed
    removed_keys: list[Piece] = field(default_factory=list)  # lines as `KeySet.absent_keys` gives them
    new_rows: list[Piece] = field(default_factory=list)  # INSERT statements


class ChangeFinder:
    """Compares the tables of a snapshot with those of a base."""

    def __init__(
        self,
        tables: Sequence[TableFacts],
        base: ArchiveReader,
        counterparts: Mapping[int, int],
        spool: Spool,
        found_invalid: Callable[[TableFacts, Finding], None],
    ) -> None:
        """`counterparts` has, by position, the base's table for each one that is the same; all others come
        whole."""
        self._tables = tables
        self._base = base
        self._counterparts = counterparts
        self._spool = spool
        self._found_invalid = found_invalid

    def find(
        self,
        open_reader: Callable[[Work], MysqlReader],
        counts: RowCounts,
        workers: int,
        progress: Progress,
    ) -> list[TableChange]:
        """What became of each table. Raises what a reader does, and VerificationError where the ranges of a
        table do not have all its rows."""
        frames = frames_by_table(self._base.index)
        changes = [TableChange(Taken.WHOLE) for _ in self._tables]
        comparisons: dict[int, _TableComparison] = {}
        tasks: list[Range] = []
        for number, base in self._counterparts.items():
            change = changes[number] = TableChange(Taken.UNCHANGED, base)
            ranges = ranges_of(number, self._tables[number], frames[base], self._base.index)
            comparisons[number] = _TableComparison(
                self._tables[number], self._base, base, change, self._spool
            )
            tasks += ranges
        tasks.sort(key=lambda item: -item.planned.chunk.size_bytes)
        progress.phase("changed rows", sum(item.planned.chunk.size_bytes for item in tasks))
        work = _Work(self._tables, tasks, self._found_invalid)

        def compare(reader: MysqlReader, item: Range) -> None:
            comparison = comparisons[item.planned.chunk.table]
            if not comparison.is_whole:
                comparison.compare(reader, item)
            progress.advance(item.planned.chunk.size_bytes)

        for number in to_be_counted(self._tables, [item.planned for item in tasks]):
            counts.begin(number, self._tables[number].table, at_once=False)
        with _Readers(lambda: open_reader(work), workers) as readers:
            readers.run(compare, tasks)
        unread = {n for n, one in comparisons.items() if one.is_whole}  # it was not read to its end
        rows_found = {n: change.rows for n, change in enumerate(changes)}
        counts.check([facts.table for facts in self._tables], rows_found, unread)
        for comparison in comparisons.values():
            comparison.settle()
        return changes


class _Work:
    """What readers ask while rows are compared: see `reader.Work`."""

    def __init__(
        self,
        tables: Sequence[TableFacts],
        ranges: Sequence[Range],
        found_invalid: Callable[[TableFacts, Finding], None],
    ) -> None:
        self._tables = tables
        self._planned = {item.planned.chunk.statement: item.planned for item in ranges}
        self.found_invalid = found_invalid

    def planned(self, chunk: Chunk) -> tuple[TableFacts, Planned]:
        return self._tables[chunk.table], self._planned[chunk.statement]

    def key_buckets(self, table: int) -> bytearray | None:  # noqa: ARG002
        return None

    def rows_read(self, chunk: Chunk, rows: int) -> None:
        """The comparisons count them."""

    def statement_written(self, size_bytes: int) -> None:
        """Nothing is written yet."""


class _Readers:
    """Readers in the shared snapshot, one for each of some threads."""

    def __init__(self, open_reader: Callable[[], MysqlReader], workers: int) -> None:
        self._open_reader = open_reader
        self._free: SimpleQueue[MysqlReader] = SimpleQueue()
        self._readers: list[MysqlReader] = []
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="dbtool-compare")
        self._failed = False

    def __enter__(self) -> _Readers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for reader in self._readers:
                reader.stop()
        self._pool.shutdown(cancel_futures=True)
        for reader in self._readers:
            with contextlib.suppress(Exception):
                reader.close()

    def run(self, work: Callable[[MysqlReader, Range], None], items: Sequence[Range]) -> None:
        """Do the work on every item. Raises the first error; then what had not begun is not done."""

        def do(item: Range) -> None:
            if self._failed:
                return
            try:
                reader = self._free.get_nowait()
            except Empty:
                reader = self._open_reader()
                self._readers.append(reader)
            try:
                work(reader, item)
            except BaseException:
                self._failed = True
                raise
            self._free.put(reader)

        for _ in self._pool.map(do, items):
            pass


class _TableComparison:
    """One table against the base's; its ranges are compared by several threads."""

    def __init__(
        self,
        facts: TableFacts,
        base: ArchiveReader,
        number: int,
        change: TableChange,
        spool: Spool,
    ) -> None:
        self._base = base
        self._before = base.index.tables[number]
        self._change = change
        self._spool = spool
        self._lock = threading.Lock()
        self._key = facts.table.key_positions
        self._by_rows = can_take_rows(facts)

    @property
    def is_whole(self) -> bool:
        """Whether the table comes whole, whatever else is found."""
        return self._change.taken is Taken.WHOLE

    def compare(self, reader: MysqlReader, item: Range) -> None:
        """Read a range, and keep what changed in it."""
        frames = [self._base.index.frames[number] for number in item.frames]
        before_rows = sum(frame.rows for frame in frames)
        before_digest = sum(frame.digest for frame in frames) & _MASK
        one = RangeComparison(self._base, item.frames, self._key, self._write)
        by_rows = self._by_rows and before_rows <= _ROWS_AT_ONCE
        count = digest = 0
        for block in reader.read(item.planned.chunk):
            count += block.rows
            digest = (digest + block.digest) & _MASK
            by_rows = by_rows and count <= _ROWS_AT_ONCE and not self.is_whole
            if by_rows:
                one.add(bytes(memoryview(block.text)[block.prefix_bytes :]))
            else:
                one.forget()
        with self._lock:
            self._change.rows += count
        if (count, digest) == (before_rows, before_digest):
            return
        if not by_rows:
            self._come_whole()
            return
        one.finish()
        found = (before_rows - one.gone + one.new, before_digest - one.gone_digest + one.new_digest & _MASK)
        if found != (count, digest):
            self._come_whole()
            return
        with self._lock:
            self._change.removed += one.gone
            self._change.added += one.new
            is_too_much = self._change.removed > min(_MOST_REMOVED, self._before.rows // 2)
        if is_too_much:
            self._come_whole()
        elif one.gone:
            piece = self._spool.put(b"".join(one.gone_keys))
            with self._lock:
                self._change.removed_keys.append(piece)

    def _write(self, new_rows: bytes) -> None:
        if not self.is_whole:
            piece = self._spool.put(new_rows)
            with self._lock:
                self._change.new_rows.append(piece)

    def _come_whole(self) -> None:
        with self._lock:
            self._change.taken = Taken.WHOLE

    def settle(self) -> None:
        """All ranges were compared."""
        change = self._change
        if not self.is_whole and (change.removed or change.added):
            change.taken = Taken.ROWS
            if change.removed:
                keys = rows.KeySet(change.removed)
                for piece in change.removed_keys:
                    keys.add_keys(self._spool.get(piece), "insert")
                if len(keys) != change.removed:  # two keys look alike
                    change.taken = Taken.WHOLE
        if self.is_whole:
            change.removed = change.added = 0
            change.removed_keys, change.new_rows = [], []


def can_take_rows(facts: TableFacts) -> bool:
    """Whether single rows can be taken away by their key, and come again.

    Not of a table with history, where deleting makes history; not by keys whose values do not tell themselves
    apart.
    """
    table = facts.table
    types = {column.name: column.type.lower() for column in table.columns}
    return (
        bool(table.key)
        and facts.relation.kind == "BASE TABLE"
        and all(
            not types[name].startswith(_UNSURE_KEYS) and not is_by_number(types[name]) for name in table.key
        )
    )
