"""A backup as it lies in a repository, and how its state is told from the files in its folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from dbtool.catalog import heartbeat, names, records
from dbtool.catalog import metadata as metadata_file
from dbtool.catalog.records import Record
from dbtool.errors import DbtoolError, NotFoundError, RefusedError, VerificationError
from dbtool.model.backup import Metadata, Status
from dbtool.storage.base import Store

#: The problem of a folder that tells nothing of a run: most likely a file was lost.
LOST_METADATA = "it has no metadata.json"


@dataclass(frozen=True)
class StoredBackup:
    """A backup as it lies in a repository.

    `metadata` is None unless it was completed and is undamaged. `problem` says in one line why a
    backup is not good for use. `running` is what `running.json` says, if there is one.
    """

    id: str
    folder: str
    status: Status
    metadata: Metadata | None = None
    metadata_sha256: str | None = None
    records: list[Record] = field(default_factory=list)
    problem: str | None = None
    running: dict[str, Any] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """As far as it is known."""
        if self.metadata:
            return self.metadata.type.value
        parts = names.id_parts(self.id)
        return parts[0].value if parts else str(self.running.get("type", "unknown"))

    @property
    def database(self) -> str:
        """The database's name, as far as it is known."""
        if self.metadata:
            return str(self.metadata.database.get("name", ""))
        told = self.running or (self._failure.data if self._failure else {})
        if told.get("database"):
            return str(told["database"])
        parts = names.id_parts(self.id)
        return parts[1] if parts else ""

    @property
    def timestamp_start(self) -> str:
        """ISO 8601 in UTC; empty if nothing tells it."""
        if self.metadata:
            return self.metadata.timestamp_start
        if self.running.get("timestamp_start"):
            return str(self.running["timestamp_start"])
        parts = names.id_parts(self.id)
        return parts[2] if parts else ""

    @property
    def started(self) -> datetime:
        """`timestamp_start` as a time, for ordering."""
        return moment(self.timestamp_start)

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
    """The folders of a repository that are, or were to become, backups."""
    return [name for name in store.folders() if names.is_backup_id(name) or has_metadata(store, name)]


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
    try:
        known = metadata_file.decode(data, f"{folder}/{names.METADATA}")
    except VerificationError as error:
        return StoredBackup(folder, folder, Status.FAILED, None, claimed, found, error.message)
    except DbtoolError as error:  # written by a newer dbtool: not ours to judge
        return StoredBackup(folder, folder, Status.COMPLETED, None, claimed, found, error.message)
    return StoredBackup(folder, folder, Status.COMPLETED, known, claimed, found)


def _without_metadata(store: Store, folder: str, running: dict[str, Any] | None) -> StoredBackup:
    found = records.read_all(store, folder)
    failure = records.last(found, records.FAILURE)
    if failure is not None:
        status = Status.INTERRUPTED if failure.data.get("status") == "interrupted" else Status.FAILED
        problem = str(failure.data.get("error", "it failed"))
        return StoredBackup(folder, folder, status, None, None, found, problem, failure.data)
    if running is not None and heartbeat.is_alive(store, folder, running):
        return StoredBackup(folder, folder, Status.RUNNING, None, None, found, None, running)
    problem = "its process died before it was complete" if running is not None else LOST_METADATA
    return StoredBackup(folder, folder, Status.INTERRUPTED, None, None, found, problem, running or {})
