"""Making the users and roles of a backup's globals.sql on another server.

Who is there already keeps password and options. Privileges are given, which changes nothing where
they are there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.lexical import Kind, Token, split, tokens
from dbtool.engines.mysql import bulk
from dbtool.engines.mysql.execute import warnings_of
from dbtool.engines.mysql.foreign import Translation
from dbtool.engines.mysql.messages import explain, is_lost, number_of, text_of
from dbtool.errors import SqlError
from dbtool.text import printable

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

# "Operation CREATE USER failed"; or, of IF NOT EXISTS, the remark that there is one (both flavours' numbers).
_FAILED = 1396
_EXISTS = frozenset({1973, 1974, 1975, 1976, 3163})
_NOT_THERE = frozenset({1049, 1146, 1305})  # database, table, routine
_CHANGES = ("ALTER", "SET")
_SHOWN_WORDS = 8
# Behind these words stands whom a statement is about.
_ABOUT = {"CREATE": ("USER", "ROLE"), "ALTER": ("USER",), "GRANT": ("TO",), "SET": ("FOR", "TO")}

Account = tuple[str, str]  # (name, host); a role of MariaDB's has no host


def restore_accounts(
    session: Session, script: bytes, translation: Translation
) -> tuple[list[str], list[str]]:
    """Run globals.sql statement by statement: (remarks for a person, GRANTs for later).

    For later are those on tables and routines that are not there yet. Raises SqlError at the first other
    statement that fails, but for the creation of who is there; what was made until then stays.
    """
    import pymysql

    present: dict[Account, None] = {}
    later: list[str] = []
    for statement in split(script.decode("utf-8", "surrogateescape"), "mysql"):
        verb = statement.tokens[0].word
        account = about(statement.tokens)
        if account in present and verb in _CHANGES:
            continue
        text = translation.of((statement.text,))[0]
        try:
            _, warnings = bulk.execute_raw(session, text.encode("utf-8", "surrogateescape"))
        except pymysql.MySQLError as error:
            if is_lost(error):
                raise explain(error, "making users") from None
            if verb == "GRANT" and number_of(error) in _NOT_THERE:
                later.append(text)
            elif verb == "CREATE" and account is not None and number_of(error) == _FAILED:
                present[account] = None
            else:
                raise SqlError(
                    f"globals.sql: {_shown(statement.tokens)} failed: {text_of(error)}",
                    "make the users as you want them, and restore without --globals",
                ) from None
        else:
            said = warnings_of(session) if verb == "CREATE" and warnings else []
            if account is not None and any(number in _EXISTS for _, number, _ in said):
                present[account] = None
    notes = [f"{_called(account)} is there already and keeps password and options" for account in present]
    return notes, later


def grant(session: Session, statements: Sequence[str]) -> list[str]:
    """Give what could not be given before; remarks on what still cannot be."""
    import pymysql

    notes = []
    for statement in statements:
        try:
            bulk.execute_raw(session, statement.encode("utf-8", "surrogateescape"))
        except pymysql.MySQLError as error:
            if is_lost(error):
                raise explain(error, "granting privileges") from None
            shown = _shown(list(tokens(statement, "mysql")))
            notes.append(f"globals.sql: {shown} … could not be granted: {text_of(error)}")
    return notes


def about(found: Sequence[Token]) -> Account | None:
    """The user or role that a statement makes, changes or gives something to; the first of several."""
    words = _ABOUT.get(found[0].word, ())
    for position, token in enumerate(found):
        if token.word in words and (account := _account(found[position + 1 :])):
            return account
    return None


def _account(found: Sequence[Token]) -> Account | None:
    rest = list(itertools.dropwhile(lambda token: token.word in ("IF", "NOT", "EXISTS"), found))
    if not rest:
        return None
    host = rest[2] if len(rest) > 2 and rest[1].text == "@" else None
    return _name(rest[0]), _name(host) if host else ""


def _name(token: Token) -> str:
    if token.kind in (Kind.QUOTED, Kind.STRING):
        quote = token.text[0]
        return token.text[1:-1].replace(quote * 2, quote)
    return token.text


def _called(account: Account) -> str:
    name, host = (printable(part) for part in account)
    return f"user {name}@{host}" if host else f"role {name}"


def _shown(found: Sequence[Token]) -> str:
    """The statement's first words; never a password."""
    words = []
    for token in found[:_SHOWN_WORDS]:
        if token.word in ("IDENTIFIED", "USING", "AS", "PASSWORD", "BY"):
            break
        words.append(token.text)
    return printable(" ".join(words))
