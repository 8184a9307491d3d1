"""A source opened for a test, and the rows that its chunks give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dbtool.engines.base import SourceOptions
from dbtool.engines.mysql.dump import MysqlSource
from dbtool.model.connection import Connection
from dbtool.progress import Silent


@contextmanager
def opened(connection: Connection, **options: Any) -> Iterator[MysqlSource]:
    """A source, closed at the end."""
    source = MysqlSource(connection, SourceOptions(**options), Silent())
    try:
        yield source
    finally:
        source.close()


def rows_by_chunk(source: MysqlSource) -> dict[str, list[list[str]]]:
    """By table, the rows of each of its chunks, as the archive writes them."""
    chunks = source.chunks()
    found: dict[str, list[list[str]]] = {table.name: [] for table in source.tables}
    reader = source.open_reader()
    for chunk in chunks:
        rows: list[str] = []
        for block in reader.read(chunk):
            text = bytes(block.text)[block.prefix_bytes :].decode("utf-8", "surrogateescape")
            own = [line for line in text.split("\n") if line.startswith("(")]
            assert len(own) == block.rows
            rows += [line.rstrip(",;") for line in own]
        found[source.tables[chunk.table].name].append(rows)
    reader.close()
    return found
