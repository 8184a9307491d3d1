"""The history: kept, private, and without passwords."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dbtool.console.history import PrivateHistory, history_path, holds_secret


@pytest.mark.parametrize(
    "line",
    [
        "SQL ALTER USER bob PASSWORD 'x'",
        "SQL CREATE ROLE bob LOGIN ENCRYPTED PASSWORD 'x'",
        "sql create user mapping for bob server s options (user 'u', password 'x')",
        "SQL CREATE SUBSCRIPTION s CONNECTION 'host=h password=x' PUBLICATION p",
        "SQL ALTER USER bob IDENTIFIED BY 'x'",
        "SQL SELECT dblink('postgres://u:x@host/db')",
        "restore latest -into x -password secret",
        "SQL SET my.pwd = 'x'",
    ],
)
def test_a_password_is_seen(line: str) -> None:
    assert holds_secret(line)


@pytest.mark.parametrize(
    "line", ["SQL SELECT password FROM users", "list -path /b", "SQL SELECT passwords FROM t"]
)
def test_other_lines_are_kept(line: str) -> None:
    assert not holds_secret(line)


def test_lines_survive_but_secrets_do_not(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    old_mask = os.umask(0)
    try:
        history = PrivateHistory(path)
        history.append_string("SQL SELECT 1")
        history.append_string("SQL ALTER USER bob PASSWORD 'hunter2'")
    finally:
        os.umask(old_mask)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert "hunter2" not in path.read_text()
    assert list(PrivateHistory(path).load_history_strings()) == ["SQL SELECT 1"]


def test_a_long_history_keeps_its_newest_part(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text("".join(f"\n# 2025-01-01 00:00:00\n+SQL SELECT {number}\n" for number in range(60_000)))
    history = PrivateHistory(path)
    kept = list(history.load_history_strings())
    assert kept[0] == "SQL SELECT 59999"
    assert all(line.startswith("SQL SELECT ") for line in kept)
    assert path.stat().st_size <= 1_000_000


def test_it_lies_in_the_users_state_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert history_path() == tmp_path / "dbtool" / "history"
