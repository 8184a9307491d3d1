"""Which rows of a database changed since a full backup, by a column of times that the application keeps.

Rows that are gone are not seen: they stay as the full has them. Where that would make the restored tables
break a constraint, a table comes whole, or the rows that are in the way are removed; so the chain can always be restored.
"""

from __future__ import annotations

import tempfile
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dbtool import rows
from dbtool.archive.reader import ArchiveReader
from dbtool.engines.postgres.changes import ChangeFinder, ReaderPool, RunAll, TableChange
from dbtool.engines.postgres.plan import Range
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.engines.postgres.reader import CopyReader
from dbtool.engines.postgres.time_columns import Unique, changed_since
from dbtool.engines.watermark import Watermark
from dbtool.model.archive import Taken
from dbtool.model.database import Table
from dbtool.progress import Progress
from dbtool.rows.pure import key_text
from dbtool.text import printable, some

# So many changed keys are held in memory at a time.
_MOST_CHANGED = 4_000_000
_IN_MEMORY_BYTES = 8 << 20

_NO_KEY = "have no key"
_UNCLEAR = "have a key or a unique index whose values cannot be compared as text"
_ROUTED = "have rows that find their partition anew"
_STRICTER = "have constraints or indexes that the base has not"
_MANY = "have too many changed rows"
_LOST_PARENT = "refer to rows that may be gone"
_UNSEEN = "have new rows that the column does not tell, and others refer to them"
_NEEDED = "changed, and what is in the differential refers to them: they are not left out"


@dataclass(frozen=True)
class TimeColumn:
    """By what changes are told, and what is known of the tables, by their position."""

    name: str
    kinds: Mapping[int, str]  # of tables that have it: timestamptz, timestamp or date
    watermark: Watermark
    only_changed: bool
    oldest_open: int  # the 64-bit xmin of the base's snapshot
    newest_open: int | None  # the 32-bit number of the newest transaction that was writing then
    uniques: Sequence[list[Unique] | None]  # see `time_columns.unique_indexes`
    foreign_keys: Sequence[tuple[frozenset[int], frozenset[int]]]
    stricter: frozenset[int]  # tables that have new constraints


