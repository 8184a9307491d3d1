"""What the server's catalogue says of a column of times, and of what a table's rows must not do to each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.engines.postgres.connect import codec_of
from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.engines.watermark import Watermark
from dbtool.errors import UsageError
from dbtool.model.database import Table
from dbtool.text import printable

if TYPE_CHECKING:
    import psycopg

TIME_TYPES = ("timestamptz", "timestamp", "date")

# For each type the one at the bottom of its domains.
_BASES = """
bases AS (
    SELECT t.oid, t.oid AS base, t.typtypmod AS modifier FROM pg_type AS t WHERE t.typtype <> 'd'
    UNION ALL
    SELECT d.oid, b.base, greatest(d.typtypmod, b.modifier)
    FROM pg_type AS d JOIN bases AS b ON d.typbasetype = b.oid AND d.typtype = 'd')
"""

_COLUMNS_SQL = f"""
WITH RECURSIVE {_BASES}
SELECT a.attrelid::bigint, format_type(a.atttypid, a.atttypmod),
       CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text ELSE '' END
FROM pg_attribute AS a JOIN bases AS b ON b.oid = a.atttypid JOIN pg_type AS t ON t.oid = b.base
WHERE a.attrelid = ANY (%(tables)s::bigint[]::oid[]) AND a.attname = %(column)s::text AND a.attnum > 0
"""  # noqa: S608

# A value of these types has one text only, so values are equal for their index if their texts are.
_UNIQUE_SQL = f"""
WITH RECURSIVE {_BASES}
SELECT i.indrelid::bigint,
       array_agg(a.attname::text ORDER BY k.position) FILTER (WHERE k.position <= i.indnkeyatts),
       i.indpred IS NULL AND i.indexprs IS NULL AND NOT i.indisexclusion
       AND bool_and(k.position > i.indnkeyatts OR coalesce(
           a.attgenerated = '' AND o.opcdefault AND (c.collisdeterministic IS NOT FALSE)
           AND (t.typtype = 'e' OR t.typnamespace = 'pg_catalog'::regnamespace AND (
               t.typname IN ('bool', 'int2', 'int4', 'int8', 'oid', 'uuid', 'text', 'varchar', 'name', 'char', 'bytea',
                             'date', 'time', 'timestamp', 'timestamptz', 'macaddr')
               OR t.typname IN ('numeric', 'bpchar') AND greatest(a.atttypmod, b.modifier) > 0)), false)),
       coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false)
FROM pg_index AS i
CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
LEFT JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
LEFT JOIN pg_opclass AS o ON o.oid = (i.indclass::oid[])[k.position - 1]
LEFT JOIN pg_collation AS c ON c.oid = (i.indcollation::oid[])[k.position - 1]
LEFT JOIN bases AS b ON b.oid = a.atttypid
LEFT JOIN pg_type AS t ON t.oid = b.base
WHERE i.indrelid = ANY (%(tables)s::bigint[]::oid[]) AND (i.indisunique OR i.indisexclusion) AND i.indisvalid
GROUP BY i.indexrelid, i.indrelid, i.indpred IS NULL, i.indexprs IS NULL, i.indisexclusion, to_jsonb(i)
"""  # noqa: S608

_FOREIGN_KEYS_SQL = (
    "SELECT DISTINCT conrelid::bigint, confrelid::bigint FROM pg_constraint WHERE contype = 'f'"
)

_PARTITIONS_SQL = """
WITH RECURSIVE below AS (
    SELECT i.inhparent AS root, i.inhrelid AS oid FROM pg_inherits AS i
    JOIN pg_class AS c ON c.oid = i.inhrelid WHERE c.relispartition
    UNION SELECT b.root, i.inhrelid FROM below AS b JOIN pg_inherits AS i ON i.inhparent = b.oid
    JOIN pg_class AS c ON c.oid = i.inhrelid WHERE c.relispartition)
SELECT root::bigint, oid::bigint FROM below
"""


@dataclass(frozen=True)
class Unique:
    """A unique index of plain columns, whose values have one text each."""

    columns: tuple[str, ...]
    are_nulls_equal: bool = False


def time_columns(session: psycopg.Connection[Any], name: str, tables: Sequence[Table]) -> dict[int, str]:
    """For each table, by position, that has the column: `timestamptz`, `timestamp` or `date`.

    `UsageError`, with the tables, if it is of another type in some, or if there is none.
    """
    positions = _positions(tables)
    found, wrong = {}, []
    if _can_be_written(name, codec_of(session)):
        chosen = {"tables": list(positions), "column": name}
        for identity, spelled, base in session.execute(_COLUMNS_SQL, chosen):
            if base in TIME_TYPES:
                found[positions[identity]] = str(base)
            else:
                wrong.append(f"{tables[positions[identity]].qualified_name} ({spelled})")
    if wrong:
        raise UsageError(
            f"the column {printable(name)} is no timestamp and no date in {printable(', '.join(sorted(wrong)))}",
            "Name another column; or leave -method and -column out, then none is needed.",
        )
    if not found:
        raise UsageError(
            f"no table has a column {printable(name)}",
            "Its name is as the server has it, in upper and lower case. Without -method and -column none is needed.",
        )
    return found


def _can_be_written(name: str, codec: str) -> bool:
    try:
        return "\0" not in name and bool(name.encode(codec))
    except UnicodeEncodeError:
        return False


def changed_since(column: str, kind: str, watermark: Watermark) -> str:
    """The condition of rows that may have changed; those without a time may have."""
    literals = {
        "timestamptz": watermark.instant.isoformat(),
        "timestamp": watermark.local.isoformat(),
        "date": watermark.day.isoformat(),
    }
    name = quote_identifier(column)
    return f"({name} >= {kind} '{literals[kind]}' OR {name} IS NULL)"


def _positions(tables: Sequence[Table]) -> dict[int, int]:
    return {table.identity: position for position, table in enumerate(tables)}


def unique_indexes(session: psycopg.Connection[Any], tables: Sequence[Table]) -> list[list[Unique] | None]:
    """Those of each table; None where one is not of plain columns, or its values have several texts."""
    positions = _positions(tables)
    found: list[list[Unique] | None] = [[] for _ in tables]
    for identity, columns, is_plain, are_nulls_equal in session.execute(
        _UNIQUE_SQL, {"tables": list(positions)}
    ):
        uniques = found[positions[identity]]
        if not is_plain:
            found[positions[identity]] = None
        elif uniques is not None:
            uniques.append(Unique(tuple(columns), are_nulls_equal))
    return found


def foreign_keys(
    session: psycopg.Connection[Any], tables: Sequence[Table]
) -> list[tuple[frozenset[int], frozenset[int]]]:
    """From which tables they point to which, by position; of a partitioned table to or from its partitions."""
    positions = _positions(tables)
    partitions: dict[int, set[int]] = defaultdict(set)
    for root, identity in session.execute(_PARTITIONS_SQL):
        partitions[root].add(identity)

    def with_rows(identity: int) -> frozenset[int]:
        return frozenset(positions[one] for one in {identity, *partitions[identity]} if one in positions)

    keys = session.execute(_FOREIGN_KEYS_SQL).fetchall()
    return [(with_rows(child), with_rows(parent)) for child, parent in keys]
