"""Some tables of a database: backed up alone, or restored alone out of a full backup."""

from __future__ import annotations

import subprocess

import psycopg
import pytest
from tests.fidelity.building import create_database, psql
from tests.fidelity.conftest import Awkward, NewName
from tests.fidelity.dbtool_runs import Dbtool, archive_of
from tests.fidelity.picture import Picture, connection_string, take_picture

from dbtool.model.connection import Connection

# What is asked for -> the tables whose rows must come.
PARTS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "one table": (("app.parents",), {"app.parents"}),
    "a key to a table left out": (("app.children",), {"app.children"}),
    "a cycle of keys": (("app.cycle_a", "app.cycle_b"), {"app.cycle_a", "app.cycle_b"}),
    "half of a cycle": (("app.cycle_a",), {"app.cycle_a"}),
    "partitions of all depths": (
        ("app.measurements",),
        {
            *("app.measurements", "app.m2020", "app.m2021_a", "app.m2021_rest", "app.m2021_rest_0"),
            *("app.m2021_rest_1", "app.m_early", "app.m_default", 'Weird "schema.m "2021'),
        },
    ),
    "one partition": (("app.m_early",), {"app.m_early"}),
    "types and sequences": (
        ("app.typed_values", "app.serials", "app.generated"),
        {"app.typed_values", "app.serials", "app.generated"},
    ),
    "an heir": (("app.grandchild",), {"app.grandchild"}),
    "a pattern": (("app.cycle_?",), {"app.cycle_a", "app.cycle_b"}),
    "an awkward name": (('Weird "schema.Weird "name',), {'Weird "schema.Weird "name'}),
    "an option's name": (("-rf.-rf",), {"-rf.-rf"}),
    "a newline": (("new\nline.new\nline\n\\.",), {"new\nline.new\nline\n\\."}),
    "a pattern's name": (("app.*",), {"app.*"}),
    "a dot in a name": (("app.a.b",), {"app.a.b"}),
    "by an enum's hash": (("app.by_mood",), {"app.by_mood"}),
    "with triggers": (("app.triggered",), {"app.triggered"}),
    "a check on another table": (
        ("app.zz_checked_by_function", "app.allowed"),
        {"app.zz_checked_by_function", "app.allowed"},
    ),
}


def _named(part: str, option: str) -> list[str]:
    """Options as `-tablename=x`, for a name may look like an option."""
    return [f"{option}={table}" for table in PARTS[part][0]]


def _assert_rows(part: str, expected: Picture, found: Picture) -> None:
    for table in PARTS[part][1]:
        assert found.tables.get(table) == expected.tables[table], table


