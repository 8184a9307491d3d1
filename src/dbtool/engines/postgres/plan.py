"""How the rows of a database are cut into chunks that several readers share.

A large table is cut by ctid ranges, which PostgreSQL 14 and newer scan as ranges; older servers
would read the whole table for each, so there it is cut by the first column of its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.engines.base import Chunk
from dbtool.engines.postgres.bulk import binary_formats
from dbtool.engines.postgres.connect import codec_of
from dbtool.engines.postgres.quoting import qualified, quote_identifier, quote_literal
from dbtool.model.database import ServerFacts, Table

if TYPE_CHECKING:
    import psycopg

# Text is about as large as the heap: a chunk makes a few whole frames. The last quarter of a large table
# is cut finer, and read last, so that no reader is left alone with much work.
CHUNK_BYTES = 48 << 20
_FINER = 3
_TID_RANGE_VERSION = 140000


@dataclass(frozen=True)
class Range:
    """A part of one table, as a condition on its rows."""

    table: int  # position in the list of tables
    condition: str
    bounds: tuple[str, str] | None
    size_bytes: int  # on the server's disk, an estimate


def plan_ranges(
    session: psycopg.Connection[Any], server: ServerFacts, tables: Sequence[Table]
) -> list[Range]:
    """The parts of all tables, the largest first. Tables without pages are not among them."""
    found = [
        Range(number, condition, bounds, size)
        for number, table in enumerate(tables)
        for condition, bounds, size in _ranges(session, server, table)
    ]
    found.sort(key=lambda one: -one.size_bytes)
    return found


def plan_chunks(
    session: psycopg.Connection[Any], server: ServerFacts, tables: Sequence[Table], codec: str
) -> list[Chunk]:
    """All chunks of all tables, the largest first."""
    return [chunk_of(part, tables, codec) for part in plan_ranges(session, server, tables)]


def chunk_of(part: Range, tables: Sequence[Table], codec: str) -> Chunk:
    """What a reader reads of a part."""
    table = tables[part.table]
    statement = select_statement(table, part.condition).encode(codec, "surrogateescape")
    return Chunk(part.table, part.size_bytes, statement, part.bounds, binary_formats(table.columns))


def select_statement(table: Table, condition: str, wanted: str | None = None) -> str:
    """The query of the table's own rows, as far as they fulfil a condition: of all columns, or what is wanted."""
    columns = wanted or ", ".join(quote_identifier(column.name) for column in table.columns)
    parts = [part for part in (condition, _bare(table.condition)) if part]
    where = f" WHERE {' AND '.join(parts)}" if parts else ""
    return f"SELECT {columns} FROM ONLY {qualified(table.schema, table.name)}{where}"  # noqa: S608


def _bare(condition: str) -> str:
    """An extension's condition, which is written with its own WHERE."""
    text = condition.strip()
    return f"({text[5:].strip()})" if text[:5].upper() == "WHERE" else text


_Range = tuple[str, "tuple[str, str] | None", int]


def _ranges(session: psycopg.Connection[Any], server: ServerFacts, table: Table) -> Iterator[_Range]:
    """(condition, bounds, size in bytes) of each chunk of a table."""
    if table.size_bytes == 0 and table.details["access_method"] == "heap":
        return
    pieces = -(-table.size_bytes // CHUNK_BYTES)
    if pieces <= 1 or table.condition or not table.columns:
        yield "", None, table.size_bytes
    elif server.version_number >= _TID_RANGE_VERSION and table.details["access_method"] == "heap":
        blocks = table.details["heap_bytes"] // server.details["block_size"]
        edges = _block_edges(blocks, pieces)
        sizes = [
            table.size_bytes * (high - low) // max(1, blocks)
            for low, high in zip([0, *edges], [*edges, blocks], strict=True)
        ]
        yield from _between("ctid", [f"({edge},0)" for edge in edges], "tid", sizes)
    elif table.key:
        edges_found, kind = _key_edges(session, table, pieces)
        sizes = [table.size_bytes // (len(edges_found) + 1)] * (len(edges_found) + 1)
        yield from _between(quote_identifier(table.key[0]), edges_found, kind, sizes)
    else:
        yield "", None, table.size_bytes


def _block_edges(blocks: int, pieces: int) -> list[int]:
    """Where a table of so many blocks is cut into about as many pieces of one size, the last ones finer."""
    coarse = pieces * 3 // 4
    parts = pieces * _FINER
    cuts = [*range(_FINER, coarse * _FINER + 1, _FINER), *range(coarse * _FINER + 1, parts)]
    return sorted({blocks * cut // parts for cut in cuts} - {0})


def _between(column: str, edges: Sequence[str], kind: str, sizes: Sequence[int]) -> Iterator[_Range]:
    """Ranges that meet at the edges; the first and the last are open."""
    for low, high, size_bytes in zip(["", *edges], [*edges, ""], sizes, strict=True):
        parts = [f"{column} >= {quote_literal(low)}::{kind}"] if low else []
        parts += [f"{column} < {quote_literal(high)}::{kind}"] if high else []
        yield " AND ".join(parts), (low, high) if parts else None, size_bytes


def _key_edges(session: psycopg.Connection[Any], table: Table, pieces: int) -> tuple[list[str], str]:
    """Values of the key's first column that cut the table into about equal pieces, by a sample,
    and the column's type. Any edges are right; good ones only share the work well."""
    column = quote_identifier(table.key[0])
    kind = next(item.type for item in table.columns if item.name == table.key[0])
    percent = min(100.0, max(0.1, 2_000_000 / max(1.0, table.row_estimate)))
    fractions = ", ".join(f"{piece / pieces:.6f}" for piece in range(1, pieces))
    row = session.execute(
        f"SELECT percentile_disc(ARRAY[{fractions}]) WITHIN GROUP (ORDER BY {column})::text[] "  # noqa: S608
        f"FROM ONLY {qualified(table.schema, table.name)} TABLESAMPLE SYSTEM ({percent:.4f})".encode(
            codec_of(session), "surrogateescape"
        )
    ).fetchone()
    edges = list(dict.fromkeys(edge for edge in (row[0] if row else None) or [] if edge))
    return edges, kind
