"""Changes that leave no mark where a differential looks first: on the rows, or in the schema's SQL."""

from __future__ import annotations

import pytest
from tests.conftest import MakeDatabase, Sql
from tests.fidelity.conftest import NewName
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.test_differential import check_chain, picture_of

from dbtool.servers.postgres import PostgresServer

START = """
CREATE TABLE plain (id int PRIMARY KEY, note text);
INSERT INTO plain SELECT n, 'note ' || n FROM generate_series(1, 500) AS n;
CREATE TABLE named (id int PRIMARY KEY, what regclass, several regclass[]);
INSERT INTO named SELECT n, 'plain'::regclass, ARRAY['plain'::regclass] FROM generate_series(1, 500) AS n;
CREATE TYPE pair AS (a int, b text);
CREATE TABLE paired (id int PRIMARY KEY, p pair, q pair[]);
INSERT INTO paired SELECT n, ROW(n, 'x' || n)::pair, ARRAY[ROW(n, 'y' || n)::pair] FROM generate_series(1, 500) AS n;
CREATE DOMAIN wrapped AS pair;
CREATE TABLE wrapping (id int PRIMARY KEY, w wrapped);
INSERT INTO wrapping SELECT n, ROW(n, 'z' || n)::pair FROM generate_series(1, 500) AS n;
CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS n FROM plain;
CREATE MATERIALIZED VIEW counted_again AS SELECT * FROM counted;
CREATE MATERIALIZED VIEW empty_one AS SELECT count(*) AS n FROM plain WITH NO DATA;
CREATE TABLE parted (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (300);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (300) TO (900);
INSERT INTO parted SELECT n, 'p' FROM generate_series(1, 500) AS n;
CREATE FUNCTION twist() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := 'twisted'; RETURN NEW; END$$;
CREATE TRIGGER twisting BEFORE INSERT OR UPDATE ON parted FOR EACH ROW EXECUTE FUNCTION twist();
ALTER TABLE parted DISABLE TRIGGER twisting;
CREATE TABLE amounts (id money PRIMARY KEY, at timestamptz, span interval, f float8, raw bytea);
INSERT INTO amounts SELECT n::money, timestamptz '2024-03-31 00:00+00' + n * interval '1 h', n * interval '1 day 3 h',
    n / 3.0, decode(md5(n::text), 'hex') FROM generate_series(1, 500) AS n;
CREATE TABLE keyed (at timestamptz, raw bytea, n int, PRIMARY KEY (at, raw));
INSERT INTO keyed SELECT timestamptz '2024-03-31 00:00+00' + n * interval '1 h', decode(md5(n::text), 'hex'), n
FROM generate_series(1, 500) AS n;
CREATE TABLE pointed (id int PRIMARY KEY);
CREATE TABLE pointing (id int REFERENCES pointed ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
INSERT INTO pointed SELECT generate_series(1, 300);
INSERT INTO pointing SELECT generate_series(1, 300);
CREATE TABLE published (id int NOT NULL UNIQUE, note text);
INSERT INTO published SELECT n, 'p' FROM generate_series(1, 300) AS n;
CREATE TABLE to_published (id int REFERENCES published (id));
INSERT INTO to_published SELECT generate_series(1, 300);
CREATE PUBLICATION early FOR TABLE published WITH (publish = 'insert, update, delete');
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
CREATE TABLE loosely (k text COLLATE loose NOT NULL, note text);
CREATE UNIQUE INDEX loosely_key ON loosely (k COLLATE "C");
INSERT INTO loosely SELECT unnest(ARRAY['a', 'A']) || n, 'l' FROM generate_series(1, 300) AS n;
CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd', 'e', 'f');
CREATE TABLE hashed (id int, m mood) PARTITION BY HASH (m);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE hashed_2 PARTITION OF hashed FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO hashed SELECT n, (enum_range(NULL::mood))[1 + n % 6] FROM generate_series(1, 600) AS n;
CREATE TABLE audit (tag text);
CREATE FUNCTION note_it() RETURNS event_trigger LANGUAGE plpgsql AS
$$BEGIN IF TG_TAG !~ 'VIEW' THEN INSERT INTO public.audit VALUES (TG_TAG); END IF; END$$;
CREATE EVENT TRIGGER noting ON ddl_command_end EXECUTE FUNCTION note_it();
ALTER EVENT TRIGGER noting ENABLE ALWAYS;
"""

