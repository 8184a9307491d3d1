"""Lines of COPY's text become the bytes that the server's own COPY in binary writes, or are refused."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.conftest import Sql, connect
from tests.rows.test_fields import EDGES as FIELD_EDGES

from dbtool import rows
from dbtool.engines.postgres import binary
from dbtool.engines.postgres.binary import binary_pieces, column_kinds
from dbtool.engines.postgres.bulk import copy_in
from dbtool.engines.postgres.connect import backup_session_settings
from dbtool.model.connection import Connection

pytestmark = pytest.mark.skipif(not rows.is_native, reason="the C part was not built here")

EDGES: dict[str, list[str]] = {
    "boolean": ["t", "f"],
    "smallint": ["0", "1", "-1", "32767", "-32768"],
    "integer": ["0", "10", "-10", "2147483647", "-2147483648"],
    "bigint": ["0", "9", "-9", "9223372036854775807", "-9223372036854775808", "1000000000000000000"],
    "oid": ["0", "4294967295"],
    "real": ["0", "-0", "1.1", "-3.4028235e38", "1e-45", "16777217", "1.17549435e-38", "NaN", "Infinity", "-Infinity",
             "0.1", "123456.79", "9.8765432e-12", "8388608.5"],
    "double precision": [
        "0", "-0", "0.1", "-1.5", "1e23", "9007199254740993", "1.7976931348623157e308", "5e-324", "2.2250738585072014e-308",
        "123456789012345678", "0.30000000000000004", "NaN", "Infinity", "-Infinity", "1e15", "1e16", "1e-5", "23.456",
        "1e22", "1e-22", "9007199254740992", "-179.99999999999997"],
    "numeric": [
        "0", "0.0", "0.00000", "1", "-1", "10000", "9999", "99990000", "0.0001", "0.00001", "-0.00000001", "1.10", "100000000",
        "12345678.90123", "NaN", "9" * 300, "0." + "0" * 99 + "1", "-" + "1" * 39 + "." + "5" * 41, "10000.00010000", "1e-30",
        "1e40", "0.9999", "0.12345", "123.4000"],
    "numeric(12,2)": ["0", "1.5", "-9999999999.99", "0.01", "100", "NaN"],
    "text": FIELD_EDGES["text"],
    "character(20)": ["", "a", "tab\there", "back\\slash"],
    "character varying(60)": ["", "x\ny", "\\N"],
    "name": ["", "a name", "ü\\"],
    "json": ["{}", '{"a": "b\\n\\t\\\\"}', "  [1, 2]  ", "null", '"\\u00e9"'],
    "jsonb": ["{}", '{"a": "b\\n\\t\\\\", "c": [1.50, null]}', "null", '"tab\\t"'],
    "bytea": FIELD_EDGES["bytea"],
    "uuid": FIELD_EDGES["uuid"],
    "date": FIELD_EDGES["date"],
    "time without time zone": ["00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.1", "01:02:03.000001"],
    "timestamp without time zone": FIELD_EDGES["timestamp"],
    "timestamp with time zone": FIELD_EDGES["timestamp"],
    "inet": ["10.0.0.1", "0.0.0.0", "255.255.255.255", "10.1.2.3/24", "::", "::1", "fe80::1/64", "::ffff:1.2.3.4",
             "2001:db8:0:0:1:0:0:1", "::1.2.3.4", "1::/128", "10.0.0.0/0"],
    "cidr": ["10.0.0.0/8", "0.0.0.0/0", "192.168.1.1/32", "2001:db8::/32", "::/0", "::1/128"],
}  # fmt: skip


def copied(session: Any, name: str, form: str) -> bytes:
    with session.cursor().copy(f"COPY {name} TO STDOUT (FORMAT {form})") as copy:
        return b"".join(bytes(block) for block in copy)


def check_table(session: Any, schema: str, name: str) -> None:
    """What we make of the server's text is what the server makes of its rows."""
    columns = [
        column
        for (column,) in session.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 ORDER BY attnum",
            (f'{schema}."{name}"',),
        )
    ]
    kinds = column_kinds(session, schema, name, columns)
    assert kinds is not None
    text = copied(session, f'{schema}."{name}"', "text")
    assert b"".join(binary_pieces(memoryview(text), kinds)) == copied(session, f'{schema}."{name}"', "binary")


