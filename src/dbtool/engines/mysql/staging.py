"""A database that is restored under another name beside the final one, and what dead restores left.

Whatever happens before its tables are moved, nothing half-done bears the name, and the old database
is as it was.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql import journal
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.foreign import Translation
from dbtool.engines.mysql.journal import Journal, Script
from dbtool.engines.mysql.messages import explain, number_of
from dbtool.engines.mysql.quoting import quote_identifier, quote_literal
from dbtool.errors import BusyError, RefusedError

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

_LONGEST_NAME = 64
_DENIED = frozenset({1044, 1142, 1227})
NEW, OLD = "new", "old"


def database_exists(session: Session, name: str) -> bool:
    """Whether the server has a database of that name, as far as the account sees it."""
    with session.cursor() as cursor:
        cursor.execute("SELECT 1 FROM information_schema.schemata WHERE schema_name = %s", (name,))
        return cursor.fetchone() is not None


def create_database_sql(facts: dict[str, Any], name: str, flavour: Flavour, translation: Translation) -> str:
    """CREATE DATABASE with what the backup says of its own: character set, collation, comment, encryption."""
    return f"CREATE DATABASE {quote_identifier(name)}{_properties(facts, flavour, translation)}"


def properties_script(facts: dict[str, Any], name: str, flavour: Flavour, translation: Translation) -> Script:
    """How a database that is there gets what the backup says. MySQL waits with it for every transaction in
    the database, so it is only done where something differs."""
    statement = f"ALTER DATABASE {quote_identifier(name)}{_properties(facts, flavour, translation)}"
    query = f"SELECT 1 FROM information_schema.schemata WHERE schema_name = {quote_literal(name)}"  # noqa: S608
    if facts.get("collation"):
        query += f" AND default_collation_name = {quote_literal(translation.collation(facts['collation']))}"
    if flavour.is_mariadb:
        query += f" AND schema_comment = {quote_literal(facts.get('comment') or '')}"
    return Script(f"database {name}", (statement,), query)


def _properties(facts: dict[str, Any], flavour: Flavour, translation: Translation) -> str:
    charset, collation = facts.get("encoding"), facts.get("collation")
    if isinstance(collation, str):
        collation = translation.collation(collation)
    text = ""
    for word, value in (("CHARACTER SET", charset), ("COLLATE", collation)):
        if isinstance(value, str) and re.fullmatch(r"\w+", value):
            text += f" {word} {value}"
    if flavour.is_mariadb:
        text += f" COMMENT {quote_literal(facts.get('comment') or '')}"
    return text


def name_beside(name: str, what: str) -> str:
    """A name that nobody has, told by its beginning; no longer than names may be."""
    suffix = f"_dbtool_{what}_{secrets.token_hex(4)}"
    return name[: _LONGEST_NAME - len(suffix)] + suffix


def make_staging(
    session: Session, facts: dict[str, Any], final: str, flavour: Flavour, translation: Translation
) -> Journal | None:
    """A new, empty database like the backup's, with its journal, under a name beside the final one.

    None where the account may not make it. Raises what the driver raises.
    """
    import pymysql

    name = name_beside(final, NEW)
    journal.take(session, name)
    written = Journal(name, final)
    try:
        session.query(create_database_sql(facts, name, flavour, translation))
    except pymysql.MySQLError as error:
        journal.let_go(session, name)
        if number_of(error) in _DENIED:
            return None
        raise
    written.create(session)
    return written


def make_direct(
    session: Session,
    facts: dict[str, Any],
    final: str,
    flavour: Flavour,
    translation: Translation,
    exists: bool,
) -> Journal:
    """The final database itself, empty, with a journal that says that it is not finished.

    For accounts that may not make a database beside it. Raises RefusedError.
    """
    import pymysql

    if not journal.take(session, final):
        raise BusyError(f"another restore into {final} is under way", "wait until it is done")
    try:
        if not exists:
            session.query(create_database_sql(facts, final, flavour, translation))
    except pymysql.MySQLError as error:
        if number_of(error) in _DENIED:
            raise RefusedError(
                f"the account may not create the database {final}: {explain(error, 'creating it').message}",
                grant_hint(final),
            ) from None
        raise explain(error, f"creating the database {final}") from None
    written = Journal(final, final, is_direct=True, final_is_new=not exists)
    written.create(session)
    return written


def grant_hint(final: str) -> str:
    """The GRANT that lets an account restore beside a database."""
    pattern = re.sub(r"([_%\\])", r"\\\1", final[:30])
    return (
        f"GRANT ALL PRIVILEGES ON `{pattern}\\_dbtool\\_%`.* and ON {quote_identifier(final)}.* to the account, "
        "or restore as one that may"
    )


def drop(session: Session, database: str) -> None:
    """Drop a database, if it is there."""
    session.query(f"DROP DATABASE IF EXISTS {quote_identifier(database)}")
