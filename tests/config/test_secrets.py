"""Passwords come from files, programs, the environment or a literal; others cannot read or plant them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbtool import redaction
from dbtool.config import settings
from dbtool.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return here


def password(profile: str | None = None) -> str | None:
    return settings.load({}, profile).connection("postgres", "d").password


def toml(folder: Path, text: str, mode: int = 0o600) -> Path:
    file = folder / "dbtool.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


@pytest.mark.parametrize(
    ("content", "expected"), [("pw", "pw"), ("pw\n", "pw"), ("pw\r\n", "pw"), (" p w ", " p w ")]
)
def test_a_password_file_loses_one_line_end(folder: Path, content: str, expected: str) -> None:
    (folder / "pw").write_bytes(content.encode())
    toml(folder, 'password_file = "pw"', 0o644)
    assert password() == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"a\nb\n", "more than one"), (b"\xff", "UTF-8")],
)
def test_an_unusable_password_file_is_named(folder: Path, content: bytes, message: str) -> None:
    (folder / "pw").write_bytes(content)
    toml(folder, 'password_file = "pw"')
    with pytest.raises(UsageError, match=message) as caught:
        password()
    assert str(folder / "pw") in caught.value.message or message == "UTF-8"


def test_a_password_command_runs_without_a_shell(folder: Path) -> None:
    toml(folder, "password_command = ['/bin/echo', 'a b; $HOME']")
    assert password() == "a b; $HOME"
    toml(folder, "password_command = \"/bin/echo 'a b' c\"")
    assert password() == "a b c"


def test_a_failing_password_command_says_why_and_shows_no_output(folder: Path) -> None:
    toml(folder, "password_command = ['/bin/sh', '-c', 'echo half-a-secret; echo locked >&2; exit 1']")
    with pytest.raises(UsageError) as caught:
        password()
    assert caught.value.message == "password_command: sh failed: locked"
    toml(folder, "password_command = ['/nonexistent/vault']")
    with pytest.raises(UsageError, match="cannot start vault"):
        password()


def test_settings_are_shown_without_running_the_command(folder: Path) -> None:
    toml(folder, "password_command = ['/bin/sh', '-c', 'touch ran']")
    settings.load({}).show()
    assert not (folder / "ran").exists()


def test_a_later_source_replaces_the_earlier_ones_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("DB_PASSWORD=literal\n")
    toml(folder, "[profiles.p]\npassword_command = ['/bin/echo', 'from-command']")
    assert password() == "literal"
    assert password("p") == "from-command"
    monkeypatch.setenv("DB_PASSWORD", "from-environment")
    assert password("p") == "from-environment"
    found = settings.load({"password": "given"}, "p")
    assert found.connection("postgres", "d").password == "given"
    assert any("command line" in note for note in found.notes)


def test_two_ways_in_one_place_are_refused(folder: Path) -> None:
    toml(folder, "password = 'a'\npassword_file = 'b'")
    with pytest.raises(UsageError, match="password and password_file are both set"):
        settings.load({})


@pytest.mark.parametrize("mode", [0o640, 0o604])
@pytest.mark.parametrize("text", ["password = 'hush-hush'", "[profiles.other]\npassword = 'hush-hush'"])
def test_a_toml_with_a_password_that_others_can_read_is_refused(folder: Path, text: str, mode: int) -> None:
    file = toml(folder, text, mode)
    with pytest.raises(UsageError, match="can be read by others") as caught:
        settings.load({})
    assert f"chmod 600 {file}" in str(caught.value.hint)
    assert "hush" not in f"{caught.value.message}{caught.value.hint}"
    file.chmod(0o600)
    settings.load({})


@pytest.mark.parametrize("text", ["password_command = 'id'", "client_directory = 'bin'"])
def test_a_file_that_others_can_write_starts_no_programs(folder: Path, text: str) -> None:
    toml(folder, text, 0o666)
    with pytest.raises(UsageError, match="others can change it"):
        settings.load({})


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a file somebody else's")
def test_somebody_elses_file_starts_no_programs(folder: Path) -> None:
    file = folder / ".env"
    file.write_text("DB_PASSWORD_COMMAND=id\n")
    os.chown(file, 65534, 65534)
    with pytest.raises(UsageError, match="others can change it"):
        settings.load({})


def test_a_password_once_read_is_hidden_from_then_on(folder: Path) -> None:
    (folder / ".env").write_text("DB_PASSWORD=Tr0ub4dor\n")
    password()
    assert redaction.redact("tried Tr0ub4dor, failed") == "tried ***, failed"