def check_all_types(connection: Connection, leave_out: str = "") -> None:
    with connect(connection) as session:
        backup_session_settings(session)
        for kind, values in EDGES.items():
            session.execute(f"CREATE TABLE public.edges (a {kind}, n serial, b {kind})")
            for value in [*values, None]:
                session.execute(
                    "INSERT INTO public.edges (a, b) VALUES (%s, %s)", (value, value), prepare=False
                )
            check_table(session, "public", "edges")
            session.execute("DROP TABLE public.edges")


def test_edges_of_every_type(database: Connection) -> None:
    check_all_types(database)


@pytest.mark.matrix
def test_edges_on_every_version(matrix_database: Connection) -> None:
    check_all_types(matrix_database)


def test_domains_and_enums(database: Connection) -> None:
    with connect(database) as session:
        backup_session_settings(session)
        session.execute(
            """CREATE TYPE public.mood AS ENUM ('fine', E'so\\tso', ''); CREATE DOMAIN public.small AS int CHECK (value < 9);
            CREATE DOMAIN public.smaller AS public.small NOT NULL;
            CREATE TABLE public."odd ""t" ("a ""b" public.mood, c public.smaller, "select" public.small);
            INSERT INTO public."odd ""t" VALUES (E'so\\tso', 3, NULL), ('', -5, 8), (NULL, 1, 1)"""
        )
        assert column_kinds(session, "public", 'odd "t', ['a "b', "c", "select"]) == b"T44"
        check_table_of_odd_name = copied(session, 'public."odd ""t"', "text")
        made = b"".join(binary_pieces(memoryview(check_table_of_odd_name), b"T44"))
        assert made == copied(session, 'public."odd ""t"', "binary")


def test_other_types_are_loaded_as_text(database: Connection, sql: Sql) -> None:
    sql(
        database,
        "CREATE TABLE t (a int, b int[]); CREATE TABLE u (a interval); CREATE TABLE v (a xml, b point)",
    )
    with connect(database) as session:
        assert column_kinds(session, "public", "t", ["a", "b"]) is None
        assert column_kinds(session, "public", "t", ["a"]) == b"4"
        assert column_kinds(session, "public", "u", ["a"]) is None
        assert column_kinds(session, "public", "v", ["a", "b"]) is None
        assert column_kinds(session, "public", "nowhere", ["a"]) is None
        assert column_kinds(session, "public", "t", []) is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    doubles=st.lists(st.floats(), max_size=8),
    singles=st.lists(st.floats(width=32), max_size=8),
    decimals=st.lists(
        st.decimals(allow_infinity=False, min_value=Decimal(-(10**60)), max_value=Decimal(10**60)), max_size=8
    ),
    texts=st.lists(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=50), max_size=8
    ),
    moments=st.lists(st.integers(-210866803200 * 10**6, 9 * 10**18), max_size=8),
)
def test_any_values(
    database: Connection,
    doubles: list[float],
    singles: list[float],
    decimals: list[Decimal],
    texts: list[str],
    moments: list[int],
) -> None:
    with connect(database) as session:
        backup_session_settings(session)
        session.execute("DROP TABLE IF EXISTS public.anything")
        session.execute(
            "CREATE TABLE public.anything AS SELECT d, f, n, t, "
            "timestamptz 'epoch' + make_interval(secs => m / 1000000) + m %% 1000000 * interval '1 us' AS z, "
            "(timestamptz 'epoch' + make_interval(secs => m / 1000000))::date AS day "
            "FROM ROWS FROM (unnest(%s::float8[]), unnest(%s::float4[]), unnest(%s::numeric[]), "
            "unnest(%s::text[]), unnest(%s::bigint[])) AS r (d, f, n, t, m)",
            (doubles, singles, decimals, texts, moments),
        )
        check_table(session, "public", "anything")


