"""What a long snapshot does to the server, and what a replica holds that no backup can: looked at around a backup."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtool.engines.mysql.messages import number_of
from dbtool.engines.mysql.queries import rows_of, value_of

if TYPE_CHECKING:
    from dbtool.engines.mysql.flavour import Flavour
    from dbtool.engines.mysql.queries import Session

# Old versions of rows that a busy server does not mind.
MUCH_HISTORY = 1_000_000
_NOT_ALLOWED = frozenset({1142, 1227})
_HISTORY_SQL = "SELECT COUNT FROM information_schema.INNODB_METRICS WHERE NAME = 'trx_rseg_history_len'"
_TEMPORARY_SQL = (
    "SHOW GLOBAL STATUS WHERE Variable_name IN ('Slave_open_temp_tables', 'Replica_open_temp_tables')"
)


def history_length(session: Session, flavour: Flavour) -> int | None:
    """How many transactions' old versions of rows wait to be purged. None where the account may not see it."""
    import pymysql

    if flavour.is_mariadb:
        found = rows_of(session, "SHOW GLOBAL STATUS LIKE 'Innodb_history_list_length'")
        return int(found[0][1]) if found else None
    try:
        value = value_of(session, _HISTORY_SQL)
    except pymysql.MySQLError as error:
        if number_of(error) not in _NOT_ALLOWED:
            raise
        return None
    return None if value is None else int(value)


def history_warning(before: int | None, after: int | None) -> str | None:
    """What a person should know of a snapshot that kept much from being purged."""
    if before is None or after is None or after - before < MUCH_HISTORY:
        return None
    return (
        f"old versions of rows piled up while the snapshot was held (history list length {before:,}, then {after:,}): "
        "the server is slower until it has cleared them away; back up at a quieter time, or with more -jobs"
    )


def temporary_tables_warning(session: Session) -> str | None:
    """Of a replica that replays statements on temporary tables: those are in no backup."""
    count = sum(int(value) for _, value in rows_of(session, _TEMPORARY_SQL))
    if not count:
        return None
    return (
        f"replication holds {count} temporary tables open (statements are logged, not rows): nothing can be "
        "replayed on this backup from its position on; take another when there are none, or log rows"
    )
