"""A MySQL or MariaDB database as the source of a logical backup: one snapshot, its schema, its chunks."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from dbtool.engines.base import Chunk, Reader, SourceOptions
from dbtool.engines.buckets import bucket_bytes
from dbtool.engines.mysql import after, code, history, introspect, rights, server_state
from dbtool.engines.mysql.connect import connect, dump_session_settings
from dbtool.engines.mysql.counting import RowCounts, to_be_counted
from dbtool.engines.mysql.globals import read_globals
from dbtool.engines.mysql.guide import restore_guide
from dbtool.engines.mysql.messages import readable_errors, text_of
from dbtool.engines.mysql.objects import Objects
from dbtool.engines.mysql.plan import Planned, plan_chunks
from dbtool.engines.mysql.queries import value_of
from dbtool.engines.mysql.reader import MysqlReader
from dbtool.engines.mysql.selection import choose_tables
from dbtool.engines.mysql.snapshot import HeldSnapshot, Wanted
from dbtool.engines.mysql.table_facts import TableFacts, tables
from dbtool.engines.mysql.wellformed import Finding
from dbtool.errors import BusyError, RefusedError
from dbtool.failpoints import reach
from dbtool.model.archive import ArchiveIndex, Block, FrameKind, SchemaObject
from dbtool.model.connection import Connection
from dbtool.model.database import Table
from dbtool.progress import Progress

_LOOKS = 5


class MysqlSource:
    """See `engines.base.Source`. With `held` it reads from a snapshot that others use as well."""

    def __init__(
        self,
        connection: Connection,
        options: SourceOptions,
        progress: Progress,
        held: HeldSnapshot | None = None,
    ) -> None:
        self._connection = connection
        self._options = options
        self._progress = progress
        self.warnings: list[str] = []
        self.clients: list[dict[str, Any]] = []
        self._buckets: dict[int, bytearray] = {}
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # of readers that share the one connection
        self._planned: dict[bytes, Planned] = {}
        self._unread: dict[int, int] = {}  # chunks of a table that are still to be read
        self._rows: dict[int, int] = {}
        self._locked: frozenset[int] = frozenset()  # tables that know no snapshots
        self._counts: RowCounts | None = None
        self._largest_statement = 0
        self._globals: Future[bytes | None] | None = None
        self._globals_note = ""
        self._owns = held is None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="dbtool-globals")
        patterns, name = options.table_patterns, connection.database
        wanted = Wanted(
            (name,),
            (lambda found: choose_tables(patterns, found, name)) if patterns else None,
            name if patterns else None,
        )
        try:
            self._held = held or HeldSnapshot(
                connection, wanted, options.workers, options.lock_timeout_seconds
            )
            self._look(patterns)
        except BaseException:
            self.close()
            raise

    # ---- looking -------------------------------------------------------------------------------

    def _look(self, patterns: tuple[str, ...]) -> None:
        """Read all definitions, while nobody can change those of tables."""
        held, name = self._held, self._connection.database
        self.server = held.server
        self.snapshot = held.snapshot
        session, flavour = held.session, held.flavour
        self.database = introspect.database_facts(session, name, flavour)
        session.select_db(name)
        account = rights.rights_of(session, flavour)
        user = str(value_of(session, "SELECT CURRENT_USER()"))
        rights.require_all(account, name, user, held.chosen[name] if patterns else None)
        listing = introspect.listing(session, name, held.relations[name], held.identities[name])
        chosen = held.chosen[name] if patterns else None
        if not held.is_shared and self._options.workers > 1:
            self.warnings.append(
                "all is read on one connection: the account may take no lock under which several could begin"
            )
        self._history = server_state.history_length(session, flavour)
        if warning := server_state.temporary_tables_warning(session):
            self.warnings.append(warning)
        before = code.fingerprint(session, name)
        for _ in range(_LOOKS):
            warnings = list(self.warnings)
            self._objects = Objects(session, self.database, flavour, listing, warnings)
            self._facts = self._read_schema(listing, chosen, warnings)
            seen, before = before, code.fingerprint(session, name)
            if seen == before:
                break
        else:
            raise BusyError("routines, triggers or events were changed all the time", "try again later")
        self.warnings[:] = warnings
        self.tables: Sequence[Table] = [facts.table for facts in self._facts]
        self.database["size_bytes"] = sum(table.size_bytes for table in self.tables)
        self.omitted: list[SchemaObject] = self._objects.omitted
        self.facts: dict[str, Any] = {}
        if self._owns:
            held.release_definitions()

    def _read_schema(
        self, listing: introspect.Listing, chosen: frozenset[str] | None, warnings: list[str]
    ) -> list[TableFacts]:
        held, name = self._held, self._connection.database
        objects = self._objects
        if chosen is None:
            objects.add_properties()
        objects.add_sequences()
        definitions = objects.definitions(chosen)
        orders = {table: definition.keys for table, definition in definitions.items()}
        facts = tables(name, listing, orders, held.flavour, warnings)
        facts = [item for item in facts if item.table.name in definitions]
        self._end_of_time = history.end_of_time(held.session, held.flavour)
        for item in facts:
            if item.table.details.get("from_suffix") == history.HISTORY_SUFFIX:
                item.table.details["end_of_time"] = self._end_of_time
        identities = {item.table.name: item.table.identity for item in facts}
        objects.add_tables(definitions, identities, chosen is not None)
        if chosen is None:
            objects.add_code()
        else:
            objects.drop_unused_sequences()
            objects.add_triggers(code.triggers(held.session, name))
        return facts

    def _users(self) -> Future[bytes | None]:
        """What is read of them while the rows are."""
        if self._globals is None:
            self._globals = self._pool.submit(self._read_globals)
        return self._globals

    def _read_globals(self) -> bytes | None:
        import pymysql

        try:
            with connect(self._connection, application_name="dbtool backup users", database=False) as session:
                dump_session_settings(session)
                return read_globals(session, self._held.flavour)
        except pymysql.MySQLError as error:
            self._globals_note = f"users and roles are not in the backup (globals.sql): {text_of(error)}"
            return None

    @property
    def _has_history(self) -> bool:
        return any(facts.table.details.get("end_of_time") for facts in self._facts)

    # ---- schema --------------------------------------------------------------------------------

    def _header(self, guard: str = "", *, makes_keyless_tables: bool = False) -> Block:
        keyless = makes_keyless_tables or any(
            "PRIMARY KEY" not in part.text for part in self._objects.parts if part.item.kind == "TABLE"
        )
        return after.header(
            self.database["name"], self._held.flavour.label, keyless, self._has_history, guard
        )

    @property
    def _guard(self) -> str:
        """What ends the script where it must not run."""
        return history.guard(self._end_of_time) if self._has_history else ""

    def before_data(self) -> Iterator[Block]:
        """The header, sequences and tables."""
        yield self._header(self._guard)
        yield from after.blocks(self._objects.parts, FrameKind.BEFORE_DATA)

    def schema_sql(self) -> bytes:
        """The whole schema as one script."""
        parts = self._objects.parts
        kinds = (FrameKind.BEFORE_DATA, FrameKind.AFTER_DATA, FrameKind.LAST)
        blocks = [self._header(), *(block for kind in kinds for block in after.blocks(parts, kind))]
        return b"".join(bytes(block.text) for block in [*blocks, after.footer(self._has_history)])

    def globals_sql(self) -> bytes | None:
        """Users, roles and what they are granted."""
        return self._users().result()

    # ---- rows ----------------------------------------------------------------------------------

    def chunks(self) -> Sequence[Chunk]:
        """All chunks, the largest tables first; before them those of tables that stay locked until then."""
        return self._chunks_of(None)

    def _chunks_of(self, tables: Collection[int] | None) -> list[Chunk]:
        """The chunks of all tables, or of those at these positions."""
        self._users()
        with readable_errors("planning the reading of rows"):
            planned = plan_chunks(self._held.session, self._facts, tables)
        self._locked = frozenset(
            number
            for number, table in enumerate(self.tables)
            if (table.schema, table.name) in self._held.locked_tables
        )
        planned.sort(key=lambda item: item.chunk.table not in self._locked)
        for item in planned:
            self._planned[item.chunk.statement] = item
            self._unread[item.chunk.table] = self._unread.get(item.chunk.table, 0) + 1
        self._begin_counts()
        return [item.chunk for item in planned]

    def _begin_counts(self) -> None:
        self._counts = RowCounts(self._held.session, self._turn)
        with readable_errors("counting rows"):
            for number in to_be_counted(self._facts, self._planned.values()):
                self._counts.begin(number, self.tables[number], at_once=number in self._locked)

    def planned(self, chunk: Chunk) -> tuple[TableFacts, Planned]:
        """What is known of a chunk."""
        return self._facts[chunk.table], self._planned[chunk.statement]

    def rows_read(self, chunk: Chunk, rows: int) -> None:
        """A chunk is done: behind the last of the tables that are locked, those are let go."""
        with self._lock:
            self._unread[chunk.table] -= 1
            self._rows[chunk.table] = self._rows.get(chunk.table, 0) + rows
            is_waiting = any(self._unread[number] for number in self._locked)
        if self._owns and not is_waiting:
            self._held.release_tables()

    def found_invalid(self, facts: TableFacts, finding: Finding) -> None:
        """A value is no text in its character set. Raises RefusedError, unless it may be."""
        where = f"{facts.table.qualified_name}, column {finding.column}"
        where += f", row {finding.key}" if finding.key else ""
        what = f"{where}: the text is not valid {finding.charset}, and no server takes it back as it is"
        if not self._options.allow_invalid_text:
            raise RefusedError(what, "mend it on the server, or back it up as it is with -allow-invalid-text")
        with self._lock:
            self.warnings.append(what)

    def statement_written(self, size_bytes: int) -> None:
        """A statement may be as large as this."""
        with self._lock:
            self._largest_statement = max(self._largest_statement, size_bytes)

    def key_buckets(self, table: int) -> bytearray | None:
        """Made when the table's first chunk is read."""
        if not self.tables[table].key:
            return None
        with self._lock:
            if table not in self._buckets:
                self._buckets[table] = bytearray(bucket_bytes(self.tables[table]))
            return self._buckets[table]

    def open_reader(self) -> Reader:
        """A connection in the shared snapshot; where there is only one, readers take turns."""
        if not self._held.is_shared:
            return self.leftover_reader()
        return MysqlReader(self._held.take_session(), self, self._held.give_back)

    def leftover_reader(self) -> Reader:
        """The holder's own connection."""
        return MysqlReader(self._held.session, self, lambda _: None, self._turn)

    def leftovers(self) -> Sequence[Chunk]:
        """None: every reader's connection holds its own locks from the beginning."""
        return []

    # ---- behind the rows -----------------------------------------------------------------------

    def after_data(self) -> Iterator[Block]:
        """Sequences, indexes, foreign keys, routines, views, triggers, events, the footer."""
        values = self._sequence_values()
        yield from after.blocks(values, FrameKind.SEQUENCES)
        yield from after.blocks(self._objects.parts, FrameKind.AFTER_DATA)
        yield from after.blocks(self._objects.parts, FrameKind.LAST)
        yield after.footer(self._has_history)

    def _sequence_values(self) -> list[after.Part]:
        """Where sequences stand; asked when all rows have been read, which is looked at as well."""
        reach("rows-read")
        if self._users().result() is None:
            self.warnings.append(self._globals_note)
        if self._counts is not None:
            self._counts.check(self.tables, self._rows)
        with readable_errors("holding the snapshot"):
            self._held.check()
            values = list(self._objects.sequence_values(self._held.session))
            history_now = server_state.history_length(self._held.session, self._held.flavour)
        if warning := server_state.history_warning(self._history, history_now):
            self.warnings.append(warning)
        return values

    def schema_objects(self) -> Sequence[tuple[FrameKind, SchemaObject]]:
        """Nothing: it is in the script."""
        return ()

    def table_details(self, table: int, rows: int) -> dict[str, Any]:  # noqa: ARG002
        """Nothing more."""
        return {}

    def restore_guide(self, main_name: str, index: ArchiveIndex, has_globals: bool) -> str:
        """How to restore with zstd and the server's client."""
        is_partial = bool(self._options.table_patterns)
        return restore_guide(main_name, index.backup, self._largest_statement, is_partial, has_globals)

    def close(self) -> None:
        """Let go of the snapshot, unless others use it."""
        if self._counts is not None:
            self._counts.stop()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._owns and hasattr(self, "_held"):
            self._held.close()
