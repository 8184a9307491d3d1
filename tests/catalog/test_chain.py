"""Chains: whole ones are given from the full on, broken ones refused with what can be restored instead."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.sample_backups import FIRST_MOMENT, begin, begin_differential, take, take_differential

from dbtool.catalog import names, records
from dbtool.catalog.chain import chain_of, is_whole, newest_restorable
from dbtool.catalog.repository import Repository
from dbtool.errors import DbtoolError, RefusedError, VerificationError
from dbtool.model.backup import BackupType
from dbtool.storage.local import LocalStore

DAY = timedelta(days=1)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(LocalStore(tmp_path))


def root(repository: Repository) -> Path:
    return Path(repository.store.url)


def ids_of_chain(repository: Repository, backup_id: str) -> list[str]:
    return [one.id for one in chain_of(repository, repository.read(backup_id))]


def test_a_chain_begins_with_its_full(repository: Repository) -> None:
    full = take(root(repository))
    made = take_differential(root(repository), full)
    later = take_differential(root(repository), full, FIRST_MOMENT + DAY)
    assert ids_of_chain(repository, full) == [full]
    assert ids_of_chain(repository, made) == [full, made]
    assert ids_of_chain(repository, later) == [full, later]


def _delete(folder: Path) -> None:
    for path in folder.iterdir():
        if path.name != names.DIFFERENTIALS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lose_archive(folder: Path) -> None:
    next(folder.glob("*.sql.zst")).unlink()


def _cut_archive(folder: Path) -> None:
    path = next(folder.glob("*.sql.zst"))
    path.write_bytes(path.read_bytes()[:-1])


def _damage(folder: Path) -> None:
    path = folder / names.METADATA
    path.write_bytes(path.read_bytes().replace(b'"rows": 800', b'"rows": 801', 1))


def _retake(folder: Path) -> None:
    """Another backup, whole in itself, takes the place of the full."""
    other = take(folder.parent / "elsewhere", label="another")
    elsewhere = folder.parent / "elsewhere" / other
    shutil.copy(elsewhere / names.METADATA, folder / names.METADATA)
    shutil.rmtree(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("harm", "kind", "message"),
    [
        (_delete, RefusedError, "is interrupted: it has no metadata.json"),
        (_damage, VerificationError, "is damaged"),
        (_retake, VerificationError, "is not what it was then"),
        (_lose_archive, VerificationError, "lacks mydb_20251102_120000.sql.zst"),
        (_cut_archive, VerificationError, "bytes instead of"),
    ],
)
def test_a_broken_chain_is_refused_and_names_what_can_be_restored(
    repository: Repository, harm: Callable[[Path], None], kind: type[DbtoolError], message: str
) -> None:
    old_full = take(root(repository))
    old = take_differential(root(repository), old_full)
    take(root(repository), "other", FIRST_MOMENT + 9 * DAY)
    take(root(repository), started=FIRST_MOMENT + 9 * DAY, type=BackupType.PARTIAL)
    failed = begin(repository, started=FIRST_MOMENT + 9 * DAY)
    failed.fail("no")
    full = take(root(repository), started=FIRST_MOMENT + DAY)
    made = take_differential(root(repository), full, FIRST_MOMENT + 2 * DAY)
    assert newest_restorable(repository, "mydb", "postgres") == repository.read(made)
    assert newest_restorable(repository, "mydb", "mysql") is None
    harm(root(repository) / full)
    with pytest.raises(kind) as caught:
        chain_of(repository, repository.read(made))
    assert message in caught.value.message
    assert full in caught.value.message
    assert old in (caught.value.hint or "")
    assert "2025-11-01 13:00:00 UTC" in (caught.value.hint or "")
    assert not is_whole(repository, repository.read(made))
    assert ids_of_chain(repository, old) == [old_full, old]


def test_nothing_else_to_restore(repository: Repository) -> None:
    full = take(root(repository))
    made = take_differential(root(repository), full)
    _damage(root(repository) / full)
    with pytest.raises(VerificationError) as caught:
        chain_of(repository, repository.read(made))
    assert "no backup of mydb here can be restored" in (caught.value.hint or "")


def test_a_differential_that_is_not_whole_itself(repository: Repository) -> None:
    full = take(root(repository))
    made = take_differential(root(repository), full)
    with begin_differential(repository, full, FIRST_MOMENT + DAY) as running:
        pass
    with pytest.raises(RefusedError, match="is failed") as caught:
        chain_of(repository, repository.read(running.id))
    assert made in (caught.value.hint or "")
    _lose_archive(root(repository) / repository.read(made).folder)
    with pytest.raises(VerificationError, match="lacks mydb_diff") as found:
        chain_of(repository, repository.read(made))
    assert full in (found.value.hint or "")


def test_a_full_that_failed_its_verification_is_not_offered(repository: Repository) -> None:
    full = take(root(repository))
    made = take_differential(root(repository), full)
    records.add(repository.store, full, records.VERIFICATION, {"outcome": "failed"})
    assert not is_whole(repository, repository.read(made))
    assert newest_restorable(repository, "mydb", "postgres") is None
    records.add(repository.store, full, records.VERIFICATION, {"outcome": "passed"})
    assert newest_restorable(repository, "mydb", "postgres") == repository.read(made)


def test_a_full_whose_folder_was_renamed_is_still_its_parent(repository: Repository) -> None:
    full = take(root(repository))
    made = take_differential(root(repository), full)
    (root(repository) / full).rename(root(repository) / "kept for the audit")
    assert ids_of_chain(repository, made) == ["kept for the audit", made]


def test_a_differential_below_another_full_still_names_its_own(repository: Repository) -> None:
    full = take(root(repository))
    made = take_differential(root(repository), full)
    other = take(root(repository), started=FIRST_MOMENT + DAY)
    moved = root(repository) / other / names.DIFFERENTIALS / "20251101_130000"
    (root(repository) / full / names.DIFFERENTIALS / "20251101_130000").rename(moved)
    assert ids_of_chain(repository, made) == [full, made]
    shutil.rmtree(root(repository) / full)
    with pytest.raises(RefusedError, match=f"{full}, which {made} builds upon, is missing"):
        chain_of(repository, repository.read(made))
