"""`docs/format.md` is true: a reader that follows it alone understands a real backup, to the last number."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Sql
from tests.docs.independent_reader import Archive, read_metadata, xxh64

from dbtool.archive import writer
from dbtool.engines.postgres import plan, reader
from dbtool.engines.postgres.engine import PostgresEngine
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, logical_backup
from dbtool.operations.verify import verify
from dbtool.progress import Silent
from dbtool.servers.postgres import PostgresServer
from dbtool.storage.local import LocalStore

FORMAT = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")

SCHEMA = """
CREATE EXTENSION hstore;
CREATE SCHEMA sales;
CREATE TABLE sales.customers (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE sales.orders (
    customer integer NOT NULL REFERENCES sales.customers, number integer NOT NULL, note text,
    length integer GENERATED ALWAYS AS (length(note)) STORED, PRIMARY KEY (number, customer));
CREATE TABLE sales.events (at date NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE sales.events_2025 PARTITION OF sales.events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE sales."odd ""name
in two lines" (content text);
CREATE TABLE sales.no_columns ();
CREATE UNLOGGED TABLE sales.empty (id integer PRIMARY KEY);
CREATE SEQUENCE sales.numbers START 7;
CREATE MATERIALIZED VIEW sales.sums AS SELECT customer, count(*) FROM sales.orders GROUP BY 1;
CREATE FUNCTION sales.note() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION sales.note();
INSERT INTO sales.customers SELECT n, 'customer ' || n FROM generate_series(1, 300) n;
INSERT INTO sales.orders
    SELECT n % 300 + 1, n,
        CASE n % 5 WHEN 0 THEN NULL ELSE E'tab\\t, line\\nand \\\\ of ' || repeat('x', n % 40) END
    FROM generate_series(1, 3000) n;
INSERT INTO sales.events VALUES ('2025-05-01', 'spring'), ('2025-06-01', '');
INSERT INTO sales."odd ""name
in two lines" VALUES ('\\.'), (NULL), ('\\N');
INSERT INTO sales.no_columns DEFAULT VALUES;
INSERT INTO sales.no_columns DEFAULT VALUES;
SELECT lo_from_bytea(0, 'contract');
REFRESH MATERIALIZED VIEW sales.sums;
ANALYZE;
"""


@dataclass(frozen=True)
class Taken:
    """Backups of one database: all of it, in pieces so small that there are several, and one table."""

    database: Connection
    repository: Path
    full: Path
    partial: Path


@pytest.fixture(scope="module")
def taken(
    postgres_server: PostgresServer, sql: Sql, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Taken]:
    """Taken once for all tests of this page."""
    administration = postgres_server.connection("postgres")
    database = postgres_server.connection(f"format_{os.getpid()}")
    repository = tmp_path_factory.mktemp("format") / "repository"
    sql(administration, f"CREATE DATABASE {database.database} TEMPLATE template0")
    try:
        sql(database, SCHEMA)
        sql(database, f"COMMENT ON DATABASE {database.database} IS 'for the format'")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(plan, "CHUNK_BYTES", 64 << 10)
            patch.setattr(reader, "FRAME_BYTES", 16 << 10)
            patch.setattr(reader, "_PACKED_FROM_BYTES", 0)
            patch.setattr(writer, "_MOST_KEYS_SHARE", 1)
            full = take(database, repository)
        yield Taken(database, repository, full, take(database, repository, "orders"))
    finally:
        sql(administration, f"DROP DATABASE {database.database} WITH (FORCE)")


def take(database: Connection, repository: Path, *tables: str) -> Path:
    """A backup's folder."""
    repository.mkdir(exist_ok=True)
    options = BackupOptions(tables=tables)
    made = logical_backup(PostgresEngine(), database, LocalStore(repository), options, Silent())
    return repository / made.id


def main_file(folder: Path) -> Path:
    (found,) = folder.glob("*.sql.zst")
    return found


def test_hash_of_the_independent_reader() -> None:
    assert xxh64(b"") == 0xEF46DB3751D8E999
    assert xxh64(b"a") == 0xD24EC4F1A98C6E5B
    assert xxh64(b"Nobody inspects the spammish repetition") == 0xFBCEA83C8A378BF1


def test_full_backup_is_what_the_page_says(taken: Taken, sql: Sql) -> None:
    folder = taken.full
    metadata = read_metadata(folder)
    for artefact in metadata["artefacts"]:
        content = (folder / artefact["name"]).read_bytes()
        assert artefact["stored_bytes"] == artefact["plain_bytes"] == len(content)
        digest = hashlib.sha256(content).hexdigest()
        assert artefact["stored_sha256"] == artefact["plain_sha256"] == digest
    archive = Archive.read(main_file(folder))
    index = archive.index
    for name, value in index["backup"].items():
        assert metadata[name] == value, name
    assert index["warnings"] == metadata["warnings"]
    kinds = {frame["kind"] for frame in index["frames"]}
    assert kinds == {
        "header", "before_data", "data", "sequences", "large_objects", "after_data", "refresh", "database",
        "last", "footer",
    }  # fmt: skip
    names = {}
    for position, (table, recorded) in enumerate(zip(index["tables"], metadata["tables"], strict=True)):
        archive.check_table(position)
        assert recorded == {name: table[name] for name in table if name not in ("key_digest", "key_buckets")}
        names[table["name"]] = position
    assert set(names) == {
        "customers", "orders", "events_2025", 'odd "name\nin two lines', "no_columns", "empty"
    }  # fmt: skip
    orders = [frame for frame in index["frames"] if frame.get("table") == names["orders"]]
    assert len(orders) > 3
    assert len({tuple(frame["bounds"]) for frame in orders}) > 1
    assert index["tables"][names["orders"]]["key"] == ["number", "customer"]
    assert [name for name, _ in index["tables"][names["orders"]]["columns"]] == ["customer", "number", "note"]
    assert len(index["tables"][names["orders"]]["key_buckets"]) > 12
    kept = {frame["table"] for frame in index["frames"] if "keys_bytes" in frame}
    assert names["customers"] in kept
    assert names["orders"] not in kept  # two columns
    assert archive.rows(names['odd "name\nin two lines']) == [rb"\\.", rb"\N", rb"\\N"]
    assert archive.rows(names["no_columns"]) == [b"", b""]
    assert index["tables"][names["empty"]]["details"]["persistence"] == "u"
    assert sql(taken.database, "SELECT 'sales.orders'::regclass::oid::bigint") == [
        (index["tables"][names["orders"]]["identity"],)
    ]


def test_script_is_the_frames_and_the_foot_says_so(taken: Taken) -> None:
    archive = Archive.read(main_file(taken.full))
    script = archive.script()
    assert script == b"".join(archive.text(frame) for frame in archive.index["frames"])
    (key,) = re.findall(rb"^\\restrict (\w+)$", script, re.MULTILINE)
    assert script.endswith(b"-- dbtool: the backup is complete\n--\n\n\\unrestrict " + key + b"\n")
    assert b"SET client_encoding = 'UTF8';\n" in archive.text(archive.index["frames"][0])


def test_schema_objects_are_where_the_index_says(taken: Taken) -> None:
    archive = Archive.read(main_file(taken.full))
    objects = archive.objects()
    (table, text) = next(
        pair for pair in objects.values() if (pair[0]["kind"], pair[0]["name"]) == ("TABLE", "orders")
    )
    assert text.startswith(b"CREATE TABLE sales.orders (")
    assert text[table["owner_offset"] :].startswith(b"ALTER TABLE sales.orders OWNER TO postgres;\n")
    assert table["access_method"] == "heap"
    assert table["tablespace"] == ""
    (key, text) = next(pair for pair in objects.values() if pair[0]["name"] == "orders orders_pkey")
    assert (key["kind"], key["needs"]) == ("CONSTRAINT", [table["number"]])
    assert key["owner_offset"] == key["length"]
    assert b"ADD CONSTRAINT orders_pkey PRIMARY KEY (number, customer);" in text
    own = {item["kind"] for number, (item, _) in objects.items() if number >= 1_000_000_000}
    assert {"SEQUENCE SET", "BLOB", "BLOB DATA", "MATERIALIZED VIEW DATA", "DATABASE COMMENT"} <= own
    order = list(objects)
    for number, (item, _) in objects.items():
        for need in item.get("needs", ()):
            assert need not in objects or order.index(need) < order.index(number)


def test_omitted_objects_of_a_partial_backup(taken: Taken) -> None:
    folder = taken.partial
    assert re.fullmatch(r"partial_format_\w+_\d{8}_\d{6}_[0-9a-f]{4}", folder.name)
    assert re.fullmatch(r"format_\w+_partial_\d{8}_\d{6}\.sql\.zst", main_file(folder).name)
    archive = Archive.read(main_file(folder))
    (table,) = archive.index["tables"]
    assert table["name"] == "orders"
    archive.check_table(0)
    (omitted,) = archive.index["omitted"]
    assert omitted["kind"] == "FK CONSTRAINT"
    assert "REFERENCES sales.customers(id)" in omitted["sql"]
    assert omitted["length"] == len(omitted["sql"].encode())
    assert "offset" not in omitted


def test_standard_tools_find_a_table(taken: Taken) -> None:
    file = main_file(taken.full)
    recipes = re.search(r"## Reading one table with standard tools\n(.*)\Z", FORMAT, re.DOTALL)
    assert recipes
    find_index, read_frame = re.findall(r"(?m)(?:^    .*\n)+", recipes[1])

    def shell(recipe: str, values: str = "") -> bytes:
        command = ["bash", "-euo", "pipefail", "-c", values + recipe.replace("FILE", "'" + str(file) + "'")]
        return subprocess.run(command, capture_output=True, check=True).stdout

    index = json.loads(shell(find_index))
    assert index == Archive.read(file).index
    frame = next(frame for frame in index["frames"] if frame["kind"] == "data")
    values = f"offset={frame['offset']}\nstored_bytes={frame['stored_bytes']}\n"
    assert shell(read_frame, values) == Archive.read(file).text(frame)


def test_digest_of_the_metadata_with_standard_tools(taken: Taken) -> None:
    folder = taken.full
    (recipe,) = re.findall(r"(?m)^    (\{ head .* sha256sum)$", FORMAT)
    found = subprocess.run(["bash", "-c", recipe], cwd=folder, capture_output=True, check=True, text=True)
    assert found.stdout.split()[0] == read_metadata(folder)["metadata_sha256"]


def test_every_field_that_is_written_is_described(taken: Taken) -> None:
    verify(LocalStore(taken.repository), taken.full.name, Silent(), 1)
    documents = [Archive.read(main_file(folder)).index for folder in (taken.full, taken.partial)]
    documents += [json.loads(path.read_text()) for path in taken.repository.rglob("*.json")]
    written = set().union(*map(_fields, documents))
    described = set(re.findall(r"`(\w+)`", FORMAT)) | set(re.findall(r'"(\w+)":', FORMAT))
    assert written - described == set()
    for path in taken.repository.rglob("*"):
        name = re.sub(r"\d{8}_\d{6}", "*", path.name)
        known = (
            "schema.sql", "globals.sql", "RESTORE.md", "metadata.json", "manifest.json", ".backup_diff",
            "backup_catalog.json", ".dbtool-catalogue.lock", "records",
        )  # fmt: skip
        is_named = re.fullmatch(r"(full|partial)_format_.*|format_.*\.sql\.zst|\*_[0-9a-f]{8}\.json", name)
        assert name in known or is_named, name


def _fields(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield name
            yield from _fields(member)
    elif isinstance(value, list):
        for member in value:
            yield from _fields(member)
