"""Readers on one side, the one writer on the other: rows become frames in parallel, in flat memory.

Each worker is a thread with a connection of its own; reading, digesting, compressing all happen
with the GIL released. Finished frames wait in a queue that is bounded in bytes.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress

from dbtool.archive.writer import PackedFrame, pack
from dbtool.engines.base import Chunk, Reader, Source
from dbtool.progress import Progress

# The schema is written first; meanwhile frames of rows may gather up to here.
QUEUE_BYTES = 48 << 20


class FrameQueue:
    """Packed frames on their way to the writer, bounded in bytes; carries the first error too."""

    def __init__(self, limit_bytes: int = QUEUE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._waiting: deque[PackedFrame] = deque()
        self._bytes = 0
        self._producers = 0
        self._error: BaseException | None = None
        self._is_closed = False
        self._changed = threading.Condition()

    def add_producer(self) -> None:
        """One more thread will `put`, and will say when it is done."""
        with self._changed:
            self._producers += 1

    def producer_done(self, error: BaseException | None = None) -> None:
        """A thread has put its last frame, or failed."""
        with self._changed:
            self._producers -= 1
            self._error = self._error or error
            self._changed.notify_all()

    def put(self, frame: PackedFrame) -> bool:
        """Hand over a frame; waits while the queue is full. False: nobody will take it."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes < self._limit_bytes or self._is_closed)
            if self._is_closed:
                return False
            self._waiting.append(frame)
            self._bytes += len(frame.data)
            self._changed.notify_all()
            return True

    def close(self) -> None:
        """Nobody will take frames any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        """Whether producers should end."""
        return self._is_closed

    def frames(self) -> Iterator[PackedFrame]:
        """Every frame until all producers are done; raises the first error of theirs."""
        while True:
            with self._changed:
                # A bounded wait, so that Ctrl-C reaches the main thread at once.
                while not self._waiting and self._producers and not self._error:
                    self._changed.wait(0.5)
                if self._error:
                    raise self._error
                if not self._waiting:
                    return
                frame = self._waiting.popleft()
                self._bytes -= len(frame.data)
                self._changed.notify_all()
            yield frame


class RowReaders:
    """Worker threads that turn a source's chunks into frames. Use as a context manager."""

    def __init__(
        self, source: Source, chunks: Sequence[Chunk], level: int, workers: int, progress: Progress
    ) -> None:
        self._source = source
        self._chunks = deque(chunks)
        self._level = level
        self._workers = max(1, min(workers, len(chunks)))
        self._progress = progress
        self._queue = FrameQueue()
        self._readers: list[Reader] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> RowReaders:
        for number in range(self._workers if self._chunks else 0):
            self._queue.add_producer()
            thread = threading.Thread(target=self._work, name=f"dbtool-reader-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.close()
        for reader in list(self._readers):
            reader.stop()
        for thread in self._threads:
            thread.join()

    def frames(self) -> Iterator[PackedFrame]:
        """All frames of rows, in the order in which they get ready."""
        yield from self._queue.frames()
        leftovers = self._source.leftovers()
        if leftovers:
            reader = self._source.leftover_reader()
            for chunk in leftovers:
                yield from (pack(block, self._level) for block in reader.read(chunk))
                self._progress.advance(chunk.size_bytes)

    def _work(self) -> None:
        error: BaseException | None = None
        reader: Reader | None = None
        try:
            reader = self._source.open_reader()
            self._readers.append(reader)
            while not self._queue.is_closed:
                try:
                    chunk = self._chunks.popleft()
                except IndexError:
                    break
                for block in reader.read(chunk):
                    if not self._queue.put(pack(block, self._level)):
                        break
                self._progress.advance(chunk.size_bytes)
        except BaseException as caught:
            error = caught
        finally:
            if reader is not None:
                with suppress(Exception):
                    reader.close()
            self._queue.producer_done(error)
