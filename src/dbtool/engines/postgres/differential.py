"""A PostgreSQL database as the source of a differential: what changed since the snapshot of a full backup."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dbtool.archive.reader import ArchiveReader
from dbtool.engines.base import Chunk, SourceOptions
from dbtool.engines.postgres import after, diff_script, introspect, schema
from dbtool.engines.postgres.changes import ChangeFinder, ReaderPool, TableChange, watermark_age
from dbtool.engines.postgres.diff_guide import differential_guide
from dbtool.engines.postgres.dump import RELATIONS, PostgresSource
from dbtool.engines.postgres.history import check_history, oldest_transaction
from dbtool.engines.postgres.messages import readable_errors
from dbtool.engines.postgres.plan import chunk_of, plan_ranges
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.engines.postgres.reinterpreted import reinterpreted_tables
from dbtool.engines.postgres.schema_diff import Item, SchemaChange, compare_schemas
from dbtool.engines.postgres.selection import partition_parents
from dbtool.engines.postgres.time_changes import TimeChangeFinder, TimeColumn
from dbtool.engines.postgres.time_columns import foreign_keys, time_columns, unique_indexes
from dbtool.engines.watermark import watermark_of
from dbtool.errors import NeedsFullError
from dbtool.failpoints import reach
from dbtool.model.archive import ArchiveIndex, Block, FrameKind, SchemaObject, Taken
from dbtool.model.connection import Connection
from dbtool.model.database import Table
from dbtool.progress import Progress

_SILENCED_KINDS = frozenset({"FK CONSTRAINT", "TRIGGER", "RULE"})
_FIRES_ALWAYS = re.compile(rb"\bENABLE (?:ALWAYS|REPLICA) (?:TRIGGER|RULE) ")
_LARGE_OBJECTS_SQL = """
SELECT ARRAY(SELECT oid::text FROM pg_largeobject_metadata),
       (SELECT count(*) FROM pg_description WHERE classoid = 'pg_largeobject'::regclass),
       EXISTS (SELECT FROM pg_largeobject_metadata WHERE {changed})
       OR EXISTS (SELECT FROM pg_largeobject WHERE {changed})
       OR EXISTS (SELECT FROM pg_description WHERE classoid = 'pg_largeobject'::regclass AND {changed})
       OR EXISTS (SELECT FROM pg_seclabel WHERE classoid = 'pg_largeobject'::regclass)
