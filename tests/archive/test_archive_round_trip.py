"""The framed archive: what goes in comes out, standard tools read it, and damage is found."""

from __future__ import annotations

import json
import random
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import xxhash
import zstandard as zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbtool.archive.index import decode_index, digest_text, encode_index
from dbtool.archive.reader import ArchiveReader
from dbtool.archive.writer import ArchiveWriter, pack
from dbtool.archive.zstd import compress_frame
from dbtool.errors import DbtoolError, VerificationError
from dbtool.model.archive import ArchiveIndex, Block, Frame, FrameKind, SchemaObject, TableSummary
from dbtool.storage.local import LocalStore

NAME = "mydb.sql.zst"
CALM = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
HASH = st.integers(0, 2**64 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
OBJECT = st.builds(
    SchemaObject,
    number=st.integers(1, 10**9),
    kind=st.sampled_from(["TABLE", "INDEX", "FK CONSTRAINT"]),
    schema=TEXT,
    name=TEXT,
    owner=TEXT,
    identity=st.integers(0, 2**32 - 1),
    needs=st.lists(st.integers(1, 10**9), max_size=4).map(tuple),
    offset=st.integers(0, 99),
    length=st.integers(0, 99),
    owner_offset=st.integers(0, 99),
    tablespace=st.none() | TEXT,
    access_method=st.none() | TEXT,
    sql=st.none() | TEXT,
)
TABLE = st.builds(
    TableSummary,
    identity=st.integers(1, 2**32 - 1),
    schema=TEXT,
    name=TEXT,
    columns=st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple),
    key=st.lists(TEXT, max_size=3).map(tuple),
    rows=st.integers(0, 10**12),
    bytes=st.integers(0, 10**15),
    digest=HASH,
    key_digest=HASH,
    key_buckets=st.lists(HASH, max_size=4).map(lambda sums: struct.pack(f"<{len(sums)}Q", *sums)),
    details=st.dictionaries(TEXT, st.none() | st.booleans() | st.integers() | TEXT, max_size=3),
)


def data_block(text: bytes, rows: int, digest: int, bounds: tuple[str, str] | None) -> Block:
    return Block(FrameKind.DATA, text, 0, rows, digest, digest ^ 1, 0, 0, bounds)


DATA = st.builds(
    data_block,
    st.binary(max_size=3000),
    st.integers(1, 10**6),
    HASH,
    st.none() | st.tuples(TEXT, TEXT),
)


def write(path: Path, blocks: Sequence[Block], tables: Sequence[TableSummary], **finish: Any) -> ArchiveIndex:
    """An archive with header and footer around the blocks, in a store at `path`."""
    store = LocalStore(path)
    with store.put(NAME) as upload:
        writer = ArchiveWriter(upload)
        for block in (Block(FrameKind.HEADER, b"-- head\n"), *blocks, Block(FrameKind.FOOTER, b"-- foot\n")):
            writer.add(pack(block, 1))
        index = writer.finish(
            finish.get("backup", {"id": "x"}),
            tables,
            finish.get("omitted", ()),
            finish.get("warnings", ()),
        )
        assert writer.plain_bytes == sum(frame.plain_bytes for frame in index.frames)
        upload.commit()
    return index


def a_table(name: str = "t") -> TableSummary:
    return TableSummary(16384, "public", name, (("id", "integer"),), ("id",))


def sample(path: Path) -> tuple[list[bytes], ArchiveIndex]:
    """A small archive of several frames, and the texts of its frames."""
    texts = [random.Random(number).randbytes(400) + b"\n" for number in range(4)]
    blocks = [Block(FrameKind.BEFORE_DATA, texts[0])]
    blocks += [data_block(text, 3, number, None) for number, text in enumerate(texts[1:])]
    index = write(path, blocks, [a_table()])
    return [b"-- head\n", *texts, b"-- foot\n"], index


@CALM
@given(
    schema=st.lists(st.tuples(st.binary(max_size=500), st.lists(OBJECT, max_size=3)), max_size=3),
    data=st.lists(DATA, max_size=5),
    omitted=st.lists(OBJECT, max_size=2),
    table=TABLE,
    warnings=st.lists(TEXT, max_size=2),
)
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory,
    schema: list[tuple[bytes, list[SchemaObject]]],
    data: list[Block],
    omitted: list[SchemaObject],
    table: TableSummary,
    warnings: list[str],
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    before = [Block(FrameKind.BEFORE_DATA, text, objects=tuple(objects)) for text, objects in schema]
    backup = {"id": "full_x", "database": {"name": 'naïve "db"\n'}, "list": [1, None, True]}
    index = write(
        folder, [*before, *data], [table], backup=backup, omitted=tuple(omitted), warnings=tuple(warnings)
    )
    reader = ArchiveReader(LocalStore(folder), NAME)
    assert reader.index == index
    assert reader.index.tables == (table,)
    assert reader.index.backup == backup
    for number, block in enumerate([*before, *data], 1):
        frame = reader.index.frames[number]
        assert reader.read(number) == block.text
        assert (frame.kind, frame.rows, frame.digest, frame.key_digest, frame.bounds, frame.objects) == (
            block.kind,
            block.rows,
            block.digest,
            block.key_digest,
            block.bounds,
            block.objects,
        )


