"""The awkward database goes out, and what comes back is what a native dump and restore gives."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.fidelity.building import create_database, native_copy, psql
from tests.fidelity.conftest import Awkward, NewName
from tests.fidelity.dbtool_runs import Dbtool, archive_of
from tests.fidelity.picture import difference, take_picture

from dbtool.model.connection import Connection


def _assert_faithful(awkward: Awkward, copy: Connection, parts: tuple[str, ...] = ()) -> None:
    picture = take_picture(copy, awkward.server.bin_directory)
    assert "\n".join(difference(awkward.expected, picture, parts)) == ""


def _plain_text(archive: Path) -> bytes:
    return subprocess.run(["zstd", "-dcq", archive], capture_output=True, check=True).stdout


def test_through_dbtool(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    metadata = dbtool.backup(awkward.source)
    copy = new_name()
    report = dbtool.restore(metadata["id"], copy)
    _assert_faithful(awkward, copy)
    assert report["status"] == "completed"
    assert report["compared"] is True
    assert report["rows"] == metadata["statistics"]["total_rows_processed"]
    dbtool.run(["verify", metadata["id"], "--path", str(dbtool.repository)])


def test_through_psql(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    """Stock tools only, as RESTORE.md says."""
    metadata = dbtool.backup(awkward.source)
    copy = new_name()
    create_database(awkward.server.connection(), copy.database)
    done = psql(copy, awkward.server.bin_directory, _plain_text(archive_of(metadata)))
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    _assert_faithful(awkward, copy)


def test_each_worker_count_gives_the_same(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    metadata = dbtool.backup(awkward.source, "full", "database", "-jobs", "1")
    copy = new_name()
    dbtool.restore(metadata["id"], copy, "--jobs", "1")
    _assert_faithful(awkward, copy)
    again = dbtool.backup(awkward.source, "full", "database", "-jobs", "4")
    other = new_name()
    dbtool.restore(again["id"], other, "--jobs", "4")
    _assert_faithful(awkward, other)


def test_backup_of_the_copy_is_the_same_backup(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    """Counts and digests are of the rows, whatever server or order they come from."""
    first = dbtool.backup(awkward.source)
    copy = new_name()
    dbtool.restore("latest", copy)
    second = dbtool.backup(copy)
    assert _digests(first) == _digests(second)


def _digests(metadata: dict[str, Any]) -> dict[tuple[str, str], tuple[int, str]]:
    # Rows lie in other leaves where an enum's hash decides; heirs made by ALTER get another order of columns.
    otherwise = ("by_mood", "adopted", "heir", "grandchild")
    return {
        (table["schema"], table["name"]): (table["rows"], table["digest"])
        for table in metadata["tables"]
        if not table["name"].startswith(otherwise)
    }


def test_from_the_archive_alone(awkward: Awkward, dbtool: Dbtool, new_name: NewName, tmp_path: Path) -> None:
    metadata = dbtool.backup(awkward.source)
    folder = tmp_path / "saved from a broken disk"
    folder.mkdir()
    archive = Path(shutil.copy(archive_of(metadata), folder / "only this.sql.zst"))
    copy = new_name()
    done = dbtool.run(dbtool.restore_arguments(str(archive), copy))
    assert done.returncode == 0
    _assert_faithful(awkward, copy)


def test_by_path_when_metadata_is_lost(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    metadata = dbtool.backup(awkward.source)
    (Path(metadata["backup_location"]) / "metadata.json").unlink()
    copy = new_name()
    dbtool.restore(str(archive_of(metadata)), copy)
    _assert_faithful(awkward, copy)


def test_into_an_existing_empty_database(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    dbtool.backup(awkward.source)
    copy = new_name()
    create_database(awkward.server.connection(), copy.database)
    dbtool.restore("latest", copy)
    contents = tuple(
        field.name for field in dataclasses.fields(awkward.expected) if field.name != "properties"
    )
    _assert_faithful(awkward, copy, contents)


@pytest.mark.parametrize(
    ("options", "dump_options"),
    [
        (("--no-owner",), ("--no-owner",)),
        (("--no-privileges",), ("--no-privileges",)),
        (("--no-owner", "--no-privileges"), ("--no-owner", "--no-privileges")),
    ],
    ids=["no owner", "no privileges", "neither"],
)
def test_without_owners_or_privileges(
    awkward: Awkward,
    dbtool: Dbtool,
    new_name: NewName,
    options: tuple[str, ...],
    dump_options: tuple[str, ...],
) -> None:
    programs = awkward.server.bin_directory
    dbtool.backup(awkward.source)
    copy, native = new_name(), new_name()
    dbtool.restore("latest", copy, *options)
    create_database(awkward.server.connection(), native.database)
    native_copy(awkward.source, native, programs, dump_options)
    expected, found = take_picture(native, programs), take_picture(copy, programs)
    parts = ("schema", "storage", "tables", "sequences", "large_objects", "materialized_views")
    assert "\n".join(difference(expected, found, parts)) == ""
    if "--no-owner" in options:
        assert found.properties["owner"] == "postgres"
    if "--no-privileges" in options:
        assert "awkward_reader" not in found.properties["privileges"]


def test_replace(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    """Refused without a word; with it, the backup stands in the old one's place, subscriptions and all."""
    dbtool.backup(awkward.source)
    copy = new_name()
    dbtool.restore("latest", copy)
    damage = b"""DROP SCHEMA "-rf" CASCADE; INSERT INTO app.empty_table VALUES (1); DROP VIEW app.circular CASCADE"""
    damaged = psql(copy, awkward.server.bin_directory, damage)
    assert damaged.returncode == 0, damaged.stderr
    before = take_picture(copy, awkward.server.bin_directory)
    refused = dbtool.run(dbtool.restore_arguments("latest", copy), expect=9)
    assert b"--replace" in refused.stderr
    assert difference(before, take_picture(copy, awkward.server.bin_directory)) == []
    dbtool.restore("latest", copy, "--replace")
    _assert_faithful(awkward, copy)
    databases = psql(copy, awkward.server.bin_directory, b"SELECT datname FROM pg_database", ("-XAtq",))
    left = [name for name in databases.stdout.decode().split("\n") if "dbtool" in name]
    assert left == []


def test_dry_run_changes_nothing(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    dbtool.backup(awkward.source)
    copy = new_name()
    dbtool.restore("latest", copy, "--dry-run")
    databases = psql(
        awkward.source, awkward.server.bin_directory, b"SELECT datname FROM pg_database", ("-XAtq",)
    )
    assert copy.database not in databases.stdout.decode().split("\n")


def test_empty_database(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    empty, copy = new_name(), new_name()
    create_database(awkward.server.connection(), empty.database)
    metadata = dbtool.backup(empty)
    assert metadata["statistics"]["total_rows_processed"] == 0
    dbtool.restore(metadata["id"], copy)
    programs = awkward.server.bin_directory
    assert difference(take_picture(empty, programs), take_picture(copy, programs)) == []
