"""What a differential costs beside a full backup of the same database, by the share of rows that changed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from benchmarks.bench import Bench
from benchmarks.contestants import Contestants, backup_bytes
from benchmarks.measure import ratio

# A column of each table that a change may touch, and what it becomes.
Updates = Mapping[str, str]

# One row in so many changes; each step's rows are among the next one's. None: nothing has changed.
_STEPS = (None, 1000, 100, 20, 5)
_REMAINDERS = {1000: 7, 100: 7, 20: 7, 5: 2}
_MEASURED = 100  # the step that is promised: 1 % changed, and 0.1 % gone
_TIME_UNCHANGED_GOAL, _SIZE_GOAL = 0.3, 0.03


def statements(updates: Updates, step: int) -> Iterator[str]:
    """SQL that changes one row in `step`, spread evenly; at the step that is measured, one in 1,000 goes."""
    for table, change in updates.items():
        yield f"UPDATE {table} SET {change} WHERE id % {step} = {_REMAINDERS[step]}"
        if step == _MEASURED:
            yield f"DELETE FROM {table} WHERE id % 1000 = 500"


def measure(
    bench: Bench,
    section: str,
    make: Contestants,
    database: str,
    updates: Updates,
    execute: Callable[[Iterator[str]], None],
    time_goal: float,
) -> None:
    """A full, and differentials on it as more and more rows change, beside other fulls taken in turn."""
    bench.run(make.backup(database))
    full, size = "dbtool, full", 0
    for step in _STEPS:
        if step is not None:
            bench.progress(section, f"changing one row in {step}")
            execute(statements(updates, step))
        name = f"dbtool, differential, {_share(step)}"
        runs = bench.in_turn(
            section,
            {
                name: lambda: make.differential(database),
                full: lambda: make.backup(database, repository=make.folder / "repository_other"),
            },
        )
        size = backup_bytes(runs[full][-1].output)
        found = _checked(runs[name][-1].output)
        bench.add_lines(section, {name: runs[name]}, {name: found})
        goals = {None: _TIME_UNCHANGED_GOAL, _MEASURED: time_goal}
        what = f"{_share(step)}: time beside a full"
        bench.judge(section, what, goals.get(step), ratio(runs[name], runs[full]), _cpu(runs, name, full))
        if step == _MEASURED:
            bench.judge(section, f"{_share(step)}: size beside a full", _SIZE_GOAL, found / size)
        if step == _STEPS[-1]:
            bench.add_lines(section, {full: runs[full]}, {full: size})
    shutil.rmtree(make.folder / "repository_other", ignore_errors=True)


def _share(step: int | None) -> str:
    if step is None:
        return "nothing changed"
    return f"{100 / step:g} % changed" + (", 0.1 % gone" if step <= _MEASURED else "")


def _cpu(runs: Mapping[str, Any], ours: str, theirs: str) -> float:
    return ratio(runs[ours], runs[theirs], "cpu_seconds")


def _checked(output: str) -> int:
    """The differential's size; an error if a full was taken in its stead."""
    document = json.loads(output)
    if document["type"] != "differential":
        raise RuntimeError(f"a full was taken: {document['options'].get('differential_refused')}")
    return backup_bytes(output)
