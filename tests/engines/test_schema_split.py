"""pg_dump's archive and pg_restore's script, taken apart: nothing is lost, nothing is mistaken."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from tests.conftest import Sql

from dbtool.engines.postgres.connect import client_environment
from dbtool.engines.postgres.quoting import conninfo
from dbtool.engines.postgres.schema import (
    SchemaPart,
    schema_blocks,
    setting_statement,
    settings_of,
    split_script,
)
from dbtool.engines.postgres.toc import TocEntry, read_toc
from dbtool.engines.postgres.tools import find_tool
from dbtool.errors import DbtoolError
from dbtool.model.archive import FrameKind
from dbtool.model.connection import Connection

# Bodies and comments that look like the headings between which the script is cut.
HEADING = """
--
-- TOC entry {number} (class 1255 OID 16384)
-- Name: fake; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE fake (n int);
"""
TRICKS = """
CREATE TABLE first_one (n int);
CREATE FUNCTION look_alike() RETURNS text LANGUAGE sql AS $f$ SELECT $q${heading}$q$ $f$;
CREATE FUNCTION ends_with_it() RETURNS text LANGUAGE plpgsql AS $f$BEGIN RETURN ''; END; /*{heading}*/$f$;
CREATE FUNCTION settings() RETURNS int LANGUAGE sql AS $f$
SET default_tablespace = '';

SET default_table_access_method = heap;

