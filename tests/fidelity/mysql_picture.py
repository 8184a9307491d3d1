"""A picture of a MySQL or MariaDB database: everything that makes it up, for the comparison "identical".

It is taken without dbtool's own code, so that it can judge dbtool. Definitions are those that the server
shows, values are those that it has: bytes in hexadecimal, floating-point numbers by their 64 bits.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.cursors import SSCursor

from dbtool.model.connection import Connection

if TYPE_CHECKING:
    Link = pymysql.connections.Connection[Any]

LONGEST_VALUE = 400  # characters; of longer ones the length and a digest are kept
MOST_ROWS = 200_000  # kept one by one; of tables with more, the digest must do

# What the text of a definition or a value depends on.
_SESSION = (
    "SET SESSION sql_mode = ''",
    "SET SESSION time_zone = '+00:00'",
    "SET SESSION sql_quote_show_create = 1",
)
_SESSION_MYSQL = (
    "SET SESSION show_create_table_verbosity = ON",
    "SET SESSION show_gipk_in_create_table_and_information_schema = ON",
    "SET SESSION information_schema_stats_expiry = 0",
)


@dataclass(frozen=True)
class Rows:
    """The rows of a table, in no order."""

    count: int
    digest: str
    rows: Mapping[str, int] = field(
        default_factory=dict
    )  # a row -> how often; empty where there are too many


@dataclass(frozen=True)
class Picture:
    """One database. Every part maps a name to something that is equal if and only if the thing is."""

    properties: Mapping[str, str]
    tables: Mapping[str, str]  # their definitions, with AUTO_INCREMENT and partitions
    columns: Mapping[str, str]  # what the information schema says of them, by table
    rows: Mapping[str, Rows]
    history: Mapping[str, Rows]  # of system-versioned tables, with the times
    partitions: Mapping[str, str]  # how many rows lie where
    sequences: Mapping[str, str]
    views: Mapping[str, str]
    triggers: Mapping[str, str]
    routines: Mapping[str, str]
    events: Mapping[str, str]


def take_picture(connection: Connection) -> Picture:
    """Look at all of a database. The account must be able to see everything in it."""
    with _connect(connection) as link:
        looking = _Looking(link, connection.database)
        return Picture(
            properties=looking.properties(),
            tables=looking.definitions("BASE TABLE", "SYSTEM VERSIONED"),
            columns=looking.columns(),
            rows=looking.rows(),
            history=looking.history(),
            partitions=looking.partitions(),
            sequences=looking.sequences(),
            views=looking.views(),
            triggers=looking.triggers(),
            routines=looking.routines(),
            events=looking.events(),
        )


def difference(left: Picture, right: Picture, parts: Iterable[str] = ()) -> list[str]:
    """What differs, as lines a person can read; empty where the databases are identical.

    `parts` names the fields of `Picture` to compare; all where it is empty.
    """
    lines: list[str] = []
    for part in tuple(parts) or [part.name for part in fields(Picture)]:
        first, second = getattr(left, part), getattr(right, part)
        for name in sorted({*first, *second}):
            one, other = first.get(name), second.get(name)
            if one == other:
                continue
            if one is None or other is None:
                lines.append(f"{part}: {name!r}: only on the {'right' if one is None else 'left'}")
            elif isinstance(one, Rows):
                lines += [f"{part}: {name!r}: {line}" for line in _row_difference(one, other)]
            else:
                changes = list(difflib.unified_diff(one.split("\n"), other.split("\n"), lineterm="", n=0))[2:]
                lines.append(f"{part}: {name!r} differs:\n  " + "\n  ".join(changes))
    return lines


def _row_difference(left: Rows, right: Rows, most: int = 5) -> Iterator[str]:
    yield f"{left.count} rows {left.digest[:16]}, {right.count} rows {right.digest[:16]}"
    gone, new = Counter(left.rows), Counter(right.rows)
    if gone and new:
        for side, only in (("left", gone - new), ("right", new - gone)):
            for row, times in sorted(only.items())[:most]:
                yield f"only on the {side}, {times} times: {row}"
            if len(only) > most:
                yield f"… and {len(only) - most} more only on the {side}"


def _connect(connection: Connection) -> Link:
    socket = connection.host if (connection.host or "").startswith("/") else None
    return pymysql.connect(
        host=None if socket else connection.host,
        unix_socket=socket,
        port=connection.port or 0,
        user=connection.user,
        password=connection.password or "",
        charset="utf8mb4",
        use_unicode=False,  # a definition may have defaults in it that are no text
        autocommit=True,
        conv={},  # values come as the bytes that the server sends
    )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _text(value: object) -> str:
    if value is None:
        return "-"
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


class _Looking:
    """One session that looks at one database."""

    def __init__(self, link: Link, database: str) -> None:
        self._link = link
        self._database = database
        self._mariadb = (
            "mariadb" in _text(self._ask("SELECT concat(VERSION(), @@version_comment)")[0][0]).lower()
        )
        for setting in _SESSION if self._mariadb else (*_SESSION, *_SESSION_MYSQL):
            self._ask(setting)
        # Names in views and routines are shown without the database's where it is the current one.
        self._ask(f"USE {_quoted(database)}")

    def _ask(self, query: str, *values: str) -> list[tuple[Any, ...]]:
        with self._link.cursor() as cursor:
            cursor.execute(query, values or None)
            return list(cursor.fetchall())

    def _schema(self, table: str, columns: str, order: str, condition: str) -> list[tuple[str, ...]]:
        query = f"SELECT {columns} FROM information_schema.{table} WHERE {condition} = %s ORDER BY {order}"
        return [tuple(_text(value) for value in row) for row in self._ask(query, self._database)]

    def _shown(self, kind: str, name: str, column: int) -> str:
        return self._own(_text(self._ask(f"SHOW CREATE {kind} {_quoted(name)}")[0][column]))

    def _own(self, text: str) -> str:
        """A definition without the name of the database that it is in."""
        return text.replace(_quoted(self._database) + ".", "")

    def properties(self) -> dict[str, str]:
        """Of the database itself."""
        columns = "default_character_set_name, default_collation_name"
        [(characters, collation)] = self._schema("schemata", columns, "1", "schema_name")
        definition = self._shown("DATABASE", self._database, 1).replace(_quoted(self._database), "…")
        return {"character set": characters, "collation": collation, "definition": definition}

    def _tables(self, *kinds: str) -> list[str]:
        rows = self._schema("tables", "table_name, table_type", "1", "table_schema")
        return [name for name, kind in rows if kind in kinds]

    def definitions(self, *kinds: str) -> dict[str, str]:
        """What SHOW CREATE TABLE says."""
        # MySQL says a column's character set besides the collation where a statement once did.
        return {
            name: re.sub(r"CHARACTER SET \w+ (?=COLLATE )", "", self._shown("TABLE", name, 1))
            for name in self._tables(*kinds)
        }

    def columns(self) -> dict[str, str]:
        """Order, defaults, character sets: what a definition may leave unsaid because it is the default."""
        told = "table_name, column_name, ordinal_position, column_default, is_nullable, column_type,"
        told += (
            " character_set_name, collation_name, column_key, extra, column_comment, generation_expression"
        )
        if not self._mariadb:
            told += ", srs_id"
        found: dict[str, str] = {}
        for table, *column in self._schema("columns", told, "table_name, ordinal_position", "table_schema"):
            found[table] = found.get(table, "") + self._own(" | ".join(column)) + "\n"
        return found

    def _values(self, table: str, besides: Iterable[str] = ()) -> list[str]:
        """An expression for each column of a table, that gives its value as ASCII, or NULL."""
        query = "SELECT column_name, data_type FROM information_schema.columns"
        query += " WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"
        kinds = [(_text(name), _text(kind)) for name, kind in self._ask(query, self._database, table)]
        return [self._value(_quoted(name), kind.lower()) for name, kind in kinds if name not in besides]

    def _value(self, column: str, kind: str) -> str:
        if kind in ("float", "double", "real"):
            # A point's own bytes are those of its coordinates: nothing is rounded on the way.
            return f"RIGHT(HEX(POINT(0, {column})), 16)"
        if kind in ("enum", "set"):  # two members may look the same
            return f"CONCAT(0 + {column}, ':', HEX({column}))"
        if kind == "json" and not self._mariadb:
            return f"CONCAT(JSON_TYPE({column}), ':', HEX(CAST({column} AS char CHARACTER SET utf8mb4)))"
        if kind == "bit":
            return f"0 + {column}"
        if kind.endswith(("char", "text", "blob", "binary")) or kind in _SHAPES or kind == "vector":
            return f"HEX({column})"
        return f"CAST({column} AS char CHARACTER SET ascii)"

    def _read(self, table: str, values: list[str], period: str = "") -> Rows:
        query = f"SELECT {', '.join(values)} FROM {_quoted(table)}{period}"
        count, total, kept = 0, 0, Counter[str]()
        with self._link.cursor(SSCursor) as cursor:
            cursor.execute(query)
            for row in cursor:
                text = " | ".join(_shortened(_text(value) if value is not None else "NULL") for value in row)
                count += 1
                total += int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
                if count <= MOST_ROWS:
                    kept[text] += 1
        return Rows(count, f"{total % 2**256:064x}", dict(kept) if count <= MOST_ROWS else {})

    def rows(self) -> dict[str, Rows]:
        """Every row as it is now; the times of system-versioned ones are in `history`."""
        plain = {table: self._read(table, self._values(table)) for table in self._tables("BASE TABLE")}
        versioned = {
            table: self._read(table, self._values(table, self._times(table)))
            for table in self._tables("SYSTEM VERSIONED")
        }
        return plain | versioned

    def history(self) -> dict[str, Rows]:
        """Every row that ever was, and when."""
        hidden = ["CAST(ROW_START AS char)", "CAST(ROW_END AS char)"]
        return {
            table: self._read(
                table,
                [*self._values(table), *([] if self._times(table) else hidden)],
                " FOR SYSTEM_TIME ALL",
            )
            for table in self._tables("SYSTEM VERSIONED")
        }

    def _times(self, table: str) -> tuple[str, ...]:
        """The columns of a system-versioned table that hold the times, if it has its own."""
        found = re.search(r"PERIOD FOR SYSTEM_TIME \(`(.*)`, `(.*)`\)", self._shown("TABLE", table, 1))
        return found.groups() if found else ()

    def partitions(self) -> dict[str, str]:
        """The rows of each partition, counted."""
        told = "table_name, coalesce(subpartition_name, partition_name), partition_method"
        rows = self._schema("partitions", told, "1, partition_ordinal_position, 2", "table_schema")
        found = {}
        for table, partition, method in rows:
            if partition != "-" and method != "SYSTEM_TIME":  # how much history there is, `history` says
                query = f"SELECT count(*) FROM {_quoted(table)} PARTITION ({_quoted(partition)})"
                found[f"{table}: {partition}"] = _text(self._ask(query)[0][0])
        return found

    def sequences(self) -> dict[str, str]:
        """How each goes on, and where it stands."""
        found = self.definitions("SEQUENCE")
        for name, definition in found.items():
            state = self._ask(f"SELECT * FROM {_quoted(name)}")[0]
            found[name] = definition + "\n" + " | ".join(_text(value) for value in state)
        return found

    def views(self) -> dict[str, str]:
        """What SHOW CREATE VIEW says, with the character set and collation of the session that made it."""
        found = {}
        for name in self._tables("VIEW"):
            row = self._ask(f"SHOW CREATE VIEW {_quoted(name)}")[0]
            found[name] = "\n".join(self._own(_text(value)) for value in row[1:])
        return found

    def triggers(self) -> dict[str, str]:
        """With the settings of the sessions that made them and their place in the order."""
        told = "trigger_name, event_object_table, event_manipulation, action_timing, action_order"
        rows = self._schema("triggers", told, "1", "trigger_schema")
        return {name: "\n".join([*place, self._settings("TRIGGER", name)]) for name, *place in rows}

    def routines(self) -> dict[str, str]:
        """Functions, procedures and packages."""
        told = "routine_type, routine_name, security_type, sql_data_access, is_deterministic, routine_comment"
        rows = self._schema("routines", told, "1, 2", "routine_schema")
        return {
            f"{kind} {name}": "\n".join([*told, self._settings(kind, name)]) for kind, name, *told in rows
        } | self._libraries()

    def _libraries(self) -> dict[str, str]:
        known = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'information_schema'"
        if not self._ask(known + " AND table_name = 'LIBRARIES'"):
            return {}
        names = self._schema("libraries", "library_name", "1", "library_schema")
        return {f"LIBRARY {name}": self._settings("LIBRARY", name) for (name,) in names}

    def events(self) -> dict[str, str]:
        """With their schedule and whether they are enabled."""
        told = "event_name, time_zone, status, on_completion, event_type, execute_at, interval_value,"
        told += " interval_field, starts, ends, event_comment"
        rows = self._schema("events", told, "1", "event_schema")
        return {name: "\n".join([*schedule, self._settings("EVENT", name)]) for name, *schedule in rows}

    def _settings(self, kind: str, name: str) -> str:
        """All that SHOW CREATE says but the name and the time of its making."""
        row = [_text(value) for value in self._ask(f"SHOW CREATE {kind} {_quoted(name)}")[0][1:]]
        return self._own("\n".join(value for value in row if not _MADE_AT.fullmatch(value)))


_SHAPES = [
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geomcollection",
]
_SHAPES.append("geometrycollection")
_MADE_AT = re.compile(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")


def _shortened(value: str) -> str:
    if len(value) <= LONGEST_VALUE:
        return value
    return f"{value[:40]}… {len(value)} characters, {hashlib.sha256(value.encode()).hexdigest()}"
