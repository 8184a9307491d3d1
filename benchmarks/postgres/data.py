"""The databases that are measured: made by the server itself, the same on every run.

Not for tests: nothing here is awkward, it is only much of what databases usually hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchmarks.words import WORDS

SMALL_TABLES = 20_000
_SMALL_TABLES_A_TRANSACTION = 250


def _pool(sentences: int) -> list[str]:
    """A table of short sentences to draw texts from."""
    words = "ARRAY[" + ",".join(f"'{word}'" for word in WORDS) + "]"
    return [
        "SELECT setseed(0.42)",
        f"""
        CREATE TEMP TABLE pool AS
        SELECT number AS id, (
            SELECT string_agg(w[1 + floor(random() * array_length(w, 1))::int], ' ')
            FROM (SELECT {words} AS w) AS list, generate_series(1, 5 + number % 7)
        ) AS sentence
        FROM generate_series(0, {sentences - 1}) AS number""",
        "ALTER TABLE pool ADD PRIMARY KEY (id)",
        "ANALYZE pool",
    ]


_POOL_SENTENCES = 40_000

_CUSTOMERS = """
CREATE TABLE customers AS
SELECT n AS id,
       initcap(split_part(sentence, ' ', 1)) || ' ' || initcap(split_part(sentence, ' ', 2)) AS name,
       split_part(sentence, ' ', 3) || n || '@example.org' AS email,
       (n * 7919 % 900000 + 100000)::text AS phone,
       split_part(sentence, ' ', 4) || ' street ' || n % 200 AS address,
       (ARRAY['DE','FR','US','GB','JP','BR'])[1 + n % 6]::char(2) AS country,
       timestamptz '2018-01-01 00:00:00+00' + n * interval '411 seconds' AS created_at,
       n % 17 <> 0 AS is_active
FROM (SELECT n, (random() * 39999)::int AS pick FROM generate_series(1, {rows}) AS n) AS source
JOIN pool ON pool.id = pick
"""

_READINGS = """
CREATE TABLE readings AS
SELECT n::bigint AS id, (random() * 4999)::int AS sensor_id,
       timestamptz '2024-01-01 00:00:00+00' + n * interval '1.7 seconds' AS recorded_at,
       round((20 + 15 * sin(n / 5000.0) + random())::numeric, 3)::float8 AS value,
       (random() * 3)::int::smallint AS quality
FROM generate_series(1, {rows}) AS n
"""

_ORDERS = """
CREATE TABLE orders AS
SELECT n::bigint AS id, 1 + (random() * ({customers} - 1))::int AS customer_id,
       (ARRAY['new','paid','packed','shipped','delivered','returned'])[1 + (random() * 5)::int] AS status,
       timestamptz '2022-01-01 00:00:00+00' + n * interval '53 seconds' AS created_at,
       timestamptz '2022-01-01 00:00:00+00' + n * interval '53 seconds'
           + random() * interval '9 days' AS changed_at,
       (random() * 90000)::int / 100.0::numeric(12,2) AS net,
       (random() * 9000)::int / 100.0::numeric(12,2) AS tax,
       (random() * 900)::int / 100.0::numeric(12,2) AS shipping, 'EUR'::char(3) AS currency,
       (random() * 40)::int::smallint AS items, (random() * 20000)::int AS weight_grams,
       (random() * 11)::int::smallint AS branch, (random() * 300)::int AS clerk_id,
       random() < 0.1 AS is_gift, random() < 0.02 AS is_disputed,
       CASE WHEN random() < 0.3 THEN (random() * 1000)::int END AS voucher_id,
       CASE WHEN random() < 0.2 THEN date '2022-01-01' + (random() * 1200)::int END AS due_on,
       upper(substr(md5(n::text), 1, 12)) AS tracking, md5(n::text || 'order')::uuid AS reference,
       'Street ' || (random() * 300)::int AS street, (10000 + random() * 89999)::int::text AS postcode,
       (ARRAY['Berlin','Paris','Lyon','Hamburg','London','Leeds','Osaka','Recife'])
           [1 + (random() * 7)::int] AS city,
       (ARRAY['web','shop','phone','partner'])[1 + (random() * 3)::int] AS channel,
       (random() * 5)::int::smallint AS priority, sentence AS remark
FROM (SELECT n, (random() * 39999)::int AS pick FROM generate_series(1, {rows}) AS n) AS source
JOIN pool ON pool.id = pick ORDER BY n
"""

_EVENTS = """
CREATE TABLE events AS
SELECT n::bigint AS id, timestamptz '2024-06-01 00:00:00+00' + n * interval '0.6 seconds' AS happened_at,
       (ARRAY['login','view','search','cart','checkout','error'])[1 + (random() * 5)::int] AS kind,
       ('10.' || n % 256 || '.' || (random() * 255)::int || '.' || (random() * 255)::int)::inet AS address,
       jsonb_build_object('session', md5((n / 12)::text), 'page', '/' || replace(sentence, ' ', '/'),
           'milliseconds', (random() * 2000)::int, 'agent', 'Browser/' || (random() * 90)::int || '.0',
           'tags', jsonb_build_array(split_part(sentence, ' ', 1), split_part(sentence, ' ', 2)),
           'score', round(random()::numeric, 4)) AS payload
