"""The rows of one range of keys against those of a full backup, row by row, by their hashes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from dbtool import rows
from dbtool.archive.reader import ArchiveReader

_KEPT_BYTES = 96 << 20  # of a range's rows until it is known whether they are what they were
_MASK = (1 << 64) - 1


class RangeComparison:
    """The rows of one range against the base's frames of it, row by row.

    What was read is kept until it is known whether anything is to be looked for: so the base's frames of
    a range that did not change are not read, nor are the rows of any range read twice. Where it is
    more than what may be kept, the base's frames are read at once.
    """

    def __init__(
        self,
        base: ArchiveReader,
        frames: Sequence[int],
        key: tuple[int, ...],
        write: Callable[[bytes], None],
    ) -> None:
        self._base = base
        self._frames = frames
        self._key = key
        self._write = write
        self._kept: list[bytes] = []
        self._kept_bytes = 0
        self._before: rows.KeySet | None = None  # hashes of the base's rows
        self._now = rows.KeySet()
        self.new = self.new_digest = self.gone = self.gone_digest = 0
        self.gone_keys: list[bytes] = []  # lines

    def add(self, text: bytes) -> None:
        """Some rows, as INSERT statements."""
        if self._before is not None:
            self._take(text)
            return
        self._kept.append(text)
        self._kept_bytes += len(text)
        if self._kept_bytes > _KEPT_BYTES:
            self._before = self._hashes_before()
            self._take_kept()

    def forget(self) -> None:
        """The rows are not wanted."""
        self._kept, self._kept_bytes = [], 0

    def finish(self) -> None:
        """All rows are there, and they are not those of the base."""
        if self._before is not None:
            for text in self._texts_before():
                self._look_for_gone(text)
            return
        for kept in self._kept:
            self._now.add(rows.key_hashes(kept, (), "insert"))
        self._before = rows.KeySet(self._count_before())
        for text in self._texts_before():
            self._look_for_gone(text, self._before)
        for kept in self._kept:
            self._look_for_new(kept)
        self.forget()

    def _take_kept(self) -> None:
        kept, self._kept = self._kept, []
        for text in kept:
            self._take(text)

    def _take(self, text: bytes) -> None:
        self._now.add(rows.key_hashes(text, (), "insert"))
        self._look_for_new(text)

    def _look_for_new(self, text: bytes) -> None:
        assert self._before is not None  # noqa: S101
        new_rows, count, digest, *_ = self._before.without(text, (), "insert")
        if count:
            self.new += count
            self.new_digest = (self.new_digest + digest) & _MASK
            self._write(bytes(new_rows))

    def _look_for_gone(self, text: memoryview, seen: rows.KeySet | None = None) -> None:
        gone_rows, count, digest, *_ = self._now.without(text, (), "insert", seen)
        if count:
            self.gone += count
            self.gone_digest = (self.gone_digest + digest) & _MASK
            self.gone_keys.append(rows.KeySet().absent_keys(gone_rows, self._key, "insert")[0])

    def _hashes_before(self) -> rows.KeySet:
        found = rows.KeySet(self._count_before())
        for text in self._texts_before():
            found.add(rows.key_hashes(text, (), "insert"))
        return found

    def _count_before(self) -> int:
        return sum(self._base.index.frames[number].rows for number in self._frames)

    def _texts_before(self) -> Iterator[memoryview]:
        for number in self._frames:
            yield self._base.index.frames[number].rows_of(self._base.read(number))
