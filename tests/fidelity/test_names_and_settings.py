"""Databases with awkward names, awkward settings, awkward encodings."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from tests.fidelity.building import create_database, drop_database, native_copy, psql
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import connection_string, difference, take_picture

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

NAMES = {
    "quotes": 'Weird ""name" it\'s \\ 100%',
    "an option": "-rf",
    "a keyword": "select",
    "a path": "../a/b",
    "a newline": "new\nline",
    "not ASCII": "größe 日本 ☃",
    "63 bytes": "a" * 60 + "123",
    "a connection string": "dbname=postgres host=192.0.2.1",
    "an address": "postgresql://192.0.2.1/x",
    "a pattern": "*?[a]$1{0}",
    "a space": " ",
}

CONTENT = """
CREATE TABLE t (id integer PRIMARY KEY, t text);
INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 100) i;
CREATE TABLE u (id integer REFERENCES t);
INSERT INTO u SELECT id FROM t;
"""

# Everything that changes how values are written, read or compared; or that ends a session early.
SETTINGS = {
    "search_path": "nowhere",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kathmandu",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "client_encoding": "LATIN1",
    "standard_conforming_strings": "off",
    "backslash_quote": "on",
    "array_nulls": "off",
    "xmloption": "document",
    "xmlbinary": "hex",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "check_function_bodies": "on",
    "default_transaction_read_only": "on",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "statement_timeout": "300ms",
    "lock_timeout": "1ms",
    "idle_in_transaction_session_timeout": "200ms",
    "session_replication_role": "replica",
    "default_tablespace": "",
    "default_with_oids": "off",
    "transform_null_equals": "on",
    "lo_compat_privileges": "on",
    "lc_messages": "C",
    "max_parallel_workers_per_gather": "0",
    "synchronous_commit": "off",
    "work_mem": "64kB",
    "jit": "off",
    "client_min_messages": "error",
    "gin_pending_list_limit": "64kB",
    "password_encryption": "md5",
    "default_statistics_target": "1",
    "escape_string_warning": "off",
    "temp_tablespaces": "",
}
LATER_SETTINGS = {
    14: {"idle_session_timeout": "200ms", "default_toast_compression": "lz4"},
    16: {"createrole_self_grant": "set, inherit"},
    17: {"transaction_timeout": "200ms", "restrict_nonsystem_relation_kind": "view"},
}
SENSITIVE = """
CREATE TABLE sensitive (
    d date, ts timestamptz, i interval, b bytea, f float8, r real, a text[], x xml, t text, m money);
INSERT INTO sensitive VALUES ('2020-02-01', '2020-02-01 03:04:05.678+00', '-1 year 2 days -03:04:05',
    '\\x00ff5c27', 0.1::float8 + 0.2, 0.1, '{NULL,"NULL",null,x}', 'not a document <a/>',
    'é ☃ \\ '' end', 12.34);
