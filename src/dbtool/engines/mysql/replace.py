"""Moving restored tables to where they belong, in the place of others, so that a failure loses nothing.

MySQL commits at every DDL, so this is one RENAME TABLE for all tables between two lists of small
steps, and a journal that is written first. What cannot be moved with its table (triggers; and of a
whole database its views, routines and events) is dropped before and made again after; how to make the
old ones again stands in the journal too. As long as nothing was renamed, a swap that died is
undone by the next run; from then on it is finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql import journal, staging
from dbtool.engines.mysql.definitions import objects_of
from dbtool.engines.mysql.dependents import outside_keys
from dbtool.engines.mysql.execute import Executor
from dbtool.engines.mysql.journal import Journal, Script
from dbtool.engines.mysql.messages import number_of, readable_errors, text_of
from dbtool.engines.mysql.quoting import qualified, quote_identifier
from dbtool.errors import BusyError, RefusedError, SqlError
from dbtool.failpoints import reach

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

_LOCK_TIMEOUT_SECONDS = 30
_UNDO_TIMEOUT_SECONDS = 300
_LOCK_WAIT_TIMEOUT = 1205
_DATABASE_EXISTS = 1007

VIEW_STAND_IN = "VIEW STAND-IN"  # a table, until the view is made
DROPPED_KINDS = frozenset(
    {"VIEW", "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "LIBRARY", "TRIGGER", "EVENT"}
)

_TABLES_SQL = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = %s AND table_type NOT IN ('VIEW', 'SYSTEM VIEW', 'TEMPORARY') AND table_name <> %s
ORDER BY table_name
"""


def drop_statements(kind: str, name: str, database: str) -> tuple[str, ...]:
    """How an object that belongs to no table, or a trigger, is dropped, if it is there."""
    statement = f"DROP {kind} IF EXISTS {qualified(database, name)}"
    # MariaDB knows packages only so.
    return ("SET SESSION sql_mode = 'ORACLE'", statement) if kind.startswith("PACKAGE") else (statement,)


def tables_of(session: Session, database: str) -> list[str]:
    """Names of tables and sequences in a database, without our own."""
    with session.cursor() as cursor:
        cursor.execute(_TABLES_SQL, (database, journal.TABLE))
        return [row[0] for row in cursor.fetchall()]


