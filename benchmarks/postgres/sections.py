"""What is measured of PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psycopg

from benchmarks import differential
from benchmarks.bench import Bench, Options, say
from benchmarks.contestants import backup_bytes, folder_bytes
from benchmarks.measure import Program
from benchmarks.postgres import data
from benchmarks.postgres.contestants import Contestants, newest_client
from benchmarks.results import Results
from dbtool.servers.postgres import PostgresServer

_DIFFERENTIAL_GOAL = 0.4


class Sections(Bench):
    """The measurements, on one server."""

    def __init__(self, results: Results, options: Options, server: PostgresServer) -> None:
        super().__init__(results, options, server.pid)
        self._server = server
        self._contestants = Contestants(server, options.folder, options.level)
        self._newest = newest_client()
        if self._newest is None:
            self.tell("NOT MEASURED: pg_dump -Fd --compress=zstd of version 18 (its programs were not found)")

    # ---- databases -----------------------------------------------------------------------------

    def make(self, database: str, statements: Iterator[str]) -> None:
        """Make a database and fill it."""
        say(f"PostgreSQL: loading database {database}")
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

    def backup(self, database: str) -> None:
        """Full backup beside pg_dump and the floor."""
        section, make = f"PostgreSQL: backup of {database}", self._contestants
        programs: dict[str, Callable[[], Program]] = {
            "dbtool": lambda: make.backup(database),
            "pg_dump | zstd": lambda: make.dump(database),
        }
        if self._newest is not None:
            client = self._newest
            programs["pg_dump 18 -Fd -j2"] = lambda: make.directory_dump(database, client)
        programs["floor: COPY TO '/dev/null'"] = lambda: make.floor(database, self._tables(database))
        runs = self.in_turn(section, programs)
        sizes = {
            "dbtool": backup_bytes(runs["dbtool"][-1].output),
            "pg_dump | zstd": make.script_file(database).stat().st_size,
        }
        if self._newest is not None:
            sizes["pg_dump 18 -Fd -j2"] = folder_bytes(make.directory(database))
        self.add_lines(section, runs, sizes)
        self.compare(section, "time beside pg_dump | zstd -T2", 0.6, runs, "pg_dump | zstd")
        size_ratio = sizes["dbtool"] / sizes["pg_dump | zstd"]
        self.judge(section, "size beside pg_dump | zstd", 1.02, size_ratio)
        goal = 0.65 if database == "dominant" else 0.9
        self.compare(section, "time beside pg_dump 18 -Fd -j2 zstd", goal, runs, "pg_dump 18 -Fd -j2")

    def restore(self, database: str) -> None:
        """Restore beside psql and pg_restore. Needs what `backup` left."""
        section, target = f"PostgreSQL: restore of {database}", f"{database}_restored"
        make = self._contestants
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

        runs = self.in_turn(section, programs, prepare)
        self.drop(target)
        self.add_lines(section, runs)
        for ours in ("dbtool", "dbtool --no-compare"):
            what = "with digests compared" if ours == "dbtool" else "--no-compare"
            self.compare(section, f"{what}, beside zstd -dc | psql", 0.55, runs, "zstd -dc | psql", ours)
            self.compare(section, f"{what}, beside pg_restore -j2", 1.0, runs, "pg_restore -j2", ours)

    def differential(self, database: str) -> None:
        """Differentials beside a full, as more and more rows change."""

        def execute(statements: Iterator[str]) -> None:
            with self._session(database) as session:
                session.execute("SET session_replication_role = replica")  # foreign keys look away
                for statement in statements:
                    session.execute(statement)

        section = f"PostgreSQL: differential of {database}"
        differential.measure(
            self, section, self._contestants, database, data.UPDATES, execute, _DIFFERENTIAL_GOAL
        )

    def small_tables(self, database: str, count: int) -> None:
        """A schema of very many tables."""
        section, make = f"PostgreSQL: {count:,} small tables", self._contestants
        runs = self.in_turn(
            section,
            {"dbtool": lambda: make.backup(database), "pg_dump | zstd": lambda: make.dump(database)},
        )
        self.add_lines(section, runs)
        self.compare(section, "backup beside pg_dump | zstd -T2", 2.0, runs, "pg_dump | zstd")

    def memory_of(self, database: str, label: str) -> None:
        """The most that all processes of dbtool held together."""
        make, target = self._contestants, f"{database}_restored"
        self.drop(target)
        self.memory(
            f"PostgreSQL: memory at {label}",
            {"backup": lambda: make.backup(database), "restore": lambda: make.restore(database, target)},
        )
        self.drop(target)

    def levels(self, database: str, levels: Sequence[int]) -> None:
        """What a higher level of zstd costs and gives."""
        section, make = f"PostgreSQL: levels, {database}", self._contestants
        programs: dict[str, Callable[[], Program]] = {}
        for level in levels:
            programs[f"dbtool -level {level}"] = lambda level=level: make.backup(database, level)  # type: ignore[misc]
            programs[f"pg_dump | zstd -{level}"] = lambda level=level: make.dump(database, level)  # type: ignore[misc]
        runs = self.in_turn(section, programs)
        for name, found in runs.items():
            is_ours = name.startswith("dbtool")
            self.add_line(
                section, name, found, backup_bytes(found[-1].output) if is_ours else 0, is_ours=is_ours
            )
