"""A backup as it lies in a repository, and how its state is told from the files in its folder."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from dbtool.catalog import heartbeat, names, records
from dbtool.catalog import metadata as metadata_file
from dbtool.catalog.records import Record
from dbtool.errors import DbtoolError, NotFoundError, RefusedError, VerificationError
from dbtool.model.backup import BackupType, Metadata, Status
from dbtool.storage.base import Store

#: The problem of a folder that tells nothing of a run: most likely a file was lost.
LOST_METADATA = "it has no metadata.json"

_ID_FIELD = re.compile(rb'\A\{\n  "id": ("(?:[^"\\\n]|\\.)*"),\n')


@dataclass(frozen=True)
class StoredBackup:
    """A backup as it lies in a repository.

    `folder` is its path in the repository: for a differential below that of its full, else the id.
    `metadata` is None unless it was completed and is undamaged. `metadata_sha256` is the digest that
    `metadata.json` claims for itself; `file_sha256` is that of all its bytes, which links of a chain
    name. `problem` says in one line why a backup is not good for use. `running` is what
    `running.json` says, if there is one.
    """

    id: str
    folder: str
    status: Status
    metadata: Metadata | None = None
    metadata_sha256: str | None = None
    records: list[Record] = field(default_factory=list)
    problem: str | None = None
    running: dict[str, Any] = field(default_factory=dict)
    file_sha256: str | None = None

    @property
    def type(self) -> str:
        """As far as it is known."""
        if self.metadata:
            return self.metadata.type.value
        parts = names.id_parts(self.id)
        unnamed = BackupType.DIFFERENTIAL.value if names.full_of(self.folder) else "unknown"
        return parts[0].value if parts else str(self.running.get("type", unnamed))

    @property
    def database(self) -> str:
        """The database's name, as far as it is known."""
        if self.metadata:
            return str(self.metadata.database.get("name", ""))
        told = self.running or (self._failure.data if self._failure else {})
        if told.get("database"):
            return str(told["database"])
        parts = names.id_parts(self.id) or names.id_parts(names.full_of(self.folder) or "")
        return parts[1] if parts else ""

    @property
    def timestamp_start(self) -> str:
        """ISO 8601 in UTC; empty if nothing tells it."""
        if self.metadata:
            return self.metadata.timestamp_start
        if self.running.get("timestamp_start"):
            return str(self.running["timestamp_start"])
        return names.folder_moment(self.id) or names.folder_moment(self.folder)

    @property
    def started(self) -> datetime:
        """`timestamp_start` as a time, for ordering."""
        return moment(self.timestamp_start)

    @property
    def base(self) -> str | None:
        """The id of the full that a differential lies below; None for anything else."""
        if names.full_of(self.folder) is None:
            return None
        return (
            self.metadata.parent.id if self.metadata and self.metadata.parent else self.folder.split("/")[0]
        )

    @property
    def _failure(self) -> Record | None:
        return records.last(self.records, records.FAILURE)

    def completed(self) -> Metadata:
        """The metadata, if the backup may be restored; else `RefusedError` or `VerificationError`."""
        if self.metadata is not None:
            return self.metadata
        if self.is_damaged:
            raise VerificationError(f"{self.problem}", f"see `dbtool verify {self.id}`")
        why = f": {self.problem}" if self.problem else ""
        raise RefusedError(
            f"backup {self.id} is {self.status.value}{why}", "choose a completed one: `dbtool list`"
        )

    @property
    def is_damaged(self) -> bool:
        """Whether it was completed, but its `metadata.json` was changed since."""
        return self.status is Status.FAILED and self.metadata_sha256 is not None


def moment(timestamp: str) -> datetime:
    try:
        moment = datetime.fromisoformat(timestamp.replace("Z", "+00:00"))
    except ValueError:
        return datetime.fromtimestamp(0, timezone.utc)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def has_metadata(store: Store, folder: str) -> bool:
    """Whether there is a `metadata.json`, whatever is in it."""
    try:
        store.size(f"{folder}/{names.METADATA}")
    except NotFoundError:
        return False
    return True


def backup_folders(store: Store) -> list[str]:
    """The folders of a repository that are, or were to become, backups; differentials behind their full."""
    found = []
    for name in store.folders():
        if names.is_backup_id(name) or has_metadata(store, name):
            found += [name, *differential_folders(store, name)]
    return found


def differential_folders(store: Store, full_folder: str) -> list[str]:
    """The folders of the differentials below a full's, in whatever state, oldest first."""
    prefix = f"{full_folder}/{names.DIFFERENTIALS}"
    below = store.folders(f"{prefix}/")
    return [
        f"{prefix}/{name}"
        for name in below
        if names.is_stamp(name) or has_metadata(store, f"{prefix}/{name}")
    ]


def read_folder(store: Store, folder: str) -> StoredBackup:
    """What lies in a backup's folder; its records are read, its artefacts are not looked at."""
    # running.json first: a backup that completes between the two reads is then seen as completed.
    running = heartbeat.read_running(store, folder)
    try:
        data = b"".join(store.get(f"{folder}/{names.METADATA}"))
    except NotFoundError:
        return _without_metadata(store, folder, running)
    found = records.read_all(store, folder)
    claimed = metadata_file.claimed_digest(data[-metadata_file.TAIL_BYTES :]) or ""
    known, status, problem = None, Status.COMPLETED, None
    try:
        known = metadata_file.decode(data, f"{folder}/{names.METADATA}")
    except VerificationError as error:
        status, problem = Status.FAILED, error.message
    except DbtoolError as error:  # written by a newer dbtool: not ours to judge
        problem = error.message
    return StoredBackup(
        _id_of(folder, known.id if known else _written_id(data), found),
        folder,
        status,
        known,
        claimed,
        found,
        problem,
        file_sha256=hashlib.sha256(data).hexdigest(),
    )


def _without_metadata(store: Store, folder: str, running: dict[str, Any] | None) -> StoredBackup:
    found = records.read_all(store, folder)
    failure = records.last(found, records.FAILURE)
    told = failure.data if failure is not None else running or {}
    status, problem = Status.INTERRUPTED, None
    if failure is not None:
        status = Status.INTERRUPTED if failure.data.get("status") == "interrupted" else Status.FAILED
        problem = str(failure.data.get("error", "it failed"))
    elif running is not None and heartbeat.is_alive(store, folder, running):
        status = Status.RUNNING
    else:
        problem = "its process died before it was complete" if running is not None else LOST_METADATA
    return StoredBackup(
        _id_of(folder, told.get("id"), found), folder, status, None, None, found, problem, told
    )


def _id_of(folder: str, told: Any, found: list[Record]) -> str:
    """A backup's id: its folder's name, but for a differential, whose folder is only called by its time.

    Where nothing in that folder tells the id any more, the folder's path takes its place.
    """
    if names.full_of(folder) is None:
        return folder
    verification = records.last(found, records.VERIFICATION)
    known = (told, verification.data.get("backup") if verification else None)
    return next((one for one in known if isinstance(one, str) and names.is_backup_id(one)), folder)


def _written_id(data: bytes) -> str | None:
    """The id in a `metadata.json` that is damaged elsewhere."""
    match = _ID_FIELD.match(data)
    try:
        return str(json.loads(match.group(1))) if match else None
    except ValueError:
        return None