CREATE TABLE parent (id integer PRIMARY KEY);
CREATE TABLE child (id integer REFERENCES parent, CHECK (id > 0));
INSERT INTO parent SELECT generate_series(1, 30000);
INSERT INTO child SELECT id FROM parent;
CREATE FUNCTION quoting() RETURNS text LANGUAGE sql AS $$SELECT 'it''s a \\ backslash'::text$$;
CREATE VIEW shown AS SELECT d, E'a\\\\b' AS e FROM sensitive WHERE t <> 'x\\y';
COMMENT ON TABLE sensitive IS 'a \\ backslash and a '' quote';
SELECT lo_from_bytea(77, '\\x5c00ff');
CREATE MATERIALIZED VIEW filled AS SELECT count(*) FROM parent;
"""

MakeDatabase = Callable[..., Connection]


@pytest.fixture
def place(fidelity_server: PostgresServer) -> Iterator[MakeDatabase]:
    """`place(name, options="", make=True)` gives a database by that name; it is dropped after the test."""
    given: list[Connection] = []

    def get(name: str, options: str = "", make: bool = True) -> Connection:
        if make:
            create_database(fidelity_server.connection(), name, options)
        given.append(fidelity_server.connection(name))
        return given[-1]

    yield get
    for connection in given:
        drop_database(connection)


def _fill(connection: Connection, statements: str) -> None:
    with psycopg.connect(connection_string(connection), autocommit=True) as link:
        link.execute(statements.encode())


@pytest.mark.parametrize("kind", NAMES)
def test_names_of_databases(
    kind: str, place: MakeDatabase, dbtool: Dbtool, fidelity_server: PostgresServer
) -> None:
    name = NAMES[kind]
    source = place(name)
    _fill(source, CONTENT)
    expected = take_picture(source, fidelity_server.bin_directory)
    metadata = dbtool.backup(source)
    assert metadata["database"]["name"] == name
    assert dbtool.repository.resolve() in Path(metadata["backup_location"]).resolve().parents
    other = place(name[:-1] + "2" if len(name) > 1 else "__", make=False)
    dbtool.restore(metadata["id"], other)
    assert difference(expected, take_picture(other, fidelity_server.bin_directory)) == []
    _fill(source, "DROP TABLE u")
    dbtool.restore(metadata["id"], source, "--replace")
    assert difference(expected, take_picture(source, fidelity_server.bin_directory)) == []


def test_settings_of_the_database_do_no_harm(
    place: MakeDatabase, dbtool: Dbtool, fidelity_server: PostgresServer
) -> None:
    """Neither on the way out, where they hold for the sessions that read, nor on the way in."""
    programs = fidelity_server.bin_directory
    source = place("settings")
    _fill(source, SENSITIVE)
    settings = dict(SETTINGS)
    for major, later in LATER_SETTINGS.items():
        if fidelity_server.major >= major:
            settings.update(later)
    for name, value in settings.items():
        _fill(fidelity_server.connection(), f"ALTER DATABASE settings SET {name} = {_literal(value)}")
    expected = take_picture(source, programs)
    metadata = dbtool.backup(source)
    through_dbtool = place("settings_copy", make=False)
    dbtool.restore(metadata["id"], through_dbtool)
    assert "\n".join(difference(expected, take_picture(through_dbtool, programs))) == ""
    # A second time, into its place: now the settings hold for the target too.
    dbtool.restore(metadata["id"], through_dbtool, "--replace")
    assert "\n".join(difference(expected, take_picture(through_dbtool, programs))) == ""


def test_tables_into_a_database_with_settings(
    place: MakeDatabase, dbtool: Dbtool, fidelity_server: PostgresServer
) -> None:
    programs = fidelity_server.bin_directory
    source = place("settings")
    _fill(source, SENSITIVE)
    expected = take_picture(source, programs)
    dbtool.backup(source)
    target = place("settings_target")
    for name, value in SETTINGS.items():
        _fill(fidelity_server.connection(), f"ALTER DATABASE settings_target SET {name} = {_literal(value)}")
    dbtool.restore("latest", target, "--tables", "sensitive", "parent", "child")
    found = take_picture(target, programs)
    for table in ("public.sensitive", "public.parent", "public.child"):
        assert found.tables[table] == expected.tables[table]


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


ENCODINGS = {
    "LATIN1": ("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'", "é ß ÿ"),
    "EUC_JP": ("ENCODING 'EUC_JP' LC_COLLATE 'C' LC_CTYPE 'C'", "日本語 ソ 表 \\ 能"),
    "WIN1252": ("ENCODING 'WIN1252' LC_COLLATE 'C' LC_CTYPE 'C'", "€ œ ™"),
    "UTF8 with C.UTF-8": ("ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'", "☃ é"),
    "ICU": ("ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'de-u-co-phonebk' LOCALE 'C'", "Ärger ☃"),
    "builtin": ("ENCODING 'UTF8' LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'", "é ☃"),
}
FROM_VERSION = {"ICU": 15, "builtin": 17}


@pytest.mark.parametrize("kind", ENCODINGS)
def test_encodings(kind: str, place: MakeDatabase, dbtool: Dbtool, fidelity_server: PostgresServer) -> None:
    if fidelity_server.major < FROM_VERSION.get(kind, 0):
        pytest.skip(f"PostgreSQL {fidelity_server.major} has no such locale provider")
    options, text = ENCODINGS[kind]
    programs = fidelity_server.bin_directory
    source = place("encoded", options)
    with psycopg.connect(connection_string(source), autocommit=True, client_encoding="UTF8") as link:
        name = text.split(" ")[0]
        link.execute(f'CREATE TABLE "{text}" (id integer PRIMARY KEY, "{name}" text)'.encode())
        link.execute(f'INSERT INTO "{text}" VALUES (1, $${text}$$), (2, $$\\.$$), (3, NULL)'.encode())
        link.execute(f'CREATE INDEX ON "{text}" ("{name}")'.encode())
        link.execute(f'COMMENT ON TABLE "{text}" IS $${text}$$'.encode())
        link.execute(f"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $f$SELECT $${text}$$$f$".encode())
        link.execute(f"COMMENT ON DATABASE encoded IS $${text}$$".encode())
        link.execute(f"CREATE TYPE e AS ENUM ($${text}$$)".encode())
    expected = take_picture(source, programs)
    metadata = dbtool.backup(source)
    copy = place("encoded_copy", make=False)
    dbtool.restore(metadata["id"], copy)
    assert "\n".join(difference(expected, take_picture(copy, programs))) == ""
    # The script says which encoding it is in, so it also fits a database of another one.
    other = place("encoded_other")
    archive = next(Path(metadata["backup_location"]).glob("*.sql.zst"))
    script = subprocess.run(["zstd", "-dcq", archive], capture_output=True, check=True).stdout
    done = psql(other, programs, script)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert take_picture(other, programs).tables == expected.tables
    dbtool.restore(metadata["id"], other, "--replace")
    assert take_picture(other, programs).tables == expected.tables


def test_bytes_without_an_encoding(
    place: MakeDatabase, dbtool: Dbtool, fidelity_server: PostgresServer
) -> None:
    """SQL_ASCII holds whatever was put in: valid text, other encodings' text, single bytes."""
    programs = fidelity_server.bin_directory
    source = place("no_encoding", "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    script = (
        b"SET client_encoding = 'SQL_ASCII';\n"
        b'CREATE TABLE "t \xc3\xa9 \xe9 \xff" (id integer PRIMARY KEY, "c \xfe" text);\n'
        b"INSERT INTO \"t \xc3\xa9 \xe9 \xff\" VALUES (1, '\xc3\xa9'), (2, '\xe9\xff\x80');\n"
        b"INSERT INTO \"t \xc3\xa9 \xe9 \xff\" SELECT i, convert_from(decode(to_hex(i), 'hex'), 'SQL_ASCII')"
        b" FROM generate_series(16, 255) i;\n"
        b"CREATE TABLE plain (t text);\nINSERT INTO plain VALUES ('\xa4\xa2');\n"
        b"COMMENT ON TABLE plain IS '\xff\xfe';\n"
        b"CREATE FUNCTION f() RETURNS text LANGUAGE sql AS 'SELECT ''\xe9''::text';\n"
    )
    done = psql(source, programs, script)
    assert done.returncode == 0, done.stderr
    expected = take_picture(source, programs)
    metadata = dbtool.backup(source)
    copy = place("no_encoding_copy", make=False)
    dbtool.restore(metadata["id"], copy)
    assert "\n".join(difference(expected, take_picture(copy, programs))) == ""


