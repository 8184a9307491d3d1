"""The PostgreSQL engine: the door to the rooms beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtool.engines.postgres.messages import readable_errors
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    from dbtool.archive.reader import ArchiveReader
    from dbtool.engines.base import SourceOptions, TargetOptions
    from dbtool.engines.postgres.differential import PostgresDifferential
    from dbtool.engines.postgres.dump import PostgresSource
    from dbtool.engines.postgres.session import PostgresSession
    from dbtool.engines.postgres.target import PostgresTarget
    from dbtool.model.archive import ArchiveIndex
    from dbtool.progress import Progress


class PostgresEngine:
    """See `engines.base.Engine`."""

    name = "postgres"

    def open_source(
        self, connection: Connection, options: SourceOptions, progress: Progress
    ) -> PostgresSource:
        """Take locks and snapshot."""
        from dbtool.engines.postgres.dump import PostgresSource

        with readable_errors("looking at the database"):
            return PostgresSource(connection, options, progress)

    def open_differential(
        self, connection: Connection, base: ArchiveReader, options: SourceOptions, progress: Progress
    ) -> PostgresDifferential:
        """Take locks and snapshot, and see whether the base's history is this server's."""
        from dbtool.engines.postgres.differential import PostgresDifferential

        with readable_errors("looking at the database"):
            return PostgresDifferential(connection, options, progress, base)

    @contextmanager
    def open_sources(
        self,
        connection: Connection,
        databases: Sequence[str],  # noqa: ARG002 - each is opened when its turn comes
        options: SourceOptions,
        progress: Progress,
    ) -> Iterator[Callable[[str], PostgresSource]]:
        """One after the other, each in a snapshot of its own: no snapshot spans databases."""
        yield lambda name: self.open_source(connection.with_database(name), options, progress)

    def open_session(self, connection: Connection) -> PostgresSession:
        """A connection for SQL."""
        from dbtool.engines.postgres.session import PostgresSession

        return PostgresSession(connection)

    def open_target(
        self, connection: Connection, index: ArchiveIndex, options: TargetOptions
    ) -> PostgresTarget:
        """A place on a server to restore to."""
        from dbtool.engines.postgres.target import PostgresTarget

        with readable_errors("looking at the server"):
            return PostgresTarget(connection, index, options)

    def databases(self, connection: Connection) -> list[str]:
        """Every database that is no template."""
        from dbtool.engines.postgres import introspect
        from dbtool.engines.postgres.connect import connect

        with (
            readable_errors("listing the databases"),
            connect(connection.with_database("postgres")) as session,
        ):
            return introspect.databases(session)
