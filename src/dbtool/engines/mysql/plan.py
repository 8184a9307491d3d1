"""How the rows of a database are cut into chunks that several readers share.

A large table is cut along the index that its rows lie in the order of: see `edges.py`. One in
partitions is cut into these first. A table without such an index is read in one go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtool.engines.base import Chunk
from dbtool.engines.mysql.edges import EdgeFinder, condition, ranges
from dbtool.engines.mysql.introspect import Partition
from dbtool.engines.mysql.quoting import qualified, quote_identifier
from dbtool.engines.mysql.table_facts import TableFacts
from dbtool.model.database import Table

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

CHUNK_BYTES = 48 << 20
_MOST_PIECES = 4096


@dataclass(frozen=True)
class Planned:
    """A chunk, and what its query is made of."""

    chunk: Chunk
    source: str  # what stands behind FROM, without an index
    condition: str
    compared: int = 0  # how many columns of the key the edges of its table or partition name


def plan_chunks(
    session: Session, tables: Sequence[TableFacts], wanted: Collection[int] | None = None
) -> list[Planned]:
    """All chunks of all tables, or of those at the positions `wanted`; the largest first. Raises what the
    driver raises."""
    numbers = range(len(tables)) if wanted is None else sorted(wanted)
    planned = [item for number in numbers for item in _of_table(session, number, tables[number])]
    planned.sort(key=lambda item: -item.chunk.size_bytes)
    return planned


def source_of(table: Table, partitions: Sequence[Partition] = ()) -> str:
    """The table as it stands behind FROM, with all its history, or only some of its partitions."""
    return source_of_part(table, part_of(partitions))


def part_of(partitions: Sequence[Partition]) -> str:
    """Partitions as SQL names them; nothing for the whole table."""
    return ", ".join(quote_identifier(partition.name) for partition in partitions)


def source_of_part(table: Table, part: str) -> str:
    """The same, with the partitions as `part_of` names them."""
    only = f" PARTITION ({part})" if part else ""
    return qualified(table.schema, table.name) + only + str(table.details.get("from_suffix", ""))


def select_statement(facts: TableFacts, source: str, where: str, in_order: bool) -> str:
    """The query of rows, in the order in which they lie: they are loaded fastest so."""
    text = f"SELECT {', '.join(facts.table.details['select'])} FROM {source}"  # noqa: S608
    text += _forced(facts) if in_order or where else ""
    text += f" WHERE {where}" if where else ""
    if in_order:
        columns = (f"{quote_identifier(c.name)}{' DESC' if c.is_descending else ''}" for c in facts.order)
        text += f" ORDER BY {', '.join(columns)}"
    return text


def _forced(facts: TableFacts) -> str:
    return f" FORCE INDEX ({quote_identifier(facts.index)})"


def _of_table(session: Session, number: int, facts: TableFacts) -> Iterator[Planned]:
    table = facts.table
    if table.size_bytes <= CHUNK_BYTES:
        groups: list[tuple[list[Partition], int, float]] = [([], table.size_bytes, table.row_estimate)]
    else:
        groups = list(_groups(facts))
    for partitions, size, rows in groups:
        source = source_of(table, partitions)
        # In the order of the key only where rows lie in it: partitions would have to be merged.
        in_order = bool(facts.order) and (not facts.partitions or len(partitions) == 1)
        pieces = min(_MOST_PIECES, -(-size // CHUNK_BYTES))
        edges = []
        if pieces > 1 and facts.cut:
            edges = EdgeFinder(session, facts, source, rows, pieces).edges()
        compared = max(map(len, edges), default=0)
        for low, high in ranges(edges):
            where = condition(facts.cut, low, high)
            statement = select_statement(facts, source, where, in_order)
            bounds = (", ".join(low or ()), ", ".join(high or ())) if edges else None
            chunk = Chunk(
                number,
                size // (len(edges) + 1),
                statement.encode("utf-8", "surrogateescape"),
                bounds,
                part=part_of(partitions),
            )
            yield Planned(chunk, source, where, compared)


def _groups(facts: TableFacts) -> Iterator[tuple[list[Partition], int, float]]:
    """Partitions that are read together, with their size and rows; small ones come in company."""
    if not facts.partitions:
        yield [], facts.table.size_bytes, facts.table.row_estimate
        return
    gathered: list[Partition] = []
    size = 0
    for partition in facts.partitions:
        if gathered and size + partition.size_bytes > CHUNK_BYTES:
            yield gathered, size, float(sum(item.rows for item in gathered))
            gathered, size = [], 0
        gathered.append(partition)
        size += partition.size_bytes
    yield gathered, size, float(sum(item.rows for item in gathered))
