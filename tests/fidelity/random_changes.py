"""What a random history may begin with beside plain tables, and how its schema may change."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fidelity.random_history import History

Change = Callable[["History"], object]


def _statement(text: str) -> Change:
    """A change that is one statement: `{t}` and `{u}` are tables, `{x}` a new number, `{y}` one from 1 to 30."""

    def change(history: History) -> None:
        for one in text.split("; "):
            filled = one.format(
                t=history.any_table() if "{t}" in one else "",
                u=history.any_table() if "{u}" in one else "",
                x=history.number() if "{x}" in one else history._numbers,
                last=history._numbers,
                y=history.dice.randint(1, 30),
            )
            history.send(filled)

    return change


def _same(text: str) -> Change:
    """Several statements with one `{t}`, and one `{x}`."""

    def change(history: History) -> None:
        values = {"t": history.any_table(), "x": history.number(), "y": history.dice.randint(1, 30)}
        for one in text.split("; "):
            history.send(one.format(**values))

    return change


def _new_table(history: History) -> None:
    history._make_table(f"table_{history.number()}")


def _special(text: str) -> Change:
    """Part of the first schema; the tables of `fill` are filled."""

    def change(history: History) -> None:
        number = history.number()
        for one in text.strip().split(";\n"):
            one = one.strip().removesuffix(";").format(x=number)
            words = one.split()
            if words[0] == "fill":
                history.fill(words[1], 1, int(words[2]))
            else:
                history.send(one, must=True)

    return change


SPECIAL: list[Change] = [
    _special("""CREATE TABLE range_{x} (k int, at date NOT NULL, c0 text, PRIMARY KEY (k, at)) PARTITION BY RANGE (at);
        CREATE TABLE range_{x}_a PARTITION OF range_{x} FOR VALUES FROM (MINVALUE) TO ('2025-06-01');
        CREATE TABLE range_{x}_b PARTITION OF range_{x} FOR VALUES FROM ('2025-06-01') TO (MAXVALUE);
        fill range_{x} 900"""),
    _special("""CREATE TABLE list_{x} (k bigint PRIMARY KEY, c0 int) PARTITION BY LIST (k);
        CREATE TABLE list_{x}_a PARTITION OF list_{x} FOR VALUES IN (10000000007, 20000000014);
        CREATE TABLE list_{x}_d PARTITION OF list_{x} DEFAULT;
        fill list_{x} 300;
        CREATE TABLE to_list_{x} (k int PRIMARY KEY, c0 bigint REFERENCES list_{x} ON DELETE CASCADE);
        fill to_list_{x} 200"""),
    _special("""CREATE TABLE hash_{x} (k uuid NOT NULL, c0 mood NOT NULL) PARTITION BY HASH (c0);
        CREATE TABLE hash_{x}_0 PARTITION OF hash_{x} FOR VALUES WITH (MODULUS 2, REMAINDER 0);
        CREATE TABLE hash_{x}_1 PARTITION OF hash_{x} FOR VALUES WITH (MODULUS 2, REMAINDER 1);
        fill hash_{x} 300"""),
    _special("""CREATE TABLE tree_{x} (k int PRIMARY KEY, c0 int REFERENCES tree_{x} ON DELETE SET NULL DEFERRABLE);
        INSERT INTO tree_{x} SELECT n, nullif(n / 2, 0) FROM generate_series(1, 500) AS n"""),
    _special("""CREATE TABLE egg_{x} (k int PRIMARY KEY, hen int);
        CREATE TABLE hen_{x} (k int PRIMARY KEY, egg int REFERENCES egg_{x} ON DELETE CASCADE);
        INSERT INTO egg_{x} SELECT n, n FROM generate_series(1, 200) AS n;
        INSERT INTO hen_{x} SELECT n, n FROM generate_series(1, 200) AS n;
        ALTER TABLE egg_{x} ADD FOREIGN KEY (hen) REFERENCES hen_{x} ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED"""),
    _special("""CREATE TABLE heir_{x} (extra int DEFAULT 5) INHERITS (journal);
        INSERT INTO heir_{x} (at, said) SELECT n, 'heir' FROM generate_series(1, 50) AS n"""),
    _special("""CREATE TABLE booked_{x} (k int PRIMARY KEY, c0 int4range, EXCLUDE USING gist (c0 WITH &&) DEFERRABLE);
        fill booked_{x} 300"""),
    _special("""CREATE TABLE ruled_{x} (k int PRIMARY KEY, c0 text);
        fill ruled_{x} 100;
        CREATE RULE r_{x} AS ON DELETE TO ruled_{x} WHERE old.k % 3 = 0 DO INSTEAD NOTHING;
        ALTER TABLE ruled_{x} ENABLE ALWAYS RULE r_{x}"""),
    _special("""CREATE TABLE unique_{x} (k int PRIMARY KEY, c0 int UNIQUE DEFERRABLE INITIALLY DEFERRED);
        fill unique_{x} 400"""),
]  # fmt: skip

SCHEMA_CHANGES: list[Change] = [
    _new_table,
    _new_table,
    _statement("DROP TABLE {t} CASCADE"),
    _statement("ALTER TABLE {t} RENAME TO renamed_{x}"),
    _same("ALTER TABLE {t} RENAME TO old_{x}; CREATE TABLE {t} (LIKE old_{x} INCLUDING ALL); "
          "INSERT INTO {t} SELECT * FROM old_{x}"),
    _statement("ALTER TABLE {t} ADD x{x} int DEFAULT 7"),
    _statement("ALTER TABLE {t} ADD x{x} text DEFAULT random()::int > 5"),
    _statement("ALTER TABLE {t} DROP COLUMN c0 CASCADE"),
    _same("ALTER TABLE {t} DROP COLUMN c1 CASCADE; ALTER TABLE {t} ADD c1 int DEFAULT {y}; "
          "ALTER TABLE {t} ALTER c1 DROP DEFAULT"),
    _same("ALTER TABLE {t} ADD tail int DEFAULT 1; ALTER TABLE {t} ALTER tail DROP DEFAULT"),
    _same("ALTER TABLE {t} DROP COLUMN tail; ALTER TABLE {t} ADD tail int DEFAULT {y}; "
          "ALTER TABLE {t} ALTER tail DROP DEFAULT"),
    _statement("ALTER TABLE {t} ALTER c0 TYPE text USING c0::text"),
    _statement("CREATE INDEX i_{x} ON {t} (c0)"),
    _statement("CREATE UNIQUE INDEX i_{x} ON {t} (k)"),
    _statement("DROP INDEX i_{y}"),
    _statement("ALTER TABLE {t} DROP CONSTRAINT {t}_pkey CASCADE"),
    _same("ALTER TABLE {t} DROP CONSTRAINT {t}_pkey CASCADE; ALTER TABLE {t} ADD PRIMARY KEY (k)"),
    _same("ALTER TABLE {t} ADD CHECK (c0::text <> 'x{x}') NOT VALID"),
    _statement("ALTER TABLE {t} ADD FOREIGN KEY (c0) REFERENCES {u} ON DELETE CASCADE"),
    _statement("ALTER TABLE {t} ADD FOREIGN KEY (c0) REFERENCES {u} NOT VALID"),
    _statement("CREATE VIEW v_{x} AS SELECT * FROM {t}"),
    _statement("CREATE MATERIALIZED VIEW m_{x} AS SELECT count(*) FROM {t}"),
    _statement("REFRESH MATERIALIZED VIEW m_{y}"),
    _statement("REFRESH MATERIALIZED VIEW m_{y} WITH NO DATA"),
    _statement("DROP VIEW v_{y} CASCADE"),
    _statement("CREATE OR REPLACE FUNCTION f_{y}() RETURNS int LANGUAGE sql AS 'SELECT {x}'"),
    _statement("DROP FUNCTION f_{y}"),
    _statement("CREATE OR REPLACE FUNCTION doubled(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + $1'"),
    _statement("ALTER TYPE mood ADD VALUE 'label {x}'"),
    _statement("ALTER TYPE mood RENAME VALUE 'label {y}' TO 'renamed {x}'"),
    _statement("GRANT SELECT ON {t} TO PUBLIC"),
    _statement("REVOKE ALL ON {t} FROM PUBLIC"),
    _statement("GRANT UPDATE (c0) ON {t} TO PUBLIC WITH GRANT OPTION"),
    _statement("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC"),
    _statement("COMMENT ON TABLE {t} IS 'it''s {x}'"),
    _statement("COMMENT ON TABLE {t} IS NULL"),
    _same("CREATE TABLE part_{x} (LIKE {t}); "
          "ALTER TABLE {t} ATTACH PARTITION part_{x} FOR VALUES FROM ('2050-01-01') TO ('2060-01-01')"),
    _statement("ALTER TABLE {t} DETACH PARTITION {u}"),
    lambda history: _detach(history),
    _statement("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY"),
    _statement("CREATE POLICY p_{x} ON {t} USING (true)"),
    _statement("ALTER TABLE {t} SET (fillfactor = 70)"),
    _statement("ALTER TABLE {t} SET UNLOGGED"),
    _statement("ALTER TABLE {t} SET LOGGED"),
    _statement("ALTER TABLE {t} REPLICA IDENTITY FULL"),
    _statement("ALTER SEQUENCE counter INCREMENT {y}"),
    _statement("CREATE SCHEMA other; ALTER TABLE {t} SET SCHEMA other"),
    _statement("CREATE STATISTICS s_{x} ON k, c0 FROM {t}"),
    _statement("CREATE PUBLICATION pub_{x} FOR TABLE {t}"),
    _statement("DROP PUBLICATION pub_{y}"),
    lambda history: history._make_trigger(history.any_table()),
    lambda history: history.dice.choice(SPECIAL)(history),
]  # fmt: skip


def _detach(history: History) -> None:
    rows = history.admin.execute(
        "SELECT inhparent::regclass::text, inhrelid::regclass::text FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid"
        " WHERE c.relispartition AND c.relkind = 'r' AND c.relname !~ '^hash_' ORDER BY 1, 2"
    ).fetchall()
    if rows:
        parent, part = history.dice.choice(rows)
        history.send(f"ALTER TABLE {parent} DETACH PARTITION {part}")
