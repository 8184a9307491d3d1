"""Keys of rows: hashed, collected, compared, and rows taken out by them; alike in C and in Python."""

from __future__ import annotations

import os
import random
import sys
import threading
from array import array
from collections.abc import Callable
from typing import Any

import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from tests.rows.keyed import (
    CALM,
    FORMATS,
    MASK,
    Keyed,
    hashes_of,
    keyed_tables,
    packed,
    text_with_hash,
)

from dbtool import rows
from dbtool.rows import difference, key_hashes, partition, pure, pure_keys, tally_inserts, tally_lines

pytestmark = pytest.mark.usefixtures("implementation")


def digest_of(texts: list[bytes]) -> int:
    return sum(map(xxhash.xxh64_intdigest, texts)) & MASK


def a_set(table: Keyed, keys: list[bytes], *, exact: bool) -> Any:
    found = rows.KeySet(random.Random(len(keys)).choice([0, 1, len(keys), 1000]))
    if exact:
        found.add_keys(table.key_lines(keys), table.text_format)
    else:
        found.add(hashes_of(keys))
    return found


@CALM
@given(table=keyed_tables())
def test_hashes_are_those_of_the_keys(table: Keyed) -> None:
    text = table.text()
    expected = hashes_of(map(table.key_of, table.rows))
    assert key_hashes(text, table.key, table.text_format) == expected
    assert key_hashes(memoryview(b"x" + text)[1:], table.key, table.text_format) == expected
    tally = tally_lines if table.text_format == "copy" else tally_inserts
    assert tally(text, table.key)[2 if table.key else 1] == sum(array("Q", expected)) & MASK


@CALM
@given(table=keyed_tables(), data=st.data(), exact=st.booleans())
def test_rows_by_their_keys(table: Keyed, data: st.DataObject, exact: bool) -> None:
    keys = [table.key_of(row) for row in table.rows]
    chosen = data.draw(st.lists(st.sampled_from(keys), max_size=20)) if keys else []
    stranger = b"stranger" if table.text_format == "copy" else b"'stranger'"
    keys_in_set = [*chosen, stranger]
    found = a_set(table, keys_in_set, exact=exact)
    text = table.text()
    assert len(found) == len(set(keys_in_set))
    absent = [key for key in keys if key not in chosen]
    present = [key for key in keys if key in chosen]
    arguments = (table.key, table.text_format)
    assert found.absent_keys(text, *arguments) == (table.key_lines(absent), len(absent))
    assert found.present_keys(bytearray(text), *arguments) == (table.key_lines(present), len(present))
    left = [table.row_text(row) for row in table.rows if table.key_of(row) not in chosen]
    taken = [table.row_text(row) for row in table.rows if table.key_of(row) in chosen]
    expected = (len(left), digest_of(left), digest_of(absent), len(taken), digest_of(taken))
    for given_text in (text, bytearray(text), memoryview(text)):
        whole, *counted = found.without(given_text, *arguments)
        assert tuple(counted) == expected
        assert bytes(whole) == table.text(chosen)
        assert (whole is given_text) == (not taken)
        assert isinstance(whole, bytes) == (bool(taken) or given_text is text)
    tally = tally_lines if table.text_format == "copy" else tally_inserts
    assert tally(bytes(whole), table.key) == (*expected[:2], expected[2] if table.key else 0)


@CALM
@given(table=keyed_tables(), data=st.data())
def test_rows_are_seen_in_passing(table: Keyed, data: st.DataObject) -> None:
    keys = [table.key_of(row) for row in table.rows]
    chosen = data.draw(st.lists(st.sampled_from(keys), max_size=5)) if keys else []
    found, seen = a_set(table, chosen, exact=data.draw(st.booleans())), rows.KeySet()
    arguments = (table.text(), table.key, table.text_format)
    assert found.without(*arguments, seen) == found.without(*arguments, None) == found.without(*arguments)
    assert len(seen) == len(set(keys))
    assert difference(hashes_of(keys), seen) == b""
    with pytest.raises(ValueError, match="another set"):
        found.without(*arguments, found)


