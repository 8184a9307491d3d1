"""Which repository a command means."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from dbtool.config import repository, settings
from dbtool.config.settings import Settings
from dbtool.errors import UsageError

WHICH = ("postgres", 'my "db"\n/x', "localhost:5432")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path


def configured(path: str | None = None) -> Settings:
    return settings.load({"path": path}, use_files=False)


def test_the_option_then_the_setting_then_the_last_one_then_an_error(folder: Path) -> None:
    with pytest.raises(UsageError, match="no repository") as caught:
        repository.choose(None, configured(), *WHICH)
    assert caught.value.exit_code == 2
    repository.remember("last used", *WHICH)
    assert repository.choose(None, configured(), *WHICH) == str(folder / "last used")
    assert repository.choose(None, configured("/set"), *WHICH) == "/set"
    assert repository.choose("opt ion", configured("/set"), *WHICH) == str(folder / "opt ion")
    with pytest.raises(UsageError):
        repository.choose(None, configured(), "postgres", "other", "localhost:5432")
    with pytest.raises(UsageError):
        repository.choose(None, configured(), *WHICH[:2], "elsewhere:5432")


def test_what_is_remembered_is_private_and_replaced(folder: Path) -> None:
    repository.remember("s3://bucket/x", *WHICH)
    repository.remember("/b", "postgres", "other", "localhost:5432")
    repository.remember("/c", "postgres", "other", "localhost:5432")
    state = folder / "home/.local/state/dbtool"
    assert stat.S_IMODE((state / "repositories.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert len(list(state.iterdir())) == 1
    assert repository.choose(None, configured(), *WHICH) == "s3://bucket/x"
    assert repository.choose(None, configured(), "postgres", "other", "localhost:5432") == "/c"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"postgres a b": 5}', "\udcff"])
def test_a_broken_memory_is_as_none(folder: Path, content: str) -> None:
    file = folder / "home/.local/state/dbtool/repositories.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError):
        repository.choose(None, configured(), "postgres", "b", "a")
    repository.remember("/x", "postgres", "b", "a")
    assert repository.choose(None, configured(), "postgres", "b", "a") == "/x"


def test_a_home_that_cannot_be_written_is_no_error(folder: Path) -> None:
    (folder / "home").write_text("a file")
    repository.remember("/x", *WHICH)


def test_tilde_is_the_home_and_somebodys_tilde_is_a_name(folder: Path) -> None:
    assert repository.absolute("~/backups") == str(folder / "home/backups")
    assert repository.absolute("~nobody-of-that-name/b") == str(folder / "~nobody-of-that-name/b")
