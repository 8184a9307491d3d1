"""In which order an archive is restored, and what of it can be done at the same time.

Tables in the script's order, one by one; then rows in parallel, each table's indexes as soon as its
rows are there; then foreign keys, then what belongs to no table or fires, in the script's order.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from dbtool.engines.base import Stage, Task
from dbtool.engines.mysql.execute import called
from dbtool.engines.mysql.selection import select_objects
from dbtool.model.archive import ArchiveIndex, FrameKind, SchemaObject

FOREIGN_KEY = "FK CONSTRAINT"
TABLE_KINDS = ("TABLE", "SEQUENCE")
_INDEX = "INDEX"

Placed = tuple[int, SchemaObject]


@dataclass(frozen=True)
class RestorePlan:
    """The stages; the tables whose rows come (positions in the index); names of tables and sequences;
    numbers of keys to tables that are there already, and so can be made in their place only; remarks."""

    stages: tuple[Stage, ...]
    tables: tuple[int, ...]
    relations: tuple[str, ...]
    joining: frozenset[int]
    notes: tuple[str, ...]


def make_plan(
    index: ArchiveIndex,
    chosen: frozenset[int] | None,
    present: frozenset[str],
    compare: bool,
    counts_alone: bool = False,
) -> RestorePlan:
    """Plan the restore of everything, or of the tables with the chosen identities.

    `present` holds names of tables that are in the target and stay there: keys to tables that are
    left out can be made where those are present. `counts_alone` says that several workers
    only hold each other up in an InnoDB table with a counter.
    """
    placed = [(number, item) for number, frame in enumerate(index.frames) for item in frame.objects]
    taken, joining, notes = _take(placed, chosen, present)
    joining += [(-1, item) for item in index.omitted if chosen is not None and _can_be_made(item, present)]
    kept = [pair for pair in placed if pair[1].number in taken]
    tables = tuple(
        number for number, table in enumerate(index.tables) if chosen is None or table.identity in chosen
    )
    before = [pair for pair in kept if index.frames[pair[0]].kind is FrameKind.BEFORE_DATA]
    after = [pair for pair in kept if index.frames[pair[0]].kind is not FrameKind.BEFORE_DATA]
    indexes = [pair for pair in after if pair[1].kind == _INDEX]
    keys = [pair for pair in after if pair[1].kind == FOREIGN_KEY]
    rest = [pair for pair in after if pair[1].kind not in (_INDEX, FOREIGN_KEY)]
    alone = _counted(index, tables) if counts_alone else frozenset()
    numbers = {item.number: item for _, item in before if item.kind in TABLE_KINDS}
    stages = [
        Stage("schema", _in_order("schema", before)),
        Stage("rows", _row_tasks(index, tables, indexes, numbers, compare, alone)),
        Stage("foreign keys", tuple(_key_tasks(keys))),
        Stage("objects behind the rows", _in_order("objects behind the rows", [*rest, *joining])),
    ]
    return RestorePlan(
        tuple(stage for stage in stages if stage.tasks),
        tables,
        tuple(item.name for _, item in before if item.kind in TABLE_KINDS),
        frozenset(item.number for _, item in joining),
        tuple(notes),
    )


def _take(
    placed: Sequence[Placed], chosen: frozenset[int] | None, present: frozenset[str]
) -> tuple[set[int], list[Placed], list[str]]:
    """(numbers of what comes; keys to tables that are in the target; remarks)."""
    objects = [item for _, item in placed]
    if chosen is None:
        return {item.number for item in objects}, [], []
    selected = select_objects(objects, chosen)
    by_number = {item.number: item for item in objects}
    joining = [
        pair
        for pair in placed
        if pair[1].number in selected.aside
        and pair[1].kind == FOREIGN_KEY
        and all(by_number[need].name in present for need in selected.missing[pair[1].number])
    ]
    joined = {item.number for _, item in joining}
    notes = [left_out_note(by_number[number]) for number in sorted(selected.aside - joined)]
    return set(selected.taken), joining, notes


def left_out_note(item: SchemaObject) -> str:
    """What a person is told of an object that is kept aside."""
    return f"{item.kind} {called(item)} is left out: it needs a table that is"


def _can_be_made(item: SchemaObject, present: frozenset[str]) -> bool:
    """Whether a foreign key that the archive keeps aside finds the table that it points to."""
    return item.kind == FOREIGN_KEY and item.sql is not None and referenced_table(item.sql) in present


def referenced_table(sql: str) -> str | None:
    """The table of the same database that a foreign key's statement points to."""
    from dbtool.engines.lexical import Kind, tokens

    words = list(tokens(sql, "mysql"))
    for position, token in enumerate(words[:-2]):
        if token.word == "REFERENCES" and words[position + 1].kind is Kind.QUOTED:
            if words[position + 2].text == ".":
                return None
            return words[position + 1].text[1:-1].replace("``", "`")
    return None