@pytest.mark.parametrize("part", PARTS)
def test_partial_backup(part: str, awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    programs = awkward.server.bin_directory
    metadata = dbtool.backup(awkward.source, "full", "tables", *_named(part, "-tablename"))
    assert metadata["type"] == "partial"
    with_rows = {f"{table['schema']}.{table['name']}" for table in metadata["tables"] if table["rows"]}
    leaves = {name for name in with_rows if not name.startswith("app.by_mood")}
    assert leaves <= PARTS[part][1]
    copy, through_psql = new_name(), new_name()
    dbtool.restore(metadata["id"], copy)
    found = take_picture(copy, programs)
    _assert_rows(part, awkward.expected, found)
    create_database(awkward.server.connection(), through_psql.database)
    script = subprocess.run(["zstd", "-dcq", archive_of(metadata)], capture_output=True, check=True).stdout
    done = psql(through_psql, programs, script)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    picture = take_picture(through_psql, programs)
    _assert_rows(part, awkward.expected, picture)
    assert picture.schema == found.schema
    assert picture.sequences == found.sequences


@pytest.mark.parametrize("part", PARTS)
def test_tables_of_a_full_backup(part: str, awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    """Into a new database, and into the same again, where they are replaced on request only."""
    programs = awkward.server.bin_directory
    metadata = dbtool.backup(awkward.source)
    copy = new_name()
    options = _named(part, "--tables")
    dbtool.restore(metadata["id"], copy, *options)
    found = take_picture(copy, programs)
    _assert_rows(part, awkward.expected, found)
    refused = dbtool.run(dbtool.restore_arguments(metadata["id"], copy, *options), expect=9)
    assert b"--replace" in refused.stderr
    assert take_picture(copy, programs) == found
    dbtool.restore(metadata["id"], copy, *options, "--replace")
    again = take_picture(copy, programs)
    assert again.tables == found.tables
    assert again.schema == found.schema


def test_everything_of_a_table_comes_with_it(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    """Indexes, constraints, comments, privileges, triggers, policies, statistics."""
    tables = ("app.parents", "app.children", "app.indexed", "app.triggered", "app.guarded")
    metadata = dbtool.backup(awkward.source, "full", "tables", *(f"-tablename={table}" for table in tables))
    copy = new_name()
    dbtool.restore(metadata["id"], copy)
    found = take_picture(copy, awkward.server.bin_directory)
    missing = []
    for block in awkward.expected.schema:
        header = block.split("\n")[1]
        belongs = any(f"Name: {table.partition('.')[2]}" in header for table in set(tables))
        is_of_table = "Schema: app" in header and "VIEW" not in header and "_view" not in header
        if belongs and is_of_table and block not in found.schema:
            missing.append(block)
    assert missing == []


def test_keys_to_tables_left_out_are_noted(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    metadata = dbtool.backup(awkward.source, "full", "tables", "-tablename", "app.order_notes")
    assert any("order_notes" in warning for warning in metadata["warnings"])
    copy = new_name()
    dbtool.restore(metadata["id"], copy)
    assert _foreign_keys(copy, "order_notes") == 0


def test_keys_come_back_where_their_table_is(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    """A table restored into a database that has the other one gets its foreign key."""
    metadata = dbtool.backup(awkward.source)
    copy = new_name()
    dbtool.restore(metadata["id"], copy, "--tables", "app.parents")
    dbtool.restore(metadata["id"], copy, "--tables", "app.children")
    assert _foreign_keys(copy, "children") == 3


def test_only_the_named_tables_are_replaced(awkward: Awkward, dbtool: Dbtool, new_name: NewName) -> None:
    """Everything else in the database stays as it is, also what points at the replaced table."""
    programs = awkward.server.bin_directory
    metadata = dbtool.backup(awkward.source)
    copy = new_name()
    dbtool.restore(metadata["id"], copy)
    with psycopg.connect(connection_string(copy), autocommit=True) as link:
        link.execute("INSERT INTO app.order_notes VALUES (1, 'south', 'new')")
        link.execute("UPDATE public.ordinary SET note = 'new'")
    before = take_picture(copy, programs)
    dbtool.restore(metadata["id"], copy, "--tables", "app.order_notes", "--replace")
    after = take_picture(copy, programs)
    assert after.tables["app.order_notes"] == awkward.expected.tables["app.order_notes"]
    assert after.tables["public.ordinary"] == before.tables["public.ordinary"]
    assert after.schema == before.schema


def test_a_table_that_is_not_there(awkward: Awkward, dbtool: Dbtool) -> None:
    arguments = dbtool.backup_arguments(awkward.source, "full", "tables", "-tablename", "app.childern")
    done = dbtool.run(arguments, expect=8)
    assert b"app.children" in done.stderr
    assert [backup for backup in dbtool.listed() if backup["status"] == "completed"] == []
    done = dbtool.run(
        dbtool.backup_arguments(awkward.source, "full", "tables", "-tablename", "app.simple_view"), None
    )
    assert done.returncode in (2, 8)
    dbtool.backup(awkward.source)
    missing = Connection("postgres", "never_made", awkward.source.host, awkward.source.port, "postgres")
    done = dbtool.run(dbtool.restore_arguments("latest", missing, "--tables", "app.childern"), expect=8)
    assert b"app.children" in done.stderr


def _foreign_keys(connection: Connection, table: str) -> int:
    with psycopg.connect(connection_string(connection), autocommit=True) as link:
        row = link.execute(
            "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid = ('app.' || %s)::regclass",
            [table],
        ).fetchone()
        return row[0] if row else -1
