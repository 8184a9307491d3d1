"""The Session protocol: one connection on which a person, or a script, runs SQL.

Backups do not go through here: see `engines/base.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class ResultColumn:
    """One column of a result. `is_numeric` decides the side that a table aligns it to."""

    name: str
    type_name: str
    is_numeric: bool = False
    json_kind: str = "string"  # "string", "number", "boolean" or "json": how jsonl writes it


class Result(Protocol):
    """What one statement gave: rows that stream, or only a status.

    Rows are fetched as they are asked for; memory does not grow with their number. Values are
    the server's own text form, None for NULL.
    """

    @property
    def columns(self) -> Sequence[ResultColumn] | None:
        """None where the statement returns no rows at all (it is no query)."""

    @property
    def status(self) -> str:
        """The server's command tag, such as "INSERT 0 5"; complete once the rows are read."""

    @property
    def is_raw(self) -> bool:
        """Whether the rows are lines of text to be shown as they are: those of COPY … TO STDOUT."""

    def rows(self) -> Iterator[Sequence[str | None]]:
        """The rows, once."""

    def batches(self) -> Iterator[Sequence[Sequence[str | None]]]:
        """The rows, once, some at a time: for whoever reads millions. Instead of `rows`."""

    def close(self) -> None:
        """Read no further. A SELECT outside of a transaction is ended on the server, and `status` says
        so; anything else runs to its end, for ending it would undo what it did."""


@dataclass(frozen=True)
class Relation:
    """A table or view, as completion and `\\d` know it."""

    schema: str
    name: str
    kind: str  # "table", "view", "materialized view", "foreign table", "sequence", "partitioned table"
    columns: tuple[tuple[str, str], ...] = ()  # (name, type)
    visible: bool = True  # found without naming its schema


@dataclass(frozen=True)
class Names:
    """All names of a database that completion can offer. Loaded in few queries, in the background."""

    schemas: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = ()
    functions: tuple[tuple[str, str], ...] = ()  # (schema, name)
    types: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    keywords: tuple[str, ...] = field(default=(), repr=False)


class Session(Protocol):
    """One connection for SQL. Not safe for several threads, but for `cancel`.

    Values and names are text; bytes that are no UTF-8 (a server may hold such) are in it as Python's
    `surrogateescape` keeps them.
    """

    @property
    def dialect(self) -> str:
        """The dialect's name for sqlglot and Pygments: "postgres" or "mysql"."""

    @property
    def database(self) -> str:
        """The database it is connected to."""

    @property
    def server_label(self) -> str:
        """What a person calls the server: "PostgreSQL 15.18"."""

    @property
    def in_transaction(self) -> bool:
        """Whether BEGIN was said, and no COMMIT or ROLLBACK yet."""

    def run(self, statements: str) -> Iterator[Result]:
        """Run one or more statements; one Result each, in order. Each result must be read, or
        closed by going on to the next, before the next begins.

        Each statement commits by itself unless BEGIN was said. A connection found lost is re-made
        and the statement is run again only if nothing had been sent; inside a transaction it is
        an error (`ConnectionFailedError`). A statement the server refuses: `SqlError`, with the
        position and the server's hint. Ctrl-C while the server works, or `cancel`, ends the statement
        with `InterruptedByUserError`, and the session stays usable.
        """

    def query(self, statement: str) -> Result:
        """Run one statement that returns rows. Anything else is refused before it runs: `UsageError`."""

    def notices(self) -> list[str]:
        """What the server said beside the results since the last call ("NOTICE: …")."""

    def cancel(self) -> None:
        """Ask the server to end the running statement. May be called from any thread."""

    def names(self) -> Names:
        """Read the database's names on a connection of its own. May be called from any thread."""

    def describe(self, pattern: str | None) -> list[str]:
        """Lines that describe relations as `\\d` does: all of them, or one with its columns, indexes,
        constraints and triggers. Nothing that matches: `NotFoundError`."""

    def close(self) -> None:
        """End the connection."""