def test_statements_stay_whole() -> None:
    head, other = b"INSERT INTO `t` (`a`,`b`) VALUES\n", b"INSERT INTO `;\n` (`),\n(`) VALUES\n"
    text = head + b"(1,'a'),\n(2,'b'),\n(3,'c');\n" + other + b"(4,'d');\n" + head + b"(5,'e'),\n(6,'f');\n"
    for taken, left in [
        ([1], head + b"(2,'b'),\n(3,'c');\n" + other + b"(4,'d');\n" + head + b"(5,'e'),\n(6,'f');\n"),
        ([2, 6], head + b"(1,'a'),\n(3,'c');\n" + other + b"(4,'d');\n" + head + b"(5,'e');\n"),
        ([3, 4, 5], head + b"(1,'a'),\n(2,'b');\n" + head + b"(6,'f');\n"),
        ([1, 2, 3], other + b"(4,'d');\n" + head + b"(5,'e'),\n(6,'f');\n"),
        ([1, 2, 3, 4, 5, 6], b""),
    ]:
        found = rows.KeySet(0)
        found.add(hashes_of(b"%d" % number for number in taken))
        assert found.without(text, (0,), "insert")[0] == left


@pytest.mark.parametrize("text_format", FORMATS)
def test_keys_with_the_same_hash(text_format: str) -> None:
    one = text_with_hash(4711, text_format, seed=1)
    other = text_with_hash(4711, text_format, seed=2)
    assert one != other
    assert xxhash.xxh64_intdigest(one) == xxhash.xxh64_intdigest(other) == 4711
    table = Keyed(text_format, (1,), [(b"INSERT INTO `t` (`a`,`b`) VALUES\n", [[b"1", one], [b"2", other]])])
    hashed, exact = a_set(table, [one], exact=False), a_set(table, [one], exact=True)
    assert hashed.present_keys(table.text(), (1,), text_format)[1] == 2
    assert exact.present_keys(table.text(), (1,), text_format) == (table.key_lines([one]), 1)
    assert exact.absent_keys(table.text(), (1,), text_format) == (table.key_lines([other]), 1)
    assert exact.without(table.text(), (1,), text_format)[0] == table.text([one])
    assert exact.contains(4711)
    assert not exact.contains(4712)
    exact.add_keys(table.key_lines([one, other, one, other]), text_format)
    assert len(exact) == 2
    assert exact.without(table.text(), (1,), text_format)[0] == b""


@pytest.mark.parametrize("text_format", FORMATS)
@pytest.mark.parametrize("exact", [False, True])
def test_the_hash_zero(text_format: str, exact: bool) -> None:
    zero = text_with_hash(0, text_format)
    assert xxhash.xxh64_intdigest(zero) == 0
    table = Keyed(text_format, (0,), [(b"INSERT INTO `t` (`a`) VALUES\n", [[zero], [b"1"]])])
    nothing = rows.KeySet(0)
    assert not nothing.contains(0)
    assert nothing.absent_keys(table.text(), (0,), text_format)[1] == 2
    found = a_set(table, [zero, zero], exact=exact)
    assert len(found) == 1
    assert found.contains(0)
    assert found.present_keys(table.text(), (0,), text_format) == (table.key_lines([zero]), 1)
    assert difference(packed([0, 1, 0]), found) == packed([1])


@CALM
@given(
    members=st.lists(st.integers(0, MASK) | st.integers(0, 30), max_size=300),
    others=st.lists(st.integers(0, MASK) | st.integers(0, 30), max_size=50),
    expected=st.integers(0, 400),
)
def test_a_set_of_hashes(members: list[int], others: list[int], expected: int) -> None:
    found = rows.KeySet(expected)
    for start in range(0, len(members), 100):
        found.add(memoryview(packed(members[start : start + 100])))
    assert len(found) == len(set(members))
    assert all(map(found.contains, members))
    left = others + members[:10]
    missing = packed(value for value in left if value not in members)
    assert difference(packed(left), found) == missing
    assert difference((packed(left[i : i + 7]) for i in range(0, len(left), 7)), found) == missing


