"""The schema of a database as the parts of a script, in the order in which they can be made again.

Tables come first, without the indexes and foreign keys that rows can do without; then, behind the
rows, those, routines, views, triggers, and last the events, which are let run when all is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.lexical import Kind, tokens
from dbtool.engines.mysql import code, schema
from dbtool.engines.mysql.after import Part, own_numbers
from dbtool.engines.mysql.code import CodeObject
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.introspect import ColumnFacts, Listing, Relation
from dbtool.engines.mysql.queries import rows_of, stored_text
from dbtool.engines.mysql.quoting import quote_identifier, quote_literal
from dbtool.engines.mysql.selection import left_out_note
from dbtool.engines.mysql.server_faults import (
    ForeignKeyNames,
    foreign_keys_with_back_ticks,
    with_quoted_names,
)
from dbtool.errors import RefusedError
from dbtool.model.archive import FrameKind, SchemaObject

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

_FIRST_IDENTITY = 1 << 61  # of tables without rows, which no other has
#: ALTER TABLE of a table with history is refused, unless this says that it may.
MAY_ALTER = "SET SESSION system_versioning_alter_history = 'KEEP';\n"
_SEQUENCE_COLUMNS = (
    "next_not_cached_value, minimum_value, maximum_value, start_value, increment, cache_size, "
    "cycle_option, cycle_count"
)


class Objects:
    """Gathers the parts. What is left out of the script is in `omitted`, and why in `warnings`."""

    def __init__(
        self,
        session: Session,
        database: dict[str, Any],
        flavour: Flavour,
        listing: Listing,
        warnings: list[str],
    ) -> None:
        self._session = session
        self._database = database
        self._flavour = flavour
        self._listing = listing
        self._warnings = warnings
        self._number = own_numbers()
        self.parts: list[Part] = []
        self.omitted: list[SchemaObject] = []
        self._faulty: Mapping[str, Sequence[ForeignKeyNames]] = {}
        self._tables: dict[str, int] = {}
        self._sequences: dict[str, int] = {}
        self._indexes: dict[str, tuple[int, ...]] = {}

    def _add(
        self,
        kind: str,
        name: str,
        text: str,
        frame: FrameKind = FrameKind.AFTER_DATA,
        needs: Iterable[int] = (),
        identity: int = 0,
        owner: str = "",
    ) -> int:
        number = self._number()
        item = SchemaObject(
            number, kind, "", name, owner=owner, identity=identity, needs=tuple(dict.fromkeys(needs))
        )
        self.parts.append(Part(item, text, frame))
        return number

    def _leave_out(self, kind: str, name: str, sql: str, reason: str, needs: Iterable[int] = ()) -> None:
        item = SchemaObject(self._number(), kind, "", name, needs=tuple(needs), sql=sql)
        self.omitted.append(item)
        self._warnings.append(reason or left_out_note(item))

    # ---- tables --------------------------------------------------------------------------------

    def add_properties(self) -> None:
        """What the database itself is set to. Said first, for what is made in it takes it over."""
        database = self._database
        text = f"ALTER DATABASE CHARACTER SET {database['encoding']} COLLATE {database['collation']}"
        if database["comment"]:
            text += f" COMMENT {quote_literal(database['comment'])}"
        self._add("DATABASE PROPERTIES", database["name"], f"{text};\n", FrameKind.BEFORE_DATA)

    def add_sequences(self) -> None:
        """MariaDB's sequences: tables may have their next value for a default."""
        for relation in self._listing.relations:
            if relation.kind == "SEQUENCE":
                with stored_text(self._session):
                    ((_, text, *_),) = self._shown("SEQUENCE", relation.name)
                kind = FrameKind.BEFORE_DATA
                self._sequences[relation.name] = self._add("SEQUENCE", relation.name, f"{text};\n", kind)

    def definitions(self, names: Iterable[str] | None) -> dict[str, schema.Definition]:
        """Every table's definition taken apart; of all tables, or of those that are named."""
        wanted = None if names is None else frozenset(names)
        self._faulty = (
            foreign_keys_with_back_ticks(self._session, self._database["name"])
            if self._flavour.is_mariadb
            else {}
        )
        with stored_text(self._session):
            return {
                relation.name: self._definition(relation, self._faulty.get(relation.name, ()))
                for relation in self._listing.relations
                if relation.is_table and (wanted is None or relation.name in wanted)
            }

    def with_all_keys(self, name: str) -> str:
        """The statement that makes a table with all its keys, but without foreign keys."""
        relation = next(one for one in self._listing.relations if one.name == name)
        with stored_text(self._session):
            return f"{self._definition(relation, self._faulty.get(name, ()), keeps_keys=True).create};\n"

    def _definition(
        self, relation: Relation, faulty: Sequence[ForeignKeyNames], keeps_keys: bool = False
    ) -> schema.Definition:
        ((_, text, *_),) = self._shown("TABLE", relation.name)
        text = with_quoted_names(text, faulty)
        columns = self._listing.columns.get(relation.name, [])
        names = schema.Names(
            self._database["name"],
            {column.name: column.collation for column in columns},
            relation.collation,
            self._flavour.is_mariadb,
        )
        # Only there is it faster to make indexes of all rows at once; a table with history may not be altered.
        keeps_keys = keeps_keys or relation.engine.lower() != "innodb" or relation.kind == "SYSTEM VERSIONED"
        return schema.take_apart(text, names, keeps_keys)

    def _shown(self, kind: str, name: str) -> list[tuple[str, ...]]:
        """The rows of SHOW CREATE; inside of `stored_text`."""
        found = rows_of(self._session, f"SHOW CREATE {kind} {quote_identifier(name)}")
        return [
            tuple(
                value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
                for value in row
            )
            for row in found
        ]

    def add_tables(
        self, definitions: Mapping[str, schema.Definition], identities: Mapping[str, int], is_partial: bool
    ) -> None:
        """Tables, their indexes and foreign keys."""
        for number, (name, definition) in enumerate(definitions.items()):
            sequences = self._sequences_in(definition.create)
            self._tables[name] = self._add(
                "TABLE",
                name,
                f"{definition.create};\n",
                FrameKind.BEFORE_DATA,
                needs=[self._sequences[sequence] for sequence in sequences],
                identity=identities.get(name, _FIRST_IDENTITY + number),
            )
        for name, definition in definitions.items():
            groups = [list(definition.indexes)] if definition.indexes else []
            groups += [[text] for text in definition.indexes_apart]
            self._indexes[name] = tuple(
                self._add("INDEX", name, schema.index_statement(name, group), needs=(self._tables[name],))
                for group in groups
            )
        versioned = {item.name for item in self._listing.relations if item.kind == "SYSTEM VERSIONED"}
        for name, definition in definitions.items():
            for key in definition.foreign_keys:
                text = schema.foreign_key_statement(name, key)
                text = MAY_ALTER + text if name in versioned else text
                if is_partial and key.parent is not None and key.parent not in self._tables:
                    self._leave_out("FK CONSTRAINT", f"{name} {key.name}", text, "", (self._tables[name],))
                    continue
                needs = [self._tables[name]]
                needs += [self._tables[key.parent]] if key.parent in self._tables else []
                needs += [*self._indexes[name], *self._indexes.get(key.parent or "", ())]
                self._add("FK CONSTRAINT", f"{name} {key.name}", text, needs=needs)

    def _sequences_in(self, text: str) -> list[str]:
        if not self._sequences or "nextval(" not in text.lower():
            return []
        found = {schema.name_of(token) for token in tokens(text, "mysql") if token.kind is Kind.QUOTED}
        return [name for name in self._sequences if name in found]

    def drop_unused_sequences(self) -> None:
        """A partial backup takes only the sequences that its tables cannot do without."""
        used = {need for part in self.parts if part.item.kind == "TABLE" for need in part.item.needs}
        self.parts = [part for part in self.parts if part.item.kind != "SEQUENCE" or part.item.number in used]
        self._sequences = {name: number for name, number in self._sequences.items() if number in used}

    def sequence_values(self, session: Session) -> Iterator[Part]:
        """Where each sequence stands: the row that it is."""
        for name, number in self._sequences.items():
            quoted = f"{quote_identifier(self._database['name'])}.{quote_identifier(name)}"
            (row,) = rows_of(session, f"SELECT {_SEQUENCE_COLUMNS} FROM {quoted}")  # noqa: S608
            values = ", ".join(str(int(value)) for value in row)
            item = SchemaObject(self._number(), "SEQUENCE SET", "", name, needs=(number,))
            text = f"INSERT INTO {quote_identifier(name)} ({_SEQUENCE_COLUMNS}) VALUES ({values});\n"  # noqa: S608
            yield Part(item, text, FrameKind.SEQUENCES)

    # ---- code ----------------------------------------------------------------------------------

    def add_code(self) -> None:
        """Routines, views, triggers and events, all of them."""
        database = self._database["name"]
        found = code.routines(self._session, database, self._flavour)
        views = code.views(self._session, database, self._listing.relations)
        self._add_routines(found)
        functions = {
            part.item.name: part.item.number
            for part in self.parts
            if part.item.kind in ("FUNCTION", "PACKAGE BODY")
        }
        self._add_views(views, functions)
        self.add_triggers(code.triggers(self._session, database))
        self._add_events(code.events(self._session, database))

    def _sql(self, item: CodeObject, statement: str | None = None) -> str:
        if "\r" in item.text:
            self._note_once("routines with carriage returns need a client that is run with --binary-mode")
        return item.sql(self._database["collation"], statement)

    def _note_once(self, note: str) -> None:
        if note not in self._warnings:
            self._warnings.append(note)

    def _add_routines(self, found: Sequence[CodeObject]) -> None:
        packages: dict[str, int] = {}
        for item in found:
            needs = [packages[item.name]] if item.kind == "PACKAGE BODY" and item.name in packages else []
            number = self._add(item.kind, item.name, self._sql(item), needs=needs)
            if item.kind == "PACKAGE":
                packages[item.name] = number

    def add_triggers(self, found: Sequence[CodeObject]) -> None:
        """Triggers of the tables that are there, each behind the one before it of its table."""
        before: dict[str, int] = {}
        for item in found:
            table = str(item.table)
            if table not in self._tables:
                continue
            needs = [self._tables[table]] + ([before[table]] if table in before else [])
            before[table] = self._add("TRIGGER", item.name, self._sql(item), needs=needs)

    def _add_events(self, found: Sequence[CodeObject]) -> None:
        """All are made disabled; those that ran are enabled when the last is made."""
        waiting: list[tuple[CodeObject, str, int]] = []
        for item in found:
            text, enable = code.disabled_event(item.text)
            number = self._add("EVENT", item.name, self._sql(item, text), FrameKind.LAST)
            if enable:
                waiting.append((item, enable, number))
        for item, enable, number in waiting:
            self._add("EVENT ENABLE", item.name, self._sql(item, enable), FrameKind.LAST, needs=(number,))

    # ---- views ---------------------------------------------------------------------------------

    def _add_views(self, found: Sequence[CodeObject], functions: Mapping[str, int]) -> None:
        """Each view behind those that it reads.

        A view on another whose definer is missing cannot be made, though it can be there. So before
        such views come tables that stand in for them, and they themselves come last, from the top down.
        """
        for view in found:
            if view.is_broken:
                self._leave_out(
                    "VIEW",
                    view.name,
                    view.sql(self._database["collation"]),
                    f"view {view.name} is broken on the server, and left out: what it reads is gone, or not allowed",
                )
        sound = {view.name: view for view in found if not view.is_broken}
        read = {name for view in sound.values() for name in view.reads if name != view.name}
        stood_in = [view for view in sound.values() if view.lacks_definer and view.name in read]
        stand_ins = {
            view.name: self._add("VIEW STAND-IN", view.name, self._stand_in(view.name)) for view in stood_in
        }
        made: dict[str, int] = {}
        for view in _lowest_first([view for view in sound.values() if view.name not in stand_ins]):
            made[view.name] = self._add_view(view, made | stand_ins, functions, ())
        for view in reversed(_lowest_first(stood_in)):
            above = [
                made[item.name] for item in sound.values() if view.name in item.reads and item.name in made
            ]
            needs = [stand_ins[view.name], *above]
            made[view.name] = self._add_view(view, stand_ins | made, functions, needs)

    def _add_view(
        self,
        view: CodeObject,
        below: Mapping[str, int],
        functions: Mapping[str, int],
        needs: Sequence[int],
    ) -> int:
        text = self._sql(view)
        if needs:
            text = f"DROP TABLE IF EXISTS {quote_identifier(view.name)};\n{text}"
        own = [number for name, number in below.items() if name in view.reads and name != view.name]
        own += [number for name, number in self._tables.items() if name in view.reads]
        own += [number for name, number in self._sequences.items() if name in view.reads]
        own += [number for name, number in functions.items() if name in view.calls]
        return self._add("VIEW", view.name, text, needs=[*needs, *own])

    def _stand_in(self, name: str) -> str:
        """A table with a view's columns."""
        columns = ",\n  ".join(_stand_in_column(column) for column in self._listing.columns.get(name, []))
        if not columns:
            raise RefusedError(
                f"the account may not see the columns of view {name}",
                "dbtool doctor shows what the account lacks, and the GRANT that mends it",
            )
        return f"CREATE TABLE {quote_identifier(name)} (\n  {columns}\n);\n"


def _stand_in_column(column: ColumnFacts) -> str:
    text = f"{quote_identifier(column.name)} {column.type}"
    if column.charset and column.collation:
        text += f" CHARACTER SET {column.charset} COLLATE {column.collation}"
    return text


def _lowest_first(found: Sequence[CodeObject]) -> list[CodeObject]:
    """Views in an order in which each comes behind those that it reads."""
    rest = {view.name: view for view in found}
    ordered: list[CodeObject] = []
    while rest:
        ready = [view for view in rest.values() if not (view.reads - {view.name}) & rest.keys()]
        for view in ready or list(rest.values())[:1]:  # an alias may look like a circle
            ordered.append(view)
            del rest[view.name]
    return ordered
