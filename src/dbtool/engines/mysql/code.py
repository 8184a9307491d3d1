"""Routines, views, triggers and events as the server shows them, and the SQL that makes each again.

Each is made under what it was made under: sql_mode, character set, collations, time zone. Their text is
kept in the character set that it is stored in; what is no UTF-8 is in strings as `surrogateescape` keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from dbtool.engines.lexical import Kind, Token, tokens
from dbtool.engines.mysql.after import SCHEMA_SETTINGS, delimited, is_treacherous
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.introspect import Relation
from dbtool.engines.mysql.messages import number_of
from dbtool.engines.mysql.queries import rows_of, stored_text, warnings_of
from dbtool.engines.mysql.quoting import quote_identifier, quote_literal
from dbtool.engines.mysql.schema import name_of, view_without_database
from dbtool.errors import RefusedError

if TYPE_CHECKING:
    from dbtool.engines.mysql.queries import Session

_ROUTINES_SQL = """
SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s
ORDER BY ROUTINE_TYPE, ROUTINE_NAME
"""
_LIBRARIES_SQL = """
SELECT 'LIBRARY', LIBRARY_NAME FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA = %s ORDER BY LIBRARY_NAME
"""
_TRIGGERS_SQL = """
SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s
ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER
"""
_EVENTS_SQL = """
SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s ORDER BY EVENT_NAME
"""
# Everything whose change could slip in between two looks.
_FINGERPRINT_SQL = """
SELECT 'r', ROUTINE_NAME, ROUTINE_TYPE, LAST_ALTERED FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s
UNION ALL SELECT 't', TRIGGER_NAME, EVENT_OBJECT_TABLE, CREATED FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s
UNION ALL SELECT 'e', EVENT_NAME, STATUS, LAST_ALTERED FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s
"""
_LIBRARY_VERSION = 90200
# The order in which routines are made: a package's body needs the package.
_ROUTINE_ORDER = ("LIBRARY", "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY")
# Behind these words stands a name, and behind those a body.
_NAMED = frozenset({"FUNCTION", "PROCEDURE", "EVENT", "PACKAGE", "BODY"})
_BODIES = frozenset({"BEGIN", "RETURN", "DO", "AS", "IS"})
# Of a procedure; where another word stands, its body begins.
_CHARACTERISTICS = frozenset(
    {
        *("COMMENT", "CONTAINS", "DATA", "DEFINER", "DETERMINISTIC", "INVOKER", "LANGUAGE", "MODIFIES", "NO"),
        *("NOT", "READS", "SECURITY", "SQL"),
    }
)
_PARSE_ERROR = 1064
_BROKEN_VIEW = 1356
_NO_DEFINER = 1449


@dataclass(frozen=True)
class CodeObject:
    """A routine, trigger, event or view, and what it was made under."""

    kind: str  # "FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "LIBRARY", "TRIGGER", "EVENT", "VIEW"
    name: str
    text: str  # CREATE …, without the database's name
    sql_mode: str = ""
    client_charset: str = "utf8mb4"
    connection_collation: str = "utf8mb4_general_ci"
    database_collation: str | None = None
    time_zone: str | None = None
    table: str | None = None  # a trigger's
    reads: frozenset[str] = frozenset()  # names of tables and views that a view reads
    calls: frozenset[str] = frozenset()  # names of what may be functions that a view calls
    lacks_definer: bool = False  # a view's own, or that of one below it
    is_broken: bool = False  # a view that the server itself cannot read

    def sql(self, database_collation: str, statement: str | None = None) -> str:
        """The statements that make it, as the client programs take them; the session's settings are the
        script's again behind them."""
        zone = f", time_zone = {quote_literal(self.time_zone)}" if self.time_zone else ""
        text = (
            f"SET SESSION sql_mode = {quote_literal(self.sql_mode)}{zone};\n"
            f"SET character_set_client = {self.client_charset}, collation_connection = {self.connection_collation};\n"
        )
        other = self.database_collation if self.database_collation != database_collation else None
        if other:
            text = f"ALTER DATABASE COLLATE {other};\n{text}"
        body = statement or self.text
        # The server has written a view's text itself: there is no semicolon but in strings.
        is_plain = self.kind == "VIEW" and not is_treacherous(body, self.client_charset)
        text += f"{body};\n" if is_plain else delimited(body, self.client_charset)
        text += SCHEMA_SETTINGS
        return text + (f"ALTER DATABASE COLLATE {database_collation};\n" if other else "")