def test_the_file_is_ordinary_zstd(tmp_path: Path) -> None:
    texts, _ = sample(tmp_path)
    file = tmp_path / NAME
    assert subprocess.run(["zstd", "-q", "-t", file], check=False).returncode == 0
    assert subprocess.run(["zstd", "-dc", file], capture_output=True, check=True).stdout == b"".join(texts)
    listing = subprocess.run(["zstd", "-lv", file], capture_output=True, check=True).stdout.decode()
    assert "Check: XXH64" in listing
    assert "Number of Frames: 6" in listing or "# Zstandard Frames: 6" in listing


def seekable_entries(data: bytes) -> list[tuple[int, int, int]]:
    """The seek table, read as zstd's seekable format describes it and in no way of ours."""
    (magic,) = struct.unpack("<I", data[-4:])
    descriptor = data[-5]
    (count,) = struct.unpack("<I", data[-9:-5])
    assert magic == 0x8F92EAB1
    assert descriptor == 0x80  # checksums, and the reserved and unused bits zero
    size = 12 * count + 9
    assert struct.unpack("<II", data[-size - 8 : -size]) == (0x184D2A5E, size)
    return [struct.unpack_from("<III", data, len(data) - size + 12 * entry) for entry in range(count)]


def test_the_seek_table_follows_the_published_format(tmp_path: Path) -> None:
    texts, _ = sample(tmp_path)
    data = (tmp_path / NAME).read_bytes()
    entries = seekable_entries(data)
    assert len(entries) == len(texts) + 1  # our index is a frame without content
    offset = 0
    for (stored, plain, checksum), text in zip(entries, [*texts, b""], strict=True):
        piece = data[offset : offset + stored]
        assert plain == len(text)
        assert checksum == xxhash.xxh64_intdigest(text) & 0xFFFFFFFF
        if text:
            assert zstd.decompress(piece) == text
            assert zstd.frame_content_size(piece) == len(text)
        else:
            magic, size = struct.unpack_from("<II", piece)
            assert 0x184D2A50 <= magic <= 0x184D2A5F
            assert size == len(piece) - 8
        offset += stored
    assert offset + 8 + 12 * len(entries) + 9 == len(data)


def test_the_index_is_json_that_anybody_can_read(tmp_path: Path) -> None:
    _, index = sample(tmp_path)
    data = (tmp_path / NAME).read_bytes()
    entries = seekable_entries(data)
    start = sum(stored for stored, _, _ in entries[:-1])
    payload = data[start + 8 : start + entries[-1][0]]
    assert payload[:8] == b"dbtoolix"
    document = json.loads(zstd.decompress(payload[8:]))
    assert document["format"] == {"name": "dbtool-archive", "version": 1}
    assert [frame["kind"] for frame in document["frames"]] == [frame.kind.value for frame in index.frames]
    assert document["tables"][0]["digest"] == digest_text(index.tables[0].digest)


def outcome(path: Path, texts: list[bytes]) -> str:
    """What reading every frame says: "found", or "whole" if nothing differs. Anything else fails."""
    try:
        reader = ArchiveReader(LocalStore(path), NAME)
        found = [reader.read(number) for number in range(len(reader.index.frames))]
    except VerificationError:
        return "found"
    assert found == texts
    return "whole"


def test_a_bit_flipped_anywhere_is_found(tmp_path: Path) -> None:
    texts, index = sample(tmp_path)
    file = tmp_path / NAME
    data = file.read_bytes()
    assert outcome(tmp_path, texts) == "whole"
    harmless = 0
    for position in range(len(data)):
        file.write_bytes(
            data[:position] + bytes([data[position] ^ (1 << position % 8)]) + data[position + 1 :]
        )
        if outcome(tmp_path, texts) == "whole":
            # The text is the same all the same: no restore would differ.
            assert ArchiveReader(LocalStore(tmp_path), NAME).index == index
            harmless += 1
    assert harmless <= 4  # bits of zstd's frame headers that mean nothing here


@CALM
@given(data=st.data())
def test_bytes_damaged_in_any_way_are_found_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("archive")
    texts, _ = sample(folder)
    file = folder / NAME
    whole = file.read_bytes()
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, min(len(whole), start + 40)))
    file.write_bytes(whole[:start] + data.draw(st.binary(max_size=40)) + whole[end:])
    outcome(folder, texts)


def test_cut_off_anywhere(tmp_path: Path) -> None:
    texts, _ = sample(tmp_path)
    file = tmp_path / NAME
    data = file.read_bytes()
    for size in range(len(data)):
        file.write_bytes(data[:size])
        assert outcome(tmp_path, texts) == "found", size


