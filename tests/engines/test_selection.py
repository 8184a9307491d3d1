"""What some tables bring along: from a real schema, told by pg_dump's own dependencies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.conftest import Sql
from tests.logical import archive_of, backup

from dbtool.engines.postgres.connect import connect as open_connection
from dbtool.engines.postgres.selection import choose_from_index, choose_tables, match_names, select_objects
from dbtool.errors import NotFoundError, UsageError
from dbtool.model.archive import ArchiveIndex
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

SCHEMA = """
CREATE SCHEMA s; CREATE SCHEMA unused;
CREATE DOMAIN s.positive AS int CHECK (VALUE > 0);
CREATE TYPE mood AS ENUM ('happy', 'sad'); CREATE TYPE not_needed AS ENUM ('x');
CREATE FUNCTION the_default() RETURNS int LANGUAGE sql AS 'SELECT 7';
CREATE FUNCTION not_called() RETURNS int LANGUAGE sql AS 'SELECT 8';
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE SEQUENCE shared; CREATE SEQUENCE lonely;
CREATE TABLE main (
    id serial PRIMARY KEY, i int GENERATED ALWAYS AS IDENTITY, m mood, p s.positive,
    d int DEFAULT the_default(), q bigint DEFAULT nextval('shared'), CONSTRAINT small CHECK (p < 100));
CREATE TABLE main_more (id int REFERENCES main, note text);
CREATE TABLE main2 (id int);
CREATE INDEX main_m ON main (m); CREATE STATISTICS main_stats ON m, p FROM main;
CREATE TRIGGER fires BEFORE INSERT ON main FOR EACH ROW EXECUTE FUNCTION fire();
CREATE RULE "no delete" AS ON DELETE TO main DO INSTEAD NOTHING;
CREATE RULE writes_other AS ON UPDATE TO main2 DO ALSO INSERT INTO main_more VALUES (1);
ALTER TABLE main ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_rows ON main USING (id > 0);
CREATE POLICY looks_elsewhere ON main USING (EXISTS (SELECT FROM main_more));
COMMENT ON TABLE main IS 'the table'; COMMENT ON COLUMN main.id IS 'its key'; COMMENT ON INDEX main_m IS 'an index';
COMMENT ON CONSTRAINT main_more_id_fkey ON main_more IS 'a key'; COMMENT ON TYPE mood IS 'a type';
GRANT SELECT ON main TO PUBLIC; GRANT USAGE ON SCHEMA s TO PUBLIC;
CREATE VIEW shows AS SELECT * FROM main; CREATE MATERIALIZED VIEW holds AS SELECT * FROM main;
CREATE TABLE mother (n int); CREATE TABLE daughter (m int) INHERITS (mother);
CREATE TABLE parted (n int PRIMARY KEY) PARTITION BY RANGE (n);
CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (10) PARTITION BY LIST (n);
CREATE TABLE parted_low_1 PARTITION OF parted_low FOR VALUES IN (1);
CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (10) TO (20);
CREATE TABLE points (n int REFERENCES parted);
CREATE TABLE s.main (other int);
"""


@pytest.fixture(scope="module")
def selected_from(
    postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory, sql: Sql
) -> Iterator[tuple[Connection, ArchiveIndex]]:
    """The schema's database, and the index of a full backup of it."""
    connection = postgres_server.connection("selection")
    sql(postgres_server.connection(), "CREATE DATABASE selection")
    sql(connection, SCHEMA)
    folder = tmp_path_factory.mktemp("repository")
    yield connection, archive_of(folder, backup(connection, folder)).index
    sql(postgres_server.connection(), "DROP DATABASE selection WITH (FORCE)")


def taken(index: ArchiveIndex, *patterns: str) -> tuple[set[str], set[str], list[str]]:
    """(objects that come, objects kept aside, notes), each object as "KIND schema.name"."""
    objects = [item for frame in index.frames for item in frame.objects]
    called = {item.number: f"{item.kind} {item.schema}.{item.name}".replace(" .", " ") for item in objects}
    selection = select_objects(objects, choose_from_index(index, patterns))
    come = {called[number] for number in selection.taken}
    return come, {called[number] for number in selection.aside}, list(selection.notes)


def test_a_table_brings_what_belongs_to_it(selected_from: tuple[Connection, ArchiveIndex]) -> None:
    come, aside, notes = taken(selected_from[1], "public.main")
    assert come >= {
        "TABLE public.main",
        "SEQUENCE public.main_id_seq",
        "SEQUENCE OWNED BY public.main_id_seq",
        "SEQUENCE public.main_i_seq",
        "SEQUENCE public.shared",
        "DEFAULT public.main id",
        "CONSTRAINT public.main main_pkey",
        "INDEX public.main_m",
        "STATISTICS public.main_stats",
        "TRIGGER public.main fires",
        "RULE public.main no delete",
        "ROW SECURITY public.main",
        "POLICY public.main own_rows",
        "TYPE public.mood",
        "DOMAIN s.positive",
        "SCHEMA s",
        "FUNCTION public.the_default()",
        "FUNCTION public.fire()",
        "COMMENT public.TABLE main",
        "COMMENT public.COLUMN main.id",
        "COMMENT public.INDEX main_m",
        "COMMENT public.TYPE mood",
        "ACL public.TABLE main",
        "ACL SCHEMA s",
    }
    assert not come & {
        "TABLE public.main2",
        "TABLE public.main_more",
        "TABLE s.main",
        "SCHEMA unused",
        "SEQUENCE public.lonely",
        "TYPE public.not_needed",
        "FUNCTION public.not_called()",
        "VIEW public.shows",
        "MATERIALIZED VIEW public.holds",
        "FK CONSTRAINT public.main_more main_more_id_fkey",
    }
    assert aside == {"POLICY public.main looks_elsewhere"}
    assert any("looks_elsewhere" in note for note in notes)


