"""Where a MySQL or MariaDB archive is restored: a database beside the final one, whose tables are moved there.

So it is for new databases and for old ones: whatever happens before, nothing half-done bears the name,
and nothing is lost. Only where the account may not make a database beside it, the final one is filled
as it is, with a table in it that says that it is not finished.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.base import Stage, TargetOptions
from dbtool.engines.mysql import accounts, history, journal, recover, replace, staging
from dbtool.engines.mysql.connect import connect, load_session_settings
from dbtool.engines.mysql.definers import Definers
from dbtool.engines.mysql.definitions import objects_of
from dbtool.engines.mysql.execute import Executor, MissingDefiners
from dbtool.engines.mysql.flavour import Flavour, flavour_of
from dbtool.engines.mysql.foreign import Translation, translation_for
from dbtool.engines.mysql.journal import Journal
from dbtool.engines.mysql.load import MysqlLoader, Remembered
from dbtool.engines.mysql.messages import readable_errors, text_of
from dbtool.engines.mysql.queries import value_of
from dbtool.engines.mysql.restore_plan import RestorePlan, make_plan
from dbtool.engines.mysql.selection import choose_from_index
from dbtool.engines.mysql.swap_plan import Existing, write_plan
from dbtool.errors import ConnectionFailedError, RefusedError
from dbtool.failpoints import reach
from dbtool.model.archive import ArchiveIndex, TableSummary
from dbtool.model.backup import BackupType
from dbtool.model.connection import Connection
from dbtool.text import counted

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

_INTERLEAVED = 2  # innodb_autoinc_lock_mode: statements do not wait for each other's counting


class MysqlTarget:
    """See `engines.base.Target`."""

    def __init__(self, connection: Connection, index: ArchiveIndex, options: TargetOptions) -> None:
        self._server = connection
        self._index = index
        self._options = options
        self._name = options.database
        self._definers = Definers.parse(options.with_owners, options.definers)
        self._session: Session | None = None
        self._flavour: Flavour
        self._translation: Translation
        self._plan: RestorePlan
        self._journal: Journal | None = None
        self._existing = Existing()
        self._remembered: Remembered = []
        self._missing_definers = MissingDefiners()
        self._late_grants: list[str] = []
        self._takes_local = False
        self._is_finished = False
        self.notes: list[str] = []

    # ---- the place -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Look at what is there, clear away what dead restores left, and make a database beside it."""
        session = self._control
        options = self._options
        chosen = self._chosen_tables()
        with readable_errors("preparing the restore"):
            self._look_for_dead_restores()
            exists = staging.database_exists(session, self._name)
            self._existing = self._look_at_existing(chosen)
        existing = self._existing
        self._plan = self._make_plan(chosen, frozenset(existing.tables) - existing.replaced)
        if chosen is not None:
            self._refuse_present()
        elif exists and (existing.tables or existing.objects):
            if not options.replace:
                raise RefusedError(
                    f"database {self._name} is not empty: it holds {self._counted()}",
                    "restore --into another name, or add --replace to put the backup in its place",
                )
        elif exists:
            self.notes.append(f"database {self._name} exists and is empty: it is filled as it is")
        if not options.dry_run:
            self._make_place(exists)
            self._settle_local_infile()

    @property
    def _control(self) -> Session:
        """A session in no database, which also holds the lock that says that we live."""
        if self._session is None:
            with readable_errors("connecting to the server"):
                self._session = connect(
                    self._server, application_name="dbtool restore control", database=False
                )
                self._flavour = flavour_of(self._session)
                load_session_settings(self._session, self._flavour)
                self._translation = translation_for(self._session, self._flavour)
        return self._session

    def _look_at_existing(self, chosen: frozenset[int] | None) -> Existing:
        session = self._control
        tables = replace.tables_of(session, self._name)
        objects = objects_of(session, self._name, self._flavour)
        if chosen is None:
            is_filled = bool(tables or objects)
            return Existing(tables, objects, frozenset(tables), is_replaced_whole=is_filled)
        fold = self._fold()
        names = {fold(table.name) for table in self._index.tables if table.identity in chosen}
        return Existing(tables, objects, frozenset(name for name in tables if fold(name) in names))

    def _fold(self) -> Callable[[str], str]:
        """How the server compares the names of tables."""
        mode = value_of(self._control, "SELECT @@GLOBAL.lower_case_table_names")
        return str.lower if int(mode or 0) else str

    def _executor(self) -> Executor:
        return Executor(self._control, self._translation, self._definers, self._missing_definers)

    def restore_globals(self, script: bytes) -> None:
        """Make users and roles that are missing."""
        with readable_errors("making users"):
            notes, self._late_grants = accounts.restore_accounts(self._control, script, self._translation)
            self.notes += notes

    def _make_plan(self, chosen: frozenset[int] | None, present: frozenset[str]) -> RestorePlan:
        plan = make_plan(self._index, chosen, present, self._options.compare, self._counts_alone())
        self.notes.extend(plan.notes)
        if journal.TABLE in plan.relations:
            raise RefusedError(
                f"the backup holds a table {journal.TABLE}: it was taken of a restore that was not finished"
            )
        self._refuse_equal_names(plan)
        history.refuse_older(
            [table.name for table in self._index.tables if self._comes_with_history(table, chosen)],
            self._flavour,
        )
        return plan

    @staticmethod
    def _comes_with_history(table: TableSummary, chosen: frozenset[int] | None) -> bool:
        is_wanted = chosen is None or table.identity in chosen
        return is_wanted and table.details.get("from_suffix") == history.HISTORY_SUFFIX

    def _refuse_equal_names(self, plan: RestorePlan) -> None:
        """Names that are two in the backup may be one to this server."""
        fold, known = self._fold(), dict[str, str]()
        for name in plan.relations:
            if (other := known.setdefault(fold(name), name)) != name:
                raise RefusedError(
                    f"the server takes the names of tables {other} and {name} for the same "
                    "(lower_case_table_names)",
                    "restore one of them with --tables, or on a server that tells them apart",
                )

    def _counts_alone(self) -> bool:
        """Whether rows had better come into a table with a counter from one worker alone.

        MariaDB latches the table's root page for each, and LOAD DATA may hold the counter to its end.
        """
        if self._flavour.is_mariadb:
            return True
        with readable_errors("looking at the server"):
            mode = value_of(self._control, "SELECT @@GLOBAL.innodb_autoinc_lock_mode")
        return mode is not None and int(mode) < _INTERLEAVED

    def _chosen_tables(self) -> frozenset[int] | None:
        patterns = self._options.table_patterns
        if not patterns and self._index.backup["type"] == BackupType.PARTIAL.value:
            # Its tables may join, or replace, their like; never the whole database.
            patterns = ("*",)
        return choose_from_index(self._index, patterns) if patterns else None

    def _refuse_present(self) -> None:
        present = self._existing.replaced
        fold = self._fold()
        views = {fold(item.name) for item in self._existing.objects if item.kind == "VIEW"}
        if taken := sorted(views.intersection(map(fold, self._plan.relations))):
            raise RefusedError(
                f"in database {self._name}, {taken[0]} is a view",
                "drop it, or restore --into another database",
            )
        if present and not self._options.replace:
            listed = ", ".join(sorted(present)[:5])
            raise RefusedError(
                f"in database {self._name} there is already {listed}{' …' if len(present) > 5 else ''}",
                "add --replace to put the backup's tables in their place, or restore --into another database",
            )

    def _counted(self) -> str:
        tables, others = len(self._existing.tables), len(self._existing.objects)
        if tables:
            return counted(tables, "table")
        return counted(others, "other object")

    def _look_for_dead_restores(self) -> None:
        if self._options.dry_run:
            for database in journal.databases_with_one(self._control):
                found = journal.read(self._control, database)
                if found is not None and found.final == self._name:
                    self.notes.append(
                        f"a restore into {self._name} is under way, or died, in {database}: "
                        "a dead one is cleared away first"
                    )
            return
        session, may_replace = self._control, self._options.replace
        recover.recover(session, self._name, self._flavour, self._executor(), self.notes, may_replace)

    def _make_place(self, exists: bool) -> None:
        facts = self._index.backup["database"]
        given = (facts, self._name, self._flavour, self._translation)
        session = self._control
        with readable_errors("making the database"):
            self._journal = staging.make_staging(session, *given)
            if self._journal is None:
                if self._existing.tables or self._existing.objects:
                    raise RefusedError(
                        "the account may not make the database that is restored beside the one that is there",
                        staging.grant_hint(self._name),
                    )
                self._journal = staging.make_direct(session, *given, exists)
                self.notes.append(
                    f"the account may not make a database beside {self._name}: it is filled as it is, "
                    f"and holds a table {journal.TABLE} until it is complete"
                )
            if not self._journal.is_direct and not exists:
                self._journal.final_is_new = True
                self._journal.create_final = staging.create_database_sql(*given)

    def _settle_local_infile(self) -> None:
        """LOAD DATA LOCAL is MySQL's fast way. Where the server does not take it, but lets us say so, it does
        for as long as this takes. MariaDB has a faster one."""
        session, written = self._control, self._journal
        with readable_errors("looking at local_infile"):
            self._takes_local = bool(int(value_of(session, "SELECT @@GLOBAL.local_infile") or 0))
            if self._takes_local or written is None or self._flavour.is_mariadb:
                return
            written.switched_local_infile = True
            written.write_head(session)
            self._takes_local = recover.switch_local_infile(session, on=True)
            if self._takes_local:
                self.notes.append("local_infile was off on the server: it is on for the time of the restore")
            else:
                written.switched_local_infile = False
                written.write_head(session)
                self.notes.append(
                    "local_infile is off on the server: rows go in as INSERT statements, which takes longer"
                )

    # ---- the work ------------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """All the work, in order."""
        return self._plan.stages

    def restored_tables(self) -> Sequence[int]:
        """Positions of the tables whose rows come."""
        return self._plan.tables

    def open_loader(self) -> MysqlLoader:
        """A connection of its own to the database being restored."""
        assert self._journal is not None  # noqa: S101
        with readable_errors("connecting to the database that is restored"):
            return MysqlLoader(
                self._server.with_database(self._journal.database),
                self._index,
                self._flavour,
                self._translation,
                definers=self._definers,
                with_local_infile=self._takes_local,
                compares=self._options.compare,
                missing_definers=self._missing_definers,
                remembered=self._remembered,
                only_remembered=self._plan.joining,
                is_final=self._journal.is_direct,
            )

    # ---- the end -------------------------------------------------------------------------------

    def finish(self) -> None:
        """Move the restored tables to where they belong, and make there what cannot be moved."""
        reach("before-swap")
        written = self._journal
        assert written is not None  # noqa: S101
        with readable_errors("putting the backup in its place"):
            self._refuse_if_the_lock_is_lost(written)
            if written.is_direct:
                written.drop(self._control)
            else:
                self._swap(written)
            self._is_finished = True
            self.notes += [*self._missing_definers.notes(), *self._translation.notes()]
            self.notes += accounts.grant(self._control, self._late_grants)

    def _refuse_if_the_lock_is_lost(self, written: Journal) -> None:
        """Another restore would think us dead."""
        if not journal.is_taken(self._control, written.database):
            raise ConnectionFailedError(
                "the connection that guards the restore was lost, and with it its lock", "restore again"
            )

    def _swap(self, written: Journal) -> None:
        session, executor = self._control, self._executor()
        self._look_again()
        facts = self._index.backup["database"]
        write_plan(
            session, self._flavour, self._translation, written, self._remembered, self._existing, facts
        )
        replace.Swap(session, executor, written, self.notes).go()

    def _look_again(self) -> None:
        """What was made in the final database meanwhile is replaced too, or stands in the way."""
        self._existing = self._look_at_existing(self._chosen_tables())
        existing = self._existing
        if not self._options.replace and (existing.replaced or existing.is_replaced_whole):
            raise RefusedError(
                f"in database {self._name}, somebody has made {self._counted()} while it was being restored",
                "restore again with --replace to put the backup in its place, or into another name",
            )
        if self._chosen_tables() is not None:
            self._refuse_present()

    def close(self) -> None:
        """Clear away what was not finished."""
        written = self._journal
        try:
            if written is not None:
                self._clear_away(written)
        finally:
            if self._session is not None:
                with contextlib.suppress(Exception):
                    self._session.close()

    def _clear_away(self, written: Journal) -> None:
        try:
            if written.switched_local_infile:
                self._reconnected()
                recover.switch_local_infile(self._control, on=False)
            if self._is_finished or written.phase != journal.LOADING:
                return
            self._reconnected()
            if written.is_direct and not written.final_is_new:
                recover.empty(self._control, written.database, self._flavour)
            else:
                staging.drop(self._control, written.database)
        except Exception as error:
            reason = text_of(error)
            self.notes.append(
                f"the unfinished database {written.database} could not be dropped ({reason}): "
                f"the next restore into {self._name} does it"
            )

    def _reconnected(self) -> None:
        """The control session, made anew if it was lost meanwhile."""
        session = self._session
        if session is not None:
            with contextlib.suppress(Exception):
                session.ping(reconnect=False)
                return
            with contextlib.suppress(Exception):
                session.close()
        self._session = None
