"""`python -m benchmarks`: make servers, fill them, measure, print a table, write a chart."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from benchmarks import report
from benchmarks.bench import Options, say
from benchmarks.mysql import run as mysql
from benchmarks.postgres import run as postgres
from benchmarks.results import Results
from benchmarks.start_up import measure_start_up
from dbtool import rows
from dbtool.archive.zstd import DEFAULT_LEVEL

RESULTS = Path(__file__).resolve().parent / "results"
ENGINES = {"postgres": postgres, "mysql": mysql}
START_UP = "start-up"
SECTIONS = (
    START_UP,
    *(f"{name}-{section}" for name, engine in ENGINES.items() for section in engine.SECTIONS),
)


def main() -> int:
    """Gives 0 when all was measured, whether or not every goal was reached."""
    arguments = _parser().parse_args()
    wanted = _wanted(arguments.only, arguments.engine)
    if not wanted:
        say(f"none of the sections that --only names are of --engine {arguments.engine}")
        return 2
    if not rows.is_native:
        say("NOTE: the C part of dbtool.rows was not built here; what follows is its pure-Python twin")
    results = Results()
    with tempfile.TemporaryDirectory(prefix="dbtool-bench-", dir=arguments.folder) as name:
        options = Options(Path(name), arguments.level, arguments.rounds, arguments.patience, arguments.scale)
        if not _has_room(options, arguments.large, arguments.engine):
            return 1
        if arguments.large:
            _measure_large(results, options, arguments.engine)
        else:
            _measure(results, options, wanted)
    print(report.machine(), report.text(results), sep="\n\n")
    destination = RESULTS / "large" if arguments.large else RESULTS
    report.write(results, destination)
    say(f"written: {destination}/report.md, results.json, chart.svg")
    return 0


def _wanted(only: list[str] | None, engine: str | None) -> list[str]:
    """The sections to measure, in their order."""
    return [
        name
        for name in SECTIONS
        if (only is None or name in only) and (engine is None or name.startswith((engine, START_UP)))
    ]


def _has_room(options: Options, is_large: bool, only: str | None) -> bool:
    """Whether the disk has room for the larger of what the engines need: they come one after the other."""
    needed = max(
        engine.LARGE_DISK_GIBIBYTES if is_large else engine.DISK_GIBIBYTES
        for name, engine in ENGINES.items()
        if only in (None, name)
    )
    free = shutil.disk_usage(options.folder).free / 2**30
    if free >= needed * options.scale:
        return True
    say(
        f"this needs {needed * options.scale:.0f} GiB of free space in {options.folder.parent}, there are {free:.0f}"
    )
    return False


def _measure(results: Results, options: Options, wanted: list[str]) -> None:
    if START_UP in wanted:
        measure_start_up(results, options)
    for name, engine in ENGINES.items():
        prefix = f"{name}-"
        if sections := [section.removeprefix(prefix) for section in wanted if section.startswith(prefix)]:
            engine.measure(results, _of_engine(options, name), sections)


def _measure_large(results: Results, options: Options, only: str | None) -> None:
    for name, engine in ENGINES.items():
        if only in (None, name):
            engine.measure_large(results, _of_engine(options, name))


def _of_engine(options: Options, name: str) -> Options:
    """With a folder of the engine's own; what the engine before left in its own is removed."""
    for other in ENGINES:
        shutil.rmtree(options.folder / other, ignore_errors=True)
    folder = options.folder / name
    folder.mkdir()
    return Options(folder, options.level, options.rounds, options.patience_seconds, options.scale)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--engine", choices=[*ENGINES], help="measure only this one (default: both)")
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
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--large", action="store_true", help="only the memory at 10 GB")
    parser.add_argument(
        "--folder", help="where backups are written (default: the folder for temporary files)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
