"""A backup and what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class BackupType(str, Enum):
    """How much a backup holds."""

    FULL = "full"
    PARTIAL = "partial"
    DIFFERENTIAL = "differential"
    INCREMENTAL = "incremental"


class Method(str, Enum):
    """How it was taken: rows through SQL, or the server's files."""

    LOGICAL = "logical"
    PHYSICAL = "physical"


class Status(str, Enum):
    """What a backup is good for. Only a completed one can be restored or built upon."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # its process died without a word


@dataclass(frozen=True)
class Artefact:
    """One stored file of a backup.

    `plain_…` is the file before encryption, which is what `zstd` or `less` opens; `stored_…` is
    what lies in the repository. Without encryption they are the same.
    """

    name: str
    plain_bytes: int
    plain_sha256: str
    stored_bytes: int
    stored_sha256: str


@dataclass(frozen=True)
class TableRecord:
    """What a backup says of one table. `digest` is 16 hex digits: see `docs/format.md`."""

    identity: int
    schema: str
    name: str
    rows: int
    bytes: int  # of the rows' text, uncompressed
    digest: str
    columns: tuple[tuple[str, str], ...]  # (name, type)
    key: tuple[str, ...]
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ParentLink:
    """The backup that this one builds upon: by id, and by the SHA-256 of its metadata.json."""

    id: str
    metadata_sha256: str


@dataclass(frozen=True)
class Metadata:
    """All that is said of a backup at the moment it is complete; never changed afterwards.

    The same fields, in the same order, stand in `metadata.json`.
    """

    id: str
    type: BackupType
    method: Method
    timestamp_start: str  # this machine's clock, ISO 8601 in UTC
    timestamp_end: str
    duration_seconds: float
    engine: str
    flavour: str
    server: dict[str, Any]  # version, version_number, identity
    database: dict[str, Any]  # name, owner, encoding, locale, settings, …
    snapshot: dict[str, Any]  # time, lsn, timeline, transaction_snapshot, …
    artefacts: tuple[Artefact, ...]
    tables: tuple[TableRecord, ...]
    statistics: dict[str, Any]  # total_tables, total_rows_processed, total_size_bytes, …
    tool: dict[str, Any]  # name, version
    clients: tuple[dict[str, Any], ...] = ()  # program, version
    options: dict[str, Any] = field(default_factory=dict)
    parent: ParentLink | None = None
    label: str | None = None
    warnings: tuple[str, ...] = ()
    compress: bool = True
    format_version: int = 1
