"""The seek table of zstd's seekable format (contrib/seekable_format in the zstd sources).

A skippable frame at the very end: per frame its stored size, plain size and the low 32 bits of
the XXH64 of its plain text, then the number of frames, a descriptor and a magic number.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import xxhash

from dbtool.errors import VerificationError

SKIPPABLE_MAGIC = 0x184D2A5E
SEEKABLE_MAGIC = 0x8F92EAB1
FOOTER_BYTES = 9
_CHECKSUM_FLAG = 0x80
_ENTRY = struct.Struct("<III")
_HEADER = struct.Struct("<II")
_FOOTER = struct.Struct("<IBI")


@dataclass(frozen=True)
class SeekEntry:
    """One frame: sizes in bytes, and the low half of its plain text's XXH64."""

    stored_bytes: int
    plain_bytes: int
    checksum: int


def skippable_entry(stored_bytes: int) -> SeekEntry:
    """The entry of a frame that decodes to nothing, such as our index, which is the last one."""
    return SeekEntry(stored_bytes, 0, checksum_of(b""))


def checksum_of(text: Any) -> int:
    """What the seek table keeps of a frame's plain text: the low half of its XXH64."""
    return xxhash.xxh64_intdigest(text) & 0xFFFFFFFF


def encode_seek_table(entries: Iterable[SeekEntry]) -> bytes:
    """The whole skippable frame."""
    body = b"".join(_ENTRY.pack(entry.stored_bytes, entry.plain_bytes, entry.checksum) for entry in entries)
    count = len(body) // _ENTRY.size
    footer = _FOOTER.pack(count, _CHECKSUM_FLAG, SEEKABLE_MAGIC)
    return _HEADER.pack(SKIPPABLE_MAGIC, len(body) + len(footer)) + body + footer


def seek_table_bytes(footer: bytes) -> int:
    """The size of the whole seek table, from the file's last 9 bytes."""
    if len(footer) != FOOTER_BYTES:
        raise VerificationError("the archive has no seek table: it is cut off")
    count, descriptor, magic = _FOOTER.unpack(footer)
    if magic != SEEKABLE_MAGIC or descriptor != _CHECKSUM_FLAG:
        raise VerificationError(
            "the archive does not end in a seek table: it is cut off, damaged, or not made by dbtool"
        )
    return _HEADER.size + int(count) * _ENTRY.size + FOOTER_BYTES


def decode_seek_table(table: bytes) -> list[SeekEntry]:
    """The entries of a whole seek table."""
    magic, size = _HEADER.unpack_from(table)
    body = table[_HEADER.size : -FOOTER_BYTES]
    if magic != SKIPPABLE_MAGIC or size != len(table) - _HEADER.size or len(body) % _ENTRY.size:
        raise VerificationError("the archive's seek table is damaged")
    return [SeekEntry(*fields) for fields in _ENTRY.iter_unpack(body)]
