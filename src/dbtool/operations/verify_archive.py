"""Verifying one framed archive: every frame decoded and counted again, the index against all."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dbtool.archive.reader import ArchiveReader
from dbtool.archive.seekable import SeekEntry, checksum_of
from dbtool.errors import VerificationError
from dbtool.model.archive import FrameKind, TableSummary
from dbtool.model.backup import Metadata, TableRecord
from dbtool.progress import Progress
from dbtool.rows import tally_inserts, tally_lines, unpack_integers
from dbtool.storage.base import Store
from dbtool.text import counted, printable

_MASK = (1 << 64) - 1
# How rows stand in the frames of each engine.
_TALLIES = {"postgres": tally_lines, "mysql": tally_inserts}


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was written, in one line; and where, as far as that can be said."""

    message: str
    artefact: str | None = None
    frame: int | None = None
    table: str | None = None


@dataclass
class ArchiveFindings:
    """All findings in one archive, and how much was looked at."""

    findings: list[Finding] = field(default_factory=list)
    frames: int = 0
    tables: int = 0
    rows: int = 0
    removed: int = 0  # keys of a differential whose rows go


@dataclass
class _Tally:
    """What was found in one frame, or in all frames of a table together."""

    table: int | None = None
    rows: int = 0
    bytes: int = 0
    digest: int = 0
    key_digest: int = 0
    finding: Finding | None = None
    removed: int = 0

    def add(self, other: _Tally) -> None:
        """Sums; the first finding is kept."""
        self.rows += other.rows
        self.removed += other.removed
        self.bytes += other.bytes
        self.digest = (self.digest + other.digest) & _MASK
        self.key_digest = (self.key_digest + other.key_digest) & _MASK
        self.finding = self.finding or other.finding


def verify_archive(
    store: Store, name: str, metadata: Metadata | None, progress: Progress, pool: ThreadPoolExecutor
) -> ArchiveFindings:
    """Verify the archive `name`, in the pool's threads, one frame in memory for each.

    With `metadata`, its tables are compared with the archive's. `NotFoundError` if there is none.
    """
    found = ArchiveFindings()
    artefact = name.rpartition("/")[2]
    try:
        reader = ArchiveReader(store, name)
    except VerificationError as error:
        found.findings.append(Finding(printable(error.message), artefact))
        return found
    _verify_last_seek_entry(reader, artefact, found)
    tallies = _tally_frames(reader, artefact, progress, pool, found)
    _compare_tables(reader, artefact, tallies, found)
    if metadata is not None:
        _compare_metadata(reader, artefact, metadata, found)
    return found


def _verify_last_seek_entry(reader: ArchiveReader, artefact: str, found: ArchiveFindings) -> None:
    """The one entry of the seek table that no frame's text is compared with: the index's own."""
    last = reader.seek_entries[-1]
    if last != SeekEntry(last.stored_bytes, 0, checksum_of(b"")):
        found.findings.append(Finding(f"{artefact}: the seek table's last entry is damaged", artefact))


def _tally_frames(
    reader: ArchiveReader,
    artefact: str,
    progress: Progress,
    pool: ThreadPoolExecutor,
    found: ArchiveFindings,
) -> list[_Tally]:
    """The tallies of each table's frames, summed; in the order of the index's tables."""

    def tally(number: int) -> _Tally:
        result = _tally_frame(reader, artefact, number)
        progress.advance(reader.index.frames[number].stored_bytes)
        return result

    sums = [_Tally() for _ in reader.index.tables]
    for one in pool.map(tally, range(len(reader.index.frames))):
        found.frames += 1
        found.rows += one.rows
        found.removed += one.removed
        if one.finding is not None:
            found.findings.append(one.finding)
        if one.table is not None:
            sums[one.table].add(one)
    return sums


