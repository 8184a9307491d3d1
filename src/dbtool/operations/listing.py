"""Looking at a repository: `list`, `show`, `catalog rebuild`. Nothing here touches a backup."""

from __future__ import annotations

from typing import Any

from dbtool.catalog import index, metadata
from dbtool.catalog.index import BackupSummary
from dbtool.catalog.repository import Repository
from dbtool.storage.base import Store


def list_backups(store: Store) -> list[BackupSummary]:
    """Every backup in whatever state, oldest first, the catalogue missing or not."""
    return index.summaries(store)


def show(store: Store, reference: str, database: str | None = None) -> dict[str, Any]:
    """All that is known of one backup, as JSON values: its metadata, or what is left of a backup
    without any, then `status`, `backup_location`, `problem`, `verified`, `records`.

    `reference` is what `Repository.resolve` takes. `NotFoundError` if it names no backup.
    """
    resolved = Repository(store).resolve(reference, database)
    backup = resolved.known_backup()
    summary = index.summary_of(resolved.repository.store, backup).document()
    if backup.metadata is None:
        return {**summary, "records": [record.document() for record in backup.records]}
    return {
        **metadata.to_document(backup.metadata),
        **{
            name: summary[name]
            for name in ("status", "backup_location", "problem", "verified", "verified_at", "metadata_sha256")
        },
        "records": [record.document() for record in backup.records],
    }


def rebuild_catalogue(store: Store) -> list[BackupSummary]:
    """Make `backup_catalog.json` again from the backups; `StorageError` if it cannot be written."""
    return index.rebuild(store)
