"""The ways to hold a server still for the moment in which several snapshots are opened.

From the gentlest on: MariaDB says in each snapshot where in the binary log it stands, so no lock is needed
where all agree. Its BACKUP STAGE holds back commits, and nothing else. MySQL's FLUSH TABLES WITH READ LOCK
holds back all writing, and waits for whatever runs: so what would be waited for is looked for first, and
the wait is short, and begun again. An account without such rights locks its tables. And there is always
the one connection, which needs no other.

Each way takes a connection of its own for its locks, and ends with them let go.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.messages import number_of
from dbtool.engines.mysql.queries import named_rows, rows_of, value_of, variables
from dbtool.errors import BusyError
from dbtool.text import printable

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

BEGIN_SNAPSHOT = "START TRANSACTION WITH CONSISTENT SNAPSHOT"
# How long a lock is waited for before it is let go and begun again: others wait behind us meanwhile.
PATIENCE_SECONDS = 2
LOCK_TIMED_OUT = 1205
_DEADLOCK = 1213
_NOT_ALLOWED = frozenset({1044, 1142, 1227, 1370})
_UNKNOWN = frozenset({1064, 1193, 1235, 1305})  # a server that does not know the statement
_PAUSE_SECONDS = 0.2
_TABLES_A_STATEMENT = 1000
_SHOWN_QUERY = 60
_MOST_COMPARISONS = 10


class UnavailableError(Exception):
    """This way is not open to the server or the account; `str` says why."""


class TryAgainError(Exception):
    """Somebody was in the way; `str` says who."""


@dataclass
class Coordinates:
    """Where in the server's history the snapshot stands; what the account may not see is left out."""

    method: str
    details: dict[str, Any] = field(default_factory=dict)


def open_by_comparing(
    sessions: Sequence[Session], lock_tables: Callable[[], None], flavour: Flavour
) -> Coordinates:
    """MariaDB: open all snapshots, and see whether they stand at the same place of the binary log."""
    control = sessions[0]
    _refuse_partial_log(control, flavour)
    lock_tables()
    for _ in range(_MOST_COMPARISONS):
        before = replica_positions(control, flavour)
        _begin_at_once(sessions)
        places = [_binlog_place(session) for session in sessions]
        after = replica_positions(control, flavour)
        if all(place == places[0] for place in places):
            file, position = places[0]
            details: dict[str, Any] = {"binlog_file": file, "binlog_position": position}
            gtid = value_of(control, "SELECT BINLOG_GTID_POS(%s, %s)", (file, position))
            if gtid is not None:
                details["gtid"] = str(gtid)
            if before and before == after:
                details["replica"] = before
            return Coordinates("compared snapshots", details)
        for session in sessions:
            session.query("ROLLBACK")
    raise UnavailableError("there is so much writing that no two snapshots are the same")


def _begin_at_once(sessions: Sequence[Session]) -> None:
    """Ask for all snapshots before the first answer is awaited: less is written in between."""
    from pymysql.constants import COMMAND

    drivers: list[Any] = list(sessions)
    for driver in drivers:
        driver._execute_command(COMMAND.COM_QUERY, BEGIN_SNAPSHOT)
    for driver in drivers:
        driver._read_query_result()


def _refuse_partial_log(control: Session, flavour: Flavour) -> None:
    """The binary log tells snapshots apart only where it has all that changes."""
    if not flavour.is_mariadb:
        raise UnavailableError("MySQL does not say where a snapshot stands")
    found = variables(control, "log_bin", "log_slave_updates")
    if found.get("log_bin", "").upper() not in ("ON", "1"):
        raise UnavailableError("there is no binary log")
    filtered = [row for row in _log_status(control) if row.get("binlog_do_db") or row.get("binlog_ignore_db")]
    if filtered:
        raise UnavailableError("the binary log leaves out databases")
    if found.get("log_slave_updates", "").upper() not in ("ON", "1") and replica_positions(control, flavour):
        raise UnavailableError("what the server replicates is not in its binary log")


def _binlog_place(session: Session) -> tuple[str, int]:
    found = {
        str(name).lower(): value for name, value in rows_of(session, "SHOW STATUS LIKE 'binlog_snapshot_%'")
    }
    try:
        return str(found["binlog_snapshot_file"]), int(found["binlog_snapshot_position"])
    except (KeyError, ValueError):
        raise UnavailableError("the server does not say where a snapshot stands") from None


def open_under_backup_stage(
    control: Session, sessions: Sequence[Session], lock_tables: Callable[[], None], flavour: Flavour
) -> Coordinates:
    """MariaDB: hold back commits while the snapshots are opened. Waits for no transaction that runs."""
    if not flavour.is_mariadb:
        raise UnavailableError("BACKUP STAGE is MariaDB's")
    _run(control, "BACKUP STAGE START")
    try:
        _run(control, "BACKUP STAGE BLOCK_DDL")
        _run(control, "BACKUP STAGE BLOCK_COMMIT")
        lock_tables()
        for session in sessions:
            session.query(BEGIN_SNAPSHOT)
        return Coordinates("BACKUP STAGE", coordinates(control, flavour))
    finally:
        control.query("BACKUP STAGE END")


def open_under_read_lock(
    control: Session,
    sessions: Sequence[Session],
    lock_tables: Callable[[], None],
    flavour: Flavour,
    hold: Callable[[], None],
) -> Coordinates:
    """MySQL: hold back all writing while the snapshots are opened.

    `hold` bars changes of definitions from then on. It comes behind the lock: before it, changes that
    wait for the one and are waited for by the other would be made a deadlock's victims.
    """
    if long_query := _longest_query(control):
        raise TryAgainError(long_query)
    _run(control, "FLUSH TABLES WITH READ LOCK")
    try:
        hold()
        lock_tables()
        for session in sessions:
            session.query(BEGIN_SNAPSHOT)
        return Coordinates("FLUSH TABLES WITH READ LOCK", coordinates(control, flavour))
    finally:
        control.query("UNLOCK TABLES")


