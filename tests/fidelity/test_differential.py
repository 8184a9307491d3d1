"""Whatever changes after a full backup, the restored chain is what a native dump of the changed database gives."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MakeDatabase, Sql
from tests.fidelity.building import build_awkward, create_database, drop_database, native_copy, psql
from tests.fidelity.conftest import NewName
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import Picture, difference, take_picture

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

START = """
CREATE TABLE plain (id int PRIMARY KEY, other int UNIQUE, note text);
INSERT INTO plain SELECT n, -n, 'note ' || n FROM generate_series(1, 3000) AS n;
CREATE TABLE keyless (a int, b text);
INSERT INTO keyless SELECT n % 50, 'text' FROM generate_series(1, 500) AS n;
CREATE TABLE pairs (a text COLLATE "C", b timestamptz, c numeric, PRIMARY KEY (b, a));
INSERT INTO pairs SELECT 'k' || n, timestamptz '2024-01-01 00:00+00' + n * interval '1 hour', n / 7.0
FROM generate_series(1, 1500) AS n;
CREATE TABLE parent (id int PRIMARY KEY);
CREATE TABLE child (id int PRIMARY KEY, parent_id int NOT NULL REFERENCES parent ON DELETE CASCADE,
                    self_id int REFERENCES child);
INSERT INTO parent SELECT generate_series(1, 100);
INSERT INTO child SELECT n, 1 + n % 100, nullif(n / 2, 0) FROM generate_series(1, 1000) AS n;
CREATE TABLE measured (id bigint GENERATED ALWAYS AS IDENTITY, at date NOT NULL, value float8,
                       doubled float8 GENERATED ALWAYS AS (value * 2) STORED, PRIMARY KEY (id, at))
