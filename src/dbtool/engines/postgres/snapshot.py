"""Holds a database still: locks on its tables, and one exported snapshot taken under them.

The locks come first. A table that is truncated or rewritten between a snapshot and its lock would
dump empty, for TRUNCATE and table rewrites are not undone by an older snapshot; a snapshot taken
while all locks are held cannot see such a table. LOCK takes no snapshot of its own, so one
transaction serves for both. Tables that appear in between are found by comparing, and then it
all begins again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from dbtool.engines.postgres import activity, introspect
from dbtool.engines.postgres.connect import backup_session_settings, codec_of, connect
from dbtool.engines.postgres.messages import readable_errors
from dbtool.engines.postgres.quoting import qualified
from dbtool.errors import BusyError, DbtoolError, RefusedError
from dbtool.failpoints import reach
from dbtool.model.connection import Connection
from dbtool.model.database import Snapshot, Table
from dbtool.text import counted

if TYPE_CHECKING:
    import psycopg

_LEAST_ATTEMPTS = 5
_TABLES_A_STATEMENT = 500
# How long one LOCK waits before all is let go and begun again: less than the server's usual
# deadlock_timeout, so that who wants our tables in another order is never made the victim.
_PATIENCE_SECONDS = 0.5

# On a standby all that is replayed is on disk.
_IS_FLUSHED_SQL = """
SELECT CASE WHEN pg_is_in_recovery() THEN true ELSE pg_current_wal_flush_lsn() >= %s::pg_lsn END,
       (SELECT setting::float8 / 1000 FROM pg_settings WHERE name = 'wal_writer_delay')
"""

_BEGIN_SQL = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class HeldSnapshot:
    """The transaction that holds locks and snapshot. `session` may be used inside it."""

    def __init__(self, connection: Connection, lock_timeout_seconds: float) -> None:
        self.control = connect(connection, application_name="dbtool backup control")
        self.session = connect(connection, application_name="dbtool backup snapshot")
        self._lock_timeout_seconds = lock_timeout_seconds
        self._locked_by_others: str | None = None
        self.snapshot: Snapshot
        self.tables: list[Table]
        try:
            backup_session_settings(self.control)
            backup_session_settings(self.session)
            self.server = introspect.server_facts(self.control)
            with readable_errors("taking locks and snapshot"):
                self._hold()
        except BaseException:
            self.close()
            raise

    def _hold(self) -> None:
        deadline = time.monotonic() + self._lock_timeout_seconds
        attempts = 0
        while attempts < _LEAST_ATTEMPTS or time.monotonic() < deadline:
            attempts += 1
            self._locked_by_others = None
            self.session.execute(_BEGIN_SQL)
            if self._lock_all():
                reach("locked")
                oldest = activity.oldest_transaction(self.control)
                self._taken = time.monotonic()
                self.snapshot = introspect.take_snapshot(self.session, self.server.version_number)
                self.snapshot.details.update(oldest)
                self.tables = introspect.tables(self.session)
                wanted = {oid for oid, *_ in introspect.lockable_tables(self.session)}
                if wanted <= introspect.held_locks(self.session):
                    return
            self.session.execute("ROLLBACK")
        if self._locked_by_others:
            raise BusyError(
                f"{self._locked_by_others} is locked by somebody else, for longer than "
                f"{self._lock_timeout_seconds:g} s",
                "wait for it to end, or allow more with -lock-timeout SECONDS",
            )
        raise BusyError(
            f"tables were made, dropped or renamed all the time: no lock on all of them in {attempts} attempts",
            "try again when no migration is running, or allow more time with -lock-timeout SECONDS",
        )

    def _lock_all(self) -> bool:
        """Lock every table; False if that must begin again, as when one went away in the meantime."""
        import psycopg

        tables = introspect.lockable_tables(self.control)
        reach("listed")
        for start in range(0, len(tables), _TABLES_A_STATEMENT):
            names = [
                qualified(schema, name) for _, schema, name, _ in tables[start : start + _TABLES_A_STATEMENT]
            ]
            watch = _BlockedTable(self.control, self.session.info.backend_pid, _PATIENCE_SECONDS)
            try:
                with watch:
                    self.session.execute(f"SET LOCAL lock_timeout = {int(_PATIENCE_SECONDS * 1000)}")
                    statement = f"LOCK TABLE ONLY {', ONLY '.join(names)} IN ACCESS SHARE MODE"
                    self.session.execute(statement.encode(codec_of(self.session), "surrogateescape"))
            except psycopg.errors.LockNotAvailable:
                self._locked_by_others = watch.table or "a table"
                return False
            except (
                psycopg.errors.UndefinedTable,
                psycopg.errors.InvalidSchemaName,
                psycopg.errors.WrongObjectType,
                psycopg.errors.DeadlockDetected,
            ):
                return False
            except psycopg.errors.InsufficientPrivilege as error:
                message = error.diag.message_primary or str(error)
                raise RefusedError(
                    f"not allowed to read everything: {message}",
                    "GRANT pg_read_all_data TO the account (PostgreSQL 14 and newer); see dbtool doctor",
                ) from None
            except psycopg.errors.OutOfMemory as error:
                raise DbtoolError(
                    f"the server has no room for {counted(len(tables), 'table lock')}: {error.diag.message_primary}",
                    "raise max_locks_per_transaction and restart the server",
                ) from None
        self.session.execute("SET LOCAL lock_timeout = 0")
        return True

    def exported(self) -> str:
        """The exported snapshot's name, for other sessions of the same database."""
        return str(self.snapshot.details["exported"])

    def check(self) -> None:
        """Raise unless the transaction, and with it locks and snapshot, is still there."""
        with readable_errors("holding the snapshot"):
            self.session.execute("SELECT 1")

    def wait_until_durable(self) -> None:
        """Wait until every transaction that was over at the snapshot is in the WAL on disk.

        Else, after a crash, the server gives the numbers of those that it lost to others, and a differential
        takes the rows of these for older than the snapshot. The WAL writer needs three rounds at most for the
        end of a transaction; what is not written by then belongs to none that was over.
        """
        lsn = self.snapshot.details["lsn"]
        while True:
            row = self.control.execute(_IS_FLUSHED_SQL, (lsn,)).fetchone()
            is_flushed, delay_seconds = row or (False, 0.0)
            if is_flushed or time.monotonic() > self._taken + 3 * delay_seconds:
                return
            time.sleep(0.02)

    def close(self) -> None:
        """Let go of everything."""
        for session in (getattr(self, "session", None), getattr(self, "control", None)):
            if session is not None:
                with contextlib.suppress(Exception):
                    session.close()


class _BlockedTable:
    """Finds out, shortly before a LOCK runs out of time, which table it waits for."""

    def __init__(self, control: psycopg.Connection[Any], process_id: int, seconds: float) -> None:
        self._control = control
        self._process_id = process_id
        self._timer = threading.Timer(seconds * 0.6, self._look)
        self.table: str | None = None

    def _look(self) -> None:
        with contextlib.suppress(Exception):
            self.table = introspect.blocked_table(self._control, self._process_id)

    def __enter__(self) -> _BlockedTable:
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._timer.join()
