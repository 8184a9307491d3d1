"""Differentials by a column of times: what changed is there after a restore, whoever stamped it in whatever zone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import CARELESS_SETTINGS, MakeDatabase, Sql, connect
from tests.fidelity.building import create_database
from tests.fidelity.conftest import NewName
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import difference, take_picture
from tests.fidelity.test_differential import check_chain, picture_of, run_chain

from dbtool.engines.postgres.activity import oldest_transaction
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

PATIENT = ("differential", "backup", "-max-differential-ratio", "100")
BY_TIME = (*PATIENT, "-method", "timestamp", "-column", "updated_at")
TYPES = ("timestamptz", "timestamp", "timestamp(0) without time zone", "date", "stamp")

START = """
CREATE DOMAIN stamp AS timestamptz;
CREATE TABLE kept (id int PRIMARY KEY, note text, updated_at {type});
INSERT INTO kept SELECT n, 'note ' || n, now() - interval '40 days' FROM generate_series(1, 500) AS n;
CREATE TABLE plain (id int PRIMARY KEY, note text);
INSERT INTO plain SELECT n, 'p' FROM generate_series(1, 20) AS n;
"""


@pytest.fixture
def started(fidelity_server: PostgresServer, make_database: MakeDatabase, sql: Sql) -> Connection:
    source = make_database(fidelity_server)
    sql(source, START.format(type="timestamptz"))
    return source


def restored(
    differential: dict[str, Any], server: PostgresServer, dbtool: Dbtool, new_name: NewName
) -> Connection:
    """The chain through dbtool, which is the same through psql alone."""
    assert differential["type"] == "differential", differential["options"]
    copy, by_hand = new_name(), new_name()
    report = dbtool.restore(differential["id"], copy)
    assert report["compared"] is True
    create_database(server.connection(), by_hand.database)
    run_chain(differential, by_hand, server)
    pictures = (take_picture(copy, server.bin_directory), take_picture(by_hand, server.bin_directory))
    assert "\n".join(difference(*pictures)) == ""
    dbtool.run(["verify", differential["id"], "--path", str(dbtool.repository)])
    return copy


def taken(differential: dict[str, Any]) -> dict[str, str]:
    return {table["name"]: table["details"]["differential"]["taken"] for table in differential["tables"]}


@pytest.mark.parametrize("type_", TYPES)
def test_changed_rows_come_and_deleted_ones_stay(
    type_: str,
    fidelity_server: PostgresServer,
    make_database: MakeDatabase,
    dbtool: Dbtool,
    new_name: NewName,
    sql: Sql,
) -> None:
    source = make_database(fidelity_server)
    sql(source, START.format(type=type_))
    full = dbtool.backup(source)
    sql(source, "UPDATE kept SET note = 'changed', updated_at = now() WHERE id <= 10")
    sql(
        source,
        "INSERT INTO kept VALUES (1000, 'new', now()), (1001, 'no time', NULL), (1002, 'old', '2001-01-01')",
    )
    sql(source, "UPDATE kept SET note = 'unseen' WHERE id = 20; DELETE FROM kept WHERE id = 30")
    sql(source, "DELETE FROM plain WHERE id = 3; UPDATE plain SET note = 'q' WHERE id = 4")
    made = dbtool.backup(source, *BY_TIME)
    assert made["parent"]["id"] == full["id"]
    assert taken(made) == {"kept": "rows", "plain": "whole"}
    assert made["differential"]["deletes_covered"] is False
    assert "1 of 2 tables have no column updated_at and come whole: public.plain" in made["warnings"]
    assert any("deleted since the base are not seen" in warning for warning in made["warnings"])
    manifest = json.loads((Path(full["backup_location"]) / ".backup_diff/manifest.json").read_text())
    assert [(one["method"], one["deletes_covered"]) for one in manifest["differentials"]] == [
        ("timestamp", False)
    ]
    unseen = "1 of 2 tables have rows that changed although updated_at does not say so"
    assert any(one.startswith(unseen) and "public.kept (2)" in one for one in made["warnings"])
    copy = restored(made, fidelity_server, dbtool, new_name)
    same = "SELECT id, note, updated_at::text FROM kept WHERE id NOT IN (20, 30, 1002) ORDER BY id"
    assert sql(copy, same) == sql(source, same)
    assert sql(copy, "SELECT id, note FROM kept WHERE id IN (20, 30, 1002) ORDER BY id") == [
        (20, "note 20"),
        (30, "note 30"),
    ]
    everything = "SELECT * FROM plain ORDER BY id"
    assert sql(copy, everything) == sql(source, everything)
    (kept,) = [table for table in made["tables"] if table["name"] == "kept"]
    facts = kept["details"]["differential"]
    assert (kept["rows"], facts["removed"], facts["rows"]) == (12, 10, 502)
    assert "come back" in (Path(made["backup_location"]) / "RESTORE.md").read_text()
    shown = dbtool.run(["show", made["id"], "--path", str(dbtool.repository)]).stdout.decode()
    assert "deletes     not covered" in shown


def test_transactions_that_were_open_at_the_base(
    started: Connection, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName, sql: Sql
) -> None:
    """They began before the base's snapshot and wrote, or were prepared, before or after it."""
    with connect(started) as early, connect(started) as late, connect(started) as prepared:
        early.execute("BEGIN; UPDATE kept SET note = 'early', updated_at = now() WHERE id = 1")
        late.execute("BEGIN; SELECT 1")
        prepared.execute(
            "BEGIN; SAVEPOINT a; UPDATE kept SET note = 'prepared', updated_at = now() WHERE id = 3"
        )
        prepared.execute("PREPARE TRANSACTION 'dbtool_open'")
        began = late.execute(
            "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
        ).fetchone()
        full = dbtool.backup(started)
        early.execute("COMMIT")
        late.execute("UPDATE kept SET note = 'late', updated_at = now() WHERE id = 2; COMMIT")
        prepared.execute("COMMIT PREPARED 'dbtool_open'")
    oldest = full["snapshot"]["oldest_transaction_time"]
    assert began is not None
    assert oldest <= began[0] + "+00:00" < full["snapshot"]["time"]
    assert full["snapshot"]["oldest_transaction_is_exact"] is True
    made = dbtool.backup(started, *BY_TIME)
    copy = restored(made, fidelity_server, dbtool, new_name)
    assert sql(copy, "SELECT id, note FROM kept WHERE id < 4 ORDER BY id") == [
        (1, "early"),
        (2, "late"),
        (3, "prepared"),
    ]


