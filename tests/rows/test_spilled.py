"""Hashes of more rows than fit into memory: parted, spilled, and read back."""

from __future__ import annotations

import os
import random
import threading
from array import array
from collections import Counter
from pathlib import Path

import pytest
from tests.rows.keyed import packed

from dbtool.rows import SpilledHashes

pytestmark = pytest.mark.usefixtures("implementation")

MEBIBYTE = 1 << 20


def part_of(value: int, parts: int) -> int:
    return value * parts >> 64


@pytest.mark.parametrize("parts", [1, 2, 8])
@pytest.mark.parametrize("block", [1, 1000, 300_000])
def test_every_hash_comes_back_in_its_part(tmp_path: Path, parts: int, block: int) -> None:
    rng = random.Random(parts)
    count = 400_000 if block > 1 else 100
    hashes = [rng.getrandbits(64) for _ in range(count)]
    with SpilledHashes(tmp_path, parts) as spilled:
        for start in range(0, count, block):
            spilled.add(packed(hashes[start : start + block]))
        assert len(spilled) == count
        for number in range(parts):
            blocks = list(spilled.part(number))
            assert all(0 < len(found) <= MEBIBYTE and len(found) % 8 == 0 for found in blocks)
            expected = packed(value for value in hashes if part_of(value, parts) == number)
            assert b"".join(blocks) == expected
            assert (spilled.spilled_bytes > 0) == (8 * count // parts > MEBIBYTE)
        assert not any(tmp_path.iterdir())


def test_more_is_added_after_a_part_was_read(tmp_path: Path) -> None:
    with SpilledHashes(tmp_path, 2) as spilled:
        pieces = [os.urandom(3 * MEBIBYTE) for _ in range(3)]
        for number, piece in enumerate(pieces):
            spilled.add(piece)
            found = array("Q", b"".join(block for part in (0, 1) for block in spilled.part(part)))
            assert Counter(found) == Counter(array("Q", b"".join(pieces[: number + 1])))


def test_a_small_table_needs_no_file(tmp_path: Path) -> None:
    with SpilledHashes(tmp_path / "not there", 4) as spilled:
        spilled.add(packed(range(1000)))
        assert spilled.spilled_bytes == 0
        assert list(spilled.part(0)) == [packed(range(1000))]
        assert list(spilled.part(3)) == []
        with pytest.raises(FileNotFoundError):
            spilled.add(bytes(2 * MEBIBYTE))


def test_threads_add_at_the_same_time(tmp_path: Path) -> None:
    pieces = [os.urandom(MEBIBYTE // 2) for _ in range(8)]
    with SpilledHashes(tmp_path, 4) as spilled:
        threads = [threading.Thread(target=spilled.add, args=(piece,)) for piece in pieces]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = array("Q", b"".join(block for part in range(4) for block in spilled.part(part)))
    assert Counter(found) == Counter(array("Q", b"".join(pieces)))


def test_what_cannot_be(tmp_path: Path) -> None:
    for parts in (-1, 0, 3, 512):
        with pytest.raises(ValueError, match="power of two"):
            SpilledHashes(tmp_path, parts)
    spilled = SpilledHashes(tmp_path, 1)
    with pytest.raises(ValueError, match="8 bytes"):
        spilled.add(b"1234567")
    with pytest.raises(IndexError):
        spilled.part(1)
    blocks = spilled.part(0)
    spilled.add(bytes(4 * MEBIBYTE))
    begun = spilled.part(0)
    next(begun)
    spilled.close()
    spilled.close()
    assert list(blocks) == []
    with pytest.raises(ValueError, match="closed"):
        next(begun)
    with pytest.raises(ValueError, match="closed"):
        spilled.add(bytes(8))
    with pytest.raises(ValueError, match="closed"):
        spilled.part(0)
