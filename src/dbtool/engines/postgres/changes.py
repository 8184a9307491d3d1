"""Which rows of a database were changed, and which are gone, since the snapshot of a full backup.

A row has changed if its `xmin` is not below that of the full's snapshot: whoever wrote it was not over then.
More rows than that do no harm. What is gone is found by counting: of a table's rows in the backup, those
are still there whose `xmin` is older. Only where fewer are there, keys are compared: those that the backup
has, and no unchanged row.
"""

from __future__ import annotations

import contextlib
import queue
import tempfile
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Protocol, TypeVar

from dbtool import rows
from dbtool.archive.reader import ArchiveReader
from dbtool.engines.base import LockQueuedError
from dbtool.engines.postgres.plan import Range, select_statement
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.engines.postgres.reader import CopyReader
from dbtool.errors import NeedsFullError
from dbtool.model.archive import FrameKind, Taken
from dbtool.model.database import Table
from dbtool.progress import Progress

# In one go so many keys are compared; those of a larger table are parted by their hashes, on disk.
_KEYS_AT_ONCE = 12_000_000
_MOST_REMOVED = 8_000_000
_IN_MEMORY_BYTES = 8 << 20
_SMALL_TABLE_BYTES = 8 << 20

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass
class TableChange:
    """What became of one table since the base."""

    taken: Taken
    base: int | None = None  # its position in the base's tables
    unchanged: int = 0  # rows of the base that are there still, as they were
    removed: int = 0  # rows of the base that are changed or gone
    removed_keys: IO[bytes] | None = None  # their keys, as lines of COPY text
    # With the number of changed rows; None: they were not counted.
    parts: list[tuple[Range, int | None]] = field(default_factory=list)

    def take_whole(self) -> None:
        """Take all rows, whatever was found."""
        if self.removed_keys is not None:
            self.removed_keys.close()
        self.taken, self.removed, self.removed_keys = Taken.WHOLE, 0, None


class RunAll(Protocol):
    """Does work on readers: in parallel, or one item after the other."""

    def __call__(self, work: Callable[[CopyReader, _In], _Out], items: Iterable[_In]) -> list[_Out]: ...


class ReaderPool:
    """Readers in the shared snapshot for work that is no reading of chunks."""

    def __init__(self, open_reader: Callable[[], CopyReader], holder: CopyReader, workers: int) -> None:
        self._holder = holder
        self._free: queue.SimpleQueue[CopyReader] = queue.SimpleQueue()
        self._readers: list[CopyReader] = []
        self._open_reader = open_reader
        self._workers = workers
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="dbtool-compare")

    def __enter__(self) -> ReaderPool:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self._readers:
            reader.stop()
        self._pool.shutdown(cancel_futures=True)
        for reader in self._readers:
            reader.close()

    def run(self, work: Callable[[CopyReader, _In], _Out], items: Iterable[_In]) -> list[_Out]:
        """The work on every item, in the items' order. What somebody's waiting for a lock bars is done
        at the end on the connection that has its locks."""
        listed = list(items)
        results: dict[int, _Out] = {}
        barred: list[int] = []

        def do(number: int) -> None:
            with self._reader() as reader:
                try:
                    results[number] = work(reader, listed[number])
                except LockQueuedError:
                    barred.append(number)

        for _ in self._pool.map(do, range(len(listed))):
            pass
        for number in barred:
            results[number] = work(self._holder, listed[number])
        return [results[number] for number in range(len(listed))]

    def run_here(self, reader: CopyReader) -> RunAll:
        """`run` with one reader, in the thread that calls it."""

        def run(work: Callable[[CopyReader, _In], _Out], items: Iterable[_In]) -> list[_Out]:
            return [work(reader, item) for item in items]

        return run

    @contextlib.contextmanager
    def _reader(self) -> Iterator[CopyReader]:
        try:
            reader = self._free.get_nowait()
        except queue.Empty:
            reader = self._open_reader()
            self._readers.append(reader)
        try:
            yield reader
        finally:
            self._free.put(reader)


def watermark_age(watermark: int) -> str:
    """An SQL expression: how many transactions ago the one with that 64-bit number was."""
    return f"(SELECT pg_catalog.age('{watermark & 0xFFFFFFFF}'::pg_catalog.xid))"


