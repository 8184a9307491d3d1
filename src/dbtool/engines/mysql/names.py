"""The names of a server that completion can offer: a few catalogue queries, fast on large schemas.

A database of the server's is a "schema" here. What `\\d` shows stands in `describe.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql import builtin_names
from dbtool.engines.mysql.settings import control_session_settings
from dbtool.engines.session import Names, Relation

if TYPE_CHECKING:
    import pymysql

SYSTEM_SCHEMAS = ("information_schema", "performance_schema", "mysql", "sys")
RELATION_KINDS = {
    "BASE TABLE": "table",
    "SYSTEM VERSIONED": "system-versioned table",
    "VIEW": "view",
    "SYSTEM VIEW": "view",
    "SEQUENCE": "sequence",
    "TEMPORARY": "temporary table",
}
# MariaDB opens every table to tell its columns: of other databases only while there are few.
_FEW_TABLES = 1000

_SCHEMAS = "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"
_TABLES = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES"
_COLUMNS = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE FROM information_schema.COLUMNS"
_ROUTINES = "SELECT DISTINCT ROUTINE_SCHEMA, ROUTINE_NAME FROM information_schema.ROUTINES"
_USERS = "SELECT DISTINCT User FROM mysql.user WHERE User <> '' ORDER BY 1"
_KEYWORDS = "SELECT UPPER(WORD) FROM information_schema.KEYWORDS ORDER BY 1"
_FUNCTIONS = "SELECT `FUNCTION` FROM information_schema.SQL_FUNCTIONS"  # MariaDB only


def load(session: pymysql.connections.Connection[Any], database: str) -> Names:
    """All names, the user's before the system's; those of `database` are the visible ones."""
    control_session_settings(session)
    tables = _rows(session, _TABLES)
    few = len(tables) <= _FEW_TABLES
    columns: dict[tuple[str, str], list[tuple[str, str]]] = {}
    condition = "" if few else " WHERE TABLE_SCHEMA = %s"
    for schema, table, name, type_name in _rows(
        session,
        f"{_COLUMNS}{condition} ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION",
        () if few else (database,),
    ):
        columns.setdefault((schema, table), []).append((name, type_name))
    schemas = sorted((name for (name,) in _rows(session, _SCHEMAS)), key=_system_last)
    relations = tuple(
        Relation(
            schema,
            name,
            RELATION_KINDS.get(kind, kind.lower()),
            tuple(columns.get((schema, name), ())),
            schema == database,
        )
        for schema, name, kind in sorted(tables, key=lambda row: (_system_last(row[0]), row[1]))
    )
    routines = sorted(_rows(session, _ROUTINES), key=lambda row: (_system_last(row[0]), row[1]))
    built_in = _column(session, _FUNCTIONS) or builtin_names.FUNCTIONS
    return Names(
        schemas=tuple(schemas),
        relations=relations,
        functions=(
            *((schema, name) for schema, name in routines),
            *(("", name.lower()) for name in built_in),
        ),
        types=builtin_names.TYPES,
        databases=tuple(schemas),
        roles=_column(session, _USERS),
        keywords=_column(session, _KEYWORDS),
    )


def _system_last(schema: str) -> tuple[bool, str]:
    return schema.lower() in SYSTEM_SCHEMAS, schema


def _rows(
    session: pymysql.connections.Connection[Any], query: str, parameters: tuple[str, ...] = ()
) -> list[tuple[str, ...]]:
    with session.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return [
            tuple(
                value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
                for value in row
            )
            for row in cursor.fetchall()
        ]


def _column(session: pymysql.connections.Connection[Any], query: str) -> tuple[str, ...]:
    """What a query gives that the server, or the account, may not have."""
    import pymysql

    try:
        return tuple(name for (name,) in _rows(session, query))
    except pymysql.MySQLError:
        return ()