def test_what_was_being_written_comes_whatever_its_time_says(
    started: Connection, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName, sql: Sql
) -> None:
    with connect(started) as session:
        session.execute("BEGIN; UPDATE kept SET note = 'a', updated_at = '2020-01-01' WHERE id = 1")
        session.execute("SAVEPOINT s; UPDATE kept SET note = 'b', updated_at = '2020-01-01' WHERE id = 2")
        dbtool.backup(started)
        session.execute("COMMIT")
    made = dbtool.backup(started, *BY_TIME)
    copy = restored(made, fidelity_server, dbtool, new_name)
    assert sql(copy, "SELECT note FROM kept WHERE id < 3 ORDER BY id") == [("a",), ("b",)]


@pytest.fixture(scope="module", params=["Pacific/Kiritimati", "Etc/GMT+12", "America/New_York"])
def zoned_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """A server in a zone as far away as there is; or one that has daylight saving time."""
    settings = {**CARELESS_SETTINGS, "TimeZone": request.param}
    with PostgresServer.start(settings=settings) as server:
        yield server


@pytest.mark.parametrize("machine", ["Asia/Tokyo", "America/Los_Angeles"])
def test_zones_of_server_machine_and_session(
    zoned_server: PostgresServer, machine: str, make_database: MakeDatabase, sql: Sql, tmp_path: Path
) -> None:
    source, copy = make_database(zoned_server), make_database(zoned_server)
    tables = {"aware": "timestamptz", "local": "timestamp", "days": "date"}
    for table, type_ in tables.items():
        sql(
            source,
            f"CREATE TABLE {table} (id int PRIMARY KEY, note text, updated_at {type_});"
            f"INSERT INTO {table} SELECT n, 'n', now() - interval '9 days' FROM generate_series(1, 50) AS n",
        )
    dbtool = Dbtool(tmp_path / "repository", zoned_server.bin_directory, {"TZ": machine})
    dbtool.backup(source)
    for table in tables:
        sql(source, f"UPDATE {table} SET note = 'server', updated_at = now() WHERE id = 1")
        for number, zone in enumerate(("Etc/GMT+12", "Pacific/Kiritimati", "UTC"), 2):
            statement = f"UPDATE {table} SET note = 'session', updated_at = now() WHERE id = {number}"
            sql(source, f"SET TimeZone = '{zone}'; {statement}")
    made = dbtool.backup(source, *BY_TIME)
    assert {table["name"]: table["rows"] for table in made["tables"]} == dict.fromkeys(tables, 4)
    dbtool.restore(made["id"], copy)
    for table in tables:
        query = f"SELECT * FROM {table} ORDER BY id"
        assert sql(copy, query) == sql(source, query)


