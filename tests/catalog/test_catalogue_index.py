"""backup_catalog.json: the seed's fields, nothing lost among many writers, and never missed."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.sample_backups import FIRST_MOMENT, run_python, take

from dbtool.catalog import index, names, records
from dbtool.catalog.running import RunningBackup
from dbtool.operations.listing import list_backups, rebuild_catalogue
from dbtool.storage.local import LocalStore

SEED_FIELDS = [
    "id",
    "type",
    "status",
    "timestamp_start",
    "duration_seconds",
    "compress",
    "backup_location",
    "statistics",
]


def catalogue(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / names.CATALOGUE).read_text())["backups"]
    return found


def test_the_seeds_fields_come_first(tmp_path: Path) -> None:
    backup_id = take(tmp_path)
    (entry,) = catalogue(tmp_path)
    assert list(entry)[:8] == SEED_FIELDS
    assert {name: entry[name] for name in SEED_FIELDS[:7]} == {
        "id": backup_id,
        "type": "full",
        "status": "completed",
        "timestamp_start": "2025-11-01T12:00:00+00:00",
        "duration_seconds": 12.5,
        "compress": True,
        "backup_location": str(tmp_path / backup_id),
    }
    assert entry["statistics"]["total_tables"] == 3
    assert entry["statistics"]["total_rows_processed"] == 2400
    assert entry["statistics"]["total_size_bytes"] > 0


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    code = """
import sys
from datetime import timedelta
from pathlib import Path
from tests.sample_backups import FIRST_MOMENT, take
for number in range(4):
    print(take(Path(sys.argv[1]), sys.argv[2], FIRST_MOMENT + timedelta(hours=number), tables=1, chunks=1))
"""
    children = [run_python(code, str(tmp_path), f"db{number}") for number in range(6)]
    ids: list[str] = []
    for child in children:
        out, errors = child.communicate()
        assert child.returncode == 0, errors
        ids += out.decode().split()
    assert len(ids) == 24
    assert sorted(entry["id"] for entry in catalogue(tmp_path)) == sorted(ids)
    assert all(entry["status"] == "completed" for entry in catalogue(tmp_path))


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[]", b'{"backups": [{}]}', b'{"backups": [{"id": "gone"}]}', b"\xff"]
)
def test_it_is_never_needed(tmp_path: Path, content: bytes | None) -> None:
    ids = [take(tmp_path, started=FIRST_MOMENT + timedelta(days=day)) for day in range(2)]
    path = tmp_path / names.CATALOGUE
    good = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert [summary.id for summary in list_backups(LocalStore(tmp_path))] == ids
    rebuild_catalogue(LocalStore(tmp_path))
    assert path.read_bytes() == good


def test_it_mends_itself_with_the_next_backup(tmp_path: Path) -> None:
    first = take(tmp_path)
    (tmp_path / names.CATALOGUE).write_text("damaged")
    second = take(tmp_path, started=FIRST_MOMENT + timedelta(days=1))
    assert [entry["id"] for entry in catalogue(tmp_path)] == [first, second]


def test_folders_that_are_gone_and_folders_that_came(tmp_path: Path) -> None:
    gone = take(tmp_path / "one")
    kept = take(tmp_path / "one", started=FIRST_MOMENT + timedelta(days=1))
    came = take(tmp_path / "other")
    shutil.rmtree(tmp_path / "one" / gone)
    (tmp_path / "other" / came).rename(tmp_path / "one" / came)
    found = list_backups(LocalStore(tmp_path / "one"))
    assert [summary.id for summary in found] == [came, kept]
    assert found[0].backup_location == str(tmp_path / "one" / came)


def test_a_repository_may_be_moved(tmp_path: Path) -> None:
    backup_id = take(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    (summary,) = list_backups(LocalStore(tmp_path / "two"))
    assert summary.backup_location == str(tmp_path / "two" / backup_id)


def test_a_stale_entry_is_not_believed(tmp_path: Path) -> None:
    backup_id = take(tmp_path)
    path = tmp_path / backup_id / names.METADATA
    path.write_bytes(path.read_bytes()[:-5])
    (summary,) = list_backups(LocalStore(tmp_path))
    assert summary.status == "failed"
    assert "was changed or cut" in (summary.problem or "")
    path.unlink()
    (summary,) = list_backups(LocalStore(tmp_path))
    assert summary.status == "interrupted"


def test_what_was_recorded_since_is_seen(tmp_path: Path) -> None:
    backup_id = take(tmp_path)
    store = LocalStore(tmp_path)
    assert list_backups(store)[0].verified is None
    records.add(store, backup_id, records.VERIFICATION, {"outcome": "passed"})
    assert list_backups(store)[0].verified == "passed"
    assert list_backups(store) == rebuild_catalogue(store)


def test_the_catalogue_saves_reading_metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup_id = take(tmp_path)
    expected = rebuild_catalogue(LocalStore(tmp_path))
    read: list[str] = []

    class Watched(LocalStore):
        def get(self, name: str) -> Any:
            read.append(name)
            return super().get(name)

    assert list_backups(Watched(tmp_path)) == expected
    assert f"{backup_id}/{names.METADATA}" not in read


def test_a_refusal_is_a_note_and_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[str] = []
    complete = RunningBackup.complete

    def completed(self: RunningBackup, metadata: Any) -> None:
        complete(self, metadata)
        notes.extend(self.notes)

    monkeypatch.setattr(RunningBackup, "complete", completed)
    (tmp_path / names.CATALOGUE).mkdir()
    (tmp_path / names.CATALOGUE / "in the way").write_text("")
    backup_id = take(tmp_path)
    assert [summary.status for summary in list_backups(LocalStore(tmp_path))] == ["completed"]
    assert len(notes) == 1
    assert "backup_catalog.json was not updated" in notes[0]
    assert index.read_entries(LocalStore(tmp_path)) is None
    assert backup_id
