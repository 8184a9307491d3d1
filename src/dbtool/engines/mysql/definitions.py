"""What a live database holds beside tables, and how each of it is made again in the same database.

For the swap, which must drop what cannot be moved and be able to bring it back.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql import code
from dbtool.engines.mysql.after import statements_of
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.introspect import database_facts, listing, relations
from dbtool.engines.mysql.load import EARLY_KINDS, Remembered
from dbtool.engines.mysql.messages import readable_errors
from dbtool.engines.mysql.objects import Objects
from dbtool.engines.mysql.quoting import quote_identifier
from dbtool.model.archive import SchemaObject

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

_LIBRARIES_SINCE = 90200

_TRIGGERS_SQL = """
SELECT 'TRIGGER', trigger_name, event_object_table FROM information_schema.triggers WHERE trigger_schema = %s
ORDER BY event_object_table, action_timing, event_manipulation, action_order
"""
_VIEWS_SQL = "SELECT 'VIEW', table_name, '' FROM information_schema.views WHERE table_schema = %s ORDER BY 2"
# A package comes before its body, which comes before what may call it.
_ROUTINES_SQL = """
SELECT routine_type, routine_name, '' FROM information_schema.routines WHERE routine_schema = %s
ORDER BY CASE routine_type WHEN 'PACKAGE' THEN 0 WHEN 'PACKAGE BODY' THEN 1 ELSE 2 END, routine_name
"""
_EVENTS_SQL = (
    "SELECT 'EVENT', event_name, '' FROM information_schema.events WHERE event_schema = %s ORDER BY 2"
)
_LIBRARIES_SQL = "SELECT 'LIBRARY', library_name, '' FROM information_schema.libraries WHERE library_schema = %s ORDER BY 2"


@dataclass(frozen=True)
class LiveObject:
    """A view, trigger, routine, … of a live database."""

    kind: str
    name: str
    table: str = ""  # a trigger's


def objects_of(session: Session, database: str, flavour: Flavour) -> list[LiveObject]:
    """All of them, in an order in which they can be made (views: in any)."""
    queries = [_ROUTINES_SQL, _VIEWS_SQL, _TRIGGERS_SQL, _EVENTS_SQL]
    if not flavour.is_mariadb and flavour.version_number >= _LIBRARIES_SINCE:
        queries.insert(0, _LIBRARIES_SQL)
    found = []
    with readable_errors("looking at the database"), session.cursor() as cursor:
        for query in queries:
            cursor.execute(query, (database,))
            found += [LiveObject(str(kind).upper(), name, table) for kind, name, table in cursor.fetchall()]
    return found


def triggers_of(session: Session, database: str, tables: Collection[str]) -> list[LiveObject]:
    """The triggers of some tables, in the order in which they fire."""
    with readable_errors("looking for triggers"), session.cursor() as cursor:
        cursor.execute(_TRIGGERS_SQL, (database,))
        rows = cursor.fetchall()
    return [LiveObject(kind, name, table) for kind, name, table in rows if table in tables]


def code_of(
    session: Session, database: str, flavour: Flavour, tables: Collection[str] | None = None
) -> Remembered:
    """All of them as a backup would make them again; or, with `tables`, the triggers of those.

    Raises RefusedError where the account may not read one: what is dropped then would be lost.
    """
    with readable_errors("reading the definitions of what is replaced"):
        session.query(f"USE {quote_identifier(database)}")
        facts = database_facts(session, database, flavour)
        if tables is not None:
            return [
                (
                    SchemaObject(0, item.kind, "", item.name),
                    tuple(statements_of(item.sql(facts["collation"]))),
                )
                for item in code.triggers(session, database)
                if item.table in tables
            ]
        found = relations(session, database)
        gathered = Objects(session, facts, flavour, listing(session, database, found, {}), [])
        gathered.add_tables(gathered.definitions(None), {}, is_partial=False)
        gathered.add_code()
    return [
        (part.item, tuple(statements_of(part.text)))
        for part in gathered.parts
        if part.item.kind not in EARLY_KINDS
    ]
