"""`backup_catalog.json`: an index of all backups for whoever reads it with other tools, and to list fast.

Only a cache: what counts are the backups' folders. It may be missing, stale, damaged or refused by
the store, and nothing but speed is lost.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from dbtool.catalog import manifest, names, records
from dbtool.catalog import metadata as metadata_file
from dbtool.catalog.stored import StoredBackup, backup_folders, differential_folders, moment, read_folder
from dbtool.errors import DbtoolError, NotFoundError
from dbtool.model.backup import Status
from dbtool.storage.base import Store

_LOCK = "catalogue"
_LOCK_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class BackupSummary:
    """One backup as the catalogue and `list` tell of it; the first eight fields are the seed's.

    `text_bytes` is the size of the script before compression, `stored_bytes` that of all artefacts.
    `folder` is its path in the repository. `parent` is the id of the backup that it builds upon,
    `parent_sha256` the digest of the parent's `metadata.json` at that time, `base` the full at the
    chain's beginning. `verified` is "passed" or "failed" by the last verification, at `verified_at`;
    None: never.
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
    parent_sha256: str | None = None
    base: str | None = None
    label: str | None = None
    metadata_sha256: str | None = None
    stored_bytes: int = 0
    text_bytes: int = 0
    verified: str | None = None
    verified_at: str | None = None
    problem: str | None = None
    warnings: int = 0
    folder: str = ""

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
        "folder": backup.folder,
        "database": backup.database,
        "base": backup.base,
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
            parent=backup.base,
            **common,
        )
    return BackupSummary(
        duration_seconds=known.duration_seconds,
        compress=known.compress,
        statistics={**_NO_STATISTICS, **known.statistics},
        engine=known.engine,
        method=known.method.value,
        parent=known.parent.id if known.parent else None,
        parent_sha256=known.parent.metadata_sha256 if known.parent else None,
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
    """The catalogue's entries by their folders; None if there is no usable catalogue."""
    try:
        document = json.loads(b"".join(store.get(names.CATALOGUE)))
        # An entry of an older dbtool has no folder: it is that of a full, whose folder is its id.
        return {str(entry.get("folder") or entry["id"]): entry for entry in document["backups"]}
    except (DbtoolError, ValueError, KeyError, TypeError, AttributeError):
        return None


def summaries(store: Store) -> list[BackupSummary]:
    """Every backup of the repository, oldest first. The catalogue only saves reading large metadata."""
    return _in_order(_summaries(store, backup_folders(store)))


def differentials_of(store: Store, full_folder: str) -> list[BackupSummary]:
    """The differentials below one full, in whatever state, oldest first."""
    return _in_order(_summaries(store, differential_folders(store, full_folder)))


def _summaries(store: Store, folders: Iterable[str]) -> list[BackupSummary]:
    cached = read_entries(store) or {}
    return [_summary(store, folder, cached.get(folder)) for folder in folders]


def _in_order(found: list[BackupSummary]) -> list[BackupSummary]:
    return sorted(found, key=lambda summary: (moment(summary.timestamp_start), summary.id))


def _summary(store: Store, folder: str, entry: dict[str, Any] | None) -> BackupSummary:
    if not _is_current(store, folder, entry):
        return summary_of(store, read_folder(store, folder))
    known = {
        name: value for name, value in (entry or {}).items() if name in BackupSummary.__dataclass_fields__
    }
    known |= _verified(records.read_all(store, folder))
    known |= {"folder": folder, "backup_location": f"{store.url}/{folder}"}  # it may have been moved
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
    """Enter one backup (read it, unless it is `known`), forget those that are gone. A completed
    differential is entered in the manifest of its full too. Returns notes on what went wrong; never
    fails."""
    full_folder = names.full_of(folder)
    notes = []
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
        notes.append(_not_updated(names.CATALOGUE, error))
    if full_folder is not None and known is not None and known.base is not None:
        try:
            with store.lock(_LOCK, _LOCK_TIMEOUT_SECONDS):
                manifest.write(store, full_folder, known.base, known)
        except DbtoolError as error:
            notes.append(_not_updated(names.MANIFEST, error))
    return notes


def _not_updated(name: str, error: DbtoolError) -> str:
    return f"{name} was not updated: {error.message}; `dbtool catalog rebuild` makes it again"


def rebuild(store: Store) -> list[BackupSummary]:
    """Make the catalogue, and the manifest of each chain, again from metadata and records;
    `StorageError` if one cannot be written."""
    with store.lock(_LOCK, _LOCK_TIMEOUT_SECONDS):
        found = [summary_of(store, read_folder(store, folder)) for folder in backup_folders(store)]
        _write(store, {summary.folder: summary.document() for summary in found})
        bases = {full: one.base for one in found if (full := names.full_of(one.folder)) is not None}
        chains = {one.folder: one.id for one in found if one.type == "full" and one.status == "completed"}
        for folder, base in (bases | chains).items():
            manifest.write(store, folder, base or folder)
    return _in_order(found)


def _entry(store: Store, folder: str) -> dict[str, Any]:
    return summary_of(store, read_folder(store, folder)).document()


def _write(store: Store, entries: dict[str, dict[str, Any]]) -> None:
    ordered = sorted(
        entries.values(), key=lambda entry: (moment(str(entry.get("timestamp_start"))), str(entry["id"]))
    )
    with store.put(names.CATALOGUE) as upload:
        upload.write(json.dumps({"backups": ordered}, indent=2).encode() + b"\n")
        upload.commit()
