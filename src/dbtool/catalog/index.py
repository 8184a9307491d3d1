"""`backup_catalog.json`: an index of all backups for whoever reads it with other tools, and to list fast.

Only a cache: what counts are the backups' folders. It may be missing, stale, damaged or refused by
the store, and nothing but speed is lost.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from dbtool.catalog import metadata as metadata_file
from dbtool.catalog import names, records
from dbtool.catalog.stored import StoredBackup, backup_folders, moment, read_folder
from dbtool.errors import DbtoolError, NotFoundError
from dbtool.model.backup import Status
from dbtool.storage.base import Store

_LOCK = "catalogue"
_LOCK_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class BackupSummary:
    """One backup as the catalogue and `list` tell of it; the first eight fields are the seed's.

    `text_bytes` is the size of the script before compression, `stored_bytes` that of all artefacts.
    `verified` is "passed" or "failed" by the last verification, at `verified_at`; None: never.
    """

    id: str
    type: str
    status: str
    timestamp_start: str  # ISO 8601 in UTC
    duration_seconds: float | None
    compress: bool
    backup_location: str
    statistics: dict[str, Any]
    database: str = ""
    engine: str | None = None
    method: str | None = None
    parent: str | None = None
    label: str | None = None
    metadata_sha256: str | None = None
    stored_bytes: int = 0
    text_bytes: int = 0
    verified: str | None = None
    verified_at: str | None = None
    problem: str | None = None
    warnings: int = 0

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        return asdict(self)


_NO_STATISTICS = {"total_tables": 0, "total_rows_processed": 0, "total_size_bytes": 0}


def summary_of(store: Store, backup: StoredBackup) -> BackupSummary:
    """What the catalogue says of a backup."""
    known = backup.metadata
    common = {
        "id": backup.id,
        "type": backup.type,
        "status": backup.status.value,
        "timestamp_start": backup.timestamp_start,
        "backup_location": f"{store.url}/{backup.folder}",
        "database": backup.database,
        "metadata_sha256": backup.metadata_sha256,
        "problem": backup.problem,
        **_verified(backup.records),
    }
    if known is None:
        return BackupSummary(
            duration_seconds=None,
            compress=True,
            statistics=dict(_NO_STATISTICS),
            engine=backup.running.get("engine"),
            **common,
        )
    return BackupSummary(
        duration_seconds=known.duration_seconds,
        compress=known.compress,
        statistics={**_NO_STATISTICS, **known.statistics},
        engine=known.engine,
        method=known.method.value,
        parent=known.parent.id if known.parent else None,
        label=known.label,
        stored_bytes=sum(artefact.stored_bytes for artefact in known.artefacts),
        text_bytes=known.statistics.get("total_plain_bytes") or sum(table.bytes for table in known.tables),
        warnings=len(known.warnings),
        **common,
    )


def _verified(found: list[records.Record]) -> dict[str, Any]:
    verification = records.last(found, records.VERIFICATION)
    if verification is None:
        return {"verified": None, "verified_at": None}
    return {"verified": verification.data.get("outcome"), "verified_at": verification.time}


def read_entries(store: Store) -> dict[str, dict[str, Any]] | None:
    """The catalogue's entries by id; None if there is no usable catalogue."""
    try:
        document = json.loads(b"".join(store.get(names.CATALOGUE)))
        return {str(entry["id"]): entry for entry in document["backups"]}
    except (DbtoolError, ValueError, KeyError, TypeError):
        return None


def summaries(store: Store) -> list[BackupSummary]:
    """Every backup of the repository, oldest first. The catalogue only saves reading large metadata."""
    cached = read_entries(store) or {}
    found = [_summary(store, folder, cached.get(folder)) for folder in backup_folders(store)]
    return sorted(found, key=lambda summary: (moment(summary.timestamp_start), summary.id))


def _summary(store: Store, folder: str, entry: dict[str, Any] | None) -> BackupSummary:
    if not _is_current(store, folder, entry):
        return summary_of(store, read_folder(store, folder))
    known = {
        name: value for name, value in (entry or {}).items() if name in BackupSummary.__dataclass_fields__
    }
    known |= _verified(records.read_all(store, folder))
    known["backup_location"] = f"{store.url}/{folder}"  # the repository may have been moved
    try:
        return BackupSummary(**known)
    except TypeError:  # an entry that lacks fields, written by something else
        return summary_of(store, read_folder(store, folder))


def _is_current(store: Store, folder: str, entry: dict[str, Any] | None) -> bool:
    if entry is None or entry.get("status") != Status.COMPLETED.value or not entry.get("metadata_sha256"):
        return False
    return bool(entry["metadata_sha256"] == _stored_digest(store, folder))


def _stored_digest(store: Store, folder: str) -> str | None:
    name = f"{folder}/{names.METADATA}"
    tail = metadata_file.TAIL_BYTES
    try:
        return metadata_file.claimed_digest(store.get_range(name, max(store.size(name) - tail, 0), tail))
    except NotFoundError:
        return None


def refresh(store: Store, folder: str, known: StoredBackup | None = None) -> list[str]:
    """Enter one backup (read it, unless it is `known`), forget those that are gone. Returns notes on
    what went wrong; never fails."""
    try:
        with store.lock(_LOCK, _LOCK_TIMEOUT_SECONDS):
            entries = read_entries(store)
            present = backup_folders(store)
            if entries is None:
                entries = {name: _entry(store, name) for name in present}
            else:
                entries = {name: entry for name, entry in entries.items() if name in present}
                entries[folder] = summary_of(store, known).document() if known else _entry(store, folder)
            _write(store, entries)
    except DbtoolError as error:
        return [
            f"{names.CATALOGUE} was not updated: {error.message}; `dbtool catalog rebuild` makes it again"
        ]
    return []


def rebuild(store: Store) -> list[BackupSummary]:
    """Make the catalogue again from metadata and records; `StorageError` if it cannot be written."""
    with store.lock(_LOCK, _LOCK_TIMEOUT_SECONDS):
        found = [summary_of(store, read_folder(store, folder)) for folder in backup_folders(store)]
        _write(store, {summary.id: summary.document() for summary in found})
    return sorted(found, key=lambda summary: (moment(summary.timestamp_start), summary.id))


def _entry(store: Store, folder: str) -> dict[str, Any]:
    return summary_of(store, read_folder(store, folder)).document()


def _write(store: Store, entries: dict[str, dict[str, Any]]) -> None:
    ordered = sorted(
        entries.values(), key=lambda entry: (moment(str(entry.get("timestamp_start"))), str(entry["id"]))
    )
    with store.put(names.CATALOGUE) as upload:
        upload.write(json.dumps({"backups": ordered}, indent=2).encode() + b"\n")
        upload.commit()
