"""A database that is restored under another name and takes its own at the end.

Whatever happens before, nothing half-done bears the name, and the old database is as it was.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

from dbtool.engines.postgres.connect import connect
from dbtool.engines.postgres.guide import create_database_sql
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.errors import BusyError, DbtoolError, RefusedError, SqlError
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    import psycopg

    Session = psycopg.Connection[tuple[Any, ...]]

_LONGEST_NAME_BYTES = 63
_RENAME_ATTEMPTS = 6  # each waits up to five seconds for sessions to end, on the server
_UNDEFINED_OBJECT = "42704"

_SUBSCRIPTIONS_SQL = """
SELECT s.subname FROM pg_catalog.pg_subscription AS s
JOIN pg_catalog.pg_database AS d ON d.oid = s.subdbid WHERE d.datname = pg_catalog.current_database()
"""


def database_exists(session: Session, name: str) -> bool:
    """Whether the server has a database of that name."""
    return session.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


class StagedDatabase:
    """A new, empty database like the backup's, called `name` while it is not finished."""

    def __init__(
        self,
        server: Connection,
        session: Session,
        database: dict[str, Any],
        final_name: str,
        with_owner: bool,
    ) -> None:
        """Make it. `database` is what the backup says of its database.

        Raises RefusedError, SqlError or DbtoolError, and then nothing was made.
        """
        import psycopg

        self._server = server
        self._final_name = final_name
        self.name = _name_beside(final_name, "new")
        rules = session.info.server_version >= 160000
        statement = create_database_sql(database, self.name, with_owner=with_owner, rules=rules)
        try:
            session.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise RefusedError(
                f"the account may not create the database: {error.diag.message_primary}",
                "ALTER ROLE … CREATEDB; or restore with --no-owner, or into an empty database",
            ) from None
        except psycopg.Error as error:
            if with_owner and error.diag.sqlstate == _UNDEFINED_OBJECT:
                raise SqlError(
                    f"the database cannot be given to its owner: {error.diag.message_primary}",
                    "restore with --globals to make the roles, or with --no-owner",
                ) from None
            raise DbtoolError(
                f"the database could not be created: {error.diag.message_primary or error}",
                "create an empty database of that name as you want it, and restore into that",
            ) from None

    def take_place(self, session: Session, may_replace: bool) -> list[str]:
        """Give it its name; a database that has the name is dropped. Remarks for a person.

        Raises RefusedError or BusyError, and then nothing was changed.
        """
        import psycopg

        new, name = quote_identifier(self.name), quote_identifier(self._final_name)
        if not database_exists(session, self._final_name):
            session.execute(f"ALTER DATABASE {new} RENAME TO {name}".encode())
            return []
        if not may_replace:
            raise RefusedError(
                f"a database {self._final_name} was made by somebody while it was being restored",
                "restore again with --replace to put the backup in its place, or into another name",
            )
        old_name = _name_beside(self._final_name, "old")
        old = quote_identifier(old_name)
        try:
            self._rename_both(session, new, name, old)
        except psycopg.Error as error:
            raise BusyError(
                f"the restored database could not take the place of {self._final_name}: "
                f"{error.diag.message_primary or error}",
                "end the sessions that use it, and restore again; nothing was changed",
            ) from None
        try:
            self._drop(session, old_name)
        except (psycopg.Error, DbtoolError) as error:
            return [f"the replaced database is still there as {old_name}, and could not be dropped: {error}"]
        return []

    def _rename_both(self, session: Session, new: str, name: str, old: str) -> None:
        """Both renames or none, so that the name is there at any moment, however this ends."""
        import psycopg

        for attempt in range(1, _RENAME_ATTEMPTS + 1):
            _end_sessions(session, self._final_name)
            try:
                with session.transaction():
                    session.execute(f"ALTER DATABASE {name} RENAME TO {old}".encode())
                    session.execute(f"ALTER DATABASE {new} RENAME TO {name}".encode())
            except psycopg.errors.ObjectInUse:
                if attempt == _RENAME_ATTEMPTS:
                    raise
                time.sleep(0.1)
            else:
                return

    def drop(self, session: Session) -> None:
        """Clear it away, unfinished."""
        self._drop(session, self.name)

    def _drop(self, session: Session, name: str) -> None:
        """Drop a database with what would hold it: sessions, and subscriptions. Their slots on the
        publishers are left to the subscriptions of the same names that were restored."""
        with connect(self._server.with_database(name), application_name="dbtool restore control") as inside:
            for (subscription,) in inside.execute(_SUBSCRIPTIONS_SQL).fetchall():
                quoted = quote_identifier(subscription)
                for action in ("ALTER {} DISABLE", "ALTER {} SET (slot_name = NONE)", "DROP {}"):
                    inside.execute(action.format(f"SUBSCRIPTION {quoted}").encode())
        _end_sessions(session, name)
        session.execute(f"DROP DATABASE IF EXISTS {quote_identifier(name)}".encode())


def _end_sessions(session: Session, database: str) -> None:
    session.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))


def _name_beside(name: str, what: str) -> str:
    """A name that nobody has, told by its beginning; no longer than names may be."""
    suffix = f"_dbtool_{what}_{secrets.token_hex(4)}"
    return name.encode()[: _LONGEST_NAME_BYTES - len(suffix)].decode("utf-8", "ignore") + suffix
