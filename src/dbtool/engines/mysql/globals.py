"""Users, roles and what they are granted, as one script: what belongs to the server and to no database.

Who is there already keeps password and options: users are made only where they are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from dbtool.engines.lexical import Kind, tokens
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.queries import rows_of, variables
from dbtool.engines.mysql.quoting import quote_identifier, quote_literal

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

_SYSTEM_USERS = frozenset({"mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"})
_PUBLIC_VERSION = 101100  # MariaDB whose everybody can be granted something
_HEAD = """-- dbtool: the users and roles of a {server}, with their passwords' hashes.
-- Those that are there already keep password and options, but get what they are granted here.

SET NAMES utf8mb4;
SET SESSION sql_mode = '';

"""

User = tuple[str, str]  # name and host


def read_globals(session: Session, flavour: Flavour) -> bytes:
    """The script. Raises what the driver raises, where the account may not read the users."""
    if "print_identified_with_as_hex" in variables(session, "print_identified_with_as_hex"):
        session.query("SET SESSION print_identified_with_as_hex = ON")
    script = _mariadb(session, flavour) if flavour.is_mariadb else _mysql(session)
    text = _HEAD.format(server=flavour.label) + "".join(f"{statement};\n" for statement in script)
    return text.encode("utf-8", "surrogateescape")


def _mysql(session: Session) -> Iterator[str]:
    users = _users(session, "SELECT User, Host FROM mysql.user ORDER BY User, Host")
    defaults = []
    for user in users:
        account = _account(user)
        for (text,) in rows_of(session, f"SHOW CREATE USER {account}"):
            created, roles = _without_default_role(text)
            yield created.replace("CREATE USER", "CREATE USER IF NOT EXISTS", 1)
            if roles:
                defaults.append(f"ALTER USER {account} DEFAULT ROLE {roles}")
    for user in users:
        yield from (text for (text,) in rows_of(session, f"SHOW GRANTS FOR {_account(user)}"))
    yield from defaults


def _mariadb(session: Session, flavour: Flavour) -> Iterator[str]:
    roles = [
        name
        for (name,) in rows_of(session, "SELECT User FROM mysql.user WHERE is_role = 'Y' ORDER BY User")
        if name.upper() != "PUBLIC"
    ]
    users = _users(session, "SELECT User, Host FROM mysql.user WHERE is_role = 'N' ORDER BY User, Host")
    for role in roles:
        yield f"CREATE ROLE IF NOT EXISTS {quote_identifier(role)}"
    for user in users:
        for (text,) in rows_of(session, f"SHOW CREATE USER {_account(user)}"):
            yield text.replace("CREATE USER", "CREATE USER IF NOT EXISTS", 1)
    grantees = [quote_identifier(role) for role in roles]
    if flavour.version_number >= _PUBLIC_VERSION:
        grantees.append("PUBLIC")
    last = []
    for grantee in [*grantees, *(_account(user) for user in users)]:
        for (text,) in rows_of(session, f"SHOW GRANTS FOR {grantee}"):
            if text.startswith("SET DEFAULT ROLE"):
                last.append(text)
            else:
                yield without_password(text)
    yield from last


def _users(session: Session, sql: str) -> list[User]:
    return [(name, host) for name, host in rows_of(session, sql) if name not in _SYSTEM_USERS]


def _account(user: User) -> str:
    return f"{quote_literal(user[0])}@{quote_literal(user[1])}"


def _without_default_role(text: str) -> tuple[str, str | None]:
    """A CREATE USER without its DEFAULT ROLE clause, and the roles of that: they may not be there yet."""
    found = list(tokens(text, "mysql"))
    words = [token.word for token in found]
    for place in range(len(words) - 1):
        if words[place : place + 2] == ["DEFAULT", "ROLE"]:
            end = place + 2
            while end < len(found) and words[end] not in ("REQUIRE", "WITH", "PASSWORD", "ACCOUNT"):
                end += 1
            stop = found[end].start if end < len(found) else len(text)
            roles = text[found[place + 2].start : stop].strip()
            return text[: found[place].start] + text[stop:], roles
    return text, None


def without_password(text: str) -> str:
    """A GRANT of MariaDB's without the password that it repeats, which would change that of a user who
    is there already."""
    found = list(tokens(text, "mysql"))
    for place, token in enumerate(found):
        if token.word == "IDENTIFIED":
            end = next(
                (
                    later
                    for later in found[place:]
                    if later.word in ("REQUIRE", "WITH") and later.kind is Kind.WORD
                ),
                None,
            )
            return text[: token.start].rstrip() + (f" {text[end.start :]}" if end else "")
    return text
