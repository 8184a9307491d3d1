"""Taking a logical backup, full or partial."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from dbtool import __version__
from dbtool.archive.reader import ArchiveReader
from dbtool.archive.writer import ArchiveWriter, pack
from dbtool.archive.zstd import DEFAULT_LEVEL, HIGHEST_LEVEL, LOWEST_LEVEL
from dbtool.catalog import names
from dbtool.catalog.repository import Repository
from dbtool.catalog.running import RunningBackup
from dbtool.catalog.stored import StoredBackup
from dbtool.engines.base import ByColumn, Engine, LockQueuedError, Source, SourceOptions
from dbtool.engines.buckets import folded_buckets
from dbtool.errors import BusyError, DbtoolError, NotFoundError, PartlyDoneError, UsageError
from dbtool.failpoints import reach
from dbtool.model.archive import ArchiveIndex, Frame, FrameKind, TableSummary
from dbtool.model.backup import BackupType, Metadata, Method, TableRecord
from dbtool.model.connection import Connection
from dbtool.operations.pipeline import RowReaders
from dbtool.patterns import matches_any
from dbtool.progress import Progress
from dbtool.storage.base import Store

_MASK = (1 << 64) - 1
_MOST_OF_ONE_SECOND = 10
_TOOL = {"name": "dbtool", "version": __version__}


@dataclass(frozen=True)
class BackupOptions:
    """What to back up, and how."""

    tables: tuple[str, ...] = ()  # names or patterns; empty: everything
    jobs: int | None = None  # workers; None: as many as there are processors, 2 to 4
    level: int | None = None  # of zstd, 1 to 19
    label: str | None = None
    lock_timeout_seconds: float = 60.0
    tool_directories: tuple[str, ...] = field(default=(), repr=False)
    allow_invalid_text: bool = False  # MySQL, MariaDB: keep text that is none in its own character set


def default_jobs() -> int:
    """How many workers serve this machine well."""
    return min(4, max(2, os.cpu_count() or 2))


def logical_backup(
    engine: Engine,
    connection: Connection,
    store: Store,
    options: BackupOptions,
    progress: Progress,
    open_source: Callable[[str], Source] | None = None,
) -> Metadata:
    """Back up one database, or some tables of it, into the repository.

    Whatever goes wrong, nothing in the repository calls itself completed. `open_source` opens the
    database by its name where several are read together.
    """
    kind = BackupType.PARTIAL if options.tables else BackupType.FULL
    work = _Work(kind, connection.database, options)
    source_options = _source_options(options, work.jobs)
    running = Repository(store).begin(
        work.id, type=kind, database=connection.database, engine=engine.name, started=work.started
    )

    def open_one() -> Source:
        if open_source:
            return open_source(connection.database)
        return engine.open_source(connection, source_options, progress)

    return _take(running, work, open_one, progress)


def logical_differential(
    engine: Engine,
    connection: Connection,
    store: Store,
    base: StoredBackup,
    options: BackupOptions,
    progress: Progress,
    by_column: ByColumn | None = None,
) -> Metadata:
    """Back up what changed since a full logical backup. Raises `NeedsFullError` with the reason where that
    cannot be said, and `UsageError` for a column that will not do; then nothing was made."""
    main = next(one.name for one in base.completed().artefacts if one.name.endswith(".sql.zst"))
    archive = ArchiveReader(store, f"{base.folder}/{main}")
    work, running = _begin_differential(engine, connection, store, base, options)
    source_options = replace(_source_options(options, work.jobs), by_column=by_column)

    def open_one() -> Source:
        return engine.open_differential(connection, archive, source_options, progress)

    return _take(running, work, open_one, progress)


def _begin_differential(
    engine: Engine, connection: Connection, store: Store, base: StoredBackup, options: BackupOptions
) -> tuple[_Work, RunningBackup]:
    """Claim a folder. It is called after the second, so another one of the same second has to be waited out."""
    seconds_left = _MOST_OF_ONE_SECOND
    while True:
        work = _Work(BackupType.DIFFERENTIAL, connection.database, options)
        try:
            return work, Repository(store).begin_differential(
                base, work.id, database=connection.database, engine=engine.name, started=work.started
            )
        except BusyError:
            seconds_left -= 1
            if not seconds_left:
                raise
            time.sleep(1 - time.time() % 1)


class _Work:
    """What is being taken, since when, and how."""

    def __init__(self, kind: BackupType, database: str, options: BackupOptions) -> None:
        self.level, self.jobs = _checked(options)
        self.clock = time.monotonic()
        self.started = datetime.now(timezone.utc)
        self.kind = kind
        self.id = names.new_backup_id(kind, database, self.started)
        self.main_name = names.main_file_name(kind, database, self.started)
        self.options = options


def _take(
    begun: RunningBackup, work: _Work, open_source: Callable[[], Source], progress: Progress
) -> Metadata:
    """Write all artefacts and complete the backup; again from the beginning where locks bar the way."""
    with begun as running:
        deadline = work.clock + work.options.lock_timeout_seconds
        while True:
            progress.phase("snapshot")
            try:
                source = open_source()
                try:
                    index = _write_archive(running, work, source, progress)
                    progress.phase("finish")
                    _write_companions(running, source, work.main_name, index)
                    break
                finally:
                    source.close()
            except LockQueuedError:
                if time.monotonic() > deadline:
                    raise
        metadata = _metadata(running, index, source, work)
        running.complete(metadata)
    for note in (*metadata.warnings, *running.notes):
        progress.note(note)
    return metadata


def backup_all(
    engine: Engine,
    connection: Connection,
    store: Store,
    options: BackupOptions,
    exclude: Sequence[str],
    progress: Progress,
) -> list[Metadata]:
    """Back up every database of the server but the system's own and those that `exclude` matches: in one
    snapshot, where the server can.

    One that fails does not stop the others: `PartlyDoneError` at the end, or the error itself if
    none could be backed up.
    """
    databases = [name for name in engine.databases(connection) if not matches_any(name, exclude)]
    if not databases:
        raise NotFoundError("there is no database to back up", "look at the patterns of -exclude")
    done: list[Metadata] = []
    failed: list[tuple[str, DbtoolError]] = []
    _, jobs = _checked(options)
    with engine.open_sources(connection, databases, _source_options(options, jobs), progress) as open_source:
        for database in databases:
            progress.note(f"database {database}")
            try:
                one = connection.with_database(database)
                done.append(logical_backup(engine, one, store, options, progress, open_source))
            except DbtoolError as error:
                progress.note(f"{database} failed: {error.message}")
                failed.append((database, error))
    if failed and not done:
        raise failed[0][1]
    if failed:
        listed = "; ".join(f"{database}: {error.message}" for database, error in failed)
        raise PartlyDoneError(
            f"{len(done)} of {len(databases)} databases are backed up; {listed}", failed[0][1].hint
        )
    return done


def _source_options(options: BackupOptions, jobs: int) -> SourceOptions:
    return SourceOptions(
        table_patterns=options.tables,
        lock_timeout_seconds=options.lock_timeout_seconds,
        workers=jobs,
        tool_directories=options.tool_directories,
        allow_invalid_text=options.allow_invalid_text,
    )


def _checked(options: BackupOptions) -> tuple[int, int]:
    level = DEFAULT_LEVEL if options.level is None else options.level
    if not LOWEST_LEVEL <= level <= HIGHEST_LEVEL:
        raise UsageError(f"there is no compression level {level}", f"use {LOWEST_LEVEL} to {HIGHEST_LEVEL}")
    jobs = default_jobs() if options.jobs is None else options.jobs
    if not 1 <= jobs <= 64:
        raise UsageError(f"{jobs} jobs make no sense", "use 1 to 64")
    return level, jobs


def _write_archive(running: RunningBackup, work: _Work, source: Source, progress: Progress) -> ArchiveIndex:
    """The main artefact. Rows are read while the schema is still being dumped."""
    chunks = source.chunks()
    level = work.level
    with (
        running.put_artefact(work.main_name) as upload,
        RowReaders(source, chunks, level, work.jobs, progress) as readers,
    ):
        writer = ArchiveWriter(upload)
        progress.phase("schema")
        for block in source.before_data():
            writer.add(pack(block, level))
        reach("schema-written")
        progress.phase("rows", sum(chunk.size_bytes for chunk in chunks))
        for frame in readers.frames():
            writer.add(frame)
            reach("frame-written")
        progress.phase("objects behind the rows")
        for block in source.after_data():
            writer.add(pack(block, level))
        index = writer.finish(
            _backup_facts(running, work, source),
            _summaries(source, writer.frames),
            source.omitted,
            source.warnings,
            source.schema_objects(),
        )
        upload.commit()
    return index


def _write_companions(running: RunningBackup, source: Source, main_name: str, index: ArchiveIndex) -> None:
    running.put_file(names.SCHEMA, source.schema_sql())
    globals_sql = source.globals_sql()
    if globals_sql is not None:
        running.put_file(names.GLOBALS, globals_sql)
    running.put_file(names.RESTORE, source.restore_guide(main_name, index, globals_sql is not None).encode())


def _summaries(source: Source, frames: Sequence[Frame]) -> list[TableSummary]:
    """Each table with the sums over its frames."""
    summaries = [
        TableSummary(
            identity=table.identity,
            schema=table.schema,
            name=table.name,
            columns=tuple((column.name, column.type) for column in table.columns),
            key=table.key,
            details=dict(table.details),
        )
        for table in source.tables
    ]
    for frame in frames:
        if frame.table is not None and frame.kind is FrameKind.DATA:
            summary = summaries[frame.table]
            summary.rows += frame.rows
            summary.bytes += frame.plain_bytes - frame.prefix_bytes - frame.suffix_bytes
            summary.digest = (summary.digest + frame.digest) & _MASK
            summary.key_digest = (summary.key_digest + frame.key_digest) & _MASK
    for number, summary in enumerate(summaries):
        if summary.rows and summary.key:
            summary.key_buckets = folded_buckets(source.key_buckets(number) or b"", summary.rows)
        summary.details.update(source.table_details(number, summary.rows))
    return summaries


def _backup_facts(running: RunningBackup, work: _Work, source: Source) -> dict[str, Any]:
    """What the archive says of its backup, so that it can be restored with nothing else at hand."""
    snapshot = {"time": source.snapshot.time, **source.snapshot.details}
    facts = {
        "id": work.id,
        "type": work.kind.value,
        "method": Method.LOGICAL.value,
        "timestamp_start": work.started.isoformat(),
        "engine": source.server.engine,
        "flavour": source.server.flavour,
        "server": _server_facts(source),
        "database": source.database,
        "snapshot": snapshot,
        "tool": _TOOL,
        "clients": list(source.clients),
        **source.facts,
    }
    if running.parent is not None:
        facts["parent"] = asdict(running.parent)
    return facts


def _server_facts(source: Source) -> dict[str, Any]:
    server = source.server
    return {
        "version": server.version,
        "version_number": server.version_number,
        "identity": server.identity,
        **server.details,
    }


def _metadata(running: RunningBackup, index: ArchiveIndex, source: Source, work: _Work) -> Metadata:
    artefacts = running.artefacts()
    shown = asdict(work.options)
    shown.pop("tool_directories")
    return Metadata(
        id=running.id,
        type=work.kind,
        method=Method.LOGICAL,
        timestamp_start=work.started.isoformat(),
        timestamp_end=datetime.now(timezone.utc).isoformat(),
        duration_seconds=round(time.monotonic() - work.clock, 3),
        engine=source.server.engine,
        flavour=source.server.flavour,
        server=index.backup["server"],
        database=source.database,
        snapshot=index.backup["snapshot"],
        artefacts=artefacts,
        tables=tuple(
            TableRecord(
                identity=table.identity,
                schema=table.schema,
                name=table.name,
                rows=table.rows,
                bytes=table.bytes,
                digest=f"{table.digest:016x}",
                columns=table.columns,
                key=table.key,
                details=table.details,
            )
            for table in index.tables
        ),
        statistics={
            "total_tables": len(index.tables),
            "total_rows_processed": sum(table.rows for table in index.tables),
            "total_size_bytes": sum(artefact.stored_bytes for artefact in artefacts),
            "total_plain_bytes": sum(frame.plain_bytes for frame in index.frames),
        },
        tool=_TOOL,
        clients=tuple(source.clients),
        options={**shown, "level": work.level, "jobs": work.jobs},
        parent=running.parent,
        label=work.options.label,
        warnings=tuple(dict.fromkeys(source.warnings)),
    )
