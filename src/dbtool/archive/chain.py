"""A full backup and a differential on it, read as if they were one archive.

The schema is the differential's. Of a table come the base's rows without those that the differential takes
away, and the differential's own. So whoever restores needs not know that it is a chain.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

from dbtool import rows
from dbtool.archive.reader import ArchiveReader
from dbtool.errors import VerificationError
from dbtool.model.archive import (
    SCHEMA_KINDS,
    ArchiveIndex,
    Frame,
    FrameKind,
    SchemaObject,
    TableSummary,
    Taken,
)

_MASK = (1 << 64) - 1
# How rows stand in the frames of each engine: see `rows.KeySet`.
_FORMATS = {"postgres": "copy", "mysql": "insert"}


@dataclass(frozen=True)
class _Origin:
    """Where a frame's text comes from; a frame of objects with their own SQL has none."""

    reader: ArchiveReader
    number: int
    is_filtered: bool = False


class ChainReader:
    """Like `ArchiveReader`, of which it has two.

    How many rows are left in a frame of the base is known once that frame was read; so the entries of
    `index.frames`, and the digests in `index.tables`, change until then. `check_complete` says whether
    all was found that had to go.
    """

    def __init__(self, base: ArchiveReader, differential: ArchiveReader) -> None:
        self._base = base
        self._differential = differential
        self.name = differential.name
        self.size_bytes = base.size_bytes + differential.size_bytes
        self._format = _FORMATS[str(base.index.backup["engine"])]
        self._lock = threading.Lock()
        self._removed: dict[int, Any] = {}  # sets of keys, by the table's position
        self._taken_out: dict[int, dict[int, int]] = defaultdict(dict)  # rows, by table and frame
        self._keys = [table.key_positions for table in differential.index.tables]
        self._tables = tuple(self._merged(table) for table in differential.index.tables)
        self._origins: list[_Origin | None] = []
        frames: list[Frame] = []
        for frame, origin in self._arranged():
            frames.append(frame)
            self._origins.append(origin)
        self._frames = frames
        self.index = ArchiveIndex(
            backup=differential.index.backup,
            tables=self._tables,
            frames=frames,
            omitted=(),
            warnings=(*base.index.warnings, *differential.index.warnings),
        )
        self._load_removed()

    # ---- what it is made of ----------------------------------------------------------------------

    def _merged(self, table: TableSummary) -> TableSummary:
        """The table at the differential's snapshot, as far as it is known before the base's rows are read."""
        facts = table.details["differential"]
        if facts["taken"] == Taken.WHOLE.value:
            return replace(table)
        base = self._base.index.tables[facts["base"]]
        return replace(
            table,
            rows=facts["rows"],
            bytes=base.bytes + table.bytes,
            digest=(base.digest + table.digest) & _MASK,
            key_digest=(base.key_digest + table.key_digest) & _MASK,
        )

    def _arranged(self) -> list[tuple[Frame, _Origin | None]]:
        """All frames in the order of kinds."""
        schema: dict[FrameKind, list[SchemaObject]] = defaultdict(list)
        for kind, item in self._differential.index.schema:
            schema[kind].append(item)
        found: list[tuple[Frame, _Origin | None]] = []
        positions = {
            table.details["differential"]["base"]: position
            for position, table in enumerate(self._tables)
            if table.details["differential"]["taken"] != Taken.WHOLE.value
        }
        takes_large_objects = self._differential.index.backup.get("large_objects") == "whole"
        for kind in FrameKind:
            if kind in SCHEMA_KINDS:
                if schema[kind]:
                    found.append((Frame(kind, 0, 0, 0, objects=tuple(schema[kind])), None))
                continue
            if kind is FrameKind.REMOVED:
                continue
            if kind is FrameKind.DATA:
                data = [*self._base_rows(positions), *_frames_of(self._differential, kind)]
                found += sorted(data, key=lambda pair: self._place_in_line(pair[0]))
            elif kind is FrameKind.LARGE_OBJECTS and not takes_large_objects:
                found += _frames_of(self._base, kind)
            else:
                found += _frames_of(self._differential, kind)
        return found

    def _place_in_line(self, frame: Frame) -> int:
        """Rows that need other rows come behind those."""
        details = self._tables[frame.table].details if frame.table is not None else {}
        return int(details.get("loaded_last", -1))

    def _base_rows(self, positions: dict[int, int]) -> list[tuple[Frame, _Origin | None]]:
        found: list[tuple[Frame, _Origin | None]] = []
        for number, frame in enumerate(self._base.index.frames):
            if frame.kind is FrameKind.DATA and frame.table in positions:
                position = positions[frame.table]
                is_filtered = bool(self._tables[position].details["differential"]["removed"])
                found.append((replace(frame, table=position), _Origin(self._base, number, is_filtered)))
        return found

    def _load_removed(self) -> None:
        counts: dict[int, int] = defaultdict(int)
        for number, frame in enumerate(self._differential.index.frames):
            if frame.kind is FrameKind.REMOVED and frame.table is not None and frame.rows:
                keys = self._removed.setdefault(frame.table, rows.KeySet(frame.rows))
                text = self._differential.read(number)
                keys.add_keys(
                    self._key_lines(frame.rows_of(text), len(self._keys[frame.table])), self._format
                )
                counts[frame.table] += frame.rows
        for position, table in enumerate(self._tables):
            expected = table.details["differential"]["removed"]
            if counts[position] != expected or len(self._removed.get(position, ())) != expected:
                raise VerificationError(
                    f"{self.name}: {expected} keys of {table.schema}.{table.name} were removed, "
                    f"{counts[position]} stand in the archive"
                )

    def _key_lines(self, written: memoryview, fields: int) -> Any:
        """The keys of a frame as `KeySet.add_keys` takes them. Raises `VerificationError`."""
        if self._format == "copy":
            return written
        try:
            return rows.KeySet().absent_keys(written, tuple(range(fields)), self._format)[0]
        except ValueError as error:
            raise VerificationError(f"{self.name}: removed keys are not in their grammar: {error}") from None

    # ---- reading -------------------------------------------------------------------------------

    def describe(self, number: int) -> str:
        """What a person would call a frame."""
        origin = self._origins[number]
        return origin.reader.describe(origin.number) if origin else f"{self.name}: the schema"

    def read(self, number: int) -> bytes:
        """The plain text of a frame, without the rows that are there no more."""
        origin, frame = self._origins[number], self._frames[number]
        if origin is None:
            return b""
        text = origin.reader.read(origin.number)
        if not origin.is_filtered or frame.table is None:
            return text
        position = frame.table
        original = origin.reader.index.frames[origin.number]
        kept, count, digest, key_digest, taken, _ = self._removed[position].without(
            original.rows_of(text), self._keys[position], self._format
        )
        with self._lock:
            if number not in self._taken_out[position]:
                self._taken_out[position][number] = taken
                table = self._tables[position]
                table.digest = (table.digest - original.digest + digest) & _MASK
                table.key_digest = (table.key_digest - original.key_digest + key_digest) & _MASK
        if not taken:
            return text
        parts = (text[: original.prefix_bytes], kept, text[len(text) - original.suffix_bytes :])
        result = b"".join(parts)
        self._frames[number] = replace(
            frame, rows=count, digest=digest, key_digest=key_digest, plain_bytes=len(result)
        )
        return result

    def check_complete(self, tables: set[int]) -> None:
        """`VerificationError` unless of each of these tables, by position, all rows that had to go were found.
        To be asked once all its frames have been read."""
        for position in tables:
            table = self._tables[position]
            expected = table.details["differential"]["removed"]
            found = sum(self._taken_out[position].values())
            if found != expected:
                raise VerificationError(
                    f"{table.schema}.{table.name}: {expected} rows of the base had to go, {found} were there",
                    "the differential does not belong to this base, or one of them is damaged",
                )


def _frames_of(reader: ArchiveReader, kind: FrameKind) -> list[tuple[Frame, _Origin | None]]:
    return [
        (frame, _Origin(reader, number))
        for number, frame in enumerate(reader.index.frames)
        if frame.kind is kind
    ]
