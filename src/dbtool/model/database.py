"""Databases, tables and columns, as both engines speak of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Column:
    """One column whose values are in the backup (generated columns are not)."""

    name: str
    type: str  # the server's own spelling, such as "numeric(10,2)"


@dataclass(frozen=True)
class Table:
    """One relation that holds rows of its own: a table, a leaf partition, a configuration table.

    `identity` is what the server calls the table for as long as it is the same table: on
    PostgreSQL its OID. A rename keeps it, a DROP and CREATE does not.
    """

    identity: int
    schema: str
    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()  # columns of the primary key, else of a unique key without NULLs
    size_bytes: int = 0  # on the server's disk, an estimate used to plan the work
    row_estimate: float = 0.0
    condition: str = ""  # an SQL condition, where only part of the rows belong to the backup
    details: dict[str, Any] = field(default_factory=dict)  # the engine's own facts (access method, …)

    @property
    def key_positions(self) -> tuple[int, ...]:
        """Where the key's columns stand among the columns, in the key's order."""
        names = [column.name for column in self.columns]
        return tuple(names.index(name) for name in self.key)

    @property
    def qualified_name(self) -> str:
        """`schema.name`, for people and for JSON; never for SQL, for it is not quoted."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class ServerFacts:
    """Which server the backup comes from."""

    engine: str  # "postgres" or "mysql"
    flavour: str  # "postgresql", "mysql" or "mariadb"
    version: str  # as a person says it: "15.18"
    version_number: int  # as the server counts it: 150018
    identity: str  # PostgreSQL: system identifier; MySQL: server uuid
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """The single point in the database's history that a backup shows."""

    time: str  # the server's clock, ISO 8601 in UTC
    details: dict[str, Any] = field(default_factory=dict)  # LSN, timeline, transaction snapshot, GTID set, …
