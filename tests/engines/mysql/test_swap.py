"""The swap of restored tables into their place: forward, back, and after a death at any moment."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.conftest import Sql, back_ticked

from dbtool.engines.mysql import journal, staging
from dbtool.engines.mysql.connect import connect, load_session_settings
from dbtool.engines.mysql.definers import Definers
from dbtool.engines.mysql.definitions import objects_of
from dbtool.engines.mysql.execute import Executor, MissingDefiners
from dbtool.engines.mysql.flavour import flavour_of
from dbtool.engines.mysql.foreign import translation_for
from dbtool.engines.mysql.journal import Journal, Script
from dbtool.engines.mysql.load import Remembered
from dbtool.engines.mysql.recover import recover
from dbtool.engines.mysql.replace import Swap, tables_of
from dbtool.engines.mysql.swap_plan import Existing, write_plan
from dbtool.errors import BusyError, DbtoolError, SqlError
from dbtool.failpoints import VARIABLE
from dbtool.model.archive import SchemaObject
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer

FACTS = {"encoding": "latin1", "collation": "latin1_german2_ci"}
_names = itertools.count(1)

OLD = (
    "CREATE TABLE parents (id int PRIMARY KEY, name varchar(20))",
    "CREATE TABLE children (id int PRIMARY KEY, parent int, CONSTRAINT up FOREIGN KEY (parent) REFERENCES parents (id))",
    "CREATE TABLE gone (id int PRIMARY KEY)",
    "INSERT INTO parents VALUES (1, 'old')",
    "INSERT INTO children VALUES (1, 1)",
    "CREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN 1",
    "CREATE VIEW z_base AS SELECT id, name, f() AS f FROM parents",
    "CREATE VIEW a_on_it AS SELECT id FROM z_base",
    "CREATE TRIGGER t_second BEFORE INSERT ON parents FOR EACH ROW SET NEW.name = concat(NEW.name, '2')",
    "CREATE TRIGGER a_third BEFORE INSERT ON parents FOR EACH ROW SET NEW.name = concat(NEW.name, '3')",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SET @x = 1",
    "CREATE PROCEDURE p() SELECT ';'",
)
NEW = (
    "CREATE TABLE children (id int PRIMARY KEY, parent int)",
    "CREATE TABLE parents (id int PRIMARY KEY, name varchar(20))",
    "ALTER TABLE children ADD CONSTRAINT up FOREIGN KEY (parent) REFERENCES parents (id)",
    "CREATE TABLE a_on_it (id int PRIMARY KEY)",  # a view before
    "INSERT INTO parents VALUES (1, 'new'), (2, 'new')",
    "INSERT INTO children VALUES (1, 2)",
)
LATE = (
    ("FUNCTION", "f", "CREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN 2"),
    ("VIEW", "z_base", "CREATE VIEW z_base AS SELECT id, f() AS f FROM parents"),
    (
        "TRIGGER",
        "t_second",
        "CREATE TRIGGER t_second BEFORE INSERT ON parents FOR EACH ROW SET NEW.name = concat(NEW.name, 'n')",
    ),
    (
        "EVENT",
        "e",
        "CREATE EVENT e ON SCHEDULE EVERY 2 DAY STARTS '2035-01-01 00:00:00' DISABLE DO SET @x = 2",
    ),
)


@dataclass
class Place:
    """A final database with old tables, and new ones restored beside it."""

    server: MysqlServer
    final: str
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection = self.server.connection(self.final)
        self.open()

    def open(self) -> None:
        """The restore's own session."""
        self.session = connect(self.connection, database=False)
        self.flavour = flavour_of(self.session)
        load_session_settings(self.session, self.flavour)
        self.translation = translation_for(self.session, self.flavour)
        self.executor = Executor(self.session, self.translation, Definers(), MissingDefiners())

    def stage(self, *statements: str) -> Journal:
        """Restore these statements beside the final database."""
        made = staging.make_staging(self.session, FACTS, self.final, self.flavour, self.translation)
        assert made is not None
        for statement in statements:
            self.session.query(f"USE {back_ticked(made.database)}")
            self.session.query(statement)
        return made

    def plan(
        self, written: Journal, *late: tuple[str, str, str], tables: frozenset[str] | None = None
    ) -> None:
        """Write down the swap of all, or of some tables."""
        objects = objects_of(self.session, self.final, self.flavour)
        names = tables_of(self.session, self.final)
        existing = Existing(
            names, objects, frozenset(names) if tables is None else tables, tables is None and bool(names)
        )
        remembered: Remembered = [
            (SchemaObject(number, kind, "", name), (statement,))
            for number, (kind, name, statement) in enumerate(late)
        ]
        write_plan(self.session, self.flavour, self.translation, written, remembered, existing, FACTS)

    def swap(self, written: Journal) -> Swap:
        return Swap(self.session, self.executor, written, self.notes)

    def recover(self) -> None:
        """What the next run does."""
        self.open()
        recover(self.session, self.final, self.flavour, self.executor, self.notes, may_replace=True)