def open_under_table_locks(
    control: Session,
    sessions: Sequence[Session],
    lock_tables: Callable[[], None],
    flavour: Flavour,
    names: Sequence[str],
) -> Coordinates:
    """Hold back writing to the tables that are backed up while the snapshots are opened."""
    if names:
        lock_for_reading(control, names)
    try:
        lock_tables()
        for session in sessions:
            session.query(BEGIN_SNAPSHOT)
        return Coordinates("LOCK TABLES", coordinates(control, flavour))
    finally:
        control.query("UNLOCK TABLES")


def open_one(session: Session, lock_tables: Callable[[], None], flavour: Flavour) -> Coordinates:
    """A single snapshot needs no lock. Only MariaDB says where in the binary log it stands."""
    lock_tables()
    session.query(BEGIN_SNAPSHOT)
    details: dict[str, Any] = {}
    if flavour.is_mariadb:
        try:
            file, position = _binlog_place(session)
            details = {"binlog_file": file, "binlog_position": position}
        except UnavailableError:
            pass
    return Coordinates("one connection", details)


def lock_for_reading(session: Session, names: Sequence[str]) -> None:
    """LOCK TABLES … READ, of quoted names; whatever the session had locked before is let go."""
    _run(session, "LOCK TABLES " + ", ".join(f"{name} READ" for name in names))


def hold_definitions(control: Session) -> bool:
    """MySQL: bar changes of definitions on the whole server, until `release_definitions`. False where the
    account may not."""
    try:
        _run(control, "LOCK INSTANCE FOR BACKUP")
    except UnavailableError:
        return False
    return True


def release_definitions(control: Session) -> None:
    """Let definitions be changed again."""
    control.query("UNLOCK INSTANCE")


def _run(session: Session, statement: str) -> None:
    import pymysql

    try:
        session.query(statement)
    except pymysql.MySQLError as error:
        number = number_of(error)
        if number in _NOT_ALLOWED | _UNKNOWN:
            raise UnavailableError(str(error.args[-1])) from None
        if number in (LOCK_TIMED_OUT, _DEADLOCK):
            raise TryAgainError("tables are in use") from None
        raise


def _longest_query(control: Session) -> str | None:
    """The query that a global lock would wait for, and everybody behind it, in words for a person."""
    own = control.thread_id()  # type: ignore[no-untyped-call]
    long = [
        row
        for row in named_rows(control, "SHOW FULL PROCESSLIST")
        if row.get("command") in ("Query", "Execute")
        and int(row.get("time") or 0) >= PATIENCE_SECONDS
        and row.get("id") != own
        and row.get("user") not in ("system user", "event_scheduler")
    ]
    if not long:
        return None
    longest = max(long, key=lambda row: int(row["time"]))
    text = printable(" ".join(str(longest.get("info") or "").split()))
    return f"a query has been running for {longest['time']} s: {text[:_SHOWN_QUERY]}"


# ---- coordinates -----------------------------------------------------------------------------------


def coordinates(control: Session, flavour: Flavour) -> dict[str, Any]:
    """Where the binary log and, on a replica, its source stand; to be asked while nothing can move."""
    details: dict[str, Any] = {}
    for row in _log_status(control):
        details["binlog_file"] = row["file"]
        details["binlog_position"] = int(row["position"])
    found = variables(control, "gtid_executed", "gtid_binlog_pos", "gtid_current_pos")
    gtid = found.get("gtid_executed") or found.get("gtid_binlog_pos")
    if gtid:
        details["gtid"] = gtid.replace("\n", "")
    if positions := replica_positions(control, flavour):
        details["replica"] = positions
    return details


def _log_status(control: Session) -> list[dict[str, Any]]:
    import pymysql

    for statement in ("SHOW BINARY LOG STATUS", "SHOW MASTER STATUS"):
        try:
            return named_rows(control, statement)
        except pymysql.MySQLError as error:
            if number_of(error) not in _NOT_ALLOWED | _UNKNOWN:
                raise
    return []


_REPLICA_FIELDS = {
    "host": ("source_host", "master_host"),
    "channel": ("channel_name", "connection_name"),
    "file": ("relay_source_log_file", "relay_master_log_file"),
    "position": ("exec_source_log_pos", "exec_master_log_pos"),
    "gtid": ("executed_gtid_set", "gtid_slave_pos", "gtid_io_pos"),
}


def replica_positions(control: Session, flavour: Flavour) -> list[dict[str, Any]]:
    """How far a replica has followed each of its sources; empty for a server that follows none."""
    import pymysql

    statements = (
        ("SHOW ALL SLAVES STATUS",) if flavour.is_mariadb else ("SHOW REPLICA STATUS", "SHOW SLAVE STATUS")
    )
    for statement in statements:
        try:
            found = named_rows(control, statement)
        except pymysql.MySQLError as error:
            if number_of(error) not in _NOT_ALLOWED | _UNKNOWN:
                raise
            continue
        return [
            {
                name: row[column]
                for name, columns in _REPLICA_FIELDS.items()
                for column in columns
                if row.get(column) not in (None, "")
            }
            for row in found
        ]
    return []


def wait_a_little(deadline: float, reason: str, seconds: float) -> None:
    """Pause before another attempt. Raises BusyError when there is no more time."""
    if time.monotonic() > deadline:
        raise BusyError(
            f"no snapshot could be taken within {seconds:g} s: {reason}",
            "wait for it to end, or allow more with -lock-timeout SECONDS",
        )
    time.sleep(_PAUSE_SECONDS)
