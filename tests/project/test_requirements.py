"""The locks: what a user installs is what was tested, and no lock says where it came from."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ("requirements.txt", "requirements-dev.lock", "requirements-demo.lock")
PYTHONS = ("3.10.13", "3.11.2", "3.12.1", "3.13.0")


def pins(name: str, python: str) -> dict[str, str]:
    """The versions that a lock would install on Linux with that Python."""
    environment = {
        "python_version": python.rpartition(".")[0],
        "python_full_version": python,
        "sys_platform": "linux",
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
    }
    pinned: dict[str, str] = {}
    for line in (ROOT / name).read_text().splitlines():
        text = line.partition("#")[0].rstrip("\\ ").strip()
        if not text or text == "." or text.startswith("--hash="):
            continue
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert re.fullmatch(r"==[^=*]+", str(requirement.specifier)), f"{name} does not pin {text}"
            assert canonicalize_name(requirement.name) not in pinned, f"{name} pins {requirement.name} twice"
            pinned[canonicalize_name(requirement.name)] = str(requirement.specifier)
    return pinned


@pytest.mark.parametrize("python", PYTHONS)
def test_what_a_user_installs_is_what_the_tests_ran_with(python: str) -> None:
    runtime, development = pins("requirements.txt", python), pins("requirements-dev.lock", python)
    assert runtime
    assert {name: development.get(name) for name in runtime} == runtime


@pytest.mark.parametrize("python", PYTHONS)
def test_every_dependency_is_locked_to_a_version_that_it_allows(python: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, development = pins("requirements.txt", python), pins("requirements-dev.lock", python)
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python}
    for pinned, wanted in (
        (runtime, project["project"]["dependencies"]),
        (development, project["dependency-groups"]["dev"]),
    ):
        for text in wanted:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate(environment):
                version = pinned[canonicalize_name(requirement.name)].removeprefix("==")
                assert requirement.specifier.contains(version), f"{text} is locked to {version}"


def test_dbtool_itself_comes_last() -> None:
    assert (ROOT / "requirements.txt").read_text().splitlines()[-1] == "."


def test_every_file_of_the_development_lock_has_a_hash() -> None:
    for name in LOCKS[1:]:
        entries = re.split(r"\n(?=\S)", (ROOT / name).read_text())
        for entry in entries:
            if not entry.startswith("#"):
                assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_a_registry(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    assert "index" not in text.replace("--hash", "")
