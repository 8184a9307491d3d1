"""The engine of MySQL and MariaDB: the door to the rooms beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtool.engines.mysql.messages import readable_errors
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    from dbtool.archive.reader import ArchiveReader
    from dbtool.engines.base import SourceOptions, TargetOptions
    from dbtool.engines.mysql.differential import MysqlDifferential
    from dbtool.engines.mysql.dump import MysqlSource
    from dbtool.engines.mysql.session import MysqlSession
    from dbtool.engines.mysql.target import MysqlTarget
    from dbtool.model.archive import ArchiveIndex
    from dbtool.progress import Progress


class MysqlEngine:
    """See `engines.base.Engine`."""

    name = "mysql"

    def open_source(self, connection: Connection, options: SourceOptions, progress: Progress) -> MysqlSource:
        """Take locks and snapshot."""
        from dbtool.engines.mysql.dump import MysqlSource

        with readable_errors("looking at the database"):
            return MysqlSource(connection, options, progress)

    def open_differential(
        self, connection: Connection, base: ArchiveReader, options: SourceOptions, progress: Progress
    ) -> MysqlDifferential:
        """Take locks and snapshot, and see whether the schemas can be compared."""
        from dbtool.engines.mysql.differential import MysqlDifferential

        with readable_errors("looking at the database"):
            return MysqlDifferential(connection, options, progress, base)

    @contextmanager
    def open_sources(
        self, connection: Connection, databases: Sequence[str], options: SourceOptions, progress: Progress
    ) -> Iterator[Callable[[str], MysqlSource]]:
        """All in one snapshot."""
        from dbtool.engines.mysql.together import SourcesTogether

        with (
            readable_errors("looking at the databases"),
            SourcesTogether(connection, databases, options, progress) as together,
        ):
            yield together.open

    def open_session(self, connection: Connection) -> MysqlSession:
        """A connection for SQL."""
        from dbtool.engines.mysql.session import MysqlSession

        return MysqlSession(connection)

    def open_target(self, connection: Connection, index: ArchiveIndex, options: TargetOptions) -> MysqlTarget:
        """A place on a server to restore to."""
        from dbtool.engines.mysql.target import MysqlTarget

        with readable_errors("looking at the server"):
            return MysqlTarget(connection, index, options)

    def databases(self, connection: Connection) -> list[str]:
        """Every database but the system's own."""
        from dbtool.engines.mysql import introspect
        from dbtool.engines.mysql.connect import connect

        with (
            readable_errors("listing the databases"),
            connect(connection, database=False) as session,
        ):
            return introspect.databases(session)
