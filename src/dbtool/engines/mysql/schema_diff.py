"""What turns the schema of a full backup into that of a later snapshot, object by object.

Objects are compared by the statements that make them, as a backup writes them. What changed is dropped and
made again, and a table with all that belongs to it. Every statement can be run again on its own outcome.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from dbtool.engines.lexical import Kind, tokens
from dbtool.engines.mysql.after import SCHEMA_SETTINGS, Part
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.engines.mysql.restore_plan import FOREIGN_KEY, referenced_table

_TABLE, _INDEX, _SEQUENCE, _TRIGGER = "TABLE", "INDEX", "SEQUENCE", "TRIGGER"
_VIEWS = ("VIEW STAND-IN", "VIEW")
_EVENTS = ("EVENT", "EVENT ENABLE")
_PACKAGES = ("PACKAGE", "PACKAGE BODY")
_ROUTINES = ("FUNCTION", "PROCEDURE", *_PACKAGES, "LIBRARY")
_PROPERTIES = "DATABASE PROPERTIES"
_COMMENT = " COMMENT "


@dataclass
class SchemaScript:
    """What the script of a differential does to the schema.

    `drops` come first. `created` are made in the order of a full's script, tables before the rows; `emptied`
    are names of tables that lose all rows before theirs come; `counters` says where tables go on counting.
    """

    drops: list[str] = field(default_factory=list)
    created: list[Part] = field(default_factory=list)
    emptied: list[str] = field(default_factory=list)
    counters: list[tuple[str, int]] = field(default_factory=list)


class SchemaDiff:
    """A base's schema beside the new one, both in their scripts' order.

    `same_tables` are the names of those that are defined as they were, but for where they go on counting.
    """

    def __init__(self, base: Sequence[Part], new: Sequence[Part]) -> None:
        self._base = base
        self._new = new
        before, now = _definitions(base), _definitions(new)
        self._counters = {name: definition.counter for name, definition in now.items()}
        self._counters_before = {name: definition.counter for name, definition in before.items()}
        self.same_tables = frozenset(
            name
            for name, definition in now.items()
            if name in before and definition.text == before[name].text
        )
        self._triggers_before, self._triggers = _triggers(base), _triggers(new)
        keys = [part for part in (*base, *new) if part.item.kind == FOREIGN_KEY]
        self._referenced = {referenced_table(part.text) for part in keys}

    def script(
        self,
        changed_rows: Collection[str],
        whole: Collection[str],
        cannot_be_emptied: Collection[str],
        with_all_keys: Callable[[str], str],
    ) -> SchemaScript:
        """`changed_rows` are names of tables of which rows go or come, `whole` of those that come whole.
        `with_all_keys` gives the statement that makes a table with all its keys."""
        made = {name for name in self._counters if name not in self.same_tables}
        made |= {name for name in whole if name in cannot_be_emptied}
        script = SchemaScript(emptied=[name for name in whole if name not in made])
        touched = made.union(changed_rows, whole)
        created = self._created_tables(made, with_all_keys)
        created |= self._created_code()
        created |= self._created_triggers(touched)
        if (
            created
            or self._gone()
            or touched
            or self._texts(self._base, _EVENTS) != self._texts(self._new, _EVENTS)
        ):
            created |= {part.item.number: part for part in self._new if part.item.kind in _EVENTS}
        script.created = [created[part.item.number] for part in self._new if part.item.number in created]
        script.drops = self._drops(script.created, touched)
        for name in sorted(self.same_tables - made):
            now = self._counters[name]
            moved = name in changed_rows or name in whole or now != self._counters_before[name]
            if moved and (now is not None or self._counters_before[name] is not None):
                script.counters.append((name, now or 1))
        return script

    # ---- what is made --------------------------------------------------------------------------

    def _created_tables(self, made: Collection[str], with_all_keys: Callable[[str], str]) -> dict[int, Part]:
        found = {}
        owners = _owners(self._new)
        for part in self._new:
            item = part.item
            if item.kind == _TABLE and item.name in made:
                text = with_all_keys(item.name) if item.name in self._referenced else part.text
                found[item.number] = replace(part, text=text)
            is_in_it = item.kind == _INDEX and owners[item.number] in self._referenced
            if item.kind in (_INDEX, FOREIGN_KEY) and owners[item.number] in made and not is_in_it:
                found[item.number] = part
        return found

    def _created_code(self) -> dict[int, Part]:
        """Sequences, routines and views that are new or changed, and the properties of the database."""
        before = {(part.item.kind, part.item.name): part.text for part in self._base}
        found = {}
        packages: set[str] = set()
        for part in self._new:
            kind, name = part.item.kind, part.item.name
            if kind in (_SEQUENCE, _PROPERTIES, *_ROUTINES) and before.get((kind, name)) != part.text:
                found[part.item.number] = _without_comment(part, before.get((kind, name), ""))
                packages |= {name} if kind in _PACKAGES else set()
        for part in self._new:
            is_of_package = part.item.kind in _PACKAGES and part.item.name in packages
            if is_of_package or (part.item.kind in _VIEWS and self._have_views_changed):
                found[part.item.number] = part
        return found

    @property
    def _have_views_changed(self) -> bool:
        """Each may stand on others: they are made again together."""
        return self._texts(self._base, _VIEWS) != self._texts(self._new, _VIEWS)

    def _created_triggers(self, touched: Collection[str]) -> dict[int, Part]:
        """All of a table, for the order in which they were made is that in which they fire."""
        found = {}
        for table, parts in self._triggers.items():
            before = [part.text for part in self._triggers_before.get(table, ())]
            if table in touched or before != [part.text for part in parts]:
                found.update({part.item.number: part for part in parts})
        return found

    @staticmethod
    def _texts(parts: Iterable[Part], kinds: Collection[str]) -> list[str]:
        return [part.text for part in parts if part.item.kind in kinds]

    # ---- what goes -----------------------------------------------------------------------------

    def _gone(self) -> list[Part]:
        there = {(part.item.kind, part.item.name) for part in self._new}
        return [part for part in self._base if (part.item.kind, part.item.name) not in there]

    def _drops(self, created: Sequence[Part], touched: Collection[str]) -> list[str]:
        """What fires goes first, what others stand on last."""
        going: dict[str, dict[str, None]] = defaultdict(dict)
        for part in (*self._gone(), *created):
            going[part.item.kind][part.item.name] = None
        for table, parts in self._triggers_before.items():
            remade = [part.item.name for part in self._triggers.get(table, ())]
            if table in touched or any(name in going[_TRIGGER] for name in remade):
                going[_TRIGGER].update({part.item.name: None for part in parts})
        if going["EVENT"] or going["EVENT ENABLE"]:
            going["EVENT"].update({part.item.name: None for part in self._base if part.item.kind == "EVENT"})
        if self._have_views_changed:
            going["VIEW"].update({part.item.name: None for part in self._base if part.item.kind == "VIEW"})
        drops = [_drop("EVENT", name) for name in going["EVENT"]]
        drops += [_drop(_TRIGGER, name) for name in going[_TRIGGER]]
        drops += [_drop("VIEW", name) for name in going["VIEW"]]
        # A stand-in is a table with a view's name, which a run that was broken off may have left.
        drops += [_drop(_TABLE, name) for name in (*going["VIEW STAND-IN"], *going[_TABLE])]
        drops += [_drop(_SEQUENCE, name) for name in going[_SEQUENCE]]
        for kind in reversed(_ROUTINES):
            drops += [_drop(kind, name) for name in going[kind]]
        return drops


def _without_comment(part: Part, before: str) -> Part:
    """The properties of a database that had a comment and has none say so."""
    if part.item.kind != _PROPERTIES or _COMMENT not in before or _COMMENT in part.text:
        return part
    return replace(part, text=part.text.removesuffix(";\n") + f"{_COMMENT}'';\n")


def _drop(kind: str, name: str) -> str:
    text = f"DROP {kind} IF EXISTS {quote_identifier(name)};\n"
    if kind in _PACKAGES:  # older servers know the word in this mode only
        return f"SET SESSION sql_mode = 'ORACLE';\n{text}{SCHEMA_SETTINGS}"
    return text


# ---- tables ----------------------------------------------------------------------------------------


@dataclass
class _Definition:
    """All that makes a table, in order; and the number that it counts on from, if it counts."""

    text: str = ""
    counter: int | None = None


def _definitions(parts: Sequence[Part]) -> dict[str, _Definition]:
    """By the tables' names."""
    found: dict[str, _Definition] = {}
    owners = _owners(parts)
    for part in parts:
        name = owners.get(part.item.number)
        if name is None or part.item.kind == _TRIGGER:
            continue
        definition = found.setdefault(name, _Definition())
        text = part.text
        if part.item.kind == _TABLE:
            text, definition.counter = without_counter(text)
        definition.text += text
    return found