@pytest.fixture
def place(mysql_matrix_server: MysqlServer, mysql_sql: Sql) -> Iterator[Place]:
    """A final database with old things in it."""
    name = f"swap `{next(_names)}"
    control = mysql_matrix_server.connection("")
    mysql_sql(control, f"CREATE DATABASE {back_ticked(name)} CHARACTER SET utf8mb4")
    mysql_sql(control.with_database(name), OLD)
    found = Place(mysql_matrix_server, name)
    yield found
    found.session.close()
    for (database,) in mysql_sql(control, "SELECT schema_name FROM information_schema.schemata"):
        if str(database).startswith("swap "):
            mysql_sql(control, f"SET foreign_key_checks = 0; DROP DATABASE {back_ticked(database)}")


def picture(sql: Sql, connection: Connection) -> dict[str, object]:
    """All that the final database shows."""
    name = connection.database

    def ask(query: str) -> list[tuple[object, ...]]:
        return sql(connection, query, (name,))

    return {
        "tables": ask(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = %s ORDER BY 1"
        ),
        "keys": ask(
            "SELECT constraint_name, table_name, referenced_table_name, unique_constraint_schema "
            "FROM information_schema.referential_constraints WHERE constraint_schema = %s ORDER BY 1"
        ),
        "triggers": ask(
            "SELECT trigger_name, action_order, action_statement FROM information_schema.triggers "
            "WHERE trigger_schema = %s ORDER BY 2"
        ),
        "routines": ask(
            "SELECT routine_name, routine_definition FROM information_schema.routines WHERE routine_schema = %s ORDER BY 1"
        ),
        "events": ask(
            "SELECT event_name, interval_value, status FROM information_schema.events WHERE event_schema = %s ORDER BY 1"
        ),
        "collation": ask(
            "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = %s"
        ),
        "parents": sql(connection, "SELECT * FROM parents ORDER BY 1"),
        "base": sql(connection, "SELECT * FROM z_base ORDER BY 1"),
        "other": sql(connection, "SELECT * FROM a_on_it ORDER BY 1"),
    }


def beside(sql: Sql, place: Place) -> list[str]:
    found = sql(place.connection, "SELECT schema_name FROM information_schema.schemata")
    return [str(name) for (name,) in found if "_dbtool_" in str(name)]


def assert_new(sql: Sql, place: Place) -> None:
    shown = picture(sql, place.connection)
    assert shown["tables"] == [
        ("a_on_it", "BASE TABLE"), ("children", "BASE TABLE"), ("parents", "BASE TABLE"), ("z_base", "VIEW"),
    ]  # fmt: skip
    assert shown["keys"] == [("up", "children", "parents", place.final)]
    assert shown["parents"] == [(1, "new"), (2, "new")]
    assert shown["base"] == [(1, 2), (2, 2)]
    assert [row[0] for row in shown["triggers"]] == ["t_second"]  # type: ignore[attr-defined]
    assert [row[0] for row in shown["routines"]] == ["f"]  # type: ignore[attr-defined]
    assert shown["events"] == [("e", "2", "DISABLED")]
    assert shown["collation"] == [("latin1_german2_ci",)]
    assert beside(sql, place) == []


def test_all_is_replaced(place: Place, mysql_sql: Sql) -> None:
    written = place.stage(*NEW)
    place.plan(written, *LATE)
    place.swap(written).go()
    assert_new(mysql_sql, place)
    assert place.notes == []


def test_a_late_failure_undoes_all(place: Place, mysql_sql: Sql) -> None:
    before = picture(mysql_sql, place.connection)
    written = place.stage(*NEW)
    place.plan(written, *LATE, ("VIEW", "bad", "CREATE VIEW bad AS SELECT nothing FROM nowhere"))
    with pytest.raises(SqlError, match="VIEW bad could not be made"):
        place.swap(written).go()
    assert picture(mysql_sql, place.connection) == before
    assert place.notes == []
    assert written.phase == journal.LOADING
    assert set(tables_of(place.session, written.database)) == {"parents", "children", "a_on_it"}
    assert beside(mysql_sql, place) == [written.database]


