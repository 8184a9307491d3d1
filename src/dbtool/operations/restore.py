"""Restoring a logical backup into a database, and proving that what arrived is what was backed up."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dbtool.archive.chain import ChainReader
from dbtool.archive.reader import ArchiveReader
from dbtool.catalog import names
from dbtool.catalog.chain import chain_of
from dbtool.catalog.repository import Resolved
from dbtool.catalog.stored import StoredBackup
from dbtool.engines.base import Engine, Loader, Stage, Tally, Target, TargetOptions, Task
from dbtool.errors import DbtoolError, RefusedError, UsageError, VerificationError
from dbtool.failpoints import reach
from dbtool.model.archive import ArchiveIndex
from dbtool.model.backup import Artefact, Metadata
from dbtool.model.connection import Connection
from dbtool.operations.backup import default_jobs
from dbtool.operations.scheduler import Scheduler
from dbtool.progress import Progress
from dbtool.storage.base import Store
from dbtool.text import counted

_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class RestoreOptions:
    """What to restore, and how."""

    database: str  # the name that it shall have
    tables: tuple[str, ...] = ()  # names or patterns; empty: everything
    replace: bool = False
    with_owners: bool = True
    with_privileges: bool = True
    definers: tuple[str, ...] = ()  # MySQL, MariaDB: who becomes whom, as "old@host=new@host"
    with_globals: bool = False
    jobs: int | None = None
    compare: bool = True  # read everything back and compare digests
    dry_run: bool = False


@dataclass
class RestoreReport:
    """What a restore did, or would do."""

    backup: str
    database: str
    tables: int = 0
    rows: int = 0
    compared: bool = False
    dry_run: bool = False
    duration_seconds: float = 0.0
    steps: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "backup": self.backup,
            "database": self.database,
            "status": "planned" if self.dry_run else "completed",
            "tables": self.tables,
            "rows": self.rows,
            "compared": self.compared,
            "duration_seconds": round(self.duration_seconds, 3),
            "steps": self.steps,
            "notes": self.notes,
        }


AnyReader = ArchiveReader | ChainReader


def open_archive(resolved: Resolved, progress: Progress) -> AnyReader:
    """What a backup that may be restored holds, every artefact of its chain checked against its digest.

    An archive given by its own path is checked only by itself and, if there is a `metadata.json`,
    against that; that of a differential needs its base. Raises `RefusedError` for a backup that is not completed,
    `VerificationError`.
    """
    store = resolved.repository.store
    if resolved.backup is None:
        reader = ArchiveReader(store, str(resolved.archive_name))
        if reader.index.backup.get("parent"):
            raise RefusedError(
                f"{reader.name} is a differential, and lies without its metadata.json and its base",
                "put it back where it was made, below its full backup",
            )
        return reader
    links = chain_of(resolved.repository, resolved.backup)
    wanted = [(link, artefact) for link in links for artefact in _needed(link, resolved)]
    progress.phase("check", sum(artefact.stored_bytes for _, artefact in wanted))
    for link, artefact in wanted:
        name = f"{link.folder}/{artefact.name}"
        _check_artefact(store, name, artefact.stored_bytes, artefact.stored_sha256, progress)
    readers = [ArchiveReader(store, f"{link.folder}/{_main_artefact(link.completed())}") for link in links]
    return readers[0] if len(readers) == 1 else ChainReader(readers[0], readers[1])


def _needed(link: StoredBackup, resolved: Resolved) -> list[Artefact]:
    """The artefacts of one link that are checked: all, but for a file that was named alone."""
    named = resolved.archive_name
    if named is None or not named.startswith(f"{link.folder}/"):
        return list(link.completed().artefacts)
    return [one for one in link.completed().artefacts if f"{link.folder}/{one.name}" == named]


def _main_artefact(metadata: Metadata) -> str:
    main = next((one.name for one in metadata.artefacts if one.name.endswith(".sql.zst")), None)
    if main is None:
        raise VerificationError(f"backup {metadata.id} has no logical archive")
    return main


def _check_artefact(store: Store, name: str, size: int, sha256: str, progress: Progress) -> None:
    hint = "restore from another backup; dbtool verify tells what is damaged"
    try:
        found = store.size(name)
        digest = hashlib.sha256()
        if found == size:
            for piece in store.get(name):
                digest.update(piece)
                progress.advance(len(piece))
    except DbtoolError as error:
        raise VerificationError(f"{name} cannot be read: {error.message}", hint) from None
    if found != size:
        raise VerificationError(f"{name} has {counted(found, 'byte')} instead of {size:,}", hint)
    if digest.hexdigest() != sha256:
        raise VerificationError(f"{name} was changed since it was written (SHA-256 differs)", hint)


def restore(
    engine: Engine, connection: Connection, resolved: Resolved, options: RestoreOptions, progress: Progress
) -> RestoreReport:
    """Restore a backup, or some of its tables, into a database of the server.

    Until all is restored and compared, nothing bears the database's name that was not there.
    """
    clock = time.monotonic()
    if options.definers and engine.name != "mysql":
        raise UsageError(
            "-definer is for MySQL and MariaDB", "PostgreSQL knows owners: -no-owner does without them."
        )
    reader = open_archive(resolved, progress)
    index = reader.index
    made_by = str(index.backup.get("engine", engine.name))
    if made_by != engine.name:
        raise UsageError(
            f"this is a backup of {made_by}, and the target is {engine.name}", f"Say --db {made_by}."
        )
    report = RestoreReport(str(index.backup["id"]), options.database, dry_run=options.dry_run)
    workers = options.jobs or default_jobs()
    target = engine.open_target(
        connection,
        index,
        TargetOptions(
            database=options.database,
            table_patterns=options.tables,
            replace=options.replace,
            with_owners=options.with_owners,
            with_privileges=options.with_privileges,
            definers=options.definers,
            workers=workers,
            compare=options.compare,
            dry_run=options.dry_run,
        ),
    )
    try:
        if options.with_globals and not options.dry_run:
            _restore_globals(resolved, target)
        target.prepare()
        stages = target.stages()
        report.steps = [_described(stage, index) for stage in stages]
        if not options.dry_run:
            _do_all(target, stages, reader, workers, options, report, progress)
            progress.phase("finish")
            target.finish()
    finally:
        target.close()
        report.notes = list(dict.fromkeys(target.notes))
        for note in report.notes:
            progress.note(note)
    report.duration_seconds = time.monotonic() - clock
    return report


def _restore_globals(resolved: Resolved, target: Target) -> None:
    if resolved.backup is None:
        raise VerificationError("an archive alone has no globals.sql", "restore by the backup's id")
    name = f"{resolved.backup.folder}/{names.GLOBALS}"
    if names.GLOBALS not in {one.name for one in resolved.backup.completed().artefacts}:
        raise VerificationError(f"backup {resolved.backup.id} has no globals.sql: rights did not allow it")
    target.restore_globals(b"".join(resolved.repository.store.get(name)))


def _do_all(
    target: Target,
    stages: Sequence[Stage],
    reader: AnyReader,
    workers: int,
    options: RestoreOptions,
    report: RestoreReport,
    progress: Progress,
) -> None:
    loaded = _LoadedRows()
    found = _Comparison()

    def run(loader: Loader, task: Task, idle: int) -> None:
        if task.compare is not None:
            found.add(task.compare, loader.tally(task.compare))
            return
        frames = {frame for frame, _ in task.objects if frame >= 0} | (
            set() if task.frame is None else {task.frame}
        )
        loader.run(task, _Frames(reader, frames), idle)
        if task.frame is not None:
            frame = reader.index.frames[task.frame]
            loaded.add(frame.table or 0, frame.rows)
            progress.advance(frame.plain_bytes)
        reach("task-done")

    with Scheduler(target.open_loader, workers) as scheduler:
        for stage in stages:
            total = sum(
                reader.index.frames[task.frame].plain_bytes for task in stage.tasks if task.frame is not None
            )
            progress.phase(stage.name, total or None)
            scheduler.run(stage, run)
    if isinstance(reader, ChainReader):
        reader.check_complete(set(target.restored_tables()))
    if options.compare:
        found.check(reader.index)
        report.compared = True
    report.tables, report.rows = loaded.totals()
    report.tables = len({*target.restored_tables()})


class _LoadedRows:
    """Rows that the server took, by table; added to from several threads."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = defaultdict(int)
        self._lock = threading.Lock()

    def add(self, table: int, rows: int) -> None:
        with self._lock:
            self._rows[table] += rows

    def totals(self) -> tuple[int, int]:
        return len(self._rows), sum(self._rows.values())


