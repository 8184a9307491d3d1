"""Writes a framed archive: finished frames in order, then the index and the seek table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dbtool.archive.index import encode_index
from dbtool.archive.keys import keys_frame
from dbtool.archive.seekable import SeekEntry, encode_seek_table, skippable_entry
from dbtool.archive.zstd import compress_frame, frame_checksum
from dbtool.model.archive import ArchiveIndex, Block, Frame, FrameKind, SchemaObject, TableSummary
from dbtool.storage.base import Upload

_MOST_KEYS_SHARE = 100  # keys are kept if they take no more than a hundredth of their rows


@dataclass(frozen=True)
class PackedFrame:
    """A block that has been compressed: what a worker hands to the writer."""

    kind: FrameKind
    data: bytes
    plain_bytes: int
    checksum: int
    table: int | None
    rows: int
    digest: int
    key_digest: int
    prefix_bytes: int
    suffix_bytes: int
    bounds: tuple[str, str] | None
    objects: tuple[SchemaObject, ...]
    keys: bytes = b""  # a skippable frame, or nothing
    part: str = ""


def pack(block: Block, level: int) -> PackedFrame:
    """Compress and checksum one block. Runs in a worker; releases the GIL while it works."""
    data = compress_frame(block.text, level)
    keys = keys_frame(block.packed_keys) if block.packed_keys else b""
    return PackedFrame(
        kind=block.kind,
        data=data,
        plain_bytes=len(block.text),
        checksum=frame_checksum(data),
        table=block.table,
        rows=block.rows,
        digest=block.digest,
        key_digest=block.key_digest,
        prefix_bytes=block.prefix_bytes,
        suffix_bytes=block.suffix_bytes,
        bounds=block.bounds,
        part=block.part,
        objects=block.objects,
        keys=keys if len(keys) * _MOST_KEYS_SHARE <= len(data) else b"",
    )


class ArchiveWriter:
    """Appends frames to an upload. One thread calls it. Neither commits nor aborts the upload."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload
        self._offset = 0
        self._seek_entries: list[SeekEntry] = []
        self.frames: list[Frame] = []
        self.plain_bytes = 0

    @property
    def stored_bytes(self) -> int:
        """Bytes written so far."""
        return self._offset

    def add(self, packed: PackedFrame) -> None:
        """Append a frame. Kinds must come in `FrameKind`'s order for the script to be right."""
        self.frames.append(
            Frame(
                kind=packed.kind,
                offset=self._offset,
                stored_bytes=len(packed.data),
                plain_bytes=packed.plain_bytes,
                table=packed.table,
                rows=packed.rows,
                digest=packed.digest,
                key_digest=packed.key_digest,
                prefix_bytes=packed.prefix_bytes,
                suffix_bytes=packed.suffix_bytes,
                bounds=packed.bounds,
                part=packed.part,
                objects=packed.objects,
                keys_bytes=len(packed.keys),
            )
        )
        self._seek_entries.append(SeekEntry(len(packed.data), packed.plain_bytes, packed.checksum))
        self._write(packed.data)
        if packed.keys:
            self._seek_entries.append(skippable_entry(len(packed.keys)))
            self._write(packed.keys)
        self.plain_bytes += packed.plain_bytes

    def finish(
        self,
        backup: dict[str, Any],
        tables: Sequence[TableSummary],
        omitted: Sequence[SchemaObject],
        warnings: Sequence[str],
        schema: Sequence[tuple[FrameKind, SchemaObject]] = (),
    ) -> ArchiveIndex:
        """Append the index and the seek table: nothing may follow."""
        index = ArchiveIndex(
            backup, tuple(tables), tuple(self.frames), tuple(omitted), tuple(warnings), tuple(schema)
        )
        encoded = encode_index(index)
        self._seek_entries.append(skippable_entry(len(encoded)))
        self._write(encoded)
        self._write(encode_seek_table(self._seek_entries))
        return index

    def _write(self, data: bytes) -> None:
        self._upload.write(data)
        self._offset += len(data)