def _owners(parts: Iterable[Part]) -> dict[int, str]:
    """The name of the table that each table, index, foreign key and trigger belongs to, by their numbers."""
    tables = {part.item.number: part.item.name for part in parts if part.item.kind == _TABLE}
    owners = dict(tables)
    for part in parts:
        if part.item.kind in (_INDEX, FOREIGN_KEY, _TRIGGER) and part.item.needs:
            owners[part.item.number] = tables[part.item.needs[0]]
    return owners


def _triggers(parts: Sequence[Part]) -> dict[str, list[Part]]:
    owners = _owners(parts)
    found: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        if part.item.kind == _TRIGGER:
            found[owners[part.item.number]].append(part)
    return found


def without_counter(text: str) -> tuple[str, int | None]:
    """A table's definition as it is compared: without the number that it counts on from; and that number, if
    there is one.

    MySQL remembers for each column whether a statement once said its character set beside its collation. That
    makes no difference, so it is left out as well.
    """
    if "AUTO_INCREMENT=" not in text and "CHARACTER SET" not in text:
        return text, None
    cuts: list[tuple[int, int]] = []
    counter: int | None = None
    depth = 0
    found = list(tokens(text, "mysql"))
    for place, token in enumerate(found[:-2]):
        if token.kind is Kind.SYMBOL:
            depth += {"(": 1, ")": -1}.get(token.text, 0)
        following = found[place + 2]
        if depth == 0 and token.word == "AUTO_INCREMENT" and following.text.isdigit():
            cuts.append((token.start, following.start + len(following.text)))
            counter = int(following.text)
        words = tuple(one.word for one in found[place : place + 4])
        if words[:2] == ("CHARACTER", "SET") and words[3:] == ("COLLATE",):
            cuts.append((token.start, following.start + len(following.text)))
    for start, end in reversed(cuts):
        text = text[:start] + text[end:].lstrip(" ")
    return text, counter