SELECT 1 $f$;
CREATE FUNCTION finished() RETURNS int LANGUAGE sql AS $f$ SELECT 1 /*
-- Completed on 2025-01-01 00:00:00 UTC

--
-- PostgreSQL database dump complete
--
 ALTER TABLE first_one OWNER TO nobody;
*/ $f$;
COMMENT ON TABLE first_one IS '{heading}';
COMMENT ON COLUMN first_one.n IS 'x OWNER TO y;
';
ALTER TABLE first_one ALTER n SET DEFAULT length('{heading}');
CREATE VIEW reads AS SELECT '{heading}'::text AS t;
CREATE TABLE "weird "";
-- TOC entry 1 (class 1 OID 1)
name" (id serial PRIMARY KEY, t text UNIQUE);
CREATE INDEX ON first_one (n);
GRANT SELECT ON first_one TO PUBLIC;
CREATE MATERIALIZED VIEW filled AS SELECT * FROM first_one;
CREATE UNLOGGED TABLE heaped (n int) PARTITION BY LIST (n);
"""
TRICKS = TRICKS.replace("CREATE UNLOGGED TABLE heaped", "CREATE TABLE heaped")


def dumped(connection: Connection, folder: Path, version: int) -> tuple[list[TocEntry], bytes, bytes]:
    """(entries, pg_restore's script with headings, the same without)."""
    archive = folder / "schema.dump"
    dump, restore = find_tool("pg_dump", version), find_tool("pg_restore", version)
    with client_environment(connection) as environment:

        def run(*arguments: str) -> bytes:
            return subprocess.run(arguments, env=environment, check=True, capture_output=True).stdout

        target = f"--dbname={conninfo(connection.database)}"
        run(str(dump.path), "-Fc", "--schema-only", target, f"--file={archive}")
        script = run(str(restore.path), "--verbose", "--file=-", str(archive))
        plain = run(str(restore.path), "--file=-", str(archive))
    with archive.open("rb") as file:
        return read_toc(file, "utf-8"), script, plain


@pytest.fixture
def parts(
    database: Connection, sql: Sql, tmp_path: Path
) -> tuple[list[SchemaPart], list[TocEntry], bytes, bytes]:
    numbers = "1"
    sql(database, TRICKS.replace("{heading}", HEADING.replace("{number}", numbers)))
    entries, script, plain = dumped(database, tmp_path, 150000)
    # Once more with a number that is really there, which is the harder case.
    real = next(entry.number for entry in entries if entry.kind == "TABLE")
    sql(database, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    sql(database, TRICKS.replace("{heading}", HEADING.replace("{number}", str(real))))
    entries, script, plain = dumped(database, tmp_path, 150000)
    return split_script(script, entries), entries, script, plain


def test_the_parts_together_are_the_script(
    parts: tuple[list[SchemaPart], list[TocEntry], bytes, bytes],
) -> None:
    split, _, script, _ = parts
    position = script.index(b"\n--\n-- TOC entry ") + 1
    for part in split:
        at = script.index(part.text, position)
        between = script[position:at]
        # Between parts stand nothing but settings.
        assert all(line.startswith(b"SET default_") for line in between.split(b"\n") if line)
        position = at + len(part.text)
    rest = script[position:].strip()
    assert rest.startswith(b"-- Completed on ")


def test_every_object_is_there_once_with_its_own_definition(
    parts: tuple[list[SchemaPart], list[TocEntry], bytes, bytes],
) -> None:
    split, entries, _, _ = parts
    numbers = [part.entry.number for part in split]
    assert len(numbers) == len(set(numbers))
    written = [
        entry
        for entry in entries
        if entry.definition and entry.kind not in ("ENCODING", "STDSTRINGS", "SEARCHPATH", "DATABASE")
    ]
    # The schema public of a fresh database is not written.
    assert {entry.number for entry in written if entry.kind != "SCHEMA"} <= set(numbers)
    assert not any(part.entry.tag == "fake" for part in split)
    for part in split:
        definition = part.text[part.definition_offset :][: len(part.entry.definition)]
        assert definition == part.entry.definition
    looks = next(part for part in split if part.entry.tag == "look_alike()")
    assert looks.text.count(b"CREATE TABLE fake") == 1
    assert looks.text.rstrip().endswith(b"OWNER TO postgres;")


def test_owners_stand_behind_their_definition(
    parts: tuple[list[SchemaPart], list[TocEntry], bytes, bytes],
) -> None:
    for part in parts[0]:
        owner = part.text[part.definition_offset + part.owner_offset :]
        if part.entry.kind in ("TABLE", "FUNCTION", "VIEW", "SEQUENCE", "MATERIALIZED VIEW"):
            assert owner.startswith(b"ALTER "), part
            assert b" OWNER TO postgres;" in owner.split(b"\n")[0] or b"weird" in owner
        elif part.entry.kind in ("INDEX", "ACL", "CONSTRAINT", "COMMENT"):
            assert owner.strip() == b""


def test_the_phases_are_in_order(parts: tuple[list[SchemaPart], list[TocEntry], bytes, bytes]) -> None:
    kinds = [part.kind for part in parts[0] if part.entry.kind not in ("ACL", "DEFAULT ACL")]
    order = list(FrameKind)
    assert kinds == sorted(kinds, key=order.index)
    by_tag = {(part.entry.kind, part.entry.tag): part.kind for part in parts[0]}
    assert by_tag["INDEX", "first_one_n_idx"] is FrameKind.AFTER_DATA
    assert by_tag["TABLE", "first_one"] is FrameKind.BEFORE_DATA
    assert by_tag["ACL", "TABLE first_one"] is FrameKind.AFTER_DATA


def test_blocks_and_their_objects(parts: tuple[list[SchemaPart], list[TocEntry], bytes, bytes]) -> None:
    """Each object's slice is its SQL, and the settings before it are those that it needs."""
    by_number = {part.entry.number: part for part in parts[0]}
    seen = set()
    for kind in (FrameKind.BEFORE_DATA, FrameKind.AFTER_DATA, FrameKind.LAST):
        for block in schema_blocks(parts[0], kind, "utf-8"):
            for item in block.objects:
                part = by_number[item.number]
                seen.add(item.number)
                assert (
                    block.text[item.offset : item.offset + item.length] == part.text[part.definition_offset :]
                )
                before = block.text[: item.offset]
                for setting, value in settings_of(item).items():
                    wanted = setting_statement(setting, value).encode()
                    last = before.rfind(f"SET {setting} = ".encode())
                    assert before[last:].startswith(wanted), (item, wanted)
    assert seen == set(by_number)


def statements_of(script: bytes) -> list[bytes]:
    """What a script does, line by line: no comments that headings are made of, no settings, no key."""
    skipped = (b"--", b"SET ", b"\\restrict", b"\\unrestrict", b"SELECT pg_catalog.set_config")
    return [line for line in script.split(b"\n") if line and not line.startswith(skipped)]


def test_the_script_does_what_the_native_one_does(
    parts: tuple[list[SchemaPart], list[TocEntry], bytes, bytes],
) -> None:
    split, _, _, plain = parts
    # Comments inside bodies are left out on both sides alike.
    assert sorted(statements_of(b"".join(part.text for part in split))) == sorted(statements_of(plain))


@pytest.mark.matrix
def test_archives_of_every_version(
    matrix_database: Connection, sql: Sql, tmp_path: Path, matrix_server: object
) -> None:
    sql(
        matrix_database,
        """CREATE TABLE t (id serial PRIMARY KEY, a text) ; CREATE TABLE p (n text) PARTITION BY LIST (n);
        CREATE TABLE p1 PARTITION OF p FOR VALUES IN (E'a;\\n'); ALTER TABLE p1 ALTER n SET STATISTICS 77;
        CREATE VIEW v AS SELECT * FROM t""",
    )
    major = matrix_server.major  # type: ignore[attr-defined]
    folder = str(matrix_server.bin_directory)  # type: ignore[attr-defined]
    archive = tmp_path / "x.dump"
    dump = find_tool("pg_dump", major * 10000, [folder])
    restore = find_tool("pg_restore", major * 10000, [folder])
    with client_environment(matrix_database) as environment:
        target = f"--dbname={conninfo(matrix_database.database)}"
        command = [str(dump.path), "-Fc", "--schema-only", target, f"--file={archive}"]
        subprocess.run(command, env=environment, check=True)
        command = [str(restore.path), "--verbose", "--file=-", str(archive)]
        script = subprocess.run(command, env=environment, check=True, capture_output=True).stdout
    with archive.open("rb") as file:
        entries = read_toc(file, "utf-8")
    tags = {(entry.kind, entry.tag): entry for entry in entries}
    table = tags["TABLE", "t"]
    assert table.namespace == "public"
    assert table.owner == "postgres"
    oid = sql(matrix_database, "SELECT 't'::regclass::oid::bigint")[0][0]
    assert (table.class_oid, table.oid) == (1259, oid)
    assert table.access_method == "heap"
    assert table.number in tags["VIEW", "v"].needs
    split = {(part.entry.kind, part.entry.tag): part for part in split_script(script, entries)}
    assert {tag for _, tag in split} >= {"t", "p", "p1", "v", "t t_pkey"}
    # A partition and what attaches it are two objects, whatever wrote them.
    attachment = split["TABLE ATTACH", "p1"]
    assert set(attachment.entry.needs) == {tags["TABLE", "p"].number, tags["TABLE", "p1"].number}
    assert b"ATTACH PARTITION public.p1 FOR VALUES IN ('a;\n')" in attachment.text
    partition = split["TABLE", "p1"]
    assert tags["TABLE", "p"].number in partition.entry.needs
    assert b"ATTACH" not in partition.text
    assert b"SET STATISTICS 77" in partition.text
    assert partition.text[partition.definition_offset + partition.owner_offset :].startswith(b"ALTER TABLE")


# What is no archive


def test_what_is_no_archive_is_refused(database: Connection, tmp_path: Path) -> None:
    dumped(database, tmp_path, 150000)
    data = (tmp_path / "schema.dump").read_bytes()
    read_toc(io.BytesIO(data), "utf-8")
    for broken in (b"", b"PGDM", b"-- a script\n" * 10, data[:7], data[:100], data[: len(data) // 2]):
        with pytest.raises(DbtoolError):
            read_toc(io.BytesIO(broken), "utf-8")
    future = data[:5] + bytes([1, 99]) + data[7:]
    with pytest.raises(DbtoolError, match=r"version 1\.99"):
        read_toc(io.BytesIO(future), "utf-8")


def test_a_script_that_does_not_fit_the_archive_is_refused(
    parts: tuple[list[SchemaPart], list[TocEntry], bytes, bytes],
) -> None:
    _, entries, script, _ = parts
    with pytest.raises(DbtoolError, match="another definition"):
        split_script(script.replace(b"CREATE TABLE public.first_one", b"CREATE TABLE public.other"), entries)
    with pytest.raises(DbtoolError, match="has not"):
        split_script(script, entries[:3])
