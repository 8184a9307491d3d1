"""Writing down all steps of a swap before the first of them: see `replace.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql import replace, staging
from dbtool.engines.mysql.definitions import LiveObject, code_of, triggers_of
from dbtool.engines.mysql.dependents import defaults_to_turn, outside_keys, routine_grants
from dbtool.engines.mysql.execute import what_of
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.foreign import Translation
from dbtool.engines.mysql.introspect import database_facts
from dbtool.engines.mysql.journal import Journal, Script
from dbtool.engines.mysql.load import EARLY_KINDS, Remembered
from dbtool.engines.mysql.quoting import quote_literal
from dbtool.engines.mysql.replace import VIEW_STAND_IN
from dbtool.errors import RefusedError
from dbtool.model.archive import SchemaObject

if TYPE_CHECKING:
    import pymysql

    Session = pymysql.connections.Connection[Any]

# Who refers to tables that are replaced finds in the new ones what it referred to, or the swap is undone.
_CHECKED = "SET SESSION foreign_key_checks = 1"


@dataclass(frozen=True)
class Existing:
    """What the final database holds, and how much of it is replaced."""

    tables: Sequence[str] = ()
    objects: Sequence[LiveObject] = field(default=(), repr=False)
    replaced: frozenset[str] = frozenset()  # tables
    is_replaced_whole: bool = False


def write_plan(
    session: Session,
    flavour: Flavour,
    translation: Translation,
    journal: Journal,
    remembered: Remembered,
    existing: Existing,
    facts: dict[str, Any],
) -> None:
    """Fill the journal with all steps. Raises RefusedError where something could not be brought back."""
    final, here = journal.final, journal.database
    # A sequence that a table brings along may be there, for others use it too.
    kept = frozenset(existing.tables) - existing.replaced
    journal.moves_in = tuple(name for name in replace.tables_of(session, here) if name not in kept)
    journal.moves_out = tuple(name for name in existing.tables if name in existing.replaced)
    if journal.moves_out:
        journal.old = staging.name_beside(final, staging.OLD)
    triggers = triggers_of(session, final, existing.replaced)
    going = existing.objects if existing.is_replaced_whole else triggers
    keys = outside_keys(session, final, existing.replaced)
    grants = list(routine_grants(session, final)) if existing.is_replaced_whole else []
    old = (
        code_of(session, final, flavour, None if existing.is_replaced_whole else existing.replaced)
        if going
        else []
    )
    late = [(item, statements) for item, statements in remembered if item.kind not in EARLY_KINDS]
    joining = [(item, statements) for item, statements in remembered if item.kind in EARLY_KINDS]
    journal.made = tuple((item.kind, item.name) for item, _ in late)
    _refuse_taken_names(final, journal.made, existing.objects, going)
    journal.clear = (
        *_drops(here, triggers_of(session, here, journal.moves_in)),
        *_drops(final, reversed(going)),
        *(Script(key.what, (key.drop,)) for key in keys),
    )
    # What is made is made under the collation that it was made under, and that is the backup's where it says
    # nothing else.
    restored = staging.properties_script(facts, final, flavour, translation)
    own = staging.properties_script(_facts_of(session, final, flavour, facts), final, flavour, translation)
    journal.undo = (
        own,
        *(_made_anew(final, item, statements) for item, statements in old),
        *(script for _, _, script in grants),
        *(Script(key.what, (key.add,), key.is_there) for key in keys),
    )
    made = frozenset(journal.made)
    journal.finish = (
        restored,
        *defaults_to_turn(session, here, final),
        *(_made_anew(final, item, statements) for item, statements in late),
        *(script for kind, name, script in grants if (kind, name) in made),
        *(_joined(final, item, statements) for item, statements in joining),
        *(Script(key.what, (_CHECKED, key.add), key.is_there) for key in keys),
        *(() if existing.is_replaced_whole else (own,)),
    )


def _facts_of(session: Session, final: str, flavour: Flavour, facts: dict[str, Any]) -> dict[str, Any]:
    """Those of the final database; of one that is still to be made, the backup's."""
    is_there = staging.database_exists(session, final)
    return database_facts(session, final, flavour) if is_there else facts


def _joined(final: str, item: SchemaObject, statements: tuple[str, ...]) -> Script:
    """A foreign key to a table that is there already. Its name has the table's before it."""
    places = [place for place, character in enumerate(item.name) if character == " "]
    tests = " OR ".join(
        f"(table_name = {quote_literal(item.name[:place])} "
        f"AND constraint_name = {quote_literal(item.name[place + 1 :])})"
        for place in places
    )
    query = (
        "SELECT 1 FROM information_schema.referential_constraints "  # noqa: S608
        f"WHERE constraint_schema = {quote_literal(final)} AND ({tests or 'FALSE'})"
    )
    return Script(what_of(item), (_CHECKED, *statements), query)


def _refuse_taken_names(
    final: str,
    made: Iterable[tuple[str, str]],
    existing: Iterable[LiveObject],
    going: Iterable[LiveObject],
) -> None:
    """Triggers of other tables may have the names of those that come."""
    staying = {(item.kind, item.name) for item in existing} - {(item.kind, item.name) for item in going}
    if taken := sorted(staying.intersection(made)):
        kind, name = taken[0]
        raise RefusedError(
            f"in database {final} there is already a {kind.lower()} {name}, of another table",
            "drop or rename it, or restore --into another database",
        )


def _made_anew(final: str, item: SchemaObject, statements: tuple[str, ...]) -> Script:
    """How an object is made, though a run that died may have made it already."""
    name = quote_literal(item.name)
    if item.kind in ("VIEW", VIEW_STAND_IN):
        # Such a stand-in is a table, which a view takes the place of; so nothing is dropped unseen.
        place = "views" if item.kind == "VIEW" else "tables"
        query = f"SELECT 1 FROM information_schema.{place} WHERE table_schema = {quote_literal(final)}"  # noqa: S608
        return Script(what_of(item), statements, f"{query} AND table_name = {name}")
    drop: tuple[str, ...] = ()
    if item.kind in replace.DROPPED_KINDS:
        drop = replace.drop_statements(item.kind, item.name, final)
    return Script(what_of(item), (*drop, *statements))


def _drops(database: str, items: Iterable[LiveObject]) -> list[Script]:
    return [
        Script(f"{item.kind.lower()} {item.name}", replace.drop_statements(item.kind, item.name, database))
        for item in items
    ]
