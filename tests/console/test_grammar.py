"""One grammar for console and command line: what is read, and what is refused with which hint."""

from __future__ import annotations

import pytest

from dbtool.console import commands
from dbtool.console.grammar import Call, find_command, parse
from dbtool.console.reading import is_complete, read_arguments, read_line, split_lines
from dbtool.errors import UsageError


@pytest.mark.parametrize("dash", ["-", "--"])
def test_options_may_have_one_dash_or_two(dash: str) -> None:
    call = read_line(f"full database {dash}path /b {dash}jobs 3 {dash}json")
    assert (call.text("path"), call.number("jobs"), call.flag("json")) == ("/b", 3, True)
    assert read_line(f"list {dash}path=/b").text("path") == "/b"


def test_the_seeds_commands_are_read() -> None:
    call = read_line("full tables -tablename users -tablename orders -path /path/to/backups")
    assert call.command is commands.FULL_TABLES
    assert call.texts("tablename") == ("users", "orders")
    call = read_line("SQL SELECT * FROM users -extract -path /tmp/exports")
    assert call.rest == ("SELECT * FROM users",)
    assert (call.flag("extract"), call.text("path")) == (True, "/tmp/exports")
    assert read_line("EXIT").command is commands.EXIT


@pytest.mark.parametrize(
    "name", ["-rf", "--path", "select", 'Weird ""name"', "a/b", "two\nlines", "ünïcödé", "a b"]
)
def test_any_name_can_be_a_value(name: str) -> None:
    call = read_arguments(["full", "tables", "-tablename", name, "-path", "/b"])
    assert call.texts("tablename") == (name,)
    assert call.text("path") == "/b"


def test_names_are_quoted_as_in_a_shell() -> None:
    line = (
        r"""full tables -tablename 'Weird ""name"' -tablename "two words" -tablename it\'s -path '/tmp/a b'"""
    )
    call = read_line(line)
    assert call.texts("tablename") == ('Weird ""name"', "two words", "it's")
    assert call.text("path") == "/tmp/a b"


def test_an_option_that_takes_many_words_ends_at_the_next_option() -> None:
    call = read_line("restore latest -into copy -tables a b -replace -tables c")
    assert call.texts("tables") == ("a", "b", "c")
    assert (call.operand, call.flag("replace")) == ("latest", True)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("lst", "unknown command", "list"),
        ("full", '"full" needs another word', "full database, full tables"),
        ("list -pth /b", "-pth", "-path"),
        ("show", "needs: ID", "show"),
        ("list -path", "needs a value", "list"),
        ("list -path /a -path /b", "twice", "once"),
        ("full database -jobs many", "whole number", None),
        ("full database -jobs 0", "whole number", None),
        ("full database -method magic", "cannot be", "logical"),
        ("list -json=1", "takes no value", None),
        ("list extra", "does not take: extra", None),
        ("list -path ''", "empty", None),
        ("incremental backup", "not in this version", None),
        ("differential", '"differential" needs another word', "differential backup"),
        ("differential backup -method rowid", "cannot be", "timestamp"),
        ("differential backup -max-differentials 0", "whole number of at least 1", None),
        ("differential backup -tablename t", "no option", "differential backup"),
        ("restore latest -to-time now", "not in this version", None),
        ("verify latest -drill", "not in this version", None),
        ("SELECT 1", "unknown command", "SQL SELECT"),
        ("SQL", "needs a statement", "SQL SELECT"),
        ("SQL SELECT 1 -extract -path", "needs a value", None),
        ("SQL SELECT 1 -extract -pth /x", "no option", "-path"),
        ("list -path 'open", "not closed", None),
    ],
)
def test_a_mistake_is_named_and_mended(line: str, message: str, hint: str | None) -> None:
    with pytest.raises(UsageError) as caught:
        read_line(line)
    assert message in caught.value.message
    assert (hint or "") in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("line", "statement", "options"),
    [
        ("SQL SELECT 1", "SELECT 1", {}),
        ("sql\tSELECT 1;", "SELECT 1;", {}),
        ("SQL SELECT '-extract -path /x'", "SELECT '-extract -path /x'", {}),
        ("SQL SELECT ' -extract ' -extract", "SELECT ' -extract '", {"extract": True}),
        ('SQL SELECT " -extract -path /x"', 'SELECT " -extract -path /x"', {}),
        ("SQL SELECT $a$ -extract $a$", "SELECT $a$ -extract $a$", {}),
        ("SQL SELECT 1 /* -extract */", "SELECT 1 /* -extract */", {}),
        ("SQL SELECT 1 -- -extract", "SELECT 1 -- -extract", {}),
        ("SQL SELECT a -extract FROM t", "SELECT a -extract FROM t", {}),
        ("SQL SELECT a -yes FROM t", "SELECT a -yes FROM t", {}),
        ("SQL DELETE FROM t -yes", "DELETE FROM t", {"yes": True}),
        ("SQL SELECT 1 --json", "SELECT 1", {"json": True}),
        ("SQL SELECT 1 -json -yes", "SELECT 1", {"json": True, "yes": True}),
        (
            "SQL SELECT it FROM t\n  -extract -path '/tmp/my exports' -format tsv",
            "SELECT it FROM t",
            {"extract": True, "path": "/tmp/my exports", "format": "tsv"},
        ),
        (
            "SQL DELETE FROM t RETURNING * -yes -EXTRACT -path /x",
            "DELETE FROM t RETURNING *",
            {"yes": True, "extract": True, "path": "/x"},
        ),
        (
            r"SQL SELECT E'it\'s -extract' , 'it''s' -extract",
            r"SELECT E'it\'s -extract' , 'it''s'",
            {"extract": True},
        ),
    ],
)
def test_sql_is_taken_as_it_is_and_options_only_at_its_end(
    line: str, statement: str, options: dict[str, object]
) -> None:
    call = read_line(line)
    assert call.rest == (statement,)
    assert call.values == options