def test_only_changed(
    started: Connection, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName, sql: Sql
) -> None:
    sql(started, "CREATE TABLE wider (id int PRIMARY KEY); INSERT INTO wider VALUES (1)")
    dbtool.backup(started)
    sql(
        started,
        "UPDATE plain SET note = 'later'; UPDATE kept SET note = 'x', updated_at = now() WHERE id = 1",
    )
    sql(started, "CREATE TABLE fresh AS SELECT 1 AS n; ALTER TABLE wider ADD COLUMN more int DEFAULT 7")
    done = dbtool.run(dbtool.backup_arguments(started, *BY_TIME, "-only-changed"))
    made = json.loads(done.stdout)
    assert taken(made) == {"kept": "rows", "plain": "left out", "fresh": "whole", "wider": "whole"}
    said = "1 of 4 tables have no column updated_at and are left out: they stay as the base has them: public.plain"
    assert said in made["warnings"]
    assert said in done.stderr.decode()
    assert made["differential"]["left_out"] == 1
    copy = restored(made, fidelity_server, dbtool, new_name)
    assert sql(copy, "SELECT DISTINCT note FROM plain") == [("p",)]
    assert sql(copy, "SELECT count(*) FROM plain") == [(20,)]
    assert sql(copy, "SELECT id, more FROM wider") == [(1, 7)]
    assert sql(copy, "SELECT n FROM fresh") == [(1,)]
    assert sql(copy, "SELECT note FROM kept WHERE id = 1") == [("x",)]
    shown = dbtool.run(["show", made["id"], "--path", str(dbtool.repository)]).stdout.decode()
    assert "2 whole, 1 left out" in shown


@pytest.mark.parametrize(
    ("column", "statement", "expected"),
    [
        (
            "updated_at",
            "CREATE TABLE other (updated_at text); CREATE TABLE one_more (updated_at bigint, id int PRIMARY KEY)",
            "the column updated_at is no timestamp and no date in public.one_more (bigint), public.other (text)",
        ),
        ("updated_at", "CREATE TABLE timed (updated_at time)", "public.timed (time without time zone)"),
        ("changed_at", "SELECT 1", "no table has a column changed_at"),
        ("Updated_At", "SELECT 1", "no table has a column Updated_At"),
        ("x' OR true --", "SELECT 1", "no table has a column x' OR true --"),
    ],
)
def test_a_column_that_will_not_do(
    column: str, statement: str, expected: str, started: Connection, dbtool: Dbtool, sql: Sql
) -> None:
    full = dbtool.backup(started)
    sql(started, statement)
    arguments = dbtool.backup_arguments(started, *BY_TIME[:-1], column)
    done = dbtool.run(arguments, expect=2)
    assert expected in done.stderr.decode()
    assert done.stdout == b""
    assert [one["id"] for one in dbtool.listed()] == [full["id"]]
    assert [one.name for one in (Path(full["backup_location"]) / ".backup_diff").iterdir()] in (
        [],
        ["manifest.json"],
    )