class Swap:
    """The steps of one journal, forward and back. `session` is in no database, and holds its lock."""

    def __init__(self, session: Session, executor: Executor, written: Journal, notes: list[str]) -> None:
        self._session = session
        self._executor = executor
        self._journal = written
        self._notes = notes

    def go(self) -> None:
        """Put the restored tables in their place. After an error all is as it was before, or `notes`
        says what is not."""
        written = self._journal
        with readable_errors("preparing to put the backup in its place"):
            written.phase = journal.SWAPPING
            written.write(self._session)
            written.make_durable(self._session)
        try:
            with readable_errors("putting the backup in its place"):
                self._make_room()
                reach("swap-prepared")
                self._move(forward=True)
                reach("swap-moved")
                self._run(written.finish)
                reach("swap-finished")
        except BaseException:
            self._undo_noting()
            raise
        self._clear_away()

    def finish_or_undo(self) -> None:
        """What the next run does for a swap that died. Notes say what became of it."""
        written = self._journal
        final = written.final
        if written.phase == journal.DONE:
            self._clear_away()
            return
        if not self._is_moved():
            self.undo()
            self._notes.append(
                f"a restore into {final} had died before it was done: what it left was cleared away, "
                "and the database is as it was before"
            )
            return
        try:
            self._move(forward=True)
            self._run(written.finish)
        except SqlError as error:
            self.undo()
            self._notes.append(
                f"a restore into {final} had died and could not be finished ({error.message}): "
                "the database is as it was before"
            )
            return
        self._clear_away()
        self._notes.append(f"a restore into {final} had died while it took its place: it was finished")

    def undo(self) -> None:
        """Bring all back to what it was before `go`. Raises what went wrong."""
        written = self._journal
        with readable_errors("undoing the swap"):
            self._session.query(f"SET SESSION lock_wait_timeout = {_UNDO_TIMEOUT_SECONDS}")
            if self._moved_in() or self._moved_out():
                for key in outside_keys(self._session, written.final, written.moves_in):
                    self._executor.run(key.what, (key.drop,), "could not be dropped")
                self._drop_made()
                self._move(forward=False)
            if staging.database_exists(self._session, written.final):
                self._run_in_any_order(written.undo)
            if written.old and not tables_of(self._session, written.old):
                staging.drop(self._session, written.old)
            if written.final_is_new and not tables_of(self._session, written.final):
                staging.drop(self._session, written.final)
            written.phase = journal.LOADING
            written.write_head(self._session)

    def _drop_made(self) -> None:
        """Drop what was made anew, as far as it came."""
        final = self._journal.final
        flavour = self._executor.flavour
        there = {(item.kind, item.name) for item in objects_of(self._session, final, flavour)}
        tables = frozenset(tables_of(self._session, final))
        for kind, name in reversed(self._journal.made):
            if (kind, name) in there:
                statements = drop_statements(kind, name, final)
            elif kind == VIEW_STAND_IN and name in tables:
                statements = (f"DROP TABLE {qualified(final, name)}",)
            else:
                continue
            self._executor.run(f"{kind} {name}", statements, "could not be dropped")

    def _undo_noting(self) -> None:
        try:
            self.undo()
        except Exception as error:
            reason = text_of(error)
            self._notes.append(
                f"the swap into {self._journal.final} failed half-way and could not be undone ({reason}): "
                f"the next restore into it finishes or undoes it; its journal is in {self._journal.database}"
            )
            self._journal.phase = journal.SWAPPING

    # ---- steps ---------------------------------------------------------------------------------

    def _make_room(self) -> None:
        written = self._journal
        self._session.query(f"SET SESSION lock_wait_timeout = {_LOCK_TIMEOUT_SECONDS}")
        if written.final_is_new:
            self._make_final()
        if written.moves_out:
            self._session.query(f"CREATE DATABASE {quote_identifier(written.old)}")
        self._run(written.clear, "could not be set aside")

    def _make_final(self) -> None:
        import pymysql

        written = self._journal
        try:
            self._session.query(written.create_final)
        except pymysql.MySQLError as error:
            written.final_is_new = False
            if number_of(error) == _DATABASE_EXISTS:
                raise RefusedError(
                    f"a database {written.final} was made by somebody while it was being restored",
                    "restore again with --replace to put the backup in its place, or into another name",
                ) from None
            raise

    def _move(self, forward: bool) -> None:
        """All moves that are still to be made, in one statement."""
        written = self._journal
        here, final, old = written.database, written.final, written.old
        out, into = self._moved_out(), self._moved_in()
        if forward:
            moves = [(final, old, name) for name in written.moves_out if name not in out]
            moves += [(here, final, name) for name in written.moves_in if name not in into]
        else:
            moves = [(final, here, name) for name in written.moves_in if name in into]
            moves += [(old, final, name) for name in written.moves_out if name in out]
        if not moves:
            return
        self._rename(moves)

    def _rename(self, moves: Sequence[tuple[str, str, str]]) -> None:
        import pymysql

        listed = ", ".join(
            f"{qualified(source, name)} TO {qualified(target, name)}" for source, target, name in moves
        )
        try:
            self._session.query(f"RENAME TABLE {listed}")
        except pymysql.MySQLError as error:
            if number_of(error) == _LOCK_WAIT_TIMEOUT:
                raise BusyError(
                    f"the tables of {self._journal.final} are in use: somebody's transaction holds them",
                    "end it, or wait for it, and restore again",
                ) from None
            raise

    def _moved_out(self) -> frozenset[str]:
        """Old tables that have been set aside."""
        written = self._journal
        return frozenset(written.moves_out).intersection(
            tables_of(self._session, written.old) if written.old else ()
        )

    def _moved_in(self) -> frozenset[str]:
        """New tables that are no longer where they were restored, and so in the final database."""
        written = self._journal
        return frozenset(written.moves_in).difference(tables_of(self._session, written.database))

    def _is_moved(self) -> bool:
        return bool(self._moved_in())

    def _run_in_any_order(self, scripts: Sequence[Script]) -> None:
        """Views are made again as soon as those that they read are there."""
        waiting = list(scripts)
        while waiting:
            failed: list[tuple[Script, SqlError]] = []
            for script in waiting:
                try:
                    self._run((script,))
                except SqlError as error:
                    failed.append((script, error))
            if len(failed) == len(waiting):
                for script, reason in failed:
                    self._notes.append(
                        f"{script.what} could not be made again: {reason.message}; it was: {script.statements[-1]}"
                    )
                return
            waiting = [script for script, _ in failed]

    def _run(self, scripts: Sequence[Script], doing: str = "could not be made") -> None:
        for script in scripts:
            if script.unless and self._has_row(script.unless):
                continue
            self._executor.run(
                script.what, (f"USE {quote_identifier(self._journal.final)}", *script.statements), doing
            )

    def _has_row(self, query: str) -> bool:
        with self._session.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchone() is not None

    def _clear_away(self) -> None:
        """Drop what was replaced, and at last the journal."""
        written = self._journal
        left = written.old
        try:
            written.phase = journal.DONE
            written.write_head(self._session)
            written.make_durable(self._session)
            reach("swap-done")
            if written.old:
                staging.drop(self._session, written.old)
            left = written.database
            staging.drop(self._session, written.database)
        except Exception as error:
            reason = text_of(error)
            self._notes.append(
                f"all is restored, but {left} could not be dropped ({reason}): the next restore does it"
            )