class _Frames(dict[int, bytes]):
    """Texts of frames, each read and checked when it is first asked for, the last one kept."""

    def __init__(self, reader: AnyReader, numbers: set[int]) -> None:
        super().__init__()
        self._reader = reader
        self._numbers = numbers

    def __missing__(self, number: int) -> bytes:
        if number not in self._numbers:
            raise KeyError(number)
        self.clear()
        self[number] = self._reader.read(number)
        return self[number]


class _Comparison:
    """What was found in the restored tables; added to from several threads."""

    def __init__(self) -> None:
        self._found: dict[int, Tally] = {}
        self._lock = threading.Lock()

    def add(self, table: int, tally: Tally) -> None:
        with self._lock:
            self._found[table] = tally

    def check(self, index: ArchiveIndex) -> None:
        """`VerificationError` for any table that differs. Tables whose rows find their own partition
        when they are loaded are compared as one."""
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number in self._found:
            table = index.tables[number]
            groups[tuple(table.details.get("loaded_through") or (table.schema, table.name))].append(number)
        for name, numbers in groups.items():
            rows = sum(index.tables[number].rows for number in numbers)
            digest = sum(index.tables[number].digest for number in numbers) & _MASK
            found_rows = sum(self._found[number].rows for number in numbers)
            found_digest = sum(self._found[number].digest for number in numbers) & _MASK
            if (rows, digest) != (found_rows, found_digest):
                raise VerificationError(
                    f"{'.'.join(name)} is not what was backed up: {counted(rows, 'row')} with digest {digest:016x} before, "
                    f"{counted(found_rows, 'row')} with {found_digest:016x} now",
                    "nothing was put in place; please report this with the table's definition",
                )


def _described(stage: Stage, index: ArchiveIndex) -> dict[str, Any]:
    rows = sum(index.frames[task.frame].rows for task in stage.tasks if task.frame is not None)
    objects = sum(len(task.objects) for task in stage.tasks)
    return {"stage": stage.name, "tasks": len(stage.tasks), "objects": objects, "rows": rows}
