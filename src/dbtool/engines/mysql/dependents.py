"""What hangs on tables that are replaced, or names their database, and must be turned to the new ones."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.journal import Script
from dbtool.engines.mysql.messages import readable_errors
from dbtool.engines.mysql.quoting import qualified, quote_identifier, quote_literal
from dbtool.engines.mysql.schema import Names, take_apart

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

_KEYS_SQL = """
SELECT DISTINCT table_schema, table_name, constraint_name, referenced_table_name
FROM information_schema.key_column_usage WHERE referenced_table_schema = %s ORDER BY 1, 2, 3
"""

_DEFAULTS_SQL = """
SELECT table_name, column_name, column_default FROM information_schema.columns
WHERE table_schema = %s AND column_default LIKE %s ORDER BY table_name, ordinal_position
"""

_ROUTINE_GRANTS_SQL = """
SELECT Host, User, Routine_name, Routine_type, Proc_priv FROM mysql.procs_priv WHERE Db = %s ORDER BY 1, 2, 3, 4
"""


@dataclass(frozen=True)
class OutsideKey:
    """A foreign key of a table that stays, to one that is replaced."""

    schema: str
    table: str
    name: str
    clause: str  # "CONSTRAINT … FOREIGN KEY (…) REFERENCES …"

    @property
    def what(self) -> str:
        """For a person."""
        return f"foreign key {self.name} of {self.schema}.{self.table}"

    @property
    def is_there(self) -> str:
        """A query that has a row if it is there."""
        return key_is_there(self.schema, self.table, self.name)

    @property
    def drop(self) -> str:
        """The statement that drops it."""
        return (
            f"ALTER TABLE {qualified(self.schema, self.table)} DROP FOREIGN KEY {quote_identifier(self.name)}"
        )

    @property
    def add(self) -> str:
        """The statement that makes it again, where it was."""
        return f"ALTER TABLE {qualified(self.schema, self.table)} ADD {self.clause}"


def key_is_there(database: str, table: str, name: str) -> str:
    """A query that has a row if a table has a foreign key of that name."""
    return (
        "SELECT 1 FROM information_schema.referential_constraints "  # noqa: S608
        f"WHERE constraint_schema = {quote_literal(database)} AND table_name = {quote_literal(table)} "
        f"AND constraint_name = {quote_literal(name)}"
    )


def outside_keys(session: Session, database: str, tables: Collection[str]) -> list[OutsideKey]:
    """Foreign keys to these tables of a database, from tables that are none of them."""
    with readable_errors("looking for foreign keys"), session.cursor() as cursor:
        cursor.execute(_KEYS_SQL, (database,))
        rows = cursor.fetchall()
        found = [
            (schema, table, name)
            for schema, table, name, parent in rows
            if parent in tables and not (schema == database and table in tables)
        ]
        definitions = {}
        for schema, table in {(schema, table) for schema, table, _ in found}:
            cursor.execute(f"SHOW CREATE TABLE {qualified(schema, table)}")
            row = cursor.fetchone()
            names = Names(schema, {}, "", is_mariadb=True)
            for key in take_apart(str(row[1]) if row else "", names, keeps_keys=True).foreign_keys:
                definitions[schema, table, key.name] = key.clause
    return [OutsideKey(*place, definitions[place]) for place in found]


def defaults_to_turn(session: Session, database: str, final: str) -> list[Script]:
    """Defaults that name the database (MariaDB's `nextval`): how they name the final one instead."""
    here, there = f"{quote_identifier(database)}.", f"{quote_identifier(final)}."
    pattern = "%" + here.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    with readable_errors("looking for defaults"), session.cursor() as cursor:
        cursor.execute(_DEFAULTS_SQL, (database, pattern))
        rows = cursor.fetchall()
    return [
        Script(
            f"default of {table}.{column}",
            (
                f"ALTER TABLE {qualified(final, table)} ALTER COLUMN {quote_identifier(column)} "
                f"SET DEFAULT ({default.replace(here, there)})",
            ),
        )
        for table, column, default in rows
    ]


def routine_grants(session: Session, database: str) -> Iterator[tuple[str, str, Script]]:
    """(kind, routine, how it is granted again): the servers forget these with the routine. Nothing where
    the account may not read them."""
    import pymysql

    try:
        with session.cursor() as cursor:
            cursor.execute(_ROUTINE_GRANTS_SQL, (database,))
            rows = cursor.fetchall()
    except pymysql.MySQLError:
        return
    for host, user, routine, kind, rights in rows:
        words = [word.upper() for word in (rights if isinstance(rights, str) else "").split(",") if word]
        option = " WITH GRANT OPTION" if "GRANT" in words else ""
        listed = ", ".join(word for word in words if word != "GRANT") or "USAGE"
        account = quote_literal(user) + (f"@{quote_literal(host)}" if host else "")
        statement = f"GRANT {listed} ON {kind} {qualified(database, routine)} TO {account}{option}"
        yield str(kind).upper(), routine, Script(f"privileges on {kind.lower()} {routine}", (statement,))
