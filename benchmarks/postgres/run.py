"""PostgreSQL's part of a run: a server of its own, databases, sections."""

from __future__ import annotations

from collections.abc import Callable, Collection

from benchmarks.bench import Options
from benchmarks.postgres import data
from benchmarks.postgres.sections import Sections
from benchmarks.results import Results
from dbtool.servers.postgres import PostgresServer

SECTIONS = ("backup", "dominant", "restore", "small", "memory", "levels", "differential")
SETTINGS = {
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "128MB",
    "max_locks_per_transaction": "512",  # pg_dump holds a lock on each of 20,000 tables
}
LARGE_SETTINGS = {**SETTINGS, "max_wal_size": "2GB"}
LARGE_SCALE = 8.5  # of the mixed database: 10 GB of text
DISK_GIBIBYTES, LARGE_DISK_GIBIBYTES = 16, 28


def measure(results: Results, options: Options, wanted: Collection[str]) -> None:
    """Measure some of SECTIONS."""
    with PostgresServer.start(settings=SETTINGS) as server:
        _measure(Sections(results, options, server), wanted, options.scale)


def measure_large(results: Results, options: Options) -> None:
    """The memory at 10 GB."""
    with PostgresServer.start(settings=LARGE_SETTINGS) as server:
        sections = Sections(results, options, server)
        sections.make("mixed", data.mixed(LARGE_SCALE * options.scale))
        sections.memory_of("mixed", f"{10 * options.scale:g} GB")


def _measure(sections: Sections, wanted: Collection[str], scale: float) -> None:
    if {"backup", "restore", "memory", "levels", "differential"} & set(wanted):
        sections.make("mixed", data.mixed(scale))
        steps: dict[str, Callable[[], None]] = {
            "backup": lambda: sections.backup("mixed"),
            "restore": lambda: sections.restore("mixed"),
            "memory": lambda: sections.memory_of("mixed", f"{scale:g} GB"),
            "levels": lambda: sections.levels("mixed", (1, 3)),
            "differential": lambda: sections.differential("mixed"),
        }
        for name, step in steps.items():
            if name in wanted or (name == "backup" and "restore" in wanted):
                step()
        sections.drop("mixed")
    if "dominant" in wanted:
        sections.make("dominant", data.dominant(scale))
        sections.backup("dominant")
        sections.restore("dominant")
        sections.drop("dominant")
    if "small" in wanted:
        count = max(1, int(data.SMALL_TABLES * min(1.0, scale)))
        sections.make("small", data.small_tables(count))
        sections.small_tables("small", count)
