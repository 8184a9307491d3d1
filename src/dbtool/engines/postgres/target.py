"""Where a PostgreSQL archive is restored: a new database beside the old one, or an existing one.

A database that does not exist yet, or is to be replaced, is restored under another name and
renamed at the end: whatever happens before, nothing half-done bears its name, and nothing is lost.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.base import Chunk, Stage, TargetOptions
from dbtool.engines.postgres import introspect
from dbtool.engines.postgres.connect import backup_session_settings, connect
from dbtool.engines.postgres.guide import create_database_sql
from dbtool.engines.postgres.load import CopyLoader
from dbtool.engines.postgres.plan import plan_chunks
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.engines.postgres.replace import TableReplacement
from dbtool.engines.postgres.restore_plan import RestorePlan, make_plan
from dbtool.engines.postgres.selection import choose_from_index
from dbtool.errors import BusyError, ConnectionFailedError, DbtoolError, RefusedError, SqlError, VerificationError
from dbtool.failpoints import reach
from dbtool.model.archive import ArchiveIndex
from dbtool.model.backup import BackupType
from dbtool.model.connection import Connection
from dbtool.model.database import Column, Table

if TYPE_CHECKING:
    import psycopg

_MAINTENANCE_DATABASES = ("postgres", "template1")
_LONGEST_NAME_BYTES = 63

_USER_OBJECTS_SQL = """
SELECT n.nspname, c.relname, c.relkind::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = c.oid AND d.deptype = 'e')
UNION ALL
SELECT n.nspname, p.proname, 'F' FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_proc'::regclass
                    AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT nspname, '', 'N' FROM pg_namespace
WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'public')
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_namespace'::regclass
                    AND d.objid = pg_namespace.oid AND d.deptype = 'e')
LIMIT 100000
"""

_CONNECTED_SQL = """
SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'
  AND pid <> pg_backend_pid()