FROM (SELECT n, (random() * 39999)::int AS pick FROM generate_series(1, {rows}) AS n) AS source
JOIN pool ON pool.id = pick ORDER BY n
"""

_DOCUMENTS = """
CREATE TABLE documents AS
SELECT n AS id, 'Document ' || n AS title,
       (SELECT string_agg(sentence, E'.\\n') FROM pool
        WHERE id BETWEEN n * 31 % 39900 AND n * 31 % 39900 + 80) AS body
FROM generate_series(1, {rows}) AS n
"""

_ATTACHMENTS = """
CREATE TABLE attachments AS
SELECT n AS id, n AS document_id, 'image/png' AS media_type,
       decode((SELECT string_agg(md5((n * 1000 + part)::text), '')
               FROM generate_series(1, 900) AS part), 'hex') AS content
FROM generate_series(1, {rows}) AS n
"""

_LEDGER = """
CREATE TABLE ledger AS
SELECT n::bigint AS id, (random() * 200000)::int AS account_id,
       timestamptz '2020-01-01 00:00:00+00' + n * interval '31 seconds' AS booked_at,
       (random() * 2000000 - 1000000)::int / 100.0::numeric(14,2) AS amount,
       (ARRAY['EUR','USD','GBP','CHF'])[1 + (random() * 3)::int]::char(3) AS currency,
       (random() * 9999)::int AS counterparty, substr(md5(n::text), 1, 16) AS reference,
       sentence AS purpose, (random() * 20000000)::int / 100.0::numeric(14,2) AS balance
FROM (SELECT n, (random() * 39999)::int AS pick FROM generate_series(1, {rows}) AS n) AS source
JOIN pool ON pool.id = pick ORDER BY n
"""

_INDEXES = {
    "customers": ["ADD PRIMARY KEY (id)", "ADD UNIQUE (email)"],
    "readings": ["ADD PRIMARY KEY (id)", "(sensor_id, recorded_at)"],
    "orders": [
        "ADD PRIMARY KEY (id)",
        "(customer_id)",
        "(created_at)",
        "(status, branch)",
        "ADD FOREIGN KEY (customer_id) REFERENCES customers (id)",
    ],
    "events": ["ADD PRIMARY KEY (id)", "(kind, happened_at)"],
    "documents": ["ADD PRIMARY KEY (id)"],
    "attachments": ["ADD PRIMARY KEY (id)"],
    "ledger": ["ADD PRIMARY KEY (id)", "(account_id, booked_at)"],
}


def _keys(*tables: str) -> Iterator[str]:
    for table in tables:
        for clause in _INDEXES[table]:
            if clause.startswith("ADD"):
                yield f"ALTER TABLE {table} {clause}"
            else:
                yield f"CREATE INDEX ON {table} {clause}"


def mixed(scale: float) -> Iterator[str]:
    """Narrow, wide, JSON, long texts and binary: about 1.2 GB of COPY text at scale 1."""
    yield from _pool(_POOL_SENTENCES)
    customers = int(200_000 * scale)
    yield _CUSTOMERS.format(rows=customers)
    yield _READINGS.format(rows=int(6_000_000 * scale))
    yield _ORDERS.format(rows=int(1_100_000 * scale), customers=customers)
    yield _EVENTS.format(rows=int(1_000_000 * scale))
    yield _DOCUMENTS.format(rows=int(20_000 * scale))
    yield _ATTACHMENTS.format(rows=int(2_500 * scale))
    yield from _keys("customers", "readings", "orders", "events", "documents", "attachments")


def dominant(scale: float) -> Iterator[str]:
    """One table that is nine tenths of the database, and others beside it; about 1.0 GB."""
    yield from _pool(_POOL_SENTENCES)
    yield _LEDGER.format(rows=int(5_600_000 * scale))
    yield _CUSTOMERS.format(rows=int(150_000 * scale))
    yield _READINGS.format(rows=int(900_000 * scale))
    yield _DOCUMENTS.format(rows=int(5_000 * scale))
    yield from _keys("ledger", "customers", "readings", "documents")


# What a change does to the tables of `mixed`.
UPDATES = {
    "customers": "phone = phone || '1'",
    "readings": "quality = quality + 1",
    "orders": "tax = tax + 1",
    "events": "kind = 'changed'",
    "documents": "title = title || '!'",
    "attachments": "media_type = 'image/jpeg'",
}


def small_tables(count: int = SMALL_TABLES) -> Iterator[str]:
    """Many tables of a few rows, each with a key."""
    for start in range(0, count, _SMALL_TABLES_A_TRANSACTION):
        yield "".join(
            f"CREATE TABLE t{n} (id int PRIMARY KEY, name text NOT NULL, at timestamptz DEFAULT now());"
            f"INSERT INTO t{n} SELECT i, 'row ' || i FROM generate_series(1, 5) AS i;"
            for n in range(start, min(count, start + _SMALL_TABLES_A_TRANSACTION))
        )


def load(session: Any, statements: Iterator[str]) -> None:
    """Run the statements on an autocommit session, and leave the tables as a quiet server has them."""
    session.execute("SET synchronous_commit = off")
    session.execute("SET max_parallel_workers_per_gather = 0")
    session.execute("SET maintenance_work_mem = '256MB'")
    for statement in statements:
        session.execute(statement)
    session.execute("VACUUM (ANALYZE)")
    session.execute("CHECKPOINT")