@pytest.mark.parametrize("top_bits", [0, 16])
@pytest.mark.parametrize("expected", [0, 20_000])
def test_a_set_of_many_hashes(top_bits: int, expected: int) -> None:
    rng = random.Random(top_bits)
    members = [rng.getrandbits(64) >> top_bits for _ in range(20_000)]
    others = [rng.getrandbits(64) >> top_bits for _ in range(20_000)]
    found = rows.KeySet(expected)
    found.add(packed(members))
    found.add(packed(members[:5000]))
    assert len(found) == len(set(members))
    assert difference(packed(members), found) == b""
    assert difference(packed(others), found) == packed(others)


@pytest.mark.parametrize("text_format", FORMATS)
def test_a_set_of_many_keys_with_their_bytes(text_format: str) -> None:
    names = [b"%d" % number for number in range(30_000)]
    table = Keyed(text_format, (0,), [(b"INSERT INTO `t` (`a`) VALUES\n", [[name] for name in names])])
    found = rows.KeySet(7)
    found.add_keys(table.key_lines(names[::2]), text_format)
    found.add_keys(memoryview(table.key_lines(names[::3])), text_format)
    members = sorted({*range(0, 30_000, 2), *range(0, 30_000, 3)})
    assert len(found) == len(members)
    present, count = found.present_keys(table.text(), (0,), text_format)
    assert (present, count) == (table.key_lines(names[number] for number in members), len(members))
    assert difference(hashes_of(names), found) == hashes_of(
        name for number, name in enumerate(names) if number % 2 and number % 3
    )


@pytest.mark.parametrize("expected", [0, 100_000])
def test_a_set_takes_sixteen_bytes_a_key_at_most(implementation: Any, expected: int) -> None:
    if implementation is pure:
        pytest.skip("only the C part keeps a set in flat memory")
    found = rows.KeySet(expected)
    hashes = os.urandom(8 * 100_000)
    for start in range(0, len(hashes), 8000):
        found.add(hashes[start : start + 8000])
        if len(found) > 1000:
            assert sys.getsizeof(found) <= 16.1 * max(len(found), expected) + 200
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    exact = rows.KeySet(100_000)
    exact.add_keys(lines)
    assert sys.getsizeof(exact) <= 16 * 100_000 + 1.3 * len(lines)


def test_empty_texts_and_sets() -> None:
    found = rows.KeySet(0)
    assert len(found) == 0
    assert difference(b"", found) == difference([], found) == b""
    for text_format in FORMATS:
        assert key_hashes(b"", (0,), text_format) == b""
        assert found.absent_keys(b"", (0,), text_format) == (b"", 0)
        assert found.without(b"", (0,), text_format) == (b"", 0, 0, 0, 0, 0)
    found.add(b"")
    assert len(found) == 0
    empty_key = rows.KeySet(1)
    empty_key.add_keys(b"\n")
    assert empty_key.without(b"\tx\na\ty\n", (0,), "copy")[0] == b"a\ty\n"


HEAD = b"INSERT INTO `t` (`a`,`b`) VALUES\n"
MALFORMED = [
    ("copy", b"a\tb", "no end"),
    ("copy", b"a\tb\nc\td", "no end"),
    ("copy", b"a\tb\nc\n", "fewer fields"),
    ("copy", b"\n", "fewer fields"),
    ("insert", b"(1,2);\n", "INSERT statements"),
    ("insert", HEAD, "INSERT statements"),
    ("insert", HEAD + b"(1,2)", "INSERT statements"),
    ("insert", HEAD + b"(1,2),\n", "INSERT statements"),
    ("insert", HEAD + b"(1,2);\n(3,4);\n", "INSERT statements"),
    ("insert", HEAD + b"(1,2),\n" + HEAD + b"(1,2);\n", "INSERT statements"),
    ("insert", HEAD + b"(1,'\n');\n", "INSERT statements"),
    ("insert", HEAD + b"(1,'\\x');\n", "INSERT statements"),
    ("insert", HEAD + b"(1,2);\n" + HEAD + b"(1);\n", "fewer fields"),
]


