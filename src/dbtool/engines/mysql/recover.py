"""What dead restores left: finished, undone or cleared away by the next one into the same database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql import journal, staging
from dbtool.engines.mysql.definitions import objects_of
from dbtool.engines.mysql.execute import Executor
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.journal import Journal
from dbtool.engines.mysql.quoting import qualified
from dbtool.engines.mysql.replace import Swap, drop_statements, tables_of
from dbtool.errors import BusyError, RefusedError

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]


def recover(
    session: Session, final: str, flavour: Flavour, executor: Executor, notes: list[str], may_replace: bool
) -> None:
    """Finish, undo or clear away what dead restores into `final` left.

    Raises BusyError while another restore into it takes its place, and RefusedError for a database
    that was filled as it is and may hold what somebody added since.
    """
    for database in journal.databases_with_one(session):
        written = journal.read(session, database)
        if written is not None and written.final != final:
            continue
        if written is None and not database.startswith(final[:20]):
            continue
        if not journal.take(session, database):
            if written is not None and (written.phase != journal.LOADING or written.is_direct):
                raise BusyError(f"another restore into {final} is under way", "wait until it is done")
            continue
        if written is None:
            staging.drop(session, database)
        elif written.is_direct:
            _clear_unfinished(session, flavour, written, notes, may_replace)
        else:
            _settle(Swap(session, executor, written, notes), written, notes)
            staging.drop(session, database)
        if written is not None and written.switched_local_infile:
            switch_local_infile(session, on=False)
        journal.let_go(session, database)


def _settle(swap: Swap, written: Journal, notes: list[str]) -> None:
    if written.phase != journal.LOADING:
        swap.finish_or_undo()
        return
    notes.append(
        f"a restore into {written.final} had died: what it left in {written.database} was cleared away"
    )


def _clear_unfinished(
    session: Session, flavour: Flavour, written: Journal, notes: list[str], may_replace: bool
) -> None:
    if not may_replace:
        journal.let_go(session, written.database)
        raise RefusedError(
            f"database {written.final} holds a part of a backup: a restore into it died",
            "add --replace to clear it away and put the backup in its place, or restore into another name",
        )
    empty(session, written.database, flavour)
    notes.append(f"a restore into {written.final} had died: what it left there was cleared away")


def empty(session: Session, database: str, flavour: Flavour) -> None:
    """Drop all that a database holds, but not itself. Raises what the driver raises, or DbtoolError."""
    for item in reversed(objects_of(session, database, flavour)):
        if item.kind != "TRIGGER":
            for statement in drop_statements(item.kind, item.name, database):
                session.query(statement)
    names = [qualified(database, name) for name in (*tables_of(session, database), journal.TABLE)]
    session.query(f"DROP TABLE IF EXISTS {', '.join(names)}")


def switch_local_infile(session: Session, on: bool) -> bool:
    """Let the server take LOAD DATA LOCAL from clients, or not. Whether the account may say so."""
    import pymysql

    try:
        session.query(f"SET GLOBAL local_infile = {int(on)}")
    except pymysql.MySQLError:
        return False
    return True
