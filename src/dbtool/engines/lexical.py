"""The lexical rules of SQL: where strings, comments and statements begin and end.

For running and judging complete statements, in PostgreSQL's dialect and in MySQL's. What a
statement means is not decided here. Nothing here fails: what is open runs to the end of the text.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

# Only these count as white space to the servers; NO-BREAK SPACE, for one, is a letter to them.
_SPACE = r"[ \t\n\r\f\v\0]+"
_WORD = r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*"
_NUMBER = r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
# The group whose name begins with `end` is empty, or a lone backslash, where a quote has no end.
_POSTGRES = rf"""
    (?P<space>{_SPACE}|--[^\r\n]*)
  | (?P<comment>/\*)
  | (?P<string>[eE]'[^'\\]*(?:(?:''|\\.)[^'\\]*)*(?P<end_escape>'|\\?\Z)
      |(?:[uU]&|[bBxXnN])?'[^']*(?:''[^']*)*(?P<end_plain>'|\Z))
  | (?P<quoted>(?:[uU]&)?"[^"]*(?:""[^"]*)*(?P<end_quoted>"|\Z))
  | (?P<dollar>\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$)
  | (?P<word>{_WORD})
  | (?P<number>{_NUMBER}|\$\d+)
  | (?P<symbol>.)
    """
_MYSQL = rf"""
    (?P<space>{_SPACE}|--(?=[\x00-\x20]|\Z)[^\n]*|\#[^\n]*)
  | (?P<executed>/\*M?!\d*)
  | (?P<comment>/\*)
  | (?P<string>'[^'\\]*(?:(?:''|\\.)[^'\\]*)*(?P<end_single>'|\\?\Z)
      |"[^"\\]*(?:(?:""|\\.)[^"\\]*)*(?P<end_double>"|\\?\Z))
  | (?P<quoted>`[^`]*(?:``[^`]*)*(?P<end_quoted>`|\Z))
  | (?P<word>{_WORD})
  | (?P<number>{_NUMBER})
  | (?P<symbol>.)
    """
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_ROUTINES = {
    "postgres": {"FUNCTION", "PROCEDURE"},
    "mysql": {"FUNCTION", "PROCEDURE", "TRIGGER", "EVENT", "PACKAGE"},
}

# What MySQL's CREATE makes, as far as it must be told from a routine; and what a routine's body begins with.
_MADE = _ROUTINES["mysql"] | {
    "DATABASE",
    "INDEX",
    "ROLE",
    "SCHEMA",
    "SEQUENCE",
    "SERVER",
    "TABLE",
    "USER",
    "VIEW",
}
_HAVE_BODIES = {"FUNCTION", "PROCEDURE", "TRIGGER", "EVENT"}
_BODY_WORDS = (
    {
        "ALTER",
        "AS",
        "BEGIN",
        "CALL",
        "CASE",
        "CREATE",
        "DELETE",
        "DO",
        "DROP",
        "EXECUTE",
        "FOR",
        "IF",
        "INSERT",
    }
    | {"IS", "LOOP", "OPTIMIZE", "RENAME", "REPEAT", "REPLACE", "RETURN", "SELECT", "SET", "SIGNAL", "SONAME"}
    | {"TABLE", "TRUNCATE", "UPDATE", "VALUES", "WHILE", "WITH"}
)


class Kind(Enum):
    """What a token is."""

    WORD = "word"  # a keyword or an unquoted identifier
    QUOTED = "quoted"  # a quoted identifier
    STRING = "string"
    NUMBER = "number"
    SYMBOL = "symbol"


@dataclass(frozen=True)
class Token:
    """One token of a text: `text` as written, `start` counts characters from the text's beginning."""

    kind: Kind
    text: str
    start: int
    is_open: bool = False  # a quote without its end

    @property
    def word(self) -> str:
        """The upper-case word; empty for anything that is no unquoted word."""
        return self.text.upper() if self.kind is Kind.WORD else ""


@dataclass(frozen=True)
class Statement:
    """One statement without its semicolon; `start` counts characters from the input's beginning."""

    text: str
    start: int
    tokens: tuple[Token, ...]
    is_open: bool = (
        False  # a quote, a comment, a parenthesis or a routine's body without its end, or not begun
    )


def tokens(text: str, dialect: str) -> Iterator[Token]:
    """Every token but white space and comments. What MySQL executes inside `/*! … */` is code.

    An open comment gives an open token of its own, an empty symbol.
    """
    is_mysql = dialect == "mysql"
    match_at = _pattern(is_mysql).match
    position, length = 0, len(text)
    is_inside_executed = False
    while position < length:
        match = match_at(text, position)
        if match is None:  # the last branch takes any character
            return
        name, start, position = str(match.lastgroup), position, match.end()
        if name == "executed":
            is_inside_executed = True
        elif name == "comment":
            end = _comment_end(text, position, nested=not is_mysql)
            if end is None:
                yield Token(Kind.SYMBOL, "", start, is_open=True)
                return
            position = end
        elif name == "dollar":
            close = text.find(match[0], position)
            position = length if close < 0 else close + len(match[0])
            yield Token(Kind.STRING, text[start:position], start, is_open=close < 0)
        elif is_inside_executed and text.startswith("*/", start):
            is_inside_executed = False
            position = start + 2
        elif name != "space":
            ends = [
                group
                for key, group in match.groupdict().items()
                if key.startswith("end") and group is not None
            ]
            yield Token(Kind(name), match[0], start, is_open=ends in ([""], ["\\"]))


@functools.cache
def _pattern(is_mysql: bool) -> re.Pattern[str]:
    """Compiled when it is needed, for that takes some milliseconds."""
    return re.compile(_MYSQL if is_mysql else _POSTGRES, re.VERBOSE | re.DOTALL)


def split(text: str, dialect: str) -> list[Statement]:
    """The statements of an input, in order, without empty ones.

    A semicolon ends a statement outside of quotes, comments, parentheses and routine bodies
    (`BEGIN ATOMIC … END`; MySQL's `BEGIN … END`).
    """
    found: list[Statement] = []
    current: list[Token] = []
    parentheses = 0
    body = _Body(dialect)
    start = 0

    def finish(end: int, has_semicolon: bool) -> None:
        if any(token.text for token in current):
            raw = text[start:end]
            is_open = parentheses > 0 or body.depth > 0 or any(token.is_open for token in current)
            is_open = is_open or (body.is_missing and not has_semicolon)
            first = len(raw) - len(raw.lstrip())
            found.append(Statement(raw.strip(), start + first, tuple(current), is_open))
        current.clear()

    for token in tokens(text, dialect):
        if token.text == ";" and parentheses <= 0 and body.depth == 0:
            finish(token.start, True)
            start, parentheses, body = token.start + 1, 0, _Body(dialect)
            continue
        current.append(token)
        if token.kind is Kind.SYMBOL:
            parentheses += {"(": 1, ")": -1}.get(token.text, 0)
        elif token.kind is Kind.WORD:
            body.feed(token.word)
    finish(len(text), False)
    return found


def is_complete(text: str, dialect: str) -> bool:
    """Whether nothing is open: no quote, comment, parenthesis or routine body."""
    if any(token.is_open for token in tokens(text, dialect)):
        return False
    statements = split(text, dialect)
    return not statements or not statements[-1].is_open


class _Body:
    """Follows the words of one statement to know whether they are inside a routine's body."""

    def __init__(self, dialect: str) -> None:
        self.depth = 0
        self._is_mysql = dialect == "mysql"
        self._routine_words = _ROUTINES["mysql" if self._is_mysql else "postgres"]
        self._words = 0
        self._creates = self._is_routine = self._has_body = False
        self._made = ""
        self._is_begun = self._may_begin = False
        self._previous = ""

    @property
    def is_missing(self) -> bool:
        """Whether a routine of MySQL's has no body yet."""
        return self._is_mysql and self._made in _HAVE_BODIES and not self._is_begun

    def feed(self, word: str) -> None:
        self._words += 1
        if self._words == 1:
            self._creates = word == "CREATE"
        elif self._creates and word in self._routine_words:
            self._is_routine = True
        if self._is_mysql:
            self._look_for_body(word)
            self._feed_mysql(word)
        elif self._is_routine:
            self._feed_postgres(word)
        self._previous = word

    def _look_for_body(self, word: str) -> None:
        if not self._made:
            self._made = word if self._creates and word in _MADE else ""
            self._may_begin = self._made != "TRIGGER"
        elif self._may_begin:
            is_if_not_exists = word == "IF" and self._previous == self._made
            self._is_begun = self._is_begun or (word in _BODY_WORDS and not is_if_not_exists)
        elif word == "ROW" and self._previous == "EACH":  # before it stand INSERT, UPDATE or DELETE
            self._may_begin = True

    def _feed_postgres(self, word: str) -> None:
        begins = word == "ATOMIC" and self._previous == "BEGIN"
        if begins or (self.depth and word == "CASE"):
            self.depth += 1
        elif self.depth and word == "END":
            self.depth -= 1

    def _feed_mysql(self, word: str) -> None:
        # MariaDB has BEGIN NOT ATOMIC outside of routines.
        begins = word == "BEGIN" if self._is_routine else word == "NOT" and self._previous == "BEGIN"
        self._has_body = self._has_body or begins
        if not self._has_body:
            return
        if self._previous == "END" and word in {"IF", "LOOP", "WHILE", "REPEAT"}:
            self.depth += 1  # that END closed one of these, which are not counted
        elif begins or (word == "CASE" and self._previous != "END"):
            self.depth += 1
        elif self.depth and word == "END":
            self.depth -= 1


def _comment_end(text: str, position: int, nested: bool) -> int | None:
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(text, position)
        if edge is None:
            return None
        position = edge.end()
        if edge[0] == "*/":
            depth -= 1
        elif nested:
            depth += 1
    return position
