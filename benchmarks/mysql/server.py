"""The server that is measured: set up as one in production is, for both sides alike."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bench import say
from benchmarks.mysql import data
from dbtool.engines.mysql.connect import connect
from dbtool.engines.mysql.queries import named_rows, rows_of, value_of
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer, find_mysql

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

SETTINGS = {
    "innodb_buffer_pool_size": "2G",
    "innodb_log_file_size": "2G",
    "innodb_flush_log_at_trx_commit": "1",
    "innodb_io_capacity": "2000",  # of a solid-state disk; the default is that of a turning one
    "innodb_io_capacity_max": "4000",
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "server_id": "1",
    "character_set_server": "utf8mb4",
    "max_allowed_packet": "64M",
}
_AT_ONCE = "20000"  # pages a second, while the server comes to rest
_CLEAN_PAGES = 100  # the server itself dirties some all the time
_REST_SECONDS = 300.0


class Server:
    """A running server, and what is done to it between the measurements."""

    def __init__(self, server: MysqlServer, has_tls: bool) -> None:
        self.process = server
        self.has_tls = has_tls
        self.label = f"MariaDB {server.version}"

    @classmethod
    @contextlib.contextmanager
    def start(cls, folder: Path) -> Iterator[Server]:
        """The newest MariaDB of this system, with TLS if a certificate can be made; `folder` is empty."""
        tls = _certificate(folder)
        with MysqlServer.start(find_mysql("mariadb"), SETTINGS, tls=tls) as server:
            yield cls(server, tls is not None)

    def connection(self, database: str) -> Connection:
        """How everybody here reaches a database: over TCP, without TLS."""
        return Connection(
            engine="mysql",
            database=database,
            host="127.0.0.1",
            port=self.process.port,
            user="root",
            tls_mode="disable",
        )

    @contextlib.contextmanager
    def session(self, database: str | None = None) -> Iterator[Session]:
        """A connection of the superuser."""
        opened = connect(self.connection(database or "mysql"), database=database is not None)
        try:
            yield opened
        finally:
            opened.close()

    def make(self, database: str, statements: Iterator[str]) -> None:
        """Make a database and fill it, faster than a server in production may."""
        say(f"{self.label}: loading database {database}")
        with self.session() as session:
            session.query(f"CREATE DATABASE {database} CHARACTER SET utf8mb4")
            session.select_db(database)
            session.query("SET GLOBAL innodb_flush_log_at_trx_commit = 0")
            for statement in (*data.LOADING, *statements):
                rows_of(session, statement)
            session.query("SET GLOBAL innodb_flush_log_at_trx_commit = 1")
        self.rest()

    def drop(self, database: str) -> None:
        """Remove a database, and let the server come to rest."""
        with self.session() as session:
            session.query(f"DROP DATABASE IF EXISTS {database}")
        self.rest()

    def rest(self) -> None:
        """Wait until all is written, and no deleted rows are left to clear away; empty the binary log."""
        with self.session() as session:
            session.query("RESET MASTER")
            session.query("SET GLOBAL innodb_max_purge_lag_wait = 0")
            session.query(f"SET GLOBAL innodb_io_capacity_max = {_AT_ONCE}")
            session.query(f"SET GLOBAL innodb_io_capacity = {_AT_ONCE}")
            session.query("SET GLOBAL innodb_max_dirty_pages_pct = 0")
            deadline = time.monotonic() + _REST_SECONDS
            while _dirty_pages(session) > _CLEAN_PAGES and time.monotonic() < deadline:
                time.sleep(0.1)
            session.query("SET GLOBAL innodb_max_dirty_pages_pct = 90")
            session.query(f"SET GLOBAL innodb_io_capacity = {SETTINGS['innodb_io_capacity']}")
            session.query(f"SET GLOBAL innodb_io_capacity_max = {SETTINGS['innodb_io_capacity_max']}")

    def counts(self, database: str) -> dict[str, int]:
        """How many rows each table has; empty where there is no such database."""
        with self.session() as session:
            names = [
                name
                for (name,) in rows_of(
                    session,
                    f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{database}'",
                )
            ]
            return {name: int(value_of(session, f"SELECT COUNT(*) FROM {database}.{name}")) for name in names}

    def facts(self, database: str) -> str:
        """How large a database and its largest table are, as the server sees it."""
        with self.session() as session:
            sizes = named_rows(
                session,
                "SELECT table_name AS name, data_length AS data_bytes, index_length AS index_bytes "
                f"FROM information_schema.tables WHERE table_schema = '{database}' ORDER BY 2 DESC",
            )
        total = sum(int(row["data_bytes"]) for row in sizes)
        indexes = sum(int(row["index_bytes"]) for row in sizes)
        share = int(sizes[0]["data_bytes"]) / max(1, total)
        return (
            f"{self.label}: database {database} has {total / 1e6:.0f} MB of rows and {indexes / 1e6:.0f} MB of "
            f"indexes on the server; {sizes[0]['name']} is {share:.0%} of the rows"
        )


def _dirty_pages(session: Session) -> int:
    return int(
        value_of(
            session,
            "SELECT variable_value FROM information_schema.global_status "
            "WHERE variable_name = 'INNODB_BUFFER_POOL_PAGES_DIRTY'",
        )
    )


def _certificate(folder: Path) -> tuple[Path, Path] | None:
    """The files of a new certificate and of its key; None where there is no openssl."""
    if shutil.which("openssl") is None:
        return None
    certificate, key = folder / "server.crt", folder / "server.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key
