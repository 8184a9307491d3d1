"""Looking at a repository: `list`, `show`, `catalog rebuild`. Nothing here touches a backup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dbtool.catalog import index, manifest, metadata
from dbtool.catalog.index import BackupSummary
from dbtool.catalog.repository import Repository
from dbtool.catalog.stored import StoredBackup
from dbtool.model.backup import BackupType, Metadata
from dbtool.storage.base import Store


def list_backups(store: Store) -> list[BackupSummary]:
    """Every backup in whatever state, oldest first, the catalogue missing or not."""
    return index.summaries(store)


def show(store: Store, reference: str, database: str | None = None) -> dict[str, Any]:
    """All that is known of one backup, as JSON values: its metadata, or what is left of a backup
    without any, then `status`, `backup_location`, `problem`, `verified`, `records`. A full has its
    `differentials`, as `list` tells of them; a differential says in `differential` what is in it.

    `reference` is what `Repository.resolve` takes. `NotFoundError` if it names no backup.
    """
    resolved = Repository(store).resolve(reference, database)
    backup = resolved.known_backup()
    summary = index.summary_of(resolved.repository.store, backup).document()
    if backup.metadata is None:
        return {**summary, "records": [record.document() for record in backup.records]}
    return {
        **_of_chain(resolved.repository.store, backup, backup.metadata),
        **metadata.to_document(backup.metadata),
        **{
            name: summary[name]
            for name in ("status", "backup_location", "problem", "verified", "verified_at", "metadata_sha256")
        },
        "records": [record.document() for record in backup.records],
    }


def differential_contents(tables: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """What is in a differential, from the `details` of its tables: how many are `unchanged`, how many
    came as changed `rows` and how many `whole`, how many are `left_out`, and how many keys are `removed`."""
    found = {"unchanged": 0, "rows": 0, "whole": 0, "left_out": 0, "removed": 0}
    for details in tables:
        taken = details.get("differential") or {}
        name = str(taken.get("taken")).replace(" ", "_")
        if name in ("unchanged", "rows", "whole", "left_out"):
            found[name] += 1
        found["removed"] += int(taken.get("removed") or 0)
    return found


def _of_chain(store: Store, backup: StoredBackup, known: Metadata) -> dict[str, Any]:
    if known.type is BackupType.FULL:
        below = index.differentials_of(store, backup.folder)
        return {"differentials": [summary.document() for summary in below]}
    if known.type is not BackupType.DIFFERENTIAL:
        return {}
    contents = differential_contents(table.details for table in known.tables)
    return {
        "differential": {
            "method": manifest.method_of(known),
            "deletes_covered": manifest.covers_deletes(known),
            **contents,
        }
    }


def rebuild_catalogue(store: Store) -> list[BackupSummary]:
    """Make `backup_catalog.json` again from the backups; `StorageError` if it cannot be written."""
    return index.rebuild(store)
