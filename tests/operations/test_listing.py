"""list and show, and how they look to a person."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tests.sample_backups import FIRST_MOMENT, begin, begin_differential, take, take_differential

from dbtool.catalog import names, records
from dbtool.catalog.repository import Repository
from dbtool.console.backup_views import render_list, render_show
from dbtool.errors import NotFoundError
from dbtool.model.backup import BackupType
from dbtool.operations.listing import list_backups, show
from dbtool.storage.local import LocalStore


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_an_empty_repository(tmp_path: Path) -> None:
    assert list_backups(LocalStore(tmp_path)) == []
    assert render_list([], 80, color=False) == "There are no backups here."


@pytest.mark.usefixtures("zone")
def test_the_table_a_person_reads(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    full = take(tmp_path, "größe")
    partial = take(tmp_path, "数据", FIRST_MOMENT + timedelta(days=1), BackupType.PARTIAL)
    records.add(store, partial, records.VERIFICATION, {"outcome": "passed"})
    failed = begin(Repository(store), "x\n\x1b[31my", FIRST_MOMENT + timedelta(days=2))
    failed.fail("no")
    lines = render_list(list_backups(store), 200, color=False).split("\n")
    assert lines[0].split() == ["id", "type", "database", "when", "took", "size", "ratio", "state"]
    assert lines[2].startswith(f"{full} ")
    assert "  full " in lines[2]
    assert "2025-11-01 13:00:00 CET" in lines[2]
    assert "12.5 s" in lines[2]
    assert lines[2].endswith("x  completed")
    assert lines[3].startswith(partial)
    assert lines[3].endswith("verified")
    assert lines[4].endswith("failed")
    assert "x\\x0a\\x1b[31my" in lines[4]
    assert len(lines) == 5
    coloured = render_list(list_backups(store), 200, color=True)
    assert "\x1b[32mcompleted\x1b[0m" in coloured
    assert "\x1b[31my" not in coloured


def test_a_narrow_terminal_cuts_no_id(tmp_path: Path) -> None:
    backup_id = take(tmp_path, "a_rather_long_name_of_a_database")
    text = render_list(list_backups(LocalStore(tmp_path)), 60, color=False)
    assert backup_id in text
    assert "a_rathe…" in text


def test_show_tells_everything(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    backup_id = take(tmp_path, label="before the move", warnings=("a foreign key\x07 was left out",))
    records.add(store, backup_id, records.PIN, {"reason": "year end"})
    document = show(store, "latest")
    stored = json.loads((tmp_path / backup_id / names.METADATA).read_text())
    assert {name: document[name] for name in stored} == stored
    assert document["status"] == "completed"
    assert document["backup_location"] == str(tmp_path / backup_id)
    assert document["records"][0]["data"] == {"reason": "year end"}
    json.dumps(document)
    text = render_show(document, color=False)
    for expected in (
        backup_id,
        "logical full",
        "before the move",
        "postgresql 15.18",
        "2,400 in 3 tables",
        "mydb_20251101_120000.sql.zst",
        "public.table2",
        "a foreign key\\x07 was left out",
        "pin year end",
    ):
        assert expected in text, expected


def test_show_what_was_never_completed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with begin(Repository(store), "shop") as running:
        document = show(store, running.id)
        assert document["status"] == "running"
    document = show(store, running.id)
    assert (document["status"], document["database"]) == ("failed", "shop")
    text = render_show(document, color=True)
    assert "it ended without being completed" in text
    assert "shop" in text


def test_show_the_largest_tables(tmp_path: Path) -> None:
    take(tmp_path, tables=25, chunks=1)
    text = render_show(show(LocalStore(tmp_path), "latest"), color=False)
    assert text.count(" rows  public.table") == 20
    assert "and 5 smaller ones" in text


def test_show_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        show(LocalStore(tmp_path), "latest")


def test_chains_are_listed_as_chains(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    hour = timedelta(hours=1)
    full = take(tmp_path)
    between = take(tmp_path, "other", FIRST_MOMENT + 2 * hour)
    first = take_differential(tmp_path, full)
    second = take_differential(tmp_path, full, FIRST_MOMENT + 3 * hour)
    with begin_differential(Repository(store), full, FIRST_MOMENT + 4 * hour) as running:
        lines = render_list(list_backups(store), 250, color=False).split("\n")
    assert [summary.id for summary in list_backups(store)] == [full, first, between, second, running.id]
    assert lines[0].split()[-3:] == ["of", "full", "state"]
    assert [line.split("  ")[0] for line in lines[2:]] == [
        full,
        f"├─ {first}",
        f"├─ {second}",
        f"└─ {running.id}",
        between,
    ]
    share = 100 * list_backups(store)[1].stored_bytes / list_backups(store)[0].stored_bytes
    assert f"{share:.1f} %  completed" in lines[3]
    assert "%" not in lines[2] + lines[5]
    assert lines[5].endswith("running")
    assert len({line.index("  2025-11-01") for line in lines[2:5]}) == 1


def test_show_of_a_differential_and_of_its_full(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    full = take(tmp_path)
    made = take_differential(tmp_path, full)
    document = show(store, made)
    assert document["parent"]["id"] == full
    assert document["differential"] == {
        "method": "rows",
        "deletes_covered": True,
        "unchanged": 1,
        "rows": 1,
        "whole": 1,
        "left_out": 0,
        "removed": 2,
    }
    text = render_show(document, color=False)
    for expected in (
        "logical differential",
        f"parent      {full}",
        "changes by  rows",
        "1 unchanged, 1 with changed rows, 1 whole",
        "removed     2 keys",
        "deletes     covered",
    ):
        assert expected in text, expected
    assert "public.table2" not in text
    (line,) = [line for line in text.splitlines() if "public.table0" in line]
    assert line.split()[2:] == ["5", "rows", "2", "removed", "rows", "public.table0"]
    by_time = take_differential(tmp_path, full, FIRST_MOMENT + timedelta(hours=2), "timestamp", removed=0)
    text = render_show(show(store, by_time), color=False)
    assert "deletes     not covered" in text
    assert "removed     " not in text
    document = show(store, full)
    assert [one["id"] for one in document["differentials"]] == [made, by_time]
    text = render_show(document, color=False)
    assert made in text
    assert by_time in text
    json.dumps(document)
