"""`metadata.json`: the truth about a backup, as bytes and back. The form is in `docs/format.md`.

Nothing is read or written here; `repository.py` does that.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from typing import Any, TypeVar

from dbtool.errors import DbtoolError, VerificationError
from dbtool.model.backup import Artefact, BackupType, Metadata, Method, ParentLink, TableRecord

FORMAT_VERSION = 1
DIGEST_FIELD = "metadata_sha256"
TAIL_BYTES = 128  # the end of the file that surely holds the digest

_TAIL = re.compile(rb',\n  "metadata_sha256": "([0-9a-f]{64})"\n\}\n\Z')
# Valid inside a JSON string as they are, but a terminal or an editor would act on them.
_UNSAFE = re.compile("[\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")


_Built = TypeVar("_Built")


def to_document(metadata: Metadata) -> dict[str, Any]:
    """The fields of `metadata.json` in their order, as JSON values, without the digest."""
    document: dict[str, Any] = {}
    for field in dataclasses.fields(metadata):
        document[field.name] = _json_value(getattr(metadata, field.name))
    return document


def _json_value(value: Any) -> Any:
    if isinstance(value, TableRecord):  # there may be 100,000
        return {**vars(value), "columns": [list(column) for column in value.columns], "key": list(value.key)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _json_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (BackupType, Method)):
        return value.value
    if isinstance(value, dict):
        return {key: _json_value(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(member) for member in value]
    return value


def from_document(document: dict[str, Any]) -> Metadata:
    """The metadata that `to_document` was given. Fields that it does not know are passed over.

    `VerificationError` if a field is missing or is not what it must be, `DbtoolError` if the
    document was written by a dbtool with a newer format.
    """
    version = document.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool):
        raise VerificationError(
            "metadata.json does not say its format_version", "restore the file from a copy"
        )
    if version > FORMAT_VERSION:
        raise DbtoolError(
            f"metadata.json has format {version}, this dbtool reads up to {FORMAT_VERSION}",
            "use a newer dbtool",
        )
    try:
        values = dict(document)
        values["type"] = BackupType(document["type"])
        values["method"] = Method(document["method"])
        values["artefacts"] = tuple(_built(Artefact, item) for item in document["artefacts"])
        values["tables"] = tuple(_table(item) for item in document["tables"])
        values["clients"] = tuple(document.get("clients", ()))
        values["warnings"] = tuple(document.get("warnings", ()))
        parent = document.get("parent")
        values["parent"] = None if parent is None else _built(ParentLink, parent)
        return _built(Metadata, values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise VerificationError(
            f"metadata.json lacks a field or has a wrong one: {error}", "restore the file from a copy"
        ) from error


def _table(item: dict[str, Any]) -> TableRecord:
    columns = tuple((str(name), str(type_name)) for name, type_name in item["columns"])
    return _built(TableRecord, {**item, "columns": columns, "key": tuple(item["key"])})


def _built(kind: type[_Built], values: dict[str, Any]) -> _Built:
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: value for name, value in values.items() if name in known})


def encode(metadata: Metadata) -> bytes:
    """The bytes of `metadata.json`, its digest last."""
    document = to_document(metadata)
    try:
        body = _body(document, ascii_only=False).encode()
    except UnicodeEncodeError:  # names in no known encoding are lone surrogates: only \udcXX can carry them
        body = _body(document, ascii_only=True).encode()
    digest = hashlib.sha256(body + b"\n}\n").hexdigest()
    return body + f',\n  "{DIGEST_FIELD}": "{digest}"\n}}\n'.encode()


def _body(document: dict[str, Any], ascii_only: bool) -> str:
    """The document up to its last field: one top-level field, list item or member a line."""
    dumps = json.JSONEncoder(ensure_ascii=ascii_only, allow_nan=False).encode
    fields = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            shown = "[\n    " + ",\n    ".join(dumps(item) for item in value) + "\n  ]"
        elif isinstance(value, dict) and value:
            members = (f"{dumps(key)}: {dumps(member)}" for key, member in value.items())
            shown = "{\n    " + ",\n    ".join(members) + "\n  }"
        else:
            shown = dumps(value)
        fields.append(f"  {dumps(name)}: {shown}")
    text = "{\n" + ",\n".join(fields)
    return _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def claimed_digest(tail: bytes) -> str | None:
    """The digest that stands at the end of `metadata.json`; None if there is none. Checks nothing."""
    match = _TAIL.search(tail)
    return match.group(1).decode() if match else None


def decode(data: bytes, name: str = "metadata.json") -> Metadata:
    """The metadata in a file's bytes; `VerificationError`, naming the file, if a bit of it changed."""
    hint = "restore the file from a copy; the archive itself can still be verified and restored by its path"
    match = _TAIL.search(data[-TAIL_BYTES:])
    if match is None:
        raise VerificationError(f"{name} was changed or cut: it does not end in its digest", hint)
    body = memoryview(data)[: len(data) - len(match.group())]
    digest = hashlib.sha256(body)
    digest.update(b"\n}\n")
    if digest.hexdigest() != match.group(1).decode():
        raise VerificationError(f"{name} was changed: it does not match its digest", hint)
    try:
        document = json.loads(data)
    except ValueError as error:
        raise VerificationError(f"{name} is not JSON: {error}", hint) from error
    return from_document(document)
