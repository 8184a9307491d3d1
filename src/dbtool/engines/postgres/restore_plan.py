"""In which order an archive is restored, and what of it can be done at the same time.

Schema before the rows in the script's order; then rows, large objects and sequences in parallel,
each index as soon as the rows of its table are there; then the rest in the script's order, with
foreign keys side by side; then statistics and the contents of materialised views.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dbtool.engines.base import Stage, Task
from dbtool.engines.postgres.keys import INDEX_OF_KEY
from dbtool.engines.postgres.load import Placed, called
from dbtool.engines.postgres.quoting import qualified
from dbtool.engines.postgres.selection import (
    definition_note,
    left_out_note,
    partition_parents,
    select_objects,
)
from dbtool.model.archive import ArchiveIndex, Frame, FrameKind, SchemaObject

_EARLY_KINDS = frozenset({"INDEX", "CONSTRAINT"})
_FOREIGN_KEY = "FK CONSTRAINT"
_PRIVILEGE_KINDS = frozenset({"ACL", "DEFAULT ACL", "DATABASE ACL"})
_REMARK_KINDS = frozenset({"COMMENT", "SECURITY LABEL"})
# What joins a table to another that is in the target already. Indexes are attached with their partition.
_JOINING_KINDS = frozenset({_FOREIGN_KEY, "TABLE ATTACH"})
_ATTACHING_KINDS = frozenset({"TABLE ATTACH", "INDEX ATTACH"})
_ANALYZE_NUMBER = -1
_LARGE_TABLE_BYTES = 8 << 20

_CTID = re.compile(r"\((\d+),\d+\)$")


@dataclass(frozen=True)
class RestorePlan:
    """The stages; the tables whose rows come (positions in the index); objects that may be there
    already, because other tables of the target use them too; remarks."""

    stages: tuple[Stage, ...]
    tables: tuple[int, ...]
    shared: frozenset[int]
    notes: tuple[str, ...]


def make_plan(
    index: ArchiveIndex,
    chosen: frozenset[int] | None,
    with_privileges: bool,
    present: frozenset[tuple[str, str]],
    compare: bool,
) -> RestorePlan:
    """Plan the restore of everything, or of the tables with the chosen OIDs.

    `present` holds (schema, name) of tables that are in the target and stay there: keys to tables
    that the archive leaves out can be made where those are present.
    """
    placed = [(number, item) for number, frame in enumerate(index.frames) for item in frame.objects]
    taken, joining, notes = _take(placed, chosen, present)
    if not with_privileges:
        by_number = _by_number(placed)
        taken = {number for number in taken if by_number[number].kind not in _PRIVILEGE_KINDS}
    kept = [pair for pair in placed if pair[1].number in taken]
    tables = tuple(
        number for number, table in enumerate(index.tables) if chosen is None or table.identity in chosen
    )
    of_kind = defaultdict(list)
    for frame, item in kept:
        of_kind[index.frames[frame].kind].append((frame, item))
    parents = partition_parents(item for _, item in kept)
    after, early = _split_early(of_kind[FrameKind.AFTER_DATA])
    joining += [(-1, item) for item in index.omitted if _can_be_made(item, present)]
    last = [number for number in tables if index.tables[number].details.get("loaded_last") is not None]
    soon = [number for number in tables if number not in set(last)]
    large = [pair for kind in (FrameKind.LARGE_OBJECTS, FrameKind.SEQUENCES) for pair in of_kind[kind]]
    relations = _Relations([item for _, item in of_kind[FrameKind.BEFORE_DATA]], parents)
    soon_indexes, last_indexes = relations.split(early, {index.tables[number].identity for number in last})
    stages = [
        Stage("schema", _in_order(of_kind[FrameKind.BEFORE_DATA])),
        Stage("rows", _row_tasks(index, soon, large, soon_indexes, relations, compare)),
        Stage(
            "rows that need other rows",
            _row_tasks(index, last, [], last_indexes, relations, compare, in_line=True),
        ),
        # A partition's keys are whole, and so can become those of its table, once theirs are attached.
        *_ordered_stages([*after, *joining]),
        Stage("statistics", _analyze_tasks(index, tables, relations)),
        Stage("materialised views", _in_order(of_kind[FrameKind.REFRESH])),
        Stage("database", _in_order(of_kind[FrameKind.DATABASE])),
        Stage("last objects", _in_order(of_kind[FrameKind.LAST])),
    ]
    belonging = {
        item.number for _, item in kept if item.kind == "TABLE" and chosen and item.identity in chosen
    }
    shared = frozenset(
        item.number for _, item in of_kind[FrameKind.BEFORE_DATA] if item.number not in belonging
    )
    return RestorePlan(
        tuple(stage for stage in stages if stage.tasks),
        tables,
        shared if chosen is not None else frozenset(),
        tuple(notes),
    )


def _by_number(placed: Iterable[Placed]) -> dict[int, SchemaObject]:
    return {item.number: item for _, item in placed}


def _take(
    placed: Sequence[Placed], chosen: frozenset[int] | None, present: frozenset[tuple[str, str]]
) -> tuple[set[int], list[Placed], list[str]]:
    """(numbers of what comes; what joins it to tables that are in the target, remarks)."""
    objects = [item for _, item in placed]
    if chosen is None:
        return {item.number for item in objects}, [], []
    selected = select_objects(objects, chosen)
    taken = set(selected.taken)
    # Sequences stand for themselves: those that come along also get their value.
    identities = {item.identity for item in objects if item.number in taken and item.kind == "SEQUENCE"}
    taken |= {item.number for item in objects if item.kind == "SEQUENCE SET" and item.identity in identities}
    by_number = _by_number(placed)
    lacking = {number: selected.missing[number] for number in selected.aside}
    # Tables that come only as a definition, for a chosen one to be made from, and that are there.
    there = {
        number
        for number in taken
        if (item := by_number[number]).kind == "TABLE"
        and item.identity not in chosen
        and (item.schema, item.name) in present
    }
    for number in list(taken):
        item = by_number[number]
        tables = {need for need in item.needs if need in by_number and by_number[need].kind == "TABLE"}
        is_of_them = tables <= there or item.kind in _ATTACHING_KINDS
        if number in there or (item.kind != "TABLE" and tables & there and is_of_them):
            taken.discard(number)
            lacking[number] = frozenset(tables & there)
    joining = [
        (frame, item)
        for frame, item in placed
        if item.number in lacking
        and item.kind in _JOINING_KINDS
        and all((by_number[table].schema, by_number[table].name) in present for table in lacking[item.number])
    ]
    # A partition joins its table before a key may point to it.
    joining.sort(key=lambda pair: pair[1].kind == _FOREIGN_KEY)
    settled = {left_out_note(item) for _, item in joining} | {
        definition_note(by_number[number]) for number in there
    }
    return taken, joining, [note for note in selected.notes if note not in settled]


def _in_order(objects: Sequence[Placed]) -> tuple[Task, ...]:
    return (Task(0, "schema", objects=tuple(objects)),) if objects else ()


def _split_early(after: Sequence[Placed]) -> tuple[list[Placed], list[Placed]]:
    """(the rest in order, indexes and keys that need nothing of the rest)."""
    behind = {item.number for _, item in after}
    early_numbers: set[int] = set()
    early, rest = [], []
    for frame, item in after:
        if item.kind in _EARLY_KINDS and set(item.needs) & behind <= early_numbers:
            early_numbers.add(item.number)
            early.append((frame, item))
        else:
            rest.append((frame, item))
    return rest, early


class _Relations:
    """The tables of a restore by the numbers of their objects, and how partitions belong together."""

    def __init__(self, objects: Sequence[SchemaObject], parents: dict[int, int]) -> None:
        self.tables = {item.number: item for item in objects if item.kind == "TABLE"}
        self.parents = parents
        self.with_foreign_parts = self._above_foreign_tables(objects)

    def _above_foreign_tables(self, objects: Sequence[SchemaObject]) -> set[int]:
        """Tables that have a foreign table below them, as a partition or an heir."""
        found: set[int] = set()
        for item in objects:
            if item.kind == "FOREIGN TABLE":
                waiting = [item.number, *(number for number in item.needs if number in self.tables)]
                while waiting:
                    number = waiting.pop()
                    if number not in found:
                        found.add(number)
                        above = self.tables[number].needs if number in self.tables else ()
                        waiting += [need for need in above if need in self.tables]
                        waiting += [self.parents[number]] if number in self.parents else []
        return found

    def of(self, item: SchemaObject) -> list[int]:
        """The tables that an index or a key needs."""
        return [number for number in item.needs if number in self.tables]

    def split(self, placed: Sequence[Placed], last: set[int]) -> tuple[list[Placed], list[Placed]]:
        """(indexes to build with the other rows, those of tables whose rows come last)."""
        late_numbers: set[int] = set()
        soon, late = [], []
        held_back = {number for number, table in self.tables.items() if table.identity in last}
        for number in list(held_back):
            while (parent := self.parents.get(number)) is not None:
                held_back.add(parent)
                number = parent
        for pair in placed:
            if set(self.of(pair[1])) & held_back or set(pair[1].needs) & late_numbers:
                late_numbers.add(pair[1].number)
                late.append(pair)
            else:
                soon.append(pair)
        return soon, late

    def loads(self, by_identity: dict[int, list[int]]) -> dict[int, list[int]]:
        """Loading tasks by a table's number, a partitioned table's with those of its partitions."""
        found: dict[int, list[int]] = defaultdict(list)
        for number, table in self.tables.items():
            ancestor: int | None = number
            while ancestor is not None:
                found[ancestor].extend(by_identity.get(table.identity, ()))
                ancestor = self.parents.get(ancestor)
        return found


def _row_tasks(
    index: ArchiveIndex,
    tables: Sequence[int],
    large: Sequence[Placed],
    indexes: Sequence[Placed],
    relations: _Relations,
    compare: bool,
    in_line: bool = False,
) -> tuple[Task, ...]:
    """Loading, and behind the rows of each table its indexes and the comparison; `in_line`, one frame
    after the other."""
    tasks: list[Task] = []
    loads = _load_tasks(index, tables, tasks, in_line)
    by_frame: dict[int, list[Placed]] = defaultdict(list)
    for frame_number, item in large:
        by_frame[frame_number].append((frame_number, item))
    # In the archive's order: a large object may go on in the next frame.
    before: tuple[int, ...] = ()
    for frame_number, objects in by_frame.items():
        what = index.frames[frame_number].kind.value
        tasks.append(Task(len(tasks), what, objects=tuple(objects), needs=before, weight=1))
        before = (tasks[-1].number,)
    tasks += _index_tasks(index, indexes, relations, relations.loads(loads), len(tasks))
    if compare:
        tasks += _compare_tasks(index, tables, loads, len(tasks))
    return tuple(tasks)


def _index_tasks(
    index: ArchiveIndex,
    indexes: Sequence[Placed],
    relations: _Relations,
    table_loads: dict[int, list[int]],
    first: int,
) -> Iterator[Task]:
    """Each index behind the rows of its tables. CREATE INDEX shares its table with others, a key takes it
    alone: so the index of a large table's key is made first, as the others are, and then becomes the key."""
    sizes = {table.identity: table.bytes for table in index.tables}
    task_of: dict[int, int] = {}
    number = first
    for frame_number, item in indexes:
        related = relations.of(item)
        identities = [relations.tables[table].identity for table in related]
        needs = {load for table in related for load in table_loads.get(table, ())}
        needs |= {task_of[need] for need in item.needs if need in task_of}
        weight = sum(sizes.get(identity, 0) for identity in identities)
        is_key = item.kind != "INDEX"
        is_partitioned = bool(set(related) & set(relations.parents.values()))
        steps = (
            (INDEX_OF_KEY, "") if is_key and not is_partitioned and weight >= _LARGE_TABLE_BYTES else ("",)
        )
        for step in steps:
            yield Task(
                number,
                f"{step or item.kind.lower()} {called(item)}",
                objects=((frame_number, item),),
                needs=tuple(sorted(needs)),
                locks=tuple((str(identity), is_key and not step) for identity in identities),
                weight=weight,
                detail=step,
            )
            needs = {number}
            task_of[item.number] = number
            number += 1


