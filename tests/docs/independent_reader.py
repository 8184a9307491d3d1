"""Reads a backup with the standard library and the `zstd` program alone, as `docs/format.md` says.

It proves the description, so nothing of dbtool is imported here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MASK = (1 << 64) - 1
PRIMES = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
KIND_ORDER = (
    "header", "before_data", "data", "sequences", "large_objects",
    "after_data", "refresh", "database", "last", "footer",
)  # fmt: skip


def _rotated(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & MASK


def _round(accumulator: int, lane: int) -> int:
    return _rotated((accumulator + lane * PRIMES[1]) & MASK, 31) * PRIMES[0] & MASK


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0, by its specification."""
    position = 0
    if len(data) >= 32:
        lanes = [(PRIMES[0] + PRIMES[1]) & MASK, PRIMES[1], 0, -PRIMES[0] & MASK]
        while len(data) - position >= 32:
            for number, lane in enumerate(struct.unpack_from("<4Q", data, position)):
                lanes[number] = _round(lanes[number], lane)
            position += 32
        value = sum(_rotated(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for lane in lanes:
            value = ((value ^ _round(0, lane)) * PRIMES[0] + PRIMES[3]) & MASK
    else:
        value = PRIMES[4]
    value = (value + len(data)) & MASK
    while len(data) - position >= 8:
        (lane,) = struct.unpack_from("<Q", data, position)
        value = (_rotated(value ^ _round(0, lane), 27) * PRIMES[0] + PRIMES[3]) & MASK
        position += 8
    if len(data) - position >= 4:
        (half,) = struct.unpack_from("<I", data, position)
        value = (_rotated(value ^ half * PRIMES[0] & MASK, 23) * PRIMES[1] + PRIMES[2]) & MASK
        position += 4
    for byte in data[position:]:
        value = _rotated(value ^ byte * PRIMES[4] & MASK, 11) * PRIMES[0] & MASK
    value = (value ^ (value >> 33)) * PRIMES[1] & MASK
    value = (value ^ (value >> 29)) * PRIMES[2] & MASK
    return value ^ (value >> 32)


def decoded(frame: bytes) -> bytes:
    """What the `zstd` program makes of it."""
    return subprocess.run(["zstd", "-dc"], input=frame, capture_output=True, check=True).stdout


def read_metadata(folder: Path) -> dict[str, Any]:
    """`metadata.json`, its digest compared."""
    lines = (folder / "metadata.json").read_bytes().splitlines(keepends=True)
    body = b"".join(lines[:-2])
    assert body.endswith(b",\n")
    digest = hashlib.sha256(body[:-2] + b"\n}\n").hexdigest()
    document: dict[str, Any] = json.loads(b"".join(lines))
    assert document["metadata_sha256"] == digest
    assert lines[-2:] == [f'  "metadata_sha256": "{digest}"\n'.encode(), b"}\n"]
    return document


@dataclass
class Archive:
    """A main file with its index; every number in it that can be compared was compared."""

    data: bytes
    index: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Archive:
        """Find and check the seek table and the index."""
        data = path.read_bytes()
        entries, descriptor, magic = struct.unpack("<IBI", data[-9:])
        assert (descriptor, magic) == (0x80, 0x8F92EAB1)
        table_size = 8 + 12 * entries + 9
        table = data[-table_size:]
        assert struct.unpack_from("<II", table) == (0x184D2A5E, table_size - 8)
        seek = list(struct.iter_unpack("<III", table[8:-9]))
        assert sum(entry[0] for entry in seek) + table_size == len(data)
        index_size = seek[-1][0]
        assert seek[-1][1:] == (0, 0x51D8E999)
        frame = data[-table_size - index_size : -table_size]
        assert struct.unpack_from("<II", frame) == (0x184D2A5D, index_size - 8)
        assert frame[8:16] == b"dbtoolix"
        archive = cls(data, json.loads(decoded(frame[16:]).decode("ascii")))
        assert archive.index["format"] == {"name": "dbtool-archive", "version": 1}
        archive._check_frames(seek[:-1])
        return archive

    def _check_frames(self, seek: list[tuple[int, ...]]) -> None:
        frames = self.index["frames"]
        left = iter(seek)
        offset = 0
        for frame in frames:
            stored, plain, checksum = next(left)
            assert (frame["offset"], frame["stored_bytes"], frame["plain_bytes"]) == (offset, stored, plain)
            text = self.text(frame)
            assert len(text) == plain
            assert xxh64(text) & 0xFFFFFFFF == checksum
            offset += stored
            if "keys_bytes" in frame:
                assert next(left) == (frame["keys_bytes"], 0, 0x51D8E999)
                offset += frame["keys_bytes"]
        assert next(left, None) is None
        kinds = [frame["kind"] for frame in frames]
        assert kinds == sorted(kinds, key=KIND_ORDER.index)
        assert (kinds[0], kinds[-1]) == ("header", "footer")
        assert (kinds.count("header"), kinds.count("footer")) == (1, 1)

    def text(self, frame: dict[str, Any]) -> bytes:
        """The text of one frame."""
        return decoded(self.data[frame["offset"] : frame["offset"] + frame["stored_bytes"]])

    def keys(self, frame: dict[str, Any]) -> list[bytes]:
        """The keys behind a frame of rows, as text."""
        start = frame["offset"] + frame["stored_bytes"]
        data = self.data[start : start + frame["keys_bytes"]]
        assert struct.unpack_from("<II", data) == (0x184D2A5C, len(data) - 8)
        assert data[8:16] == b"dbtoolky"
        found, key, number, shift = [], 0, 0, 0
        for byte in decoded(data[16:]):
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                key = (key + (-(number + 1) // 2 if number % 2 else number // 2) + 2**63) % 2**64 - 2**63
                found.append(b"%d" % key)
                number = shift = 0
        assert shift == 0
        return found

    def script(self) -> bytes:
        """The whole script: the file as decoders see it."""
        return decoded(self.data)

    def rows(self, position: int) -> list[bytes]:
        """The rows of a table, each frame's count and digests compared."""
        table = self.index["tables"][position]
        found: list[bytes] = []
        for frame in self.index["frames"]:
            if frame["kind"] != "data" or frame["table"] != position:
                continue
            text = self.text(frame)
            prefix, suffix = frame["prefix_bytes"], frame["suffix_bytes"]
            assert re.fullmatch(rb"COPY .* FROM stdin;\n", text[:prefix], re.DOTALL)
            assert text[len(text) - suffix :] == b"\\.\n\n\n"
            rows = text[prefix : len(text) - suffix].split(b"\n")
            assert rows.pop() == b""
            assert len(rows) == frame["rows"]
            assert digest_of(rows) == frame["digest"]
            assert digest_of(keys_of(table, rows)) == frame["key_digest"]
            if "keys_bytes" in frame:
                assert self.keys(frame) == keys_of(table, rows)
            found += rows
        return found

    def check_table(self, position: int) -> list[bytes]:
        """The rows of a table, all that the index says of them compared."""
        table = self.index["tables"][position]
        rows = self.rows(position)
        assert len(rows) == table["rows"]
        assert sum(len(row) + 1 for row in rows) == table["bytes"]
        assert digest_of(rows) == table["digest"]
        keys = keys_of(table, rows)
        assert digest_of(keys) == table["key_digest"]
        buckets = base64.b64decode(table["key_buckets"])
        assert bool(buckets) == bool(keys)
        if keys:
            assert list(struct.unpack(f"<{len(buckets) // 8}Q", buckets)) == bucket_sums(
                keys, len(buckets) // 8
            )
        return rows

    def objects(self) -> dict[int, tuple[dict[str, Any], bytes]]:
        """Every schema object of the script by its number, with its SQL."""
        found = {}
        for frame in self.index["frames"]:
            text = self.text(frame) if frame.get("objects") else b""
            for item in frame.get("objects", ()):
                start = item.get("offset", 0)
                found[item["number"]] = (item, text[start : start + item["length"]])
        return found


def keys_of(table: dict[str, Any], rows: list[bytes]) -> list[bytes]:
    """The text of each row's key; nothing for a table without one."""
    names = [name for name, _ in table["columns"]]
    positions = [names.index(name) for name in table["key"]]
    if not positions:
        return []
    return [b"\t".join(row.split(b"\t")[position] for position in positions) for row in rows]


def digest_of(texts: list[bytes]) -> str:
    """The sum of the hashes, as 16 hex digits."""
    return f"{sum(map(xxh64, texts)) & MASK:016x}"


def bucket_sums(keys: list[bytes], count: int) -> list[int]:
    """The sums of the keys' hashes by the highest bits of each."""
    bits = count.bit_length() - 1
    assert count == 1 << bits
    sums = [0] * count
    for value in map(xxh64, keys):
        bucket = value >> (64 - bits) if bits else 0
        sums[bucket] = (sums[bucket] + value) & MASK
    return sums
