"""In which order an archive is restored, and what of it can be done at the same time.

Schema before the rows in the script's order; then rows, large objects and sequences in parallel,
each index as soon as the rows of its table are there; then the rest in the script's order, with
foreign keys side by side; then statistics and the contents of materialised views.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dbtool.engines.base import Stage, Task
from dbtool.engines.postgres.load import called
from dbtool.engines.postgres.quoting import qualified
from dbtool.engines.postgres.selection import partition_parents, select_objects
from dbtool.model.archive import ArchiveIndex, FrameKind, SchemaObject

_EARLY_KINDS = frozenset({"INDEX", "CONSTRAINT"})
_FOREIGN_KEY = "FK CONSTRAINT"
_PRIVILEGE_KINDS = frozenset({"ACL", "DEFAULT ACL", "DATABASE ACL"})
_REMARK_KINDS = frozenset({"COMMENT", "SECURITY LABEL"})
_ANALYZE_NUMBER = -1

Placed = tuple[int, SchemaObject]


@dataclass(frozen=True)
class RestorePlan:
    """The stages; the tables whose rows come (positions in the index); objects that may be there
    already, because other tables of the target use them too; remarks."""

    stages: tuple[Stage, ...]
    tables: tuple[int, ...]
    shared: frozenset[int]
    notes: tuple[str, ...]


def make_plan(
    index: ArchiveIndex, chosen: frozenset[int] | None, with_privileges: bool, present: frozenset[tuple[str, str]]
) -> RestorePlan:
    """Plan the restore of everything, or of the tables with the chosen OIDs.

    `present` holds (schema, name) of tables that are in the target and stay there: keys to tables
    that the archive leaves out can be made where those are present.
    """
    placed = [(number, item) for number, frame in enumerate(index.frames) for item in frame.objects]
    taken, notes = _take(index, placed, chosen)
    if not with_privileges:
        by_number = _by_number(placed)
        taken = {number for number in taken if by_number[number].kind not in _PRIVILEGE_KINDS}
    kept = [pair for pair in placed if pair[1].number in taken]
    tables = tuple(
        number
        for number, table in enumerate(index.tables)
        if chosen is None or table.identity in chosen
    )
    of_kind = defaultdict(list)
    for frame, item in kept:
        of_kind[index.frames[frame].kind].append((frame, item))
    parents = partition_parents(item for _, item in kept)
    after, early = _split_early(of_kind[FrameKind.AFTER_DATA])
    resurrected = [(-1, item) for item in index.omitted if _can_be_made(item, present)]
    stages = [
        Stage("schema", _in_order(of_kind[FrameKind.BEFORE_DATA])),
        Stage("rows", _row_tasks(index, tables, of_kind, early, parents)),
        *_ordered_stages([*after, *resurrected]),
        Stage("statistics", _analyze_tasks(index, tables, parents)),
        Stage("materialised views", _in_order(of_kind[FrameKind.REFRESH])),
        Stage("database", _in_order(of_kind[FrameKind.DATABASE])),
        Stage("last objects", _in_order(of_kind[FrameKind.LAST])),
    ]
    belonging = {item.number for _, item in kept if item.kind == "TABLE" and chosen and item.identity in chosen}
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
    index: ArchiveIndex, placed: Sequence[Placed], chosen: frozenset[int] | None
) -> tuple[set[int], list[str]]:
    objects = [item for _, item in placed]
    if chosen is None:
        return {item.number for item in objects}, []
    selected = select_objects(objects, chosen)
    taken = set(selected.taken)
    # Sequences stand for themselves: those that come along also get their value.
    identities = {item.identity for item in objects if item.number in taken and item.kind == "SEQUENCE"}
    taken |= {item.number for item in objects if item.kind == "SEQUENCE SET" and item.identity in identities}
    return taken, list(selected.notes)


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


def _row_tasks(
    index: ArchiveIndex,
    tables: tuple[int, ...],
    of_kind: dict[FrameKind, list[Placed]],
    early: Sequence[Placed],
    parents: dict[int, int],
) -> tuple[Task, ...]:
    """Loading, and the indexes of each table behind its rows."""
    tasks: list[Task] = []
    wanted = set(tables)
    loads: dict[int, list[int]] = defaultdict(list)  # by the table's OID
    for number, frame in enumerate(index.frames):
        if frame.kind is FrameKind.DATA and frame.table in wanted:
            table = index.tables[frame.table]
            what = f"rows of {table.schema}.{table.name}"
            loads[table.identity].append(len(tasks))
            tasks.append(Task(len(tasks), what, frame=number, weight=frame.plain_bytes))
    for kind in (FrameKind.LARGE_OBJECTS, FrameKind.SEQUENCES):
        by_frame: dict[int, list[Placed]] = defaultdict(list)
        for frame_number, item in of_kind[kind]:
            by_frame[frame_number].append((frame_number, item))
        # In the archive's order: a large object may go on in the next frame.
        last: tuple[int, ...] = ()
        for objects in by_frame.values():
            tasks.append(Task(len(tasks), kind.value, objects=tuple(objects), needs=last, weight=1))
            last = (tasks[-1].number,)
    table_oids = {
        item.number: item.identity for _, item in of_kind[FrameKind.BEFORE_DATA] if item.kind == "TABLE"
    }
    table_loads = _loads_of_tables(table_oids, loads, parents)
    sizes = {table.identity: table.bytes for table in index.tables}
    task_of: dict[int, int] = {}
    for frame_number, item in early:
        related = [number for number in item.needs if number in table_oids]
        needs = {load for number in related for load in table_loads.get(number, ())}
        needs |= {task_of[number] for number in item.needs if number in task_of}
        # CREATE INDEX shares its table with others; a key takes it alone.
        alone = item.kind != "INDEX"
        task_of[item.number] = len(tasks)
        tasks.append(
            Task(
                len(tasks),
                f"{item.kind.lower()} {called(item)}",
                objects=((frame_number, item),),
                needs=tuple(sorted(needs)),
                locks=tuple((str(table_oids[number]), alone) for number in related),
                weight=sum(sizes.get(table_oids[number], 0) for number in related),
            )
        )
    return tuple(tasks)


def _loads_of_tables(
    table_oids: dict[int, int], loads: dict[int, list[int]], parents: dict[int, int]
) -> dict[int, list[int]]:
    """Loading tasks by the number of a TABLE object, a partitioned table's with its partitions'."""
    found: dict[int, list[int]] = defaultdict(list)
    for number, oid in table_oids.items():
        ancestor: int | None = number
        while ancestor is not None:
            found[ancestor].extend(loads.get(oid, ()))
            ancestor = parents.get(ancestor)
    return found


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


def _analyze_tasks(
    index: ArchiveIndex, tables: tuple[int, ...], parents: dict[int, int]
) -> tuple[Task, ...]:
    """ANALYZE, one table a task; of a partitioned table the whole at once."""
    objects = {
        item.number: item for frame in index.frames for item in frame.objects if item.kind == "TABLE"
    }
    partitions = {objects[number].identity for number in parents if number in objects}
    roots = {objects[number].identity: objects[number] for number in set(parents.values()) - set(parents)}
    names = [(item.schema, item.name, 1 << 40) for item in roots.values()]
    names += [
        (table.schema, table.name, table.bytes)
        for table in (index.tables[number] for number in tables)
        if table.rows and table.identity not in partitions
    ]
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
        part if part.isascii() and part.islower() and part.isidentifier() else '"' + part.replace('"', '""') + '"'
        for part in (schema, name)
    )
