"""A backup being taken: its uploads, and its end as completed or failed.

The order of writes is the promise: artefacts first, `metadata.json` last. Killed at any point before
that one, it is seen as interrupted. What is written later, a chain's manifest and the catalogue, is
only an index.
"""

from __future__ import annotations

import contextlib
import hashlib
from types import TracebackType
from typing import Any

from dbtool import failpoints
from dbtool.catalog import index, manifest, names, records
from dbtool.catalog import metadata as metadata_file
from dbtool.catalog.heartbeat import Heartbeat
from dbtool.catalog.stored import StoredBackup
from dbtool.errors import (
    BusyError,
    DbtoolError,
    InterruptedByUserError,
    NeedsFullError,
    NotFoundError,
    RefusedError,
    UsageError,
)
from dbtool.model.backup import Artefact, BackupType, Metadata, ParentLink, Status
from dbtool.storage.base import Store, Upload


class ArtefactUpload:
    """An artefact being written; knows its length and SHA-256 as the bytes pass."""

    def __init__(self, name: str, upload: Upload) -> None:
        self._name = name
        self._upload = upload
        self._digest = hashlib.sha256()
        self._bytes = 0
        self.committed = False
        self.aborted = False

    @property
    def written_bytes(self) -> int:
        """How much was written so far."""
        return self._bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        self._upload.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def commit(self) -> None:
        """Make it durable; afterwards `artefact` may be asked for."""
        failpoints.reach("artefact-before-commit")
        self._upload.commit()
        self.committed = True
        failpoints.reach("artefact-committed")

    def abort(self) -> None:
        """Forget it, unless it was committed."""
        self.aborted = not self.committed
        self._upload.abort()

    @property
    def artefact(self) -> Artefact:
        """What `metadata.json` says of it; without encryption, plain and stored are the same."""
        digest = self._digest.hexdigest()
        return Artefact(self._name, self._bytes, digest, self._bytes, digest)

    def __enter__(self) -> ArtefactUpload:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()


