"""Small real backups, made without a server: for tests of what lies in a repository."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dbtool
from dbtool.archive.writer import ArchiveWriter, pack
from dbtool.catalog import names
from dbtool.catalog.repository import Repository
from dbtool.catalog.running import RunningBackup
from dbtool.model.archive import ArchiveIndex, Block, FrameKind, TableSummary
from dbtool.model.backup import Artefact, BackupType, Metadata, Method, TableRecord
from dbtool.rows import tally_lines
from dbtool.storage.base import Upload
from dbtool.storage.local import LocalStore

FIRST_MOMENT = datetime(2025, 11, 1, 12, 0, 0, tzinfo=timezone.utc)
SUFFIX = b"\\.\n"


def table_rows(table: int, chunk: int, count: int = 200) -> bytes:
    """COPY text that zstd cannot shrink to nothing."""
    lines = (f"{chunk * count + n}\tname {table} {n * 7919 % 1009}\t\\N\n" for n in range(count))
    return "".join(lines).encode()


def write_archive(upload: Upload, backup_id: str, tables: int = 3, chunks: int = 4) -> ArchiveIndex:
    """A framed archive with `tables` tables of `chunks` data frames each."""
    writer = ArchiveWriter(upload)
    summaries = [
        TableSummary(
            16384 + number,
            "public",
            f"table{number}",
            (("id", "integer"), ("name", "text"), ("note", "text")),
            ("id",),
        )
        for number in range(tables)
    ]
    writer.add(pack(Block(FrameKind.HEADER, b"SET client_encoding = 'UTF8';\n"), 1))
    writer.add(pack(Block(FrameKind.BEFORE_DATA, b"CREATE TABLE table0 (id integer);\n"), 1))
    for number, summary in enumerate(summaries):
        prefix = f"COPY public.{summary.name} FROM stdin;\n".encode()
        for chunk in range(chunks):
            rows = table_rows(number, chunk)
            count, digest, key_digest = tally_lines(rows, (0,))
            block = Block(
                FrameKind.DATA, prefix + rows + SUFFIX, number, count, digest, key_digest, len(prefix), 3
            )
            writer.add(pack(block, 1))
            summary.rows += count
            summary.bytes += len(rows)
            summary.digest = (summary.digest + digest) % 2**64
            summary.key_digest = (summary.key_digest + key_digest) % 2**64
        summary.key_buckets = struct.pack("<QQ", 1, (summary.key_digest - 1) % 2**64)
    writer.add(pack(Block(FrameKind.FOOTER, b"-- the end\n"), 1))
    return writer.finish({"id": backup_id, "engine": "postgres"}, summaries, (), ())


def write_differential_archive(
    upload: Upload, backup_id: str, tables: int = 3, removed: int = 2, changed: int = 5
) -> ArchiveIndex:
    """What changed in the tables of `write_archive`: the first has removed keys and changed rows, the
    second comes whole, the others are unchanged."""
    writer = ArchiveWriter(upload)
    columns = (("id", "integer"), ("name", "text"), ("note", "text"))
    summaries = [
        TableSummary(
            16384 + number,
            "public",
            f"table{number}",
            columns,
            ("id",),
            details={
                "differential": {"taken": "unchanged", "rows": 800, "removed": 0, "base": 16384 + number}
            },
        )
        for number in range(tables)
    ]
    writer.add(pack(Block(FrameKind.HEADER, b"SET client_encoding = 'UTF8';\n"), 1))
    keys = b"".join(b"%d\n" % number for number in range(removed))
    if keys:
        count, digest, _ = tally_lines(keys)
        prefix = b"COPY pg_temp.removed FROM stdin;\n"
        text = prefix + keys + SUFFIX
        writer.add(pack(Block(FrameKind.REMOVED, text, 0, count, digest, 0, len(prefix), 3), 1))
    for number, taken, count in ((0, "rows", changed), (1, "whole", 20)):
        rows = table_rows(number, 0, count)
        found, digest, key_digest = tally_lines(rows, (0,))
        prefix = f"COPY public.table{number} FROM stdin;\n".encode()
        text = prefix + rows + SUFFIX
        writer.add(pack(Block(FrameKind.DATA, text, number, found, digest, key_digest, len(prefix), 3), 1))
        summary = summaries[number]
        summary.rows, summary.bytes, summary.digest, summary.key_digest = (
            found,
            len(rows),
            digest,
            key_digest,
        )
        summary.details["differential"].update(taken=taken, removed=removed if number == 0 else 0)
    writer.add(pack(Block(FrameKind.FOOTER, b"-- the end\n"), 1))
    return writer.finish({"id": backup_id, "engine": "postgres"}, summaries, (), ())


def metadata_of(
    backup_id: str,
    artefacts: Sequence[Artefact],
    index: ArchiveIndex,
    database: str = "mydb",
    started: datetime = FIRST_MOMENT,
    type: BackupType = BackupType.FULL,  # noqa: A002
    **changes: Any,
) -> Metadata:
    """Metadata that agrees with the archive."""
    values: dict[str, Any] = {
        "id": backup_id,
        "type": type,
        "method": Method.LOGICAL,
        "timestamp_start": started.isoformat(),
        "timestamp_end": (started + timedelta(seconds=12.5)).isoformat(),
        "duration_seconds": 12.5,
        "engine": "postgres",
        "flavour": "postgresql",
        "server": {"version": "15.18", "version_number": 150018, "identity": "7000000000000000000"},
        "database": {"name": database, "encoding": "UTF8"},
        "snapshot": {"time": started.isoformat(), "lsn": "0/1D2F3A8"},
        "artefacts": tuple(artefacts),
        "tables": tuple(
            TableRecord(
                table.identity,
                table.schema,
                table.name,
                table.rows,
                table.bytes,
                f"{table.digest:016x}",
                table.columns,
                table.key,
                table.details,
            )
            for table in index.tables
        ),
        "statistics": {
            "total_tables": len(index.tables),
            "total_rows_processed": sum(table.rows for table in index.tables),
            "total_size_bytes": sum(artefact.stored_bytes for artefact in artefacts),
        },
        "tool": {"name": "dbtool", "version": "0.1.0"},
    }
    return Metadata(**{**values, **changes})


def begin(
    repository: Repository,
    database: str = "mydb",
    started: datetime = FIRST_MOMENT,
    type: BackupType = BackupType.FULL,  # noqa: A002
) -> RunningBackup:
    """Claim a folder for a backup."""
    backup_id = names.new_backup_id(type, database, started)
    return repository.begin(backup_id, type=type, database=database, engine="postgres", started=started)


def take(
    root: Path,
    database: str = "mydb",
    started: datetime = FIRST_MOMENT,
    type: BackupType = BackupType.FULL,  # noqa: A002
    tables: int = 3,
    chunks: int = 4,
    **changes: Any,
) -> str:
    """A whole backup in the repository at `root`, through the same steps as a real one; its id."""
    repository = Repository(LocalStore(root))
    with begin(repository, database, started, type) as running:
        with running.put_artefact(names.main_file_name(type, database, started)) as upload:
            index = write_archive(upload, running.id, tables, chunks)
            upload.commit()
        files = [upload.artefact]
        files.append(running.put_file("schema.sql", b"CREATE TABLE table0 (id integer);\n"))
        files.append(running.put_file(names.RESTORE, b"# How to restore\n"))
        running.complete(metadata_of(running.id, files, index, database, started, type, **changes))
    return running.id


def begin_differential(repository: Repository, full: str, started: datetime) -> RunningBackup:
    """Claim a folder for a differential of the full with that id."""
    base = repository.read(full)
    backup_id = names.new_backup_id(BackupType.DIFFERENTIAL, base.database, started)
    return repository.begin_differential(
        base, backup_id, database=base.database, engine="postgres", started=started
    )


def take_differential(
    root: Path,
    full: str,
    started: datetime = FIRST_MOMENT + timedelta(hours=1),
    method: str = "rows",
    removed: int = 2,
    changed: int = 5,
    **changes: Any,
) -> str:
    """A whole differential of the full with that id, through the same steps as a real one; its id."""
    repository = Repository(LocalStore(root))
    database = repository.read(full).database
    with begin_differential(repository, full, started) as running:
        main = names.main_file_name(BackupType.DIFFERENTIAL, database, started)
        with running.put_artefact(main) as upload:
            index = write_differential_archive(upload, running.id, removed=removed, changed=changed)
            upload.commit()
        files = [upload.artefact, running.put_file(names.RESTORE, b"# How to restore\n")]
        values: dict[str, Any] = {"parent": running.parent, "options": {"method": method}, **changes}
        running.complete(
            metadata_of(running.id, files, index, database, started, BackupType.DIFFERENTIAL, **values)
        )
    return running.id


def run_python(code: str, *arguments: str, failpoint: str = "", **options: Any) -> subprocess.Popen[bytes]:
    """A child that runs `code` with this module at hand, its standard output a pipe."""
    source = Path(dbtool.__file__).parents[1]
    tests = Path(__file__).parents[1]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{source}:{tests}",
        "DBTOOL_FAILPOINT": failpoint,
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )
