"""Where a PostgreSQL archive is restored: a new database beside the old one, or an existing one.

A database that does not exist yet, or is to be replaced, is restored under another name and
renamed at the end: whatever happens before, nothing half-done bears its name, and nothing is lost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.base import Stage, TargetOptions
from dbtool.engines.postgres.connect import backup_session_settings, connect
from dbtool.engines.postgres.globals import restore_globals
from dbtool.engines.postgres.load import CopyLoader
from dbtool.engines.postgres.messages import readable_errors
from dbtool.engines.postgres.replace import TableReplacement
from dbtool.engines.postgres.restore_plan import RestorePlan, make_plan
from dbtool.engines.postgres.selection import choose_from_index
from dbtool.engines.postgres.staging import StagedDatabase, database_exists
from dbtool.errors import ConnectionFailedError, RefusedError
from dbtool.failpoints import reach
from dbtool.model.archive import ArchiveIndex
from dbtool.model.backup import BackupType
from dbtool.model.connection import Connection
from dbtool.text import counted

if TYPE_CHECKING:
    import psycopg

_MAINTENANCE_DATABASES = ("postgres", "template1")

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


class PostgresTarget:
    """See `engines.base.Target`."""

    def __init__(self, connection: Connection, index: ArchiveIndex, options: TargetOptions) -> None:
        self._server = connection
        self._index = index
        self._options = options
        self._name = options.database
        self._staged: StagedDatabase | None = None
        self._replacement: TableReplacement | None = None
        self._plan: RestorePlan
        self._is_finished = False
        self._changed_existing = False
        self.notes: list[str] = []
        self._keys_with_index: set[int] = set()

    # ---- the place -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Decide between a new database and the existing one, and make it ready."""
        chosen = self._chosen_tables()
        with readable_errors("preparing the database"), self._maintenance() as session:
            exists = database_exists(session, self._name)
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
                self._staged = StagedDatabase(
                    self._server,
                    session,
                    self._index.backup["database"],
                    self._name,
                    self._options.with_owners,
                )

    def restore_globals(self, script: bytes) -> None:
        """Make roles and tablespaces that are missing."""
        with self._maintenance() as session:
            self.notes += restore_globals(session, script)

    def _make_plan(self, chosen: frozenset[int] | None, present: frozenset[tuple[str, str]]) -> RestorePlan:
        options = self._options
        plan = make_plan(self._index, chosen, options.with_privileges, present, options.compare)
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

    @contextlib.contextmanager
    def _maintenance(self) -> Iterator[psycopg.Connection[Any]]:
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
            backup_session_settings(session, loading=True)
            return session.execute(_USER_OBJECTS_SQL).fetchall()

    @property
    def _working_connection(self) -> Connection:
        return self._server.with_database(self._staged.name if self._staged else self._name)

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
        with readable_errors("connecting to the database that is restored"):
            return CopyLoader(
                self._working_connection,
                self._index,
                self._options.with_owners,
                shared,
                self.notes,
                self._keys_with_index,
            )

    # ---- the end -------------------------------------------------------------------------------

    def finish(self) -> None:
        """Give the restored database its name, or drop the tables that were set aside."""
        reach("before-swap")
        if self._replacement is not None:
            self._replacement.finish()
        if self._staged is not None:
            with readable_errors("putting the database in its place"), self._maintenance() as session:
                self.notes += self._staged.take_place(session, self._options.replace)
        self._is_finished = True

    def close(self) -> None:
        """Clear away what was not finished."""
        if self._is_finished or self._options.dry_run:
            return
        if self._replacement is not None:
            self._replacement.put_back(self.notes)
        elif self._staged is not None:
            self._drop_staged(self._staged)
        elif self._changed_existing:
            self.notes.append(
                f"database {self._name} may hold a part of the backup: clear that away before you try again"
            )

    def _drop_staged(self, staged: StagedDatabase) -> None:
        try:
            with self._maintenance() as session:
                staged.drop(session)
        except Exception as error:
            reason = str(error).splitlines()[0]
            self.notes.append(f"the unfinished database {staged.name} could not be dropped: {reason}")


def _count(existing: list[tuple[str, str, str]]) -> str:
    tables = sum(kind in ("r", "p", "f") for _, _, kind in existing)
    if tables:
        return counted(tables, "table")
    return counted(len(existing), "other object")
