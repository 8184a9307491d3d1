"""What a session is set to, so that values are exact and limits meant for applications do not end a backup.

Each setting is changed only where the server has it and it differs: some may be set by few accounts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.queries import variables
from dbtool.engines.mysql.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    import pymysql

    from dbtool.engines.mysql.flavour import Flavour

_A_YEAR_IN_SECONDS = "31536000"

# What an administrator sets for applications: it would end a backup half-way, or hide rows from it.
_NO_LIMITS = {
    "wait_timeout": _A_YEAR_IN_SECONDS,  # back-pressure from a slow storage must not end the session
    "net_read_timeout": _A_YEAR_IN_SECONDS,
    "net_write_timeout": _A_YEAR_IN_SECONDS,
    "max_execution_time": "0",  # MySQL, milliseconds
    "max_statement_time": "0.000000",  # MariaDB, seconds
    "idle_transaction_timeout": "0",
    "idle_readonly_transaction_timeout": "0",
    "idle_write_transaction_timeout": "0",
    "sql_select_limit": "18446744073709551615",
    "max_join_size": "18446744073709551615",
    "sql_big_selects": "ON",
    "sql_safe_updates": "OFF",
    "completion_type": "NO_CHAIN",
    "query_cache_type": "OFF",
    "query_cache_wlock_invalidate": "OFF",
}
# The zone: TIMESTAMP is converted from and to it, DATETIME is not.
_BOTH = {**_NO_LIMITS, "time_zone": "+00:00"}

_DUMP = {
    **_BOTH,
    "sql_mode": "",  # ANSI_QUOTES, NO_BACKSLASH_ESCAPES and others would change what is read
    "sql_quote_show_create": "ON",
    "transaction_isolation": "REPEATABLE-READ",
    "tx_isolation": "REPEATABLE-READ",
    "group_concat_max_len": "1073741824",
    "information_schema_stats_expiry": "0",
    "use_secondary_engine": "OFF",
    "show_gipk_in_create_table_and_information_schema": "ON",
    "system_versioning_asof": "DEFAULT",  # the rows of today, whatever the server's default shows
}

_LOAD = {
    **_BOTH,
    # Only this: else an id of 0 becomes the next number, and zero dates are refused.
    "sql_mode": "NO_AUTO_VALUE_ON_ZERO",
    "foreign_key_checks": "OFF",
    "check_constraint_checks": "OFF",  # MariaDB: rows that the source holds are let in
    "transaction_read_only": "OFF",
    "tx_read_only": "OFF",
    "sql_generate_invisible_primary_key": "OFF",  # the dump carries its own
    "sql_require_primary_key": "OFF",
    "restrict_fk_on_non_standard_key": "OFF",
    "system_versioning_insert_history": "ON",
    "alter_algorithm": "DEFAULT",
    "binlog_format": "ROW",  # what is logged are the rows as they came, whatever way they took
}
# MariaDB loads an empty table in bulk with it, but only from one thread: whoever loads decides there.
_LOAD_MYSQL = {
    "unique_checks": "OFF",
    "transaction_isolation": "READ-UNCOMMITTED",
}

# Newer names for the same thing.
_OLD_NAMES = {
    "tx_isolation": "transaction_isolation",
    "tx_read_only": "transaction_read_only",
}
_NOT_ALLOWED = (1227, 1229, 1238, 3680)  # by rights; a global one; a read-only one; in a transaction


def dump_session_settings(session: pymysql.connections.Connection[Any]) -> None:
    """Make the session's values exact, and lift its limits. Control text is utf8mb4; whoever reads rows
    sets `character_set_results` itself. Outside of a transaction. Raises what the driver raises."""
    _set(session, _DUMP)


def load_session_settings(session: pymysql.connections.Connection[Any], flavour: Flavour) -> None:
    """Make the session take values exactly as they were read, and checks that the source made already
    not be made again. `unique_checks` stays on for MariaDB. Raises what the driver raises."""
    _set(session, _LOAD if flavour.is_mariadb else {**_LOAD, **_LOAD_MYSQL})
    # Where the account may not change that, InnoDB takes changes at the higher levels only.
    if variables(session, "binlog_format", scope="SESSION").get("binlog_format") == "STATEMENT":
        session.query("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def control_session_settings(session: pymysql.connections.Connection[Any]) -> None:
    """Make what is asked of the catalogue come whole, whatever the server's defaults do to the users' SQL."""
    session.set_character_set("utf8mb4")
    session.query("SET SESSION sql_mode = '', sql_select_limit = 18446744073709551615")


def _set(session: pymysql.connections.Connection[Any], wanted: Mapping[str, str]) -> None:
    control_session_settings(session)  # first, for that list would be cut short too
    names = ", ".join(quote_literal(name) for name in wanted)
    with session.cursor() as cursor:
        cursor.execute(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({names})")
        there = {str(name).lower(): str(value) for name, value in cursor.fetchall()}
    for old, new in _OLD_NAMES.items():
        if new in there:
            there.pop(old, None)
    changes = [
        f"SESSION {quote_identifier(name)} = {_literal(value)}"
        for name, value in wanted.items()
        if name in there and there[name].upper() != value.upper()
    ]
    if changes:
        _apply(session, changes)


def _literal(value: str) -> str:
    is_number = value.replace(".", "", 1).isdigit()
    return value if is_number or value == "DEFAULT" else quote_literal(value)


def _apply(session: pymysql.connections.Connection[Any], changes: list[str]) -> None:
    """All at once; where the account may not set one of them, each by itself."""
    import pymysql

    try:
        session.query("SET " + ", ".join(changes))
    except pymysql.MySQLError as error:
        if error.args[:1][0] not in _NOT_ALLOWED:
            raise
        if len(changes) > 1:
            for change in changes:
                _apply(session, [change])
