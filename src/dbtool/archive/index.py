"""The archive's own index: JSON, compressed, in a skippable frame before the seek table.

Its payload is 8 bytes that say what it is, then one zstd frame of UTF-8 JSON.
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import fields
from typing import Any

from dbtool.archive.zstd import compress_frame, decompress_frame
from dbtool.errors import VerificationError
from dbtool.model.archive import ArchiveIndex, Frame, FrameKind, SchemaObject, TableSummary

INDEX_MAGIC = 0x184D2A5D  # a skippable frame: decoders pass over it
INDEX_LABEL = b"dbtoolix"
FORMAT_VERSION = 1
FORMAT = {"name": "dbtool-archive", "version": FORMAT_VERSION}
_HEADER = struct.Struct("<II")
_INDEX_LEVEL = 3


def digest_text(digest: int) -> str:
    """A digest as it is written everywhere: 16 hex digits."""
    return f"{digest:016x}"


def encode_index(index: ArchiveIndex) -> bytes:
    """The whole skippable frame."""
    document: dict[str, Any] = {
        "format": FORMAT,
        "backup": index.backup,
        "tables": [_table_to_json(table) for table in index.tables],
        "frames": [_frame_to_json(frame) for frame in index.frames],
        "omitted": [_object_to_json(item) for item in index.omitted],
        "warnings": list(index.warnings),
    }
    if index.schema:
        document["schema"] = [[kind.value, _object_to_json(item)] for kind, item in index.schema]
    text = json.dumps(document, separators=(",", ":")).encode("ascii")
    payload = INDEX_LABEL + compress_frame(text, _INDEX_LEVEL)
    return _HEADER.pack(INDEX_MAGIC, len(payload)) + payload


def decode_index(frame: bytes) -> ArchiveIndex:
    """The index in a skippable frame. `VerificationError` if it is none, or damaged."""
    if len(frame) < _HEADER.size + len(INDEX_LABEL):
        raise VerificationError("the archive's index is cut off")
    magic, size = _HEADER.unpack_from(frame)
    label = frame[_HEADER.size : _HEADER.size + len(INDEX_LABEL)]
    if magic != INDEX_MAGIC or label != INDEX_LABEL or size != len(frame) - _HEADER.size:
        raise VerificationError("the archive has no index of dbtool's, or it is damaged")
    text = decompress_frame(frame[_HEADER.size + len(INDEX_LABEL) :], "the archive's index")
    try:
        document = json.loads(text)
        version = int(document["format"]["version"])
        if version > FORMAT_VERSION:
            raise VerificationError(
                f"the archive has format {version}, this dbtool reads up to {FORMAT_VERSION}",
                "use a newer dbtool",
            )
        return ArchiveIndex(
            backup=document["backup"],
            tables=tuple(_table_from_json(item) for item in document["tables"]),
            frames=tuple(_frame_from_json(item) for item in document["frames"]),
            omitted=tuple(_object_from_json(item) for item in document["omitted"]),
            warnings=tuple(document["warnings"]),
            schema=tuple(
                (FrameKind(kind), _object_from_json(item)) for kind, item in document.get("schema", ())
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError(f"the archive's index cannot be understood: {error!r}") from None


def _sparse(item: Any, skip: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults."""
    return {
        field.name: value
        for field in fields(item)
        if field.name not in skip and (value := getattr(item, field.name)) != field.default
    }


_OBJECT_FIELDS = frozenset(field.name for field in fields(SchemaObject))
_FRAME_FIELDS = frozenset(field.name for field in fields(Frame))


def _known(names: frozenset[str], document: dict[str, Any]) -> dict[str, Any]:
    """A document without the fields that a later dbtool of the same format version may add."""
    return {name: value for name, value in document.items() if name in names}


def _object_to_json(item: SchemaObject) -> dict[str, Any]:
    return _sparse(item)


def _object_from_json(document: dict[str, Any]) -> SchemaObject:
    return SchemaObject(**{**_known(_OBJECT_FIELDS, document), "needs": tuple(document.get("needs", ()))})


def _frame_to_json(frame: Frame) -> dict[str, Any]:
    document = _sparse(frame, frozenset({"digest", "key_digest", "objects"}))
    document["kind"] = frame.kind.value
    if frame.rows:
        document["digest"] = digest_text(frame.digest)
        document["key_digest"] = digest_text(frame.key_digest)
    if frame.objects:
        document["objects"] = [_object_to_json(item) for item in frame.objects]
    return document


def _frame_from_json(document: dict[str, Any]) -> Frame:
    values = _known(_FRAME_FIELDS, document)
    values["kind"] = FrameKind(values["kind"])
    values["digest"] = int(values.get("digest", "0"), 16)
    values["key_digest"] = int(values.get("key_digest", "0"), 16)
    values["objects"] = tuple(_object_from_json(item) for item in values.get("objects", ()))
    if values.get("bounds") is not None:
        values["bounds"] = tuple(values["bounds"])
    return Frame(**values)


def _table_to_json(table: TableSummary) -> dict[str, Any]:
    return {
        "identity": table.identity,
        "schema": table.schema,
        "name": table.name,
        "columns": [list(column) for column in table.columns],
        "key": list(table.key),
        "rows": table.rows,
        "bytes": table.bytes,
        "digest": digest_text(table.digest),
        "key_digest": digest_text(table.key_digest),
        "key_buckets": base64.b64encode(table.key_buckets).decode("ascii"),
        "details": table.details,
    }


def _table_from_json(document: dict[str, Any]) -> TableSummary:
    return TableSummary(
        identity=document["identity"],
        schema=document["schema"],
        name=document["name"],
        columns=tuple((name, type_) for name, type_ in document["columns"]),
        key=tuple(document["key"]),
        rows=document["rows"],
        bytes=document["bytes"],
        digest=int(document["digest"], 16),
        key_digest=int(document["key_digest"], 16),
        key_buckets=base64.b64decode(document["key_buckets"]),
        details=document["details"],
    )
