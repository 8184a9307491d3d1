"""Reads the table of contents of a pg_dump archive in custom format.

The layout is that of pg_backup_archiver.c in PostgreSQL's sources (ReadHead, ReadToc), archive
versions 1.14 (clients 12 to 15), 1.15 (16) and 1.16 (17, 18).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from dbtool.errors import DbtoolError

_OLDEST, _NEWEST = (1, 14), (1, 16)
_CUSTOM_FORMAT = 1
SECTION_AFTER_DATA = 4


@dataclass(frozen=True)
class TocEntry:
    """One entry. `definition` is the SQL as it stands in the script, as bytes."""

    number: int
    class_oid: int
    oid: int
    tag: str
    kind: str
    section: int
    definition: bytes
    namespace: str
    tablespace: str | None
    access_method: str | None
    relation_kind: str
    owner: str
    needs: tuple[int, ...]
    drop: bytes = b""  # the statement that removes the object; pg_dump has none for some kinds


class _Stream:
    """The archive's primitive values."""

    def __init__(self, file: BinaryIO, codec: str) -> None:
        self._file = file
        self._codec = codec
        self.integer_bytes = 4
        self.offset_bytes = 8

    def take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) != size:
            raise DbtoolError("pg_dump's archive is cut off")
        return data

    def byte(self) -> int:
        return self.take(1)[0]

    def integer(self) -> int:
        sign = self.byte()
        value = int.from_bytes(self.take(self.integer_bytes), "little")
        return -value if sign else value

    def raw(self) -> bytes | None:
        size = self.integer()
        return None if size < 0 else self.take(size)

    def text(self) -> str:
        return self.optional_text() or ""

    def optional_text(self) -> str | None:
        data = self.raw()
        return None if data is None else data.decode(self._codec, "surrogateescape")


def read_toc(file: BinaryIO, codec: str) -> list[TocEntry]:
    """All entries in the archive's order. Text is in the archive's encoding, `codec`."""
    stream = _Stream(file, codec)
    if stream.take(5) != b"PGDMP":
        raise DbtoolError("pg_dump did not write an archive")
    version = (stream.byte(), stream.byte())
    stream.byte()  # revision
    if not _OLDEST <= version <= _NEWEST:
        raise DbtoolError(
            f"pg_dump wrote an archive of version {version[0]}.{version[1]}, which this dbtool does not know",
            "use client programs of PostgreSQL 12 to 18",
        )
    stream.integer_bytes = stream.byte()
    stream.offset_bytes = stream.byte()
    if stream.byte() != _CUSTOM_FORMAT:
        raise DbtoolError("pg_dump's archive is not in custom format")
    if version >= (1, 15):
        stream.byte()  # compression algorithm
    else:
        stream.integer()  # compression level
    for _ in range(7):
        stream.integer()  # when it was made
    for _ in range(3):
        stream.raw()  # database, version of the server, version of pg_dump
    return [_read_entry(stream, version) for _ in range(stream.integer())]


def _read_entry(stream: _Stream, version: tuple[int, int]) -> TocEntry:
    number = stream.integer()
    stream.integer()  # whether it has data
    class_oid, oid = int(stream.text() or 0), int(stream.text() or 0)
    tag, kind = stream.text(), stream.text()
    section = stream.integer()
    definition = stream.raw() or b""
    drop = stream.raw() or b""
    stream.raw()  # the COPY statement
    namespace = stream.text()
    tablespace, access_method = stream.optional_text(), stream.optional_text()
    relation_kind = chr(stream.integer()) if version >= (1, 16) else ""
    owner = stream.text()
    stream.raw()  # whether the table has OIDs
    needs = []
    while (need := stream.raw()) is not None:
        needs.append(int(need))
    stream.take(1 + stream.offset_bytes)  # where its data stands
    return TocEntry(
        number=number,
        class_oid=class_oid,
        oid=oid,
        tag=tag,
        kind=kind,
        section=section,
        definition=definition,
        namespace=namespace,
        tablespace=tablespace,
        access_method=access_method,
        relation_kind=relation_kind,
        owner=owner,
        needs=tuple(dict.fromkeys(needs)),
        drop=drop,
    )