def test_a_key_stays_behind_with_the_table_it_points_to(
    selected_from: tuple[Connection, ArchiveIndex],
) -> None:
    come, aside, notes = taken(selected_from[1], "main_more")
    assert "TABLE public.main" not in come
    assert aside == {"FK CONSTRAINT public.main_more main_more_id_fkey"}
    assert "COMMENT public.CONSTRAINT main_more_id_fkey ON main_more" not in come
    assert any("main_more_id_fkey is left out" in note for note in notes)
    come, aside, _ = taken(selected_from[1], "main_more", "main")
    assert "FK CONSTRAINT public.main_more main_more_id_fkey" in come
    assert "COMMENT public.CONSTRAINT main_more_id_fkey ON main_more" in come
    assert "POLICY public.main looks_elsewhere" in come
    assert aside == set()


def test_a_rule_that_writes_elsewhere_stays_behind(selected_from: tuple[Connection, ArchiveIndex]) -> None:
    _, aside, _ = taken(selected_from[1], "main2")
    assert aside == {"RULE public.main2 writes_other"}


def test_partitions_of_every_level_come_along(selected_from: tuple[Connection, ArchiveIndex]) -> None:
    come, aside, _ = taken(selected_from[1], "parted")
    tables = {name for name in come if name.startswith("TABLE ")}
    assert tables >= {f"TABLE public.parted{rest}" for rest in ("", "_low", "_low_1", "_high")}
    assert {f"TABLE ATTACH public.parted{rest}" for rest in ("_low", "_low_1", "_high")} <= come
    assert aside == set()
    # A partition is nothing without its table, which comes as a definition.
    come, aside, notes = taken(selected_from[1], "parted_low")
    assert {name for name in come if name.startswith("TABLE public")} == {
        "TABLE public.parted",
        "TABLE public.parted_low",
        "TABLE public.parted_low_1",
    }
    assert "TABLE ATTACH public.parted_low" in come
    assert notes == ["table public.parted comes without rows: another table needs its definition"]
    come, aside, _ = taken(selected_from[1], "points", "parted")
    assert any(name.startswith("FK CONSTRAINT public.points") for name in come)


def test_a_table_that_inherits_brings_the_other_without_rows(
    selected_from: tuple[Connection, ArchiveIndex],
) -> None:
    come, _, notes = taken(selected_from[1], "daughter")
    assert "TABLE public.mother" in come
    assert notes == ["table public.mother comes without rows: another table needs its definition"]
    come, _, notes = taken(selected_from[1], "mother")
    assert "TABLE public.daughter" not in come
    assert notes == []


def test_what_comes_is_whole(selected_from: tuple[Connection, ArchiveIndex]) -> None:
    """No table brings an object without what that needs."""
    index = selected_from[1]
    objects = {item.number: item for frame in index.frames for item in frame.objects}
    tables = [item for item in objects.values() if item.kind == "TABLE"]
    for table in tables:
        selection = select_objects(list(objects.values()), frozenset({table.identity}))
        for number in selection.taken:
            assert {need for need in objects[number].needs if need in objects} <= selection.taken


@pytest.mark.parametrize(
    ("patterns", "named"),
    [
        (["main"], ["public.main", "s.main"]),
        (["s.main"], ["s.main"]),
        (["main*"], ["public.main", "public.main2", "public.main_more", "s.main"]),
        (["s.*"], ["s.main"]),
        (["public.main?"], ["public.main2"]),
        (["*.main"], ["public.main", "s.main"]),
        (["main[2]", "mother"], ["public.main2", "public.mother"]),
        (
            ["p*"],
            [
                "public.parted",
                "public.parted_high",
                "public.parted_low",
                "public.parted_low_1",
                "public.points",
            ],
        ),
    ],
)
def test_names_and_patterns_on_the_server_and_in_an_archive(
    selected_from: tuple[Connection, ArchiveIndex], patterns: list[str], named: list[str]
) -> None:
    connection, index = selected_from
    with open_connection(connection) as session:
        chosen = choose_tables(session, patterns)
    assert sorted(chosen.named) == named
    assert choose_from_index(index, patterns) == chosen.identities


@pytest.mark.parametrize(
    ("pattern", "hint"), [("mian", "main"), ("public.mothr", "public.mother"), ("zzzzzz", "\\d")]
)
def test_the_nearest_names_are_offered(
    selected_from: tuple[Connection, ArchiveIndex], pattern: str, hint: str
) -> None:
    connection, index = selected_from
    with open_connection(connection) as session, pytest.raises(NotFoundError) as caught:
        choose_tables(session, ["main", pattern])
    assert hint in str(caught.value.hint)
    with pytest.raises(NotFoundError) as caught:
        choose_from_index(index, [pattern])
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    ("pattern", "what"), [("shows", "a view"), ("holds", "a materialised view"), ("lonely", "a sequence")]
)
def test_what_is_no_table_is_said(
    selected_from: tuple[Connection, ArchiveIndex], pattern: str, what: str
) -> None:
    with open_connection(selected_from[0]) as session, pytest.raises(UsageError, match=what):
        choose_tables(session, [pattern])


def test_a_dot_in_a_name_is_no_schema() -> None:
    items = [("a", "b.c"), ("b", "c"), ("x", "b*")]

    def found(pattern: str) -> list[tuple[str, str]]:
        return match_names(pattern, items, lambda item: item)

    assert found("b.c") == [("a", "b.c"), ("b", "c")]
    assert found("b*") == [("x", "b*")]
    assert found("?.c") == [("a", "b.c"), ("b", "c")]
    assert found("a.*") == [("a", "b.c")]