class TimeChangeFinder(ChangeFinder):
    """See `ChangeFinder`. `warnings` says, after `find`, what comes whole or is left out."""

    def __init__(
        self,
        tables: Sequence[Table],
        base: ArchiveReader,
        counterparts: Mapping[int, int],
        codec: str,
        column: TimeColumn,
    ) -> None:
        super().__init__(tables, base, counterparts, column.oldest_open, codec)
        self._column = column
        self._reasons: dict[int, str] = {}
        self._lossy: set[int] = set()  # tables that may lack rows of the base
        self._chosen: dict[int, int] = defaultdict(int)  # rows that changed, as their column says
        self._modified: dict[int, int] = defaultdict(int)  # rows that changed, whatever their column says
        self._unseen: dict[int, int] = defaultdict(int)  # rows that changed and that the column does not tell
        self._parts: dict[int, list[Range]] = defaultdict(list)
        self._has_unseen_new: dict[int, bool] = {}
        self._lost: dict[int, int] = {}  # rows of the base that were changed or deleted
        self.warnings: list[str] = []

    def condition_of(self, number: int) -> str:
        """By the column; and whatever was being written when the base's snapshot was taken."""
        by_time = changed_since(self._column.name, self._column.kinds[number], self._column.watermark)
        if self._column.newest_open is None:
            return by_time
        newest = f"(SELECT pg_catalog.age('{self._column.newest_open}'::pg_catalog.xid))"
        return f"({by_time} OR {self.changed} AND pg_catalog.age(xmin) >= {newest})"

    def find(self, pool: ReaderPool, ranges: Sequence[Range], progress: Progress) -> list[TableChange]:
        """What comes of each table. Files with removed keys are the caller's to close."""
        changes = [TableChange(Taken.WHOLE, self._counterparts.get(n)) for n in range(len(self._tables))]
        progress.phase("changed rows", sum(part.size_bytes for part in ranges))
        self._count(changes, pool, ranges, progress)
        for number, change in enumerate(changes):
            self._settle(number, change)
        for number, change in enumerate(changes):
            if change.taken is Taken.ROWS:
                self._find_replaced(number, change, pool.run)
        while self._settle_neighbours(changes, pool.run):
            pass
        for change in changes:
            if change.base is not None and change.taken is not Taken.WHOLE:
                change.unchanged = self._base.index.tables[change.base].rows - change.removed
        self._warn(changes)
        return changes

    def _count(
        self, changes: list[TableChange], pool: ReaderPool, ranges: Sequence[Range], progress: Progress
    ) -> None:
        def count(reader: CopyReader, part: Range) -> list[int]:
            if part.table not in self._counterparts:
                return [0, 0, 0, 0]
            chosen = self.condition_of(part.table) if part.table in self._column.kinds else "false"
            conditions = ("true", self.changed, chosen, f"{self.changed} AND NOT {chosen}")
            wanted = ", ".join(f"pg_catalog.count(*) FILTER (WHERE {one})" for one in conditions)
            (found,) = (bytes(piece).split() for piece in reader.lines(part.table, self._query(part, wanted)))
            progress.advance(part.size_bytes)
            return [int(number) for number in found]

        for part, (counted, modified, chosen, unseen) in zip(ranges, pool.run(count, ranges), strict=True):
            change = changes[part.table]
            change.unchanged += counted - modified
            change.parts.append((part, chosen))
            self._chosen[part.table] += chosen
            self._modified[part.table] += modified
            self._unseen[part.table] += unseen
            if unseen:
                self._parts[part.table].append(part)

    def _settle(self, number: int, change: TableChange) -> None:
        """What comes of a table, as far as it can be told without looking at others."""
        table = self._tables[number]
        has_column = number in self._column.kinds
        if change.base is None:
            self._lossy.add(number)
            return
        self._count_removed(change)
        self._lost[number], change.removed = change.removed, 0
        if number in self._column.stricter:
            self._reasons[number] = _STRICTER
        elif not has_column:
            change.taken = Taken.LEFT_OUT if self._column.only_changed else Taken.WHOLE
        elif table.details.get("loaded_through"):
            self._reasons[number] = _ROUTED
        elif not table.key:
            self._reasons[number] = _NO_KEY
        elif self._column.uniques[number] is None:
            self._reasons[number] = _UNCLEAR
        elif self._chosen[number] > _MOST_CHANGED:
            self._reasons[number] = _MANY
        else:
            change.taken = Taken.ROWS if self._chosen[number] else Taken.UNCHANGED
        if change.taken is Taken.WHOLE and self._lost[number]:
            self._lossy.add(number)

    def _settle_neighbours(self, changes: Sequence[TableChange], run: RunAll) -> bool:
        """Have tables come whole that would else have rows without those which they refer to; whether there
        were any."""
        before = [change.taken for change in changes]
        for children, parents in self._column.foreign_keys:
            if parents & self._lossy:
                for child in children:
                    self._take_whole(child, changes[child], _LOST_PARENT)
            if any(changes[child].taken in (Taken.ROWS, Taken.WHOLE) for child in children):
                for parent in parents:
                    if changes[parent].taken is Taken.LEFT_OUT and self._modified[parent]:
                        self._take_whole(parent, changes[parent], _NEEDED)
                    elif changes[parent].taken is not Taken.WHOLE and self._lacks_rows(
                        parent, changes[parent], run
                    ):
                        self._take_whole(parent, changes[parent], _UNSEEN)
        self.join_routed(changes)
        for number, change in enumerate(changes):
            if change.taken is not before[number]:
                if self._lost[number]:
                    self._lossy.add(number)
                self._reasons.setdefault(number, _ROUTED)
        return before != [change.taken for change in changes]

    def _lacks_rows(self, number: int, change: TableChange, run: RunAll) -> bool:
        """Whether rows were added that the column does not tell."""
        if not self._unseen[number] or number not in self._column.kinds:
            return False
        if self._unseen[number] > _MOST_CHANGED:
            return True
        if number not in self._has_unseen_new:
            key = Unique(self._tables[number].key)
            condition = f"{self.changed} AND NOT {self.condition_of(number)}"
            keys = self._values(number, run, key, condition, self._parts[number])
            positions = self._tables[number].key_positions

            def count(_: CopyReader, frame: int) -> int:
                return keys.present_keys(self._rows_of(frame), positions, "copy")[1]

            self._has_unseen_new[number] = sum(run(count, self._frames[change.base or 0])) < len(keys)
        return self._has_unseen_new[number]

    def _take_whole(self, number: int, change: TableChange, reason: str) -> None:
        if change.taken is not Taken.WHOLE:
            change.take_whole()
            self._reasons[number] = reason

    # ---- keys ----------------------------------------------------------------------------------

    def _find_replaced(self, number: int, change: TableChange, run: RunAll) -> None:
        """Find the keys of the base's rows that the changed ones replace, or that are in their way in another
        unique index: such a row was deleted, or its key was changed."""
        table = self._tables[number]
        keys = self._changed_keys(number, change, run, Unique(table.key))
        others = {one for one in self._column.uniques[number] or () if set(one.columns) != set(table.key)}
        taken = [
            (self._positions(number, one), self._changed_keys(number, change, run, one)) for one in others
        ]
        positions = self._tables[number].key_positions
        removed = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115
        lock = threading.Lock()

        def look(_: CopyReader, frame: int) -> tuple[int, int]:
            text = self._rows_of(frame)
            lines, count = keys.present_keys(text, positions, "copy")
            in_the_way = b""
            if taken:
                rest = keys.without(text, positions, "copy")[0]
                found = {line for place, values in taken for line in _rows_with(rest, place, values)}
                in_the_way = b"".join(key_text(line, positions) + b"\n" for line in found)
            with lock:
                removed.write(lines + in_the_way)
            return count, in_the_way.count(b"\n")

        try:
            for count, in_the_way in run(look, self._frames[change.base or 0]):
                change.removed += count + in_the_way
                if in_the_way:
                    self._lossy.add(number)
        except BaseException:
            removed.close()
            raise
        if change.removed:
            removed.seek(0)
            change.removed_keys = removed
        else:
            removed.close()

    def _changed_keys(self, number: int, change: TableChange, run: RunAll, unique: Unique) -> rows.KeySet:
        parts = [part for part, chosen in change.parts if chosen]
        return self._values(number, run, unique, self.condition_of(number), parts)

    def _values(
        self, number: int, run: RunAll, unique: Unique, condition: str, parts: Sequence[Range]
    ) -> rows.KeySet:
        """The values of a unique index in some rows, with their bytes: nothing rests on hashes alone."""
        names = [quote_identifier(name) for name in unique.columns]
        if not unique.are_nulls_equal:
            condition += "".join(f" AND {name} IS NOT NULL" for name in names)
        keys = rows.KeySet()
        lock = threading.Lock()

        def read(reader: CopyReader, part: Range) -> None:
            for piece in reader.lines(number, self._query(part, ", ".join(names), condition)):
                with lock:
                    keys.add_keys(piece)

        run(read, parts)
        return keys

    def _positions(self, number: int, unique: Unique) -> tuple[int, ...]:
        names = [column.name for column in self._tables[number].columns]
        return tuple(names.index(name) for name in unique.columns)

    # ---- what is said --------------------------------------------------------------------------

    def _warn(self, changes: Sequence[TableChange]) -> None:
        column = printable(self._column.name)
        said: dict[str, list[str]] = defaultdict(list)
        for number, (table, change) in enumerate(zip(self._tables, changes, strict=True)):
            if change.taken is Taken.LEFT_OUT:
                reason = f"have no column {column} and are left out: they stay as the base has them"
            elif change.taken is not Taken.WHOLE:
                continue
            elif number in self._reasons:
                reason = f"come whole: they {self._reasons[number]}"
            elif number not in self._column.kinds:
                reason = f"have no column {column} and come whole"
            else:
                continue  # new, or of another structure now
            said[reason].append(printable(table.qualified_name))
        unseen = [
            f"{printable(table.qualified_name)} ({self._unseen[number]:,})"
            for number, (table, change) in enumerate(zip(self._tables, changes, strict=True))
            if self._unseen[number] and change.taken in (Taken.ROWS, Taken.UNCHANGED)
        ]
        if unseen:
            reason = (
                f"have rows that changed although {column} does not say so; these stay as the base has them"
            )
            said[reason] = unseen
        self.warnings = [
            "rows that were deleted since the base are not seen: they come back when this is restored",
            *(
                f"{len(names):,} of {len(changes):,} tables {reason}: {some(names)}"
                for reason, names in said.items()
            ),
        ]


def _rows_with(text: memoryview | bytes, positions: tuple[int, ...], values: rows.KeySet) -> list[bytes]:
    """Lines with such values; mostly there are none, which is found out fast."""
    if not text or not values.present_keys(memoryview(text), positions, "copy")[1]:
        return []
    return [
        line
        for line in bytes(text)[:-1].split(b"\n")
        if values.present_keys(memoryview(line + b"\n"), positions, "copy")[1]
    ]
