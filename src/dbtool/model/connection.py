"""How to reach a server: one description that every driver and every client program is fed from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Connection:
    """Where a server is and who we are there. None means: as the client library decides.

    For PostgreSQL that is libpq with its service file, `~/.pgpass` and PG* variables.
    """

    engine: str  # "postgres" or "mysql"
    database: str
    host: str | None = None  # a name, an address, or a directory with a Unix socket
    port: int | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)  # a secret: never printed, never in argv
    service: str | None = None
    passfile: str | None = None
    tls_mode: str | None = None  # libpq's sslmode words
    tls_root_certificate: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    connect_timeout_seconds: int = 15

    def with_database(self, database: str) -> Connection:
        """The same server and account, another database."""
        return replace(self, database=database)
