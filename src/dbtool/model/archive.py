"""What stands in a framed archive: blocks on their way in, frames and schema objects in its index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_Bytes = bytes  # where a field is called `bytes`


class FrameKind(str, Enum):
    """What a frame holds. The order here is the order in the file."""

    HEADER = "header"  # the session's settings; opens \restrict on PostgreSQL
    BEFORE_DATA = "before_data"  # schema objects that rows need
    REMOVED = "removed"  # of a differential: keys of one table whose rows go
    DATA = "data"  # one complete statement with rows of one table
    SEQUENCES = "sequences"  # values of sequences
    LARGE_OBJECTS = "large_objects"
    AFTER_DATA = "after_data"  # indexes, constraints, triggers, privileges, …
    REFRESH = "refresh"  # materialised views are filled
    DATABASE = "database"  # properties of the database itself
    LAST = "last"  # what must not fire during a restore: event triggers, events
    FOOTER = "footer"  # says that the script is whole


# Frames that hold objects of the schema, in the script's order.
SCHEMA_KINDS = (FrameKind.BEFORE_DATA, FrameKind.AFTER_DATA, FrameKind.LAST)


class Taken(str, Enum):
    """What a differential takes of a table."""

    UNCHANGED = "unchanged"  # nothing: every row is in the base
    ROWS = "rows"  # the rows that changed, and the keys of those that are there no more
    WHOLE = "whole"  # all rows
    LEFT_OUT = "left out"  # nothing: what changed is not wanted


@dataclass(frozen=True)
class SchemaObject:
    """One object of the schema, and where its SQL stands.

    `offset` and `length` count bytes within the frame's text. `owner_offset`, within that slice,
    is where the statement that sets the owner begins (equal to `length` if there is none).
    An object that is not in the script has `sql` of its own and no frame.
    """

    number: int  # unique in the archive; what `needs` speaks of
    kind: str  # the engine's word: "TABLE", "INDEX", "FK CONSTRAINT", …
    schema: str
    name: str
    owner: str = ""
    identity: int = 0  # of the object on the server: its OID
    needs: tuple[int, ...] = ()
    offset: int = 0
    length: int = 0
    owner_offset: int = 0
    tablespace: str | None = None
    access_method: str | None = None
    drop: str = ""  # the statement that removes it, if the engine knows one
    sql: str | None = None


@dataclass
class Block:
    """Text on its way into one frame, with what was counted while it passed."""

    kind: FrameKind
    text: Any  # bytes-like; valid until the next block is asked for
    table: int | None = None  # a table's position in the list of tables
    rows: int = 0
    digest: int = 0
    key_digest: int = 0
    prefix_bytes: int = 0  # of the statement before the rows
    suffix_bytes: int = 0  # of the terminator behind them
    bounds: tuple[str, str] | None = None  # from where to where in the table; "" is open
    part: str = ""  # of a table that is read by its partitions: which, as SQL names them
    objects: tuple[SchemaObject, ...] = ()
    packed_keys: _Bytes = b""  # of all rows, if that can be: see rows.pack_integers


@dataclass(frozen=True)
class Frame:
    """One frame as the index knows it."""

    kind: FrameKind
    offset: int  # in the plain (not encrypted) file
    stored_bytes: int
    plain_bytes: int
    table: int | None = None
    rows: int = 0
    digest: int = 0
    key_digest: int = 0
    prefix_bytes: int = 0
    suffix_bytes: int = 0
    bounds: tuple[str, str] | None = None
    part: str = ""
    objects: tuple[SchemaObject, ...] = ()
    keys_bytes: int = 0  # of the skippable frame behind it that holds the keys of its rows; 0: there is none

    def rows_of(self, text: _Bytes) -> memoryview:
        """The rows in the frame's text, without what stands before and behind them."""
        return memoryview(text)[self.prefix_bytes : len(text) - self.suffix_bytes]


@dataclass
class TableSummary:
    """One table in the index: the sums over its frames, and the digests of its keys by bucket."""

    identity: int
    schema: str
    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    rows: int = 0
    bytes: int = 0  # of the rows' text
    digest: int = 0
    key_digest: int = 0
    key_buckets: _Bytes = b""  # 2^n little-endian 64-bit sums
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def key_positions(self) -> tuple[int, ...]:
        """Where the key's columns stand among the columns, in the key's order."""
        names = [name for name, _ in self.columns]
        return tuple(names.index(name) for name in self.key)


@dataclass(frozen=True)
class ArchiveIndex:
    """All that is needed to restore from the archive alone."""

    backup: dict[str, Any]  # id, type, engine, flavour, server, database, snapshot, tool
    tables: tuple[TableSummary, ...]
    frames: Sequence[Frame]
    omitted: tuple[SchemaObject, ...] = ()  # left out of the script, such as keys to tables left out
    warnings: tuple[str, ...] = ()
    # Of a differential: its whole schema, each object with its SQL and the kind of frame that it belongs
    # in; the script has only what changed.
    schema: tuple[tuple[FrameKind, SchemaObject], ...] = ()