CHANGES = {
    "a column made anew": "ALTER TABLE plain DROP COLUMN note; ALTER TABLE plain ADD note text",
    "a column made anew with other values": (
        "ALTER TABLE plain DROP COLUMN note; ALTER TABLE plain ADD note text DEFAULT 'other'; "
        "ALTER TABLE plain ALTER note DROP DEFAULT"
    ),
    "a column made anew on a part": (
        "ALTER TABLE parted DROP COLUMN note; ALTER TABLE parted ADD note text DEFAULT 'other'; "
        "ALTER TABLE parted ALTER note DROP DEFAULT"
    ),
    "columns swapped by name": (
        "ALTER TABLE keyed DROP CONSTRAINT keyed_pkey; ALTER TABLE keyed ADD m int; ALTER TABLE keyed DROP COLUMN n; "
        "ALTER TABLE keyed RENAME m TO n; ALTER TABLE keyed ADD PRIMARY KEY (at, raw)"
    ),
    "an attribute made anew": "ALTER TYPE pair DROP ATTRIBUTE b; ALTER TYPE pair ADD ATTRIBUTE b text",
    "what a value names is renamed": "ALTER TABLE plain RENAME TO simple",
    "what a value names is swapped": (
        "ALTER TABLE plain RENAME TO x; ALTER TABLE pointed RENAME TO plain; ALTER TABLE x RENAME TO pointed"
    ),
    "what a value names is made anew": "CREATE TABLE plain2 (LIKE plain INCLUDING ALL); DROP MATERIALIZED VIEW "
    "counted_again, counted, empty_one; DROP TABLE plain; ALTER TABLE plain2 RENAME TO plain",
    "a view emptied": "REFRESH MATERIALIZED VIEW counted_again WITH NO DATA",
    "views emptied": (
        "REFRESH MATERIALIZED VIEW counted_again WITH NO DATA; REFRESH MATERIALIZED VIEW counted WITH NO DATA"
    ),
    "a view emptied that another one reads": "REFRESH MATERIALIZED VIEW counted WITH NO DATA",
    "a view filled": "REFRESH MATERIALIZED VIEW empty_one",
    "a trigger of a part": (
        "ALTER TABLE parted_low ENABLE ALWAYS TRIGGER twisting; UPDATE parted SET note = 'q' WHERE id % 50 = 1"
    ),
    "settings of the database": (
        "ALTER DATABASE {db} SET timezone = 'Asia/Kathmandu'; ALTER DATABASE {db} SET bytea_output = 'escape'; "
        "ALTER DATABASE {db} SET intervalstyle = 'iso_8601'; ALTER DATABASE {db} SET datestyle = 'SQL, DMY'; "
        "ALTER DATABASE {db} SET extra_float_digits = 0; DELETE FROM keyed WHERE n % 50 = 0; "
        "UPDATE keyed SET at = at + interval '1 s' WHERE n % 50 = 1; DELETE FROM amounts WHERE f > 160"
    ),
    "a foreign key that waits": "DELETE FROM pointed WHERE id % 50 = 0; INSERT INTO pointed VALUES (1000)",
    "an index stricter than its column": "DELETE FROM loosely WHERE k COLLATE \"C\" ~ '^A.*7$'; "
    "UPDATE loosely SET note = 'm' WHERE k COLLATE \"C\" = 'a8'",
    "rows that a publication guards": "TRUNCATE published, to_published; INSERT INTO published VALUES (5, 'five')",
    "rows of another publication": "ALTER PUBLICATION early SET (publish = 'insert'); DELETE FROM to_published WHERE id < 9; "
    "DELETE FROM published WHERE id < 9; ALTER PUBLICATION early SET (publish = 'insert, update, delete')",
    "rows beside an event trigger": "DELETE FROM plain WHERE id < 9",
    "parts whose rows find their own": "DELETE FROM hashed WHERE id % 50 = 0; INSERT INTO hashed VALUES (1000, 'a')",
    "a whole whose rows find their part": "ALTER TABLE hashed ADD CHECK (id > 0)",
    "an owner": "CREATE ROLE owner_of_traps; ALTER TABLE plain OWNER TO owner_of_traps; "
    "ALTER MATERIALIZED VIEW counted OWNER TO owner_of_traps",
    "a sequence that a column owns": "ALTER TABLE plain ADD s serial; ALTER TABLE plain DROP COLUMN s",
    "statistics": "ALTER TABLE plain ALTER note SET STATISTICS 17; CREATE STATISTICS st ON id, note FROM plain",
    "a publication": "CREATE PUBLICATION pub FOR TABLE plain; UPDATE plain SET note = 'r' WHERE id = 7",
    "a table that no DELETE is allowed in": (
        "ALTER TABLE plain DROP CONSTRAINT plain_pkey; CREATE UNIQUE INDEX plain_id ON plain (id); "
        "UPDATE plain SET note = 'r' WHERE id = 7; CREATE PUBLICATION pub FOR TABLE plain"
    ),
}


@pytest.fixture(autouse=True)
def no_roles_left(fidelity_server: PostgresServer, make_database: MakeDatabase, sql: Sql) -> object:
    yield
    with_role = [name for (name,) in sql(fidelity_server.connection(), "SELECT datname FROM pg_database")]
    if sql(fidelity_server.connection(), "SELECT FROM pg_roles WHERE rolname = 'owner_of_traps'"):
        for name in with_role:
            if name not in ("template0", "template1"):
                sql(fidelity_server.connection(name), "REASSIGN OWNED BY owner_of_traps TO postgres")
        sql(fidelity_server.connection(), "DROP ROLE owner_of_traps")


@pytest.mark.parametrize("change", CHANGES)
def test_a_trap(
    change: str,
    fidelity_server: PostgresServer,
    make_database: MakeDatabase,
    dbtool: Dbtool,
    new_name: NewName,
    sql: Sql,
) -> None:
    source = make_database(fidelity_server)
    sql(source, START)
    dbtool.backup(source)
    for statement in CHANGES[change].format(db=source.database).split("; "):
        sql(source, statement)
    differential = dbtool.backup(source, "differential", "backup", "-max-differential-ratio", "1000")
    expected = picture_of(source, fidelity_server, new_name)
    check_chain(differential, expected, fidelity_server, dbtool, new_name)


def test_a_part_whose_rows_find_their_own_is_redefined(
    fidelity_server: PostgresServer, make_database: MakeDatabase, dbtool: Dbtool, sql: Sql
) -> None:
    source = make_database(fidelity_server)
    sql(source, START)
    dbtool.backup(source)
    sql(source, "ALTER TABLE hashed_1 SET (fillfactor = 70)")
    made = dbtool.backup(source, "differential", "backup")
    reason = "public.hashed_1, a part of hashed by the hash of an enum, was redefined"
    assert made["options"]["differential_refused"] == reason
