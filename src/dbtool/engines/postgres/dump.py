"""A PostgreSQL database as the source of a logical backup: one snapshot, its schema, its chunks."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from dbtool import process
from dbtool.engines.base import Chunk, LockQueuedError, SourceOptions
from dbtool.engines.buckets import bucket_bytes
from dbtool.engines.postgres import after, introspect, schema, selection
from dbtool.engines.postgres.connect import client_environment, codec_of, connect
from dbtool.engines.postgres.guide import restore_guide
from dbtool.engines.postgres.messages import readable_errors, server_error
from dbtool.engines.postgres.plan import plan_chunks
from dbtool.engines.postgres.quoting import conninfo, quote_identifier
from dbtool.engines.postgres.reader import CopyReader, open_in_snapshot
from dbtool.engines.postgres.snapshot import HeldSnapshot
from dbtool.engines.postgres.tools import Tool, find_tool
from dbtool.errors import DbtoolError, RefusedError
from dbtool.failpoints import reach
from dbtool.model.archive import SCHEMA_KINDS, ArchiveIndex, Block, FrameKind, SchemaObject
from dbtool.model.connection import Connection
from dbtool.model.database import Table
from dbtool.progress import Progress

# pg_dump locks what is locked already: it waits only behind somebody who waits for us.
_QUEUE_SECONDS = 2.0
RELATIONS = 1259  # the OID of pg_class, by which pg_dump says that an OID is a relation's


class PostgresSource:
    """See `engines.base.Source`. The schema is dumped in the background while rows are read."""

    def __init__(self, connection: Connection, options: SourceOptions, progress: Progress) -> None:
        self._connection = connection
        self._options = options
        self._progress = progress
        self.warnings: list[str] = []
        self.omitted: list[SchemaObject] = []
        self.facts: dict[str, Any] = {}
        self._handed_back: list[Chunk] = []
        self._last: list[Chunk] = []
        self._bucket_lock = threading.Lock()
        self._buckets: dict[int, bytearray] = {}
        self._numbers = after.own_numbers()
        self._key = after.restrict_key()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="dbtool-schema")
        self._held = HeldSnapshot(connection, options.lock_timeout_seconds)
        try:
            self.server = self._held.server
            self.snapshot = self._held.snapshot
            self.database: dict[str, Any] = introspect.database_facts(self._held.session)
            self._codec = codec_of(self._held.session)
            self.tables: Sequence[Table] = self._held.tables
            wanted = options.table_patterns
            self._chosen = selection.choose_tables(self._held.session, wanted) if wanted else None
            if self._chosen is not None:
                self.tables = selection.only_chosen(self.tables, self._chosen)
            self.clients: list[dict[str, Any]] = []
            self._tools: Future[list[Tool]] = self._pool.submit(self._find_tools)
            self._schema: Future[list[schema.SchemaPart]] = self._pool.submit(self._read_schema)
            self._globals: Future[bytes | None] = self._pool.submit(self._read_globals)
        except BaseException:
            self.close()
            raise

    # ---- schema ------------------------------------------------------------------------------

    def _find_tools(self) -> list[Tool]:
        tools = [
            find_tool(program, self.server.version_number, self._options.tool_directories)
            for program in ("pg_dump", "pg_restore", "pg_dumpall")
        ]
        self.clients += [{"program": tool.program, "version": tool.version} for tool in tools[:2]]
        self.warnings += dict.fromkeys(tools[0].warnings)
        return tools

    def _read_schema(self) -> list[schema.SchemaPart]:
        dump_tool, restore_tool, _ = self._tools.result()
        arguments = schema.dump_arguments(
            dump_tool,
            self.database["name"],
            self._held.exported(),
            self.database["encoding"],
            min(self._options.lock_timeout_seconds, _QUEUE_SECONDS),
        )
        try:
            parts = schema.read_schema(restore_tool, self._connection, arguments, self._codec)
        except process.ProgramFailedError as error:
            raise self._explain_pg_dump(error) from None
        if self._chosen is None:
            return parts
        objects = [schema.schema_object(part, self._codec) for part in parts]
        selected = selection.select_objects(objects, self._chosen.identities)
        self.warnings += selected.notes
        self.omitted = [
            schema.aside(part, self._codec) for part in parts if part.entry.number in selected.aside
        ]
        return [part for part in parts if part.entry.number in selected.taken]

    def _explain_pg_dump(self, error: process.ProgramFailedError) -> DbtoolError:
        text = error.stderr
        # While it takes its locks, pg_dump lets no statement last longer than a lock may.
        if any(sign in text for sign in ("lock timeout", "statement timeout", "could not obtain lock")):
            return LockQueuedError(
                f"somebody waits for an exclusive lock on {self._awaited()}, and pg_dump waits behind it",
                "wait for it to end, or allow more with -lock-timeout SECONDS",
            )
        if "permission denied" in text:
            return RefusedError(f"not allowed to read the schema: {error.message}", "see dbtool doctor")
        if "max_locks_per_transaction" in text:  # the server's hint, which is not translated
            return server_error("53200", "the server has no room for the locks", None, "reading the schema")
        if "conflict with recovery" in text:
            return server_error("40001", "the standby ended it", None, "reading the schema")
        # What is wrong stands in the first such line; the last one is the query.
        reason = next((line for line in text.splitlines() if " error: " in line), error.message)
        return DbtoolError(
            f"the schema could not be read: {reason}",
            "if somebody was changing the schema just then, try again",
        )

    def _awaited(self) -> str:
        """The tables that pg_dump could not lock: whoever waits for them waits for us still."""
        with contextlib.suppress(Exception), connect(self._connection) as session:
            if found := introspect.awaited_tables(session):
                return ", ".join(found[:3])
        return "a table"

    def _read_globals(self) -> bytes | None:
        tool = self._tools.result()[2]
        command = [str(tool.path), "--globals-only", "--no-password", f"--dbname={conninfo('postgres')}"]
        with client_environment(self._connection) as environment:
            for arguments in (command, [*command, "--no-role-passwords"]):
                try:
                    return process.run(arguments, environment=environment).stdout
                except process.ProgramFailedError as error:
                    reason = error.message
        self.warnings.append(f"roles and tablespaces are not in the backup (globals.sql): {reason}")
        return None

    def _header(self) -> Block:
        return after.header(self._key, self.database["encoding"], self.database["name"], self.server.version)

    def before_data(self) -> Iterator[Block]:
        """The header and pg_dump's section before the data."""
        yield self._header()
        yield from schema.schema_blocks(self._schema.result(), FrameKind.BEFORE_DATA, self._codec)

    def schema_objects(self) -> Sequence[tuple[FrameKind, SchemaObject]]:
        """Nothing: it is in the script."""
        return ()

    def table_details(self, table: int, rows: int) -> dict[str, Any]:  # noqa: ARG002
        """Nothing more."""
        return {}

    def schema_sql(self) -> bytes:
        """The whole schema as one script that psql takes."""
        parts = self._schema.result()
        return b"".join(
            bytes(block.text)
            for blocks in (
                [self._header()],
                *(schema.schema_blocks(parts, kind, self._codec) for kind in SCHEMA_KINDS),
                [after.footer(self._key)],
            )
            for block in blocks
        )

    def globals_sql(self) -> bytes | None:
        """Roles and tablespaces, as pg_dumpall writes them."""
        return self._globals.result()

    # ---- rows --------------------------------------------------------------------------------

    def chunks(self) -> Sequence[Chunk]:
        """All chunks, the largest tables first, but those of tables whose rows need other rows."""
        with readable_errors("planning the reading of rows"):
            chunks = plan_chunks(self._held.session, self.server, self.tables, self._codec)
        return self._without_last(chunks)

    def _without_last(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        self._last = [chunk for chunk in chunks if self._place_in_line(chunk) is not None]
        self._last.sort(key=lambda chunk: self._place_in_line(chunk) or 0)
        return [chunk for chunk in chunks if self._place_in_line(chunk) is None]

    def _place_in_line(self, chunk: Chunk) -> int | None:
        place: int | None = self.tables[chunk.table].details.get("loaded_last")
        return place

    def key_buckets(self, table: int) -> bytearray | None:
        """Made when the table's first chunk is read."""
        if not self.tables[table].key:
            return None
        with self._bucket_lock:
            if table not in self._buckets:
                self._buckets[table] = bytearray(bucket_bytes(self.tables[table]))
            return self._buckets[table]

    def open_reader(self) -> CopyReader:
        """A connection of its own in the shared snapshot."""
        with readable_errors("joining the snapshot"):
            session, begin = open_in_snapshot(self._connection, self._held.exported())
            return CopyReader(
                session, self.tables, self._codec, self.key_buckets, begin, self._handed_back.append
            )

    def leftover_reader(self) -> CopyReader:
        """The holder's own connection, which needs no new locks."""
        with readable_errors("holding the snapshot"):
            return CopyReader(
                self._held.session, self.tables, self._codec, self.key_buckets, None, self._handed_back.append
            )

    def leftovers(self) -> Sequence[Chunk]:
        """Chunks of tables for whose exclusive lock somebody is waiting, and those whose rows can
        only be loaded when all others are there."""
        return [*self._handed_back, *self._last]

    # ---- behind the rows -----------------------------------------------------------------------

    def after_data(self) -> Iterator[Block]:
        """Sequences, large objects, indexes, constraints, privileges, views' contents, the footer."""
        reach("rows-read")
        with readable_errors("reading what comes behind the rows"):
            yield from self._after_data()

    def _after_data(self) -> Iterator[Block]:
        self._held.check()
        parts = self._schema.result()
        chosen = {part.entry.oid: part.entry.number for part in parts if part.entry.class_oid == RELATIONS}
        sequences = introspect.sequences(self._held.control, quote_identifier)
        if self._chosen is not None:
            sequences = [item for item in sequences if item.identity in chosen]
        yield from after.sequence_blocks(sequences, self._codec, self._numbers)
        if self._chosen is None:
            yield from after.large_object_blocks(self._held.session, self._codec, self._numbers)
        yield from schema.schema_blocks(parts, FrameKind.AFTER_DATA, self._codec)
        views = introspect.materialized_views(self._held.session)
        yield from after.refresh_blocks(views, chosen, self._codec, self._numbers)
        if self._chosen is None:
            yield from after.database_blocks(self.database, self._codec, self._numbers)
        yield from schema.schema_blocks(parts, FrameKind.LAST, self._codec)
        yield after.footer(self._key)
        self._held.wait_until_durable()
        self._held.check()

    def restore_guide(self, main_name: str, index: ArchiveIndex, has_globals: bool) -> str:
        """How to restore with zstd and psql."""
        return restore_guide(main_name, index.backup, self._chosen is not None, has_globals)

    def close(self) -> None:
        """Let go of locks and snapshot."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        if hasattr(self, "_held"):
            self._held.close()