def test_without_superuser(place: MakeDatabase, dbtool: Dbtool, fidelity_server: PostgresServer) -> None:
    """An ordinary owner backs its own database up, and restores it as its own."""
    programs = fidelity_server.bin_directory
    _fill(
        fidelity_server.connection(),
        "DO $$BEGIN CREATE ROLE ordinary LOGIN CREATEDB; EXCEPTION WHEN duplicate_object THEN END$$",
    )
    place("owned", "OWNER ordinary")
    _fill(fidelity_server.connection("owned"), "ALTER SCHEMA public OWNER TO ordinary")
    source = fidelity_server.connection("owned", user="ordinary")
    _fill(
        source,
        CONTENT
        + "CREATE VIEW v AS SELECT * FROM t; COMMENT ON TABLE t IS 'x'; SELECT lo_from_bytea(0, 'abc');",
    )
    metadata = dbtool.backup(source)
    place("owned_copy", make=False)
    place("owned_native", "OWNER ordinary")
    target = fidelity_server.connection("owned_copy", user="ordinary")
    dbtool.restore(metadata["id"], target)
    expected = take_picture(fidelity_server.connection("owned"), programs)
    found = take_picture(fidelity_server.connection("owned_copy"), programs)
    assert found.tables == expected.tables
    assert found.properties["owner"] == "ordinary"
    native_copy(source, fidelity_server.connection("owned_native", user="ordinary"), programs)
    native = take_picture(fidelity_server.connection("owned_native"), programs)
    assert "\n".join(difference(native, found, ("schema", "large_objects", "sequences"))) == ""