"""


class PostgresTarget:
    """See `engines.base.Target`."""

    def __init__(self, connection: Connection, index: ArchiveIndex, options: TargetOptions) -> None:
        self._server = connection
        self._index = index
        self._options = options
        self._name = options.database
        self._staging: str | None = None  # the name while it is not finished
        self._replacement: TableReplacement | None = None
        self._plan: RestorePlan
        self._is_finished = False
        self._changed_existing = False
        self.notes: list[str] = []

    # ---- the place -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Decide between a new database and the existing one, and make it ready."""
        chosen = self._chosen_tables()
        with self._maintenance() as session:
            exists = session.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self._name,)).fetchone()
            existing = self._existing_objects() if exists else []
            tables = frozenset((schema, name) for schema, name, kind in existing if kind in ("r", "p", "f"))
            if chosen is not None and exists:
                self._changed_existing = True
                self._plan = self._make_plan(chosen, tables - self._restored_names(chosen))
                self._prepare_tables(chosen, tables)
                return
            self._plan = self._make_plan(chosen, frozenset())
            if exists and existing and not self._options.replace:
                raise RefusedError(
                    f"database {self._name} is not empty: it holds {_count(existing)}",
                    "restore --into another name, or add --replace to put the backup in its place",
                )
            if exists and not existing:
                self._changed_existing = True
                self.notes.append(f"database {self._name} exists and is empty: it is filled as it is")
            elif not self._options.dry_run:
                self._create(session)

    def _make_plan(self, chosen: frozenset[int] | None, present: frozenset[tuple[str, str]]) -> RestorePlan:
        plan = make_plan(self._index, chosen, self._options.with_privileges, present)
        self.notes.extend(plan.notes)
        return plan

    def _chosen_tables(self) -> frozenset[int] | None:
        patterns = self._options.table_patterns
        if not patterns and self._index.backup["type"] == BackupType.PARTIAL.value:
            # Its tables may join, or replace, their like; never the whole database.
            patterns = ("*",)
        return choose_from_index(self._index, patterns) if patterns else None

    def _restored_names(self, chosen: frozenset[int]) -> frozenset[tuple[str, str]]:
        return frozenset(
            (item.schema, item.name)
            for frame in self._index.frames
            for item in frame.objects
            if item.kind in ("TABLE", "FOREIGN TABLE") and item.identity in chosen
        )

    def _prepare_tables(self, chosen: frozenset[int], tables: frozenset[tuple[str, str]]) -> None:
        present = sorted(self._restored_names(chosen) & tables)
        if not present:
            return
        listed = ", ".join(f"{schema}.{name}" for schema, name in present[:5])
        if not self._options.replace:
            raise RefusedError(
                f"in database {self._name} there is already {listed}{' …' if len(present) > 5 else ''}",
                "add --replace to put the backup's tables in their place, or restore --into another database",
            )
        if self._options.dry_run:
            return
        self._replacement = TableReplacement(self._server.with_database(self._name), present)
        self._replacement.set_aside()

    def _create(self, session: psycopg.Connection[Any]) -> None:
        suffix = f"_dbtool_{secrets.token_hex(4)}"
        kept = self._name.encode()[: _LONGEST_NAME_BYTES - len(suffix)].decode("utf-8", "ignore")
        self._staging = kept + suffix
        database = self._index.backup["database"]
        rules = session.info.server_version >= 160000
        statement = create_database_sql(database, self._staging, rules=rules)
        import psycopg

        try:
            session.execute(statement.encode())
            # Nobody but us needs to see it before it is whole.
            session.execute(f"REVOKE CONNECT ON DATABASE {quote_identifier(self._staging)} FROM PUBLIC".encode())
        except psycopg.errors.InsufficientPrivilege as error:
            self._staging = None
            raise RefusedError(
                f"the account may not create a database: {error.diag.message_primary}",
                "ALTER ROLE … CREATEDB, or create an empty database and restore into that",
            ) from None
        except psycopg.Error as error:
            self._staging = None
            raise DbtoolError(
                f"the database could not be created: {error.diag.message_primary}",
                "create an empty database of that name as you want it, and restore into that",
            ) from None

    @contextlib.contextmanager
    def _maintenance(self) -> Any:
        """A session in a database that is not restored into."""
        last: ConnectionFailedError | None = None
        for name in (*_MAINTENANCE_DATABASES, self._name):
            try:
                session = connect(self._server.with_database(name), application_name="dbtool restore control")
            except ConnectionFailedError as error:
                last = last or error
                continue
            with session:
                yield session
            return
        assert last is not None  # noqa: S101
        raise last

    def _existing_objects(self) -> list[tuple[str, str, str]]:
        with connect(self._server.with_database(self._name)) as session:
            return session.execute(_USER_OBJECTS_SQL).fetchall()  # type: ignore[return-value]

    @property
    def _working_connection(self) -> Connection:
        return self._server.with_database(self._staging or self._name)

    # ---- the work ------------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """All the work, in order."""
        return self._plan.stages

    def restored_tables(self) -> Sequence[int]:
        """Positions of the tables whose rows come."""
        return self._plan.tables

    def open_loader(self) -> CopyLoader:
        """A connection of its own to the database being restored."""
        shared = self._plan.shared if self._changed_existing else frozenset()
        return CopyLoader(
            self._working_connection, self._index, self._options.with_owners, shared, self.notes
        )

    def comparisons(self) -> Sequence[tuple[int, Chunk]]:
        """What to read back of every table that was restored."""
        with connect(self._working_connection) as session:
            backup_session_settings(session, loading=True)
            present = {(table.schema, table.name): table for table in introspect.tables(session)}
            server = introspect.server_facts(session)
            wanted: list[int] = []
            tables: list[Table] = []
            for number in self._plan.tables:
                table = self._index.tables[number]
                found = present.get((table.schema, table.name))
                if found is None:
                    raise VerificationError(f"{table.schema}.{table.name} is not there after the restore")
                wanted.append(number)
                tables.append(_as_backed_up(found, table.columns))
            encoding = self._index.backup["database"]["encoding"]
            session.execute("SELECT set_config('client_encoding', %s, false)", (encoding,))
            codec = "utf-8" if encoding == "SQL_ASCII" else session.info.encoding
            return [(wanted[chunk.table], chunk) for chunk in plan_chunks(session, server, tables, codec)]

    # ---- the end -------------------------------------------------------------------------------

    def finish(self) -> None:
        """Give the restored database its name, or drop the tables that were set aside."""
        reach("before-swap")
        if self._replacement is not None:
            self._replacement.finish()
        if self._staging is not None:
            with self._maintenance() as session:
                self._swap(session)
        self._is_finished = True

    def _swap(self, session: psycopg.Connection[Any]) -> None:
        import psycopg

        staging, name = quote_identifier(self._staging or ""), quote_identifier(self._name)
        old = f"{self._staging}_old"[-_LONGEST_NAME_BYTES:]
        if self._index.backup["database"]["privileges"] is None or not self._options.with_privileges:
            session.execute(f"GRANT CONNECT ON DATABASE {staging} TO PUBLIC".encode())
        if self._options.with_owners:
            self._give_to_owner(session, staging)
        exists = session.execute("SELECT 1 FROM pg_database WHERE datname = %s", (self._name,)).fetchone()
        if not exists:
            session.execute(f"ALTER DATABASE {staging} RENAME TO {name}".encode())
            return
        if not self._options.replace:
            raise RefusedError(
                f"a database {self._name} was made by somebody while it was being restored",
                f"the restored one is called {self._staging}; rename it, or drop it",
            )
        try:
            session.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS false".encode())
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (self._name,)
            )
            self._rename_both(session, staging, name, quote_identifier(old))
        except psycopg.Error as error:
            with contextlib.suppress(psycopg.Error):
                session.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS true".encode())
            raise BusyError(
                f"the restored database could not take the place of {self._name}: {error.diag.message_primary}",
                "end the sessions that use it, and restore again; nothing was changed",
            ) from None
        session.execute(f"DROP DATABASE {quote_identifier(old)}".encode())

    def _rename_both(self, session: psycopg.Connection[Any], staging: str, name: str, old: str) -> None:
        """Both renames or none. Sessions that are just ending are waited for."""
        import time

        import psycopg

        for attempt in range(20):
            try:
                with session.transaction():
                    session.execute(f"ALTER DATABASE {name} RENAME TO {old}".encode())
                    session.execute(f"ALTER DATABASE {staging} RENAME TO {name}".encode())
            except psycopg.errors.ObjectInUse:
                if attempt == 19:
                    raise
                time.sleep(0.25)
            else:
                return

    def _give_to_owner(self, session: psycopg.Connection[Any], staging: str) -> None:
        import psycopg

        owner = self._index.backup["database"]["owner"]
        try:
            session.execute(f"ALTER DATABASE {staging} OWNER TO {quote_identifier(owner)}".encode())
        except psycopg.Error as error:
            raise SqlError(
                f"the database cannot be given to its owner {owner}: {error.diag.message_primary}",
                "restore with --globals to make the roles, or with --no-owner",
            ) from None

    def close(self) -> None:
        """Clear away what was not finished."""
        if self._is_finished or self._options.dry_run:
            return
        if self._replacement is not None:
            self._replacement.put_back(self.notes)
        if self._staging is not None:
            with contextlib.suppress(Exception), self._maintenance() as session:
                session.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (self._staging,)
                )
                session.execute(f"DROP DATABASE IF EXISTS {quote_identifier(self._staging)}".encode())
                self._staging = None
        elif self._changed_existing and self._replacement is None:
            self.notes.append(f"database {self._name} holds a part of the backup: empty it before you try again")


def _count(existing: list[tuple[str, str, str]]) -> str:
    tables = sum(kind in ("r", "p", "f") for _, _, kind in existing)
    if tables:
        return f"{tables} table{'s' if tables != 1 else ''}"
    return f"{len(existing)} other object{'s' if len(existing) != 1 else ''}"


def _as_backed_up(found: Table, columns: tuple[tuple[str, str], ...]) -> Table:
    """The table in the target with its columns in the order in which the backup has them."""
    return Table(
        identity=found.identity,
        schema=found.schema,
        name=found.name,
        columns=tuple(Column(name, type_) for name, type_ in columns),
        key=found.key,
        size_bytes=found.size_bytes,
        row_estimate=found.row_estimate,
        condition=found.condition,
        details=found.details,
    )
