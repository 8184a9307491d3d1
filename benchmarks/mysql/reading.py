"""What reading costs the client: dbtool's own reader, without compression, beside the bare socket.

Both run in this process, on connections of the same kind and with the same queries, in turn.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import measure
from benchmarks.measure import Run
from benchmarks.mysql.socket_floor import read_away
from benchmarks.mysql.source import open_source
from dbtool.engines.base import Chunk
from dbtool.engines.mysql.dump import MysqlSource
from dbtool.model.connection import Connection

OURS = "dbtool's reader"
PLAIN = "socket, read at once"
PAUSING = "socket, read with dbtool's pauses"
FLOORS = (PLAIN, PAUSING)


@dataclass(frozen=True)
class Reading:
    """Runs by who read, and how much came through the socket."""

    runs: dict[str, list[Run]]
    size_bytes: int


def read_table(connection: Connection, table: str, rounds: int, patience_seconds: float) -> Reading:
    """Read one table in turn. Client CPU is that of the thread that reads; the server's is not asked for.

    Raises RuntimeError where the server answers the bare socket with an error, or both floors have not
    read as much.
    """
    runs: dict[str, list[Run]] = {name: [] for name in (OURS, *FLOORS)}
    sizes = set()
    for _ in range(rounds):
        with open_source(connection) as source:
            chunks = list(_chunks_of(source, table))
            measure.wait_for_quiet(patience_seconds)
            runs[OURS].append(_ours(source, chunks))
        for name in FLOORS:
            measure.wait_for_quiet(patience_seconds)
            answers = [read_away(connection, chunk.statement, pauses=name == PAUSING) for chunk in chunks]
            sizes.add(sum(received for received, _, _ in answers))
            wall, cpu = sum(seconds for _, seconds, _ in answers), sum(seconds for _, _, seconds in answers)
            runs[name].append(Run(wall, cpu, 0.0))
    if len(sizes) != 1:
        raise RuntimeError(f"the answers for {table} differ in size: {sorted(sizes)}")
    return Reading(runs, sizes.pop())


def _chunks_of(source: MysqlSource, table: str) -> Iterator[Chunk]:
    return (chunk for chunk in source.chunks() if source.tables[chunk.table].name == table)


def _ours(source: MysqlSource, chunks: list[Chunk]) -> Run:
    reader = source.open_reader()
    clock, cpu = time.perf_counter(), time.thread_time()
    for chunk in chunks:
        for _ in reader.read(chunk):
            pass
    spent = time.perf_counter() - clock, time.thread_time() - cpu
    reader.close()
    return Run(*spent, 0.0)
