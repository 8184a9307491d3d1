"""Taking backups into a repository, and finding them again."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from tests.sample_backups import FIRST_MOMENT, begin, metadata_of, take, write_archive

from dbtool.catalog import heartbeat, names, records
from dbtool.catalog.repository import Repository, resolve_path
from dbtool.errors import BusyError, DbtoolError, NotFoundError, RefusedError, VerificationError
from dbtool.model.backup import BackupType, Status
from dbtool.storage.local import LocalStore


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(LocalStore(tmp_path / "repository"))


def root(repository: Repository) -> Path:
    return Path(repository.store.url)


def test_a_completed_backup_has_all_its_files(repository: Repository) -> None:
    backup_id = take(root(repository))
    folder = root(repository) / backup_id
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == [
        ".backup_diff/manifest.json",
        "RESTORE.md",
        "metadata.json",
        "mydb_20251101_120000.sql.zst",
        "schema.sql",
    ]
    manifest = json.loads((folder / ".backup_diff" / "manifest.json").read_text())
    assert manifest == {"base": backup_id, "differentials": []}
    backup = repository.read(backup_id)
    assert backup.status is Status.COMPLETED
    assert backup.problem is None
    assert backup.records == []
    assert backup.completed().id == backup_id
    assert (backup.database, backup.type) == ("mydb", "full")


def test_artefacts_are_counted_and_hashed(repository: Repository) -> None:
    import hashlib

    data = os.urandom(100_000)
    with begin(repository) as running:
        with running.put_artefact("file") as upload:
            upload.write(data[:1])
            upload.write(memoryview(data)[1:])
            assert upload.written_bytes == len(data)
            upload.commit()
        artefact = upload.artefact
    assert artefact.name == "file"
    assert artefact.stored_bytes == artefact.plain_bytes == len(data)
    assert artefact.stored_sha256 == artefact.plain_sha256 == hashlib.sha256(data).hexdigest()


def test_running_while_it_runs(repository: Repository) -> None:
    with begin(repository, "my/db") as running:
        backup = repository.read(running.id)
        assert backup.status is Status.RUNNING
        assert (backup.database, backup.type) == ("my/db", "full")
        assert backup.timestamp_start == FIRST_MOMENT.isoformat()
        with pytest.raises(RefusedError):
            backup.completed()
        with pytest.raises(BusyError):
            begin_again(repository, running.id)
    assert repository.read(running.id).status is Status.FAILED


def begin_again(repository: Repository, backup_id: str) -> None:
    repository.begin(
        backup_id, type=BackupType.FULL, database="mydb", engine="postgres", started=FIRST_MOMENT
    )


def test_a_failed_backup_leaves_its_reason_only(repository: Repository) -> None:
    with pytest.raises(DbtoolError), begin(repository, "shop") as running:  # noqa: PT012
        running.put_file("schema.sql", b"")
        running.put_artefact("unfinished").write(b"data")
        raise DbtoolError("the server went away")
    folder = root(repository) / running.id
    (left,) = [path for path in folder.rglob("*") if path.is_file()]
    assert left.parent.name == "records"
    backup = repository.read(running.id)
    assert backup.status is Status.FAILED
    assert backup.problem == "the server went away"
    assert backup.database == "shop"
    with pytest.raises(RefusedError, match="the server went away"):
        backup.completed()
    with pytest.raises(NotFoundError):
        repository.resolve("latest")


def test_a_cancelled_backup_is_interrupted(repository: Repository) -> None:
    with pytest.raises(KeyboardInterrupt), begin(repository) as running:
        raise KeyboardInterrupt
    assert repository.read(running.id).status is Status.INTERRUPTED


def test_metadata_that_does_not_fit_is_refused(repository: Repository) -> None:
    with pytest.raises(ValueError, match="artefacts"), begin(repository) as running:  # noqa: PT012
        with running.put_artefact("a.sql.zst") as upload:
            index = write_archive(upload, running.id)
            upload.commit()
        running.put_file("forgotten", b"")
        running.complete(metadata_of(running.id, [upload.artefact], index))
    assert repository.read(running.id).status is Status.FAILED


def test_a_stale_heartbeat_of_another_machine(repository: Repository) -> None:
    with begin(repository) as running:
        path = root(repository) / running.id / names.RUNNING
        path.write_text(json.dumps({**json.loads(path.read_text()), "host_identity": "elsewhere"}))
        assert repository.read(running.id).status is Status.RUNNING
        then = path.stat().st_mtime - heartbeat.STALE_SECONDS - 1
        os.utime(path, (then, then))
        assert repository.read(running.id).status is Status.INTERRUPTED


def test_a_process_number_used_again(repository: Repository) -> None:
    with begin(repository) as running:
        path = root(repository) / running.id / names.RUNNING
        document = json.loads(path.read_text())
        path.write_text(json.dumps({**document, "process_start_time": document["process_start_time"] - 1}))
        assert repository.read(running.id).status is Status.INTERRUPTED


def test_the_heartbeat_goes_on(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "INTERVAL_SECONDS", 0.05)
    with begin(repository) as running:
        path = root(repository) / running.id / names.RUNNING
        os.utime(path, (1, 1))
        for _ in range(200):
            if path.stat().st_mtime > 1:
                break
            running._heartbeat._stopped.wait(0.02)
        assert path.stat().st_mtime > 1
    assert not path.exists()


def test_folders_that_tell_nothing_are_interrupted(repository: Repository) -> None:
    (root(repository) / "full_my db_20251101_120000_a1b2").mkdir(parents=True)
    (root(repository) / "wal" / "7000").mkdir(parents=True)
    (root(repository) / "holiday").mkdir()
    (backup,) = repository.all()
    assert backup.status is Status.INTERRUPTED
    assert (backup.type, backup.database) == ("full", "my db")


def test_changed_metadata_is_damage(repository: Repository) -> None:
    backup_id = take(root(repository))
    path = root(repository) / backup_id / names.METADATA
    path.write_bytes(path.read_bytes().replace(b'"rows": 800', b'"rows": 801', 1))
    backup = repository.read(backup_id)
    assert backup.status is Status.FAILED
    assert backup.is_damaged
    with pytest.raises(VerificationError, match=r"metadata\.json was changed"):
        backup.completed()


def test_metadata_of_a_newer_version_harms_nobody_else(repository: Repository) -> None:
    backup_id = take(root(repository), format_version=2)
    other = take(root(repository), started=FIRST_MOMENT - timedelta(days=1))
    assert [backup.id for backup in repository.all()] == [other, backup_id]
    with pytest.raises(RefusedError, match="format 2"):
        repository.read(backup_id).completed()


def test_the_newest_is_so_by_time(repository: Repository) -> None:
    days = [timedelta(days=day) for day in (1, 3, 2)]
    ids = [take(root(repository), "zebra", FIRST_MOMENT + day) for day in days]
    ids.append(take(root(repository), "ant", FIRST_MOMENT + timedelta(days=2, hours=1)))
    failed = begin(repository, "zebra", FIRST_MOMENT + timedelta(days=9))
    failed.fail("no")
    assert [backup.id for backup in repository.all()] == [ids[0], ids[2], ids[3], ids[1], failed.id]

    def latest(database: str | None) -> str:
        return repository.resolve("latest", database).known_backup().id

    assert latest(None) == ids[1]
    assert latest("ant") == ids[3]
    with pytest.raises(NotFoundError, match="bee"):
        latest("bee")


def test_references(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    backup_id = take(root(repository), "a/b")
    folder = root(repository) / backup_id
    archive = folder / "a%2Fb_20251101_120000.sql.zst"
    monkeypatch.chdir(folder)
    for reference in (
        backup_id,
        "latest",
        str(folder),
        f"{folder}/",
        str(folder / names.METADATA),
        "../" + backup_id,
    ):
        resolved = repository.resolve(reference)
        assert resolved.known_backup().id == backup_id
        assert resolved.archive_name is None
    for reference in (str(archive), archive.name, f"./{archive.name}"):
        resolved = repository.resolve(reference)
        assert resolved.known_backup().id == backup_id
        assert resolved.archive_name == f"{backup_id}/{archive.name}"
        assert resolved.repository.store.size(resolved.archive_name) == archive.stat().st_size


def test_an_archive_alone(repository: Repository, tmp_path: Path) -> None:
    backup_id = take(root(repository))
    (root(repository) / backup_id / names.METADATA).unlink()
    resolved = resolve_path(str(root(repository) / backup_id / "mydb_20251101_120000.sql.zst"))
    assert resolved.backup is None
    assert resolved.archive_name == "mydb_20251101_120000.sql.zst"
    assert resolved.repository.store.size(resolved.archive_name) > 0
    with pytest.raises(NotFoundError):
        resolved.known_backup()


@pytest.mark.parametrize(
    "reference", ["full_mydb_20251101_120000_a1b2", "full_mydb", "nothing", "/nowhere/x"]
)
def test_what_is_not_there(repository: Repository, reference: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        repository.resolve(reference)
    assert caught.value.hint


def test_the_nearest_ids_are_offered(repository: Repository) -> None:
    backup_id = take(root(repository))
    for reference in (backup_id[:-4], "full_mydb", backup_id[:-1] + "x"):
        with pytest.raises(NotFoundError) as caught:
            repository.resolve(reference)
        assert backup_id in (caught.value.hint or "")


@pytest.mark.parametrize(
    "database",
    ["with space", '"Weird ""name"', "new\nline", "-rf", "a/b", "..", "x" * 300, "größe", "select"],
)
def test_databases_of_any_name(repository: Repository, database: str) -> None:
    backup_id = take(root(repository), database)
    backup = repository.resolve("latest", database).known_backup()
    assert backup.id == backup_id
    assert backup.database == database
    assert [path.name for path in root(repository).parent.iterdir()] == ["repository"]


def test_records_are_added_and_stay(repository: Repository) -> None:
    backup_id = take(root(repository))
    for number in range(3):
        records.add(repository.store, backup_id, records.PIN, {"number": number})
    (root(repository) / backup_id / "records" / "20200101_000000_aaaaaaaa.json").write_text("{")
    found = repository.read(backup_id).records
    assert [record.kind for record in found] == [records.UNREADABLE, "pin", "pin", "pin"]
    assert {record.data["number"] for record in found[1:]} == {0, 1, 2}
    newest = records.last(found, records.PIN)
    assert newest is not None
    assert newest.time.endswith("+00:00")
    assert records.last(found, records.DRILL) is None
