"""What is measured of MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks import differential
from benchmarks.bench import Bench, Options
from benchmarks.contestants import backup_bytes, folder_bytes
from benchmarks.measure import Program, ProgramError, median, ratio
from benchmarks.mysql import data, reading
from benchmarks.mysql.contestants import Contestants, find_mydumper
from benchmarks.mysql.server import Server
from benchmarks.results import MEGABYTE, Results

DUMP, CLIENT = "mariadb-dump | zstd", "zstd -dc | mariadb"
BACKUP_GOAL, RESTORE_GOAL, READING_GOAL, SMALL_GOAL = 0.55, 0.33, 1.5, 2.0
DIFFERENTIAL_GOAL = 0.7
READ_TABLES = {"readings": "narrow integers", "documents": "wide text", "orders": "mixed"}


class Sections(Bench):
    """The measurements, on one server."""

    def __init__(self, results: Results, options: Options, server: Server) -> None:
        super().__init__(results, options, server.process.pid)
        self._server = server
        self._contestants = Contestants(server, options.folder, options.level)
        self._mydumper = find_mydumper()
        if self._mydumper is None:
            self.tell("NOT MEASURED: mydumper and myloader (they were not found)")
        elif not self._mydumper.has_zstd:
            self.tell(f"mydumper {self._mydumper.version} knows no zstd: it compresses with gzip here")

    def backup(self, database: str) -> None:
        """Full backup beside mariadb-dump, mydumper and the floor."""
        section, make = f"{self._server.label}: backup", self._contestants
        programs: dict[str, Callable[[], Program]] = {
            "dbtool": lambda: make.backup(database),
            DUMP: lambda: make.dump(database),
        }
        mydumper = self._mydumper
        if mydumper is not None:
            programs[mydumper.name] = lambda: make.mydumper(database, mydumper)
        programs["floor: sockets read, nothing else"] = lambda: make.floor(database)
        runs = self.in_turn(section, programs)
        sizes = {
            "dbtool": backup_bytes(runs["dbtool"][-1].output),
            DUMP: make.script_file(database).stat().st_size,
        }
        if mydumper is not None:
            sizes[mydumper.name] = folder_bytes(make.directory(database))
        self.add_lines(section, runs, sizes)
        self.compare(section, f"time beside {DUMP} -T2", BACKUP_GOAL, runs, DUMP)
        self.judge(section, f"size beside {DUMP}", None, sizes["dbtool"] / sizes[DUMP])
        name = mydumper.name if mydumper else "mydumper -t2"
        self.compare(section, f"time beside {name}", None, runs, name)

    def restore(self, database: str) -> None:
        """Restore beside the client and myloader. Needs what `backup` left."""
        section, target = f"{self._server.label}: restore", f"{database}_restored"
        make, mydumper = self._contestants, self._mydumper
        programs: dict[str, Callable[[], Program]] = {
            "dbtool": lambda: make.restore(database, target),
            "dbtool --no-compare": lambda: make.restore(database, target, compare=False),
            CLIENT: lambda: make.client(database, target),
        }
        loader = "myloader -t2"
        if mydumper is not None and mydumper.load is not None:
            loader = mydumper.loader_name
            programs[loader] = lambda: make.myloader(database, target, mydumper)

        expected = self._server.counts(database)

        def check() -> None:
            found = self._server.counts(target)
            if found != expected:
                raise ProgramError(f"a restore gave {found} rows instead of {expected}")

        def prepare(name: str) -> None:
            if self._server.counts(target):
                check()
            self._server.drop(target)
            if not name.startswith("dbtool"):  # dbtool makes the database itself
                with self._server.session() as session:
                    session.query(f"CREATE DATABASE {target} CHARACTER SET utf8mb4")

        self._server.drop(target)
        runs = self.in_turn(section, programs, prepare)
        check()
        self._server.drop(target)
        self.add_lines(section, runs)
        for ours in ("dbtool", "dbtool --no-compare"):
            what = "with digests compared" if ours == "dbtool" else "--no-compare"
            self.compare(section, f"{what}, beside {CLIENT}", RESTORE_GOAL, runs, CLIENT, ours)
            self.compare(section, f"{what}, beside {loader}", None, runs, loader, ours)

    def reading(self, database: str) -> None:
        """What reading costs the client beside throwing the bytes away, for tables of three kinds."""
        section = f"{self._server.label}: client CPU of reading"
        connection = self._server.connection(database)
        for table, kind in READ_TABLES.items():
            self.progress(section, f"{table} ({kind})")
            found = reading.read_table(connection, table, self.options.rounds, self.options.patience_seconds)
            for name, runs in found.runs.items():
                is_ours = name == reading.OURS
                self.add_line(section, f"{kind}: {name}", runs, found.size_bytes, is_ours=is_ours)
            cheapest = min(
                (found.runs[name] for name in reading.FLOORS),
                key=lambda runs: median([one.client_cpu_seconds for one in runs]),
            )
            reached = ratio(found.runs[reading.OURS], cheapest, "client_cpu_seconds")
            what = f"{kind}: CPU beside the cheaper way of throwing the bytes away"
            self.judge(section, what, READING_GOAL, reached)

    def memory_of(self, database: str, label: str) -> None:
        """The most that all processes of dbtool held together."""
        make, target = self._contestants, f"{database}_restored"
        self._server.drop(target)
        self.memory(
            f"{self._server.label}: memory at {label}",
            {"backup": lambda: make.backup(database), "restore": lambda: make.restore(database, target)},
        )
        self._server.drop(target)

    def tls(self, database: str) -> None:
        """What encryption costs a backup."""
        section, make = f"{self._server.label}: TLS", self._contestants
        if not self._server.has_tls:
            self.tell("NOT MEASURED: backup with TLS (there is no openssl to make a certificate)")
            return
        ours, theirs = "dbtool, TLS required", f"{DUMP}, TLS"
        runs = self.in_turn(
            section,
            {
                "dbtool": lambda: make.backup(database),
                ours: lambda: make.backup_with_tls(database),
                DUMP: lambda: make.dump(database),
                theirs: lambda: make.dump(database, tls=True),
            },
        )
        size = backup_bytes(runs["dbtool"][-1].output)
        for name, found in runs.items():
            self.add_line(section, name, found, is_ours=name.startswith("dbtool"))
        throughput = ratio(runs["dbtool"], runs[ours])
        self.judge(section, "throughput of dbtool with TLS beside without", None, throughput)
        self.judge(
            section, f"throughput of {DUMP} with TLS beside without", None, ratio(runs[DUMP], runs[theirs])
        )
        seconds = median([one.wall_seconds for one in runs[ours]])
        self.tell(f"{section}: dbtool writes {size / MEGABYTE / seconds:.0f} MB of archive a second with TLS")

    def differential(self, database: str) -> None:
        """Differentials beside a full, as more and more rows change."""

        def execute(statements: Iterator[str]) -> None:
            with self._server.session(database) as session:
                session.query("SET SESSION foreign_key_checks = 0")
                for statement in statements:
                    session.query(statement)

        section = f"{self._server.label}: differential"
        differential.measure(
            self, section, self._contestants, database, data.UPDATES, execute, DIFFERENTIAL_GOAL
        )

    def small_tables(self, database: str, count: int) -> None:
        """A schema of very many tables."""
        section, make = f"{self._server.label}: {count:,} small tables", self._contestants
        runs = self.in_turn(
            section, {"dbtool": lambda: make.backup(database), DUMP: lambda: make.dump(database)}
        )
        self.add_lines(section, runs)
        self.compare(section, f"backup beside {DUMP} -T2", SMALL_GOAL, runs, DUMP)
