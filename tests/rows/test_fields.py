"""Fields of a result become the bytes that the server's own COPY writes, whatever their type and value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Sql, connect

from dbtool import rows
from dbtool.engines.postgres.bulk import CopyOut, binary_formats
from dbtool.engines.postgres.connect import backup_session_settings
from dbtool.model.connection import Connection
from dbtool.model.database import Column
from dbtool.rows import tally_lines, text_of

pytestmark = pytest.mark.skipif(not rows.is_native, reason="the C part was not built here")

TYPES = (
    "text",
    "bytea",
    "date",
    "timestamp without time zone",
    "timestamp with time zone",
    "timestamp(3) with time zone",
    "uuid",
)
FORMATS = binary_formats([Column("c", kind) for kind in TYPES])

# Values at the edges of what each type holds, as literals that the server reads.
EDGES: dict[str, list[str]] = {
    "date": [
        "infinity", "-infinity", "4713-01-01 BC", "4714-11-24 BC", "5874897-12-31", "0001-01-01", "0001-12-31 BC",
        "0005-02-29 BC", "0004-02-28 BC", "1899-12-31", "1900-03-01", "2000-02-29", "2000-01-01", "1999-12-31",
        "9999-12-31", "10000-01-01", "99999-06-15", "100000-02-28", "0099-09-09", "0100-03-01 BC",
    ],
    "timestamp": [
        "infinity", "-infinity", "4713-01-01 00:00:00 BC", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999",
        "1999-12-31 23:59:59.999999", "2000-01-01 00:00:00.000001", "2000-01-01", "1970-01-01 00:00:00.1",
        "0001-01-01 00:00:00", "0001-12-31 23:59:59.5 BC", "2024-02-29 12:00:00.120300", "10000-10-10 10:10:10.10101",
    ],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
             "01234567-89ab-cdef-0123-456789abcdef"],
    "bytea": ["", "\\x", "\\x00", "\\x5c5c", "\\x0a0d09085c2e", "\\x" + "".join(f"{n:02x}" for n in range(256))],
    "text": ["", "\\", "\\.", "\\N", "a\tb", "\b\f\n\r\t\v", "\a\x0e\x07\x01\x7f", "'\"", "é" * 20, "x" * 16,
             "x" * 15 + "\\", "x" * 16 + "\n", "x" * 17, "\\" * 40, "日本語\\\n𝒳", "\r\n" * 9],
}  # fmt: skip


def read(
    session: Any, query: str, formats: tuple[int, ...], key: tuple[int, ...] = ()
) -> tuple[bytes, int, int]:
    """(text, digest, key digest) of a query's rows."""
    copy = CopyOut(session)
    copy.begin(query.encode(), formats, key, None)
    copy.stream.reset(b"")
    while copy.read(1 << 28):
        pass
    with text_of(copy.stream) as text:
        return bytes(text), copy.stream.digest, copy.stream.key_digest


def copied(session: Any, query: str) -> bytes:
    """What the server's own COPY makes of it."""
    with session.cursor().copy(f"COPY ({query}) TO STDOUT") as copy:
        return b"".join(bytes(block) for block in copy)


def check_all_types(connection: Connection) -> None:
    with connect(connection, sslmode="disable") as session:
        backup_session_settings(session)
        for kind, values in EDGES.items():
            for declared in (name for name in TYPES if name.startswith(kind)):
                literals, insert = [*values, None], "INSERT INTO pg_temp.edges (v, w) VALUES (%s, %s)"
                session.execute("DROP TABLE IF EXISTS edges")
                session.execute(f"CREATE TEMPORARY TABLE edges (n serial, v {declared}, w {declared})")
                for value in literals:
                    session.execute(insert, (value, value), prepare=False)
                query = "SELECT v, n, w FROM pg_temp.edges ORDER BY n"
                formats = binary_formats([Column("v", declared), Column("n", "int"), Column("w", declared)])
                expected = copied(session, query)
                assert read(session, query, formats, (1, 0)) == (expected, *tally_lines(expected, (1, 0))[1:])


def test_edges_of_every_type(database: Connection) -> None:
    assert FORMATS == (0, 1, 1, 1, 1, 1, 1)
    check_all_types(database)


@pytest.mark.matrix
def test_edges_on_every_version(matrix_database: Connection) -> None:
    check_all_types(matrix_database)


def test_every_day_of_some_centuries(database: Connection) -> None:
    query = (
        "SELECT date '0100-12-01 BC' + n, (date '1890-01-01' + n)::timestamp, date '2000-01-01' + n * 53, "
        "timestamptz '0001-01-01 00:00:00 BC' + n * interval '173 days 7 hours 11.000101 s' "
        "FROM generate_series(0, 80000) AS n"
    )
    with connect(database, sslmode="disable") as session:
        backup_session_settings(session)
        assert read(session, query, (1, 1, 1, 1))[0] == copied(session, query)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=70), max_size=6
    ),
    blobs=st.lists(st.binary(max_size=40), max_size=6),
    moments=st.lists(st.integers(-210866803200 * 10**6, 9 * 10**18), max_size=6),
)
def test_any_values(database: Connection, texts: list[str], blobs: list[bytes], moments: list[int]) -> None:
    # Microseconds since 1970, made from whole seconds and a rest: a double could not hold them.
    query = (
        "SELECT t, b, timestamptz 'epoch' + make_interval(secs => m / 1000000) + m %% 1000000 * interval '1 us' "
        "FROM ROWS FROM (unnest(%s::text[]), unnest(%s::bytea[]), unnest(%s::bigint[])) AS r (t, b, m)"
    )
    with connect(database, sslmode="disable") as session:
        backup_session_settings(session)
        session.execute("DROP TABLE IF EXISTS pg_temp.anything")
        session.execute(f"CREATE TEMPORARY TABLE anything AS {query}", (texts, blobs, moments))
        chosen = "SELECT * FROM pg_temp.anything"
        assert read(session, chosen, (0, 1, 1))[0] == copied(session, chosen)


def test_domains_and_namesakes_come_as_text(database: Connection, sql: Sql) -> None:
    """A type of somebody's own that is called like one of ours is not taken for it."""
    sql(
        database,
        """CREATE SCHEMA other; CREATE TYPE other.date AS ENUM ('now', 'then');
        CREATE DOMAIN day AS date; CREATE TABLE t (a other.date, b day, c date, d date[]);
        INSERT INTO t VALUES ('then', '2020-02-02', '2021-03-04', '{2000-01-01}')""",
    )
    from dbtool.engines.postgres import introspect

    with connect(database, sslmode="disable") as session:
        backup_session_settings(session)
        columns = introspect.tables(session)[0].columns
        assert binary_formats(columns) == (0, 0, 1, 0)
        text = read(session, "SELECT a, b, c, d FROM public.t", binary_formats(columns))[0]
    assert text == b"then\t2020-02-02\t2021-03-04\t{2000-01-01}\n"


def test_a_binary_column_of_an_unknown_type_is_refused(database: Connection) -> None:
    with (
        connect(database, sslmode="disable") as session,
        pytest.raises(Exception, match="connection to the server lost"),
    ):
        read(session, "SELECT 1::int8", (1,))
