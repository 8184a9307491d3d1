"""What an account may do, as SHOW GRANTS says it: an account that may not see everything would back up less
without a word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtool.engines.lexical import Kind, Token, tokens
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.queries import rows_of, value_of
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.engines.mysql.schema import name_of
from dbtool.errors import RefusedError

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

_SEES_ROUTINES = ("EXECUTE", "CREATE ROUTINE", "ALTER ROUTINE", "SHOW CREATE ROUTINE")


@dataclass(frozen=True)
class Grant:
    """Privileges on a place: databases by a pattern, a table of one, or everything."""

    privileges: frozenset[str]
    database: str  # "*" or a pattern with % and _
    table: str  # "*" or a name

    def covers(self, database: str, table: str | None) -> bool:
        """Whether it holds for the whole database, or for a table of it."""
        if self.table != "*" and self.table != table:
            return False
        return self.database == "*" or bool(_like(self.database).fullmatch(database))


def _like(pattern: str) -> re.Pattern[str]:
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return re.compile(
        "".join({"%": ".*", "_": "."}.get(part, re.escape(part[-1])) for part in parts),
        re.DOTALL | re.IGNORECASE,
    )


class Rights:
    """What the session's account may do."""

    def __init__(self, grants: Iterable[Grant], flavour: Flavour) -> None:
        self._grants = list(grants)
        self.flavour = flavour

    def has(self, privilege: str, database: str = "*", table: str | None = None) -> bool:
        """Whether the account has a privilege on the whole database, on everything ("*"), or on a table."""
        return any(
            ("ALL PRIVILEGES" in grant.privileges or privilege in grant.privileges)
            and (
                grant.covers(database, table)
                if database != "*"
                else grant.database == "*" and grant.table == "*"
            )
            for grant in self._grants
        )

    def sees_routines(self, database: str) -> bool:
        """Whether the catalogue lists all routines of the database for it."""
        if any(self.has(privilege, database) for privilege in _SEES_ROUTINES):
            return True
        if self.flavour.is_mariadb:
            return self.has("SELECT", "mysql", "proc")
        return self.has("SHOW_ROUTINE") or self.has("SELECT")

    def missing(self, database: str) -> list[str]:
        """Privileges without which parts of the database would be left out unseen."""
        needed = ("SELECT", "SHOW VIEW", "TRIGGER", "EVENT")
        return [privilege for privilege in needed if not self.has(privilege, database)]


def rights_of(session: Session, flavour: Flavour) -> Rights:
    """Ask the server. Raises what the driver raises."""
    statement = "SHOW GRANTS"
    if not flavour.is_mariadb:
        roles = str(value_of(session, "SELECT CURRENT_ROLE()"))
        if roles != "NONE":
            statement = f"SHOW GRANTS FOR CURRENT_USER() USING {roles}"
    return Rights((grant for (text,) in rows_of(session, statement) for grant in grants_in(text)), flavour)


def grants_in(text: str) -> Iterator[Grant]:
    """What a line of SHOW GRANTS gives; nothing for roles, proxies and routines."""
    found = list(tokens(text, "mysql"))
    words = [token.word for token in found]
    if "ON" not in words or words[0] != "GRANT":
        return
    place = words.index("ON")
    privileges = {_privilege(part) for part in _parted(found[1:place])}
    target = found[place + 1 :]
    if target[0].word in ("FUNCTION", "PROCEDURE", "PACKAGE", "LIBRARY") or "PROXY" in privileges:
        return
    if len(target) > 2 and target[1].text == ".":
        yield Grant(frozenset(privileges), _place(target[0]), _place(target[2]))


def _parted(found: Sequence[Token]) -> Iterator[list[Token]]:
    """Tokens between commas. A list of columns in parentheses makes a privilege none of the table's."""
    part: list[Token] = []
    depth = 0
    for token in found:
        depth += {"(": 1, ")": -1}.get(token.text, 0) if token.kind is Kind.SYMBOL else 0
        if token.text == "," and depth == 0:
            yield part
            part = []
        else:
            part.append(token)
    yield part


def _privilege(part: Sequence[Token]) -> str:
    return " ".join(token.word or token.text for token in part)


def _place(token: Token) -> str:
    return name_of(token)


def require_all(rights: Rights, database: str, account: str, tables: Iterable[str] | None) -> None:
    """Raise RefusedError unless the account sees everything in the database, or with these tables."""
    place = f"{quote_identifier(database)}.*"
    if tables is not None:
        for table in tables:
            if not rights.has("TRIGGER", database, table):
                raise RefusedError(
                    f"{account} may not see whether table {table} has triggers",
                    f"GRANT TRIGGER ON {place} TO {account}; see dbtool doctor",
                )
        return
    lacking = rights.missing(database)
    if lacking:
        raise RefusedError(
            f"{account} may not see everything in {database}: it lacks {', '.join(lacking)}",
            f"GRANT {', '.join(lacking)} ON {place} TO {account}; see dbtool doctor",
        )
    if not rights.sees_routines(database):
        right = "SELECT ON mysql.proc" if rights.flavour.is_mariadb else "SHOW_ROUTINE ON *.*"
        raise RefusedError(
            f"{account} may not see the routines of {database}, if there are any",
            f"GRANT {right} TO {account}; see dbtool doctor",
        )
