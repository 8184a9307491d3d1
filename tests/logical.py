"""Taking and restoring logical backups in the tests' own process, and looking at what came back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import connect

from dbtool.archive.reader import ArchiveReader
from dbtool.catalog.repository import Repository, Resolved
from dbtool.engines.postgres.engine import PostgresEngine
from dbtool.model.backup import Metadata
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, logical_backup
from dbtool.operations.restore import RestoreOptions, RestoreReport, restore
from dbtool.progress import Silent
from dbtool.storage.local import LocalStore

_USER_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1
"""


def backup(connection: Connection, repository: Path, *tables: str, **options: Any) -> Metadata:
    """A backup, full or of some tables."""
    return logical_backup(
        PostgresEngine(),
        connection,
        LocalStore(repository),
        BackupOptions(tables=tables, **options),
        Silent(),
    )


def resolve(repository: Path, reference: str = "latest") -> Resolved:
    """A backup of the repository, or what lies at a path."""
    return Repository(LocalStore(repository)).resolve(reference)


def bring_back(
    repository: Path, target: Connection, *tables: str, reference: str = "latest", **options: Any
) -> RestoreReport:
    """Restore a backup into `target.database`, or some tables of it."""
    chosen = RestoreOptions(database=target.database, tables=tables, **options)
    return restore(PostgresEngine(), target, resolve(repository, reference), chosen, Silent())


def archive_of(repository: Path, metadata: Metadata) -> ArchiveReader:
    """The main file of a backup."""
    name = next(one.name for one in metadata.artefacts if one.name.endswith(".sql.zst"))
    return ArchiveReader(LocalStore(repository), f"{metadata.id}/{name}")


def contents(connection: Connection) -> dict[str, list[str]]:
    """The rows of every table, as sorted text."""
    with connect(connection, client_encoding="UTF8") as session:
        names = [name for (name,) in session.execute(_USER_TABLES)]
        return {
            name: sorted(
                str(row) for (row,) in session.execute(f"SELECT t::text FROM ONLY {name} AS t".encode())
            )
            for name in names
        }


def databases(connection: Connection) -> set[str]:
    """The names of all databases."""
    with connect(connection.with_database("postgres")) as session:
        return {name for (name,) in session.execute("SELECT datname FROM pg_database")}
