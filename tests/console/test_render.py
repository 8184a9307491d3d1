"""Results on a terminal: aligned, harmless, whole; and through the pager without filling memory."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from wcwidth import wcswidth

from dbtool.console import pager
from dbtool.console.render import Style, cut, display_width, json_document, show, wrapped
from dbtool.engines.postgres.session import PostgresSession
from dbtool.model.connection import Connection


@pytest.fixture
def session(database: Connection) -> Iterator[PostgresSession]:
    opened = PostgresSession(database)
    yield opened
    opened.close()


def shown(session: PostgresSession, statement: str, style: Style) -> list[str]:
    """The lines of the last statement's result, and the line below it."""
    lines: list[str] = []
    for result in session.run(statement):
        out = io.StringIO()
        footer = show(result, style, out)
        lines = [*out.getvalue().split("\n")[:-1], footer]
    return lines


def test_columns_are_aligned_numbers_to_the_right(session: PostgresSession) -> None:
    statement = "SELECT * FROM (VALUES (1, 'one', NULL), (200, '日本', 'x')) AS v (number, name, \"nothing\")"
    assert shown(session, statement, Style(width=80)) == [
        "number │ name │ nothing",
        "───────┼──────┼────────",
        "     1 │ one  │ NULL",
        "   200 │ 日本 │ x",
        "(2 rows)",
    ]
    assert shown(session, "SELECT 1 AS a, 'x' AS b", Style(is_unicode=False)) == [
        "a | b",
        "--+--",
        "1 | x",
        "(1 row)",
    ]


def test_what_a_terminal_would_obey_is_shown_escaped(session: PostgresSession) -> None:
    lines = shown(session, "SELECT E'\\x1b[31mred\\x07\\nnext\\ttab\\u202e' AS \"na\x1bme\"", Style(width=80))
    assert lines[0] == "na\\x1bme"
    assert lines[2] == "\\x1b[31mred\\x07↵next⇥tab\\u202e"
    for form in (Style(), Style(width=40, expanded=True), Style(width=40, is_unicode=False)):
        text = "".join(shown(session, "SELECT E'\\x1b[2J\\u009b1m' AS a", form))
        assert "\x1b" not in text
        assert "\x9b" not in text


def test_null_is_dim_and_headings_are_bold_in_colour(session: PostgresSession) -> None:
    lines = shown(session, "SELECT NULL AS a, 'NULL' AS b", Style(width=80, color=True))
    assert lines[0] == "\x1b[1ma\x1b[0m    │ \x1b[1mb\x1b[0m"
    assert lines[2] == "\x1b[2mNULL\x1b[0m │ NULL"


def test_wide_text_is_cut_to_fit_and_that_is_said(session: PostgresSession) -> None:
    lines = shown(
        session, "SELECT 123456 AS id, repeat('日本 ', 99) AS a, repeat('x', 300) AS b", Style(width=60)
    )
    assert all(wcswidth(line) <= 60 for line in lines[:-1])
    assert lines[2].startswith("123456 │ 日本")
    assert lines[2].count("…") == 2
    assert "cut" in lines[-1]
    unlimited = shown(session, "SELECT repeat('x', 300) AS b", Style())
    assert "x" * 300 in unlimited[2]


def test_many_columns_become_records(session: PostgresSession) -> None:
    statement = "SELECT " + ", ".join(f"{number} AS column_{number}" for number in range(30))
    lines = shown(session, statement, Style(width=80))
    assert lines[0].startswith("─[ 1 ]")
    assert lines[1:3] == ["column_0  │ 0", "column_1  │ 1"]
    assert len(shown(session, statement, Style(width=80, expanded=False))) == 4


def test_records_show_values_whole(session: PostgresSession) -> None:
    lines = shown(
        session,
        "SELECT 1 AS a, E'two\\n' || repeat('日本', 40) AS b, NULL AS c",
        Style(width=50, expanded=True),
    )
    assert "b │ two" in lines
    assert "".join(line[4:] for line in lines if "日" in line) == "日本" * 40
    assert all(wcswidth(line) <= 50 for line in lines)
    assert "c │ NULL" in lines