"""
_MAKES_UNIQUE = re.compile(rb"\ACREATE UNIQUE INDEX ")


class PostgresDifferential(PostgresSource):
    """See `engines.base.Source`: its chunks are of changed rows, its script turns the base into this snapshot."""

    def __init__(
        self, connection: Connection, options: SourceOptions, progress: Progress, base: ArchiveReader
    ) -> None:
        """Raises `NeedsFullError` with the reason where a differential cannot be had, `UsageError` for a
        column that holds no times."""
        self._base = base
        super().__init__(connection, options, progress)
        try:
            by_column = options.by_column
            self._times = time_columns(self._held.session, by_column.column, self.tables) if by_column else {}
            check_history(base.index.backup, self.server, self.database, self.snapshot)
            if self._times:
                watermark_of(base.index.backup["snapshot"], self.snapshot.time)
            # Rows are compared meanwhile.
            self._compared = self._pool.submit(self._compare_schemas)
            self._change, self._items = SchemaChange(), list[Item]()
            self._changes: list[TableChange] = []
            self._takes_large_objects = True
            self._aside: list[Item] = []
        except BaseException:
            self.close()
            raise

    @property
    def _watermark(self) -> int:
        return oldest_transaction(self._base.index.backup["snapshot"])

    # ---- schema --------------------------------------------------------------------------------

    def _compare_schemas(self) -> tuple[SchemaChange, list[Item]]:
        parts = self._schema.result()
        ours = {client["program"]: _major(client["version"]) for client in self.clients}
        theirs = {
            client["program"]: _major(client["version"]) for client in self._base.index.backup["clients"]
        }
        if ours != theirs:
            raise NeedsFullError(
                f"the base's schema was written by pg_dump {theirs.get('pg_dump')}, and now it is {ours.get('pg_dump')}"
            )
        items = [
            Item(part.kind, schema.schema_object(part, self._codec), part.text[part.definition_offset :])
            for part in parts
        ]
        base = [Item(*facts) for facts in self._base.schema()]
        return compare_schemas(base, items, self._codec, _acts_always), items

    def schema_objects(self) -> Sequence[tuple[FrameKind, SchemaObject]]:
        """The whole schema of this snapshot, for a restore that does not run the base's."""
        return tuple(
            (part.kind, replace(schema.aside(part, self._codec), drop="")) for part in self._schema.result()
        )

    def before_data(self) -> Iterator[Block]:
        """The header, what changed in the schema, and the keys of rows that go."""
        yield self._header()
        yield diff_script.opening(self._change.statements, self._aside, self._codec)
        yield from schema.schema_blocks(self._created(), FrameKind.BEFORE_DATA, self._codec)
        if self._takes_large_objects:
            yield diff_script.without_large_objects()
        referenced = diff_script.referenced_tables(self._held.control)
        for position, (table, change) in enumerate(zip(self.tables, self._changes, strict=True)):
            if change.taken is Taken.WHOLE and not self._is_new(table):
                is_referenced = table.identity in referenced
                yield diff_script.emptied(position, table, is_referenced, self._codec)
            elif change.removed_keys is not None:
                conditions = diff_script.key_conditions(self._held.control, table, self._codec)
                with change.removed_keys as keys:
                    yield from diff_script.removed_blocks(position, table, conditions, keys, self._codec)
        reach("removed-written")

    def _created(self) -> list[schema.SchemaPart]:
        """What is made, in order. A partition of a table that is there already is attached only when it has its
        indexes: else it would be given them once more."""
        parts = [part for part in self._schema.result() if part.entry.number in self._change.created]
        tables = {part.entry.number for part in self._schema.result() if part.entry.kind == "TABLE"}
        late = [
            replace(part, kind=FrameKind.AFTER_DATA)
            for part in parts
            if part.entry.kind == "TABLE ATTACH"
            and not tables & set(part.entry.needs) <= self._change.created
        ]
        numbers = {part.entry.number for part in late}
        parts = [part for part in parts if part.entry.number not in numbers]
        behind = [place for place, part in enumerate(parts, 1) if part.entry.kind in ("INDEX", "CONSTRAINT")]
        first = next(
            (n for n, part in enumerate(parts) if part.kind is not FrameKind.BEFORE_DATA), len(parts)
        )
        place = max([first, *behind])
        return [*parts[:place], *late, *parts[place:]]

    def _is_new(self, table: Table) -> bool:
        return table.identity in self._change.new_tables

    # ---- rows ----------------------------------------------------------------------------------

    def chunks(self) -> Sequence[Chunk]:
        """Of tables that come whole all rows, of others those that changed."""
        reach("schema-compared")
        with readable_errors("looking for changed rows"):
            ranges = plan_ranges(self._held.session, self.server, self.tables)
            finder = self._finder()
            with ReaderPool(self.open_reader, self.leftover_reader(), self._options.workers) as pool:
                self._changes = finder.find(pool, ranges, self._progress)
            self._change, self._items = self._compared.result()
            self._take_new_tables_whole()
            finder.join_routed(self._changes)
            if isinstance(finder, TimeChangeFinder):
                self.warnings += finder.warnings
            self._takes_large_objects = self._have_large_objects_changed(finder)
        self.facts["large_objects"] = "whole" if self._takes_large_objects else "unchanged"
        self._aside = self._silenced()
        chunks = []
        for change in self._changes:
            for part, changed in change.parts:
                if change.taken is Taken.WHOLE:
                    chunks.append(chunk_of(part, self.tables, self._codec))
                elif change.taken is Taken.ROWS and changed != 0:
                    wanted = (part.condition, finder.condition_of(part.table))
                    condition = " AND ".join(one for one in wanted if one)
                    share = (change.removed + 1) / (change.unchanged + change.removed + 1)
                    size = int(part.size_bytes * share)
                    limited = replace(part, condition=condition, size_bytes=size)
                    chunks.append(chunk_of(limited, self.tables, self._codec))
        chunks.sort(key=lambda chunk: -chunk.size_bytes)
        return self._without_last(chunks)

    def _finder(self) -> ChangeFinder:
        counterparts = self._counterparts()
        by_column = self._options.by_column
        if by_column is None:
            return ChangeFinder(self.tables, self._base, counterparts, self._watermark, self._codec)
        # What a table must not hold now is to be known first.
        self._change, self._items = self._compared.result()
        for position in self._made_anew() & counterparts.keys():
            del counterparts[position]
        base, session = self._base.index.backup["snapshot"], self._held.session
        watermark = watermark_of(base, self.snapshot.time)
        if not base["oldest_transaction_is_exact"]:
            self.warnings.append(
                "the base's account might not see since when others' transactions were open: what was stamped since "
                f"the server's start, {base['oldest_transaction_time']}, is taken. GRANT pg_read_all_stats TO it"
            )
        column = TimeColumn(
            name=by_column.column,
            kinds=self._times,
            watermark=watermark,
            only_changed=by_column.only_changed,
            oldest_open=self._watermark,
            newest_open=int(newest) if (newest := base["newest_open_transaction"]) else None,
            uniques=unique_indexes(session, self.tables),
            foreign_keys=foreign_keys(session, self.tables),
            stricter=self._stricter(),
        )
        return TimeChangeFinder(self.tables, self._base, counterparts, self._codec, column)

    def _stricter(self) -> frozenset[int]:
        """Tables, by position, with constraints that the base has not: rows of the base may break these."""
        made: set[int] = set()
        for item in self._items:
            if item.number in self._change.created and (
                item.entry.kind in ("CONSTRAINT", "CHECK CONSTRAINT", "FK CONSTRAINT")
                or (item.entry.kind == "INDEX" and _MAKES_UNIQUE.search(item.sql))
            ):
                made.update(item.entry.needs)
        numbers = {item.entry.identity: item.number for item in self._items if item.entry.kind == "TABLE"}
        parents = partition_parents(item.entry for item in self._items)
        found = set()
        for position, table in enumerate(self.tables):
            number = numbers.get(table.identity)
            while number is not None and number not in made:
                number = parents.get(number)
            if number is not None:
                found.add(position)
        return frozenset(found)

    def key_buckets(self, table: int) -> bytearray | None:  # noqa: ARG002
        """None: of a differential's keys nothing is kept."""
        return None

    def _counterparts(self) -> dict[int, int]:
        """By position, the base's table for each that is the same still. A table is its OID: one that was
        made anew, or swapped with another, comes whole."""
        base = {
            (table.schema, table.name): (number, table)
            for number, table in enumerate(self._base.index.tables)
        }
        reinterpreted = reinterpreted_tables(self._held.session, watermark_age(self._watermark))
        found = {}
        for position, table in enumerate(self.tables):
            number, before = base.get((table.schema, table.name), (0, None))
            if (
                before is not None
                and before.identity == table.identity
                and before.columns == tuple((column.name, column.type) for column in table.columns)
                and before.key == table.key
                and table.details["access_method"] == before.details["access_method"] == "heap"
                and table.details.get("loaded_through") == before.details.get("loaded_through")
                and not table.condition
                and table.identity not in reinterpreted
            ):
                found[position] = number
        return found

    def _take_new_tables_whole(self) -> None:
        for position in self._made_anew():
            self._changes[position].take_whole()

    def _made_anew(self) -> set[int]:
        """The script makes some tables anew, for the sake of a type, say; then all their rows are needed."""
        made_extensions = any(
            item.entry.kind == "EXTENSION" and item.number in self._change.created for item in self._items
        )
        made = {
            (item.entry.schema, item.entry.name)
            for item in self._items
            if item.entry.kind == "TABLE" and item.number in self._change.created
        }
        for table in self.tables:
            root = table.details.get("loaded_through")
            if root and self._is_new(table) and tuple(root) not in made:
                # It is attached behind the rows, and they would not find it.
                raise NeedsFullError(
                    f"{table.schema}.{table.name}, a part of {root[1]} by the hash of an enum, was redefined"
                )
        return {
            position
            for position, table in enumerate(self.tables)
            if self._is_new(table) or (made_extensions and table.details["is_configuration"])
        }

    def _silenced(self) -> list[Item]:
        """Kept keys, rules and triggers of the tables that the script touches."""
        numbers = {item.entry.identity: item.number for item in self._items if item.entry.kind == "TABLE"}
        parents = partition_parents(item.entry for item in self._items)
        touched: set[int] = set()
        for table, change in zip(self.tables, self._changes, strict=True):
            number = numbers.get(table.identity)
            if change.taken in (Taken.ROWS, Taken.WHOLE):
                while number is not None and number not in touched:
                    touched.add(number)
                    number = parents.get(number)
        return [
            item
            for item in self._items
            if item.entry.kind in _SILENCED_KINDS
            and item.number not in self._change.created
            and touched & set(item.entry.needs)
        ]

    def _have_large_objects_changed(self, finder: ChangeFinder) -> bool:
        """Whether any was made, changed or removed; if the account may not look, they may have been."""
        import psycopg

        items = [
            item
            for frame in self._base.index.frames
            if frame.kind is FrameKind.LARGE_OBJECTS
            for item in frame.objects
        ]
        before = {item.name for item in items if item.kind == "BLOB"}
        comments = sum(item.kind == "COMMENT" for item in items)
        session = self._held.session
        session.execute("SAVEPOINT dbtool_look")
        try:
            row = session.execute(_LARGE_OBJECTS_SQL.format(changed=finder.changed).encode()).fetchone()
        except psycopg.errors.InsufficientPrivilege:
            session.execute("ROLLBACK TO SAVEPOINT dbtool_look")
            row = None
        if row is None:
            some = session.execute("SELECT EXISTS (SELECT FROM pg_largeobject_metadata)").fetchone()
            return bool(before) or bool(some and some[0])
        names, found_comments, changed = row
        return bool(changed) or (set(names), found_comments) != (before, comments)

    # ---- behind the rows -----------------------------------------------------------------------

    def _after_data(self) -> Iterator[Block]:
        self._held.check()
        parts = self._schema.result()
        chosen = {part.entry.oid: part.entry.number for part in parts if part.entry.class_oid == RELATIONS}
        sequences = introspect.sequences(self._held.control, quote_identifier)
        blocks = list(after.sequence_blocks(sequences, self._codec, self._numbers))
        acting = Block(kind=FrameKind.SEQUENCES, text=diff_script.closing_of_rows(self._aside))
        yield from [*blocks, acting]
        if self._takes_large_objects:
            yield from after.large_object_blocks(self._held.session, self._codec, self._numbers)
        yield from schema.schema_blocks(self._created(), FrameKind.AFTER_DATA, self._codec)
        views = introspect.materialized_views(self._held.session)
        yield from self._emptied_views({(view.schema, view.name) for view in views})
        yield from after.refresh_blocks(views, chosen, self._codec, self._numbers)
        reset = diff_script.database_reset(self._base.index.backup["database"], self.database, self._codec)
        if reset is not None:
            yield reset
        yield from after.database_blocks(self.database, self._codec, self._numbers)
        yield from schema.schema_blocks(self._created(), FrameKind.LAST, self._codec)
        yield diff_script.footer(self._key)
        self._held.check()

    def _emptied_views(self, filled: set[tuple[str, str]]) -> Iterator[Block]:
        """Views that the base fills and that are empty now. dbtool's own restore does not fill them."""
        kept = {
            (item.entry.schema, item.entry.name)
            for item in self._items
            if item.entry.kind == "MATERIALIZED VIEW" and item.number not in self._change.created
        }
        before = [
            (item.schema, item.name)
            for frame in self._base.index.frames
            if frame.kind is FrameKind.REFRESH
            for item in frame.objects
        ]
        names = [name for name in before if name in kept and name not in filled]
        if names:
            yield diff_script.emptied_views(names, self._codec)

    def table_details(self, table: int, rows: int) -> dict[str, Any]:
        """What the differential says of a table; `rows` are those that it holds itself."""
        change = self._changes[table]
        return {
            "differential": {
                "taken": change.taken.value,
                "rows": rows if change.taken is Taken.WHOLE else change.unchanged + rows,
                "removed": 0 if change.taken is Taken.WHOLE else change.removed,
                "base": change.base,
            }
        }

    def restore_guide(self, main_name: str, index: ArchiveIndex, has_globals: bool) -> str:  # noqa: ARG002
        """How to restore the base and then this with zstd and psql."""
        return differential_guide(main_name, index.backup, self._base.name, deletes_covered=not self._times)


def _acts_always(item: Item) -> bool:
    """Whether it must be out of the way meanwhile: triggers and rules that fire whatever the session says; event
    triggers, for the script has DDL of its own; publications, which forbid DELETE where a table has no
    replica identity."""
    if item.entry.kind in ("EVENT TRIGGER", "PUBLICATION"):
        return True
    return item.entry.kind in ("TRIGGER", "RULE") and _FIRES_ALWAYS.search(item.sql) is not None


def _major(version: str) -> str:
    return version.split(".")[0]