@pytest.mark.parametrize(("head", "tail"), [(b"x", b""), (b"", b"x"), (b"", b"\0" * 100), (b"\n" * 8, b"")])
def test_bytes_before_or_behind_are_found(tmp_path: Path, head: bytes, tail: bytes) -> None:
    texts, _ = sample(tmp_path)
    file = tmp_path / NAME
    file.write_bytes(head + file.read_bytes() + tail)
    assert outcome(tmp_path, texts) == "found"


def test_frames_that_changed_places_are_found(tmp_path: Path) -> None:
    """Each frame is whole in itself: only the places tell."""
    texts, index = sample(tmp_path)
    file = tmp_path / NAME
    data = file.read_bytes()
    first, second = index.frames[2], index.frames[3]
    swapped = (
        data[: first.offset]
        + data[second.offset : second.offset + second.stored_bytes]
        + data[first.offset : first.offset + first.stored_bytes]
        + data[second.offset + second.stored_bytes :]
    )
    assert len(swapped) == len(data)
    file.write_bytes(swapped)
    assert outcome(tmp_path, texts) == "found"


def test_a_frame_in_the_wrong_order_is_found(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    kinds = (FrameKind.HEADER, FrameKind.AFTER_DATA, FrameKind.BEFORE_DATA, FrameKind.FOOTER)
    with store.put(NAME) as upload:
        writer = ArchiveWriter(upload)
        for kind in kinds:
            writer.add(pack(Block(kind, b"x\n"), 1))
        writer.finish({}, (), (), ())
        upload.commit()
    with pytest.raises(VerificationError, match="out of order"):
        ArchiveReader(store, NAME)


@pytest.mark.parametrize("kinds", [(), (FrameKind.HEADER,), (FrameKind.HEADER, FrameKind.LAST)])
def test_an_archive_without_an_end_is_none(tmp_path: Path, kinds: tuple[FrameKind, ...]) -> None:
    store = LocalStore(tmp_path)
    with store.put(NAME) as upload:
        writer = ArchiveWriter(upload)
        for kind in kinds:
            writer.add(pack(Block(kind, b"x\n"), 1))
        writer.finish({}, (), (), ())
        upload.commit()
    with pytest.raises(VerificationError, match="no beginning or no end"):
        ArchiveReader(store, NAME)


def test_damage_is_told_by_the_frames_name(tmp_path: Path) -> None:
    _, index = sample(tmp_path)
    file = tmp_path / NAME
    data = bytearray(file.read_bytes())
    data[index.frames[3].offset + 20] ^= 0xFF
    file.write_bytes(data)
    reader = ArchiveReader(LocalStore(tmp_path), NAME)
    reader.read(2)
    with pytest.raises(VerificationError, match=r"frame 3 \(data of public\.t\)"):
        reader.read(3)


def reencoded(index: ArchiveIndex, change: Callable[[Any], object]) -> bytes:
    """The index as another dbtool might have written it."""
    document = json.loads(zstd.decompress(encode_index(index)[16:]))
    change(document)
    payload = b"dbtoolix" + compress_frame(json.dumps(document).encode(), 3)
    return struct.pack("<II", 0x184D2A5D, len(payload)) + payload


def test_a_newer_format_is_told_apart_from_damage() -> None:
    index = ArchiveIndex({}, (), (Frame(FrameKind.HEADER, 0, 1, 1),))
    with pytest.raises(VerificationError, match="has format 2") as caught:
        decode_index(reencoded(index, lambda document: document["format"].update(version=2)))
    assert "newer dbtool" in str(caught.value.hint)
    assert decode_index(encode_index(index)) == index


def test_fields_that_a_later_dbtool_added_are_passed_over() -> None:
    view = SchemaObject(5, "VIEW", "public", "v", needs=(1, 2))
    index = ArchiveIndex({}, (a_table(),), (Frame(FrameKind.HEADER, 0, 1, 1, objects=(view,)),), (view,))

    def change(document: Any) -> None:
        (table,), (frame,), (omitted,) = document["tables"], document["frames"], document["omitted"]
        for item in (document, table, frame, frame["objects"][0], omitted):
            item["of_a_later_version"] = {"any": [1]}

    assert decode_index(reencoded(index, change)) == index


def test_an_empty_file_and_other_files(tmp_path: Path) -> None:
    file = tmp_path / NAME
    other = zstd.compress(b"CREATE TABLE t (a int);\n" * 100)
    for data in (b"", b"x", b"\0" * 9, b"\0" * 4096, other, b"-- a plain script\n" * 50):
        file.write_bytes(data)
        with pytest.raises(DbtoolError) as caught:
            ArchiveReader(LocalStore(tmp_path), NAME)
        assert isinstance(caught.value, VerificationError)
