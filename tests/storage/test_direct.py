"""Files written past the page cache are what was written, wherever they lie and however it came."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dbtool import platforms
from dbtool.storage import direct
from dbtool.storage.direct import FileWriter

BLOCK = direct._BUFFER_BYTES
SIZES = (0, 1, 4095, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 12345)


def write(path: Path, data: bytes, piece: int) -> bytes:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        writer = FileWriter(descriptor)
        for start in range(0, len(data), piece):
            writer.write(data[start : start + piece])
        writer.finish()
    finally:
        os.close(descriptor)
    return path.read_bytes()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("piece", [777_777, BLOCK, 10 * BLOCK])
def test_every_byte_arrives(tmp_path: Path, size: int, piece: int) -> None:
    data = os.urandom(size)
    assert write(tmp_path / "file", data, piece) == data


def test_a_file_system_in_memory() -> None:
    folder = Path("/dev/shm")
    if not os.access(folder, os.W_OK):
        pytest.skip("there is none here")
    path, data = folder / f"dbtool-test-{os.getpid()}", os.urandom(2 * BLOCK + 5)
    try:
        assert write(path, data, 1_000_000) == data
    finally:
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_file_system_that_refuses_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    real, calls = os.write, 0

    def refusing(descriptor: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(errno.EINVAL, "not aligned as I want it")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", refusing)
    data = os.urandom(4 * BLOCK + 99)
    if platforms.set_direct(os.open(tmp_path / "probe", os.O_WRONLY | os.O_CREAT), True):
        assert write(tmp_path / "file", data, BLOCK) == data


def test_a_part_of_a_block_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = os.write, 0

    def short(descriptor: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        return real(descriptor, data[:4096] if calls == 2 else data)

    monkeypatch.setattr(os, "write", short)
    data = os.urandom(3 * BLOCK + 7)
    assert write(tmp_path / "file", data, BLOCK) == data
