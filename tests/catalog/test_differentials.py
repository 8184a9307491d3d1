"""Differentials in a repository: where they lie, how they are found, and what tells of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.sample_backups import (
    FIRST_MOMENT,
    begin_differential,
    run_python,
    take,
    take_differential,
)

from dbtool.catalog import index, names, records
from dbtool.catalog.chain import dependants
from dbtool.catalog.repository import Repository, resolve_path
from dbtool.cli.main import main
from dbtool.errors import (
    BusyError,
    DbtoolError,
    NeedsFullError,
    NotFoundError,
    RefusedError,
    VerificationError,
)
from dbtool.model.backup import BackupType, Status
from dbtool.operations.listing import list_backups, rebuild_catalogue
from dbtool.storage.local import LocalStore

STAMP = "20251101_130000"
HOUR = timedelta(hours=1)


def manifest(root: Path, full: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((root / full / names.MANIFEST).read_text())
    return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_lies_below_its_full_under_its_time(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    assert made.startswith(f"diff_mydb_{STAMP}_")
    folder = tmp_path / full / ".backup_diff" / STAMP
    assert sorted(path.name for path in folder.iterdir()) == [
        "RESTORE.md",
        "metadata.json",
        f"mydb_diff_{STAMP}.sql.zst",
    ]
    document = json.loads((folder / "metadata.json").read_text())
    assert document["id"] == made
    assert document["parent"] == {"id": full, "metadata_sha256": sha256(tmp_path / full / "metadata.json")}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [full]


def test_the_manifest_tells_of_it(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    later = take_differential(tmp_path, full, FIRST_MOMENT + 2 * HOUR, method="timestamp")
    told = manifest(tmp_path, full)
    assert told["base"] == full
    assert [entry["id"] for entry in told["differentials"]] == [made, later]
    assert told["differentials"][0] == {
        "id": made,
        "timestamp_start": "2025-11-01T13:00:00+00:00",
        "folder": STAMP,
        "main_file": f"mydb_diff_{STAMP}.sql.zst",
        "metadata_sha256": sha256(tmp_path / full / ".backup_diff" / STAMP / "metadata.json"),
        "parent_sha256": sha256(tmp_path / full / "metadata.json"),
        "deletes_covered": True,
        "method": "rows",
    }
    assert (told["differentials"][1]["deletes_covered"], told["differentials"][1]["method"]) == (
        False,
        "timestamp",
    )


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"differentials": [1]}', b"{}", b"\xff"])
def test_the_manifest_is_never_needed_and_mends_itself(tmp_path: Path, content: bytes | None) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    path = tmp_path / full / names.MANIFEST
    good = path.read_bytes()
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert [one.id for one in list_backups(LocalStore(tmp_path))] == [full, made]
    rebuild_catalogue(LocalStore(tmp_path))
    assert path.read_bytes() == good
    path.write_bytes(b"damaged")
    later = take_differential(tmp_path, full, FIRST_MOMENT + 2 * HOUR)
    assert [entry["id"] for entry in manifest(tmp_path, full)["differentials"]] == [made, later]


def test_a_manifest_that_cannot_be_written_is_a_note(tmp_path: Path) -> None:
    full = take(tmp_path)
    path = tmp_path / full / names.MANIFEST
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    made = take_differential(tmp_path, full)
    assert Repository(LocalStore(tmp_path)).read(made).status is Status.COMPLETED
    notes = index.refresh(
        LocalStore(tmp_path), f"{full}/.backup_diff/{STAMP}", Repository(LocalStore(tmp_path)).read(made)
    )
    assert ["manifest.json was not updated" in note for note in notes] == [True]


def test_what_is_gone_leaves_the_manifest_with_the_next_one(tmp_path: Path) -> None:
    full = take(tmp_path)
    take_differential(tmp_path, full)
    shutil.rmtree(tmp_path / full / ".backup_diff" / STAMP)
    later = take_differential(tmp_path, full, FIRST_MOMENT + 2 * HOUR)
    assert [entry["id"] for entry in manifest(tmp_path, full)["differentials"]] == [later]


def test_it_is_found_in_every_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = take(tmp_path, "a/b")
    other = take(tmp_path, "other", FIRST_MOMENT + 2 * HOUR)
    made = take_differential(tmp_path, full)
    repository = Repository(LocalStore(tmp_path))
    folder = tmp_path / full / ".backup_diff" / STAMP
    assert [backup.id for backup in repository.all()] == [full, made, other]
    assert repository.resolve("latest", "a/b").known_backup().id == made
    assert repository.resolve("latest").known_backup().id == other
    monkeypatch.chdir(folder)
    for reference in (made, str(folder), ".", str(folder / names.METADATA)):
        resolved = repository.resolve(reference)
        assert resolved.known_backup().id == made
        assert resolved.known_backup().folder == f"{full}/.backup_diff/{STAMP}"
        assert resolved.repository.store.url == str(tmp_path)
        assert resolved.archive_name is None
    name = f"a%2Fb_diff_{STAMP}.sql.zst"
    resolved = resolve_path(name)
    assert resolved.known_backup().id == made
    assert resolved.archive_name == f"{full}/.backup_diff/{STAMP}/{name}"
    assert resolved.repository.store.size(resolved.archive_name) > 0
    (folder / names.METADATA).unlink()
    resolved = resolve_path(name)
    assert (resolved.backup, resolved.archive_name) == (None, name)
    with pytest.raises(NotFoundError, match="is no backup"):
        resolve_path(str(folder.parent))


def test_a_name_that_is_nearly_right_offers_it(tmp_path: Path) -> None:
    made = take_differential(tmp_path, take(tmp_path))
    with pytest.raises(NotFoundError) as caught:
        Repository(LocalStore(tmp_path)).resolve(made[:-1])
    assert made in (caught.value.hint or "")


def test_the_catalogue_names_parent_and_digest(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    first, second = json.loads((tmp_path / names.CATALOGUE).read_text())["backups"]
    assert (first["id"], first["parent"], first["base"], first["folder"]) == (full, None, None, full)
    assert (second["id"], second["type"]) == (made, "differential")
    assert (second["parent"], second["base"]) == (full, full)
    assert second["parent_sha256"] == sha256(tmp_path / full / "metadata.json")
    assert second["folder"] == f"{full}/.backup_diff/{STAMP}"
    assert second["backup_location"] == str(tmp_path / full / ".backup_diff" / STAMP)
    good = (tmp_path / names.CATALOGUE).read_bytes()
    (tmp_path / names.CATALOGUE).unlink()
    rebuild_catalogue(LocalStore(tmp_path))
    assert (tmp_path / names.CATALOGUE).read_bytes() == good


def test_the_catalogue_saves_reading_metadata(tmp_path: Path) -> None:
    full = take(tmp_path)
    take_differential(tmp_path, full)
    read: list[str] = []

    class Watched(LocalStore):
        def get(self, name: str) -> Any:
            read.append(name)
            return super().get(name)

    assert [one.type for one in list_backups(Watched(tmp_path))] == ["full", "differential"]
    assert not any(name.endswith(names.METADATA) for name in read)


def test_running_failed_and_withdrawn(tmp_path: Path) -> None:
    full = take(tmp_path)
    repository = Repository(LocalStore(tmp_path))
    with begin_differential(repository, full, FIRST_MOMENT + HOUR) as running:
        backup = repository.read(running.id)
        assert (backup.status, backup.type, backup.base) == (Status.RUNNING, "differential", full)
        assert dependants(repository, full) == [backup]
        (_, summary) = list_backups(repository.store)
        assert (summary.id, summary.status, summary.parent) == (running.id, "running", full)
        with pytest.raises(BusyError):
            begin_differential(repository, full, FIRST_MOMENT + HOUR)
        running.put_file("schema.sql", b"")
    backup = repository.read(running.id)
    assert (backup.status, backup.database) == (Status.FAILED, "mydb")
    assert dependants(repository, full) == []
    assert repository.resolve("latest").known_backup().id == full
    with (  # noqa: PT012
        pytest.raises(NeedsFullError),
        begin_differential(repository, full, FIRST_MOMENT + 2 * HOUR) as withdrawn,
    ):
        withdrawn.put_file("schema.sql", b"")
        raise NeedsFullError("another timeline")
    assert [one.id for one in repository.all()] == [full, running.id]
    assert not (tmp_path / withdrawn.folder).exists()


@pytest.mark.parametrize("place", ["backup-begun", "artefact-committed", "before-metadata"])
def test_killed_before_the_last_write(tmp_path: Path, place: str) -> None:
    full = take(tmp_path)
    code = (
        "import sys; from pathlib import Path; from tests.sample_backups import take_differential;"
        "take_differential(Path(sys.argv[1]), sys.argv[2])"
    )
    child = run_python(code, str(tmp_path), full, failpoint=f"{place}:kill")
    _, errors = child.communicate()
    assert child.returncode == -signal.SIGKILL, errors
    repository = Repository(LocalStore(tmp_path))
    (_, backup) = repository.all()
    assert (backup.status, backup.type, backup.database) == (
        Status.INTERRUPTED,
        "differential",
        "mydb",
    )
    assert names.is_backup_id(backup.id)
    assert repository.read(backup.id) == backup
    assert manifest(tmp_path, full)["differentials"] == []
    assert repository.resolve("latest").known_backup().id == full
    later = take_differential(tmp_path, full, FIRST_MOMENT + 2 * HOUR)
    assert [entry["id"] for entry in manifest(tmp_path, full)["differentials"]] == [later]


def test_killed_after_the_last_write(tmp_path: Path) -> None:
    full = take(tmp_path)
    code = (
        "import sys; from pathlib import Path; from tests.sample_backups import take_differential;"
        "take_differential(Path(sys.argv[1]), sys.argv[2])"
    )
    child = run_python(code, str(tmp_path), full, failpoint="after-metadata:kill")
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    (_, summary) = list_backups(LocalStore(tmp_path))
    assert (summary.status, summary.type) == ("completed", "differential")
    later = take_differential(tmp_path, full, FIRST_MOMENT + 2 * HOUR)
    rebuild_catalogue(LocalStore(tmp_path))
    assert [entry["id"] for entry in manifest(tmp_path, full)["differentials"]] == [summary.id, later]


def test_a_folder_that_tells_nothing_is_called_by_its_path(tmp_path: Path) -> None:
    full = take(tmp_path)
    (tmp_path / full / ".backup_diff" / STAMP).mkdir()
    (tmp_path / full / ".backup_diff" / "holiday").mkdir()
    repository = Repository(LocalStore(tmp_path))
    (_, backup) = repository.all()
    assert backup.id == backup.folder == f"{full}/.backup_diff/{STAMP}"
    assert (backup.status, backup.type, backup.database) == (Status.INTERRUPTED, "differential", "mydb")
    assert backup.timestamp_start == "2025-11-01T13:00:00+00:00"
    assert repository.resolve(backup.id).known_backup() == backup


@pytest.mark.parametrize("place", [b'"rows": 5', b'"id": "diff'])
def test_damaged_metadata_keeps_its_name_as_far_as_it_can(tmp_path: Path, place: bytes) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    path = tmp_path / full / ".backup_diff" / STAMP / names.METADATA
    path.write_bytes(path.read_bytes().replace(place, place[:-1] + b"X", 1))
    repository = Repository(LocalStore(tmp_path))
    (_, backup) = repository.all()
    assert backup.is_damaged
    assert backup.id == (made if b"rows" in place else backup.folder)
    assert repository.read(backup.id) == backup
    with pytest.raises(VerificationError, match="was changed"):
        backup.completed()
    if b"rows" not in place:
        records.add(repository.store, backup.folder, records.VERIFICATION, {"backup": made})
        assert repository.read(made).is_damaged


def test_only_a_completed_full_is_a_base(tmp_path: Path) -> None:
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    partial = take(tmp_path, started=FIRST_MOMENT + 3 * HOUR, type=BackupType.PARTIAL)
    repository = Repository(LocalStore(tmp_path))
    for wrong in (made, partial):
        with pytest.raises(ValueError, match="no full"):
            begin_differential(repository, wrong, FIRST_MOMENT + 4 * HOUR)
    with begin_differential(repository, full, FIRST_MOMENT + 5 * HOUR) as running:
        pass
    with pytest.raises(RefusedError):
        begin_differential(repository, running.id, FIRST_MOMENT + 6 * HOUR)
    path = tmp_path / full / names.METADATA
    path.write_bytes(path.read_bytes().replace(b'"rows": 800', b'"rows": 801', 1))
    with pytest.raises(VerificationError):
        begin_differential(repository, full, FIRST_MOMENT + 6 * HOUR)


@pytest.mark.parametrize("change", ["removed", "changed", "another parent"])
def test_a_base_that_changes_meanwhile_fails_it(tmp_path: Path, change: str) -> None:
    full = take(tmp_path)
    other = take(tmp_path, started=FIRST_MOMENT + timedelta(minutes=1))
    path = tmp_path / full / names.METADATA
    good = path.read_bytes()
    with (  # noqa: PT012
        pytest.raises((DbtoolError, ValueError)) as caught,
        pytest.MonkeyPatch.context() as patch,
    ):
        if change == "another parent":
            base = Repository(LocalStore(tmp_path)).read(other)
            assert base.file_sha256 is not None
            from dbtool.model.backup import ParentLink

            take_differential(tmp_path, full, parent=ParentLink(other, base.file_sha256))
        from dbtool import failpoints

        def reach(name: str) -> None:
            if name == "before-metadata":
                path.unlink() if change == "removed" else path.write_bytes(good + b"\n")

        patch.setattr(failpoints, "reach", reach)
        take_differential(tmp_path, full)
    assert change == "another parent" or "was removed or changed while" in str(caught.value)
    path.write_bytes(good)
    backup = Repository(LocalStore(tmp_path)).all()[-1]
    assert (backup.status, backup.type) == (Status.FAILED, "differential")


def test_dependants_are_what_must_not_lose_its_full(tmp_path: Path) -> None:
    full = take(tmp_path)
    other = take(tmp_path, started=FIRST_MOMENT + timedelta(minutes=1))
    made = [take_differential(tmp_path, full, FIRST_MOMENT + number * HOUR) for number in (1, 2)]
    path = tmp_path / full / ".backup_diff" / STAMP / names.METADATA
    path.write_bytes(path.read_bytes().replace(b'"rows": 5', b'"rows": 6', 1))
    repository = Repository(LocalStore(tmp_path))
    assert [one.id for one in dependants(repository, full)] == made
    assert dependants(repository, other) == []
    assert dependants(repository, made[0]) == []
    with pytest.raises(NotFoundError):
        dependants(repository, "full_mydb_20200101_000000_aaaa")


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    fulls = [take(tmp_path, tables=2, chunks=1), take(tmp_path, "other", tables=2, chunks=1)]
    code = """
