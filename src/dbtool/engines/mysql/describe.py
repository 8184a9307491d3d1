"""What `\\d` shows: the relations of a database, or one of them in full."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.names import RELATION_KINDS, SYSTEM_SCHEMAS
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.engines.mysql.settings import control_session_settings
from dbtool.errors import NotFoundError
from dbtool.text import aligned, printable

if TYPE_CHECKING:
    import pymysql

_RELATIONS = """
SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, COALESCE(ENGINE, ''), COALESCE(TABLE_ROWS, ''),
  COALESCE(TABLE_COMMENT, '') FROM information_schema.TABLES"""

_COLUMNS = """
SELECT COLUMN_NAME, COLUMN_TYPE, COALESCE(COLLATION_NAME, ''), IS_NULLABLE, COLUMN_DEFAULT, EXTRA,
  GENERATION_EXPRESSION, COLUMN_COMMENT
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION"""

_COLLATION = (
    "SELECT TABLE_COLLATION FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
)

_INDEXES = """
SELECT INDEX_NAME, NON_UNIQUE, INDEX_TYPE, COLUMN_NAME, SUB_PART, COLLATION, INDEX_COMMENT{expression}
FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"""

_FOREIGN_KEYS = """
SELECT k.CONSTRAINT_NAME, k.TABLE_SCHEMA, k.TABLE_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA,
  k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.UPDATE_RULE, r.DELETE_RULE
FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r
  ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME
  AND r.TABLE_NAME = k.TABLE_NAME