def test_tables_that_cannot_be_told_by_keys_come_whole(
    started: Connection, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName, sql: Sql
) -> None:
    stamped = "updated_at timestamptz DEFAULT now()"
    sql(
        started,
        f"CREATE TABLE keyless (id int, {stamped}); CREATE TABLE partial (id int PRIMARY KEY, a int, {stamped})",
    )
    sql(
        started,
        f"CREATE UNIQUE INDEX ON partial (a) WHERE a > 0; CREATE TABLE amount (id numeric PRIMARY KEY, {stamped})",
    )
    sql(
        started,
        "INSERT INTO keyless VALUES (1); INSERT INTO partial VALUES (1, 1); INSERT INTO amount VALUES (1.0)",
    )
    dbtool.backup(started)
    sql(
        started,
        "DELETE FROM partial; INSERT INTO partial VALUES (2, 1); UPDATE amount SET id = 1.00; DELETE FROM keyless",
    )
    made = dbtool.backup(started, *BY_TIME)
    found = taken(made)
    assert {name: found[name] for name in ("keyless", "partial", "amount")} == dict.fromkeys(
        ("keyless", "partial", "amount"), "whole"
    )
    assert any("have no key: public.keyless" in one for one in made["warnings"])
    copy = restored(made, fidelity_server, dbtool, new_name)
    for table in ("keyless", "partial", "amount"):
        query = f"SELECT t::text FROM {table} AS t"
        assert sql(copy, query) == sql(started, query)


def test_a_deleted_row_is_not_in_the_way_of_one_that_has_its_unique_value(
    started: Connection, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName, sql: Sql
) -> None:
    sql(
        started,
        "CREATE TABLE users (id int PRIMARY KEY, email text UNIQUE, boss int REFERENCES users, updated_at timestamp);"
        "INSERT INTO users SELECT n, n || '@x', NULL, now() - interval '9 days' FROM generate_series(1, 50) AS n;"
        "INSERT INTO users VALUES (51, NULL, NULL, NULL);"
        "CREATE TABLE names (id int PRIMARY KEY, name text UNIQUE, updated_at timestamptz);"
        "INSERT INTO names SELECT n, 'n' || n, now() - interval '9 days' FROM generate_series(1, 50) AS n",
    )
    dbtool.backup(started)
    sql(
        started,
        "DELETE FROM names WHERE id IN (7, 8); INSERT INTO names VALUES (100, 'n7', now());"
        "UPDATE names SET name = CASE id WHEN 1 THEN 'n2' ELSE 'swap' END, updated_at = now() WHERE id = 2;"
        "DELETE FROM users WHERE id = 5; INSERT INTO users VALUES (200, '5@x', 1, now()), (201, NULL, 1, now())",
    )
    made = dbtool.backup(started, *BY_TIME)
    assert taken(made)["names"] == "rows"
    assert taken(made)["users"] == "whole"  # others of its rows may refer to the one that goes
    copy = restored(made, fidelity_server, dbtool, new_name)
    query = "SELECT id, name FROM names WHERE id <> 8 ORDER BY id"
    assert sql(copy, query) == sql(started, query)
    assert sql(copy, "SELECT name FROM names WHERE id = 8") == [("n8",)]
    assert sql(copy, "SELECT id, email, boss FROM users ORDER BY id") == sql(
        started, "SELECT id, email, boss FROM users ORDER BY id"
    )


def test_no_row_of_the_chain_refers_to_one_that_is_gone(
    started: Connection, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName, sql: Sql
) -> None:
    sql(
        started,
        "CREATE TABLE country (id int PRIMARY KEY); INSERT INTO country SELECT generate_series(1, 9);"
        "CREATE TABLE town (id int PRIMARY KEY, country int REFERENCES country ON DELETE CASCADE, updated_at date);"
        "INSERT INTO town SELECT n, 1 + n % 9, '2020-01-01' FROM generate_series(1, 90) AS n;"
        "CREATE TABLE street (id int PRIMARY KEY, town int REFERENCES town ON DELETE CASCADE, updated_at date);"
        "INSERT INTO street SELECT n, n, '2020-01-01' FROM generate_series(1, 90) AS n",
    )
    dbtool.backup(started)
    sql(started, "INSERT INTO country VALUES (10); INSERT INTO town VALUES (91, 10, now())")
    added = dbtool.backup(started, *BY_TIME)
    assert [taken(added)[name] for name in ("country", "town", "street")] == ["whole", "rows", "unchanged"]
    restored(added, fidelity_server, dbtool, new_name)
    needed = dbtool.backup(started, *BY_TIME, "-only-changed")
    assert [taken(needed)[name] for name in ("country", "town", "street")] == ["whole", "rows", "unchanged"]
    sql(started, "UPDATE town SET country = 3, updated_at = '2020-01-01' WHERE id = 5")
    sql(started, "INSERT INTO street VALUES (91, 5, now())")
    unstamped = dbtool.backup(started, *BY_TIME)
    assert [taken(unstamped)[name] for name in ("country", "town", "street")] == ["whole", "rows", "rows"]
    sql(started, "INSERT INTO town VALUES (92, 9, '2020-01-01'); INSERT INTO street VALUES (92, 92, now())")
    lacking = dbtool.backup(started, *BY_TIME)
    assert [taken(lacking)[name] for name in ("country", "town", "street")] == ["whole"] * 3
    restored(lacking, fidelity_server, dbtool, new_name)
    sql(started, "DELETE FROM country WHERE id = 2")
    made = dbtool.backup(started, *BY_TIME)
    assert [taken(made)[name] for name in ("country", "town", "street")] == ["whole"] * 3
    copy = restored(made, fidelity_server, dbtool, new_name)
    for query in ("SELECT count(*) FROM town", "SELECT count(*) FROM street"):
        assert sql(copy, query) == sql(started, query)


