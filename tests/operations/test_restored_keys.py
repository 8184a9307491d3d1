"""Keys of large tables, whose index is made first: they come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import Sql, connect
from tests.logical import backup, bring_back, contents

from dbtool.engines.postgres import keys, load, restore_plan
from dbtool.errors import SqlError
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

KEYS = """
CREATE SCHEMA "S""x";
CREATE TABLE "S""x"."T. y" ("a b" int NOT NULL, "select" text NOT NULL, c int, d date, e int, f int4range, g int NOT NULL);
INSERT INTO "S""x"."T. y" SELECT n, 'n' || n, n, date '2000-01-01' + n, nullif(n % 9, 0) + n * 10,
    int4range(n, n + 1), n FROM generate_series(1, 2000) AS n;
ALTER TABLE "S""x"."T. y"
    ADD CONSTRAINT "the ""key" PRIMARY KEY ("select", "a b") INCLUDE (c, d) WITH (fillfactor = 70),
    ADD UNIQUE (c) DEFERRABLE INITIALLY DEFERRED, ADD UNIQUE (d) DEFERRABLE, ADD UNIQUE (e) WITH (deduplicate_items = off),
    ADD EXCLUDE USING gist (f WITH &&), ADD CONSTRAINT other UNIQUE (g);
COMMENT ON CONSTRAINT other ON "S""x"."T. y" IS 'the other';
ALTER TABLE "S""x"."T. y" CLUSTER ON other, REPLICA IDENTITY USING INDEX other;
CREATE INDEX ON "S""x"."T. y" (d, c);
CREATE TABLE parted (id int, n int, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE part_one PARTITION OF parted FOR VALUES FROM (0) TO (1000);
CREATE TABLE part_two PARTITION OF parted FOR VALUES FROM (1000) TO (3000);
INSERT INTO parted SELECT n, n FROM generate_series(1, 2000) AS n;
CREATE TABLE child (id int PRIMARY KEY REFERENCES parted, c int REFERENCES "S""x"."T. y" (g));
INSERT INTO child SELECT n, n FROM generate_series(1, 50) AS n;
"""
CATALOGUE = """
SELECT c.conname::text, c.conrelid::regclass::text, c.condeferrable, c.condeferred, pg_get_constraintdef(c.oid),
       pg_get_indexdef(i.indexrelid), i.indimmediate, i.indisprimary, i.indisclustered, i.indisreplident, i.indisvalid,
       x.reloptions, obj_description(c.oid, 'pg_constraint'), c.conparentid <> 0
FROM pg_constraint AS c LEFT JOIN pg_index AS i ON i.indexrelid = c.conindid AND c.contype <> 'f'
LEFT JOIN pg_class AS x ON x.oid = i.indexrelid
WHERE c.conrelid <> 0 AND c.contype IN ('p', 'u', 'x', 'f') ORDER BY 2, 1
"""


def check_keys(
    connection: Connection, tmp_path: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch, *programs: str
) -> None:
    monkeypatch.setattr(restore_plan, "_LARGE_TABLE_BYTES", 0)
    made: list[bytes] = []
    real = load.CopyLoader._execute

    def execute(self: load.CopyLoader, statement: bytes) -> None:
        made.append(statement)
        real(self, statement)

    monkeypatch.setattr(load.CopyLoader, "_execute", execute)
    sql(connection, KEYS)
    backup(connection, tmp_path, tool_directories=programs)
    target = connection.with_database(f"keys_{connection.database}")
    try:
        bring_back(tmp_path, target)
        assert sql(target, CATALOGUE) == sql(connection, CATALOGUE)
        assert contents(target) == contents(connection)
    finally:
        with connect(connection.with_database("postgres")) as session:
            session.execute(f'DROP DATABASE IF EXISTS "{target.database}"')
    in_steps = b"".join(made).count(b" USING INDEX ")
    assert in_steps >= 7  # and not the exclusion, nor the key of the partitioned table


def test_keys_come_back_as_they_were(
    database: Connection, tmp_path: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_keys(database, tmp_path, sql, monkeypatch)


@pytest.mark.matrix
def test_keys_on_every_version(
    matrix_database: Connection,
    matrix_server: PostgresServer,
    tmp_path: Path,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_keys(matrix_database, tmp_path, sql, monkeypatch, str(matrix_server.bin_directory))


def test_a_key_that_cannot_be_made_is_the_error(
    database: Connection, tmp_path: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_plan, "_LARGE_TABLE_BYTES", 0)
    sql(
        database,
        "CREATE TABLE t (id int NOT NULL, n int); INSERT INTO t SELECT n, n FROM generate_series(1, 9) AS n",
    )
    sql(database, "ALTER TABLE t ADD CONSTRAINT t_key UNIQUE (id)")
    backup(database, tmp_path)
    real = load.CopyLoader._load

    def twice(self: load.CopyLoader, number: int, text: bytes) -> None:
        real(self, number, text)
        self._session.execute("INSERT INTO public.t VALUES (1, 1)")

    monkeypatch.setattr(load.CopyLoader, "_load", twice)
    target = database.with_database(f"keys_{database.database}")
    with pytest.raises(
        SqlError, match=r"CONSTRAINT public\.t t_key could not be made: could not create unique index"
    ):
        bring_back(tmp_path, target, compare=False)


@pytest.mark.parametrize(
    "definition",
    [
        b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k EXCLUDE USING gist (r WITH &&);\n",
        b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (id, valid WITHOUT OVERLAPS);\n",
        b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k CHECK ((n > 0));\n",
        b"ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k UNIQUE (id) NOT VALID;\n",
        b"CREATE UNIQUE INDEX k ON public.t USING btree (id);\n",
    ],
)
def test_what_is_made_at_once(definition: bytes) -> None:
    assert keys.in_steps(definition) is None


def test_what_is_made_in_steps() -> None:
    steps = keys.in_steps(
        b'ALTER TABLE ONLY public."T"\n    ADD CONSTRAINT k UNIQUE NULLS NOT DISTINCT (id, "N") DEFERRABLE;\nmore\n'
    )
    assert steps == keys.KeyInSteps(
        b'CREATE UNIQUE INDEX k ON public."T" USING btree (id, "N") NULLS NOT DISTINCT;\n',
        b'ALTER TABLE ONLY public."T"\n    ADD CONSTRAINT k UNIQUE USING INDEX k DEFERRABLE;\nmore\n',
    )
