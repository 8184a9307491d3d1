"""What `doctor` looks at on a PostgreSQL server: versions, client programs, settings that matter.

What the account may do is in `doctor_rights.py`. Every look stands alone: one that fails is
reported and does not keep the others from being made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dbtool.engines.looks import Report, made
from dbtool.engines.postgres import connect, doctor_rights, tools
from dbtool.engines.postgres.doctor_facts import Facts
from dbtool.engines.postgres.messages import readable_errors
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.errors import ConnectionFailedError, DbtoolError
from dbtool.model.check import Check, State
from dbtool.model.connection import Connection
from dbtool.text import counted, printable, some

OLDEST_TESTED_MAJOR = 13
NEWEST_TESTED_MAJOR = 18

_CLIENT_PROGRAMS = ("pg_dump", "pg_dumpall", "pg_restore", "psql")
_LOCKS_IN_USE_ELSEWHERE = 0.8  # of the lock table; the rest is other sessions'
_DATABASE_COLLATION_VERSION_MAJOR = 15
_WAL_SENDERS_OF_A_BACKUP = 2  # one for the files, one for the log

# Limits that end a long transaction; dbtool lifts them for its own sessions.
_LIMITS = (
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "transaction_timeout",
)


def examine(connection: Connection, client_directories: Iterable[str] = ()) -> Report:
    """Look at a server, its client programs and the account's rights. Changes nothing."""
    import psycopg

    directories = tuple(client_directories)
    try:
        session = connect.connect(connection, application_name="dbtool doctor")
    except DbtoolError as error:
        state = Check("connection", State.PROBLEM, error.message, error.hint)
        return Report((state, *_client_programs(0, directories)), None)
    with readable_errors("looking at the server"), session:
        session.execute("SELECT pg_catalog.set_config('search_path', 'pg_catalog', false)")
        facts = Facts.read(session)
        checks = [_connection(facts), *_server_version(facts)]
        checks += _client_programs(facts.version_number, directories)
        looks = (*doctor_rights.LOOKS, *_LOOKS)
        checks += made(looks, facts, psycopg.Error, lambda _: session.closed, _first_line)
        checks += _replication_connection(connection, facts)
        return Report(tuple(checks), facts.database_bytes)


def _connection(facts: Facts) -> Check:
    encrypted = "encrypted" if facts.session.pgconn.ssl_in_use else "not encrypted"
    where = "a Unix socket" if facts.session.info.host.startswith("/") else facts.session.info.host
    message = f'database "{facts.database}" as "{facts.user}" through {where}, {encrypted}'
    return Check("connection", State.OK, printable(message))


def _server_version(facts: Facts) -> Iterator[Check]:
    major = facts.major
    message = f"PostgreSQL {facts.version}"
    floor = tools.SECURITY_FLOORS.get(major)
    if major < OLDEST_TESTED_MAJOR or major > NEWEST_TESTED_MAJOR:
        tested = f"{OLDEST_TESTED_MAJOR} to {NEWEST_TESTED_MAJOR}"
        yield Check("server version", State.WARNING, f"{message}; tested are {tested}")
    elif floor is None:
        yield Check("server version", State.NOTE, f"{message}, which gets no more security fixes", "Upgrade.")
    elif facts.version_number < floor:
        newest = f"{major}.{floor % 10000}"
        yield Check(
            "server version",
            State.WARNING,
            f"{message}; {newest} mended security holes",
            f"Update to {newest}.",
        )
    else:
        yield Check("server version", State.OK, message)


def _client_programs(version_number: int, directories: tuple[str, ...]) -> Iterator[Check]:
    for program in _CLIENT_PROGRAMS:
        name = f"client {program}"
        needed = program != "psql"  # dbtool works without it; a restore without dbtool does not
        try:
            tool = tools.find_tool(program, version_number, directories)
        except DbtoolError as error:
            state = State.PROBLEM if needed else State.WARNING
            yield Check(name, state, error.message, error.hint)
            continue
        if tool.warnings:
            message = f"{'; '.join(tool.warnings)} ({tool.path})"
            yield Check(name, State.WARNING, message, "Install a newer one.")
        else:
            yield Check(name, State.OK, f"{tool.version} ({tool.path})")


def _lock_table(facts: Facts) -> Iterator[Check]:
    """A dump locks every table at once, and the server's lock table has a fixed size."""
    ((tables,),) = facts.rows("SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p')")
    per_transaction = facts.integer("max_locks_per_transaction")
    sessions = facts.integer("max_connections") + facts.integer("max_prepared_transactions")
    capacity = per_transaction * sessions
    message = f"room for {counted(capacity, 'lock')}, {counted(tables, 'table')}"
    if tables > capacity * _LOCKS_IN_USE_ELSEWHERE:
        enough = int(tables / sessions / _LOCKS_IN_USE_ELSEWHERE) + 64
        mend = f"ALTER SYSTEM SET max_locks_per_transaction = {enough}; -- then restart the server"
        yield Check("lock table", State.WARNING, message, mend)
    else:
        yield Check("lock table", State.OK, message)


def _time_limits(facts: Facts) -> Iterator[Check]:
    set_limits = [
        f"{name} = {facts.setting(name)}" for name in _LIMITS if facts.setting(name) not in (None, "0")
    ]
    if set_limits:
        yield Check(
            "time limits", State.NOTE, ", ".join(set_limits) + "; dbtool lifts them for its own sessions"
        )
    else:
        yield Check("time limits", State.OK, "none is set")


def _snapshot_age(facts: Facts) -> Iterator[Check]:
    if facts.setting("old_snapshot_threshold") not in (None, "-1"):
        yield Check(
            "snapshot age",
            State.WARNING,
            'old_snapshot_threshold is set: a long backup can fail with "snapshot too old"',
            "ALTER SYSTEM SET old_snapshot_threshold = -1; -- then restart the server",
        )