def test_statements_without_rows_and_results_without_columns(session: PostgresSession) -> None:
    assert shown(session, "CREATE TABLE t ()", Style(width=80)) == ["CREATE TABLE"]
    assert shown(session, "SELECT FROM generate_series(1, 3)", Style(width=80)) == ["(3 rows)"]
    assert shown(session, "SELECT 1 AS a WHERE false", Style(width=80)) == ["a", "─", "(0 rows)"]
    assert shown(session, "COPY (SELECT 1, E'\\x1b') TO STDOUT", Style(width=80))[0] == "1\t\\x1b"


def test_widths_grow_with_later_rows(session: PostgresSession) -> None:
    statement = (
        "SELECT repeat('x', CASE WHEN i > 2000 THEN 9 ELSE 1 END) AS a, i FROM generate_series(1, 2500) i"
    )
    lines = shown(session, statement, Style(width=80))
    assert lines[2] == "x │    1"
    assert lines[-2] == "xxxxxxxxx │ 2500"
    assert lines[-1] == "(2,500 rows)"


def test_json_is_one_document(session: PostgresSession) -> None:
    text = "".join(
        json_document(session.run("SELECT 1 AS a, 'x' AS a, NULL AS b; CREATE TABLE t (); TABLE t"))
    )
    first, second, third = json.loads(text)["results"]
    assert first["rows"] == [{"a": 1, "a_2": "x", "b": None}]
    assert first["columns"][0] == {"name": "a", "type": "int4"}
    assert (first["row_count"], first["status"]) == (1, "SELECT 1")
    assert (second["columns"], second["rows"], second["status"]) == (None, [], "CREATE TABLE")
    assert third["rows"] == []


def a_pager(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A pager that is a Python script; it writes what it read to the file that is returned."""
    seen = folder / "seen"
    program = folder / "the pager.py"
    program.write_text(f"import sys\nseen = open({str(seen)!r}, 'w')\n{script}\n")
    monkeypatch.setenv("PAGER", f"'{sys.executable}' '{program}'")
    return seen


def test_what_is_longer_than_the_terminal_goes_through_the_pager(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: PostgresSession
) -> None:
    seen = a_pager(tmp_path, monkeypatch, "seen.write(sys.stdin.read())")
    out = io.StringIO()
    (result,) = session.run("SELECT generate_series(1, 5000) AS a")
    assert show(result, Style(width=80), out, height=24) == "(5,000 rows)"
    assert out.getvalue() == ""
    assert len(seen.read_text().splitlines()) == 5002
    (result,) = session.run("SELECT generate_series(1, 5) AS a")
    show(result, Style(width=80), out, height=24)
    assert len(out.getvalue().splitlines()) == 7


def test_leaving_the_pager_ends_the_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: PostgresSession
) -> None:
    a_pager(tmp_path, monkeypatch, "sys.stdin.readline()")
    (result,) = session.run("SELECT generate_series(1, 1000000000000) AS a")
    assert "not all" in show(result, Style(width=80), io.StringIO(), height=24)
    assert shown(session, "SELECT 1 AS a", Style(width=80))[-1] == "(1 row)"


@pytest.mark.parametrize("choice", ["", "cat", "no-such-program", "'open quote"])
def test_without_a_pager_everything_is_written(choice: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGER", choice)
    out = io.StringIO()
    assert pager.page((str(number) for number in range(100)), out, 10)
    assert len(out.getvalue().splitlines()) == 100


def test_widths_of_texts() -> None:
    assert display_width("日本") == 4
    assert cut("日本語", 5, "…") == ("日本…", 5)
    assert cut("abcdef", 3, "…") == ("ab…", 3)
    assert list(wrapped("日本語x", 4)) == ["日本", "語x"]
    assert list(wrapped("", 4)) == [""]
    assert "".join(wrapped("é" * 100_000, 60)) == "é" * 100_000