REFUSED = {
    b"2": [b"", b"+1", b"01", b"-0", b"32768", b"-32769", b"1 ", b"1a", b"\\n"],
    b"4": [b"2147483648", b"-2147483649", b"1.0"],
    b"8": [b"9223372036854775808", b"-9223372036854775809", b"99999999999999999999"],
    b"o": [b"4294967296", b"-1"],
    b"b": [b"true", b"", b"T", b"1"],
    b"d": [b"", b"-", b".", b"nan", b"inf", b"1e", b"0x1", b"1e99999", b" 1"],
    b"n": [b"", b"-", b"1.", b".5", b"1e5", b"-0", b"-0.00", b"Infinity", b"nan"],
    b"B": [b"\\\\x0", b"\\\\xAB", b"abc", b"\\\\x0g", b"\\x00"],
    b"u": [b"01234567-89AB-cdef-0123-456789abcdef", b"0123456789abcdef0123456789abcdef", b"01234567-89ab"],
    b"D": [b"2000-13-01", b"2000-02-30", b"1900-02-29", b"2000-1-01", b"0000-01-01", b"02000-01-01", b"2000-01-01 AD"],
    b"t": [b"24:00:01", b"12:60:00", b"12:00", b"12:00:00.", b"12:00:00.10", b"12:00:00.1234567"],
    b"s": [b"2000-01-01", b"2000-01-01 24:00:00", b"2000-01-01T00:00:00", b"2000-01-01 00:00:00+00"],
    b"z": [b"2000-01-01 00:00:00", b"2000-01-01 00:00:00+01", b"2000-01-01 00:00:00+00:00", b"294277-01-01 00:00:00+00"],
    b"a": [b"10.0.0", b"10.0.0.1/33", b"::1/129", b"10.0.0.1/", b"1.2.3.4/08", b"x" * 80],
    b"T": [b"a\\", b"a\\x41", b"\\101", b"a\\N"],
    b"?": [b"a"],
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_postgres_does_not_write_is_refused(kind: bytes) -> None:
    for value in REFUSED[kind]:
        with pytest.raises(ValueError, match="not in the form"):
            rows.pack_binary(value + b"\n", 0, kind, 1000)


def test_rows_that_do_not_fit() -> None:
    for text, kinds in ((b"1\n", b"44"), (b"1\t2\n", b"4"), (b"1", b"4"), (b"1\t\n", b"44"), (b"\n", b"4")):
        with pytest.raises(ValueError, match="not in the form"):
            rows.pack_binary(text, 0, kinds, 1000)
    with pytest.raises(ValueError, match="not in the form"):
        rows.pack_binary(b"1\n", 3, b"4", 1000)
    assert rows.pack_binary(b"", 0, b"4", 1000) == (b"", 0)
    assert rows.pack_binary(b"1\n2\n3\n", 2, b"4", 1) == (struct.pack(">HII", 1, 4, 2), 4)


def test_a_piece_is_little_larger_than_its_limit() -> None:
    text = b"".join(b"%d\tsome text\n" % number for number in range(100_000))
    position, whole = 0, b""
    while position < len(text):
        piece, position = rows.pack_binary(text, position, b"4T", 4096)
        assert len(piece) < 4096 + 100
        whole += piece
    assert whole == rows.pack_binary(text, 0, b"4T", 1 << 30)[0]


def test_what_binary_cannot_say_is_sent_as_text(database: Connection, sql: Sql) -> None:
    """A value in another form in the last row of many, and a piece that was sent before."""
    sql(database, "CREATE TABLE t (n int, at date)")
    text = b"".join(b"%d\t2020-01-01\n" % number for number in range(50_000)) + b"7\t20200102\n"
    with connect(database) as session:
        assert copy_in(session, b"COPY t FROM stdin", memoryview(text), b"4D") == 50_001
        assert session.execute("SELECT count(*), max(at)::text FROM t").fetchone() == (50_001, "2020-01-02")


def test_an_error_speaks_of_the_text(database: Connection, sql: Sql) -> None:
    from dbtool.engines.postgres.bulk import ServerError

    sql(database, "CREATE TABLE t (n int CHECK (n < 3))")
    with connect(database) as session, pytest.raises(ServerError, match="violates check") as caught:
        copy_in(session, b"COPY t FROM stdin", memoryview(b"1\n2\n3\n"), b"4")
    assert caught.value.context.startswith('COPY t, line 3: "3"')


def test_the_kinds_are_the_ones_that_c_knows() -> None:
    for letter in set(binary._KINDS.values()):
        assert rows.pack_binary(b"\\N\n", 0, letter, 10)[0] == b"\0\1\xff\xff\xff\xff"