def _compare_tasks(
    index: ArchiveIndex, tables: Sequence[int], loads: dict[int, list[int]], first: int
) -> Iterator[Task]:
    """Reading each table back, when no index waits to be built: that is of one group and no weight.
    It cannot be done while a key is made, which takes the table alone."""
    for number, position in enumerate(tables, first):
        table = index.tables[position]
        yield Task(
            number,
            f"comparison of {table.schema}.{table.name}",
            needs=tuple(loads.get(table.identity, ())),
            locks=((str(table.identity), False),),
            group="comparison",
            compare=position,
        )


def _first_block(frame: Frame) -> int:
    """Where in its table a frame's rows begin, if they were read by ctid."""
    match = _CTID.match(frame.bounds[0]) if frame.bounds else None
    return int(match[1]) if match else 0


def _load_tasks(
    index: ArchiveIndex, tables: Sequence[int], tasks: list[Task], in_line: bool
) -> dict[int, list[int]]:
    """Add a task for each frame of rows. The numbers of those that fill a table, by its OID."""
    wanted = set(tables)
    loads: dict[int, list[int]] = defaultdict(list)
    routed: dict[tuple[str, ...], list[int]] = defaultdict(list)
    # Rows come in the order in which they stood, as far as that is known: an index over sorted rows
    # is built, and later read, faster.
    numbers = sorted(
        range(len(index.frames)), key=lambda number: (_first_block(index.frames[number]), number)
    )
    for number in numbers:
        frame = index.frames[number]
        if frame.kind is not FrameKind.DATA or frame.table not in wanted:
            continue
        table = index.tables[frame.table]
        loads[table.identity].append(len(tasks))
        routed[tuple(table.details.get("loaded_through", ()))].append(len(tasks))
        needs = (len(tasks) - 1,) if in_line and tasks else ()
        what = f"rows of {table.schema}.{table.name}"
        group = "" if in_line else f"rows of {table.identity}"
        tasks.append(Task(len(tasks), what, frame=number, needs=needs, weight=frame.plain_bytes, group=group))
    for number in wanted:
        root = tuple(index.tables[number].details.get("loaded_through", ()))
        if root:  # any of the tree's rows may come to lie in any of its partitions
            loads[index.tables[number].identity] = routed[root]
    return loads


