"""dbtool's own source of rows, used in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dbtool.engines.base import SourceOptions
from dbtool.engines.mysql.dump import MysqlSource
from dbtool.model.connection import Connection
from dbtool.progress import Silent


@contextlib.contextmanager
def open_source(connection: Connection) -> Iterator[MysqlSource]:
    """One reader in a snapshot of its own; what is read besides has been read."""
    source = MysqlSource(connection, SourceOptions(workers=1), Silent())
    try:
        source.globals_sql()
        yield source
    finally:
        source.close()
