"""A picture of a MariaDB or MySQL database: SHOW CREATE of all that is in it, and a digest of every table by SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demo.picture import Picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pymysql

    from dbtool.servers.mysql import MysqlServer

# Kind, what lists the names of one database, and the columns of SHOW CREATE that are not of the moment.
OBJECTS = (
    ("TABLE", "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"
     " AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1", (1,)),
    ("VIEW", "SELECT TABLE_NAME FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s ORDER BY 1", (1, 2, 3)),
    ("TRIGGER", "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s"
     " ORDER BY 1", (1, 2, 3, 4, 5)),
    ("FUNCTION", "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s"
     " AND ROUTINE_TYPE = 'FUNCTION' ORDER BY 1", (1, 2, 3, 4, 5)),
    ("PROCEDURE", "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s"
     " AND ROUTINE_TYPE = 'PROCEDURE' ORDER BY 1", (1, 2, 3, 4, 5)),
    ("EVENT", "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s"
     " ORDER BY 1", (1, 2, 3, 4, 5, 6)),
)  # fmt: skip
SEQUENCES = """
    SELECT TABLE_NAME FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'SEQUENCE' ORDER BY 1"""
COLUMNS = """
    SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"""
VERSIONED = """
    SELECT TABLE_NAME FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'SYSTEM VERSIONED'"""
PROPERTIES = """
    SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME
    FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s"""
BYTES = {"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "bit", "geometry", "point"}
BYTES |= {"linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection"}


def take_picture(server: MysqlServer, database: str) -> Picture:
    """Read all of a database of the server."""
    import pymysql

    reached = server.connection(database)
    with (
        pymysql.connect(
            host=reached.host, port=reached.port or 0, user=reached.user, database=database, charset="utf8mb4"
        ) as session,
        session.cursor() as cursor,
    ):
        cursor.execute("SET time_zone = '+00:00', sql_mode = ''")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        versioned = set(_names(cursor, VERSIONED, database))
        _, tables, _ = OBJECTS[0]
        return Picture(
            schema="\n".join(_definitions(cursor, database)),
            tables={
                name: _digest(cursor, database, name, name in versioned)
                for name in _names(cursor, tables, database)
            },
            sequences={
                name: _all(cursor, f"SELECT * FROM {_quoted(name)}")[0]
                for name in _names(cursor, SEQUENCES, database)
            },
            properties=_all(cursor, PROPERTIES, database)[0],
        )


def _all(cursor: pymysql.cursors.Cursor, query: str, *parameters: str) -> list[tuple[Any, ...]]:
    cursor.execute(query, parameters or None)
    return list(cursor.fetchall())


def _names(cursor: pymysql.cursors.Cursor, query: str, database: str) -> list[str]:
    return [str(row[0]) for row in _all(cursor, query, database)]


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _definitions(cursor: pymysql.cursors.Cursor, database: str) -> Iterator[str]:
    """What the server says of each object, without the name of the database."""
    for kind, query, kept in OBJECTS:
        for name in _names(cursor, query, database):
            row = _all(cursor, f"SHOW CREATE {kind} {_quoted(name)}")[0]
            for number in kept:
                yield f"{kind} {name}: {row[number]}".replace(f"{_quoted(database)}.", "")


def _digest(cursor: pymysql.cursors.Cursor, database: str, name: str, versioned: bool) -> tuple[int, str]:
    """The rows as a multiset, with those of the past: their number, and the sum of their hashes."""
    values = [_value(_quoted(column), kind) for column, kind in _all(cursor, COLUMNS, database, name)]
    if versioned:
        values += ["CAST(ROW_START AS CHAR)", "CAST(ROW_END AS CHAR)"]
    row = ", ".join(f"IFNULL(HEX({value}), '-')" for value in values)
    rows, digest = _all(
        cursor,
        "SELECT COUNT(*),"
        f" COALESCE(SUM(CAST(CONV(LEFT(SHA2(CONCAT_WS(',', {row}), 256), 16), 16, 10) AS UNSIGNED)), 0)"
        f" FROM {_quoted(name)}{' FOR SYSTEM_TIME ALL' if versioned else ''}",
    )[0]
    return rows, str(digest)


def _value(column: str, kind: str) -> str:
    """An SQL expression whose text, or bytes, are the value's, exactly."""
    if kind in BYTES:
        return column
    return f"CAST({f'CAST({column} AS DOUBLE)' if kind == 'float' else column} AS CHAR)"