WHERE {condition} AND k.REFERENCED_TABLE_NAME IS NOT NULL
ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION"""
_FROM = "k.TABLE_SCHEMA = %s AND k.TABLE_NAME = %s"
_TO = "k.REFERENCED_TABLE_SCHEMA = %s AND k.REFERENCED_TABLE_NAME = %s"

# Each gives one text a row; a section without rows, or one that this server does not know, is left out.
_SECTIONS = {
    "Check constraints": """
        SELECT CONCAT(c.CONSTRAINT_NAME, ' ', c.CHECK_CLAUSE)
        FROM information_schema.CHECK_CONSTRAINTS c JOIN information_schema.TABLE_CONSTRAINTS t
          ON t.CONSTRAINT_SCHEMA = c.CONSTRAINT_SCHEMA AND t.CONSTRAINT_NAME = c.CONSTRAINT_NAME {same_table}
        WHERE t.CONSTRAINT_TYPE = 'CHECK' AND t.TABLE_SCHEMA = %s AND t.TABLE_NAME = %s ORDER BY 1""",
    "Triggers": """
        SELECT CONCAT(TRIGGER_NAME, ' ', ACTION_TIMING, ' ', EVENT_MANIPULATION, ': ',
          SUBSTRING_INDEX(ACTION_STATEMENT, '\\n', 1))
        FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s
        ORDER BY ACTION_TIMING DESC, EVENT_MANIPULATION, ACTION_ORDER""",
    "Partitions": """
        SELECT CONCAT(PARTITION_NAME, COALESCE(CONCAT(' ', PARTITION_METHOD, ' (', PARTITION_EXPRESSION, ')'), ''),
          COALESCE(CONCAT(' ', PARTITION_DESCRIPTION), ''))
        FROM information_schema.PARTITIONS
        WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND PARTITION_NAME IS NOT NULL
        ORDER BY PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION""",
    "Definition": """
        SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s""",
    "Definer": """
        SELECT CONCAT(DEFINER, ', SQL SECURITY ', SECURITY_TYPE) FROM information_schema.VIEWS
        WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s""",
    "Options": """
        SELECT CONCAT_WS(', ', NULLIF(CREATE_OPTIONS, ''), TABLE_COLLATION, ROW_FORMAT,
          CONCAT('AUTO_INCREMENT = ', AUTO_INCREMENT))
        FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND ENGINE IS NOT NULL""",
    "Comment": """
        SELECT TABLE_COMMENT FROM information_schema.TABLES
        WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND TABLE_TYPE <> 'VIEW'""",
}

Session = Any


def describe(session: pymysql.connections.Connection[Any], database: str, pattern: str | None) -> list[str]:
    """Lines that describe all relations of a database, those that match a pattern, or the one that does.

    A pattern has `*` and `?`, may be `database.name`, and back-ticks for names that are to be taken as
    they are. Raises NotFoundError, with the nearest names.
    """
    control_session_settings(session)
    if not pattern:
        relations = _rows(session, f"{_RELATIONS} WHERE TABLE_SCHEMA = %s ORDER BY TABLE_NAME", (database,))
        return _list(relations) or ["No relations."]
    wanted, name = _regular_expressions(pattern)
    relations = _rows(
        session,
        f"{_RELATIONS} WHERE TABLE_SCHEMA {'= %s' if wanted is None else 'RLIKE %s'} "
        "ORDER BY TABLE_SCHEMA, TABLE_NAME",
        (wanted or database,),
    )
    found = [row for row in relations if re.fullmatch(name, row[1])]
    if not found:
        found = [row for row in relations if re.fullmatch(name, row[1], re.IGNORECASE)]
    if not found:
        raise NotFoundError(f"nothing is called {pattern}", _nearest(session, database, pattern))
    return _in_full(session, found[0]) if len(found) == 1 else _list(found)


def _list(relations: Sequence[Sequence[str]]) -> list[str]:
    rows = [
        (
            schema,
            name,
            RELATION_KINDS.get(kind, kind.lower()),
            engine,
            rows,
            "" if kind == "VIEW" else comment,
        )
        for schema, name, kind, engine, rows, comment in relations
    ]
    width = 6 if any(row[5] for row in rows) else 5
    titles = ("database", "name", "kind", "engine", "rows, about", "comment")[:width]
    return aligned(titles, [row[:width] for row in rows]) if rows else []


def _in_full(session: Session, relation: Sequence[str]) -> list[str]:
    schema, name, kind, engine, _, _ = relation
    table = (schema, name)
    title = f"{RELATION_KINDS.get(kind, kind.lower())} {schema}.{name}" + (
        f", engine {engine}" if engine else ""
    )
    lines = [printable(title)]
    if kind == "SEQUENCE":
        return lines + _sequence(session, table)
    columns = _columns(session, table)
    if columns:
        width = 5 if any(row[4] for row in columns) else 4
        titles = ("column", "type", "nullable", "default", "comment")[:width]
        lines += aligned(titles, [row[:width] for row in columns])
    for title, texts in (
        ("Indexes", _indexes(session, table)),
        ("Foreign keys", _foreign_keys(session, table, _FROM)),
        ("Referenced by", _foreign_keys(session, table, _TO)),
        *((title, _section(session, query, table)) for title, query in _SECTIONS.items()),
    ):
        if texts:
            lines.append(f"{title}:")
            lines += ["    " + printable(line) for text in texts for line in text.splitlines()]
    return lines


def _columns(session: Session, table: tuple[str, str]) -> list[tuple[str, ...]]:
    usual = next((row[0] for row in _rows(session, _COLLATION, table)), "")
    found: list[tuple[str, ...]] = []
    for name, type_name, collation, nullable, default, extra, expression, comment in _rows(
        session, _COLUMNS, table
    ):
        words = [f"DEFAULT {default}"] if default not in ("", "NULL") or extra == "DEFAULT_GENERATED" else []
        if expression:
            words = [f"AS ({expression})"]
        words.append(extra.replace("DEFAULT_GENERATED", "").strip())
        differs = collation not in ("", usual)
        found.append(
            (
                name,
                type_name + (f" COLLATE {collation}" if differs else ""),
                "" if nullable == "YES" else "not null",
                " ".join(filter(None, words)),
                comment,
            )
        )
    return found


def _indexes(session: Session, table: tuple[str, str]) -> list[str]:
    import pymysql

    try:
        rows = _rows(session, _INDEXES.format(expression=", EXPRESSION"), table)
    except pymysql.MySQLError:  # MariaDB, and MySQL before 8.0.13
        rows = [(*row, "") for row in _rows(session, _INDEXES.format(expression=""), table)]
    parts: dict[str, list[str]] = {}
    heads: dict[str, tuple[str, str]] = {}
    for name, non_unique, kind, column, length, order, comment, expression in rows:
        words = [] if name == "PRIMARY" else [quote_where_needed(name)]
        words.append("PRIMARY KEY" if name == "PRIMARY" else "" if non_unique == "1" else "UNIQUE")
        words.append("" if kind == "BTREE" else kind)
        what = " ".join(filter(None, words))
        heads[name] = (what, comment)
        part = (
            f"({expression})"
            if expression
            else quote_where_needed(column) + (f"({length})" if length else "")
        )
        parts.setdefault(name, []).append(part + (" DESC" if order == "D" else ""))
    return [
        f"{what} ({', '.join(parts[name])})" + (f"  {comment}" if comment else "")
        for name, (what, comment) in heads.items()
    ]


def _foreign_keys(session: Session, table: tuple[str, str], condition: str) -> list[str]:
    """The foreign keys of a table, or those that point to it."""
    keys: dict[tuple[str, ...], tuple[list[str], list[str]]] = {}
    for name, schema, from_table, column, to_schema, to_table, to_column, updated, deleted in _rows(
        session, _FOREIGN_KEYS.format(condition=condition), table
    ):
        key = (name, schema, from_table, to_schema, to_table, updated, deleted)
        columns, others = keys.setdefault(key, ([], []))
        columns.append(quote_where_needed(column))
        others.append(quote_where_needed(to_column))
    lines = []
    for (name, schema, from_table, to_schema, to_table, updated, deleted), (columns, others) in keys.items():
        source = "" if condition == _FROM else f"{_named(schema, from_table, table[0])} "
        text = f"{source}{quote_where_needed(name)} FOREIGN KEY ({', '.join(columns)})"
        text += f" REFERENCES {_named(to_schema, to_table, table[0])} ({', '.join(others)})"
        text += "".join(
            f" ON {event} {rule}"
            for event, rule in (("UPDATE", updated), ("DELETE", deleted))
            if rule not in ("RESTRICT", "NO ACTION")
        )
        lines.append(text)
    return lines


def _named(schema: str, name: str, here: str) -> str:
    return ("" if schema == here else f"{quote_where_needed(schema)}.") + quote_where_needed(name)


def _section(session: Session, query: str, table: tuple[str, str]) -> list[str]:
    import pymysql

    # In MySQL the name of a CHECK is one of its database's, in MariaDB one of its table's.
    for same_table in ("AND t.TABLE_NAME = c.TABLE_NAME", ""):
        try:
            return [
                row[0] for row in _rows(session, query.replace("{same_table}", same_table), table) if row[0]
            ]
        except pymysql.MySQLError:
            continue
    return []


def _sequence(session: Session, table: tuple[str, str]) -> list[str]:
    name = ".".join(map(quote_identifier, table))
    (row,) = _rows(
        session,
        "SELECT start_value, minimum_value, maximum_value, increment, cache_size, cycle_option "  # noqa: S608
        f"FROM {name}",
        (),
    )
    start, lowest, highest, increment, cache, cycles = row
    text = f"    from {lowest} to {highest}, start {start}, increment {increment}, cache {cache}"
    return [text + (", cycles" if cycles == "1" else "")]


def quote_where_needed(name: str) -> str:
    """A name for a person: in back-ticks only where it is no plain word."""
    return name if re.fullmatch(r"[A-Za-z_$][\w$]*", name) else quote_identifier(name)


def _regular_expressions(pattern: str) -> tuple[str | None, str]:
    """Database (None: the one that is used) and name, as regular expressions."""
    parts = [""]
    for quoted, plain in re.findall(r"`((?:[^`]|``)*)`?|([^`])", pattern):
        if plain == ".":
            parts.append("")
        elif plain:
            parts[-1] += {"*": ".*", "?": "."}.get(plain) or re.escape(plain)
        else:
            parts[-1] += re.escape(quoted.replace("``", "`"))
    schema = parts[-2] if len(parts) > 1 else None
    return (None if schema is None else f"^{schema}$"), f"(?s:{parts[-1]})"


def _nearest(session: Session, database: str, pattern: str) -> str:
    system = ", ".join("%s" for _ in SYSTEM_SCHEMAS)
    rows = _rows(session, f"{_RELATIONS} WHERE TABLE_SCHEMA NOT IN ({system})", SYSTEM_SCHEMAS)
    names = [row[1] for row in rows if row[0] == database] + [f"{row[0]}.{row[1]}" for row in rows]
    near = difflib.get_close_matches(pattern.replace("`", ""), names, n=3)
    return f"Did you mean {', '.join(map(printable, near))}?" if near else "\\d lists what there is."


def _rows(session: Session, query: str, parameters: tuple[str, ...]) -> list[tuple[str, ...]]:
    with session.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return [tuple(_text(value) for value in row) for row in cursor.fetchall()]


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return "" if value is None else str(value)
