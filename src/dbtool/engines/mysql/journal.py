"""What a restore writes down beside its rows, so that the next run can tell what a dead one left behind.

It is a table in the database that is being restored: which name the database shall have, how far it
came, and the statements that finish the swap or undo it. Whoever restores also holds a named lock
of the server's; where that is free, the restore is dead.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.quoting import qualified
from dbtool.errors import VerificationError

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

TABLE = "__dbtool_restore__"
FORMAT = 1

LOADING = "loading"  # what is in the database is a part of the backup; drop it
SWAPPING = "swapping"  # tables are being moved, and what belongs to them is made again
DONE = "done"  # only what was replaced is still to be dropped

_CREATE = (
    "CREATE TABLE {} (number INT NOT NULL PRIMARY KEY, body LONGBLOB NOT NULL) ENGINE=InnoDB "
    "COMMENT 'A restore by dbtool is not finished; the next one clears it away'"
)
_FIND = "SELECT table_schema FROM information_schema.tables WHERE table_name = %s ORDER BY 1"


@dataclass(frozen=True)
class Script:
    """Statements about one object, run in the final database in one go."""

    what: str  # "trigger orders_audit"
    statements: tuple[str, ...]
    unless: str = ""  # a query: where it has a row, all is done already


@dataclass
class Journal:
    """The whole of it. `database` is where it stands."""

    database: str
    final: str
    old: str = ""  # where replaced tables are kept until all is done
    phase: str = LOADING
    final_is_new: bool = False  # the final database is made by the swap, with
    create_final: str = ""  # this statement
    is_direct: bool = False  # `database` is the final one: there was no right to make another
    switched_local_infile: bool = False  # the server's setting was changed, and is to be changed back
    moves_in: tuple[str, ...] = ()  # tables that come from `database` to the final one
    moves_out: tuple[str, ...] = ()  # tables of the final one that are set aside
    made: tuple[tuple[str, str], ...] = ()  # (kind, name) of what `finish` makes, in its order
    clear: tuple[Script, ...] = field(default=(), repr=False)  # before tables are moved
    finish: tuple[Script, ...] = field(default=(), repr=False)  # when they have been
    undo: tuple[Script, ...] = field(default=(), repr=False)  # when they have been moved back

    def create(self, session: Session) -> None:
        """Make the table and write all down. Raises what the driver raises."""
        with session.cursor() as cursor:
            cursor.execute(_CREATE.format(self._table))
        self.write(session)

    def write(self, session: Session) -> None:
        """Write all down, in one transaction."""
        head = asdict(self)
        parts = {part: head.pop(part) for part in ("clear", "finish", "undo")}
        head.pop("database")
        bodies: list[dict[str, Any]] = [{"format": FORMAT, **head}]
        bodies += [{"part": part, **script} for part, scripts in parts.items() for script in scripts]
        with session.cursor() as cursor:
            cursor.execute("START TRANSACTION")
            cursor.execute(f"DELETE FROM {self._table}")  # noqa: S608
            for number, body in enumerate(bodies):
                cursor.execute(
                    f"INSERT INTO {self._table} VALUES (%s, %s)",  # noqa: S608
                    (number, json.dumps(body)),
                )
            cursor.execute("COMMIT")

    def write_head(self, session: Session) -> None:
        """Write down what changed but for the scripts."""
        head = {"format": FORMAT, **asdict(self)}
        for name in ("clear", "finish", "undo", "database"):
            head.pop(name)
        with session.cursor() as cursor:
            cursor.execute(f"UPDATE {self._table} SET body = %s WHERE number = 0", (json.dumps(head),))  # noqa: S608

    def make_durable(self, session: Session) -> None:
        """Have the server write down what it was told, also where it is set to do so a second later. What it
        drops next (triggers, routines, tables of other engines) does not wait for InnoDB's log.

        Every change of an InnoDB table's definition ends with that log on the disk.
        """
        session.query(f"ALTER TABLE {self._table} FORCE")

    def drop(self, session: Session) -> None:
        """Drop the table: the database is finished."""
        session.query(f"DROP TABLE {self._table}")

    @property
    def _table(self) -> str:
        return qualified(self.database, TABLE)


def read(session: Session, database: str) -> Journal | None:
    """The journal of a database; None where its table is empty, for its maker died just then.

    Raises VerificationError for one that is not understood.
    """
    with session.cursor() as cursor:
        cursor.execute(f"SELECT body FROM {qualified(database, TABLE)} ORDER BY number")  # noqa: S608
        bodies = [row[0] for row in cursor.fetchall()]
    if not bodies:
        return None
    try:
        head, *rest = (json.loads(body) for body in bodies)
        if head.pop("format") != FORMAT:
            raise ValueError("another format")
        scripts: dict[str, list[Script]] = {"clear": [], "finish": [], "undo": []}
        for body in rest:
            script = Script(body["what"], tuple(body["statements"]), body["unless"])
            scripts[body["part"]].append(script)
        for name in ("moves_in", "moves_out"):
            head[name] = tuple(head[name])
        head["made"] = tuple((kind, name) for kind, name in head["made"])
        for part, found in scripts.items():
            head[part] = tuple(found)
        return Journal(database, **head)
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(
            f"database {database} holds a restore that was not finished, and its journal is not understood: "
            f"{error}",
            f"use the dbtool that wrote it, or look into `{database}` and drop it",
        ) from None


def databases_with_one(session: Session) -> Sequence[str]:
    """Databases that hold the journal's table, as far as the account sees them."""
    with session.cursor() as cursor:
        cursor.execute(_FIND, (TABLE,))
        return [row[0] for row in cursor.fetchall()]


def take(session: Session, database: str) -> bool:
    """Hold the named lock of who restores in this database, for as long as the session lives."""
    with session.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, 0)", (_lock_name(database),))
        row = cursor.fetchone()
        return row is not None and row[0] == 1


def let_go(session: Session, database: str) -> None:
    """Let go of it."""
    with session.cursor() as cursor:
        cursor.execute("DO RELEASE_LOCK(%s)", (_lock_name(database),))


def is_taken(session: Session, database: str) -> bool:
    """Whether this very session holds it."""
    with session.cursor() as cursor:
        cursor.execute("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (_lock_name(database),))
        row = cursor.fetchone()
        return row is not None and row[0] == 1


def _lock_name(database: str) -> str:
    return f"dbtool.{hashlib.sha256(database.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
