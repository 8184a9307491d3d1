"""Digests of a table's keys by bucket: how many buckets there are.

Readers add the hash of each key to the bucket that its highest bits choose. They are made for an
estimate of the rows, and stored as few as are worth it.
"""

from __future__ import annotations

import sys
from array import array

from dbtool.model.database import Table

_MASK = (1 << 64) - 1
_ROWS_A_BUCKET = 512
_BYTES_A_ROW_GUESS = 100
_MOST_BUCKETS = 1 << 20


def bucket_bytes(table: Table) -> int:
    """The size of a table's key buckets: a power of two of 8-byte sums, about one for 512 rows."""
    rows = max(table.row_estimate, table.size_bytes / _BYTES_A_ROW_GUESS)
    buckets = 1
    while buckets * _ROWS_A_BUCKET < rows and buckets < _MOST_BUCKETS:
        buckets *= 2
    return buckets * 8


def folded_buckets(sums: bytes | bytearray, rows: int) -> bytes:
    """Sums of key hashes by bucket, as few buckets as are worth storing for so many rows.

    Buckets were made for an estimate. Two neighbours, which differ in the last bit that chose
    them, add up to the bucket that one bit less would have chosen.
    """
    buckets = array("Q", bytes(sums))
    while len(buckets) > 1 and len(buckets) * _ROWS_A_BUCKET > 2 * rows:
        buckets = array(
            "Q", ((left + right) & _MASK for left, right in zip(buckets[::2], buckets[1::2], strict=True))
        )
    if sys.byteorder == "big":
        buckets.byteswap()
    return buckets.tobytes()