def test_new_constraints_that_deleted_rows_would_break(
    started: Connection, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName, sql: Sql
) -> None:
    sql(started, "UPDATE kept SET note = 'twice' WHERE id IN (5, 6)")
    dbtool.backup(started)
    sql(started, "DELETE FROM kept WHERE id = 6; CREATE UNIQUE INDEX ON kept (note)")
    made = dbtool.backup(started, *BY_TIME)
    assert taken(made)["kept"] == "whole"
    copy = restored(made, fidelity_server, dbtool, new_name)
    assert sql(copy, "SELECT count(*) FROM kept") == [(499,)]


def test_an_account_that_may_not_see_others_transactions(
    started: Connection, fidelity_server: PostgresServer, dbtool: Dbtool, sql: Sql
) -> None:
    """The server's start is early enough for all; what is not exact is said."""
    role = "dbtool_sees_nothing"
    sql(started, f"CREATE ROLE {role} LOGIN")
    try:
        with connect(started) as other:
            other.execute("BEGIN; SELECT 1")
            began = other.execute("SELECT now(), pg_postmaster_start_time()").fetchone()
            assert began is not None
            with connect(replace(started, user=role)) as session:
                session.execute("SET TimeZone = 'UTC'")
                hidden = oldest_transaction(session)
                told = session.execute(
                    "SELECT %s::timestamptz", (hidden["oldest_transaction_time"],)
                ).fetchone()
            with connect(started) as session:
                seen = oldest_transaction(session)
                exact = session.execute(
                    "SELECT %s::timestamptz", (seen["oldest_transaction_time"],)
                ).fetchone()
            other.execute("COMMIT")
        assert hidden["oldest_transaction_is_exact"] is False
        assert told == (began[1],)
        assert seen["oldest_transaction_is_exact"] is True
        assert exact is not None
        assert exact[0] <= began[0]
        with connect(replace(started, user=role)) as session:
            assert oldest_transaction(session)["oldest_transaction_is_exact"] is True
    finally:
        sql(started, f"DROP ROLE {role}")


ODD = r"""
CREATE TABLE "odd one" ("key a" text, "key""b" int, note text, "Updated ""At" timestamptz, PRIMARY KEY ("key a", "key""b"));
INSERT INTO "odd one" SELECT k || n % 3, n, 'n', now() - interval '9 days'
FROM generate_series(1, 60) AS n, unnest(ARRAY[E'tab\t', E'line\n', E'back\\', '', 'ümlaut', '\\N', '\\.']) AS k;
CREATE TABLE split (id int, at date, note text, "Updated ""At" timestamp, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE split_a PARTITION OF split FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE split_b PARTITION OF split FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
INSERT INTO split SELECT n, date '2023-01-01' + n * 10, 'n', now() - interval '9 days' FROM generate_series(1, 90) AS n;
"""


