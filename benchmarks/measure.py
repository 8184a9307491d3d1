"""Running one program and seeing what it costs: wall time, CPU of client and server, memory.

Wall time on a busy machine is noisy; CPU seconds hardly. Both are kept of every run.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SAMPLE_SECONDS = 0.02
QUIET_SECONDS = 0.5
QUIET_SHARE = 0.15  # of one processor
NO_SERVER = 0  # no process has this id
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """One run of one program: seconds on the clock and on the processors, memory where it was asked for."""

    wall_seconds: float
    client_cpu_seconds: float
    server_cpu_seconds: float
    other_cpu_seconds: float = 0.0  # what everything else on the machine used meanwhile
    peak_bytes: int = 0
    output: str = ""

    @property
    def cpu_seconds(self) -> float:
        """Client and server together."""
        return self.client_cpu_seconds + self.server_cpu_seconds


@dataclass(frozen=True)
class Program:
    """What is run: arguments, and what has to be done before each run without being measured."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]


class ProgramError(RuntimeError):
    """A measured program failed, so there is nothing to compare."""


def shell(command: str) -> list[str]:
    """A pipeline that fails when any part of it does."""
    return ["bash", "-c", f"set -euo pipefail; {command}"]


def run(program: Program, server_pid: int, *, sample_memory: bool = False) -> Run:
    """Run it to its end. Raises `ProgramError` unless it exits with 0."""
    os.sync()  # what an earlier run left to write is not this one's
    machine_before = _machine_cpu_seconds()
    server_before = _family_cpu_seconds(server_pid)
    client_before = _children_cpu_seconds()
    clock = time.perf_counter()
    process = subprocess.Popen(
        program.arguments,
        env=dict(program.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    sampler = MemorySampler(process.pid) if sample_memory else None
    output, narration = process.communicate()
    wall = time.perf_counter() - clock
    peak = sampler.stop() if sampler else 0
    if process.returncode != 0:
        last = narration.decode("utf-8", "replace").strip().splitlines()[-8:]
        raise ProgramError(f"{program.name} ended with {process.returncode}: " + " / ".join(last))
    client = _children_cpu_seconds() - client_before
    time.sleep(0.1)  # backends end a moment after their client
    server = _family_cpu_seconds(server_pid) - server_before
    other = max(0.0, _machine_cpu_seconds() - machine_before - client - server)
    return Run(wall, client, server, other, peak, output.decode("utf-8", "replace"))


def wait_for_quiet(timeout_seconds: float) -> None:
    """Wait until nothing else keeps the machine busy, but not for ever."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        before = _machine_cpu_seconds()
        time.sleep(QUIET_SECONDS)
        if _machine_cpu_seconds() - before < QUIET_SECONDS * QUIET_SHARE:
            return


def median(values: Sequence[float]) -> float:
    """The middle one."""
    return float(statistics.median(values))


def ratio(ours: Sequence[Run], theirs: Sequence[Run], figure: str = "wall_seconds") -> float:
    """The median of the ratios of runs that stood side by side."""
    return median(
        [getattr(our, figure) / getattr(their, figure) for our, their in zip(ours, theirs, strict=True)]
    )


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _family_cpu_seconds(first: int) -> float:
    """A server's processor time: its first process's with all threads, its living children's and those
    it has buried."""
    own = _times(first)
    return sum(own) + sum(sum(_times(child)[:2]) for child in children(first))


def _machine_cpu_seconds() -> float:
    """What all processors together have worked since the machine started."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _idle, _wait, interrupt, soft, *_ = map(int, file.readline().split()[1:])
    return (user + nice + system + interrupt + soft) / _TICKS_A_SECOND


def _times(pid: int) -> list[float]:
    """(user, system, children's user, children's system) in seconds."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return [0.0] * 4
    return [int(field) / _TICKS_A_SECOND for field in fields[11:15]]


def children(pid: int) -> list[int]:
    """Direct children, of whichever thread."""
    found: list[int] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        pass
    return found


def descendants(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for child in children(pid):
        found += descendants(child)
    return found


class MemorySampler:
    """The most memory that a process and its descendants held at one moment; shared pages count once."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._peak = 0
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self._peak = max(self._peak, sum(_proportional_bytes(pid) for pid in descendants(self._pid)))

    def stop(self) -> int:
        """The peak in bytes."""
        self._ended.set()
        self._thread.join()
        return self._peak


def _proportional_bytes(pid: int) -> int:
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0
