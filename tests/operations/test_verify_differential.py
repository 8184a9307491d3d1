"""verify of a differential: its own files, the keys it removes, its link, and its full."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from tests.sample_backups import FIRST_MOMENT, begin_differential, metadata_of, take, take_differential

from dbtool.archive.writer import ArchiveWriter, pack
from dbtool.catalog import names, records
from dbtool.catalog.repository import Repository
from dbtool.console.backup_views import render_verification
from dbtool.errors import VerificationError
from dbtool.model.archive import Block, FrameKind, TableSummary
from dbtool.model.backup import BackupType
from dbtool.operations.listing import list_backups
from dbtool.operations.verify import VerificationReport, verify, worth_verifying
from dbtool.progress import Silent
from dbtool.rows import tally_inserts, tally_lines
from dbtool.storage.local import LocalStore

STAMP = "20251101_130000"
MAIN = f"mydb_diff_{STAMP}.sql.zst"


def run(root: Path, reference: str, with_chain: bool = True) -> VerificationReport:
    return verify(LocalStore(root), reference, Silent(), 2, with_chain=with_chain)


def messages(report: VerificationReport) -> list[str]:
    return [finding.message for finding in report.findings]


def test_it_is_verified_with_its_full(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    report = run(tmp_path, made)
    assert messages(report) == []
    assert (report.artefacts, report.frames, report.tables, report.rows, report.removed) == (2, 5, 3, 25, 2)
    assert report.notes == []
    assert report.base is not None
    assert (report.base.backup, report.base.outcome, report.base.rows) == (full, "passed", 2400)
    assert [one.verified for one in list_backups(LocalStore(tmp_path))] == ["passed", "passed"]
    text = render_verification(report, color=False).splitlines()
    assert text[0].startswith(f"{full}: passed (3 files")
    assert text[1].startswith(f"{made}: passed (2 files, 5 frames, 3 tables, 25 rows, 2 removed keys in")
    document = json.loads(json.dumps(report.document()))
    assert (document["base"]["backup"], document["base"]["outcome"]) == (full, "passed")
    (record,) = Repository(LocalStore(tmp_path)).read(made).records
    assert "base" not in record.data
    assert record.data["removed"] == 2


def test_without_its_chain_the_link_is_looked_at_all_the_same(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    report = run(tmp_path, made, with_chain=False)
    assert (report.base, messages(report)) == (None, [])
    assert list_backups(LocalStore(tmp_path))[0].verified is None
    path = tmp_path / full / names.METADATA
    good = path.read_bytes()
    path.write_bytes(good.replace(b'"rows": 800', b'"rows": 801', 1))
    assert "is damaged" in messages(run(tmp_path, made, with_chain=False))[0]
    path.unlink()
    assert "has no metadata.json" in messages(run(tmp_path, made, with_chain=False))[0]
    error = run(tmp_path, made).error()
    assert isinstance(error, VerificationError)
    path.write_bytes(good)
    assert messages(run(tmp_path, made)) == []


def test_a_damaged_full_fails_its_differential(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    path = tmp_path / full / "mydb_20251101_120000.sql.zst"
    changed = bytearray(path.read_bytes())
    changed[300] ^= 1
    path.write_bytes(changed)
    assert messages(run(tmp_path, made, with_chain=False)) == []
    report = run(tmp_path, made)
    assert report.base is not None
    assert report.base.findings
    assert messages(report)[0].startswith(f"{full}, which it builds upon, failed verification: mydb_2025")
    assert [one.verified for one in list_backups(LocalStore(tmp_path))] == ["failed", "failed"]


def test_the_full_is_not_made_worse_by_what_lies_below_it(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    (tmp_path / full / ".backup_diff" / STAMP / MAIN).write_bytes(b"damaged")
    report = run(tmp_path, full)
    assert (messages(report), report.notes) == ([], [])
    assert messages(run(tmp_path, made))
    (tmp_path / full / names.METADATA).unlink()
    report = run(tmp_path, full)  # its own archive only
    assert (report.frames, messages(report)) == (15, ["metadata.json is missing"])


def test_all_means_differentials_too(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    with begin_differential(Repository(LocalStore(tmp_path)), full, FIRST_MOMENT + timedelta(hours=2)):
        pass
    assert worth_verifying(LocalStore(tmp_path)) == [full, made]


def test_a_bit_flipped_anywhere_in_a_differential(tmp_path: Path) -> None:
    made = take_differential(tmp_path, take(tmp_path, tables=1, chunks=1))
    path = tmp_path / Repository(LocalStore(tmp_path)).read(made).folder / MAIN
    good = path.read_bytes()
    for place in range(0, len(good), max(len(good) // 60, 1)):
        changed = bytearray(good)
        changed[place] ^= 0x10
        path.write_bytes(bytes(changed))
        assert run(tmp_path, made, with_chain=False).findings, place
    path.write_bytes(good)
    assert messages(run(tmp_path, made, with_chain=False)) == []


@pytest.mark.parametrize("engine", ["postgres", "mysql"])
@pytest.mark.parametrize(
    ("removed", "rows", "digest", "expected"),
    [
        (2, 2, 0, None),
        (2, 3, 0, "has 2 removed keys instead of 3"),
        (2, 2, 1, "keys were changed"),
        (3, 2, 0, "differs from the archive's index in its removed keys"),
        (2, 2, "half a line", "does not hold whole rows"),
    ],
)
def test_removed_keys_are_counted_and_digested(
    tmp_path: Path, engine: str, removed: int, rows: int, digest: int | str, expected: str | None
) -> None:
    """What a writer with a fault would make: frames whose checksums are right, and whose numbers are not."""
    full = take(tmp_path)
    repository = Repository(LocalStore(tmp_path))
    keys = {
        "postgres": b"1\tx\n2\ty\n",
        "mysql": b"INSERT INTO `removed` (`a`,`b`) VALUES\n(1,'x'),\n(2,'y');\n",
    }[engine]
    _, right, _ = {"postgres": tally_lines, "mysql": tally_inserts}[engine](keys)
    if isinstance(digest, str):
        keys, digest = keys[:-1], 0
    with begin_differential(repository, full, FIRST_MOMENT + timedelta(hours=1)) as running:
        with running.put_artefact(MAIN) as upload:
            writer = ArchiveWriter(upload)
            details = {"differential": {"taken": "rows", "rows": 1, "removed": removed, "base": 1}}
            table = TableSummary(1, "", "t", (("a", "int"), ("b", "text")), ("a", "b"), details=details)
            writer.add(pack(Block(FrameKind.HEADER, b"-- begin\n"), 1))
            text = b"before\n" + keys + b"after\n"
            writer.add(pack(Block(FrameKind.REMOVED, text, 0, rows, right + digest, 0, 7, 6), 1))
            writer.add(pack(Block(FrameKind.FOOTER, b"-- the end\n"), 1))
            index = writer.finish({"id": running.id, "engine": engine}, [table], (), ())
            upload.commit()
        metadata = metadata_of(
            running.id,
            [upload.artefact],
            index,
            started=FIRST_MOMENT + timedelta(hours=1),
            type=BackupType.DIFFERENTIAL,
            engine=engine,
            parent=running.parent,
        )
        running.complete(metadata)
    report = run(tmp_path, running.id, with_chain=False)
    if expected is None:
        assert messages(report) == []
        assert report.removed == 2
    else:
        assert any(expected in message for message in messages(report)), messages(report)
    found = records.last(repository.read(running.id).records, records.VERIFICATION)
    assert found is not None
    assert found.data["outcome"] == ("passed" if expected is None else "failed")
