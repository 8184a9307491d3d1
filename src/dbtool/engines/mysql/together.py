"""Several databases of one server in one snapshot, each a source of its own."""

from __future__ import annotations

from collections.abc import Sequence

from dbtool.engines.base import SourceOptions
from dbtool.engines.mysql.dump import MysqlSource
from dbtool.engines.mysql.messages import readable_errors
from dbtool.engines.mysql.snapshot import HeldSnapshot, Wanted
from dbtool.errors import DbtoolError
from dbtool.model.connection import Connection
from dbtool.progress import Progress


class SourcesTogether:
    """The snapshot, and a source for each database. Use as a context manager.

    All definitions are read at the beginning. What is wrong with one database is raised when that is
    opened, and does not stop the others. Where one that failed took the snapshot's connections with it, those
    behind it are read in snapshots of their own, and say so.
    """

    def __init__(
        self, connection: Connection, databases: Sequence[str], options: SourceOptions, progress: Progress
    ) -> None:
        self._connection = connection
        self._options = options
        self._progress = progress
        self._sources: dict[str, MysqlSource | DbtoolError] = {}
        wanted = Wanted(tuple(databases))
        self._held = HeldSnapshot(connection, wanted, options.workers, options.lock_timeout_seconds)
        try:
            for name in databases:
                self._sources[name] = self._look(name)
            self._held.release_definitions()
        except BaseException:
            self._held.close()
            raise

    def _look(self, name: str) -> MysqlSource | DbtoolError:
        try:
            with readable_errors(f"looking at the database {name}"):
                return self._open(name, self._held)
        except DbtoolError as error:
            return error

    def _open(self, name: str, held: HeldSnapshot | None) -> MysqlSource:
        return MysqlSource(self._connection.with_database(name), self._options, self._progress, held)

    def open(self, name: str) -> MysqlSource:
        """The source of a database. Raises what was wrong when it was looked at. A second time it is
        looked at anew."""
        found = self._sources.pop(name, None)
        if isinstance(found, DbtoolError):
            raise found
        if found is not None and self._held.is_whole:
            return found
        if found is not None:
            found.close()
        source = self._open(name, None)
        source.warnings.append("this is not the snapshot of the databases before it: a connection was lost")
        return source

    def __enter__(self) -> SourcesTogether:
        return self

    def __exit__(self, *_: object) -> None:
        for source in self._sources.values():
            if isinstance(source, MysqlSource):
                source.close()
        self._held.close()
