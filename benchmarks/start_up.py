"""How long dbtool takes to begin."""

from __future__ import annotations

from benchmarks import measure
from benchmarks.bench import Bench, Options
from benchmarks.contestants import dbtool, environment
from benchmarks.measure import median
from benchmarks.results import Results

GOAL_SECONDS = 0.25
ROUNDS = 11


def measure_start_up(results: Results, options: Options) -> None:
    """Of commands that need no server."""
    bench = Bench(results, options, measure.NO_SERVER)
    repository = options.folder / "empty"
    repository.mkdir(exist_ok=True)
    variables = environment(options.folder)
    programs = {
        "dbtool --help": dbtool(variables, "--help"),
        "dbtool list": dbtool(variables, "list", "--path", str(repository)),
    }
    for name, program in programs.items():
        bench.progress("start-up", name)
        measure.wait_for_quiet(options.patience_seconds)
        runs = [measure.run(program, measure.NO_SERVER) for _ in range(ROUNDS)]
        bench.add_line("start-up", name, runs, is_ours=True)
        reached = median([one.wall_seconds for one in runs])
        bench.judge("start-up", name, GOAL_SECONDS, reached, unit="s")