PARTITION BY RANGE (at);
CREATE TABLE measured_old PARTITION OF measured FOR VALUES FROM (MINVALUE) TO ('2024-01-01');
CREATE TABLE measured_new PARTITION OF measured FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
CREATE INDEX measured_value ON measured (value);
INSERT INTO measured (at, value) SELECT date '2023-01-01' + n % 700, sqrt(n) FROM generate_series(1, 2000) AS n;
CREATE TYPE mood AS ENUM ('sad', 'fine');
CREATE TABLE felt (id int PRIMARY KEY, how mood);
INSERT INTO felt SELECT n, (ARRAY['sad', 'fine'])[1 + n % 2]::mood FROM generate_series(1, 800) AS n;
CREATE SEQUENCE counter;
SELECT nextval('counter');
CREATE VIEW shown AS SELECT id, note FROM plain WHERE other < 0;
CREATE VIEW shown_twice AS SELECT id FROM shown;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM plain;
CREATE FUNCTION answer(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 41';
CREATE TABLE logged (id serial PRIMARY KEY, said text);
CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.logged (said) VALUES (TG_OP); RETURN coalesce(NEW, OLD); END$$;
CREATE TRIGGER watched AFTER INSERT OR UPDATE OR DELETE ON plain FOR EACH ROW EXECUTE FUNCTION remember();
ALTER TABLE plain ENABLE ALWAYS TRIGGER watched;
CREATE TABLE ruled (id int PRIMARY KEY, what text);
INSERT INTO ruled SELECT n, 'r' FROM generate_series(1, 300) AS n;
CREATE RULE no_delete AS ON DELETE TO ruled WHERE old.id > 1000 DO INSTEAD NOTHING;
COMMENT ON TABLE plain IS 'a plain one';
COMMENT ON COLUMN plain.note IS 'its IS ''note''';
SELECT lo_create(4711);
SELECT lo_put(4711, 0, 'large object');
GRANT SELECT ON plain TO PUBLIC;
"""

# What changes, and whether that can be a differential; None: it is one, and says nothing of the table `plain`.
CHANGES: dict[str, tuple[str, str]] = {
    "nothing": ("SELECT 1", "unchanged"),
    "inserts": ("INSERT INTO plain VALUES (0, 0, 'new'), (-5, 5, NULL)", "rows"),
    "updates": ("UPDATE plain SET note = note || '!' WHERE id % 100 = 0", "rows"),
    "deletes": ("DELETE FROM plain WHERE id % 77 = 0", "rows"),
    "everything deleted": ("DELETE FROM plain", "whole"),
    "deleted and inserted again": (
        "DELETE FROM plain WHERE id = 5; INSERT INTO plain VALUES (5, -5, 'note 5')",
        "rows",
    ),
    "truncate": ("TRUNCATE plain", "whole"),
    "truncated and filled": ("TRUNCATE plain; INSERT INTO plain VALUES (1, 1, 'one')", "whole"),
    "keys changed": ("UPDATE plain SET id = id + 100000 WHERE id < 20", "rows"),
    "swapped in a second unique index": (
        "ALTER TABLE plain DROP CONSTRAINT plain_other_key; "
        "UPDATE plain SET other = CASE id WHEN 1 THEN -2 ELSE -1 END WHERE id IN (1, 2); "
        "ALTER TABLE plain ADD CONSTRAINT plain_other_key UNIQUE (other)",
        "rows",
    ),
    "most rows": ("UPDATE plain SET note = 'x'", "whole"),
    "without a key": ("INSERT INTO keyless VALUES (1, 'text'); DELETE FROM keyless WHERE a = 7", "unchanged"),
    "added without a key": ("INSERT INTO keyless VALUES (1, 'text'), (1, 'text'), (NULL, NULL)", "unchanged"),
    "keys of two columns": (
        "UPDATE pairs SET c = 0 WHERE a = 'k17'; UPDATE pairs SET b = b + interval '1 ms' WHERE a = 'k18'; "
        "DELETE FROM pairs WHERE a = 'k19'",
        "unchanged",
    ),
    "cascades": (
        "UPDATE child SET self_id = NULL WHERE self_id % 100 = 6; DELETE FROM child WHERE id > 500; "
        "DELETE FROM parent WHERE id = 7",
        "unchanged",
    ),
    "moved between partitions": (
        "UPDATE measured SET at = '2025-01-01' WHERE id < 20; UPDATE measured SET at = '2020-01-01' WHERE id > 1990",
        "unchanged",
    ),
    "a new partition": (
        "CREATE TABLE measured_far (LIKE measured INCLUDING ALL); "
        "ALTER TABLE measured DETACH PARTITION measured_new; "
        "ALTER TABLE measured ATTACH PARTITION measured_new FOR VALUES FROM ('2024-01-01') TO ('2030-01-01')",
        "unchanged",
    ),
    "an index less": ("DROP INDEX measured_value; CREATE INDEX plain_note ON plain (note)", "unchanged"),
    "new table": ("CREATE TABLE fresh AS SELECT n FROM generate_series(1, 50) AS n", "unchanged"),
    "dropped tables": (
        "DROP TABLE child; DROP TABLE parent; DROP TABLE measured; DROP TABLE logged",
        "unchanged",
    ),
    "new column": ("ALTER TABLE plain ADD COLUMN extra int DEFAULT 7", "whole"),
    "column dropped": ("ALTER TABLE pairs DROP COLUMN c; UPDATE plain SET note = 'y' WHERE id = 3", "rows"),
    "type changed": (
        "DROP VIEW shown_twice, shown; ALTER TABLE plain ALTER COLUMN note TYPE varchar(99)",
        "whole",
    ),
    "renamed": ("ALTER TABLE plain RENAME TO simple; CREATE TABLE plain (id int PRIMARY KEY)", "whole"),
    "swapped": (
        "CREATE TABLE plain2 (LIKE felt INCLUDING ALL); INSERT INTO plain2 SELECT * FROM felt WHERE id > 3; "
        "ALTER TABLE felt RENAME TO felt_old; ALTER TABLE plain2 RENAME TO felt",
        "unchanged",
    ),
    "label renamed": ("ALTER TYPE mood RENAME VALUE 'sad' TO 'gloomy'", "unchanged"),
    "label added": ("ALTER TYPE mood ADD VALUE 'great'", "unchanged"),
    "sequences": ("SELECT setval('counter', 99); INSERT INTO logged (said) VALUES ('x')", "unchanged"),
    "views": (
        "CREATE OR REPLACE VIEW shown AS SELECT id, note FROM plain WHERE other < -1; "
        "COMMENT ON VIEW shown_twice IS 'twice'; DROP MATERIALIZED VIEW counted",
        "unchanged",
    ),
    "functions": (
        "CREATE OR REPLACE FUNCTION answer(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 42'; "
        "CREATE FUNCTION answer(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "unchanged",
    ),
    "triggers": (
        "DROP TRIGGER watched ON plain; "
        "CREATE TRIGGER looked BEFORE UPDATE ON felt FOR EACH ROW EXECUTE FUNCTION remember(); "
        "UPDATE felt SET how = 'sad' WHERE id < 9",
        "unchanged",
    ),
    "rules": ("DROP RULE no_delete ON ruled; DELETE FROM ruled WHERE id < 9", "unchanged"),
    "rows under a rule": ("UPDATE ruled SET what = 's' WHERE id < 9", "unchanged"),
    "privileges": (
        "REVOKE SELECT ON plain FROM PUBLIC; GRANT UPDATE (note) ON plain TO PUBLIC; GRANT SELECT ON felt TO PUBLIC; "
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC; CREATE TABLE granted (a int)",
        "whole",  # what a column's privileges are is noted where it is noted whether the column is the same
    ),
    "comments": (
        "COMMENT ON TABLE plain IS NULL; COMMENT ON COLUMN plain.note IS 'other'; COMMENT ON TABLE felt IS 'feelings'",
        "unchanged",
    ),
    "policies": (
        "ALTER TABLE felt ENABLE ROW LEVEL SECURITY; CREATE POLICY ours ON felt USING (id > 1); "
        "UPDATE felt SET how = 'fine' WHERE id = 2",
        "unchanged",
    ),
    "large objects": ("SELECT lo_put(4711, 3, 'E'); SELECT lo_create(4712)", "unchanged"),
    "large objects gone": ("SELECT lo_unlink(4711)", "unchanged"),
    "other schemas": (
        "CREATE SCHEMA other; ALTER TABLE felt SET SCHEMA other; CREATE TABLE other.x (a int)",
        "unchanged",
    ),
    "a foreign key": (
        "ALTER TABLE child DROP CONSTRAINT child_self_id_fkey; DELETE FROM parent WHERE id = 9; "
        "ALTER TABLE felt ADD FOREIGN KEY (id) REFERENCES plain",
        "unchanged",
    ),
    "vacuumed and rewritten": (
        "UPDATE plain SET note = 'z' WHERE id = 9; CLUSTER plain USING plain_pkey",
        "rows",
    ),
    "owned sequence": ("ALTER TABLE logged ALTER COLUMN said TYPE varchar(20)", "unchanged"),
    "an event trigger": (
        "CREATE FUNCTION told() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
        "CREATE EVENT TRIGGER tell ON ddl_command_end EXECUTE FUNCTION told(); CREATE TABLE after_it (a int)",
        "unchanged",
    ),
    "a domain": (
        "CREATE DOMAIN small AS int CHECK (VALUE < 10); CREATE TABLE smalls (a small PRIMARY KEY)",
        "unchanged",
    ),
}


@pytest.fixture
def started(fidelity_server: PostgresServer, make_database: MakeDatabase, sql: Sql) -> Connection:
    source = make_database(fidelity_server)
    sql(source, START)
    return source


def picture_of(source: Connection, server: PostgresServer, new_name: NewName) -> Picture:
    """What a native copy of the source looks like."""
    copy = new_name()
    create_database(server.connection(), copy.database)
    native_copy(source, copy, server.bin_directory)
    found = take_picture(copy, server.bin_directory)
    properties = take_picture(source, server.bin_directory).properties
    return dataclasses.replace(found, properties=properties)


def check_chain(
    differential: dict[str, Any], expected: Picture, server: PostgresServer, dbtool: Dbtool, new_name: NewName
) -> None:
    """Through dbtool, and through psql alone."""
    assert differential["type"] == "differential", differential["options"]
    copy = new_name()
    report = dbtool.restore(differential["id"], copy)
    assert report["compared"] is True
    assert "\n".join(difference(expected, take_picture(copy, server.bin_directory))) == ""
    by_hand = new_name()
    create_database(server.connection(), by_hand.database)
    run_chain(differential, by_hand, server)
    assert "\n".join(difference(expected, take_picture(by_hand, server.bin_directory))) == ""


def run_chain(differential: dict[str, Any], target: Connection, server: PostgresServer) -> None:
    """The base's script, then the differential's, by psql."""
    folder = Path(differential["backup_location"])
    for place in (folder.parent.parent, folder):
        (archive,) = place.glob("*.sql.zst")
        script = subprocess.run(["zstd", "-dcq", archive], capture_output=True, check=True).stdout
        done = psql(target, server.bin_directory, script)
        assert done.returncode == 0, f"{archive}: {done.stderr.decode(errors='replace')}"


@pytest.mark.parametrize("change", CHANGES)
def test_a_change(
    change: str,
    started: Connection,
    fidelity_server: PostgresServer,
    dbtool: Dbtool,
    new_name: NewName,
    sql: Sql,
) -> None:
    statements, taken = CHANGES[change]
    full = dbtool.backup(started)
    for statement in (
        statements.split("; ") if "CLUSTER" in statements or "VALUE" in statements else [statements]
    ):
        sql(started, statement)
    differential = dbtool.backup(started, "differential", "backup")
    assert differential["parent"]["id"] == full["id"]
    for table in differential["tables"]:
        if (table["schema"], table["name"]) == ("public", "plain"):
            assert table["details"]["differential"]["taken"] == taken
    expected = picture_of(started, fidelity_server, new_name)
    check_chain(differential, expected, fidelity_server, dbtool, new_name)
    dbtool.run(["verify", differential["id"], "--path", str(dbtool.repository)])


def test_everything_at_once_in_the_awkward_database(
    fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName
) -> None:
    """Nothing changed, and yet a chain of every kind of object."""
    source = build_awkward(fidelity_server, "awkward_chain")
    try:
        dbtool.backup(source)
        differential = dbtool.backup(source, "differential", "backup")
        expected = picture_of(source, fidelity_server, new_name)
        check_chain(differential, expected, fidelity_server, dbtool, new_name)
    finally:
        drop_database(source)
