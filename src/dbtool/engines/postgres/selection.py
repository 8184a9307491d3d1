"""Which tables a partial backup takes, and which other objects those need.

A table brings what belongs to it (keys, indexes, triggers, privileges, the sequences it owns) and
what it cannot be made without (schema, types, functions of its defaults, parents). What belongs
to it but needs a table that is left out, such as a foreign key, is kept aside.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dbtool.engines.selection import Selection
from dbtool.errors import NotFoundError, UsageError
from dbtool.model.archive import ArchiveIndex, SchemaObject
from dbtool.model.database import Table

if TYPE_CHECKING:
    import psycopg

# Objects that come along with the table that they depend on.
_BELONGING = frozenset(
    {
        "CHECK CONSTRAINT",
        "CONSTRAINT",
        "DEFAULT",
        "FK CONSTRAINT",
        "INDEX",
        "INDEX ATTACH",
        "POLICY",
        "ROW SECURITY",
        "RULE",
        "SEQUENCE",
        "STATISTICS",
        "TABLE ATTACH",
        "TRIGGER",
    }
)
_KEYS = ("CONSTRAINT", "INDEX")
_RELATION_KINDS = ("TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW")
# Objects that come along once all that they speak of is there.
_REMARKS = frozenset({"ACL", "COMMENT", "SECURITY LABEL", "SEQUENCE OWNED BY"})
# Objects without which a table is still the same table: rather left out than given a broken need.
_OPTIONAL = frozenset({"FK CONSTRAINT", "POLICY", "RULE", "TRIGGER", "TABLE ATTACH", "INDEX ATTACH"})

_RELATIONS_SQL = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text,
       ARRAY(SELECT i.inhrelid::bigint FROM pg_inherits AS i JOIN pg_class AS p ON p.oid = i.inhrelid
             WHERE i.inhparent = c.oid AND p.relispartition)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname
"""
_TABLE_KINDS = ("r", "p", "f")
_KIND_WORDS = {"v": "a view", "m": "a materialised view", "S": "a sequence"}


@dataclass(frozen=True)
class ChosenTables:
    """Tables by OID. `named` are those that a pattern matched, the rest are their partitions."""

    identities: frozenset[int]
    named: tuple[str, ...]


def choose_tables(session: psycopg.Connection[Any], patterns: Sequence[str]) -> ChosenTables:
    """The tables that the patterns name: `table`, `schema.table`, with `*` and `?`; a name that
    exists exactly as given wins over its reading as a pattern.

    A partitioned table brings its partitions. Raises NotFoundError with the nearest names.
    """
    relations = session.execute(_RELATIONS_SQL).fetchall()
    partitions = {row[0]: row[4] for row in relations}
    chosen: set[int] = set()
    named: dict[str, None] = {}
    for pattern in patterns:
        matches = match_names(pattern, relations, lambda row: (row[1], row[2]))
        tables = [row for row in matches if row[3] in _TABLE_KINDS]
        if not tables and matches:
            kind = _KIND_WORDS[matches[0][3]]
            raise UsageError(f"{pattern} is {kind}, not a table", "name the tables that it is made of")
        if not tables:
            raise _no_such_table(pattern, [(row[1], row[2]) for row in relations if row[3] in _TABLE_KINDS])
        named.update(dict.fromkeys(f"{row[1]}.{row[2]}" for row in tables))
        waiting = [row[0] for row in tables]
        while waiting:
            identity = waiting.pop()
            chosen.add(identity)
            waiting.extend(partitions.get(identity, ()))
    return ChosenTables(frozenset(chosen), tuple(named))


def only_chosen(tables: Iterable[Table], chosen: ChosenTables) -> list[Table]:
    """The chosen tables. A partition whose root stays behind is loaded as a table of its own."""
    kept = []
    for table in tables:
        if table.identity not in chosen.identities:
            continue
        root = table.details.get("loaded_through")
        if root and ".".join(root) not in chosen.named:
            details = {name: value for name, value in table.details.items() if name != "loaded_through"}
            kept.append(replace(table, details=details))
        else:
            kept.append(table)
    return kept


def match_names(pattern: str, items: Iterable[Any], name_of: Callable[[Any], tuple[str, str]]) -> list[Any]:
    """The items that a table pattern names. A pattern with a dot may speak of the schema too."""
    listed = list(items)
    exact = [item for item in listed if pattern in (name_of(item)[1], ".".join(name_of(item)))]
    if exact:
        return exact
    matcher = fnmatch.fnmatchcase
    return [
        item
        for item in listed
        if matcher(name_of(item)[1], pattern)
        or ("." in pattern and matcher(".".join(name_of(item)), pattern))
    ]


def _no_such_table(pattern: str, names: Sequence[tuple[str, str]]) -> NotFoundError:
    spellings = [*(".".join(name) for name in names), *(name for _, name in names)]
    near = difflib.get_close_matches(pattern, spellings, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(dict.fromkeys(near))}?" if near else "see \\d in the console"
    return NotFoundError(f"no table is called {pattern}", hint)