def fingerprint(session: Session, database: str) -> set[tuple[Any, ...]]:
    """What changes whenever a routine, trigger or event does."""
    return set(rows_of(session, _FINGERPRINT_SQL, (database,) * 3))


def routines(session: Session, database: str, flavour: Flavour) -> list[CodeObject]:
    """Functions, procedures, packages and libraries. Raises RefusedError for those that cannot be seen."""
    found = rows_of(session, _ROUTINES_SQL, (database,))
    if not flavour.is_mariadb and flavour.version_number >= _LIBRARY_VERSION:
        found += rows_of(session, _LIBRARIES_SQL, (database,))
    found.sort(key=lambda row: (_ROUTINE_ORDER.index(row[0]) if row[0] in _ROUTINE_ORDER else 0, row[1]))
    return [_shown(session, kind, name) for kind, name in found]


def triggers(session: Session, database: str) -> list[CodeObject]:
    """Triggers, in the order in which they must be made to fire in theirs."""
    return [
        _shown(session, "TRIGGER", name, table=table, database=database)
        for name, table in rows_of(session, _TRIGGERS_SQL, (database,))
    ]


def events(session: Session, database: str) -> list[CodeObject]:
    """Events."""
    return [_shown(session, "EVENT", name) for (name,) in rows_of(session, _EVENTS_SQL, (database,))]


def views(session: Session, database: str, relations: tuple[Relation, ...]) -> list[CodeObject]:
    """Views, by name; those that the server cannot read are marked."""
    return [_view(session, database, item.name) for item in relations if item.kind == "VIEW"]


def _view(session: Session, database: str, name: str) -> CodeObject:
    try:
        shown, numbers = _show_create(session, "VIEW", name)
    except Exception as error:
        if number_of(error) != _PARSE_ERROR:
            raise
        # MySQL does not understand what it has written down itself: of letters whose bytes hold a backslash.
        return CodeObject(kind="VIEW", name=name, text=f"-- view {quote_identifier(name)}", is_broken=True)
    text, reads, calls = view_without_database(shown["create view"], database)
    return CodeObject(
        kind="VIEW",
        name=name,
        text=text,
        client_charset=shown["character_set_client"],
        connection_collation=shown["collation_connection"],
        reads=frozenset(reads),
        calls=frozenset(calls),
        lacks_definer=_NO_DEFINER in numbers,
        is_broken=_BROKEN_VIEW in numbers,
    )


def _shown(
    session: Session, kind: str, name: str, table: str | None = None, database: str | None = None
) -> CodeObject:
    shown, _ = _show_create(session, kind, name)
    column = "sql original statement" if kind == "TRIGGER" else f"create {kind.lower()}"
    text = shown.get(column) or ""
    if not text:
        raise RefusedError(
            f"the account may not see what {kind} {name} does",
            "dbtool doctor shows what the account lacks, and the GRANT that mends it",
        )
    charset = shown.get("character_set_client") or "utf8mb4"
    if database is not None:
        text = trigger_without_database(text, database)
        text = _with_names_in_its_charset(session, text, (name, str(table)), charset)
    elif not charset.startswith("utf8"):
        text = _in_one_charset(session, text, charset)
    return CodeObject(
        kind=kind,
        name=name,
        text=text,
        sql_mode=shown.get("sql_mode") or "",
        client_charset=charset,
        connection_collation=shown.get("collation_connection") or "utf8mb4_general_ci",
        database_collation=shown.get("database collation"),
        time_zone=shown.get("time_zone"),
        table=table,
    )


def _show_create(session: Session, kind: str, name: str) -> tuple[dict[str, str], set[int]]:
    """The one row of SHOW CREATE, by the lower-case names of its columns; and what was remarked on it."""
    with stored_text(session), session.cursor() as cursor:
        cursor.execute(f"SHOW CREATE {kind} {quote_identifier(name)}")
        names = [str(column[0]).lower() for column in cursor.description or ()]
        row: Mapping[str, Any] = dict(zip(names, cursor.fetchone() or (), strict=False))
        numbers = {number for number, _ in warnings_of(session)} if kind == "VIEW" else set()
    return {column: _decoded(value) for column, value in row.items() if value is not None}, numbers


