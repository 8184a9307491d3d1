"""A repository: taking backups into it so that none half made looks whole, and finding them again.

What counts is in the backups' own folders; the catalogue index is only told, never asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dbtool.catalog import names
from dbtool.catalog.running import RunningBackup
from dbtool.catalog.stored import StoredBackup, backup_folders, has_metadata, moment, read_folder
from dbtool.errors import BusyError, NotFoundError, UsageError
from dbtool.model.backup import BackupType, Status
from dbtool.storage.base import Store
from dbtool.storage.open import open_store
from dbtool.text import printable


@dataclass(frozen=True)
class Resolved:
    """What a user's reference means: a backup, or an archive that lies alone.

    `archive_name` is the stored name of the file that was named, if a file was. `backup` is None
    if there is no `metadata.json` beside that file.
    """

    repository: Repository
    backup: StoredBackup | None
    archive_name: str | None = None

    def known_backup(self) -> StoredBackup:
        """The backup; `NotFoundError` if it is only an archive that lies alone."""
        if self.backup is None:
            raise NotFoundError(
                f"there is no {names.METADATA} beside {printable(self.archive_name or '')}",
                "the archive itself can be verified and restored",
            )
        return self.backup


class Repository:
    """The backups of one Store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def begin(
        self,
        id: str,  # noqa: A002
        *,
        type: BackupType,  # noqa: A002
        database: str,
        engine: str,
        started: datetime,
    ) -> RunningBackup:
        """Claim the folder `id` and begin a backup in it; `BusyError` if the folder is taken.

        Use the result as a context manager: leaving it without `complete` makes it a failed backup.
        """
        facts = {
            "id": id,
            "type": type.value,
            "database": database,
            "engine": engine,
            "timestamp_start": started.astimezone(timezone.utc).isoformat(),
        }
        running = RunningBackup(self.store, id, facts)
        if next(self.store.list(f"{id}/"), None) is not None or not running.start():
            raise BusyError(f"there is already a backup {printable(id)}", "try again")
        return running

    def read(self, id: str) -> StoredBackup:  # noqa: A002
        """One backup, by its exact id; `NotFoundError` if there is none."""
        if "/" in id or next(self.store.list(f"{id}/"), None) is None:
            raise self._not_found(id)
        return read_folder(self.store, id)

    def backup_folders(self) -> list[str]:
        """The folders that are, or were to become, backups."""
        return backup_folders(self.store)

    def all(self) -> list[StoredBackup]:
        """Every backup in whatever state, oldest first."""
        found = [read_folder(self.store, folder) for folder in self.backup_folders()]
        return sorted(found, key=lambda backup: (backup.started, backup.id))

    def resolve(self, reference: str, database: str | None = None) -> Resolved:
        """What `reference` means: `latest` (completed, of `database` if given), an id, or a path.

        A path may be a backup's folder, its `metadata.json`, or an archive, in this repository or
        not. `NotFoundError` offers the nearest ids. The backup may be in any state: see
        `StoredBackup.completed`.
        """
        if reference == "latest":
            return Resolved(self, self._latest(database))
        if names.is_backup_id(reference) or os.sep not in reference:
            try:
                return Resolved(self, self.read(reference))
            except NotFoundError:
                if not Path(reference).exists():
                    raise
        return resolve_path(reference)

    def _latest(self, database: str | None) -> StoredBackup:
        for folder in sorted(self.backup_folders(), key=_newest_first):
            backup = read_folder(self.store, folder)
            if backup.status is Status.COMPLETED and database in (None, backup.database):
                return backup
        of = f" of {printable(database)}" if database is not None else ""
        raise NotFoundError(
            f"there is no completed backup{of} in {self.store.url}", "take one, or see `dbtool list`"
        )

    def _not_found(self, id: str) -> NotFoundError:  # noqa: A002
        known = self.backup_folders()
        near = [name for name in known if id and name.startswith(id)] or get_close_matches(id, known, 3, 0.5)
        if near:
            hint = "did you mean " + " or ".join(printable(name) for name in near[:3]) + "?"
        else:
            hint = "see `dbtool list`, or give the repository with -path"
        return NotFoundError(f"there is no backup {printable(id)} in {printable(self.store.url)}", hint)


def _newest_first(folder: str) -> Any:
    parts = names.id_parts(folder)
    return -moment(parts[2] if parts else "").timestamp()


def resolve_path(reference: str) -> Resolved:
    """The backup or the lone archive at a path of this machine; see `Repository.resolve`."""
    path = Path(os.path.normpath(Path(reference).expanduser().absolute()))
    if not path.exists():
        raise NotFoundError(f"{printable(str(path))} is not there", "give an id, `latest`, or a file's path")
    folder = path if path.is_dir() else path.parent
    if folder.parent == folder:
        raise UsageError(f"{printable(str(path))} is no backup", "give an id, `latest`, or a file's path")
    repository = Repository(open_store(str(folder.parent)))
    archive = None if path.is_dir() or path.name == names.METADATA else f"{folder.name}/{path.name}"
    complete = has_metadata(repository.store, folder.name)
    if archive is not None and not complete:
        return Resolved(Repository(open_store(str(folder))), None, path.name)
    if not complete and not names.is_backup_id(folder.name):
        raise NotFoundError(f"{printable(str(path))} is no backup", "give an id, `latest`, or a file's path")
    return Resolved(repository, read_folder(repository.store, folder.name), archive)
