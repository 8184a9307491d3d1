"""Names of backups and files, whatever the database is called."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtool.catalog import names
from dbtool.model.backup import BackupType

MOMENT = datetime(2025, 11, 1, 13, 0, 0, tzinfo=timezone(timedelta(hours=1)))


@pytest.mark.parametrize(
    ("database", "safe"),
    [
        ("mydb", "mydb"),
        ("my db", "my db"),
        ("größe", "größe"),
        ("数据", "数据"),
        ('"Weird ""name"', "%22Weird %22%22name%22"),
        ("-rf", "%2Drf"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("a-b.c", "a-b.c"),
        ("a/b\\c", "a%2Fb%5Cc"),
        ("100%", "100%25"),
        ("*?<>|:", "%2A%3F%3C%3E%7C%3A"),
        ("new\nline", "new%0Aline"),
        ("\x7f\x85", "%7F%C2%85"),
        ("\udcff", "%FF"),
        ("select", "select"),
    ],
)
def test_file_safe_names(database: str, safe: str) -> None:
    assert names.file_safe_name(database) == safe


@given(st.text(min_size=1, max_size=400))
def test_any_name_makes_a_file_name(database: str) -> None:
    safe = names.file_safe_name(database)
    assert len(safe.encode()) <= 150
    assert not set(safe) & set('/\\:*?"<>|\0\n')
    assert safe[0] not in ".-"
    backup_id = names.new_backup_id(BackupType.PARTIAL, database, MOMENT)
    assert names.is_backup_id(backup_id)
    assert names.id_parts(backup_id) == (BackupType.PARTIAL, safe, "2025-11-01T12:00:00+00:00")
    assert len(names.main_file_name(BackupType.PARTIAL, database, MOMENT).encode()) < 255


def test_long_names_stay_different() -> None:
    one, other = names.file_safe_name("ä" * 300), names.file_safe_name("ä" * 301)
    assert one != other
    assert one.startswith("ä" * 60)
    assert re.fullmatch("x(%2F)+~[0-9a-f]{8}", names.file_safe_name("x" + "/" * 300))


def test_ids_and_files_of_each_type() -> None:
    words = {"full": "", "partial": "_partial", "differential": "_diff", "incremental": "_incr"}
    prefixes = {"full": "full", "partial": "partial", "differential": "diff", "incremental": "incr"}
    for kind in BackupType:
        backup_id = names.new_backup_id(kind, "mydb", MOMENT)
        assert backup_id.startswith(f"{prefixes[kind.value]}_mydb_20251101_120000_")
        assert len(backup_id.rpartition("_")[2]) == 4
        file_name = names.main_file_name(kind, "mydb", MOMENT)
        assert file_name == f"mydb{words[kind.value]}_20251101_120000.sql.zst"


@pytest.mark.parametrize(
    "name", ["wal", "binlog", "full_mydb", "full_mydb_20251101_120000", "x_y_20251101_120000_a1b2"]
)
def test_other_folders_are_no_backups(name: str) -> None:
    assert not names.is_backup_id(name)
    assert names.id_parts(name) is None
