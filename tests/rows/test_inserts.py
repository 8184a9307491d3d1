"""The archive's INSERT statements are read: as LOAD DATA text, and to count and digest their rows."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from tests.rows.packets import HYPOTHESIS, PREFIX, Row, answer, begun, give, load_line, tables, text

from dbtool import rows
from dbtool.rows import insert_to_load, insert_to_parameters, pure_packets, tally_inserts

pytestmark = pytest.mark.usefixtures("implementation")


@HYPOTHESIS
@given(table=tables(), limit=st.integers(1, 200))
def test_statements_become_load_data_text(table: tuple[str, list[Row]], limit: int) -> None:
    kinds, given_rows = table
    stream = begun(kinds, statement_bytes=100)
    give(stream, answer(given_rows, len(kinds)))
    inserts = text(stream)
    pieces, start, count = b"", 0, 0
    while start < len(inserts):
        piece, start, taken = insert_to_load(inserts, start, limit)
        assert taken >= 1
        assert piece.endswith(b"\n")
        assert sum(map(len, piece.splitlines(keepends=True)[:-1])) < limit
        pieces += piece
        count += taken
    assert pieces == b"".join(load_line(row, kinds) for row in given_rows)
    assert count == len(given_rows)


GOOD = b"INSERT INTO `a``b\n` (`c`,`d (`) VALUES\n(1,'x'),\n(NULL,_utf8mb4'\\0\\'\\\\\\n\\r\\t\\Z');\n"


def test_names_in_a_statement_are_any() -> None:
    load = b"1\tx\n\\N\t\\0\\'\\\\\\n\\r\\t\\Z\n"
    assert insert_to_load(GOOD * 2, 0, 1 << 20) == (load * 2, 2 * len(GOOD), 4)
    assert tally_inserts(GOOD)[0] == 2
    with pytest.raises(ValueError, match="fewer fields"):
        tally_inserts(GOOD, (2,))


def test_the_example_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text()
    section = page[page.index("## MySQL's rows") : page.index("## The other files")]
    example = "".join(line[4:] for line in re.findall(r"(?m)^    (?:INSERT|\().*\n", section)[:3])
    hashes = [int(digits, 16) for digits in re.findall(r"`([0-9a-f]{16})`", section)]
    count, digest, key_digest = tally_inserts(example.encode(), (1, 0))
    rows_of_it = [line.strip(",;()").encode() for line in example.splitlines()[1:]]
    assert [*map(xxhash.xxh64_intdigest, rows_of_it), digest] == hashes
    keys = [xxhash.xxh64_intdigest(key) for key in (b"'x',1", b"'it\\'s',-2.5e-7")]
    assert (count, key_digest) == (2, sum(keys) % (1 << 64))


@pytest.mark.parametrize(
    "bad",
    [
        b"(1,'x');\n",
        b"\n",
        b";\n",
        b"INSERT INTO t (`a`) VALUES\n(1);\n",
        b"INSERT INTO `` (`a`) VALUES\n(1);\n",
        b"INSERT INTO `t` () VALUES\n(1);\n",
        b"INSERT INTO `t` (`a`,) VALUES\n(1);\n",
        b"INSERT INTO `t` (`a`) VALUES (1);\n",
        b"INSERT INTO `t` (`a`) VALUES\n",
        b"INSERT INTO `t` (`a`) VALUES\n();\n",
        b"INSERT INTO `t` (`a`) VALUES\n(1)",
        b"INSERT INTO `t` (`a`) VALUES\n(1);",
        b"INSERT INTO `t` (`a`) VALUES\n(1),\n",
        b"INSERT INTO `t` (`a`) VALUES\n(1,);\n",
        b"INSERT INTO `t` (`a`) VALUES\n(1 );\n",
        b"INSERT INTO `t` (`a`) VALUES\n(1), (2);\n",
        b"INSERT INTO `t` (`a`) VALUES\n(1);\n(2);\n",
        b"INSERT INTO `t` (`a`) VALUES\n(1),\nINSERT INTO `t` (`a`) VALUES\n(1);\n",
        b"INSERT INTO `t` (`a`) VALUES\n(1);\nDROP TABLE `t`;\n",
        b"INSERT INTO `t` (`a`) VALUES\n(NULLx);\n",
        b"INSERT INTO `t` (`a`) VALUES\n(null);\n",
        b"INSERT INTO `t` (`a`) VALUES\n(0x41);\n",
        b"INSERT INTO `t` (`a`) VALUES\n(NOW());\n",
        b"INSERT INTO `t` (`a`) VALUES\n('a);\n",
        b"INSERT INTO `t` (`a`) VALUES\n('a\\');\n",
        b"INSERT INTO `t` (`a`) VALUES\n('a''b');\n",
        b"INSERT INTO `t` (`a`) VALUES\n('a\\b');\n",
        b"INSERT INTO `t` (`a`) VALUES\n('a\\N');\n",
        b"INSERT INTO `t` (`a`) VALUES\n('a\tb');\n",
        b"INSERT INTO `t` (`a`) VALUES\n('0123456789abcdef0123456789\nb');\n",
        b"INSERT INTO `t` (`a`) VALUES\n('a\0b');\n",
        b"INSERT INTO `t` (`a`) VALUES\n(_latin1'a');\n",
        b"INSERT INTO `t` (`a`) VALUES\n(_utf8mb41);\n",
    ],
)
def test_what_is_not_the_grammar(bad: bytes) -> None:
    for given_text in (bad, GOOD + bad):
        with pytest.raises(ValueError, match="not made of the archive's"):
            insert_to_load(given_text, 0, 1 << 20)
        with pytest.raises(ValueError, match="not made of the archive's"):
            tally_inserts(given_text)


@pytest.mark.parametrize(("start", "limit"), [(-1, 1), (len(GOOD) + 1, 1), (0, 0), (0, -5)])
def test_places_that_are_not_in_the_text(start: int, limit: int) -> None:
    with pytest.raises(ValueError, match="out of range"):
        insert_to_load(GOOD, start, limit)


def test_every_cut_of_statements_is_refused_or_whole() -> None:
    for end in range(len(GOOD)):
        if end:
            with pytest.raises(ValueError, match="not made of"):
                tally_inserts(GOOD[:end])
            with pytest.raises(ValueError, match="not made of"):
                insert_to_load(GOOD[:end], 0, 1 << 20)
    with pytest.raises(ValueError, match="not made of"):
        insert_to_load(GOOD, 5, 1 << 20)


@pytest.mark.skipif(not rows.is_native, reason="the C part was not built here")
def test_both_make_the_same_of_damaged_bytes(implementation: Any) -> None:
    """Bits turned over anywhere: the same outcome, but that the twin may want to see a packet's end first."""
    if implementation is rows.pure:
        pytest.skip("it is compared with itself")
    chance = random.Random(42)
    given_rows: list[Row] = [
        (b"%d" % n, b"text ' \\ \n" * (n % 40), None if n % 3 else b"{}") for n in range(60)
    ]
    whole = answer(given_rows, 3)
    inserts = begun("nsj")
    give(inserts, whole)
    inserts_text = text(inserts)
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 8))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        native, twin = outcome(begun("nsj", key=(0, 2)), data), outcome(twin_begun(), data)
        assert native == twin or twin[0] == rows.NEED
        damaged = bytearray(inserts_text)
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        assert tallied(rows, damaged) == tallied(pure_packets, damaged)
        assert loaded(rows, damaged) == loaded(pure_packets, damaged)