@pytest.mark.parametrize(("text_format", "text", "message"), MALFORMED)
def test_malformed_text_is_refused(text_format: str, text: bytes, message: str) -> None:
    found = rows.KeySet(10)
    found.add(hashes_of([b"a", b"c", b"1", b"b", b"2"]))
    for work in (key_hashes, found.absent_keys, found.present_keys, found.without):
        with pytest.raises(ValueError, match=message):
            work(text, (1,), text_format)


def test_text_cut_anywhere() -> None:
    """The end of the text is the end of what is read: nothing behind it makes a row of it."""
    first = HEAD + b"(1,'it\\'s'),\n(2,_utf8mb4'{}');\n"
    text = first + HEAD + b"(3,NULL);\n"
    found = rows.KeySet(0)
    found.add(hashes_of([b"2"]))
    for cut in range(1, len(text) + 1):
        view = memoryview(text)[:cut]
        if cut in (len(first), len(text)):
            assert found.without(view, (0,), "insert")[4] == 1
        else:
            with pytest.raises(ValueError, match="INSERT statements"):
                found.without(view, (0,), "insert")


@CALM
@given(table=keyed_tables("insert"), data=st.data())
def test_malformed_text_fails_alike_in_both(table: Keyed, data: st.DataObject) -> None:
    text = bytearray(table.text())
    if text:
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(text) - 1))
            text[place] = data.draw(st.sampled_from(b"(),;\n'\\`01N\0 x"))
    outcomes = []
    for work in (rows.key_hashes, pure_keys.key_hashes):
        try:
            outcomes.append(work(text, table.key, "insert"))
        except ValueError as error:
            outcomes.append(str(error).encode())
    assert outcomes[0] == outcomes[1]


def test_arguments_that_cannot_be() -> None:
    found = rows.KeySet(0)
    for work in (key_hashes, found.absent_keys, found.present_keys, found.without):
        with pytest.raises(ValueError, match="copy or insert"):
            work(b"a\n", (0,), "binary")
        for key in [(-1,), (1664,), tuple(range(33))]:
            with pytest.raises(ValueError, match="key"):
                work(b"a\n", key, "copy")
        with pytest.raises(ValueError, match="out of range"):
            work(b"", (4096,), "insert")
    with pytest.raises(ValueError, match="fewer"):
        rows.KeySet(-1)
    for number in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            found.contains(number)
    for odd in (b"1234567", bytes(9)):
        with pytest.raises(ValueError, match="8 bytes"):
            found.add(odd)
        with pytest.raises(ValueError, match="8 bytes"):
            difference(odd, found)
        with pytest.raises(ValueError, match="8 bytes"):
            partition(odd, 1)
    for bits in (-1, 17):
        with pytest.raises(ValueError, match="bits"):
            partition(b"", bits)


def test_sets_are_of_one_kind() -> None:
    hashed, copied, inserted = rows.KeySet(0), rows.KeySet(0), rows.KeySet(0)
    hashed.add(packed([1]))
    copied.add_keys(b"1\n")
    inserted.add_keys(b"(1)\n", "insert")
    attempts: list[tuple[rows.KeySet, Callable[[], object]]] = [
        (hashed, lambda: hashed.add_keys(b"1\n")),
        (copied, lambda: copied.add(packed([1]))),
        (copied, lambda: copied.add_keys(b"(1)\n", "insert")),
        (inserted, lambda: inserted.add_keys(b"1\n")),
        (inserted, lambda: inserted.without(b"1\n", (0,), "copy")),
        (copied, lambda: copied.absent_keys(HEAD + b"(1);\n", (0,), "insert")),
    ]
    for found, work in attempts:
        with pytest.raises(ValueError, match="one format"):
            work()
        assert len(found) == 1


