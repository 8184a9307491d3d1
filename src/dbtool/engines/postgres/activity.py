"""Since when transactions are open: what was stamped by them may be older than the snapshot that does not see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

# What has no user is a worker of autovacuum, which writes no rows. Every transaction holds the lock of its own
# virtual number, which anybody may see; its beginning only those who may read its account's statistics.
_OLDEST_SQL = """
WITH others AS (
    SELECT a.pid, a.xact_start,
           pg_has_role('pg_read_all_stats', 'USAGE')
           OR coalesce(pg_has_role(a.usesysid, 'USAGE'), false) AS is_told
    FROM pg_stat_activity AS a
    WHERE a.pid <> pg_backend_pid() AND a.datname = current_database() AND a.usesysid IS NOT NULL),
hidden AS (
    SELECT FROM others AS o JOIN pg_locks AS l ON l.pid = o.pid
    WHERE NOT o.is_told AND l.locktype = 'virtualxid' AND l.granted AND l.mode = 'ExclusiveLock'),
found AS (SELECT EXISTS (SELECT FROM hidden) AS is_hidden)
SELECT to_char(least(clock_timestamp(), (SELECT min(o.xact_start) FROM others AS o),
                     (SELECT min(p.prepared) FROM pg_prepared_xacts AS p WHERE p.database = current_database()),
                     CASE WHEN f.is_hidden THEN pg_postmaster_start_time() END) AT TIME ZONE 'UTC',
               'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
       f.is_hidden,
       (SELECT l.transactionid::text FROM pg_locks AS l
        WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock'
        ORDER BY age(l.transactionid) LIMIT 1)
FROM found AS f WHERE NOT pg_is_in_recovery()
"""


def oldest_transaction(session: psycopg.Connection[Any]) -> dict[str, Any]:
    """Since when transactions of this database are open, to be asked before the snapshot is taken, outside of
    any transaction: `oldest_transaction_time`, ISO 8601 in UTC, and `oldest_transaction_is_exact`.

    No transaction that the snapshot does not see began earlier, but for prepared ones. Where the account may
    not see the beginning of others' transactions, the time is that of the server's start. On a standby,
    whose primary's transactions it does not know, it is None.

    `newest_open_transaction` is the newest number (32 bits, as a string) of a transaction, prepared ones and
    subtransactions too, that was writing; None if there was none.
    """
    row = session.execute(_OLDEST_SQL).fetchone()
    time, is_hidden, newest = row or (None, True, None)
    return {
        "oldest_transaction_time": time,
        "oldest_transaction_is_exact": not is_hidden,
        "newest_open_transaction": newest,
    }
