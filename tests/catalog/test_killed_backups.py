"""A process that dies anywhere leaves what is seen as interrupted, or a whole backup. Real processes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from tests.sample_backups import begin, run_python, take

from dbtool.catalog import index, names
from dbtool.catalog.repository import Repository
from dbtool.errors import DbtoolError, NotFoundError, StorageError
from dbtool.model.backup import Status
from dbtool.operations.listing import list_backups
from dbtool.operations.verify import verify
from dbtool.progress import Silent
from dbtool.storage.local import LocalStore

TAKE = """
import sys
from pathlib import Path
from tests.sample_backups import take
print(take(Path(sys.argv[1])))
"""
FAIL = """
import sys
from pathlib import Path
from dbtool.catalog.repository import Repository
from dbtool.storage.local import LocalStore
from tests.sample_backups import begin
running = begin(Repository(LocalStore(Path(sys.argv[1]))))
running.put_file("schema.sql", b"")
running.fail("the server went away")
"""
BEFORE = [
    "backup-begun",
    "artefact-before-commit",
    "artefact-committed",
    "manifest-written",
    "before-metadata",
]
AFTER = ["after-metadata", "before-catalogue"]


@pytest.mark.parametrize("place", BEFORE)
def test_killed_before_the_last_write(tmp_path: Path, place: str) -> None:
    child = run_python(TAKE, str(tmp_path), failpoint=f"{place}:kill")
    _, errors = child.communicate()
    assert child.returncode == -signal.SIGKILL, errors
    repository = Repository(LocalStore(tmp_path))
    (backup,) = repository.all()
    assert backup.status is Status.INTERRUPTED
    assert (backup.type, backup.database) == ("full", "mydb")
    (summary,) = list_backups(repository.store)
    assert summary.status == "interrupted"
    with pytest.raises(NotFoundError):
        repository.resolve("latest")
    with pytest.raises(DbtoolError):
        backup.completed()
    report = verify(repository.store, backup.id, Silent(), 1)
    assert "never completed" in report.findings[0].message
    after = take(tmp_path)
    assert repository.resolve("latest").known_backup().id == after
    assert [summary.status for summary in list_backups(repository.store)].count("completed") == 1


@pytest.mark.parametrize("place", AFTER)
def test_killed_after_the_last_write(tmp_path: Path, place: str) -> None:
    child = run_python(TAKE, str(tmp_path), failpoint=f"{place}:kill")
    _, errors = child.communicate()
    assert child.returncode == -signal.SIGKILL, errors
    store = LocalStore(tmp_path)
    (summary,) = list_backups(store)
    assert summary.status == "completed"
    assert verify(store, summary.id, Silent(), 1).findings == []
    assert index.read_entries(store) is None
    take(tmp_path)
    assert len(index.read_entries(store) or {}) == 2


def test_killed_while_failing(tmp_path: Path) -> None:
    child = run_python(FAIL, str(tmp_path), failpoint="failing:kill")
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    (backup,) = Repository(LocalStore(tmp_path)).all()
    assert backup.status is Status.INTERRUPTED


@pytest.mark.parametrize("place", BEFORE[1:])
def test_an_error_on_the_way_makes_it_failed(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBTOOL_FAILPOINT", f"{place}:error")
    with pytest.raises(DbtoolError, match=place):
        take(tmp_path)
    (backup,) = Repository(LocalStore(tmp_path)).all()
    assert backup.status is Status.FAILED
    assert place in (backup.problem or "")
    left = [path.name for path in (tmp_path / backup.id).rglob("*") if path.is_file()]
    assert len(left) == 1


def test_running_until_killed(tmp_path: Path) -> None:
    child = run_python(TAKE, str(tmp_path), failpoint="artefact-before-commit:sleep")
    store = LocalStore(tmp_path)
    deadline = time.monotonic() + 20
    while not any(tmp_path.glob("full_*/running.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    (summary,) = list_backups(store)
    assert summary.status == "running"
    with pytest.raises(DbtoolError, match="still being taken"):
        verify(store, summary.id, Silent(), 1)
    os.kill(child.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10  # a dead child that nobody waited for counts as dead
    while list_backups(store)[0].status == "running" and time.monotonic() < deadline:
        time.sleep(0.02)
    (summary,) = list_backups(store)
    assert summary.status == "interrupted"
    child.communicate()


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Blind kills, a little later each time: whatever is left, what says completed verifies."""
    store = LocalStore(tmp_path)
    for step in range(12):
        child = run_python(
            "import os, sys; from pathlib import Path\nfrom tests.sample_backups import take\n"
            "print('ready', flush=True)\ntake(Path(sys.argv[1]))",
            str(tmp_path),
        )
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(step * 0.003)
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    for summary in list_backups(store):
        assert summary.status in ("completed", "interrupted")
        if summary.status == "completed":
            assert verify(store, summary.id, Silent(), 1).findings == []


def test_the_disk_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system of 1 MB where we may mount one; the failure is recorded once the artefacts are gone."""
    mounted = tmp_path / "small"
    mounted.mkdir()
    mount = run_python(
        "import os, sys; os.execvp('mount', ['mount', '-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', sys.argv[1]])",
        str(mounted),
    )
    mount.communicate()
    if mount.returncode != 0:
        pytest.skip("this account may not mount a small file system")
    try:
        repository = Repository(LocalStore(mounted))
        with (
            pytest.raises(StorageError, match="no space is left"),
            begin(repository) as running,
            running.put_artefact("a.sql.zst") as upload,
        ):
            upload.write(os.urandom(4_000_000))
        backup = repository.read(running.id)
        assert backup.status is Status.FAILED
        assert "no space is left" in (backup.problem or "")
        assert json.loads((mounted / names.CATALOGUE).read_text())["backups"][0]["status"] == "failed"
    finally:
        run_python("import os, sys; os.execvp('umount', ['umount', sys.argv[1]])", str(mounted)).communicate()