def test_tables_in_use_are_not_waited_for_without_end(
    place: Place, mysql_sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbtool.engines.mysql.replace._LOCK_TIMEOUT_SECONDS", 1)
    before = picture(mysql_sql, place.connection)
    written = place.stage(*NEW)
    place.plan(written, *LATE)
    with connect(place.connection) as other:
        other.begin()
        other.query("SELECT * FROM children")
        with pytest.raises(BusyError, match=r"in use|holds its table"):
            place.swap(written).go()
    assert place.notes == []
    assert picture(mysql_sql, place.connection) == before


@pytest.mark.parametrize("moment", ["swap-prepared", "swap-moved", "swap-finished", "swap-done"])
def test_a_death_is_mended_by_the_next_run(
    place: Place, mysql_sql: Sql, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    before = picture(mysql_sql, place.connection)
    written = place.stage(*NEW)
    place.plan(written, *LATE)
    swap = place.swap(written)
    monkeypatch.setenv(VARIABLE, f"{moment}:error")
    # Dead processes undo nothing.
    monkeypatch.setattr(swap, "_undo_noting", lambda: None)
    if moment == "swap-done":
        swap.go()
        assert len(beside(mysql_sql, place)) == 2
    else:
        with pytest.raises(DbtoolError, match="failpoint"):
            swap.go()
    monkeypatch.delenv(VARIABLE)
    place.session.close()
    place.notes.clear()
    place.recover()
    if moment == "swap-prepared":
        assert picture(mysql_sql, place.connection) == before
        assert ["had died" in note and "as it was before" in note for note in place.notes] == [True]
        assert beside(mysql_sql, place) == []
    else:
        assert_new(mysql_sql, place)
        assert place.notes == [] or "it was finished" in place.notes[0]


def test_a_swap_that_cannot_be_finished_is_undone(
    place: Place, mysql_sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = picture(mysql_sql, place.connection)
    written = place.stage(*NEW)
    place.plan(written, *LATE)
    written.finish = (*written.finish, Script("what nobody can make", ("CREATE VIEW v AS SELECT nothing",)))
    swap = place.swap(written)
    monkeypatch.setattr(swap, "_undo_noting", lambda: None)
    with pytest.raises(SqlError):
        swap.go()
    place.session.close()
    place.recover()
    assert picture(mysql_sql, place.connection) == before
    assert beside(mysql_sql, place) == []
    assert "could not be finished" in place.notes[0]


def test_what_died_while_loading_is_cleared_away(place: Place, mysql_sql: Sql) -> None:
    before = picture(mysql_sql, place.connection)
    written = place.stage(*NEW)
    live = connect(place.connection, database=False)
    recover(live, place.final, place.flavour, place.executor, place.notes, may_replace=False)
    assert beside(mysql_sql, place) == [written.database]  # it lives
    live.close()
    place.session.close()
    place.recover()
    assert beside(mysql_sql, place) == []
    assert picture(mysql_sql, place.connection) == before


def test_some_tables_are_replaced_and_keys_of_others_follow(place: Place, mysql_sql: Sql) -> None:
    written = place.stage(NEW[1], "INSERT INTO parents VALUES (1, 'new')")
    place.plan(written, LATE[2], tables=frozenset({"parents"}))
    place.swap(written).go()
    shown = picture(mysql_sql, place.connection)
    assert shown["keys"] == [("up", "children", "parents", place.final)]
    assert shown["parents"] == [(1, "new")]
    assert shown["base"] == [(1, "new", 1)]  # the view is the old one
    assert [row[0] for row in shown["triggers"]] == ["t_second"]  # type: ignore[attr-defined]
    assert beside(mysql_sql, place) == []
    with pytest.raises(Exception, match="foreign key constraint fails"):
        mysql_sql(place.connection, "INSERT INTO children VALUES (9, 9)")


def test_orphans_of_other_tables_undo_it(place: Place, mysql_sql: Sql) -> None:
    before = picture(mysql_sql, place.connection)
    written = place.stage(NEW[1])  # without rows
    place.plan(written, tables=frozenset({"parents"}))
    with pytest.raises(SqlError, match=r"foreign key up of .*children could not be made"):
        place.swap(written).go()
    assert picture(mysql_sql, place.connection) == before


def test_a_new_database_appears_at_the_end(place: Place, mysql_sql: Sql) -> None:
    mysql_sql(place.connection.with_database(""), f"DROP DATABASE {back_ticked(place.final)}")
    written = place.stage(*NEW)
    written.final_is_new = True
    written.create_final = staging.create_database_sql(FACTS, place.final, place.flavour, place.translation)
    place.plan(written, *LATE)
    place.swap(written).go()
    assert_new(mysql_sql, place)


def test_privileges_on_routines_stay(place: Place, mysql_sql: Sql) -> None:
    user = f"swapper{next(_names)}"
    control = place.connection.with_database("")
    grants = (
        f"CREATE USER '{user}'@'%'",
        f"GRANT EXECUTE ON FUNCTION {back_ticked(place.final)}.f TO '{user}'@'%'",
    )
    mysql_sql(control, grants)
    written = place.stage(*NEW)
    place.plan(written, *LATE)
    place.swap(written).go()
    found = mysql_sql(control, f"SHOW GRANTS FOR '{user}'@'%'")
    mysql_sql(control, f"DROP USER '{user}'@'%'")
    assert any("EXECUTE ON FUNCTION" in str(row[0]) for row in found)