class ChangeFinder:
    """Compares the tables of a snapshot with those of a base."""

    def __init__(
        self,
        tables: Sequence[Table],
        base: ArchiveReader,
        counterparts: Mapping[int, int],
        watermark: int,
        codec: str,
    ) -> None:
        """`counterparts` has, by position, the base's table for each one that is the same; all others
        come whole. `watermark` is the 64-bit xmin of the base's snapshot."""
        self._tables = tables
        self._base = base
        self._counterparts = counterparts
        self._codec = codec
        self._age = watermark_age(watermark)
        self._frames: dict[int, list[int]] = defaultdict(list)
        for number, frame in enumerate(base.index.frames):
            if frame.kind is FrameKind.DATA and frame.table is not None:
                self._frames[frame.table].append(number)

    @property
    def changed(self) -> str:
        """The condition of a row that may have changed."""
        return f"pg_catalog.age(xmin) <= {self._age}"

    def condition_of(self, number: int) -> str:  # noqa: ARG002
        """The same for the rows that come of a table, by position."""
        return self.changed

    @property
    def _unchanged(self) -> str:
        return f"pg_catalog.age(xmin) > {self._age}"

    def find(self, pool: ReaderPool, ranges: Sequence[Range], progress: Progress) -> list[TableChange]:
        """What became of each table. Files with removed keys are the caller's to close."""
        changes = [TableChange(Taken.WHOLE, self._counterparts.get(n)) for n in range(len(self._tables))]
        progress.phase("changed rows", sum(part.size_bytes for part in ranges))
        rewritten = {number for number in self._counterparts if self._was_rewritten(number)}

        def count(reader: CopyReader, part: Range) -> tuple[int, int | None]:
            if part.table not in self._counterparts or part.table in rewritten:
                return 0, None
            counted = f"pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE {self.changed})"
            query = self._query(part, counted)
            (found,) = (bytes(piece).split() for piece in reader.lines(part.table, query))
            progress.advance(part.size_bytes)
            return int(found[0]) - int(found[1]), int(found[1])

        for part, (unchanged, changed) in zip(ranges, pool.run(count, ranges), strict=True):
            change = changes[part.table]
            change.unchanged += unchanged
            change.parts.append((part, changed))
        compared = [
            number
            for number, change in enumerate(changes)
            if number in rewritten or self._must_compare(number, change)
        ]
        small = [number for number in compared if self._tables[number].size_bytes < _SMALL_TABLE_BYTES]
        pool.run(lambda reader, number: self._compare(number, changes[number], pool.run_here(reader)), small)
        for number in compared:
            if number not in small:
                self._compare(number, changes[number], pool.run)
        self.join_routed(changes)
        return changes

    def _was_rewritten(self, number: int) -> bool:
        """Whether, by the server's statistics, rows of a large table were updated or deleted, so that keys will have
        to be compared and nothing need be counted before. A guess: only time is lost by a wrong one."""
        table, base = self._tables[number], self._base.index.tables[self._counterparts[number]]
        before, now = base.details.get("written"), table.details["written"]
        return bool(
            before
            and before[1:] != now[1:]
            and table.size_bytes >= _SMALL_TABLE_BYTES
            and self._has_comparable_keys(number)
        )

    def join_routed(self, changes: Sequence[TableChange]) -> None:
        """Tables whose rows find their own partition when they are loaded are emptied together, so they
        come together."""
        groups: dict[tuple[str, ...], list[TableChange]] = defaultdict(list)
        for table, change in zip(self._tables, changes, strict=True):
            if root := table.details.get("loaded_through"):
                groups[tuple(root)].append(change)
        for group in groups.values():
            if any(change.taken is Taken.WHOLE for change in group):
                for change in group:
                    change.take_whole()

    def _must_compare(self, number: int, change: TableChange) -> bool:
        """Settle what counting tells; whether keys have to be compared as well."""
        if change.base is None:
            return False
        self._count_removed(change)
        if not change.removed:  # if rows were added, none were taken away
            is_same = not any(changed for _, changed in change.parts)
            change.taken = Taken.UNCHANGED if is_same else Taken.ROWS
            return False
        return self._has_comparable_keys(number) and self._is_worth_comparing(change)

    def _count_removed(self, change: TableChange) -> None:
        base = self._base.index.tables[change.base or 0]
        change.removed = base.rows - change.unchanged
        if change.removed < 0:
            raise NeedsFullError(
                f"{base.schema}.{base.name} has older rows than the base: the server's history is another one"
            )

    def _has_comparable_keys(self, number: int) -> bool:
        table = self._tables[number]
        return bool(table.key) and not table.details.get("loaded_through")

    def _is_worth_comparing(self, change: TableChange) -> bool:
        rows = self._base.index.tables[change.base or 0].rows
        return change.removed <= _MOST_REMOVED and 2 * change.removed < rows

    # ---- keys ----------------------------------------------------------------------------------

    def _compare(self, number: int, change: TableChange, run: RunAll) -> None:
        """Find the keys of the base that no unchanged row has; if they are not as many as they must be,
        the table comes whole."""
        assert change.base is not None  # noqa: S101
        removed = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        try:
            found = self._find_removed(number, change, run, removed)
        except BaseException:
            removed.close()
            raise
        if found == change.removed:
            removed.seek(0)
            change.taken, change.removed_keys = Taken.ROWS, removed
        else:
            removed.close()
            change.take_whole()

    def _find_removed(self, number: int, change: TableChange, run: RunAll, removed: IO[bytes]) -> int:
        expected = self._base.index.tables[change.base or 0].rows
        parts = min(256, 1 << (expected // _KEYS_AT_ONCE).bit_length())
        if parts > 1:
            return self._find_removed_by_parts(number, change, run, removed, parts)
        keys = rows.KeySet(expected)
        self._read_keys(number, change, run, keys.add)
        change.unchanged = len(keys)
        self._count_removed(change)
        if not self._is_worth_comparing(change):
            return -1
        return self._take_keys(number, change, run, removed, keys.absent_keys) if change.removed else 0

    def _find_removed_by_parts(
        self, number: int, change: TableChange, run: RunAll, removed: IO[bytes], parts: int
    ) -> int:
        """The same in two passes over the base: first which hashes are gone, then whose they are."""
        positions = self._tables[number].key_positions
        folder = tempfile.gettempdir()
        with rows.SpilledHashes(folder, parts) as there, rows.SpilledHashes(folder, parts) as before:
            self._read_keys(number, change, run, there.add)

            lock = threading.Lock()

            def hash_frame(_: CopyReader, frame: int) -> None:
                hashes = rows.key_hashes(self._rows_of(frame), positions, "copy")
                with lock:
                    before.add(hashes)

            change.unchanged = len(there)
            self._count_removed(change)
            if not self._is_worth_comparing(change):
                return -1
            run(hash_frame, self._frames[change.base or 0])
            gone = rows.KeySet(change.removed)
            for part in range(parts):
                keys = rows.KeySet(_KEYS_AT_ONCE)
                for block in there.part(part):
                    keys.add(block)
                for block in before.part(part):
                    gone.add(rows.difference(block, keys))
        return self._take_keys(number, change, run, removed, gone.present_keys)

    def _read_keys(self, number: int, change: TableChange, run: RunAll, add: Callable[[bytes], None]) -> None:
        """Hash the keys of all unchanged rows."""
        table = self._tables[number]
        columns = ", ".join(quote_identifier(name) for name in table.key)
        positions = tuple(range(len(table.key)))

        lock = threading.Lock()

        def read(reader: CopyReader, part: Range) -> None:
            for piece in reader.lines(number, self._query(part, columns, self._unchanged)):
                hashes = rows.key_hashes(piece, positions, "copy")
                with lock:
                    add(hashes)

        run(read, [part for part, _ in change.parts])

    def _take_keys(
        self,
        number: int,
        change: TableChange,
        run: RunAll,
        removed: IO[bytes],
        choose: Callable[[memoryview, tuple[int, ...], str], tuple[bytes, int]],
    ) -> int:
        """Write the chosen keys of the base's rows; how many they are."""
        positions = self._tables[number].key_positions

        lock = threading.Lock()

        def take(_: CopyReader, frame: int) -> int:
            if self._base.index.frames[frame].keys_bytes:
                keys = rows.unpack_integers(self._base.read_keys(frame))
                lines, count = choose(memoryview(keys), (0,), "copy")
            else:
                lines, count = choose(self._rows_of(frame), positions, "copy")
            with lock:
                removed.write(lines)
            return count

        return sum(run(take, self._frames[change.base or 0]))

    def _rows_of(self, frame: int) -> memoryview:
        return self._base.index.frames[frame].rows_of(self._base.read(frame))

    def _query(self, part: Range, wanted: str, condition: str = "") -> bytes:
        where = " AND ".join(one for one in (part.condition, condition) if one)
        return select_statement(self._tables[part.table], where, wanted).encode(
            self._codec, "surrogateescape"
        )
