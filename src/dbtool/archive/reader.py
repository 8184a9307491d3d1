"""Reads a framed archive: its index from the end, and any frame on its own."""

from __future__ import annotations

from collections.abc import Iterator

from dbtool.archive.index import decode_index
from dbtool.archive.keys import decode_keys
from dbtool.archive.seekable import (
    FOOTER_BYTES,
    SeekEntry,
    decode_seek_table,
    seek_table_bytes,
    skippable_entry,
)
from dbtool.archive.zstd import decompress_frame, frame_checksum
from dbtool.errors import VerificationError
from dbtool.model.archive import SCHEMA_KINDS, ArchiveIndex, Frame, FrameKind, SchemaObject
from dbtool.storage.base import Store

_KIND_ORDER = {kind: position for position, kind in enumerate(FrameKind)}
_NO_ENTRY = SeekEntry(0, 0, 0)  # no frame is empty


class ArchiveReader:
    """An archive in a store. Frames may be read from several threads at once.

    Opening it reads the index and checks it against the seek table and the file's size, so that
    frames lie end to end with nothing between, before and behind them.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self.name = name
        self.size_bytes = store.size(name)
        footer_start = max(0, self.size_bytes - FOOTER_BYTES)
        table_bytes = seek_table_bytes(store.get_range(name, footer_start, FOOTER_BYTES))
        if table_bytes > self.size_bytes:
            raise VerificationError(f"{name}: the seek table is larger than the file: it is damaged")
        table = store.get_range(name, self.size_bytes - table_bytes, table_bytes)
        self.seek_entries: list[SeekEntry] = decode_seek_table(table)
        if not self.seek_entries:
            raise VerificationError(f"{name}: the seek table is empty")
        index_bytes = self.seek_entries[-1].stored_bytes
        if self.seek_entries[-1] != skippable_entry(index_bytes):
            raise VerificationError(f"{name}: the seek table's entry for the index is damaged")
        index_start = self.size_bytes - table_bytes - index_bytes
        if index_start < 0:
            raise VerificationError(f"{name}: the seek table does not fit the file")
        self.index: ArchiveIndex = decode_index(store.get_range(name, index_start, index_bytes))
        self._check_layout(index_start)

    def _check_layout(self, index_start: int) -> None:
        frames = self.index.frames
        entries = self._entries_of_frames()
        offset, order = 0, 0
        for number, (frame, entry) in enumerate(zip(frames, entries, strict=True)):
            if (frame.offset, frame.stored_bytes, frame.plain_bytes) != (
                offset,
                entry.stored_bytes,
                entry.plain_bytes,
            ):
                raise VerificationError(f"{self.name}: frame {number} differs between index and seek table")
            if _KIND_ORDER[frame.kind] < order:
                raise VerificationError(f"{self.name}: frame {number} ({frame.kind.value}) is out of order")
            order = _KIND_ORDER[frame.kind]
            offset += frame.stored_bytes + frame.keys_bytes
        if offset != index_start:
            raise VerificationError(f"{self.name}: there are bytes that no frame accounts for")
        if not frames or frames[0].kind is not FrameKind.HEADER or frames[-1].kind is not FrameKind.FOOTER:
            raise VerificationError(f"{self.name}: the script has no beginning or no end")

    def _entries_of_frames(self) -> list[SeekEntry]:
        """The seek table's entries without those of frames of keys, each of which stands behind its rows'."""
        left = iter(self.seek_entries[:-1])
        entries = []
        for number, frame in enumerate(self.index.frames):
            entries.append(next(left, _NO_ENTRY))
            if frame.keys_bytes and next(left, None) != skippable_entry(frame.keys_bytes):
                raise VerificationError(f"{self.name}: the keys of frame {number} are not in the seek table")
        if next(left, None) is not None or _NO_ENTRY in entries:
            raise VerificationError(f"{self.name}: the index and the seek table count different frames")
        self._checksums = [entry.checksum for entry in entries]
        return entries

    def describe(self, number: int) -> str:
        """What a person would call a frame: "frame 12 (data of public.orders)"."""
        frame = self.index.frames[number]
        if frame.table is None:
            return f"{self.name}: frame {number} ({frame.kind.value})"
        table = self.index.tables[frame.table]
        what = "keys removed from" if frame.kind is FrameKind.REMOVED else "data of"
        return f"{self.name}: frame {number} ({what} {table.schema}.{table.name})"

    def read(self, number: int) -> bytes:
        """The plain text of a frame, checked against every checksum that speaks of it."""
        frame: Frame = self.index.frames[number]
        what = self.describe(number)
        stored = self._store.get_range(self.name, frame.offset, frame.stored_bytes)
        text = decompress_frame(stored, what)  # and it is what the checksum at its end was made of
        if len(text) != frame.plain_bytes or frame_checksum(stored) != self._checksums[number]:
            raise VerificationError(f"{what} does not hold the text that was written")
        return text

    def schema(self) -> Iterator[tuple[FrameKind, SchemaObject, bytes]]:
        """The objects of the schema with their SQL, in the script's order."""
        for number, frame in enumerate(self.index.frames):
            if frame.kind in SCHEMA_KINDS:
                text = self.read(number)
                for item in frame.objects:
                    yield frame.kind, item, text[item.offset : item.offset + item.length]

    def read_keys(self, number: int) -> bytes:
        """The keys of a frame's rows, packed (see `rows.unpack_integers`); for a frame that has `keys_bytes`."""
        frame = self.index.frames[number]
        start = frame.offset + frame.stored_bytes
        return decode_keys(self._store.get_range(self.name, start, frame.keys_bytes), self.describe(number))
