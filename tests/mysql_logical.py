"""Taking and restoring logical backups of MySQL and MariaDB in the tests' own process.

As a program, `python -m tests.mysql_logical REPOSITORY PORT DATABASE [--replace]` restores the latest
backup there, for tests that kill it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dbtool.catalog.repository import Repository
from dbtool.engines.mysql.engine import MysqlEngine
from dbtool.model.backup import Metadata
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, logical_backup
from dbtool.operations.differential import DifferentialOptions, differential_backup
from dbtool.operations.differential_policy import DifferentialPolicy
from dbtool.operations.restore import RestoreOptions, RestoreReport, restore
from dbtool.progress import Silent
from dbtool.storage.local import LocalStore

NO_END = DifferentialPolicy(max_differential_ratio=1e6)  # small databases have large differentials


def backup(connection: Connection, repository: Path, *tables: str, **options: Any) -> Metadata:
    """A backup, full or of some tables."""
    chosen = BackupOptions(tables=tables, **options)
    return logical_backup(MysqlEngine(), connection, LocalStore(repository), chosen, Silent())


def differential(connection: Connection, repository: Path, **options: Any) -> Metadata:
    """A differential on the newest full; whatever else was taken is told by its type."""
    chosen = DifferentialOptions(**{"method": "rows", "policy": NO_END, **options})
    return differential_backup(MysqlEngine(), connection, LocalStore(repository), chosen, Silent())


def bring_back(
    repository: Path, target: Connection, *tables: str, reference: str = "latest", **options: Any
) -> RestoreReport:
    """Restore a backup into `target.database`, or some tables of it."""
    resolved = Repository(LocalStore(repository)).resolve(reference)
    chosen = RestoreOptions(database=target.database, tables=tables, **options)
    return restore(MysqlEngine(), target, resolved, chosen, Silent())


def main() -> None:
    """Restore as the arguments say."""
    repository, port, database, *flags = sys.argv[1:]
    target = Connection(engine="mysql", database=database, host="127.0.0.1", port=int(port), user="root")
    bring_back(Path(repository), target, replace="--replace" in flags)


if __name__ == "__main__":
    main()
