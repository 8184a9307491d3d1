"""The client program that suits a server is found, or the error says what to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtool.engines.postgres import tools
from dbtool.errors import DbtoolError, NotFoundError


def program(folder: Path, version: str, name: str = "pg_dump") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(tools, "_FOLDERS", (f"{tmp_path}/versions/*/bin",))


def test_the_same_major_and_its_newest_minor_wins(tmp_path: Path) -> None:
    for version in ("14.23", "15.3", "15.18", "16.14", "18.4"):
        program(tmp_path / "versions" / version / "bin", version)
    assert tools.find_tool("pg_dump", 150004).version_number == 150018
    assert tools.find_tool("pg_dump", 130001).version == "14.23"
    assert tools.find_tool("pg_dump", 170001).version == "18.4"


def test_path_counts_but_debians_wrapper_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = program(tmp_path / "share", "15.1", "pg_wrapper")
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "pg_dump").symlink_to(wrapper)
    monkeypatch.setenv("PATH", str(tmp_path / "usr"))
    with pytest.raises(NotFoundError):
        tools.find_tool("pg_dump", 150000)
    own = program(tmp_path / "own", "15.18")
    monkeypatch.setenv("PATH", f"{tmp_path}/usr:{tmp_path}/own")
    assert tools.find_tool("pg_dump", 150000).path == own


def test_a_named_folder_is_preferred_if_the_server_accepts_it(tmp_path: Path) -> None:
    program(tmp_path / "versions" / "15" / "bin", "15.18")
    own = program(tmp_path / "own folder", "17.10")
    assert tools.find_tool("pg_dump", 150000, [tmp_path / "own folder"]).path == own
    old = program(tmp_path / "old", "14.23")
    assert tools.find_tool("pg_dump", 150000, [old.parent]).version == "15.18"


def test_missing_and_too_old_say_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="pg_dump is not installed") as missing:
        tools.find_tool("pg_dump", 170000)
    assert "apt-get install postgresql-client-17" in str(missing.value.hint)
    program(tmp_path / "versions" / "15" / "bin", "15.18")
    with pytest.raises(DbtoolError, match=r"pg_dump 15\.18 is too old for a PostgreSQL 17 server"):
        tools.find_tool("pg_dump", 170000)


def test_programs_that_do_not_answer_are_passed_over(tmp_path: Path) -> None:
    broken = program(tmp_path / "versions" / "15" / "bin", "15.18")
    broken.write_text("#!/bin/sh\nexit 1\n")
    program(tmp_path / "versions" / "16" / "bin", "17beta1 (Debian 17~beta1)")
    found = tools.find_tool("pg_dump", 150000)
    assert (found.version, found.version_number) == ("17", 170000)


@pytest.mark.parametrize(
    ("version", "number", "dangerous"),
    [
        ("15.17", 150017, True),
        ("15.18", 150018, False),
        ("18.6", 180006, False),
        ("13.23", 130023, True),
        ("19.0", 190000, False),
    ],
)
def test_versions_with_known_holes_are_named(version: str, number: int, dangerous: bool) -> None:
    assert bool(tools.security_warning("psql", version, number)) is dangerous
