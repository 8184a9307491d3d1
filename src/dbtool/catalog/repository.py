"""A repository: taking backups into it so that none half made looks whole, and finding them again.

What counts is in the backups' own folders; the catalogue index is only told, never asked.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from itertools import groupby
from pathlib import Path
from typing import Any

from dbtool.catalog import names
from dbtool.catalog.index import read_entries
from dbtool.catalog.running import RunningBackup
from dbtool.catalog.stored import (
    StoredBackup,
    backup_folders,
    differential_folders,
    has_metadata,
    moment,
    read_folder,
)
from dbtool.errors import BusyError, NotFoundError, UsageError, VerificationError
from dbtool.model.backup import BackupType, ParentLink, Status
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
        facts = _facts(id, type, database, engine, started)
        return self._claim(RunningBackup(self.store, id, facts))

    def begin_differential(
        self,
        base: StoredBackup,
        id: str,  # noqa: A002
        *,
        database: str,
        engine: str,
        started: datetime,
    ) -> RunningBackup:
        """Claim a folder below that of the full `base`, and begin a differential in it, as `begin` does.

        Its metadata must name `RunningBackup.parent`. `BusyError` if one was begun in the same second;
        `RefusedError` or `VerificationError` if the base is not completed and whole.
        """
        whole = base.completed()
        if whole.type is not BackupType.FULL or names.full_of(base.folder) is not None:
            raise ValueError(f"{base.id} is no full backup")
        if base.file_sha256 is None:
            raise VerificationError(f"nothing is known of the metadata.json of {printable(base.id)}")
        facts = {
            **_facts(id, BackupType.DIFFERENTIAL, database, engine, started),
            "parent": whole.id,
        }
        folder = names.differential_folder(base.folder, started)
        return self._claim(RunningBackup(self.store, folder, facts, ParentLink(whole.id, base.file_sha256)))

    def _claim(self, running: RunningBackup) -> RunningBackup:
        if next(self.store.list(f"{running.folder}/"), None) is not None or not running.start():
            raise BusyError(f"there is already a backup {printable(running.folder)}", "try again")
        return running

    def read(self, id: str) -> StoredBackup:  # noqa: A002
        """One backup, by its exact id; `NotFoundError` if there is none.

        Of a differential whose id nothing tells any more, the path of its folder is the id.
        """
        if "/" not in id and next(self.store.list(f"{id}/"), None) is not None:
            return read_folder(self.store, id)
        for folder in self._differential_folders(id):
            backup = read_folder(self.store, folder)
            if backup.id == id:
                return backup
        raise self._not_found(id)

    def _differential_folders(self, id: str) -> list[str]:  # noqa: A002
        """Where a differential of that id may lie: what its time says comes first."""
        if names.full_of(id) is not None:
            return [folder for folder in self.backup_folders() if folder == id]
        parts = names.id_parts(id)
        if parts is None or parts[0] is not BackupType.DIFFERENTIAL:
            return []
        folders = [folder for folder in self.backup_folders() if names.full_of(folder) is not None]
        return sorted(folders, key=lambda folder: names.folder_moment(folder) != parts[2])

    def differentials(self, full: StoredBackup) -> list[StoredBackup]:
        """Every differential below a full, in whatever state, oldest first."""
        found = [read_folder(self.store, folder) for folder in differential_folders(self.store, full.folder)]
        return sorted(found, key=lambda backup: (backup.started, backup.id))

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
        is_path = os.sep in reference or reference in (os.curdir, os.pardir)
        if names.is_backup_id(reference) or not is_path or names.full_of(reference):
            try:
                return Resolved(self, self.read(reference))
            except NotFoundError:
                if not Path(reference).exists():
                    raise
        return resolve_path(reference)

    def _latest(self, database: str | None) -> StoredBackup:
        for folder in self.folders_newest_first():
            backup = read_folder(self.store, folder)
            if backup.status is Status.COMPLETED and database in (None, backup.database):
                return backup
        of = f" of {printable(database)}" if database is not None else ""
        raise NotFoundError(
            f"there is no completed backup{of} in {self.store.url}", "take one, or see `dbtool list`"
        )

    def folders_newest_first(self) -> list[str]:
        """Every backup's folder, by the time that it tells; those of the same second by what is in them."""
        found: list[str] = []
        for _, group in groupby(sorted(self.backup_folders(), key=_newest_first), key=_newest_first):
            of_one_second = list(group)
            if len(of_one_second) > 1:
                of_one_second.sort(key=lambda folder: read_folder(self.store, folder).started, reverse=True)
            found += of_one_second
        return found

    def _not_found(self, id: str) -> NotFoundError:  # noqa: A002
        known = self._known_ids()
        near = [name for name in known if id and name.startswith(id)] or get_close_matches(id, known, 3, 0.5)
        if near:
            hint = "did you mean " + " or ".join(printable(name) for name in near[:3]) + "?"
        else:
            hint = "see `dbtool list`, or give the repository with -path"
        return NotFoundError(f"there is no backup {printable(id)} in {printable(self.store.url)}", hint)

    def _known_ids(self) -> list[str]:
        """The ids of all backups, as far as they are known without reading metadata."""
        cached = read_entries(self.store) or {}
        return [str(cached.get(folder, {}).get("id", folder)) for folder in self.backup_folders()]


def _facts(
    id: str,  # noqa: A002
    type: BackupType,  # noqa: A002
    database: str,
    engine: str,
    started: datetime,
) -> dict[str, Any]:
    """What `running.json` says of a backup from the first moment on."""
    return {
        "id": id,
        "type": type.value,
        "database": database,
        "engine": engine,
        "timestamp_start": started.astimezone(timezone.utc).isoformat(),
    }


def _newest_first(folder: str) -> float:
    return -moment(names.folder_moment(folder)).timestamp()


def resolve_path(reference: str) -> Resolved:
    """The backup or the lone archive at a path of this machine; see `Repository.resolve`."""
    path = Path(os.path.normpath(Path(reference).expanduser().absolute()))
    if not path.exists():
        raise NotFoundError(f"{printable(str(path))} is not there", "give an id, `latest`, or a file's path")
    folder = path if path.is_dir() else path.parent
    if folder.parent == folder:
        raise UsageError(f"{printable(str(path))} is no backup", "give an id, `latest`, or a file's path")
    root, name = _split(folder)
    repository = Repository(open_store(str(root)))
    archive = None if path.is_dir() or path.name == names.METADATA else f"{name}/{path.name}"
    complete = has_metadata(repository.store, name)
    if archive is not None and not complete:
        return Resolved(Repository(open_store(str(folder))), None, path.name)
    if not complete and not names.is_backup_id(name) and not names.full_of(name):
        raise NotFoundError(f"{printable(str(path))} is no backup", "give an id, `latest`, or a file's path")
    return Resolved(repository, read_folder(repository.store, name), archive)


def _split(folder: Path) -> tuple[Path, str]:
    """A backup's folder as its repository and its name in it."""
    full = folder.parent.parent
    is_differential = folder.parent.name == names.DIFFERENTIALS and (
        names.is_stamp(folder.name) or (folder / names.METADATA).exists()
    )
    if is_differential and full.parent != full:
        return full.parent, f"{full.name}/{names.DIFFERENTIALS}/{folder.name}"
    return folder.parent, folder.name
