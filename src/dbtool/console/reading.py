"""From a line, or from arguments, to a command with its values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from dbtool.console import commands, words
from dbtool.console.grammar import Call, find_command, parse
from dbtool.errors import UsageError

SQL_WORD = re.compile(r"\s*sql(?=\s|\Z)\s?", re.IGNORECASE)
_OPTION_START = re.compile(r"(?:(?<=\s)|\A)--?(extract|yes|json)(?=\s|\Z)", re.IGNORECASE)
_OPTIONS_GO_ON = re.compile(r"\s*(?:\Z|--?[a-zA-Z])")
_ARGUMENT_OPTION = re.compile(r"--?(extract|yes|json)\Z", re.IGNORECASE)
_QUERY_WORDS = (
    "select",
    "insert",
    "update",
    "delete",
    "create",
    "alter",
    "drop",
    "explain",
    "begin",
    "commit",
    "table",
)


def read_line(line: str, dialect: str = "postgres") -> Call:
    """One console command. Raises `UsageError`."""
    if match := SQL_WORD.match(line):
        statement, options = split_options(line[match.end() :], dialect)
        return _sql(statement, words.split(options))
    return _command(words.split(line))


def read_arguments(arguments: Sequence[str], dialect: str = "postgres") -> Call:
    """One console command as arguments of the command line: the shell has split it already.

    A command may also come as one argument, quoted as a whole. Raises `UsageError`.
    """
    if len(arguments) == 1 and any(character.isspace() for character in arguments[0]):
        return read_line(arguments[0], dialect)
    if not arguments or arguments[0].lower() != "sql":
        return _command(arguments)
    for position, argument in enumerate(arguments):
        if match := _ARGUMENT_OPTION.match(argument):
            try:
                call = parse(commands.SQL, arguments[position:])
            except UsageError:
                if match[1].lower() == "extract":
                    raise
                continue
            if not call.rest:
                return _sql(" ".join(arguments[1:position]), arguments[position:])
    return read_line("SQL " + " ".join(arguments[1:]), dialect)


def split_options(text: str, dialect: str = "postgres") -> tuple[str, str]:
    """The statement, and the options behind it, of what follows the word SQL.

    Options begin with `-extract`, `-yes` or `-json` outside quotes and comments, and run to the
    end. `-extract` counts where only options (or nothing) follow it, be they right or wrong; the
    other two only where all that follows is right, for `a -yes` may be an expression.
    """
    from dbtool.console.sql_text import is_code_at_end

    for match in _OPTION_START.finditer(text):
        behind = text[match.start() :]
        begins = match[1].lower() == "extract" and _OPTIONS_GO_ON.match(text, match.end())
        if begins or _are_options(behind):
            before = text[: match.start()]
            if is_code_at_end(before, dialect):
                return before.strip(), behind.strip()
    return text.strip(), ""


def is_complete(text: str, dialect: str = "postgres") -> bool:
    """Whether a command has all its closing quotes and parentheses."""
    if match := SQL_WORD.match(text):
        from dbtool.engines import lexical

        statement, _ = split_options(text[match.end() :], dialect)
        return lexical.is_complete(statement, dialect)
    scanned = words.scan(text)
    return text.lstrip().startswith("\\") or not scanned or not scanned[-1].open_quote


def split_lines(lines: Iterable[str], dialect: str = "postgres") -> Iterator[str]:
    """Commands out of lines: one a line, but that an open quote or parenthesis goes on in the next."""
    pending = ""
    for line in lines:
        pending += line
        if not pending.strip():
            pending = ""
        elif is_complete(pending, dialect):
            yield pending.strip()
            pending = ""
    if pending.strip():
        yield pending.strip()


def _are_options(text: str) -> bool:
    try:
        return not parse(commands.SQL, words.split(text)).rest
    except UsageError:
        return False


def _sql(statement: str, options: Sequence[str]) -> Call:
    if not statement:
        raise UsageError("SQL needs a statement", "For example: SQL SELECT * FROM users")
    call = parse(commands.SQL, options)
    if call.rest:
        raise UsageError(
            f"this does not belong behind the options: {call.rest[0]}", "Options come at the very end."
        )
    if call.text("path") is not None and not call.flag("extract"):
        raise UsageError("-path needs -extract", "It is the folder of the exported file.")
    if call.text("format") is not None and not call.flag("extract"):
        raise UsageError("-format needs -extract", "It is the form of the exported file.")
    return Call(commands.SQL, call.values, rest=(statement,))


def _command(typed: Sequence[str]) -> Call:
    if typed and typed[0].lower() in ("quit", "\\q"):
        typed = ["exit", *typed[1:]]
    try:
        command, taken = find_command(commands.CONSOLE, typed, commands.LATER)
    except UsageError as error:
        if typed and typed[0].lower() in _QUERY_WORDS:
            raise UsageError(error.message, f"SQL begins with the word SQL: SQL {typed[0]} …") from None
        raise
    return parse(command, typed[taken:])
