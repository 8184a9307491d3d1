"""How things are measured, whatever the engine: contestants in turn, several rounds; lines and verdicts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.measure import Program, Run, median, ratio
from benchmarks.results import MEGABYTE, Line, Results, Verdict

MEMORY_GOAL_BYTES = 400 * MEGABYTE

Programs = Mapping[str, Callable[[], Program]]  # made anew for each run, by the names of the lines
Runs = dict[str, list[Run]]


@dataclass(frozen=True)
class Options:
    """What a person chose for this run."""

    folder: Path  # what the programs write goes below it
    level: int
    rounds: int
    patience_seconds: float
    scale: float


class Bench:
    """Measures on one server, and adds to the results; the sections of each engine are built on it."""

    def __init__(self, results: Results, options: Options, server_pid: int) -> None:
        self.results = results
        self.options = options
        self._server_pid = server_pid

    def in_turn(
        self, section: str, programs: Programs, prepare: Callable[[str], None] = lambda _: None
    ) -> Runs:
        """A B C A B C …: whatever else the machine does then befalls all of them alike."""
        runs: Runs = {name: [] for name in programs}
        for number in range(self.options.rounds):
            for name, make in programs.items():
                prepare(name)
                self.progress(section, f"{name}, round {number + 1} of {self.options.rounds}")
                found = self.run(make())
                runs[name].append(found)
                say(
                    f"    {found.wall_seconds:7.2f} s, CPU {found.client_cpu_seconds:.2f} s client "
                    f"{found.server_cpu_seconds:.2f} s server; others {found.other_cpu_seconds:.2f} s"
                )
        return runs

    def run(self, program: Program, *, sample_memory: bool = False) -> Run:
        """One run, once the machine is quiet."""
        measure.wait_for_quiet(self.options.patience_seconds)
        return measure.run(program, self._server_pid, sample_memory=sample_memory)

    def memory(self, section: str, programs: Programs) -> None:
        """The most that all processes of each program held together."""
        for name, make in programs.items():
            self.progress(section, name)
            found = self.run(make(), sample_memory=True)
            goal, reached = MEMORY_GOAL_BYTES / MEGABYTE, found.peak_bytes / MEGABYTE
            self.judge(section, name, goal, reached, unit="MB")
            self.add_line(section, name, [found], is_ours=True)

    def compare(
        self,
        section: str,
        what: str,
        goal: float | None,
        runs: Runs,
        theirs: str,
        ours: str = "dbtool",
    ) -> None:
        """A verdict on the time of one program beside another's."""
        if theirs not in runs:
            self.results.verdicts.append(Verdict(section, what, goal, None))
            return
        by_cpu = ratio(runs[ours], runs[theirs], "cpu_seconds")
        self.judge(section, what, goal, ratio(runs[ours], runs[theirs]), by_cpu)

    def judge(
        self,
        section: str,
        what: str,
        goal: float | None,
        reached: float,
        by_cpu: float | None = None,
        unit: str = "",
    ) -> None:
        """A verdict on a figure."""
        self.results.verdicts.append(Verdict(section, what, goal, reached, by_cpu, unit))

    def add_lines(self, section: str, runs: Runs, sizes: Mapping[str, int] | None = None) -> None:
        """A line for each program, drawn in the chart; those that are dbtool are called so."""
        for name, found in runs.items():
            size = (sizes or {}).get(name, 0)
            self.add_line(section, name, found, size, is_ours=name.startswith("dbtool"), is_drawn=True)

    def add_line(
        self,
        section: str,
        name: str,
        runs: Sequence[Run],
        size_bytes: int = 0,
        *,
        is_ours: bool = False,
        is_drawn: bool = False,
    ) -> None:
        """A line of the medians of some runs."""
        self.results.lines.append(
            Line(
                section,
                name,
                median([one.wall_seconds for one in runs]),
                median([one.client_cpu_seconds for one in runs]),
                median([one.server_cpu_seconds for one in runs]),
                median([one.other_cpu_seconds for one in runs]),
                size_bytes,
                is_ours,
                is_drawn,
            )
        )

    def progress(self, section: str, what: str) -> None:
        """Say what is about to be done."""
        say(f"{time.strftime('%H:%M:%S')} {section}: {what}")

    def tell(self, note: str) -> None:
        """A note for the report."""
        self.results.notes.append(note)
        say(note)


def say(text: str) -> None:
    """Narration, on stderr."""
    print(text, file=sys.stderr, flush=True)