import sys
from datetime import timedelta
from pathlib import Path
from tests.sample_backups import FIRST_MOMENT, take_differential
for number in range(3):
    started = FIRST_MOMENT + timedelta(hours=number, minutes=int(sys.argv[3]))
    print(take_differential(Path(sys.argv[1]), sys.argv[2], started))
"""
    children = [
        run_python(code, str(tmp_path), full, str(minute)) for full in fulls for minute in range(1, 4)
    ]
    ids: list[str] = []
    for child in children:
        out, errors = child.communicate()
        assert child.returncode == 0, errors
        ids += out.decode().split()
    told = [entry["id"] for full in fulls for entry in manifest(tmp_path, full)["differentials"]]
    assert (len(ids), sorted(told)) == (18, sorted(ids))
    before = (tmp_path / names.CATALOGUE).read_bytes()
    rebuild_catalogue(LocalStore(tmp_path))
    assert (tmp_path / names.CATALOGUE).read_bytes() == before


def test_an_id_that_is_a_path_can_be_said_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = take(tmp_path)
    (tmp_path / full / ".backup_diff" / STAMP).mkdir()
    path = f"{full}/.backup_diff/{STAMP}"
    assert main(["show", path, "--path", str(tmp_path)]) == 0
    assert "interrupted" in capsys.readouterr().out
    assert main(["show", str(tmp_path / path)]) == 0
    assert main(["show", path + "1", "--path", str(tmp_path)]) == 8


def test_a_thousand_backups_are_listed_fast(tmp_path: Path) -> None:
    """As folders and a catalogue: 100 chains of a full and nine differentials."""
    full = take(tmp_path)
    for number in range(1, 10):
        take_differential(tmp_path, full, FIRST_MOMENT + number * HOUR, removed=0)
    for number in range(99):
        copy = f"full_mydb_20251101_120000_{number:04x}"
        if copy != full:
            shutil.copytree(tmp_path / full, tmp_path / copy)
    store = LocalStore(tmp_path)
    rebuild_catalogue(store)
    took = []
    for _ in range(3):
        began = time.perf_counter()
        found = list_backups(store)
        took.append(time.perf_counter() - began)
    assert len(found) == 1000
    assert min(took) < 1.0  # 0.2 seconds where nothing else runs
