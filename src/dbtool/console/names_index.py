"""The names of a database, arranged so that a prefix finds them at once.

Built once from `Names` in the background; a key stroke only bisects. Knows nothing of SQL.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from itertools import islice
from typing import Generic, TypeVar

from dbtool.console import sql_words
from dbtool.engines.session import Names, Relation

Item = TypeVar("Item")

_PLAIN_NAME = {
    "postgres": re.compile(r"[a-z_][a-z0-9_$]*\Z"),
    "mysql": re.compile(r"[A-Za-z_][A-Za-z0-9_$]*\Z"),  # whose names keep their case
}
_SYSTEM_SCHEMAS = ("information_schema", "mysql", "performance_schema", "sys")


class PrefixIndex(Generic[Item]):
    """Items found by the beginning of their name, or of a part of it behind a `_`."""

    def __init__(self, items: Iterable[tuple[str, Item]]) -> None:
        self._items: list[Item] = []
        entries: list[tuple[str, int, int]] = []
        for number, (name, item) in enumerate(items):
            self._items.append(item)
            lowered = name.lower()
            entries.append((lowered, 0, number))
            start = lowered.find("_", 1)
            while 0 <= start < len(lowered) - 1:
                entries.append((lowered[start + 1 :], 1, number))
                start = lowered.find("_", start + 1)
        entries.sort()
        self._entries = entries
        self._keys = [entry[0] for entry in entries]

    def find(self, prefix: str, limit: int = 100) -> list[Item]:
        """At most `limit` items: those whose name begins so first, in alphabetical order."""
        lowered = prefix.lower()
        if not lowered:
            whole = (entry for entry in self._entries if entry[1] == 0)
            return [self._items[number] for _, _, number in islice(whole, limit)]
        at_start: list[int] = []
        at_part: list[int] = []
        for position in range(bisect_left(self._keys, lowered), len(self._keys)):
            key, is_part, number = self._entries[position]
            if not key.startswith(lowered) or len(at_start) >= limit:
                break
            if not is_part:
                at_start.append(number)
            elif len(at_part) < limit:
                at_part.append(number)
        found = dict.fromkeys(at_start + at_part)
        return [self._items[number] for number in islice(found, limit)]


class NamesIndex:
    """All names of a database, for completion, and how its dialect writes them."""

    def __init__(self, names: Names, dialect: str = "postgres") -> None:
        self.names = names
        self.dialect = dialect
        self.visible_schemas = frozenset(relation.schema for relation in names.relations if relation.visible)
        self._by_name: dict[str, Relation] = {}
        self._by_schema: dict[str, dict[str, Relation]] = {}
        columns: dict[str, list[str]] = {}
        for relation in names.relations:
            schema, name = self._key(relation.schema), self._key(relation.name)
            self._by_schema.setdefault(schema, {})[name] = relation
            if relation.visible or name not in self._by_name:
                self._by_name[name] = relation
            for column, _ in relation.columns:
                tables = columns.setdefault(column, [])
                if len(tables) < 4:
                    tables.append(relation.name)
        own = (relation for relation in names.relations if not _is_system(relation))
        self._own_relations = PrefixIndex((relation.name, relation) for relation in own)
        system = (relation for relation in names.relations if _is_system(relation))
        self._system_relations = PrefixIndex((relation.name, relation) for relation in system)
        self._in_schema = {
            schema: PrefixIndex((relation.name, relation) for relation in relations.values())
            for schema, relations in self._by_schema.items()
        }
        self.schemas = PrefixIndex((schema, schema) for schema in names.schemas)
        self.columns = PrefixIndex(
            (column, (column, ", ".join(tables[:3]) + (", …" if len(tables) > 3 else "")))
            for column, tables in columns.items()
        )
        self.functions = PrefixIndex(
            (name, (schema, name)) for schema, name in dict.fromkeys(names.functions)
        )
        self.types = PrefixIndex((name, name) for name in names.types)
        self.databases = PrefixIndex((name, name) for name in names.databases)
        self.roles = PrefixIndex((name, name) for name in names.roles)

    def relations(self, prefix: str, limit: int) -> list[Relation]:
        """Relations by their name's beginning: those found without their schema first; the server's
        own come last, and only when something was typed."""
        found = self._own_relations.find(prefix, limit)
        found.sort(key=lambda relation: not relation.visible)
        if prefix and len(found) < limit:
            found += self._system_relations.find(prefix, limit - len(found))
        return found

    def relation(self, schema: str | None, name: str) -> Relation | None:
        """The relation of that name; without a schema, the visible one."""
        if schema is None:
            return self._by_name.get(self._key(name))
        return self._by_schema.get(self._key(schema), {}).get(self._key(name))

    def relations_of(self, schema: str) -> PrefixIndex[Relation]:
        """The relations of one schema; empty where there is no such schema."""
        return self._in_schema.get(self._key(schema)) or PrefixIndex(())

    def quoted(self, name: str) -> str:
        """A name as the dialect wants it: quoted only where it must be."""
        return quoted_name(name, self.dialect)

    def _key(self, name: str) -> str:
        """What a name is found by. MySQL's may be typed in any case: on some systems all is the same."""
        return name.lower() if self.dialect == "mysql" else name


def _is_system(relation: Relation) -> bool:
    return relation.schema in _SYSTEM_SCHEMAS or relation.schema.startswith("pg_")


def quoted_name(name: str, dialect: str = "postgres") -> str:
    """An identifier as SQL wants it: quoted only where it must be."""
    if _PLAIN_NAME[dialect].match(name) and name.lower() not in sql_words.of(dialect).reserved:
        return name
    mark = "`" if dialect == "mysql" else '"'
    return mark + name.replace(mark, mark * 2) + mark
