"""Holds databases of a server still: one snapshot that several connections share.

A snapshot holds rows still, and nothing else: a table that is altered, truncated or dropped behind it is
gone for it too, and one that is renamed takes its rows to its new name. So every connection reads a row of
each table at once, which bars changes of its definition until the connection ends; and what the
tables are called, and which they are, is looked at before and after. Where something has changed in between, it
all begins again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtool.engines.mysql import introspect, locks
from dbtool.engines.mysql.connect import connect, dump_session_settings
from dbtool.engines.mysql.flavour import flavour_of
from dbtool.engines.mysql.locks import Coordinates, TryAgainError, UnavailableError
from dbtool.engines.mysql.messages import number_of
from dbtool.engines.mysql.queries import rows_of, value_of
from dbtool.engines.mysql.quoting import qualified
from dbtool.errors import RefusedError
from dbtool.failpoints import reach
from dbtool.model.connection import Connection
from dbtool.model.database import Snapshot

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

# What says that a table is no more what it was when it was listed.
CHANGED = frozenset({1146, 1051, 1412, 1356, 1054, 1176, 1505, 1735})
_TOUCHED_AT_ONCE = 40
_NOW = "SELECT DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%f+00:00')"

Relations = dict[str, tuple[introspect.Relation, ...]]  # by database


@dataclass(frozen=True)
class Wanted:
    """Which databases, and of a database which tables: all, if none are named."""

    databases: tuple[str, ...]
    choose: Callable[[Sequence[introspect.Relation]], frozenset[str]] | None = None
    choose_in: str | None = None  # the database that `choose` speaks of


class HeldSnapshot:
    """The holder's connection, and those that readers will use, all in one snapshot.

    `session` may be used inside it by one thread. `relations` has all tables, sequences and views of
    each database; `chosen` the names of the tables whose rows can be read.
    """

    def __init__(
        self, connection: Connection, wanted: Wanted, workers: int, lock_timeout_seconds: float
    ) -> None:
        self._connection = connection
        self._wanted = wanted
        self._seconds = lock_timeout_seconds
        self._sessions: list[Session] = []
        self._table_locks: Session | None = None
        self._spare: list[Session] = []
        self._readers = workers
        self._pool_lock = threading.Lock()
        self._holds_definitions = False
        self.relations: Relations = {}
        self.chosen: dict[str, frozenset[str]] = {}
        self.identities: dict[str, dict[str, int]] = {}
        self.locked_tables: frozenset[tuple[str, str]] = frozenset()  # those that know no snapshots
        self.snapshot: Snapshot
        try:
            self.session = self._open("dbtool backup snapshot")
            self._control = self._open("dbtool backup control")
            self.flavour = flavour_of(self.session)
            self.server = introspect.server_facts(self.session, self.flavour)
            self._spare = [self._open("dbtool backup reader") for _ in range(workers)]
            self._hold()
        except BaseException:
            self.close()
            raise

    def _open(self, name: str) -> Session:
        session = connect(self._connection, application_name=name, database=False)
        self._sessions.append(session)
        dump_session_settings(session)
        session.query(f"SET SESSION lock_wait_timeout = {locks.PATIENCE_SECONDS}")
        return session

    # ---- taking it -----------------------------------------------------------------------------

    def _hold(self) -> None:
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                self._attempt()
                return
            except TryAgainError as error:
                reason = str(error)
            self._let_go()
            locks.wait_a_little(deadline, reason, self._seconds)

    def _attempt(self) -> None:
        import pymysql

        before = self._look()
        reach("listed")
        try:
            found = self._open_snapshots()
            reach("locked")
            self._touch()
        except pymysql.MySQLError as error:
            if number_of(error) in CHANGED:
                raise TryAgainError("definitions of tables were being changed") from None
            if number_of(error) == locks.LOCK_TIMED_OUT:
                raise TryAgainError("a table's definition is being changed, or it is locked") from None
            raise
        if self._look() != before:
            raise TryAgainError("tables were made, dropped, renamed or truncated")
        self.snapshot = Snapshot(str(value_of(self.session, _NOW)), {"method": found.method, **found.details})

    def _look(self) -> list[tuple[str, str, str, str, int]]:
        """List what there is; what must be the same when it is looked at again."""
        seen = []
        for database in self._wanted.databases:
            found = introspect.relations(self._control, database)
            self.relations[database] = found
            tables = frozenset(item.name for item in found if item.has_rows)
            if self._wanted.choose is not None and database == self._wanted.choose_in:
                tables &= self._wanted.choose(found)
            self.chosen[database] = tables
            self.identities[database] = introspect.identities(
                self._control, database, [item.name for item in found if item.is_table], self.flavour
            )
            for item in found:
                if item.is_table or item.kind == "SEQUENCE":
                    identity = self.identities[database].get(item.name, 0)
                    seen.append((database, item.name, item.engine, item.created, identity))
        self.locked_tables = frozenset(
            (database, name)
            for database, found in self.relations.items()
            for name in locks_needed(self._control, found)
            if name in self.chosen[database]
        )
        return seen

    def _open_snapshots(self) -> Coordinates:
        """By the gentlest way that is open; the last one leaves a single connection."""
        sessions = [self.session, *self._spare]
        flavour, lock, hold = self.flavour, self._lock_tables, self._hold_definitions
        names = [qualified(database, name) for database, name in self._transactional()]
        ways: list[Callable[[], Coordinates]] = [
            lambda: locks.open_by_comparing(sessions, lock, flavour),
            lambda: locks.open_under_backup_stage(self._control, sessions, lock, flavour),
            lambda: locks.open_under_read_lock(self._control, sessions, lock, flavour, hold),
            lambda: locks.open_under_table_locks(self._control, sessions, lock, flavour, names),
        ]
        if flavour.is_mariadb:
            del ways[2]  # the stages do the same with less
        if not self._spare:
            ways = ways[:1] if flavour.is_mariadb else []
        for way in ways:
            try:
                return way()
            except UnavailableError:
                for session in sessions:
                    session.query("ROLLBACK")
        spare, self._spare = self._spare, []
        for session in spare:
            session.close()
        self._sessions = [session for session in self._sessions if session not in spare]
        return locks.open_one(self.session, lock, flavour)

    def _hold_definitions(self) -> None:
        self._holds_definitions = locks.hold_definitions(self._control)

    def _transactional(self) -> list[tuple[str, str]]:
        return [
            (database, name)
            for database, names in self.chosen.items()
            for name in sorted(names)
            if (database, name) not in self.locked_tables
        ]

    def _lock_tables(self) -> None:
        """Tables that know no snapshots are locked until `release_tables`. Raises RefusedError."""
        if not self.locked_tables:
            return
        if self._table_locks is None:
            self._table_locks = self._open("dbtool backup locks")
        names = [qualified(*name) for name in sorted(self.locked_tables)]
        try:
            locks.lock_for_reading(self._table_locks, names)
        except UnavailableError as error:
            shown = ", ".join(name for _, name in sorted(self.locked_tables)[:3])
            raise RefusedError(
                f"the rows of {shown} cannot be held still without a lock, and the account may not take it: {error}",
                "GRANT LOCK TABLES ON the database TO the account, or ALTER TABLE … ENGINE = InnoDB",
            ) from None

    def _touch(self) -> None:
        """Every connection reads a row of each table, so that nobody changes its definition meanwhile,
        nor waits to do so in front of a reader."""
        names = [qualified(*name) for name in self._transactional()]
        looks = [f"(SELECT 1 FROM {name} LIMIT 1)" for name in names]  # noqa: S608
        statements = [
            " UNION ALL ".join(looks[start : start + _TOUCHED_AT_ONCE])
            for start in range(0, len(looks), _TOUCHED_AT_ONCE)
        ]

        def touch(session: Session) -> None:
            for statement in statements:
                rows_of(session, statement)

        with ThreadPoolExecutor(len(self._spare) + 1) as pool:
            for done in [pool.submit(touch, session) for session in (self.session, *self._spare)]:
                done.result()

    def _let_go(self) -> None:
        """Back to where it began."""
        for session in (self.session, *self._spare):
            session.query("ROLLBACK")
        self.release_tables()
        self.release_definitions()

    # ---- using it ------------------------------------------------------------------------------

    @property
    def is_shared(self) -> bool:
        """Whether readers have connections of their own."""
        return bool(self.snapshot.details["method"] != "one connection")

    @property
    def is_whole(self) -> bool:
        """Whether no connection has been lost. To be asked while none is taken."""
        import pymysql

        if self.is_shared and len(self._spare) < self._readers:
            return False
        try:
            self.check()
        except (pymysql.MySQLError, OSError):
            return False
        return True

    def take_session(self) -> Session:
        """A reader's connection in the snapshot; give it back for others to use."""
        with self._pool_lock:
            if self._spare:
                return self._spare.pop()
        raise LookupError("there are no more connections in the snapshot")

    def give_back(self, session: Session) -> None:
        """A reader needs its connection no more."""
        with self._pool_lock:
            self._spare.append(session)

    def release_definitions(self) -> None:
        """All definitions have been read: others may change theirs again."""
        if self._holds_definitions:
            self._holds_definitions = False
            locks.release_definitions(self._control)

    def release_tables(self) -> None:
        """The tables that know no snapshots have been read."""
        with self._pool_lock:
            session, self._table_locks = self._table_locks, None
        if session is not None:
            with contextlib.suppress(Exception):
                session.close()
            self._sessions.remove(session)

    def check(self) -> None:
        """Raise unless the snapshot, and the locks, are still there."""
        self.session.query("SELECT 1")
        if self._table_locks is not None:
            self._table_locks.query("SELECT 1")

    def close(self) -> None:
        """Let go of everything."""
        for session in self._sessions:
            with contextlib.suppress(Exception):
                session.close()


def locks_needed(session: Session, found: Sequence[introspect.Relation]) -> list[str]:
    """Names of tables whose engines know no transactions."""
    return introspect.without_transactions(session, found)
