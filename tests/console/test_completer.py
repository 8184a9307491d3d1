"""Completion on a console line: commands, options, values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from dbtool.console.completer import ConsoleCompleter
from dbtool.console.names_index import NamesIndex
from dbtool.engines.session import Names, Relation


class Known:
    """A small database and repository."""

    def names(self) -> NamesIndex:
        relations = (
            Relation(
                "public", "users", "table", columns=(("updated_at", "timestamp"), ("last seen", "date"))
            ),
            Relation("public", "two words", "table"),
            Relation("public", "a_view", "view"),
            Relation("audit", "log", "table", visible=False),
        )
        return NamesIndex(Names(relations=relations, databases=("mydb", "shop")))

    def backups(self, repository: str | None) -> Sequence[tuple[str, str]]:
        if repository == "/other":
            return [("full_shop_20251102_120000_c3d4", "2025-11-02 12:00:00 UTC  1.0 MB")]
        return [
            ("full_mydb_20251101_120000_a1b2", "2025-11-01 12:00:00 UTC  2.0 MB"),
            ("diff_mydb_20251102_120000_b2c3", "2025-11-02 12:00:00 UTC  1.0 kB"),
        ]


def offered(text: str) -> list[str]:
    """What is offered at the end of the text."""
    return [suggestion.text for suggestion in ConsoleCompleter(Known()).suggestions(text, len(text))[1]]


def completed(text: str) -> list[str]:
    """The line as it is when each suggestion is taken."""
    start, found = ConsoleCompleter(Known()).suggestions(text, len(text))
    return [text[:start] + suggestion.text for suggestion in found]


def test_commands_are_offered_at_the_beginning() -> None:
    assert {"full database", "full tables", "list", "restore", "SQL", "help", "exit"} <= set(offered(""))
    assert completed("fu") == ["full database", "full tables"]
    assert completed("full ta") == ["full tables"]
    assert completed("help res") == ["help restore"]
    assert completed("sq") == ["SQL"]
    assert offered("nonsense ") == []


def test_options_are_offered_once_and_in_the_way_they_are_begun() -> None:
    assert offered("list -") == ["-path", "-json"]
    assert offered("list --p") == ["--path"]
    assert offered("list -json -") == ["-path"]
    assert "-tablename" in offered("full tables -tablename users -")
    assert offered("full database -method ") == ["logical", "physical"]
    assert offered("full database -method=l") == ["logical"]


def test_tables_are_offered_as_the_option_takes_them() -> None:
    assert completed("full tables -tablename us") == ["full tables -tablename users"]
    assert completed("full tables -tablename tw") == ["full tables -tablename 'two words'"]
    assert completed("full tables -tablename 'tw") == ["full tables -tablename 'two words'"]
    assert completed("full tables -tablename audit.") == ["full tables -tablename audit.log"]
    assert offered("full tables -tablename a_v") == []
    assert offered("restore latest -tables users lo") == ["audit.log"]


def test_backups_are_offered_with_date_and_size() -> None:
    text = "show "
    found = ConsoleCompleter(Known()).suggestions(text, len(text))[1]
    by_text = {suggestion.text: suggestion.meta for suggestion in found}
    assert by_text["full_mydb_20251101_120000_a1b2"] == "2025-11-01 12:00:00 UTC  2.0 MB"
    assert "latest" in by_text
    assert offered("verify 20251101") == ["full_mydb_20251101_120000_a1b2"]
    assert offered("restore diff") == ["diff_mydb_20251102_120000_b2c3"]
    assert offered("differential backup -base ") == ["full_mydb_20251101_120000_a1b2"]
    assert offered("show -path /other full") == ["full_shop_20251102_120000_c3d4"]
    assert "latest" not in offered("show latest ")
    assert offered("restore latest -into s") == ["shop"]


def test_folders_are_offered_quoted_where_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("backups", "my backups", ".hidden", "ünïcödé"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    assert offered("list -path ") == ["backups/", "my\\ backups/", "ünïcödé/"]
    assert offered("list -path my") == ["my\\ backups/"]
    assert offered("list -path 'my") == ["'my backups/"]
    assert offered(f"list -path {tmp_path}/b") == [f"{tmp_path}/backups/"]
    assert offered(f"SQL SELECT 1 -extract -path {tmp_path}/b") == [f"{tmp_path}/backups/"]
    assert offered("list -path .h") == [".hidden/"]


def test_sql_has_its_own_completion_and_its_options_at_the_end() -> None:
    assert completed("SQL SELECT * FROM us") == ["SQL SELECT * FROM users"]
    assert completed("sql select 1 -e") == ["sql select 1 -extract"]
    assert offered("SQL SELECT 1 -extract -") == ["-path", "-format", "-yes", "-json"]
    assert offered("SQL SELECT 1 -extract -format ") == ["csv", "tsv", "jsonl"]
    assert offered("SQL SELECT ' -e") == []


def test_describing_offers_tables() -> None:
    assert completed("\\d us") == ["\\d users"]
    assert completed("\\d two") == ['\\d "two words"']
    assert "\\timing" in offered("\\t")


def test_columns_are_offered_for_the_column_of_a_differential() -> None:
    assert completed("differential backup -method timestamp -column up") == [
        "differential backup -method timestamp -column updated_at"
    ]
    assert offered("differential backup -column last") == ["'last seen'"]
    assert offered("differential backup -method ") == ["auto", "rows", "timestamp", "blocks"]
    assert completed("diff") == ["differential backup"]
