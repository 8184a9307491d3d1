"""The Engine protocol: all that the floors above may ask of a database.

An engine is synchronous at its door. A backup asks a `Source` for its schema blocks and its
chunks; one `Reader` a worker, each with its own connection in the shared snapshot, turns a chunk
into a stream of blocks. A restore hands the frames of an archive back to a `Target`.

SQL that a person types goes through `engines/session.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from dbtool.archive.reader import ArchiveReader
from dbtool.engines.session import Session
from dbtool.errors import BusyError
from dbtool.model.archive import ArchiveIndex, Block, FrameKind, SchemaObject
from dbtool.model.connection import Connection
from dbtool.model.database import ServerFacts, Snapshot, Table
from dbtool.progress import Progress


@dataclass(frozen=True)
class ByColumn:
    """Of a differential: rows have changed if their column of times says so. Deletes are not seen."""

    column: str
    only_changed: bool = False  # tables without the column are left out, instead of coming whole


@dataclass(frozen=True)
class SourceOptions:
    """What a logical backup shall hold, and how long it may wait."""

    table_patterns: tuple[str, ...] = ()  # empty: the whole database
    lock_timeout_seconds: float = 60.0
    workers: int = 2
    tool_directories: tuple[str, ...] = ()  # where client programs are looked for first
    allow_invalid_text: bool = False  # keep text that is none in its own character set
    by_column: ByColumn | None = None  # of a differential; None: it finds what changed by itself


@dataclass(frozen=True)
class Chunk:
    """A part of one table that a reader reads in one go. Only its engine knows `statement`, and what
    `formats` says of how the columns come."""

    table: int  # position in Source.tables
    size_bytes: int  # on the server's disk, an estimate
    statement: bytes
    bounds: tuple[str, str] | None = None
    formats: tuple[int, ...] = ()
    part: str = ""  # of a table that is read by its partitions: which


class LockQueuedError(BusyError):
    """Somebody waits for an exclusive lock that our own locks bar, and bars our way in turn.

    Only letting go of the source helps; another one may be opened at once.
    """


class Reader(Protocol):
    """One worker's connection in the shared snapshot."""

    def read(self, chunk: Chunk) -> Iterator[Block]:
        """The chunk's rows as blocks of one frame each. A block's text is valid until the next."""

    def stop(self) -> None:
        """End a `read` in another thread as soon as may be."""

    def close(self) -> None:
        """End the connection."""


class Source(Protocol):
    """A database held still in one snapshot, for a logical backup. Closed by its user."""

    server: ServerFacts
    database: dict[str, Any]  # name, owner, encoding, locale, settings, privileges, comment
    snapshot: Snapshot
    tables: Sequence[Table]
    warnings: list[str]
    clients: list[dict[str, Any]]
    omitted: list[SchemaObject]
    facts: dict[str, Any]  # what else the archive says of its backup

    def before_data(self) -> Iterator[Block]:
        """The header and the schema objects that rows need. May raise `LockQueuedError`."""

    def chunks(self) -> Sequence[Chunk]:
        """The work that readers share, the largest tables first; `leftovers` are not among it."""

    def key_buckets(self, table: int) -> bytearray | None:
        """Where readers add up the hashes of a table's keys; None for a table without a key."""

    def open_reader(self) -> Reader:
        """A connection of its own in the shared snapshot."""

    def leftover_reader(self) -> Reader:
        """A reader for the chunks of `leftovers`, on the connection that holds the locks."""

    def leftovers(self) -> Sequence[Chunk]:
        """Chunks that come when all others have been read, one after the other: those that readers
        handed back because somebody waits to lock their table, and those of tables whose rows
        can only be loaded behind all others."""

    def after_data(self) -> Iterator[Block]:
        """All that comes behind the rows: sequences, large objects, indexes, …, the footer.

        Raises if the snapshot was lost in the meantime.
        """

    def schema_objects(self) -> Sequence[tuple[FrameKind, SchemaObject]]:
        """Of a differential the whole schema, each object with its SQL; else nothing: it is in the script."""

    def table_details(self, table: int, rows: int) -> dict[str, Any]:
        """What else is said of a table, by its position, of which the backup holds so many rows; known once
        all rows have been read."""

    def schema_sql(self) -> bytes:
        """The schema as a person reads it."""

    def globals_sql(self) -> bytes | None:
        """Roles or users, and what else is the server's; None where rights do not allow it."""

    def restore_guide(self, main_name: str, index: ArchiveIndex, has_globals: bool) -> str:
        """RESTORE.md: how to restore with the engine's own client programs."""

    def close(self) -> None:
        """Let go of the snapshot."""


