"""metadata.json: nothing is lost, and no bit of it changes unseen."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path

import pytest
from tests.sample_backups import metadata_of

from dbtool.catalog import metadata as metadata_file
from dbtool.errors import DbtoolError, VerificationError
from dbtool.model.archive import ArchiveIndex, TableSummary
from dbtool.model.backup import Artefact, BackupType, Metadata, Method, ParentLink, TableRecord


@pytest.fixture
def full() -> Metadata:
    table = TableRecord(
        4294967295,
        'sch"ema',
        "new\nline \x1b[31m \x85 \u2028 größe",
        10**12,
        2**60,
        "00000000000000ff",
        (("id", "integer"), ('"', "numeric(10,2)")),
        ("id",),
        {"access_method": "heap"},
    )
    return Metadata(
        id="incr_mydb_20251101_120000_a1b2",
        type=BackupType.INCREMENTAL,
        method=Method.PHYSICAL,
        timestamp_start="2025-11-01T12:00:00+00:00",
        timestamp_end="2025-11-01T12:00:12.500000+00:00",
        duration_seconds=12.5,
        engine="postgres",
        flavour="postgresql",
        server={"version": "15.18", "version_number": 150018, "details": {"a": [1, None, True]}},
        database={"name": "my\ndb", "settings": []},
        snapshot={},
        artefacts=(Artefact("a.sql.zst", 1, "aa", 2, "bb"), Artefact("schema.sql", 0, "cc", 0, "dd")),
        tables=(table, dataclasses.replace(table, identity=1, columns=(), key=())),
        statistics={"total_tables": 2},
        tool={"name": "dbtool"},
        clients=({"program": "pg_dump", "version": "15.18"},),
        options={"level": 1, "tables": ["a", "b"]},
        parent=ParentLink("full_mydb_20251101_110000_a1b2", "ee"),
        label="before the move",
        warnings=("one", "two"),
        compress=False,
    )


def test_nothing_is_lost(full: Metadata) -> None:
    assert metadata_file.from_document(metadata_file.to_document(full)) == full
    assert metadata_file.decode(metadata_file.encode(full)) == full


def test_the_document_is_what_json_gives(full: Metadata) -> None:
    document = json.loads(metadata_file.encode(full))
    digest = document.pop("metadata_sha256")
    assert document == metadata_file.to_document(full)
    assert list(document) == [field.name for field in dataclasses.fields(Metadata)]
    assert digest == metadata_file.claimed_digest(metadata_file.encode(full)[-metadata_file.TAIL_BYTES :])


def test_a_line_for_each_table(full: Metadata) -> None:
    text = metadata_file.encode(full).decode()
    lines = text.split("\n")
    (first,) = [line for line in lines if '"identity": 4294967295' in line]
    assert json.loads(first.strip().rstrip(","))["rows"] == 10**12
    assert "größe" in first
    assert not set(text) & set("\x1b\x85\u2028")
    assert text.splitlines() == lines[:-1]


def test_the_digest_is_made_as_documented(full: Metadata, tmp_path: Path) -> None:
    data = metadata_file.encode(full)
    (tmp_path / "metadata.json").write_bytes(data)
    recipe = "{ head -n -2 metadata.json | sed '$ s/,$//'; echo '}'; } | sha256sum"
    done = subprocess.run(["sh", "-c", recipe], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().split()[0] == json.loads(data)["metadata_sha256"]
    shortened = json.loads(data)
    del shortened["metadata_sha256"]
    head = data[: data.rindex(b",")] + b"\n}\n"
    assert json.loads(head) == shortened
    assert hashlib.sha256(head).hexdigest() == json.loads(data)["metadata_sha256"]


def test_any_flipped_bit_and_any_cut_is_seen() -> None:
    data = metadata_file.encode(metadata_of("full_mydb_20251101_120000_a1b2", (), ArchiveIndex({}, (), ())))
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        with pytest.raises(VerificationError, match=r"metadata\.json"):
            metadata_file.decode(bytes(changed))
        with pytest.raises(VerificationError):
            metadata_file.decode(data[:position])
    with pytest.raises(VerificationError):
        metadata_file.decode(data + b"\n")


def sealed(document: dict[str, object]) -> bytes:
    body = json.dumps(document, indent=2)[:-2].encode()
    digest = hashlib.sha256(body + b"\n}\n").hexdigest()
    return body + f',\n  "metadata_sha256": "{digest}"\n}}\n'.encode()


def test_unknown_fields_are_passed_over(full: Metadata) -> None:
    document = metadata_file.to_document(full)
    document["colour"] = "blue"
    document["tables"][0]["colour"] = "blue"
    document["artefacts"][0]["colour"] = "blue"
    document["parent"]["colour"] = "blue"
    assert metadata_file.decode(sealed(document)) == full


def test_a_newer_format_is_refused(full: Metadata) -> None:
    document = metadata_file.to_document(full)
    document["format_version"] = 2
    with pytest.raises(DbtoolError, match="format 2") as caught:
        metadata_file.decode(sealed(document))
    assert "newer" in (caught.value.hint or "")


@pytest.mark.parametrize("field", ["id", "type", "tables", "artefacts", "format_version", "server"])
def test_a_missing_field_is_named(full: Metadata, field: str) -> None:
    document = metadata_file.to_document(full)
    del document[field]
    with pytest.raises(VerificationError, match=field):
        metadata_file.decode(sealed(document))


def test_names_in_no_encoding(full: Metadata) -> None:
    odd = dataclasses.replace(full, database={"name": "caf\udce9"})
    data = metadata_file.encode(odd)
    assert data.isascii()
    assert metadata_file.decode(data) == odd


def test_many_tables_stay_small() -> None:
    columns = (("id", "integer"), ("name", "text"))
    tables = tuple(TableSummary(n, "public", f"t{n}", columns, ("id",)) for n in range(20_000))
    data = metadata_file.encode(metadata_of("x", (), ArchiveIndex({}, tables, ())))
    assert len(data) / 20_000 < 250
    assert len(metadata_file.decode(data).tables) == 20_000
