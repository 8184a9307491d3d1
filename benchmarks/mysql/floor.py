"""`python -m benchmarks.mysql.floor PORT DATABASE JOBS FILE`: run queries, throw their rows away.

The file has a query in each line; several connections share them.
"""

from __future__ import annotations

import queue
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.mysql.socket_floor import read_away
from dbtool.model.connection import Connection


def main() -> int:
    """Gives 0 when all was read."""
    port, database, jobs, file = sys.argv[1:]
    connection = Connection(
        engine="mysql", database=database, host="127.0.0.1", port=int(port), user="root", tls_mode="disable"
    )
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    for query in Path(file).read_bytes().splitlines():
        waiting.put(query)

    def work() -> None:
        while True:
            try:
                query = waiting.get_nowait()
            except queue.Empty:
                return
            read_away(connection, query, pauses=True)

    with ThreadPoolExecutor(int(jobs)) as pool:
        for done in [pool.submit(work) for _ in range(int(jobs))]:
            done.result()
    return 0


if __name__ == "__main__":
    sys.exit(main())
