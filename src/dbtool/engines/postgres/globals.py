"""Making the roles and tablespaces of a backup's globals.sql on another server.

What is there already stays as it is: its properties, settings and comment are not touched.
Memberships and privileges are given, which changes nothing where they are there.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from dbtool.engines.lexical import Kind, Statement, Token, split
from dbtool.errors import SqlError

if TYPE_CHECKING:
    import psycopg

_DUPLICATE_OBJECT = "42710"
_KINDS = ("ROLE", "TABLESPACE")
# Statements that speak of an object that an earlier CREATE of the same script made.
_CHANGES = (("ALTER",), ("COMMENT", "ON"), ("SECURITY", "LABEL"))
_RESTRICT = re.compile(r"^\\restrict (\w+)\n", re.MULTILINE)
_SHOWN_WORDS = 6


def restore_globals(session: psycopg.Connection[Any], script: bytes) -> list[str]:
    """Run the script of `pg_dumpall --globals-only` statement by statement; remarks for a person.

    `session` is in autocommit mode, in any database. Raises SqlError at the first statement that
    fails, but for the creation of what is there; what was made until then stays.
    """
    import psycopg

    present: set[tuple[str, str]] = set()
    for statement in _statements(script):
        about = _about(statement)
        if about in present and _changes(statement):
            continue
        try:
            session.execute(statement.text.encode("utf-8", "surrogateescape"))
        except psycopg.Error as error:
            is_creation = statement.tokens[0].word == "CREATE"
            if about is None or not is_creation or error.diag.sqlstate != _DUPLICATE_OBJECT:
                raise SqlError(
                    f"globals.sql: {_shown(statement)} failed: {error.diag.message_primary or error}",
                    "make the roles and tablespaces as you want them, and restore without --globals",
                ) from None
            present.add(about)
    return [f"{kind.lower()} {name} is there already and stays as it is" for kind, name in sorted(present)]


def _statements(script: bytes) -> Iterator[Statement]:
    text = script.decode("utf-8", "surrogateescape")
    if key := _RESTRICT.search(text):
        # psql's own commands, which the server does not know.
        text = text.replace(key[0], "", 1).replace(f"\n\\unrestrict {key[1]}\n", "\n", 1)
    yield from split(text, "postgres")


def _about(statement: Statement) -> tuple[str, str] | None:
    """("ROLE" or "TABLESPACE", name) that a statement makes or changes; the name as it is spelled."""
    tokens = statement.tokens
    for kind, name in itertools.pairwise(tokens):
        if kind.word in _KINDS:
            return kind.word, _name(name)
        if kind.kind is Kind.STRING:
            break
    return None


def _name(token: Token) -> str:
    return token.text[1:-1].replace('""', '"') if token.kind is Kind.QUOTED else token.text


def _changes(statement: Statement) -> bool:
    words = tuple(token.word for token in statement.tokens[:2])
    return any(words[: len(start)] == start for start in _CHANGES)


def _shown(statement: Statement) -> str:
    """The statement's first words; never a password."""
    words = []
    for token in statement.tokens[:_SHOWN_WORDS]:
        if token.word in ("PASSWORD", "WITH"):
            break
        words.append(token.text)
    return " ".join(words)