@dataclass(frozen=True)
class TargetOptions:
    """What is restored where."""

    database: str  # the name that it shall have
    table_patterns: tuple[str, ...] = ()  # empty: everything
    replace: bool = False
    with_owners: bool = True
    with_privileges: bool = True
    definers: tuple[str, ...] = ()  # MySQL, MariaDB: "old@host=new@host"
    workers: int = 2
    compare: bool = True  # plan to read the rows of each table back
    dry_run: bool = False  # look and plan, change nothing


@dataclass(frozen=True)
class Task:
    """One step of a restore: a frame of rows to load, schema objects to make, or a table to compare.

    `needs` are the numbers of tasks of the same stage that come first. Two tasks that name the
    same thing in `locks` do not run together, unless both only share it.
    """

    number: int
    what: str  # for progress and errors: "index public.orders_pkey"
    frame: int | None = None  # a frame of rows
    objects: tuple[tuple[int, SchemaObject], ...] = ()  # (frame, object), in order
    needs: tuple[int, ...] = ()
    locks: tuple[tuple[str, bool], ...] = ()  # (name, alone)
    weight: int = 0  # heavier tasks begin first
    # Tasks of one group, such as the frames of a table, begin in their order, and one loader goes
    # on with the group that it is at: others join it only when there is nothing else to do.
    group: str = ""
    compare: int | None = None  # a table, by its position in the archive, to read back and digest
    detail: str = ""  # what else the engine's plan says to its loaders


@dataclass(frozen=True)
class Stage:
    """Tasks that may run in parallel; the next stage begins when all are done."""

    name: str
    tasks: tuple[Task, ...]


@dataclass
class Tally:
    """What was found in a table: rows and their digest."""

    rows: int = 0
    digest: int = 0


class Loader(Protocol):
    """One worker's connection to the database that is being restored."""

    def run(self, task: Task, texts: Mapping[int, bytes], idle: int) -> None:
        """Do a task. `texts` has the plain text of every frame that it names; `idle` loaders have
        nothing to do, so that the server may use as many more processors for this. Raises
        `SqlError` that names the object and the statement, or the table and the row."""

    def tally(self, table: int) -> Tally:
        """Count and digest the restored rows of a table, by its position in the archive."""

    def stop(self) -> None:
        """End what another thread is doing here."""

    def close(self) -> None:
        """End the connection."""


class Target(Protocol):
    """The place that an archive is restored into. Closed by its user.

    In the order of calls: `prepare`, `stages`, loaders at work, `finish`. Unless `finish` was
    reached, `close` undoes what can be undone, and `notes` says what could not.
    """

    notes: list[str]

    def prepare(self) -> None:
        """Look at what is there and make the place. Raises `RefusedError` before anything changes."""

    def restore_globals(self, script: bytes) -> None:
        """Make roles and tablespaces, or users, that are missing; those that exist stay as they are."""

    def stages(self) -> Sequence[Stage]:
        """All the work, in order."""

    def restored_tables(self) -> Sequence[int]:
        """Positions, in the archive's tables, of those whose rows come."""

    def open_loader(self) -> Loader:
        """A connection of its own."""

    def finish(self) -> None:
        """Put the restored database or tables in their place."""

    def close(self) -> None:
        """End all connections, and clear away what was not finished."""


class Engine(Protocol):
    """One kind of database."""

    name: str  # "postgres" or "mysql"

    def open_source(self, connection: Connection, options: SourceOptions, progress: Progress) -> Source:
        """Take the locks and the snapshot, and look at everything."""

    def open_differential(
        self, connection: Connection, base: ArchiveReader, options: SourceOptions, progress: Progress
    ) -> Source:
        """The same for what changed since a full logical backup. Raises `NeedsFullError` with the reason
        where that cannot be said, `UsageError` if `options.by_column` names no column of times."""

    def open_sources(
        self, connection: Connection, databases: Sequence[str], options: SourceOptions, progress: Progress
    ) -> AbstractContextManager[Callable[[str], Source]]:
        """Gives what opens the source of each of several databases: all in one snapshot, where the kind of
        server has such snapshots."""

    def open_session(self, connection: Connection) -> Session:
        """A connection for SQL."""

    def databases(self, connection: Connection) -> list[str]:
        """Every database of the server but the system's own."""

    def open_target(self, connection: Connection, index: ArchiveIndex, options: TargetOptions) -> Target:
        """The server to restore on; `connection.database` is not looked at."""
