"""What is measured: each section runs its contestants in turn, several rounds, and gives lines."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import data, measure
from benchmarks.contestants import Contestants, newest_client
from benchmarks.measure import Program, Run, median, ratio
from dbtool.servers.postgres import PostgresServer

MEGABYTE = 1_000_000
MEMORY_GOAL_BYTES = 400 * MEGABYTE
START_GOAL_SECONDS = 0.25
START_ROUNDS = 11


@dataclass
class Line:
    """One measured thing: medians, and beside whom it stood."""

    section: str
    name: str
    wall_seconds: float
    client_cpu_seconds: float = 0.0
    server_cpu_seconds: float = 0.0
    other_cpu_seconds: float = 0.0
    size_bytes: int = 0
    is_ours: bool = False


@dataclass
class Verdict:
    """One promise: a figure, its goal ("at most"), and whether it was kept. None: not measured."""

    section: str
    what: str
    goal: float
    reached: float | None
    by_cpu: float | None = None  # the same ratio in CPU seconds of client and server
    unit: str = ""
    note: str = ""

    @property
    def is_kept(self) -> bool:
        """Whether the goal was reached."""
        return self.reached is not None and self.reached <= self.goal


@dataclass
class Results:
    """All lines and verdicts of a run."""

    lines: list[Line] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Sections:
    """The measurements, on one server."""

    def __init__(
        self, server: PostgresServer, folder: Path, level: int, rounds: int, patience_seconds: float
    ) -> None:
        self._server = server
        self._contestants = Contestants(server, folder, level)
        self._folder = folder
        self._rounds = rounds
        self._patience_seconds = patience_seconds
        self._newest = newest_client()
        self.results = Results()
        if self._newest is None:
            self._tell(
                "NOT MEASURED: pg_dump -Fd --compress=zstd of version 18 (its programs were not found)"
            )

    # ---- databases -----------------------------------------------------------------------------

    def make(self, database: str, statements: Iterator[str]) -> None:
        """Make a database and fill it."""
        say(f"loading database {database}")
        with self._session("postgres") as session:
            session.execute(f"CREATE DATABASE {database}")
        with self._session(database) as session:
            data.load(session, statements)

    def drop(self, database: str) -> None:
        """Remove a database, and let the server come to rest."""
        with self._session("postgres") as session:
            session.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            session.execute("CHECKPOINT")

    @contextlib.contextmanager
    def _session(self, database: str) -> Iterator[Any]:
        connection = self._server.connection(database)
        with psycopg.connect(
            host=connection.host, port=connection.port, user="postgres", dbname=database, autocommit=True
        ) as session:
            yield session

    def _tables(self, database: str) -> list[str]:
        with self._session(database) as session:
            rows = session.execute(
                "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace "
                "ORDER BY pg_table_size(oid) DESC"
            ).fetchall()
        return [name for (name,) in rows]

    # ---- sections ------------------------------------------------------------------------------

    def start_up(self) -> None:
        """How long dbtool takes to begin."""
        self._folder.joinpath("empty").mkdir(exist_ok=True)
        repository = str(self._folder / "empty")
        programs = {
            "dbtool --help": self._contestants.dbtool("--help"),
            "dbtool list": self._contestants.dbtool("list", "--path", repository),
        }
        for name, program in programs.items():
            measure.wait_for_quiet(self._patience_seconds)
            runs = [measure.run(program, self._server.pid) for _ in range(START_ROUNDS)]
            self._add_line("start-up", name, runs, is_ours=True)
            self._judge(
                "start-up", name, START_GOAL_SECONDS, median([one.wall_seconds for one in runs]), unit="s"
            )

    def backup(self, database: str) -> None:
        """Full backup beside pg_dump and the floor."""
        section, make = f"backup of {database}", self._contestants
        programs: dict[str, Callable[[], Program]] = {
            "dbtool": lambda: make.backup(database),
            "pg_dump | zstd": lambda: make.dump(database),
        }
        if self._newest is not None:
            client = self._newest
            programs["pg_dump 18 -Fd -j2"] = lambda: make.directory_dump(database, client)
        programs["floor: COPY TO '/dev/null'"] = lambda: make.floor(database, self._tables(database))
        runs = self._in_turn(section, programs)
        sizes = {
            "dbtool": lambda: make.backup_bytes(runs["dbtool"][-1].output),
            "pg_dump | zstd": lambda: make.script_file(database).stat().st_size,
            "pg_dump 18 -Fd -j2": lambda: sum(
                file.stat().st_size for file in make.directory(database).iterdir()
            ),
        }
        for name, found in runs.items():
            size = sizes[name]() if name in sizes else 0
            self._add_line(section, name, found, size, is_ours=name == "dbtool")
        size_ratio = sizes["dbtool"]() / sizes["pg_dump | zstd"]()
        self._compare(section, "time beside pg_dump | zstd -T2", 0.6, runs, "pg_dump | zstd")
        self._judge(section, "size beside pg_dump | zstd", 1.02, size_ratio)
        goal = 0.65 if database == "dominant" else 0.9
        self._compare(section, "time beside pg_dump 18 -Fd -j2 zstd", goal, runs, "pg_dump 18 -Fd -j2")

    def restore(self, database: str) -> None:
        """Restore beside psql and pg_restore. Needs what `backup` left."""
        section, make, target = f"restore of {database}", self._contestants, f"{database}_restored"
        programs: dict[str, Callable[[], Program]] = {
            "dbtool": lambda: make.restore(database, target),
            "dbtool --no-compare": lambda: make.restore(database, target, compare=False),
            "zstd -dc | psql": lambda: make.psql(database, target),
        }
        if self._newest is not None:
            client = self._newest
            programs["pg_restore -j2"] = lambda: make.directory_restore(database, target, client)

        def prepare(name: str) -> None:
            self.drop(target)
            if not name.startswith("dbtool"):  # dbtool makes the database itself
                with self._session("postgres") as session:
                    session.execute(f"CREATE DATABASE {target} TEMPLATE template0")

        runs = self._in_turn(section, programs, prepare)
        self.drop(target)
        for name, found in runs.items():
            self._add_line(section, name, found, is_ours=name.startswith("dbtool"))
        for ours in ("dbtool", "dbtool --no-compare"):
            what = "with digests compared" if ours == "dbtool" else "--no-compare"
            self._compare(section, f"{what}, beside zstd -dc | psql", 0.55, runs, "zstd -dc | psql", ours)
            self._compare(section, f"{what}, beside pg_restore -j2", 1.0, runs, "pg_restore -j2", ours)

    def small_tables(self, database: str) -> None:
        """A schema of very many tables."""
        section, make = "20,000 small tables", self._contestants
        runs = self._in_turn(
            section,
            {"dbtool": lambda: make.backup(database), "pg_dump | zstd": lambda: make.dump(database)},
        )
        for name, found in runs.items():
            self._add_line(section, name, found, is_ours=name == "dbtool")
        self._compare(section, "backup beside pg_dump | zstd -T2", 2.0, runs, "pg_dump | zstd")

    def memory(self, database: str, label: str) -> None:
        """The most that all processes of dbtool held together. The restore stays, as <database>_restored."""
        make, target = self._contestants, f"{database}_restored"
        self.drop(target)
        for what, program in (
            ("backup", make.backup(database)),
            ("restore", make.restore(database, target)),
        ):
            self._progress(f"memory at {label}", what)
            run = measure.run(program, self._server.pid, sample_memory=True)
            self._judge(
                f"memory at {label}", what, MEMORY_GOAL_BYTES / MEGABYTE, run.peak_bytes / MEGABYTE, unit="MB"
            )
            self._add_line(f"memory at {label}", what, [run], is_ours=True)
        self.drop(target)

    def levels(self, database: str, levels: Sequence[int]) -> None:
        """What a higher level of zstd costs and gives."""
        section, make = f"levels, {database}", self._contestants
        sizes: dict[str, int] = {}
        programs: dict[str, Callable[[], Program]] = {}
        for level in levels:
            programs[f"dbtool -level {level}"] = lambda level=level: make.backup(database, level)  # type: ignore[misc]
            programs[f"pg_dump | zstd -{level}"] = lambda level=level: make.dump(database, level)  # type: ignore[misc]
        runs = self._in_turn(section, programs)
        for level in levels:
            sizes[f"dbtool -level {level}"] = make.backup_bytes(runs[f"dbtool -level {level}"][-1].output)
        for name, found in runs.items():
            self._add_line(section, name, found, sizes.get(name, 0), is_ours=name.startswith("dbtool"))

    # ---- how -----------------------------------------------------------------------------------

    def _in_turn(
        self,
        section: str,
        programs: dict[str, Callable[[], Program]],
        prepare: Callable[[str], None] = lambda _: None,
    ) -> dict[str, list[Run]]:
        """A B C A B C …: whatever else the machine does then befalls all of them alike."""
        runs: dict[str, list[Run]] = {name: [] for name in programs}
        for number in range(self._rounds):
            for name, make in programs.items():
                prepare(name)
                self._progress(section, f"{name}, round {number + 1} of {self._rounds}")
                program = make()
                measure.wait_for_quiet(self._patience_seconds)
                found = measure.run(program, self._server.pid)
                runs[name].append(found)
                say(
                    f"    {found.wall_seconds:7.2f} s, CPU {found.client_cpu_seconds:.2f} s client "
                    f"{found.server_cpu_seconds:.2f} s server; others {found.other_cpu_seconds:.2f} s"
                )
        return runs

    def _compare(
        self,
        section: str,
        what: str,
        goal: float,
        runs: dict[str, list[Run]],
        theirs: str,
        ours: str = "dbtool",
    ) -> None:
        if theirs not in runs:
            self.results.verdicts.append(Verdict(section, what, goal, None, note="not measured"))
            return
        self._judge(
            section,
            what,
            goal,
            ratio(runs[ours], runs[theirs]),
            by_cpu=ratio(runs[ours], runs[theirs], "cpu_seconds"),
        )

    def _judge(
        self,
        section: str,
        what: str,
        goal: float,
        reached: float,
        by_cpu: float | None = None,
        unit: str = "",
    ) -> None:
        self.results.verdicts.append(Verdict(section, what, goal, reached, by_cpu, unit))

    def _add_line(
        self, section: str, name: str, runs: Sequence[Run], size_bytes: int = 0, *, is_ours: bool = False
    ) -> None:
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
            )
        )

    def _progress(self, section: str, what: str) -> None:
        say(f"{time.strftime('%H:%M:%S')} {section}: {what}")

    def _tell(self, note: str) -> None:
        self.results.notes.append(note)
        say(note)


def say(text: str) -> None:
    """Narration, on stderr."""
    print(text, file=sys.stderr, flush=True)