def choose_from_index(index: ArchiveIndex, patterns: Sequence[str]) -> frozenset[int]:
    """The OIDs of an archive's tables that the patterns name, partitions with their table."""
    objects = [item for frame in index.frames for item in frame.objects]
    tables = [item for item in objects if item.kind in ("TABLE", "FOREIGN TABLE")]
    partitions: dict[int, list[int]] = {}
    numbers = {item.number: item for item in tables}
    for partition, parent in partition_parents(objects).items():
        partitions.setdefault(numbers[parent].identity, []).append(numbers[partition].identity)
    chosen: set[int] = set()
    for pattern in patterns:
        matches = match_names(pattern, tables, lambda item: (item.schema, item.name))
        if not matches:
            raise _no_such_table(pattern, [(item.schema, item.name) for item in tables])
        waiting = [item.identity for item in matches]
        while waiting:
            identity = waiting.pop()
            chosen.add(identity)
            waiting.extend(partitions.get(identity, ()))
    return frozenset(chosen)


def partition_parents(objects: Iterable[SchemaObject]) -> dict[int, int]:
    """From the number of a partition's table object to its partitioned table's."""
    listed = list(objects)
    tables = {item.number: item for item in listed if item.kind in ("TABLE", "FOREIGN TABLE")}
    found = {}
    for item in listed:
        if item.kind == "TABLE ATTACH":
            partition = own_relation(item, tables)
            parent = next((number for number in item.needs if number in tables and number != partition), None)
            if partition is not None and parent is not None:
                found[partition] = parent
    return found


def select_objects(objects: Sequence[SchemaObject], tables: frozenset[int]) -> Selection:
    """The objects that some tables (by OID) bring along, out of all in the script's order."""
    by_number = {item.number: item for item in objects}
    table_numbers = {item.number for item in objects if item.kind in ("TABLE", "FOREIGN TABLE")}
    chosen = {number for number in table_numbers if by_number[number].identity in tables}
    closure = _Closure(by_number)
    taken: set[int] = set()
    for number in chosen:
        taken |= closure.of(number)
    without_rows = sorted((taken & table_numbers) - chosen)
    relations = {item.number: item for item in objects if item.kind in _RELATION_KINDS}
    aside = set()
    for item in objects:
        if item.kind not in _BELONGING or item.number in taken:
            continue
        own = own_relation(item, relations)
        if own not in chosen if own is not None else not set(item.needs) & chosen:
            continue
        if item.kind not in _OPTIONAL or not closure.of(item.number) & table_numbers - taken:
            taken |= closure.of(item.number)
        else:
            aside.add(item.number)
    taken |= {
        item.number for item in objects if item.kind in _REMARKS and item.needs and set(item.needs) <= taken
    }
    missing = {number: closure.of(number) & table_numbers - taken for number in aside}
    notes = [left_out_note(by_number[number]) for number in sorted(aside)] + [
        definition_note(by_number[number]) for number in without_rows
    ]
    return Selection(frozenset(taken), frozenset(aside), missing, tuple(notes))


def definition_note(item: SchemaObject) -> str:
    """What a person is told of a table that nobody chose."""
    return f"table {_called(item)} comes without rows: another table needs its definition"


def left_out_note(item: SchemaObject) -> str:
    """What a person is told of an object that is kept aside."""
    return f"{item.kind} {_called(item)} is left out: it needs a table that is"


def _called(item: SchemaObject) -> str:
    return f"{item.schema}.{item.name}" if item.schema else item.name


def own_relation(item: SchemaObject, relations: Mapping[int, SchemaObject]) -> int | None:
    """The relation that a key, trigger, rule, … belongs to, or that an attachment attaches; None for
    objects, such as indexes, whose name does not begin with it.

    pg_dump says it in the name ("table trigger"); the order of what an object needs says nothing.
    """
    named = [
        relations[number]
        for number in item.needs
        if number in relations
        and relations[number].schema == item.schema
        and f"{item.name} ".startswith(f"{relations[number].name} ")
    ]
    return max(named, key=lambda relation: len(relation.name)).number if named else None


class _Closure:
    """All that an object needs, at any depth, itself included.

    A partition's index or key can be made without that of the partitioned table, behind which
    pg_dump puts it: attaching the one to the other is an object of its own.
    """

    def __init__(self, objects: dict[int, SchemaObject]) -> None:
        self._objects = objects
        self._known: dict[int, frozenset[int]] = {}

    def of(self, number: int) -> frozenset[int]:
        """Numbers of objects in the script; others, such as extension members, are not followed."""
        if number not in self._known:
            found: set[int] = set()
            waiting = [number]
            while waiting:
                current = waiting.pop()
                if current in self._objects and current not in found:
                    found.add(current)
                    waiting.extend(self._needs(self._objects[current]))
            self._known[number] = frozenset(found)
        return self._known[number]

    def _needs(self, item: SchemaObject) -> Iterable[int]:
        if item.kind not in _KEYS:
            return item.needs
        return (
            need for need in item.needs if need not in self._objects or self._objects[need].kind not in _KEYS
        )
