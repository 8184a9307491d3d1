"""A MySQL or MariaDB database as the source of a differential: what changed since a full backup."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dbtool import rows
from dbtool.archive.reader import ArchiveReader
from dbtool.engines.base import Chunk, Reader, SourceOptions
from dbtool.engines.mysql import after, diff_script
from dbtool.engines.mysql.after import Part
from dbtool.engines.mysql.changes import ChangeFinder, TableChange
from dbtool.engines.mysql.counting import RowCounts
from dbtool.engines.mysql.diff_guide import differential_guide
from dbtool.engines.mysql.dump import MysqlSource
from dbtool.engines.mysql.messages import readable_errors
from dbtool.engines.mysql.reader import FRAME_BYTES, HEAD, MysqlReader, Work, largest_statement
from dbtool.engines.mysql.schema_diff import SchemaDiff, SchemaScript
from dbtool.engines.mysql.spool import Spool
from dbtool.engines.mysql.table_facts import TableFacts
from dbtool.errors import NeedsFullError
from dbtool.failpoints import reach
from dbtool.model.archive import ArchiveIndex, Block, FrameKind, SchemaObject, TableSummary, Taken
from dbtool.model.connection import Connection
from dbtool.progress import Progress

_SAME_DETAILS = ("engine", "kinds", "select", "from_suffix", "charsets", "end_of_time")
_VERSIONED = "SYSTEM VERSIONED"


class MysqlDifferential(MysqlSource):
    """See `engines.base.Source`: its script turns the base into this snapshot."""

    def __init__(
        self, connection: Connection, options: SourceOptions, progress: Progress, base: ArchiveReader
    ) -> None:
        """Raises `NeedsFullError` with the reason where a differential cannot be had."""
        self._base = base
        self._spool = Spool()
        self._changes: list[TableChange] = []
        self._stored: dict[bytes, int] = {}  # chunks of rows that were found already, and their tables
        self._script = SchemaScript()
        super().__init__(connection, options, progress)
        try:
            self._check_server()
            self._difference = SchemaDiff(self._base_parts(), self._objects.parts)
        except BaseException:
            self.close()
            raise

    def _check_server(self) -> None:
        """Rows are compared by what they look like, and definitions too: that must be the same kind of server's."""
        backup = self._base.index.backup
        if backup["flavour"] != self.server.flavour:
            raise NeedsFullError(f"the base is of {backup['flavour']}, and this is {self.server.flavour}")
        before = str(backup["server"]["version"])
        if before.split(".")[:2] != self.server.version.split(".")[:2]:
            raise NeedsFullError(
                f"the base is of version {before}, and the server's is {self.server.version}"
            )
        mode = "lower_case_table_names"
        if backup["server"].get(mode) != self.server.details.get(mode):
            raise NeedsFullError(f"the base is of a server with another {mode}")

    def _base_parts(self) -> list[Part]:
        return [
            Part(item, sql.decode("utf-8", "surrogateescape"), kind)
            for kind, item, sql in self._base.schema()
        ]

    # ---- rows ----------------------------------------------------------------------------------

    def chunks(self) -> Sequence[Chunk]:
        """Of tables that come whole all rows; of others those that changed, which are found now."""
        with readable_errors("looking for changed rows"):
            finder = ChangeFinder(
                self._facts, self._base, self._counterparts(), self._spool, self.found_invalid
            )
            self._counts = RowCounts(self._held.session, self._turn)
            self._changes = finder.find(self._reader_for, self._counts, self._options.workers, self._progress)
            self._counts.stop()
            self._script = self._schema_script()
        reach("compared")
        whole = [number for number, change in enumerate(self._changes) if change.taken is Taken.WHOLE]
        stored = []
        for number, change in enumerate(self._changes):
            if change.new_rows:
                statement = b"changed rows of %d" % number
                self._stored[statement] = number
                stored.append(Chunk(number, sum(piece.plain_bytes for piece in change.new_rows), statement))
        return [*self._chunks_of(whole), *stored]

    def _counterparts(self) -> dict[int, int]:
        """By position, the base's table for each that is the same still."""
        base = {table.name: (number, table) for number, table in enumerate(self._base.index.tables)}
        found = {}
        for position, facts in enumerate(self._facts):
            number, before = base.get(facts.table.name, (0, None))
            if (
                before is not None
                and facts.table.name in self._difference.same_tables
                and (facts.table.schema, facts.table.name) not in self._held.locked_tables
                and _is_read_alike(facts, before)
            ):
                found[position] = number
        return found

    def _schema_script(self) -> SchemaScript:
        changed = zip(self._facts, self._changes, strict=True)
        taken = {facts.table.name: change.taken for facts, change in changed}
        return self._difference.script(
            [name for name, how in taken.items() if how is Taken.ROWS],
            [name for name, how in taken.items() if how is Taken.WHOLE],
            {facts.table.name for facts in self._facts if not _can_be_emptied(facts)},
            self._objects.with_all_keys,
        )

    @property
    def _versioned(self) -> frozenset[str]:
        """Those whose ALTER must be allowed."""
        return frozenset(facts.table.name for facts in self._facts if facts.relation.kind == _VERSIONED)

    def _reader_for(self, work: Work) -> MysqlReader:
        if not self._held.is_shared:
            return MysqlReader(self._held.session, work, lambda _: None, self._turn)
        return MysqlReader(self._held.take_session(), work, self._held.give_back)

    def open_reader(self) -> Reader:
        """A connection in the shared snapshot, for what was not read yet."""
        return DifferentialReader(self._reader_for(self), self)

    def leftover_reader(self) -> Reader:
        """The holder's own connection."""
        return DifferentialReader(super().leftover_reader(), self)

    def stored_blocks(self, chunk: Chunk) -> Iterator[Block] | None:
        """The rows that were found already, if the chunk is of such."""
        number = self._stored.get(chunk.statement)
        return None if number is None else self._stored_blocks(number)

    def _stored_blocks(self, number: int) -> Iterator[Block]:
        key = self._facts[number].table.key_positions
        gathered, size = [HEAD], len(HEAD)
        pieces = self._changes[number].new_rows
        for place, piece in enumerate(pieces, 1):
            gathered.append(self._spool.get(piece))
            size += piece.plain_bytes
            if size < FRAME_BYTES and place < len(pieces):
                continue
            text = b"".join(gathered)
            gathered, size = [HEAD], len(HEAD)
            self.statement_written(largest_statement(memoryview(text)))
            count, digest, key_digest = rows.tally_inserts(memoryview(text)[len(HEAD) :], key)
            yield Block(
                kind=FrameKind.DATA,
                text=text,
                table=number,
                rows=count,
                digest=digest,
                key_digest=key_digest,
                prefix_bytes=len(HEAD),
            )

    def key_buckets(self, table: int) -> bytearray | None:  # noqa: ARG002
        """None: of a differential's keys nothing is kept."""
        return None

    # ---- the script ----------------------------------------------------------------------------

    def before_data(self) -> Iterator[Block]:
        """The header, what changed in the schema, and the keys of rows that go."""
        yield self._header(self._guard, makes_keyless_tables=True)
        opening = diff_script.opening(self._script)
        if opening is not None:
            yield opening
        yield from after.blocks(self._script.created, FrameKind.BEFORE_DATA)
        if self._is_transactional:
            yield diff_script.beginning_of_rows()
        temporary = diff_script.free_name({relation.name for relation in self._relations})
        for position, change in enumerate(self._changes):
            if change.taken is Taken.ROWS:
                frames = diff_script.KeyFrames(position, self._facts[position].table, temporary)
                for block in frames.removed(self._removed_keys(change)):
                    yield self._noted(block)
                for block in frames.cleared(self._added_keys(position, change)):
                    yield self._noted(block)
        reach("removed-written")

    @property
    def _is_transactional(self) -> bool:
        """Servers with GTIDs let no table without transactions be written in one."""
        changed = zip(self._facts, self._changes, strict=True)
        return not any(
            change.taken is Taken.WHOLE and (facts.table.schema, facts.table.name) in self._held.locked_tables
            for facts, change in changed
        )

    @property
    def _relations(self) -> Sequence[Any]:
        return self._held.relations[self._connection.database]

    def _removed_keys(self, change: TableChange) -> Iterator[bytes]:
        return (self._spool.get(piece) for piece in change.removed_keys)

    def _added_keys(self, position: int, change: TableChange) -> Iterator[bytes]:
        """Keys of the rows that come, but for those that the base's rows which go have as well."""
        known = rows.KeySet(change.removed)
        for lines in self._removed_keys(change):
            known.add_keys(lines, "insert")
        key = self._facts[position].table.key_positions
        for piece in change.new_rows:
            lines, count = known.absent_keys(self._spool.get(piece), key, "insert")
            if count:
                yield lines

    def _noted(self, block: Block) -> Block:
        self.statement_written(largest_statement(memoryview(block.text)))
        return block

    def after_data(self) -> Iterator[Block]:
        """Counters and sequences, indexes, foreign keys, routines, views, triggers, events, the footer."""
        values = self._sequence_values()
        yield diff_script.end_of_rows(self._script, self._versioned)
        yield from after.blocks(values, FrameKind.SEQUENCES)
        yield from after.blocks(self._script.created, FrameKind.AFTER_DATA)
        yield from after.blocks(self._script.created, FrameKind.LAST)
        yield after.footer(self._has_history)

    def schema_objects(self) -> Sequence[tuple[FrameKind, SchemaObject]]:
        """The whole schema of this snapshot, for a restore that does not run the base's."""
        return tuple(
            (
                part.kind,
                replace(part.item, length=len(part.text.encode("utf-8", "surrogateescape")), sql=part.text),
            )
            for part in self._objects.parts
        )

    def table_details(self, table: int, rows: int) -> dict[str, Any]:
        """What the differential says of a table; `rows` are those that it holds itself."""
        change = self._changes[table]
        is_whole = change.taken is Taken.WHOLE
        return {
            "differential": {
                "taken": change.taken.value,
                "rows": rows if is_whole else change.rows,
                "removed": change.removed,
                "base": change.base,
            }
        }

    def restore_guide(self, main_name: str, index: ArchiveIndex, has_globals: bool) -> str:  # noqa: ARG002
        """How to restore the base and then this with zstd and the server's client."""
        has_events = any(part.item.kind == "EVENT" for part in (*self._base_parts(), *self._objects.parts))
        return differential_guide(
            main_name, index.backup, self._base.name, self._largest_statement, has_events
        )

    def close(self) -> None:
        """Let go of the snapshot."""
        self._spool.close()
        super().close()


class DifferentialReader:
    """See `engines.base.Reader`: rows that were found already come from where they are kept."""

    def __init__(self, reader: Reader, source: MysqlDifferential) -> None:
        self._reader = reader
        self._source = source

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The chunk's rows."""
        stored = self._source.stored_blocks(chunk)
        yield from self._reader.read(chunk) if stored is None else stored

    def stop(self) -> None:
        """End a `read` in another thread."""
        self._reader.stop()

    def close(self) -> None:
        """Let go of the connection."""
        self._reader.close()


def _can_be_emptied(facts: TableFacts) -> bool:
    """Whether TRUNCATE is for it: not where there is history, nor in some engines."""
    return facts.relation.kind != _VERSIONED and facts.relation.engine.lower() == "innodb"


def _is_read_alike(facts: TableFacts, before: TableSummary) -> bool:
    """Whether equal rows have equal bytes in both backups."""
    table = facts.table
    return (
        before.columns == tuple((column.name, column.type) for column in table.columns)
        and before.key == table.key
        and all(before.details.get(name) == table.details.get(name) for name in _SAME_DETAILS)
    )
