"""Which tables a partial backup or restore takes, and which other objects those bring along.

A table brings its indexes and triggers, its foreign keys as far as their tables come, and what it
cannot be made without. Views, routines and events belong to no table.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Sequence

from dbtool.engines.mysql.introspect import Relation
from dbtool.engines.selection import Selection
from dbtool.errors import NotFoundError, UsageError
from dbtool.model.archive import ArchiveIndex, SchemaObject

_BELONGING = frozenset({"INDEX", "FK CONSTRAINT", "TRIGGER"})
# Objects that come along once all that they speak of is there.
_REMARKS = frozenset({"SEQUENCE SET"})
_KIND_WORDS = {"VIEW": "a view", "SEQUENCE": "a sequence"}


def choose_tables(patterns: Sequence[str], found: Sequence[Relation], database: str) -> frozenset[str]:
    """The names of a database's tables that the patterns name. Raises NotFoundError with the nearest
    names; UsageError for a view or a sequence."""
    tables = [item.name for item in found if item.is_table]
    others = {item.name: item.kind for item in found if not item.is_table}
    chosen: set[str] = set()
    for pattern in patterns:
        own = _without_database(pattern, tables, database)
        try:
            chosen.update(choose_names([own], tables))
        except NotFoundError:
            if own in others:
                kind = _KIND_WORDS.get(others[own], "no table")
                raise UsageError(
                    f"{pattern} is {kind}, not a table", "name the tables that it is made of"
                ) from None
            raise
    return frozenset(chosen)


def choose_names(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    """The tables that the patterns name: `table`, with `*` and `?`; a name that is there exactly as given
    wins over its reading as a pattern. Raises NotFoundError with the nearest names."""
    chosen: dict[str, None] = {}
    for pattern in patterns:
        matches = [name for name in names if name == pattern]
        matches = matches or [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not matches:
            near = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else "see \\d in the console"
            raise NotFoundError(f"no table is called {pattern}", hint)
        chosen.update(dict.fromkeys(matches))
    return list(chosen)


def choose_from_index(index: ArchiveIndex, patterns: Sequence[str]) -> frozenset[int]:
    """The identities of an archive's tables that the patterns name."""
    objects = [item for frame in index.frames for item in frame.objects]
    tables = {item.name: item.identity for item in objects if item.kind == "TABLE"}
    own = [_without_database(pattern, tables, index.backup["database"]["name"]) for pattern in patterns]
    return frozenset(tables[name] for name in choose_names(own, list(tables)))


def _without_database(pattern: str, tables: Collection[str], database: str) -> str:
    """`database.table` as the table's name, unless a table is called just so."""
    return pattern if pattern in tables else pattern.removeprefix(f"{database}.")


def select_objects(objects: Sequence[SchemaObject], tables: frozenset[int]) -> Selection:
    """The objects that some tables (by identity) bring along, out of all in the script's order."""
    by_number = {item.number: item for item in objects}
    all_tables = {item.number for item in objects if item.kind == "TABLE"}
    chosen = {number for number in all_tables if by_number[number].identity in tables}
    taken: set[int] = set()
    waiting = list(chosen)
    while waiting:
        number = waiting.pop()
        if number in by_number and number not in taken:
            taken.add(number)
            waiting += by_number[number].needs
    missing: dict[int, frozenset[int]] = {}
    for item in objects:
        if item.kind not in _BELONGING or not item.needs or item.needs[0] not in chosen:
            continue  # the first need is the object's own table
        if lacks := frozenset(item.needs) & all_tables - taken:
            missing[item.number] = lacks
        else:
            taken.add(item.number)
    taken |= {
        item.number for item in objects if item.kind in _REMARKS and item.needs and set(item.needs) <= taken
    }
    notes = tuple(left_out_note(by_number[number]) for number in sorted(missing))
    return Selection(frozenset(taken), frozenset(missing), missing, notes)


def left_out_note(item: SchemaObject) -> str:
    """What a person is told of an object that is kept aside."""
    return f"{item.kind} {item.name} is left out: it needs a table that is"
