"""`python -m benchmarks`: make a server, fill it, measure, print a table, write a chart."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import data, report
from benchmarks.sections import Sections, say
from dbtool import rows
from dbtool.archive.zstd import DEFAULT_LEVEL
from dbtool.servers.postgres import PostgresServer

RESULTS = Path(__file__).resolve().parent / "results"
GIBIBYTE = 1 << 30
SETTINGS = {
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "maintenance_work_mem": "128MB",
    "max_locks_per_transaction": "512",  # pg_dump holds a lock on each of 20,000 tables
}
LARGE_SETTINGS = {**SETTINGS, "max_wal_size": "2GB"}
DISK_BYTES, LARGE_DISK_BYTES = 16 * GIBIBYTE, 28 * GIBIBYTE
LARGE_SCALE = 8.5  # of the mixed database: 10 GB of text

_SECTIONS = ("start-up", "backup", "dominant", "restore", "small", "memory", "levels")


def main() -> int:
    """Gives 0 when all was measured, whether or not every goal was reached."""
    arguments = _parser().parse_args()
    if not rows.is_native:
        say("NOTE: the C part of dbtool.rows was not built here; what follows is its pure-Python twin")
    with tempfile.TemporaryDirectory(prefix="dbtool-bench-", dir=arguments.folder) as name:
        folder = Path(name)
        needed = LARGE_DISK_BYTES if arguments.large else DISK_BYTES
        free = shutil.disk_usage(folder).free
        if free < needed * (1 if arguments.large else arguments.scale):
            say(f"this needs {needed >> 30} GiB of free space in {folder.parent}, there are {free >> 30}")
            return 1
        settings = LARGE_SETTINGS if arguments.large else SETTINGS
        with PostgresServer.start(settings=settings) as server:
            sections = Sections(server, folder, arguments.level, arguments.rounds, arguments.patience)
            if arguments.large:
                _measure_large(sections, arguments.scale)
            else:
                _measure(sections, arguments.only or _SECTIONS, arguments.scale)
    results = sections.results
    print(report.machine(), report.text(results), sep="\n\n")
    destination = RESULTS / "large" if arguments.large else RESULTS
    report.write(results, destination)
    say(f"written: {destination}/report.md, results.json, chart.svg")
    return 0


def _measure(sections: Sections, wanted: tuple[str, ...] | list[str], scale: float) -> None:
    if "start-up" in wanted:
        sections.start_up()
    if {"backup", "restore", "memory", "levels"} & set(wanted):
        sections.make("mixed", data.mixed(scale))
        steps: dict[str, Callable[[], None]] = {
            "backup": lambda: sections.backup("mixed"),
            "restore": lambda: sections.restore("mixed"),
            "memory": lambda: sections.memory("mixed", f"{scale:g} GB"),
            "levels": lambda: sections.levels("mixed", (1, 3)),
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
        sections.make("small", data.small_tables(int(data.SMALL_TABLES * min(1.0, scale))))
        sections.small_tables("small")


def _measure_large(sections: Sections, scale: float) -> None:
    sections.make("mixed", data.mixed(LARGE_SCALE * scale))
    sections.memory("mixed", f"{10 * scale:g} GB")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each program runs (default 3)")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="size of the data; 1 is about 1 GB (default)"
    )
    parser.add_argument(
        "--level", type=int, default=DEFAULT_LEVEL, help="zstd level for all (default: dbtool's)"
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait before each run for others on this machine to be quiet (default 10)",
    )
    parser.add_argument("--only", nargs="+", choices=_SECTIONS, help="measure only these")
    parser.add_argument("--large", action="store_true", help="only the memory at 10 GB")
    parser.add_argument(
        "--folder", help="where backups are written (default: the folder for temporary files)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
