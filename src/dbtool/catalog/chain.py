"""Chains: what a backup builds upon, and what builds upon it.

A link names its parent by id and by the SHA-256 of the parent's whole `metadata.json`, which names
the digests of the parent's artefacts in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timezone

from dbtool.catalog import names, records
from dbtool.catalog.repository import Repository
from dbtool.catalog.stored import StoredBackup, has_metadata, moment, read_folder
from dbtool.errors import DbtoolError, NotFoundError, RefusedError, VerificationError
from dbtool.model.backup import BackupType, Metadata, ParentLink, Status
from dbtool.text import counted, printable


def chain_of(repository: Repository, backup: StoredBackup) -> list[StoredBackup]:
    """All that is needed to restore `backup`, the full first; the backup alone if it builds upon nothing.

    Their metadata is checked, and that their artefacts are there with their sizes; artefacts are not
    read. `RefusedError` if a link is missing or was never completed, `VerificationError` if one is
    damaged or is not the one that was built upon; the hint names the newest backup of that database
    that can be restored instead.
    """
    try:
        return list(reversed(list(_links(repository, backup))))
    except (RefusedError, VerificationError) as error:
        error.hint = _instead(repository, backup)
        raise


def parent_of(repository: Repository, backup: StoredBackup) -> StoredBackup | None:
    """The backup that this one builds upon, as it was then; None if it builds upon none.

    `RefusedError` and `VerificationError` as of `chain_of`.
    """
    link = backup.completed().parent
    if link is None:
        return None
    parent = _linked(repository, backup, link)
    if parent is None:
        raise RefusedError(f"{printable(link.id)}, which {printable(backup.id)} builds upon, is missing")
    what = f"{printable(link.id)}, which {printable(backup.id)} builds upon,"
    if parent.is_damaged:
        raise VerificationError(f"{what} is damaged: {parent.problem}")
    if parent.status is not Status.COMPLETED:
        why = f": {parent.problem}" if parent.problem else ""
        raise RefusedError(f"{what} is {parent.status.value}{why}")
    if parent.file_sha256 != link.metadata_sha256:
        raise VerificationError(f"{what} is not what it was then: its metadata.json has another SHA-256")
    parent.completed()
    return parent


def dependants(repository: Repository, id: str) -> list[StoredBackup]:  # noqa: A002
    """The backups that build upon this one, oldest first: completed or damaged ones, and those that run.

    Whoever would delete it must refuse while there are any, or delete them first.
    """
    full = repository.read(id)
    return [
        one
        for one in repository.differentials(full)
        if one.status in (Status.COMPLETED, Status.RUNNING) or one.is_damaged
    ]


def newest_restorable(repository: Repository, database: str, engine: str | None) -> StoredBackup | None:
    """The newest completed backup of the whole database whose chain is whole; None if there is none."""
    wanted = names.file_safe_name(database)
    for folder in repository.folders_newest_first():
        parts = names.id_parts(names.full_of(folder) or folder)
        if parts is not None and (parts[1] != wanted or parts[0] is BackupType.PARTIAL):
            continue  # not worth reading
        backup = read_folder(repository.store, folder)
        known = backup.metadata
        if known is None or known.type is BackupType.PARTIAL or backup.database != database:
            continue
        if engine in (None, known.engine) and is_whole(repository, backup):
            return backup
    return None


def is_whole(repository: Repository, backup: StoredBackup) -> bool:
    """Whether a backup and all that it builds upon is there and undamaged, as far as can be told
    without reading artefacts: the last verification of each counts."""
    try:
        return not any(_failed_verification(one) for one in _links(repository, backup))
    except DbtoolError:
        return False


def check_files(repository: Repository, backup: StoredBackup) -> None:
    """`VerificationError` if an artefact is missing or has another size."""
    for artefact in backup.completed().artefacts:
        try:
            size = repository.store.size(f"{backup.folder}/{artefact.name}")
        except NotFoundError:
            raise VerificationError(f"{printable(backup.id)} lacks {printable(artefact.name)}") from None
        if size != artefact.stored_bytes:
            raise VerificationError(
                f"{printable(artefact.name)} of {printable(backup.id)} has {counted(size, 'byte')} instead of "
                f"{artefact.stored_bytes:,}"
            )


def time_of(metadata: Metadata) -> str:
    """The moment that a backup shows, ISO 8601, by the server's clock as far as that is known."""
    return str(metadata.snapshot.get("time") or metadata.timestamp_start)


def _links(repository: Repository, backup: StoredBackup) -> Iterator[StoredBackup]:
    """The backup, its parent, and so on."""
    seen: set[str] = set()
    link: StoredBackup | None = backup
    while link is not None:
        link.completed()
        if link.id in seen:
            raise VerificationError(f"the chain of {printable(backup.id)} comes back to {printable(link.id)}")
        seen.add(link.id)
        check_files(repository, link)
        yield link
        link = parent_of(repository, link)


def _linked(repository: Repository, backup: StoredBackup, link: ParentLink) -> StoredBackup | None:
    """The backup that a link means: the full around a differential's folder, else the one of that id."""
    around = names.full_of(backup.folder)
    if around is not None and (around == link.id or has_metadata(repository.store, around)):
        found = read_folder(repository.store, around)
        if around == link.id or (found.metadata and found.metadata.id == link.id):
            return found
    try:
        return repository.read(link.id)
    except NotFoundError:
        return None


def _failed_verification(backup: StoredBackup) -> bool:
    last = records.last(backup.records, records.VERIFICATION)
    return last is not None and last.data.get("outcome") == "failed"


def _instead(repository: Repository, backup: StoredBackup) -> str:
    known = backup.metadata
    found = newest_restorable(repository, backup.database, known.engine if known else None)
    if found is None or found.metadata is None:
        return f"no backup of {printable(backup.database)} here can be restored whole; take a new full backup"
    shown = moment(time_of(found.metadata)).astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"the newest that can be restored instead is {printable(found.id)}, which shows {shown}"