def _in_order(what: str, objects: Sequence[Placed]) -> tuple[Task, ...]:
    """One after the other: DDL side by side ends in deadlocks, and stops clusters that replicate it."""
    return (Task(0, what, objects=tuple(objects)),) if objects else ()


def _row_tasks(
    index: ArchiveIndex,
    tables: Sequence[int],
    indexes: Sequence[Placed],
    numbers: dict[int, SchemaObject],
    compare: bool,
    alone: frozenset[int],
) -> tuple[Task, ...]:
    """Loading, and behind the rows of each table its indexes and the comparison."""
    tasks: list[Task] = []
    loads = _load_tasks(index, tables, tasks, alone)
    sizes = {table.identity: table.bytes for table in index.tables}
    last_of_table: dict[int, int] = {}
    for frame, item in indexes:
        identity = next((numbers[need].identity for need in item.needs if need in numbers), 0)
        needs = set(loads.get(identity, ()))
        if identity in last_of_table:  # in the script's order
            needs.add(last_of_table[identity])
        last_of_table[identity] = len(tasks)
        tasks.append(
            Task(
                len(tasks),
                f"index {called(item)}",
                objects=((frame, item),),
                needs=tuple(sorted(needs)),
                locks=((str(identity), True),),
                weight=sizes.get(identity, 0),
            )
        )
    if compare:
        tasks += _compare_tasks(index, tables, loads, len(tasks))
    return tuple(tasks)


def _counted(index: ArchiveIndex, tables: Iterable[int]) -> frozenset[int]:
    """Tables of InnoDB that have a counter."""
    details = ((number, index.tables[number].details) for number in tables)
    return frozenset(
        number
        for number, facts in details
        if facts.get("auto_increment") is not None and str(facts.get("engine")).lower() == "innodb"
    )


def _load_tasks(
    index: ArchiveIndex, tables: Sequence[int], tasks: list[Task], alone: frozenset[int]
) -> dict[int, list[int]]:
    """Add a task for each frame of rows. The numbers of those that fill a table, by its identity. Those of
    tables that are loaded by one worker at a time are `alone`."""
    loads: dict[int, list[int]] = defaultdict(list)
    for number in _in_key_order(index, frozenset(tables)):
        frame = index.frames[number]
        assert frame.table is not None  # noqa: S101
        table = index.tables[frame.table]
        loads[table.identity].append(len(tasks))
        tasks.append(
            Task(
                len(tasks),
                f"rows of {table.name}",
                frame=number,
                locks=((f"rows of {table.identity}", True),) if frame.table in alone else (),
                weight=frame.plain_bytes,
                group=f"rows of {table.identity}",
            )
        )
    return loads


def _in_key_order(index: ArchiveIndex, tables: frozenset[int]) -> list[int]:
    """The frames of rows of some tables, a table's in the order of its key as far as that is known: rows
    that come in the order in which they are to lie make full pages.

    The frames of a chunk are in order, but several chunks were written at the same time.
    """
    chunks: dict[tuple[int, tuple[str, str] | None], int] = {}
    found = []
    for number, frame in enumerate(index.frames):
        if frame.kind is not FrameKind.DATA or frame.table not in tables:
            continue
        first = chunks.setdefault((frame.table, frame.bounds), number)
        low = frame.bounds[0] if frame.bounds else ""
        start = int(low) if re.fullmatch(r"-?\d+", low) else None
        if low == "":
            found.append((frame.table, 0, 0, number))
        elif start is None:
            found.append((frame.table, 1, first, number))
        else:
            found.append((frame.table, 1, start, number))
    return [number for *_, number in sorted(found)]


def _compare_tasks(
    index: ArchiveIndex, tables: Sequence[int], loads: dict[int, list[int]], first: int
) -> Iterator[Task]:
    """Reading each table back, when no index waits to be built: that is of one group and no weight. The
    servers let rows be read while an index is built of them."""
    for number, position in enumerate(tables, first):
        table = index.tables[position]
        yield Task(
            number,
            f"comparison of {table.name}",
            needs=tuple(loads.get(table.identity, ())),
            group="comparison",
            compare=position,
        )


def _key_tasks(keys: Iterable[Placed]) -> Iterator[Task]:
    for number, (frame, item) in enumerate(keys):
        locks = tuple((str(need), True) for need in item.needs)
        yield Task(number, f"foreign key {called(item)}", objects=((frame, item),), locks=locks)