def test_odd_names_and_keys_and_partitions(
    fidelity_server: PostgresServer, make_database: MakeDatabase, dbtool: Dbtool, new_name: NewName, sql: Sql
) -> None:
    source = make_database(fidelity_server)
    sql(source, ODD)
    dbtool.backup(source)
    sql(
        source,
        'UPDATE "odd one" SET note = \'changed\', "Updated ""At" = now() WHERE "key""b" % 5 = 0;'
        "INSERT INTO \"odd one\" VALUES (E'new\\t\\n', 1, NULL, now());"
        'UPDATE split SET note = \'changed\', "Updated ""At" = now() WHERE id % 7 = 0;'
        "INSERT INTO split VALUES (500, '2025-01-01', NULL, now())",
    )
    made = dbtool.backup(source, *PATIENT, "-method", "timestamp", "-column", 'Updated "At')
    assert taken(made) == {"odd one": "rows", "split_a": "rows", "split_b": "rows"}
    copy = restored(made, fidelity_server, dbtool, new_name)
    expected = picture_of(source, fidelity_server, new_name)
    assert "\n".join(difference(expected, take_picture(copy, fidelity_server.bin_directory))) == ""


STAMPED = """
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END';
CREATE TABLE parent (id serial PRIMARY KEY, code text UNIQUE, n int, updated_at {parent});
CREATE TABLE child (id serial PRIMARY KEY, parent int REFERENCES parent, pair int, n int, updated_at {child},
                    UNIQUE (pair) DEFERRABLE INITIALLY DEFERRED);
CREATE TRIGGER stamped BEFORE INSERT OR UPDATE ON parent FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TRIGGER stamped BEFORE INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TABLE setting (name text PRIMARY KEY, value int);
INSERT INTO setting SELECT 's' || n, n FROM generate_series(1, 10) AS n;
INSERT INTO parent (code, n) SELECT 'c' || n, 0 FROM generate_series(1, 300) AS n;
INSERT INTO child (parent, pair, n) SELECT n % 300 + 1, n, 0 FROM generate_series(1, 900) AS n;
"""


@pytest.mark.parametrize("seed", range(4))
def test_without_deletes_and_with_every_change_stamped_the_chain_is_exact(
    seed: int,
    fidelity_server: PostgresServer,
    make_database: MakeDatabase,
    dbtool: Dbtool,
    new_name: NewName,
    sql: Sql,
) -> None:
    """Transactions that roll back, have savepoints, and are open across the full and the differentials."""
    chance = random.Random(seed)
    source = make_database(fidelity_server)
    types = ("timestamptz", "timestamp", "date", "timestamp(0)")
    sql(source, STAMPED.format(parent=chance.choice(types), child=chance.choice(types)))

    def statement() -> str:
        one, other = chance.sample(range(1, 300), 2)
        zone = chance.choice(("UTC", "Asia/Tokyo", "America/Anchorage"))
        return f"SET TimeZone = '{zone}'; " + chance.choice(
            (
                f"UPDATE parent SET n = n + 1 WHERE id BETWEEN {one} AND {one + 3}",
                f"INSERT INTO parent (code, n) VALUES ('x{chance.random()}', {one})",
                f"INSERT INTO child (parent, pair) SELECT {one}, 1 + max(pair) FROM child",
                f"UPDATE child SET pair = CASE pair WHEN {one} THEN {other} ELSE {one} END WHERE pair IN ({one}, {other})",
                f"UPDATE child SET parent = {other} WHERE id = {one}",
                f"UPDATE setting SET value = {one} WHERE name = 's{one % 10}'",
            )
        )

    with ExitStack() as stack:
        # One at a time has rows locked: the others wait for nobody.
        opened = stack.enter_context(connect(source))

        def begin() -> None:
            opened.execute("BEGIN")
            for _ in range(chance.randrange(3)):
                opened.execute(statement())
                if chance.random() < 0.5:
                    opened.execute(f"SAVEPOINT s; {statement()}; ROLLBACK TO s")

        begin()
        dbtool.backup(source)
        for _ in range(2):
            opened.execute(statement())
            opened.execute(chance.choice(("COMMIT", "COMMIT", "ROLLBACK")))
            for _ in range(chance.randrange(15)):
                sql(source, statement())
            begin()
            made = dbtool.backup(source, *BY_TIME)
            assert (taken(made)["parent"], taken(made)["child"]) != ("whole", "whole")
            expected = picture_of(source, fidelity_server, new_name)
            check_chain(made, expected, fidelity_server, dbtool, new_name)
        opened.execute("ROLLBACK")
