"""Hashes and tallies of rows: right by their specification, and alike in C and in Python."""

from __future__ import annotations

import random
from typing import Any

import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

MASK = (1 << 64) - 1
CALM = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
FIELD = st.binary(max_size=40).map(lambda field: field.replace(b"\n", b"").replace(b"\t", b""))


@CALM
@given(data=st.binary(max_size=300), seed=st.integers(0, MASK))
def test_hash_is_xxh64(implementation: Any, data: bytes, seed: int) -> None:
    assert implementation.xxh64(data, seed) == xxhash.xxh64_intdigest(data, seed)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 7, 8, 31, 32, 33, 63, 64, 65, 65536, 65537, 1_000_003])
def test_hash_of_every_length_class(implementation: Any, size: int) -> None:
    data = random.Random(size).randbytes(size)
    for view in (data, bytearray(data), memoryview(data), memoryview(b"x" + data + b"y")[1:-1]):
        assert implementation.xxh64(view) == xxhash.xxh64_intdigest(data)


def test_hash_of_published_values(implementation: Any) -> None:
    assert implementation.xxh64(b"") == 0xEF46DB3751D8E999
    assert implementation.xxh64(b"abc") == 0x44BC2CF5AD770999


@CALM
@given(data=st.data(), width=st.integers(1, 6), count=st.integers(0, 20))
def test_tally_is_the_sum_of_the_rows(
    implementation: Any, data: st.DataObject, width: int, count: int
) -> None:
    rows = [data.draw(st.lists(FIELD, min_size=width, max_size=width)) for _ in range(count)]
    key = tuple(data.draw(st.permutations(range(width)))[: data.draw(st.integers(0, width))])
    lines = [b"\t".join(row) for row in rows]
    text = b"".join(line + b"\n" for line in lines)
    expected_key = (
        sum(xxhash.xxh64_intdigest(b"\t".join(row[position] for position in key)) for row in rows) & MASK
    )
    expected = (count, sum(map(xxhash.xxh64_intdigest, lines)) & MASK, expected_key if key else 0)
    assert implementation.tally_lines(text, key) == expected
    assert implementation.tally_lines(memoryview(text), key) == expected
    random.Random(count).shuffle(lines)
    assert implementation.tally_lines(b"".join(line + b"\n" for line in lines), key) == expected


def test_rows_without_columns_count(implementation: Any) -> None:
    assert implementation.tally_lines(b"\n\n\n", ()) == (3, 3 * xxhash.xxh64_intdigest(b"") & MASK, 0)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b"a\tb", ()),
        (b"a\tb\nc", (0,)),
        (b"a\tb\nc\n", (1,)),
        (b"\n", (1,)),
    ],
)
def test_text_that_is_cut_off_is_refused(implementation: Any, text: bytes, key: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="row"):
        implementation.tally_lines(text, key)


@pytest.mark.parametrize("key", [(-1,), (1664,), tuple(range(33))])
def test_keys_that_cannot_be_are_refused(implementation: Any, key: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="key"):
        implementation.tally_lines(b"a\tb\n", key)
    with pytest.raises(ValueError, match="key"):
        implementation.CopyStream(0, None).begin(key, None)


def test_key_in_the_last_of_many_columns(implementation: Any) -> None:
    row = b"\t".join(b"%d" % number for number in range(1600))
    _, _, digest = implementation.tally_lines(row + b"\n", (1599, 0, 800))
    assert digest == xxhash.xxh64_intdigest(b"1599\t0\t800")


@pytest.mark.parametrize("size", [0, 7, 12, 24])
def test_buckets_must_be_a_power_of_two(implementation: Any, size: int) -> None:
    with pytest.raises(ValueError, match="power of two"):
        implementation.CopyStream(0, None).begin((0,), bytearray(size))
