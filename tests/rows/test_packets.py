"""MySQL's rows: packets become INSERT statements, in C and in Python."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from tests.rows.packets import (
    HYPOTHESIS,
    PREFIX,
    WHOLE,
    Row,
    Wire,
    answer,
    begun,
    give,
    load_line,
    row_payload,
    row_text,
    statements,
    tables,
    text,
)

from dbtool import rows
from dbtool.rows import insert_to_load, pure_packets, tally_inserts, text_of

pytestmark = pytest.mark.usefixtures("implementation")

MASK = (1 << 64) - 1
NOT_THE_PROTOCOL = "not its protocol"
ALL_BYTES = bytes(range(256))


def hashes(texts: list[bytes]) -> int:
    """The digest of these texts."""
    return sum(map(xxhash.xxh64_intdigest, texts)) & MASK


def test_the_implementation_is_the_one_that_is_asked_for(implementation: Any) -> None:
    stream = rows.packet_stream()
    assert isinstance(stream, pure_packets.PacketStream) == (not rows.is_native)


@HYPOTHESIS
@given(table=tables(), sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4), data=st.data())
def test_rows_become_statements_however_they_arrive(
    table: tuple[str, list[Row]], sizes: list[int], data: st.DataObject
) -> None:
    kinds, given_rows = table
    key = tuple(data.draw(st.lists(st.integers(0, len(kinds) - 1), unique=True, max_size=len(kinds))))
    stream = begun(kinds, key=key)
    assert give(stream, answer(given_rows, len(kinds), 7), sizes=sizes) == rows.DONE
    texts = [row_text(row, kinds) for row in given_rows]
    keys = [b",".join(row_text([row[field]], kinds[field]) for field in key) for row in given_rows]
    assert text(stream) == statements(PREFIX, texts)
    assert stream.length == len(text(stream))
    assert (stream.rows, stream.digest, stream.warnings) == (len(given_rows), hashes(texts), 7)
    assert stream.key_digest == (hashes(keys) if key else 0)
    assert tally_inserts(text(stream), key) == (stream.rows, stream.digest, stream.key_digest)


def test_every_byte_value_at_every_place() -> None:
    """Around the 16 bytes that are looked at together, and before and behind each other."""
    given_rows: list[Row] = [
        (b"x" * before + bytes([byte]) + b"y" * 3,) for before in range(34) for byte in range(256)
    ]
    given_rows += [(ALL_BYTES,), (ALL_BYTES[::-1] * 3,)]
    given_rows += [(bytes([byte]) * 40,) for byte in range(256)]
    stream = begun("s")
    assert give(stream, answer(given_rows, 1)) == rows.DONE
    inserts = text(stream)
    assert inserts == statements(PREFIX, [row_text(row, "s") for row in given_rows])
    assert not set(b"\0\t\r\x1a") & set(inserts)
    load, end, count = insert_to_load(inserts, 0, 1 << 30)
    assert (load, end, count) == (
        b"".join(load_line(row, "s") for row in given_rows),
        len(inserts),
        len(given_rows),
    )


@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_every_form_of_a_length(width: int) -> None:
    row = (b"", b"1", b"x" * 250)
    stream = begun("sns")
    wire = Wire().head(3).put(row_payload(row, width)).put(row_payload(row)).end()
    assert give(stream, bytes(wire.data)) == rows.DONE
    assert text(stream) == statements(PREFIX, [row_text(row, "sns")] * 2)


@pytest.mark.parametrize("size", [250, 251, 252, 65535, 65536, 262140, 262144, 300_000, 1 << 20])
@pytest.mark.parametrize("piece", [4096, 1 << 18])
def test_values_of_every_length(size: int, piece: int) -> None:
    value = (b"some text, 'quoted', \\ \n" * (size // 20))[:size]
    given_rows: list[Row] = [(b"1", value, None), (b"2", b"", value), (None, None, b"")]
    stream = begun("nsj", key=(0, 1))
    assert give(stream, answer(given_rows, 3), sizes=(piece, 1, piece - 7)) == rows.DONE
    texts = [row_text(row, "nsj") for row in given_rows]
    assert hashes(texts) == stream.digest
    assert tally_inserts(text(stream), (0, 1)) == (3, stream.digest, stream.key_digest)


# What comes before a row's second value decides where in its packets that value's length stands.
@pytest.mark.parametrize("before", [WHOLE - 20, *range(WHOLE - 10, WHOLE - 2)])
def test_rows_of_several_packets(before: int) -> None:
    large = b"ab'" + b"c" * (before - 3)
    row: Row = (large, b"42", b"\n" * 70_000, None, b"7" * 300)
    assert len(row_payload(row)) > WHOLE
    stream = begun("snsnn", key=(1, 4))
    assert (
        give(stream, answer([(b"a", b"1", b"", None, b"1"), row, (b"a", b"1", b"", None, b"1")], 5))
        == rows.DONE
    )
    small = row_text((b"a", b"1", b"", None, b"1"), "snsnn")
    big = row_text(row, "snsnn")
    expected = statements(PREFIX, [small]) + statements(PREFIX, [big]) + statements(PREFIX, [small])
    assert text(stream) == expected
    assert stream.digest == hashes([small, big, small])
    assert stream.key_digest == hashes([b"1,1", b"42," + b"7" * 300, b"1,1"])


@pytest.mark.parametrize("packets", [1, 2, 3])
def test_a_row_that_fills_its_packets_is_followed_by_an_empty_one(packets: int) -> None:
    value = b"x" * (packets * WHOLE - (4 if packets == 1 else 9))
    payload = row_payload([value])
    assert len(payload) == packets * WHOLE
    stream = begun("s")
    assert give(stream, answer([[value]], 1)) == rows.DONE
    assert text(stream) == statements(PREFIX, [b"'" + value + b"'"])


def test_all_columns_that_a_table_can_have() -> None:
    kinds = "n" * 4096
    row: Row = [b"%d" % number if number % 3 else None for number in range(4096)]
    stream = begun(kinds, key=(4095, 0, 1))
    assert give(stream, answer([row, row], 4096)) == rows.DONE
    assert tally_inserts(text(stream), (4095, 0, 1)) == (2, stream.digest, stream.key_digest)
    assert stream.key_digest == 2 * xxhash.xxh64_intdigest(b"NULL,NULL,1") & MASK


def test_no_rows_no_text() -> None:
    stream = begun("sn")
    assert give(stream, answer([], 2)) == rows.DONE
    assert (text(stream), stream.rows, stream.digest, stream.length) == (b"", 0, 0, 0)
    assert tally_inserts(b"", (0,)) == (0, 0, 0)
    assert insert_to_load(b"", 0, 1) == (b"", 0, 0)


@pytest.mark.parametrize("statement_bytes", [0, 1, 60, 100, 1000])
def test_statements_have_about_the_size_that_is_asked_for(statement_bytes: int) -> None:
    given_rows: list[Row] = [(b"%d" % number, b"x" * (number % 50)) for number in range(200)]
    given_rows.insert(100, (b"0", b"y" * 5000))
    stream = begun("ns", statement_bytes=statement_bytes)
    assert give(stream, answer(given_rows, 2)) == rows.DONE
    parts = text(stream).split(b";\n")
    assert parts.pop() == b""
    assert all(part.startswith(PREFIX + b"(") for part in parts)
    assert b",\n".join(part.removeprefix(PREFIX) for part in parts) == b",\n".join(
        b"(" + row_text(row, "ns") + b")" for row in given_rows
    )
    for part in parts:
        assert len(part) <= statement_bytes + 10 or part.count(b"\n") == 1
        assert b"yyy" not in part or part.count(b"\n") == 1  # a large row is alone
    if statement_bytes == 1000:
        assert len(parts) < 15


def test_texts_of_about_the_size_that_is_asked_for() -> None:
    given_rows: list[Row] = [(b"%d" % number, b"some text") for number in range(5000)]
    stream = begun("ns", statement_bytes=300)
    data, texts, digest, count = answer(given_rows, 2), [], 0, 0
    stream.reset(b"-- head\n")
    status = give(stream, data, 1000)
    while status == rows.MORE:
        assert stream.length >= 1000
        stream.finish_text()
        stream.append(b"-- foot\n")
        texts.append(text(stream))
        digest, count = digest + stream.digest, count + stream.rows
        stream.reset(b"-- head\n")
        assert (stream.rows, stream.digest, stream.length) == (0, 0, 8)
        status = stream.advance(1000)
        if status == rows.NEED:  # all of it had room in the input, or not
            pytest.fail("the whole answer had arrived")
    assert status == rows.DONE
    texts.append(text(stream) + b"-- foot\n")
    digest, count = digest + stream.digest, count + stream.rows
    assert all(len(part) < 1100 for part in texts)
    inserts = b"".join(part.removeprefix(b"-- head\n").removesuffix(b"-- foot\n") for part in texts)
    assert (count, digest & MASK) == tally_inserts(inserts)[:2]
    assert insert_to_load(inserts, 0, 1 << 30)[0] == b"".join(load_line(row, "ns") for row in given_rows)


def test_a_text_has_a_row_at_least() -> None:
    stream = begun("s")
    stream.reset(b"a head that is longer than the target\n")
    assert give(stream, answer([[b"1"], [b"2"]], 1), 5) == rows.MORE
    assert stream.rows == 1


def test_one_query_after_the_other() -> None:
    stream = begun("s")
    for count in (3, 0, 5):
        stream.begin(b"s", (0,), None, PREFIX, 1000)
        assert give(stream, answer([[b"%d" % number] for number in range(count)], 1)) == rows.DONE
        assert (stream.rows, stream.error) == (count, None)
        with pytest.raises(ConnectionError, match="answer is over"):
            stream.advance(1)
    # After an error as well, in the middle of a statement.
    stream.begin(b"s", (0,), None, PREFIX, 1000)
    wire = Wire().head(1).put(row_payload([b"x"])).error(1317, b"interrupted")
    assert give(stream, bytes(wire.data)) == rows.SERVER_ERROR
    stream.begin(b"n", (0,), None, PREFIX, 1000)
    assert give(stream, answer([[b"5"]], 1)) == rows.DONE
    assert text(stream) == PREFIX + b"(5);\n"


@pytest.mark.parametrize("place", ["head", "definitions", "rows", "shutdown"])
def test_an_error_of_the_server(place: str) -> None:
    wire = Wire()
    if place == "definitions":
        wire.put(b"\x02").put(b"\x03def")
    elif place in ("rows", "shutdown"):
        wire.head(2).put(row_payload([b"1", b"one"]))
    wire.error(1412, b"Table definition has changed", number=0 if place == "shutdown" else None)
    for sizes in ((1 << 18,), (1,), (3,)):
        stream = begun("ns")
        assert give(stream, bytes(wire.data), sizes=sizes) == rows.SERVER_ERROR
        assert stream.error == b"\xff\x84\x05#HY000Table definition has changed"
        with pytest.raises(ConnectionError, match="answer is over"):
            stream.advance(1)


def test_buckets() -> None:
    buckets = bytearray(8 * 16)
    given_rows: list[Row] = [(b"%d" % number, b"x") for number in range(1000)]
    for part in (given_rows[:300], given_rows[300:]):
        stream = begun("ns", key=(0,), buckets=buckets)
        give(stream, answer(part, 2))
    expected = array("Q", bytes(8 * 16))
    for row in given_rows:
        value = xxhash.xxh64_intdigest(row[0] or b"")
        expected[value >> 60] = (expected[value >> 60] + value) & MASK
    assert array("Q", bytes(buckets)) == expected


HEAD = bytes(Wire().head(2).data)


def after_head(payload: bytes, **options: Any) -> bytes:
    """A packet where rows are expected."""
    return HEAD + bytes(Wire(5).put(payload, **options).data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", NOT_THE_PROTOCOL),
        (bytes(8), NOT_THE_PROTOCOL),
        (bytes(Wire().put(b"\0\0\0\2\0\0\0").data), NOT_THE_PROTOCOL),  # OK: a statement without rows
        (bytes(Wire().put(b"\xfb/etc/passwd").data), NOT_THE_PROTOCOL),  # give me that file
        (bytes(Wire().put(b"\x03").data) + bytes(9), "other columns"),
        (bytes(Wire().put(b"\xfc\x02\x01").data) + bytes(9), "other columns"),
        (bytes(Wire().put(b"\xfe").data), "other columns"),
        (bytes(Wire().put(b"\x02\x00").data), NOT_THE_PROTOCOL),
        (bytes(Wire().put(b"\x02").end().data), NOT_THE_PROTOCOL),
        (bytes(Wire().put(b"\x02").put(b"\x03def").put(b"\x03def").put(b"\x03def").data), NOT_THE_PROTOCOL),
        (HEAD + b"\x03\x00\x07\x01a\x01b", NOT_THE_PROTOCOL),  # a packet is missing
        (HEAD + b"\x00\x00\x00\x05\x05", NOT_THE_PROTOCOL),
        (after_head(b"\x011"), NOT_THE_PROTOCOL),  # a field is missing
        (after_head(b"\x011\x01a\x00"), NOT_THE_PROTOCOL),  # more than the fields
        (after_head(b"\x011\x02a"), NOT_THE_PROTOCOL),
        (after_head(b"\x011\xfc\x01"), NOT_THE_PROTOCOL),
        (after_head(b"\x011\xfd\xff\xff\xff" + b"x" * 100), NOT_THE_PROTOCOL),
        (after_head(b"\x011\xfe" + b"\xff" * 8 + b"x" * 100), NOT_THE_PROTOCOL),
        (after_head(b"\x011\xff"), NOT_THE_PROTOCOL),
        (after_head(b"\x00\x01a"), "a number that is none"),
        (after_head(b"\x031,2\x01a"), "a number that is none"),
        (after_head(b"\x0e1);DROP TABLE--\x01a"), "a number that is none"),
        (after_head(b"\x03inf\x01a"), "a number that is none"),
        (after_head(b"\x191111111111111111111111111\n\x01a"[:1] + b"1" * 24 + b"\n" + b"\x01a"), "a number that is none"),
        (after_head(b"\xfe\0\0\x0a\0"), NOT_THE_PROTOCOL),  # one more result comes
        (after_head(b"\xfe\0\0"), NOT_THE_PROTOCOL),
        (after_head(b"\xfe\0\0\2\0") + b"x", NOT_THE_PROTOCOL),  # behind the end
        (after_head(b"\xff" + b"x" * 70_000), NOT_THE_PROTOCOL),
        # The same in rows that are worked on while they arrive.
        (after_head(b"\x011\xfd\xff\xff\x7f" + b"x" * 400_000), NOT_THE_PROTOCOL),
        (after_head(b"\x011\xfd\xff\xff\x03" + b"x" * 400_000), NOT_THE_PROTOCOL),
        (after_head(b"\x011\xfd\xff\xff\x03" + b"x" * 0x3FFFF + b"\xfb"), NOT_THE_PROTOCOL),
        (after_head(b"\x00\xfd\xff\xff\x03" + b"x" * 0x3FFFF), "a number that is none"),
        (after_head(b"\xfd\xff\xff\x03" + b"1" * 0x3FFFE + b"x" + b"\x01a"), "a number that is none"),
        (after_head(b"\xff" + b"x" * WHOLE), NOT_THE_PROTOCOL),
        (after_head(b"\xfb\xfe" + (1 << 40).to_bytes(8, "little") + b"x" * WHOLE), NOT_THE_PROTOCOL),
        (after_head(b"\xfb\xfd\xff\xff\xff" + b"x" * WHOLE, number=5), NOT_THE_PROTOCOL),
    ],
)  # fmt: skip
def test_what_is_no_answer(data: bytes, message: str) -> None:
    for sizes in ((1 << 18,), (4096, 5)):
        stream = begun("ns")
        with pytest.raises(ConnectionError, match=message):
            give(stream, data, sizes=sizes)
        with pytest.raises(ConnectionError, match=message):
            stream.advance(1)
        # The next query may be answered by another server.
        stream.begin(b"s", (), None, PREFIX, 1000)
        assert give(stream, answer([[b"1"]], 1)) == rows.DONE


def test_numbers_of_packets_begin_again_after_255() -> None:
    stream = begun("s")
    given_rows: list[Row] = [[b"%d" % number] for number in range(1000)]
    assert give(stream, answer(given_rows, 1)) == rows.DONE
    assert stream.rows == 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((b"", (), None, PREFIX, 1), "kinds of columns"),
        ((b"sx", (), None, PREFIX, 1), "kinds of columns"),
        ((b"s" * 4097, (), None, PREFIX, 1), "kinds of columns"),
        ((b"ss", (2,), None, PREFIX, 1), "out of range"),
        ((b"ss", (-1,), None, PREFIX, 1), "out of range"),
        ((b"s", (0,) * 33, None, PREFIX, 1), "at most 32"),
        ((b"s", (0,), bytearray(24), PREFIX, 1), "power of two"),
        ((b"s", (0,), bytearray(0), PREFIX, 1), "power of two"),
        ((b"s", (0,), None, PREFIX, -1), "less than no bytes"),
    ],
)
def test_what_no_query_begins_with(arguments: Any, message: str) -> None:
    stream = rows.packet_stream()
    with pytest.raises(ValueError, match=message):
        stream.begin(*arguments)
    with pytest.raises(ConnectionError, match="no query"):
        stream.advance(1)


def test_the_stream_is_not_misused() -> None:
    stream = begun("s")
    with pytest.raises(ValueError, match="more was taken"):
        stream.take(-1)
    with pytest.raises(ValueError, match="more was taken"):
        stream.take(1 << 30)
    give(stream, answer([[b"1"]], 1)[:-9])
    with pytest.raises(ValueError, match="still open"):
        stream.append(b"x")
    stream.finish_text()
    stream.finish_text()
    with text_of(stream) as view:
        assert bytes(view) == PREFIX + b"('1');\n"
        if rows.is_native:
            with pytest.raises(BufferError):
                stream.reset()
            with pytest.raises(BufferError):
                stream.advance(1)
