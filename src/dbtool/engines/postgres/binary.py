"""Which tables can be loaded with COPY's binary format, and how their rows get there.

Reading text is most of what loading costs the server. The C part of `rows` knows the binary form
of the usual types and makes it from the archive's text, value by value; a table with a column of
any other type, or a value in a form that PostgreSQL does not write, is loaded as text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dbtool import rows
from dbtool.engines.postgres.quoting import qualified

if TYPE_CHECKING:
    import psycopg

_PIECE_BYTES = 128 * 1024

# Every COPY in binary begins so: a signature, no flags, no extension of the header (PostgreSQL's
# documentation of COPY, "Binary Format"); and ends with a row of -1 columns.
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"

# OIDs of types, which never change, with the letters by which rows/_binary.h knows them.
_KINDS = {
    16: b"b",  # boolean
    17: b"B",  # bytea
    19: b"T",  # name
    20: b"8",  # bigint
    21: b"2",  # smallint
    23: b"4",  # integer
    25: b"T",  # text
    26: b"o",  # oid
    114: b"T",  # json
    650: b"c",  # cidr
    700: b"f",  # real
    701: b"d",  # double precision
    869: b"a",  # inet
    1042: b"T",  # character
    1043: b"T",  # character varying
    1082: b"D",  # date
    1083: b"t",  # time
    1114: b"s",  # timestamp
    1184: b"z",  # timestamp with time zone
    1700: b"n",  # numeric
    2950: b"u",  # uuid
    3802: b"J",  # jsonb
}

# The types of a table's columns, for a domain the type below it.
_TYPES_SQL = """
WITH RECURSIVE found AS (
    SELECT a.attname::text AS name, a.atttypid AS type
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = pg_catalog.to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT f.name, t.typbasetype FROM found AS f
    JOIN pg_catalog.pg_type AS t ON t.oid = f.type WHERE t.typtype = 'd')
SELECT f.name, f.type::bigint, t.typtype = 'e'
FROM found AS f JOIN pg_catalog.pg_type AS t ON t.oid = f.type WHERE t.typtype <> 'd'
"""


def column_kinds(
    session: psycopg.Connection[Any], schema: str, name: str, columns: Sequence[str]
) -> bytes | None:
    """The letters of these columns of a table, or None if it must be loaded as text."""
    if not rows.is_native or not columns:
        return None
    found = {
        column: b"T" if is_enum else _KINDS.get(type_oid)
        for column, type_oid, is_enum in session.execute(_TYPES_SQL, (qualified(schema, name),))
    }
    kinds = [found.get(column) for column in columns]
    return None if None in kinds else b"".join(kind for kind in kinds if kind)


def binary_pieces(text: memoryview, kinds: bytes) -> Iterator[bytes]:
    """Lines of COPY's text as a COPY in binary, in pieces of about 128 KiB.

    Raises ValueError at a value that must be sent as text.
    """
    yield _HEADER
    position = 0
    while position < len(text):
        piece, position = rows.pack_binary(text, position, kinds, _PIECE_BYTES)
        yield piece
    yield _TRAILER