def twin_begun() -> Any:
    stream = pure_packets.PacketStream()
    stream.begin(b"nsj", (0, 2), None, PREFIX, 1 << 20)
    return stream


def outcome(stream: Any, data: bytearray) -> tuple[Any, ...]:
    try:
        status = give(stream, bytes(data))
    except ConnectionError as error:
        return (str(error),)
    if status == rows.NEED:
        return (status,)
    return status, stream.rows, stream.digest, stream.key_digest, stream.error, stream.warnings, text(stream)


def tallied(module: Any, data: bytearray) -> Any:
    try:
        return module.tally_inserts(data, (1, 0))
    except ValueError as error:
        return str(error)


def loaded(module: Any, data: bytearray) -> Any:
    try:
        return module.insert_to_load(data, 0, 1 << 20)
    except ValueError as error:
        return str(error)


def parameters_of(row: Row, kinds: str) -> list[bytes | None]:
    """What the server is to get of a row: NULL, or bytes."""
    fields = load_line(row, kinds).removesuffix(b"\n").split(b"\t")
    plain = {b"0": b"\0", b"t": b"\t", b"n": b"\n", b"r": b"\r", b"Z": b"\x1a"}
    return [
        None if field == rb"\N" else re.sub(rb"\\(.)", lambda m: plain.get(m[1], m[1]), field)
        for field in fields
    ]


def taken_apart(piece: bytes) -> list[bytes | None]:
    """The values of a piece of parameters."""
    found: list[bytes | None] = []
    place = 0
    while place < len(piece):
        place += 1
        if piece[place - 1] == 1:
            found.append(None)
            continue
        assert piece[place - 1] == 0
        size = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(piece[place], 0)
        length = int.from_bytes(piece[place + 1 : place + 1 + size], "little") if size else piece[place]
        place += 1 + size
        found.append(piece[place : place + length])
        place += length
    return found


@HYPOTHESIS
@given(table=tables(), limit=st.integers(1, 200))
def test_statements_become_parameters(table: tuple[str, list[Row]], limit: int) -> None:
    kinds, given_rows = table
    stream = begun(kinds, statement_bytes=100)
    give(stream, answer(given_rows, len(kinds)))
    inserts = text(stream)
    values: list[bytes | None] = []
    start, count = 0, 0
    while start < len(inserts):
        piece, start, taken = insert_to_parameters(inserts, start, limit)
        values += taken_apart(piece)
        count += taken
    assert values == [value for row in given_rows for value in parameters_of(row, kinds)]
    assert count == len(given_rows)


@pytest.mark.parametrize("length", [0, 250, 251, 65535, 65536, (1 << 24) - 1, 1 << 24])
def test_lengths_of_parameters(length: int) -> None:
    inserts = (
        b"INSERT INTO `t` (`a`,`b`) VALUES\n(NULL,'"
        + b"x" * max(length - 1, 0)
        + b"\\n" * min(length, 1)
        + b"');\n"
    )
    piece, end, count = insert_to_parameters(inserts, 0, 1)
    assert (end, count) == (len(inserts), 1)
    assert taken_apart(piece) == [None, b"x" * max(length - 1, 0) + b"\n" * min(length, 1)]


def test_parameters_of_no_statement() -> None:
    with pytest.raises(ValueError, match="INSERT statements"):
        insert_to_parameters(GOOD[:-2], 0, 1 << 20)
    with pytest.raises(ValueError, match="out of range"):
        insert_to_parameters(GOOD, len(GOOD) + 1, 1)