def _ordered_stages(after: Sequence[Placed]) -> Iterator[Stage]:
    """The script's order, but for foreign keys that stand together: those run side by side, and
    remarks on them wait until they are there."""
    plain: list[Placed] = []
    keys: list[Placed] = []
    remarks: list[Placed] = []
    for pair in after:
        item = pair[1]
        if item.kind == _FOREIGN_KEY:
            if plain:
                yield Stage("objects behind the rows", _in_order(plain))
                plain = []
            keys.append(pair)
        elif keys and item.kind in _REMARK_KINDS and {key.number for _, key in keys} & set(item.needs):
            remarks.append(pair)
        else:
            if keys:
                yield Stage("foreign keys", tuple(_key_tasks(keys)))
            plain.extend((*remarks, pair))
            keys, remarks = [], []
    if keys:
        yield Stage("foreign keys", tuple(_key_tasks(keys)))
    if plain or remarks:
        yield Stage("objects behind the rows", _in_order([*plain, *remarks]))


def _key_tasks(keys: Sequence[Placed]) -> Iterator[Task]:
    for number, (frame, item) in enumerate(keys):
        locks = tuple((str(need), True) for need in item.needs)
        yield Task(number, f"foreign key {called(item)}", objects=((frame, item),), locks=locks)


def _analyze_tasks(index: ArchiveIndex, tables: Sequence[int], relations: _Relations) -> tuple[Task, ...]:
    """ANALYZE, one table a task; of a partitioned table the whole at once. Never of a table with
    foreign parts, for their servers would be asked for rows."""
    foreign, parents = relations.with_foreign_parts, relations.parents
    numbers = {table.identity: number for number, table in relations.tables.items()}

    def root(number: int) -> int:
        while number in parents:
            number = parents[number]
        return number

    roots = {root(number) for number in parents if number in relations.tables} - foreign
    names = [
        (relations.tables[number].schema, relations.tables[number].name, 1 << 40)
        for number in roots
        if number in relations.tables
    ]
    for table in (index.tables[number] for number in tables):
        number = numbers.get(table.identity)
        if table.rows and (number is None or (root(number) not in roots and number not in foreign)):
            names.append((table.schema, table.name, table.bytes))
    return tuple(
        Task(
            number,
            f"statistics of {schema}.{name}",
            objects=((-1, _statement("ANALYZE", schema, name, f"ANALYZE {qualified(schema, name)};")),),
            weight=size,
        )
        for number, (schema, name, size) in enumerate(names)
    )


def _statement(kind: str, schema: str, name: str, sql: str) -> SchemaObject:
    return SchemaObject(_ANALYZE_NUMBER, kind, schema, name, length=len(sql), owner_offset=len(sql), sql=sql)


def _can_be_made(item: SchemaObject, present: frozenset[tuple[str, str]]) -> bool:
    """Whether a foreign key that the archive keeps aside finds the table that it points to."""
    if item.kind != _FOREIGN_KEY or item.sql is None:
        return False
    return any(f"REFERENCES {_plain(schema, name)}(" in item.sql for schema, name in present)


def _plain(schema: str, name: str) -> str:
    """A qualified name as pg_dump spells it: quoted only where it must be."""
    return ".".join(
        part
        if part.isascii() and part.islower() and part.isidentifier()
        else '"' + part.replace('"', '""') + '"'
        for part in (schema, name)
    )