def _transaction_defaults(facts: Facts) -> Iterator[Check]:
    isolation = facts.setting("default_transaction_isolation")
    unusual = [] if isolation == "read committed" else [f"default_transaction_isolation = {isolation}"]
    if facts.setting("default_transaction_read_only") == "on":
        unusual.append("default_transaction_read_only = on")
    if unusual:
        yield Check(
            "transaction defaults", State.NOTE, ", ".join(unusual) + "; dbtool sets its own for its sessions"
        )


def _standby(facts: Facts) -> Iterator[Check]:
    if facts.in_recovery:
        yield Check(
            "standby",
            State.WARNING,
            "a standby: unlogged tables cannot be read there, and replay may cancel a long backup",
            "ALTER SYSTEM SET max_standby_streaming_delay = -1; or back up the primary.",
        )


def _write_ahead_log(facts: Facts) -> Iterator[Check]:
    level, senders = facts.setting("wal_level"), facts.integer("max_wal_senders")
    if level == "minimal":
        yield Check(
            "write-ahead log",
            State.WARNING,
            "wal_level = minimal: no physical backups",
            "ALTER SYSTEM SET wal_level = replica; -- then restart the server",
        )
    elif senders < _WAL_SENDERS_OF_A_BACKUP:
        yield Check(
            "write-ahead log",
            State.WARNING,
            f"max_wal_senders = {senders}: a physical backup needs {_WAL_SENDERS_OF_A_BACKUP}",
            "ALTER SYSTEM SET max_wal_senders = 10; -- then restart the server",
        )
    else:
        yield Check("write-ahead log", State.OK, f"wal_level = {level}, max_wal_senders = {senders}")
    if facts.setting("summarize_wal") == "off":
        yield Check(
            "incremental backups",
            State.NOTE,
            "summarize_wal = off: no incremental physical backups",
            "ALTER SYSTEM SET summarize_wal = on; SELECT pg_reload_conf();",
        )


def _data_checksums(facts: Facts) -> Iterator[Check]:
    if facts.setting("data_checksums") == "off":
        yield Check(
            "data checksums",
            State.NOTE,
            "off: the server does not notice pages that its disk damaged",
            "pg_checksums --enable -D DATA_DIRECTORY, while the server is stopped",
        )


def _collation_versions(facts: Facts) -> Iterator[Check]:
    """Indexes sorted by another version of a collation than today's may not find their rows."""
    stale = [
        f"collation {name}"
        for (name,) in facts.rows(
            "SELECT collname FROM pg_collation"
            " WHERE collversion IS DISTINCT FROM pg_collation_actual_version(oid)"
            " AND collversion IS NOT NULL"
        )
    ]
    if facts.major >= _DATABASE_COLLATION_VERSION_MAJOR:
        stale += [
            f"database {name}"
            for (name,) in facts.rows(
                "SELECT datname FROM pg_database WHERE datname = current_database()"
                " AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)"
                " AND datcollversion IS NOT NULL"
            )
        ]
    if stale:
        database = quote_identifier(facts.database)
        yield Check(
            "collation versions",
            State.WARNING,
            printable(
                f"{some(stale)}: made with another version of the collation library; indexes may be wrong"
            ),
            f"REINDEX DATABASE {database}; then ALTER DATABASE {database} REFRESH COLLATION VERSION; "
            "(ALTER COLLATION … REFRESH VERSION for a collation)",
        )


def _invalid_indexes(facts: Facts) -> Iterator[Check]:
    names = facts.names(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_index AS i"
        " JOIN pg_class AS c ON c.oid = i.indexrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE NOT i.indisvalid AND c.relkind = 'i' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1"
    )
    if names:
        message = f"{some(names)}: a build that failed; not in logical backups"
        yield Check(
            "invalid indexes", State.WARNING, printable(message), f"REINDEX INDEX {printable(names[0])};"
        )


def _constraints_not_validated(facts: Facts) -> Iterator[Check]:
    names = facts.names(
        "SELECT format('%s on %s', quote_ident(conname), conrelid::regclass)"
        " FROM pg_constraint WHERE NOT convalidated AND conrelid <> 0 ORDER BY 1"
    )
    if names:
        message = f"{some(names)}: rows that are older may break them"
        yield Check("constraints not validated", State.NOTE, printable(message))


def _prepared_transactions(facts: Facts) -> Iterator[Check]:
    names = facts.names(
        "SELECT gid FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared"
    )
    if names:
        message = (
            f"{some(names)}: keep their locks, and their changes are in no backup until they are committed"
        )
        yield Check(
            "prepared transactions",
            State.WARNING,
            printable(message),
            "COMMIT PREPARED or ROLLBACK PREPARED.",
        )


_LOOKS: tuple[Callable[[Facts], Iterator[Check]], ...] = (
    _lock_table,
    _time_limits,
    _snapshot_age,
    _transaction_defaults,
    _standby,
    _write_ahead_log,
    _data_checksums,
    _collation_versions,
    _invalid_indexes,
    _constraints_not_validated,
    _prepared_transactions,
)


def _replication_connection(connection: Connection, facts: Facts) -> Iterator[Check]:
    """REPLICATION is not enough: pg_hba.conf has lines of its own for it."""
    if not (facts.is_superuser or facts.may_replicate):
        return
    try:
        connect.connect(connection, replication=True).close()
    except ConnectionFailedError as error:
        yield Check("physical backup: connection", State.WARNING, error.message, error.hint)
    else:
        yield Check("physical backup: connection", State.OK, "replication connections are let in")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
