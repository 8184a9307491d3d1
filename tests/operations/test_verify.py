"""verify: finds whatever is not as it was written, and says where."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.sample_backups import begin, metadata_of, run_python, take, write_archive

from dbtool.archive.reader import ArchiveReader
from dbtool.archive.seekable import FOOTER_BYTES
from dbtool.archive.writer import ArchiveWriter
from dbtool.catalog import metadata as metadata_file
from dbtool.catalog import names
from dbtool.catalog.repository import Repository, resolve_path
from dbtool.console.backup_views import render_verification
from dbtool.errors import ExitCode, NotFoundError
from dbtool.model.backup import Metadata
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, logical_backup
from dbtool.operations.listing import list_backups
from dbtool.operations.verify import VerificationReport, verify, verify_resolved, worth_verifying
from dbtool.progress import Silent
from dbtool.storage.local import LocalStore

ARCHIVE = "mydb_20251101_120000.sql.zst"


def run(root: Path, reference: str = "latest") -> VerificationReport:
    return verify(LocalStore(root), reference, Silent(), 2)


def messages(report: VerificationReport) -> str:
    return "\n".join(finding.message for finding in report.findings)


def test_a_whole_backup_passes_and_that_is_recorded(tmp_path: Path) -> None:
    backup_id = take(tmp_path)
    report = run(tmp_path)
    assert report.findings == []
    assert report.notes == []
    assert report.error() is None
    assert (report.artefacts, report.frames, report.tables, report.rows) == (3, 15, 3, 2400)
    (record,) = Repository(LocalStore(tmp_path)).read(backup_id).records
    assert record.data["outcome"] == "passed"
    assert record.data["rows"] == 2400
    assert list_backups(LocalStore(tmp_path))[0].verified == "passed"
    assert f"{backup_id}: passed (3 files, 15 frames, 3 tables, 2,400 rows" in render_verification(
        report, False
    )
    json.dumps(report.document())


def test_progress_reaches_its_total(tmp_path: Path) -> None:
    take(tmp_path)

    class Counted(Silent):
        total, done = 0, 0

        def phase(self, name: str, total_bytes: int | None = None) -> None:
            self.total = total_bytes or 0

        def advance(self, done_bytes: int) -> None:
            self.done += done_bytes

    progress = Counted()
    verify(LocalStore(tmp_path), "latest", progress, 1)
    assert 0 < progress.done <= progress.total


def test_a_bit_flipped_anywhere(tmp_path: Path) -> None:
    backup_id = take(tmp_path, tables=2, chunks=2)
    folder = tmp_path / backup_id
    numbers = random.Random(7)
    for name in (ARCHIVE, "schema.sql", "RESTORE.md", "metadata.json"):
        path = folder / name
        good = path.read_bytes()
        edges = [*range(20), *(len(good) - number for number in range(1, 40))]
        places = {place for place in edges if 0 <= place < len(good)}
        places |= {numbers.randrange(len(good)) for _ in range(60)}
        for place in sorted(places):
            changed = bytearray(good)
            changed[place] ^= 1 << numbers.randrange(8)
            path.write_bytes(bytes(changed))
            report = run(tmp_path, backup_id)
            assert report.findings, (name, place)
            assert any(finding.artefact == name for finding in report.findings)
            error = report.error()
            assert error is not None
            assert error.exit_code is ExitCode.VERIFICATION
            assert name in error.message
        path.write_bytes(good)
        shutil.rmtree(folder / names.RECORDS)
    assert run(tmp_path, backup_id).findings == []


def test_a_bit_flipped_in_an_archive_alone(tmp_path: Path) -> None:
    """Without metadata.json: whatever changes a single byte of the text, the index or the seek table."""
    path = tmp_path / "alone" / "x.sql.zst"
    store = LocalStore(path.parent)
    with store.put(path.name) as upload:
        index = write_archive(upload, "x", 2, 2)
        upload.commit()
    good = path.read_bytes()
    assert verify_resolved(resolve_path(str(path)), Silent(), 2).findings == []
    assert sorted(file.name for file in path.parent.iterdir()) == [path.name]
    text = all_text(store, path.name)
    unseen = 0
    for place in range(0, len(good), max(len(good) // 400, 1)):
        changed = bytearray(good)
        changed[place] ^= 0x04
        path.write_bytes(bytes(changed))
        if not verify_resolved(resolve_path(str(path)), Silent(), 2).findings:
            unseen += 1  # a bit that zstd's decoder does not look at
            assert all_text(store, path.name) == text
            assert ArchiveReader(store, path.name).index == index
    assert unseen < 8
    for place in range(len(good) - 12 * 8 - FOOTER_BYTES, len(good)):
        changed = bytearray(good)
        changed[place] ^= 0x10
        path.write_bytes(bytes(changed))
        assert verify_resolved(resolve_path(str(path)), Silent(), 2).findings, place


def all_text(store: LocalStore, name: str) -> list[bytes]:
    reader = ArchiveReader(store, name)
    return [reader.read(number) for number in range(len(reader.index.frames))]


def test_findings_name_frame_and_table(tmp_path: Path) -> None:
    backup_id = take(tmp_path)
    path = tmp_path / backup_id / ARCHIVE
    reader = ArchiveReader(LocalStore(tmp_path), f"{backup_id}/{ARCHIVE}")
    number = next(n for n, frame in enumerate(reader.index.frames) if frame.table == 1)
    frame = reader.index.frames[number]
    data = bytearray(path.read_bytes())
    data[frame.offset + frame.stored_bytes // 2] ^= 1
    path.write_bytes(bytes(data))
    report = run(tmp_path)
    assert [(finding.frame, finding.table) for finding in report.findings] == [
        (None, None),
        (number, "public.table1"),
    ]
    assert f"frame {number} (data of public.table1)" in messages(report)
    assert list_backups(LocalStore(tmp_path))[0].verified == "failed"


@pytest.mark.parametrize("size", [0, 5, 100, -1, -200])
def test_a_truncated_archive(tmp_path: Path, size: int) -> None:
    backup_id = take(tmp_path)
    path = tmp_path / backup_id / ARCHIVE
    path.write_bytes(path.read_bytes()[:size])
    report = run(tmp_path)
    assert f"{ARCHIVE} has {path.stat().st_size:,} bytes instead of" in messages(report)
    path.write_bytes(path.read_bytes() + b"more")
    assert run(tmp_path).findings


@pytest.mark.parametrize("name", [ARCHIVE, "schema.sql", "metadata.json"])
def test_a_missing_file(tmp_path: Path, name: str) -> None:
    backup_id = take(tmp_path)
    (tmp_path / backup_id / name).unlink()
    report = run(tmp_path, backup_id)
    assert [finding.message for finding in report.findings] == [f"{name} is missing"]
    assert report.findings[0].artefact == name
    if name == "metadata.json":
        assert report.rows == 2400  # the archive was looked at all the same


def test_files_that_do_not_belong_are_noted(tmp_path: Path) -> None:
    backup_id = take(tmp_path)
    (tmp_path / backup_id / "notes\x1b.txt").write_text("mine")
    (tmp_path / backup_id / names.MANIFEST).write_text("{")
    (tmp_path / backup_id / "records").mkdir()
    (tmp_path / backup_id / "records" / "x.json").write_text("{")
    report = run(tmp_path)
    assert report.findings == []
    assert len(report.notes) == 3
    assert "notes\\x1b.txt does not belong to the backup" in report.notes


def rewrite(folder: Path, change: Callable[[Metadata], Metadata]) -> None:
    """metadata.json with another content and a digest that fits it."""
    path = folder / names.METADATA
    path.write_bytes(metadata_file.encode(change(metadata_file.decode(path.read_bytes()))))


@pytest.mark.parametrize(
    "changes",
    [{"rows": 799}, {"digest": "0" * 16}, {"bytes": 1}, {"identity": 1}, {"name": "other"}, {"key": ()}],
)
def test_the_archive_against_the_metadata(tmp_path: Path, changes: dict[str, Any]) -> None:
    backup_id = take(tmp_path)

    def change(metadata: Metadata) -> Metadata:
        first = dataclasses.replace(metadata.tables[0], **changes)
        return dataclasses.replace(metadata, tables=(first, *metadata.tables[1:]))

    rewrite(tmp_path / backup_id, change)
    assert "public.table0" in messages(run(tmp_path))


def test_an_archive_of_another_backup(tmp_path: Path) -> None:
    backup_id = take(tmp_path)
    with begin(Repository(LocalStore(tmp_path / "other"))) as running:
        with running.put_artefact(ARCHIVE) as upload:
            index = write_archive(upload, "another")
            upload.commit()
        running.complete(metadata_of(running.id, [upload.artefact], index))
    assert "belongs to another backup: another" in messages(run(tmp_path / "other"))
    assert run(tmp_path, backup_id).findings == []


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("rows", "frame 2"),
        ("digest", "rows were changed"),
        ("key_digest", "rows were changed"),
        ("prefix_bytes", ""),
    ],
)
def test_frames_that_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, field: str, expected: str) -> None:
    """An index that was written wrongly, with all checksums right."""
    add = ArchiveWriter.add

    def lying(self: ArchiveWriter, packed: Any) -> None:
        add(self, packed)
        if len(self.frames) == 3:
            self.frames[2] = dataclasses.replace(self.frames[2], **{field: getattr(packed, field) + 1})

    monkeypatch.setattr(ArchiveWriter, "add", lying)
    take(tmp_path)
    report = run(tmp_path)
    assert report.findings[0].frame == 2
    assert report.findings[0].table == "public.table0"
    assert expected in messages(report)


def test_the_index_against_the_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finish = ArchiveWriter.finish

    def lying(self: ArchiveWriter, backup: Any, tables: Any, omitted: Any, warnings: Any) -> Any:
        tables[1].rows += 1
        tables[2].key_buckets = bytes(16)
        return finish(self, backup, tables, omitted, warnings)

    monkeypatch.setattr(ArchiveWriter, "finish", lying)
    take(tmp_path)
    found = messages(run(tmp_path))
    assert "public.table1 differs from the archive's index in its rows" in found
    assert "public.table2 differs from the archive's index in its digests of keys by bucket" in found


def test_by_path(tmp_path: Path) -> None:
    backup_id = take(tmp_path)
    path = tmp_path / backup_id / ARCHIVE
    assert verify_resolved(resolve_path(str(path)), Silent(), 1).artefacts == 3
    (tmp_path / backup_id / names.METADATA).unlink()
    report = verify_resolved(resolve_path(str(path)), Silent(), 1)
    assert report.findings == []
    assert report.rows == 2400
    assert "only the archive's own checksums" in report.notes[0]
    assert len(list((tmp_path / backup_id / names.RECORDS).iterdir())) == 1  # of the first one
    with pytest.raises(NotFoundError):
        run(tmp_path, "nothing")


def test_which_backups_all_means(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    whole, damaged, lost = (take(tmp_path, database) for database in ("a", "b", "c"))
    (tmp_path / damaged / names.METADATA).write_text("{}")
    (tmp_path / lost / names.METADATA).unlink()
    begin(Repository(store), "d").fail("no")
    with begin(Repository(store), "e"):
        assert sorted(worth_verifying(store)) == sorted([whole, damaged, lost])


def test_a_backup_of_a_real_server(database: Connection, sql: Callable[..., Any], tmp_path: Path) -> None:
    from dbtool.engines.postgres.engine import PostgresEngine

    sql(
        database,
        """CREATE TABLE "we""ird\n" (id bigint PRIMARY KEY, "no te" text, big numeric);
        INSERT INTO "we""ird\n" SELECT n, E'a\\tb\\\\' || n, CASE WHEN n % 3 = 0 THEN n / 7.0 END
        FROM generate_series(1, 20000) AS n;
        CREATE TABLE keyless (x integer, y text);
        INSERT INTO keyless VALUES (1, NULL), (1, NULL), (2, '');
        CREATE TABLE two_keys (a integer, b text, c text, PRIMARY KEY (c, a));
        INSERT INTO two_keys SELECT n, repeat('x', n % 50), 'k' || n FROM generate_series(1, 5000) AS n;
        CREATE TABLE nothing ()""",
    )
    store = LocalStore(tmp_path)
    metadata = logical_backup(PostgresEngine(), database, store, BackupOptions(), Silent())
    report = verify(store, metadata.id, Silent(), 2)
    assert report.findings == []
    assert report.notes == []
    assert report.rows == 25_003
    (archive,) = (tmp_path / metadata.id).glob("*.sql.zst")
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 8
    archive.write_bytes(bytes(data))
    assert len(verify(store, "latest", Silent(), 2, database.database).findings) == 2


VERIFY = """
import os, sys
from dbtool.operations.listing import list_backups, show
from dbtool.operations.verify import verify
from dbtool.progress import Silent
from dbtool.storage.local import LocalStore
if os.geteuid() == 0:  # root may write anywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
store = LocalStore(sys.argv[1])
report = verify(store, "latest", Silent(), 1)
print(report.outcome, report.notes, list_backups(store)[0].status, show(store, "latest")["status"])
"""


def test_a_repository_that_may_only_be_read() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to other accounts
        root = Path(folder)
        take(root)
        everything = [root, *root.rglob("*")]
        for path in everything:
            path.chmod(0o555 if path.is_dir() else 0o444)
        out, errors = run_python(VERIFY, folder).communicate()
        for path in everything:
            path.chmod(0o700)
    assert out.startswith(b"passed ['the verification was not recorded: "), errors
    assert out.endswith(b" completed completed\n")
