"""What a user may write for a repository."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dbtool.errors import NotFoundError, StorageError, UsageError
from dbtool.storage.open import open_store


def test_a_path_and_its_url_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / 'with space, "quotes" & größe #1?'
    folder.mkdir()
    assert open_store(str(folder)).url == str(folder)
    assert open_store(f"file://{folder}").url == str(folder)
    assert open_store(f"file://localhost{folder}/../{folder.name}/").url == str(folder)
    assert open_store(folder.as_uri()).url == str(folder)


def test_relative_paths_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "-rf").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_store("-rf").url == str(tmp_path / "-rf")
    assert open_store("./-rf/..").url == str(tmp_path)
    assert open_store("~/-rf").url == str(tmp_path / "-rf")


def test_a_missing_directory(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with pytest.raises(NotFoundError):
        open_store(str(path))
    assert not path.parent.exists()
    open_store(str(path), create=True)
    for made in (path, path.parent):
        assert stat.S_IMODE(made.stat().st_mode) == 0o700


@pytest.mark.parametrize("url", ["s3://bucket/x", "gs://bucket", "az://container", "sftp://host/path"])
def test_kinds_to_come(url: str) -> None:
    with pytest.raises(UsageError, match="not supported in this version"):
        open_store(url, create=True)


@pytest.mark.parametrize("url", ["", "http://host/x", "file://host/x", "file://relative", "nul\0"])
def test_no_repository(url: str) -> None:
    with pytest.raises(UsageError):
        open_store(url, create=True)


def test_a_file_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises((StorageError, NotFoundError)):
            open_store(str(path))
        with pytest.raises(StorageError):
            open_store(str(path), create=True)
