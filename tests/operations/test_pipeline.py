"""Frames on their way from readers to the writer: bounded, complete, and errors come first."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from dbtool.archive.writer import PackedFrame, pack
from dbtool.archive.zstd import decompress_frame
from dbtool.engines.base import Chunk
from dbtool.model.archive import Block, FrameKind
from dbtool.operations import pipeline
from dbtool.operations.pipeline import FrameQueue, RowReaders
from dbtool.progress import Silent


def frame(size: int = 100) -> PackedFrame:
    return PackedFrame(FrameKind.DATA, b"x" * size, size, 0, 0, 1, 0, 0, 0, 0, None, ())


def test_the_queue_is_bounded_in_bytes() -> None:
    queue = FrameQueue(limit_bytes=250)
    queue.add_producer()
    put: list[int] = []

    def produce() -> None:
        for number in range(20):
            assert queue.put(frame())
            put.append(number)
        queue.producer_done()

    thread = threading.Thread(target=produce)
    thread.start()
    time.sleep(0.2)
    assert len(put) == 3  # full from the third on
    assert len(list(queue.frames())) == 20
    thread.join()


def test_a_frame_larger_than_the_queue_goes_through() -> None:
    queue = FrameQueue(limit_bytes=10)
    queue.add_producer()

    def produce() -> None:
        for _ in range(2):
            queue.put(frame(1000))
        queue.producer_done()

    thread = threading.Thread(target=produce)
    thread.start()
    assert len(list(queue.frames())) == 2
    thread.join()


def test_an_error_comes_before_the_frames_that_wait() -> None:
    queue = FrameQueue()
    queue.add_producer()
    queue.put(frame())
    queue.producer_done(ZeroDivisionError("first"))
    queue.add_producer()
    queue.producer_done(ValueError("second"))
    with pytest.raises(ZeroDivisionError, match="first"):
        list(queue.frames())


def test_a_closed_queue_lets_producers_go() -> None:
    queue = FrameQueue(limit_bytes=10)
    queue.put(frame())
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(queue.put(frame())))
    thread.start()
    time.sleep(0.1)
    assert answers == []
    queue.close()
    thread.join(5)
    assert answers == [False]
    assert queue.is_closed


class Rows:
    """A source of numbers: a chunk is as many blocks as its size says."""

    def __init__(self, handed_back: Sequence[Chunk] = (), fails_at: int | None = None) -> None:
        self.opened: list[NumberReader] = []
        self.fails_at = fails_at
        self._handed_back = handed_back

    def open_reader(self) -> NumberReader:
        if self.fails_at == -1:
            raise ConnectionError("no connection left")
        self.opened.append(NumberReader(self))
        return self.opened[-1]

    def leftover_reader(self) -> NumberReader:
        return NumberReader(self)

    def leftovers(self) -> Sequence[Chunk]:
        return self._handed_back


class NumberReader:
    def __init__(self, source: Rows) -> None:
        self._source = source
        self.is_closed = False
        self.is_stopped = False

    def read(self, chunk: Chunk) -> Iterator[Block]:
        text = bytearray()
        for number in range(chunk.size_bytes):
            if self._source.fails_at == chunk.table and number == 1:
                raise ZeroDivisionError("in a reader")
            # One buffer for all, as a real reader has: a block is valid until the next.
            text[:] = b"%d.%d\n" % (chunk.table, number)
            yield Block(FrameKind.DATA, bytes(text), chunk.table, 1)

    def stop(self) -> None:
        self.is_stopped = True

    def close(self) -> None:
        self.is_closed = True


def texts(source: Any, chunks: Sequence[Chunk], workers: int) -> list[bytes]:
    with RowReaders(source, chunks, 1, workers, Silent()) as readers:
        return [decompress_frame(packed.data, "a frame") for packed in readers.frames()]


def chunk(table: int, blocks: int) -> Chunk:
    return Chunk(table, blocks, b"")


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_every_block_of_every_chunk_comes_out(workers: int) -> None:
    chunks = [chunk(number, number % 5) for number in range(40)]
    source = Rows(handed_back=[chunk(99, 2)])
    expected = sorted(
        b"%d.%d\n" % (one.table, n) for one in [*chunks, chunk(99, 2)] for n in range(one.size_bytes)
    )
    found = texts(source, chunks, workers)
    assert sorted(found) == expected
    assert found[-2:] == [b"99.0\n", b"99.1\n"]  # what was handed back comes last
    assert len(source.opened) == workers
    assert all(reader.is_closed for reader in source.opened)


def test_no_chunks_need_no_reader() -> None:
    source = Rows()
    assert texts(source, [], 3) == []
    assert source.opened == []


@pytest.mark.parametrize(("fails_at", "error"), [(7, ZeroDivisionError), (-1, ConnectionError)])
def test_an_error_of_a_reader_is_raised_and_all_threads_end(fails_at: int, error: type[Exception]) -> None:
    source = Rows(fails_at=fails_at)
    with pytest.raises(error):
        texts(source, [chunk(number, 50) for number in range(20)], 3)
    assert all(reader.is_closed for reader in source.opened)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dbtool-reader")]


def test_leaving_early_stops_the_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the repository's disk is full: the writer fails while readers wait for the queue."""
    monkeypatch.setattr(pipeline, "QUEUE_BYTES", 1)
    source = Rows()
    readers = RowReaders(source, [chunk(number, 1000) for number in range(4)], 1, 2, Silent())  # type: ignore[arg-type]
    readers._queue = FrameQueue(limit_bytes=50)

    def write() -> None:
        with readers:
            next(readers.frames())
            raise OSError("disk full")

    with pytest.raises(OSError, match="full"):
        write()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dbtool-reader")]
    assert all(reader.is_stopped and reader.is_closed for reader in source.opened)


def test_packing_keeps_what_was_counted() -> None:
    block = Block(FrameKind.DATA, memoryview(b"p\nrow\n.\n"), 3, 1, 5, 6, 2, 2, ("a", ""))
    packed = pack(block, 1)
    assert decompress_frame(packed.data, "x") == b"p\nrow\n.\n"
    assert (packed.table, packed.rows, packed.digest, packed.key_digest) == (3, 1, 5, 6)
    assert (packed.plain_bytes, packed.prefix_bytes, packed.suffix_bytes, packed.bounds) == (
        8,
        2,
        2,
        ("a", ""),
    )