@pytest.mark.parametrize(
    ("arguments", "statement", "options"),
    [
        (["SQL", "SELECT 1"], "SELECT 1", {}),
        (["SQL", "SELECT", "1", "+", "1"], "SELECT 1 + 1", {}),
        (["SQL SELECT 1 -extract -path /x"], "SELECT 1", {"extract": True, "path": "/x"}),
        (["SQL", "SELECT 1", "-extract", "-path", "/a b/c"], "SELECT 1", {"extract": True, "path": "/a b/c"}),
        (["sql", "SELECT 1 -extract -path /x"], "SELECT 1", {"extract": True, "path": "/x"}),
        (["SQL", "DELETE FROM t", "--yes"], "DELETE FROM t", {"yes": True}),
        (["SQL", "SELECT '-extract'"], "SELECT '-extract'", {}),
    ],
)
def test_sql_as_an_action(arguments: list[str], statement: str, options: dict[str, object]) -> None:
    call = read_arguments(arguments)
    assert (call.rest, call.values) == ((statement,), options)


@pytest.mark.parametrize(
    ("text", "complete"),
    [
        ("SQL SELECT 1", True),
        ("SQL SELECT 'a", False),
        ("SQL SELECT (1", False),
        ("SQL SELECT (1)", True),
        ("SQL DO $$ BEGIN", False),
        ("SQL DO $$ BEGIN END $$", True),
        ('SQL SELECT "a', False),
        ("SQL SELECT 1 /* x", False),
        ("SQL SELECT 1 -- it's", True),
        ("SQL CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;", False),
        ("SQL CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END;", True),
        ("list", True),
        ("list -path '/a", False),
        ("\\d it's", True),
        ("", True),
    ],
)
def test_what_is_open_goes_on_in_the_next_line(text: str, complete: bool) -> None:
    assert is_complete(text) is complete


def test_piped_lines_are_one_command_each() -> None:
    lines = ["list\n", "\n", "SQL SELECT 'a\n", "b'\n", "show latest"]
    assert list(split_lines(lines)) == ["list", "SQL SELECT 'a\nb'", "show latest"]


def test_what_is_still_open_at_the_end_is_tried_and_so_refused() -> None:
    assert list(split_lines(["list -path 'x\n"])) == ["list -path 'x"]


def test_the_command_line_reads_by_the_same_grammar() -> None:
    command, taken = find_command(commands.SCRIPT, ["backup", "--db", "postgres"])
    call = parse(command, ["--db", "postgres", "-database", "-rf", "full", "database", "-path", "/b"])
    assert (taken, call.text("db"), call.text("database")) == (1, "postgres", "-rf")
    assert call.rest == ("full", "database", "-path", "/b")


def test_a_call_has_neutral_values_where_nothing_was_said() -> None:
    call = Call(commands.LIST)
    assert (call.text("path"), call.texts("tables"), call.number("jobs"), call.flag("json")) == (
        None,
        (),
        None,
        False,
    )


def test_every_command_of_the_console_has_help_and_a_handler() -> None:
    from dbtool.console import dispatch
    from dbtool.console.help import command_help, console_overview

    overview = console_overview(commands.CONSOLE)
    for command in commands.CONSOLE:
        assert command.summary in overview
        text = command_help(command)
        assert all(f"-{option.name}" in text for option in command.options)
        assert command.words == ("exit",) or callable(dispatch.handler(command))


def test_a_differential_is_read() -> None:
    call = read_line(
        "differential backup -path /b -base full_x_20251101_120000_a1b2 -method timestamp -column 'last seen' "
        "-only-changed -max-differentials 5 -max-chain-age 12h -max-differential-ratio 0.25 -jobs 2 -level 3 "
        "-label nightly -lock-timeout 5 -allow-invalid-text -json"
    )
    assert call.command is commands.DIFFERENTIAL_BACKUP
    assert (call.text("base"), call.text("column")) == ("full_x_20251101_120000_a1b2", "last seen")
    assert (call.number("max-differentials"), call.text("max-chain-age")) == (5, "12h")
    assert (call.text("max-differential-ratio"), call.flag("only-changed")) == ("0.25", True)