def _tally_frame(reader: ArchiveReader, artefact: str, number: int) -> _Tally:
    frame = reader.index.frames[number]
    if frame.table is not None and not 0 <= frame.table < len(reader.index.tables):
        return _Tally(finding=Finding(f"{artefact}: frame {number} is of no known table", artefact, number))
    table = reader.index.tables[frame.table] if frame.table is not None else None
    name = f"{table.schema}.{table.name}" if table is not None else None

    def damaged(message: str) -> _Tally:
        return _Tally(frame.table, finding=Finding(printable(message), artefact, number, name))

    try:
        text = reader.read(number)
        if frame.kind not in (FrameKind.DATA, FrameKind.REMOVED) or table is None:
            return _Tally()
        end = len(text) - frame.suffix_bytes
        written = memoryview(text)[frame.prefix_bytes : end]
        tally = _TALLIES[reader.index.backup.get("engine", "")]
        are_keys = frame.kind is FrameKind.REMOVED
        rows, digest, key_digest = tally(written, () if are_keys else table.key_positions)
    except VerificationError as error:
        return damaged(error.message)
    except KeyError:
        return damaged(f"{artefact}: no engine is known that writes such rows")
    except ValueError as error:
        return damaged(f"{reader.describe(number)} does not hold whole rows: {error}")
    if rows != frame.rows:
        what = "removed key" if are_keys else "row"
        return damaged(f"{reader.describe(number)} has {counted(rows, what)} instead of {frame.rows:,}")
    if digest != frame.digest or (key_digest != frame.key_digest and not are_keys):
        return damaged(f"{reader.describe(number)}: {'keys' if are_keys else 'rows'} were changed")
    if are_keys:
        return _Tally(frame.table, removed=rows)
    if frame.keys_bytes and not _are_keys_right(reader, number):
        return damaged(f"{reader.describe(number)}: its keys are not what was written")
    size = end - frame.prefix_bytes
    return _Tally(frame.table, rows, bytes=size, digest=digest, key_digest=key_digest)


def _are_keys_right(reader: ArchiveReader, number: int) -> bool:
    """Whether the keys that stand behind a frame are those of its rows."""
    frame = reader.index.frames[number]
    try:
        rows, _, key_digest = tally_lines(unpack_integers(reader.read_keys(number)), (0,))
    except (VerificationError, ValueError):
        return False
    return (rows, key_digest) == (frame.rows, frame.key_digest)


def _compare_tables(
    reader: ArchiveReader, artefact: str, tallies: list[_Tally], found: ArchiveFindings
) -> None:
    """What the frames hold against what the index says of each table, where all its frames are whole."""
    for table, tally in zip(reader.index.tables, tallies, strict=True):
        found.tables += 1
        if tally.finding is not None:
            continue
        name = f"{table.schema}.{table.name}"
        wrong = [
            word
            for word, there, written in (
                ("rows", tally.rows, table.rows),
                ("bytes", tally.bytes, table.bytes),
                ("digest", tally.digest, table.digest),
                ("digest of keys", tally.key_digest, table.key_digest),
                ("digests of keys by bucket", _bucket_sum(table), table.key_digest),
                ("removed keys", tally.removed, _removed(table)),
            )
            if there != written
        ]
        if wrong:
            message = f"{artefact}: {name} differs from the archive's index in its {', '.join(wrong)}"
            found.findings.append(Finding(printable(message), artefact, table=name))


def _removed(table: TableSummary) -> int:
    """How many keys a differential says that it removes; none in any other backup."""
    taken = table.details.get("differential")
    return int(taken.get("removed", 0)) if isinstance(taken, dict) else 0


def _bucket_sum(table: TableSummary) -> int:
    """All buckets together hold each key once; a table without a key, or without rows, may have none."""
    if not table.key_buckets:
        return table.key_digest
    if len(table.key_buckets) % 8:
        return -1
    total: int = sum(number for (number,) in struct.iter_unpack("<Q", table.key_buckets))
    return total & _MASK


def _compare_metadata(
    reader: ArchiveReader, artefact: str, metadata: Metadata, found: ArchiveFindings
) -> None:
    if reader.index.backup.get("id") != metadata.id:
        other = printable(str(reader.index.backup.get("id")))
        found.findings.append(Finding(f"{artefact} belongs to another backup: {other}", artefact))
    archived = {(table.schema, table.name): table for table in reader.index.tables}
    recorded = {(table.schema, table.name): table for table in metadata.tables}
    for key in archived.keys() | recorded.keys():
        name = f"{key[0]}.{key[1]}"
        if key not in archived or key not in recorded:
            where = "metadata.json" if key in recorded else "the archive"
            message = f"{artefact}: {name} stands only in {where}"
        elif _facts(archived[key]) != _record_facts(recorded[key]):
            message = f"{artefact}: {name} differs between metadata.json and the archive"
        else:
            continue
        found.findings.append(Finding(printable(message), artefact, table=name))


def _facts(table: TableSummary) -> tuple[object, ...]:
    return (table.identity, table.rows, table.bytes, f"{table.digest:016x}", table.columns, table.key)


def _record_facts(table: TableRecord) -> tuple[object, ...]:
    return (table.identity, table.rows, table.bytes, table.digest, table.columns, table.key)