@pytest.mark.parametrize(
    ("text_format", "lines"),
    [
        ("copy", b"1"),
        ("copy", b"1\n2"),
        ("insert", b"1\n"),
        ("insert", b"(1)"),
        ("insert", b"()\n"),
        ("insert", b"(1,)\n"),
        ("insert", b"(1),\n(2)\n"),
        ("insert", b"(1)\n('\n')\n"),
        ("insert", b"(1)\n\n"),
        ("insert", b"(1)\n("),
    ],
)
def test_lines_that_are_no_keys(text_format: str, lines: bytes) -> None:
    found = rows.KeySet(0)
    good = b"7\n" if text_format == "copy" else b"(7)\n"
    found.add_keys(good, text_format)
    with pytest.raises(ValueError, match="keys, each on its line"):
        found.add_keys(lines, text_format)
    assert len(found) == 1
    with pytest.raises(ValueError, match="copy or insert"):
        found.add_keys(good, "text")


@pytest.mark.parametrize("text_format", FORMATS)
@pytest.mark.parametrize("exact", [False, True])
def test_huge_rows(text_format: str, exact: bool) -> None:
    fields = [[b"'%b'" % (b"%d" % number * 1_200_000), b"%d" % number] for number in range(9)]
    table = Keyed(text_format, (1, 0), [(HEAD, fields[:5]), (HEAD, fields[5:])])
    keys = [table.key_of(row) for row in fields]
    assert key_hashes(table.text(), table.key, text_format) == hashes_of(keys)
    found = a_set(table, keys[3:6], exact=exact)
    assert found.without(table.text(), table.key, text_format)[0] == table.text(keys[3:6])
    assert found.present_keys(table.text(), table.key, text_format) == (table.key_lines(keys[3:6]), 3)


def test_a_key_in_the_last_of_many_columns() -> None:
    row = [b"%d" % number for number in range(1600)]
    for text_format, text in [
        ("copy", b"\t".join(row) + b"\n"),
        ("insert", HEAD + b"(" + b",".join(row) + b");\n"),
    ]:
        table = Keyed(text_format, (1599, 0, 800), [(HEAD, [row])])
        assert key_hashes(text, table.key, text_format) == hashes_of([table.key_of(row)])


@CALM
@given(hashes=st.lists(st.integers(0, MASK), max_size=200), bits=st.integers(0, 6))
def test_hashes_are_parted_by_their_highest_bits(hashes: list[int], bits: int) -> None:
    parts = partition(packed(hashes), bits)
    assert len(parts) == 1 << bits
    for number, part in enumerate(parts):
        assert part == packed(value for value in hashes if value >> (64 - bits) == number)


def test_threads_share_a_set() -> None:
    """Whoever looks while others add sees a set before or after, and in the end everything is there."""
    blocks = [os.urandom(8 * 4000) for _ in range(8)]
    names = [b"%d" % number for number in range(3000)]
    text = b"".join(name + b"\tx\n" for name in names)
    found = rows.KeySet(0)
    found.add(hashes_of(names[::2]))
    problems: list[BaseException] = []

    def look() -> None:
        try:
            for _ in range(20):
                assert found.present_keys(text, (0,), "copy")[1] == 1500
                assert found.without(text, (0,), "copy")[1] == 1500
                assert difference(hashes_of(names[::2]), found) == b""
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=found.add, args=(block,)) for block in blocks]
    threads += [threading.Thread(target=look) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert len(found) == 1500 + len({*array("Q", b"".join(blocks))})
    assert difference(blocks, found) == b""
