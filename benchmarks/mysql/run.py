"""MariaDB's part of a run: a server of its own, databases, sections."""

from __future__ import annotations

from collections.abc import Callable, Collection

from benchmarks.bench import Options
from benchmarks.mysql import data
from benchmarks.mysql.sections import Sections
from benchmarks.mysql.server import Server
from benchmarks.results import Results

SECTIONS = ("backup", "restore", "reading", "memory", "tls", "differential", "small")
LARGE_SCALE = 8.5  # of the mixed database: 10 GB of text
DISK_GIBIBYTES, LARGE_DISK_GIBIBYTES = 16, 48


def measure(results: Results, options: Options, wanted: Collection[str]) -> None:
    """Measure some of SECTIONS."""
    scale = options.scale
    with Server.start(options.folder) as server:
        sections = Sections(results, options, server)
        if set(wanted) - {"small"}:
            server.make("mixed", data.mixed(scale))
            sections.tell(server.facts("mixed"))
            steps: dict[str, Callable[[], None]] = {
                "backup": lambda: sections.backup("mixed"),
                "restore": lambda: sections.restore("mixed"),
                "reading": lambda: sections.reading("mixed"),
                "memory": lambda: sections.memory_of("mixed", f"{scale:g} GB"),
                "tls": lambda: sections.tls("mixed"),
                "differential": lambda: sections.differential("mixed"),
            }
            for name, step in steps.items():
                if name in wanted or (name == "backup" and "restore" in wanted):
                    step()
            server.drop("mixed")
        if "small" in wanted:
            count = max(1, int(data.SMALL_TABLES * min(1.0, scale)))
            server.make("small", data.small_tables(count))
            sections.small_tables("small", count)


def measure_large(results: Results, options: Options) -> None:
    """The memory at 10 GB."""
    with Server.start(options.folder) as server:
        sections = Sections(results, options, server)
        server.make("mixed", data.mixed(LARGE_SCALE * options.scale))
        sections.memory_of("mixed", f"{10 * options.scale:g} GB")
