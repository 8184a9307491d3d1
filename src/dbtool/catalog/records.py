"""Records: what became known about a backup after it was taken. Only ever added, never changed.

Each is a file `records/<UTC time>_<hex>.json` in the backup's folder:
`{"kind": "verification", "time": "2025-11-01T12:00:00+00:00", "data": {…}}`.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from dbtool.catalog import names
from dbtool.errors import DbtoolError, NotFoundError, StorageError
from dbtool.storage.base import Store

VERIFICATION = "verification"
DRILL = "drill"
PIN = "pin"
FAILURE = "failure"
RESTORE = "restore"
UNREADABLE = "unreadable"  # never written: what a damaged record is read as


@dataclass(frozen=True)
class Record:
    """One record. `time` is ISO 8601 in UTC; `name` is its file's name in `records/`."""

    kind: str
    time: str
    data: dict[str, Any] = field(default_factory=dict)
    name: str = ""

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {"kind": self.kind, "time": self.time, "data": self.data, "name": self.name}


def add(store: Store, folder: str, kind: str, data: dict[str, Any]) -> Record:
    """Write a record into the backup's folder; `StorageError` if that cannot be."""
    moment = datetime.now(timezone.utc)
    time = moment.isoformat(timespec="milliseconds")
    encoded = json.dumps({"kind": kind, "time": time, "data": data}, indent=2).encode() + b"\n"
    for _ in range(8):
        name = f"{names.utc_stamp(moment)}_{secrets.token_hex(4)}.json"
        if store.put_if_absent(f"{folder}/{names.RECORDS}/{name}", encoded):
            return Record(kind, time, data, name)
    raise StorageError(f"cannot add a record to {folder}", "look at what lies in its folder records")


def read_all(store: Store, folder: str) -> list[Record]:
    """A backup's records, oldest first. One that cannot be read has the kind `unreadable`."""
    prefix = f"{folder}/{names.RECORDS}/"
    found = []
    for entry in store.list(prefix):
        record = _read(store, entry.name, entry.name[len(prefix) :])
        if record is not None:
            found.append(record)
    return sorted(found, key=lambda record: (record.time, record.name))


def _read(store: Store, path: str, name: str) -> Record | None:
    try:
        document = json.loads(b"".join(store.get(path)))
        data = document.get("data", {})
        return Record(
            str(document["kind"]), str(document["time"]), data if isinstance(data, dict) else {}, name
        )
    except NotFoundError:
        return None  # gone since it was listed
    except (ValueError, KeyError, AttributeError, TypeError, DbtoolError) as error:
        return Record(UNREADABLE, "", {"error": str(error)}, name)


def last(records: list[Record], kind: str) -> Record | None:
    """The newest record of a kind."""
    return next((record for record in reversed(records) if record.kind == kind), None)