def _with_names_in_its_charset(session: Session, text: str, names: Sequence[str], charset: str) -> str:
    """A trigger's definition whose own name and table are in the character set of its body: MySQL writes
    those in UTF-8, MariaDB does not."""
    if charset.startswith("utf8"):
        return text
    for token in reversed(_head(text, "ROW")):
        if token.kind is Kind.QUOTED and name_of(token) in names:
            end = token.start + len(token.text)
            text = text[: token.start] + _converted(session, token.text, charset) + text[end:]
    return text


def _in_one_charset(session: Session, text: str, charset: str) -> str:
    """A routine's or event's definition throughout in the character set that its body is in: the server
    writes the name and the comment in UTF-8."""
    edits: list[tuple[int, str, str]] = []
    depth, last, is_procedure, is_named = 0, "", False, False
    for token in tokens(text, "mysql"):
        depth += {"(": 1, ")": -1}.get(token.text, 0)
        if token.kind is Kind.QUOTED and last in _NAMED and not is_named:
            is_named, is_procedure = True, last == "PROCEDURE"
            edits.append((token.start, token.text, _converted(session, token.text, charset)))
        elif token.kind is Kind.STRING and last == "COMMENT" and depth == 0:
            edits.append((token.start, token.text, _converted(session, token.text, charset)))
            break
        elif is_named and depth == 0 and token.text != ")" and _begins_body(token, is_procedure):
            break
        last = token.word
    for start, old, new in reversed(edits):
        text = text[:start] + new + text[start + len(old) :]
    return text


def _begins_body(token: Token, is_procedure: bool) -> bool:
    return token.word in _BODIES or (is_procedure and token.word not in _CHARACTERISTICS)


def _converted(session: Session, text: str, charset: str) -> str:
    """UTF-8 as the bytes of another character set, where that has all of its letters."""
    if text.isascii() or any("\ud800" <= character <= "\udfff" for character in text):
        return text
    literal = f"_utf8mb4 x'{text.encode().hex()}'"
    converted = f"CONVERT({literal} USING {charset})"
    ((content, is_same),) = rows_of(
        session, f"SELECT HEX({converted}), CONVERT({converted} USING utf8mb4) = BINARY {literal}"
    )
    return bytes.fromhex(str(content)).decode("utf-8", "surrogateescape") if is_same else text


def _decoded(value: Any) -> str:
    """As UTF-8 with what is none escaped. In the script it becomes the same bytes again."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def trigger_without_database(text: str, database: str) -> str:
    """A trigger's definition without the database's name before its own name and its table's: MariaDB
    shows what was typed."""
    found = _head(text, "ROW")
    cuts = [
        (token.start, after.start + 1)
        for token, after in pairwise(found)
        if after.text == "." and name_of(token).lower() == database.lower()
    ]
    for start, end in reversed(cuts):
        text = text[:start] + text[end:]
    return text


def _head(text: str, last_word: str) -> list[Token]:
    """The tokens up to a word."""
    found: list[Token] = []
    for token in tokens(text, "mysql"):
        found.append(token)
        if token.word == last_word:
            break
    return found


def disabled_event(text: str) -> tuple[str, str | None]:
    """An event's definition that does not make it run; and the statement that lets it run, if it did."""
    found: list[Token] = []
    for token in tokens(text, "mysql"):
        found.append(token)
        if len(found) > 1 and found[-2].word == "PRESERVE":
            break
    status = found[-1]
    if status.word != "ENABLE":
        return text, None
    place = next(number for number, token in enumerate(found) if token.word == "EVENT")
    definer = text[found[1].start : found[place].start] if found[1].word == "DEFINER" else ""
    name = found[place + 1]
    enable = f"ALTER {definer}EVENT {text[name.start : name.start + len(name.text)]} ENABLE"
    end = status.start + len(status.text)
    return f"{text[: status.start]}DISABLE{text[end:]}", enable
