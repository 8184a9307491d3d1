"""Whether a base and a snapshot are of one history of one server: only there does a transaction's number mean
the same to both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from dbtool.errors import NeedsFullError
from dbtool.model.database import ServerFacts, Snapshot

# Transactions that a 32-bit number can tell apart, with room for those that run meanwhile.
_MOST_TRANSACTIONS = (1 << 31) - (1 << 24)
_LSN = re.compile(r"([0-9A-F]+)/([0-9A-F]+)")


def oldest_transaction(snapshot: Mapping[str, Any]) -> int:
    """The 64-bit number of the oldest transaction that was not over at a snapshot: its xmin."""
    return _transactions(snapshot)[0]


def check_history(
    backup: Mapping[str, Any], server: ServerFacts, database: Mapping[str, Any], snapshot: Snapshot
) -> None:
    """`NeedsFullError` with the reason unless the snapshot comes after the base in one history. `backup` is what
    the base's archive says of its backup.

    A data directory that was put back to an earlier moment, and has written past the base since, is
    not told apart where its timeline stayed the same.
    """
    before, now = backup["snapshot"], snapshot.details
    if backup["server"]["identity"] != server.identity:
        raise NeedsFullError("the base is of another server")
    if backup["database"]["oid"] != database["oid"]:
        raise NeedsFullError("the database was made anew since the base")
    if before["timeline"] != now["timeline"]:
        raise NeedsFullError(
            f"the server was promoted or recovered since the base: its timeline was {before['timeline']}, "
            f"and is {now['timeline']}"
        )
    if _position(now["lsn"]) < _position(before["lsn"]):
        raise NeedsFullError("the server stands before the base: it was put back to an earlier moment")
    transactions = _transactions(now)[1] - _transactions(before)[0]
    if not 0 <= transactions < _MOST_TRANSACTIONS:
        raise NeedsFullError(f"{transactions} transactions went by since the base, too many to tell apart")
    if backup["database"]["encoding"] != database["encoding"]:
        raise NeedsFullError("the database has another encoding than the base")


def _transactions(snapshot: Mapping[str, Any]) -> tuple[int, int]:
    """(xmin, xmax) of a `pg_current_snapshot()`."""
    oldest, newest, _ = snapshot["transaction_snapshot"].split(":")
    return int(oldest), int(newest)


def _position(lsn: str) -> int:
    match = _LSN.fullmatch(lsn)
    return (int(match[1], 16) << 32) + int(match[2], 16) if match else 0