class RunningBackup:
    """A claimed folder. End it with `complete` or `fail`; leaving the context fails it.

    A differential that turns out to be none (`NeedsFullError`) leaves nothing behind.
    """

    def __init__(
        self, store: Store, folder: str, facts: dict[str, Any], parent: ParentLink | None = None
    ) -> None:
        self._store = store
        self._facts = facts
        self._heartbeat = Heartbeat(store, folder, facts)
        self._uploads: list[ArtefactUpload] = []
        self._ended = False
        self.folder = folder
        self.id = str(facts["id"])
        self.parent = parent  # what the metadata must name, and find unchanged
        self.notes: list[str] = []  # what went wrong beside the backup itself, such as its catalogue entry

    def start(self) -> bool:
        """Write `running.json`; False if the folder is taken. `Repository.begin` calls it."""
        started = self._heartbeat.start()
        failpoints.reach("backup-begun")
        return started

    def put_artefact(self, name: str) -> ArtefactUpload:
        """Begin to write a file of this backup."""
        upload = ArtefactUpload(name, self._store.put(f"{self.folder}/{name}"))
        self._uploads.append(upload)
        return upload

    def put_file(self, name: str, data: bytes) -> Artefact:
        """Write a small file of this backup, such as `RESTORE.md`."""
        with self.put_artefact(name) as upload:
            upload.write(data)
            upload.commit()
        return upload.artefact

    def artefacts(self) -> tuple[Artefact, ...]:
        """Every file so far that was not aborted, in the order in which they were begun."""
        return tuple(upload.artefact for upload in self._kept())

    def complete(self, metadata: Metadata) -> None:
        """Make it a completed backup. Once `metadata.json` is written nothing can fail it any more."""
        self._check(metadata)
        if metadata.type in (BackupType.FULL, BackupType.PARTIAL):
            manifest.write_first(self._store, self.folder, self.id)
            failpoints.reach("manifest-written")
        data = metadata_file.encode(metadata)
        failpoints.reach("before-metadata")
        self._check_parent()
        if not self._store.put_if_absent(f"{self.folder}/{names.METADATA}", data):
            raise BusyError(
                f"backup {self.id} already has a metadata.json", "somebody else writes to this folder"
            )
        self._ended = True
        failpoints.reach("after-metadata")
        self._heartbeat.stop()
        try:
            self._store.delete(f"{self.folder}/{names.RUNNING}")
            failpoints.reach("before-catalogue")
            self.notes += index.refresh(self._store, self.folder, self._completed(metadata, data))
        except DbtoolError as error:
            self.notes.append(f"the backup is complete, but: {error.message}")

    def _completed(self, metadata: Metadata, data: bytes) -> StoredBackup:
        """What `read_folder` would find. To read it again would be a second with 20,000 tables."""
        claimed = metadata_file.claimed_digest(data[-metadata_file.TAIL_BYTES :]) or ""
        digest = hashlib.sha256(data).hexdigest()
        return StoredBackup(self.id, self.folder, Status.COMPLETED, metadata, claimed, file_sha256=digest)

    def _check_parent(self) -> None:
        """A differential whose base went or was changed meanwhile would be of no use to anybody."""
        full_folder = names.full_of(self.folder)
        if self.parent is None or full_folder is None:
            return
        digest = hashlib.sha256()
        try:
            for piece in self._store.get(f"{full_folder}/{names.METADATA}"):
                digest.update(piece)
        except NotFoundError:
            digest = hashlib.sha256()
        if digest.hexdigest() != self.parent.metadata_sha256:
            raise RefusedError(
                f"the base {self.parent.id} was removed or changed while this differential was taken",
                "take a full backup",
            )

    def _check(self, metadata: Metadata) -> None:
        """Guard against a mistake of the caller that would make a backup nobody can use."""
        if self._ended:
            raise ValueError("this backup has ended")
        if metadata.id != self.id:
            raise ValueError(f"metadata of {metadata.id} for backup {self.id}")
        if metadata.parent != self.parent:
            raise ValueError(f"metadata with the parent {metadata.parent} instead of {self.parent}")
        if not all(upload.committed for upload in self._kept()):
            raise ValueError("an artefact was not committed")
        if {upload.artefact for upload in self._kept()} != set(metadata.artefacts):
            raise ValueError("the metadata does not name the artefacts that were written")

    def _kept(self) -> list[ArtefactUpload]:
        return [upload for upload in self._uploads if not upload.aborted]

    def fail(self, error: BaseException | str) -> None:
        """Make it a failed backup, or a cancelled one an interrupted one, and remove its files.

        Where what was asked for does not exist, such as a table, and nothing was written yet, there was no
        backup, and none is recorded. Never raises: what cannot be removed or recorded stays, and is seen as
        interrupted.
        """
        if self._ended:
            return
        if not self._uploads and isinstance(error, (UsageError, NotFoundError)):
            self.withdraw()
            return
        self._stop()
        with contextlib.suppress(DbtoolError):
            self._remove_files()
            failpoints.reach("failing")
            # After the files, for the disk may be full; before running.json, which tells more than nothing.
            records.add(self._store, self.folder, records.FAILURE, self._failure(error))
            self._store.delete(f"{self.folder}/{names.RUNNING}")
            index.refresh(self._store, self.folder)

    def withdraw(self) -> None:
        """Leave no trace of it: it was not this kind of backup that had to be taken. Never raises."""
        if self._ended:
            return
        self._stop()
        with contextlib.suppress(DbtoolError):
            self._store.delete_folder(f"{self.folder}/")

    def _stop(self) -> None:
        self._ended = True
        self._heartbeat.stop()
        for upload in self._uploads:
            with contextlib.suppress(OSError, DbtoolError):
                upload.abort()

    def _remove_files(self) -> None:
        # metadata.json first: what has lost an artefact must not look whole for a moment.
        self._store.delete(f"{self.folder}/{names.METADATA}")
        kept = (names.RUNNING, f"{names.RECORDS}/")
        for entry in list(self._store.list(f"{self.folder}/")):
            name = entry.name[len(self.folder) + 1 :]
            of_a_differential = name.startswith(f"{names.DIFFERENTIALS}/") and name != names.MANIFEST
            if not name.startswith(kept) and not of_a_differential:
                self._store.delete(entry.name)

    def _failure(self, error: BaseException | str) -> dict[str, Any]:
        cancelled = isinstance(error, (KeyboardInterrupt, InterruptedByUserError))
        message = "it was cancelled" if isinstance(error, KeyboardInterrupt) else str(error)
        return {
            "status": "interrupted" if cancelled else "failed",
            "error": message or type(error).__name__,
            **self._facts,
        }

    def __enter__(self) -> RunningBackup:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, NeedsFullError) and self.parent is not None:
            self.withdraw()
        else:
            self.fail(error if error is not None else "it ended without being completed")
