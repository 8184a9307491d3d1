"""What all of `doctor`'s looks at a PostgreSQL server begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg


@dataclass(frozen=True)
class Facts:
    """A session, who we are in it and which server it is."""

    session: psycopg.Connection[tuple[Any, ...]]
    version: str
    version_number: int
    database: str
    database_bytes: int | None
    user: str
    is_superuser: bool
    may_replicate: bool
    may_create_databases: bool
    bypasses_row_security: bool
    in_recovery: bool

    @classmethod
    def read(cls, session: psycopg.Connection[tuple[Any, ...]]) -> Facts:
        """Ask the server. `search_path` must be `pg_catalog` alone."""
        row = session.execute(
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int,"
            " current_database(), pg_database_size(current_database()), rolname, rolsuper, rolreplication,"
            " rolcreatedb, rolbypassrls, pg_is_in_recovery()"
            " FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert row is not None  # noqa: S101 - a session always has a role
        version, *others = row
        return cls(session, str(version).partition(" ")[0], *others)

    @property
    def major(self) -> int:
        """The major version."""
        return self.version_number // 10000

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        return self.session.execute(query.encode()).fetchall()

    def names(self, query: str) -> list[str]:
        """The first column of what a query gives."""
        return [str(row[0]) for row in self.rows(query)]

    def setting(self, name: str) -> str | None:
        """A setting as the server writes it; None where this version has none of that name."""
        row = self.session.execute("SELECT setting FROM pg_settings WHERE name = %s", [name]).fetchone()
        return None if row is None else str(row[0])

    def integer(self, name: str) -> int:
        """A setting that is a number; 0 where there is none."""
        return int(self.setting(name) or 0)
