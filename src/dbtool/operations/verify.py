"""Verify: do a backup's bytes still say what was written? Reads everything, changes nothing.

What is found goes into the report, all of it, and into a record beside the backup. A server is
not needed; whether the backup restores is what a drill shows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from dbtool.catalog import chain, names, records
from dbtool.catalog.repository import Repository, Resolved
from dbtool.catalog.stored import LOST_METADATA, StoredBackup
from dbtool.errors import BusyError, DbtoolError, NotFoundError, RefusedError, VerificationError
from dbtool.model.backup import Artefact, Metadata, Status
from dbtool.operations.listing import list_backups
from dbtool.operations.verify_archive import Finding, verify_archive
from dbtool.progress import Progress
from dbtool.storage.base import Store
from dbtool.text import counted, plural, printable

MOST_RECORDED_FINDINGS = 100
_ARCHIVE_SUFFIX = ".sql.zst"
_OWN_FILES = {names.METADATA, names.RUNNING, names.RESTORE, names.MANIFEST}


@dataclass
class VerificationReport:
    """What verifying found. `outcome` is "passed" if there are no findings, else "failed"."""

    backup: str  # its id, or an archive's path
    backup_location: str
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    artefacts: int = 0
    frames: int = 0
    tables: int = 0
    rows: int = 0
    removed: int = 0  # keys of a differential whose rows go
    stored_bytes: int = 0
    duration_seconds: float = 0.0
    base: VerificationReport | None = None  # of a differential, if it was verified with its chain

    @property
    def outcome(self) -> str:
        """In the words of the record."""
        return "failed" if self.findings else "passed"

    def document(self) -> dict[str, Any]:
        """As JSON shows it."""
        own = asdict(replace(self, base=None))
        return {"outcome": self.outcome, **own, "base": self.base.document() if self.base else None}

    def error(self) -> VerificationError | None:
        """The error to end with; None if it passed."""
        if not self.findings:
            return None
        more = len(self.findings) - 1
        also = f" (and {more:,} more {plural(more, 'finding')})" if more else ""
        return VerificationError(
            f"{printable(self.backup)} failed verification: {self.findings[0].message}{also}",
            "do not restore from it; take a new backup, or fetch a copy of this one",
        )


def verify(
    store: Store,
    reference: str,
    progress: Progress,
    jobs: int,
    database: str | None = None,
    with_chain: bool = True,
) -> VerificationReport:
    """Verify what `reference` names: see `Repository.resolve`. Of a differential, its full too, unless
    it is to be without its chain; the link to it always. Never raises for what it finds: that is in
    the report. `NotFoundError`, `StorageError`; `BusyError` while the backup is being taken."""
    return verify_resolved(Repository(store).resolve(reference, database), progress, jobs, with_chain)


def worth_verifying(store: Store) -> list[str]:
    """The ids that `verify --all` means: every backup that was completed, damaged ones too; not those
    that run, failed, or died on the way."""
    return [
        summary.id
        for summary in list_backups(store)
        if summary.status == Status.COMPLETED.value
        or (summary.status == Status.FAILED.value and summary.metadata_sha256 is not None)
        or summary.problem == LOST_METADATA
    ]


def verify_resolved(
    resolved: Resolved, progress: Progress, jobs: int, with_chain: bool = True
) -> VerificationReport:
    """Like `verify`, for what was resolved already. Memory is bounded by `jobs` frames."""
    began = time.monotonic()
    store = resolved.repository.store
    with ThreadPoolExecutor(max_workers=max(jobs, 1)) as pool:
        try:
            if _is_whole_backup(resolved):
                report = _verify_backup(store, resolved.known_backup(), progress, pool)
            else:
                report = _verify_lone_archive(store, resolved.archive_name or "", progress, pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    report.duration_seconds = round(time.monotonic() - began, 3)
    if _is_whole_backup(resolved):
        _verify_parent(resolved, report, progress, jobs, with_chain)
        _record(store, resolved.known_backup(), report)
    return report


def _verify_parent(
    resolved: Resolved, report: VerificationReport, progress: Progress, jobs: int, with_chain: bool
) -> None:
    """The link to what the backup builds upon, and with the chain that backup itself."""
    backup = resolved.known_backup()
    if backup.metadata is None or backup.metadata.parent is None:
        return
    try:
        parent = chain.parent_of(resolved.repository, backup)
    except (RefusedError, VerificationError) as error:
        report.findings.append(Finding(error.message))
        return
    if not with_chain or parent is None:
        return
    report.base = verify_resolved(Resolved(resolved.repository, parent), progress, jobs)
    if report.base.findings:
        first = report.base.findings[0].message
        report.findings.append(Finding(f"{parent.id}, which it builds upon, failed verification: {first}"))


def _is_whole_backup(resolved: Resolved) -> bool:
    """A path to a file means the file's backup, unless that backup does not know the file."""
    backup, named = resolved.backup, resolved.archive_name
    if backup is None or named is None or backup.metadata is None:
        return backup is not None
    return named in {f"{backup.folder}/{artefact.name}" for artefact in backup.metadata.artefacts}


def _verify_backup(
    store: Store, backup: StoredBackup, progress: Progress, pool: ThreadPoolExecutor
) -> VerificationReport:
    if backup.status is Status.RUNNING:
        raise BusyError(f"backup {backup.id} is still being taken", "verify it when it is complete")
    report = VerificationReport(backup.id, f"{store.url}/{backup.folder}")
    if backup.metadata is None:
        report.findings.append(_without_metadata(backup))
        artefacts: tuple[Artefact, ...] = ()
        present = _files(store, backup.folder)
        archives = [name for name in present if name.endswith(_ARCHIVE_SUFFIX) and "/" not in name]
    else:
        artefacts = backup.metadata.artefacts
        archives = [artefact.name for artefact in artefacts if artefact.name.endswith(_ARCHIVE_SUFFIX)]
    progress.phase("verify", sum(_size(store, f"{backup.folder}/{name}") for name in archives))
    files = pool.map(lambda artefact: _verify_artefact(store, backup.folder, artefact), artefacts)
    for name in archives:  # at the same time
        _verify_one_archive(store, f"{backup.folder}/{name}", backup.metadata, report, progress, pool)
    report.findings[:0] = [finding for finding in files if finding is not None]
    report.artefacts = len(artefacts)
    report.stored_bytes = sum(artefact.stored_bytes for artefact in artefacts)
    _look_at_the_folder(store, backup, report)
    return report


def _verify_lone_archive(
    store: Store, name: str, progress: Progress, pool: ThreadPoolExecutor
) -> VerificationReport:
    location = f"{store.url}/{name}"
    report = VerificationReport(location, location)
    report.notes.append(f"without {names.METADATA}, only the archive's own checksums were compared")
    progress.phase("verify", store.size(name))
    _verify_one_archive(store, name, None, report, progress, pool)
    return report


def _without_metadata(backup: StoredBackup) -> Finding:
    if backup.metadata_sha256 is not None:  # it is there, but cannot be used
        return Finding(backup.problem or "metadata.json is damaged", artefact=names.METADATA)
    if backup.running or backup.status is Status.FAILED:
        return Finding(f"it was never completed ({backup.status.value}): {backup.problem}")
    return Finding(f"{names.METADATA} is missing", artefact=names.METADATA)


def _verify_artefact(store: Store, folder: str, artefact: Artefact) -> Finding | None:
    shown = printable(artefact.name)
    name = f"{folder}/{artefact.name}"
    try:
        size = store.size(name)
        if size != artefact.stored_bytes:
            return Finding(
                f"{shown} has {counted(size, 'byte')} instead of {artefact.stored_bytes:,}",
                artefact=artefact.name,
            )
        digest = hashlib.sha256()
        for piece in store.get(name):
            digest.update(piece)
    except NotFoundError:
        return Finding(f"{shown} is missing", artefact=artefact.name)
    if digest.hexdigest() != artefact.stored_sha256:
        return Finding(f"{shown} was changed: its SHA-256 is another", artefact=artefact.name)
    return None


def _verify_one_archive(
    store: Store,
    name: str,
    metadata: Metadata | None,
    report: VerificationReport,
    progress: Progress,
    pool: ThreadPoolExecutor,
) -> None:
    try:
        found = verify_archive(store, name, metadata, progress, pool)
    except NotFoundError:  # already among the findings, where metadata.json names it
        return
    report.findings += found.findings
    report.frames += found.frames
    report.tables += found.tables
    report.rows += found.rows
    report.removed += found.removed


def _look_at_the_folder(store: Store, backup: StoredBackup, report: VerificationReport) -> None:
    """What nobody wrote down is noted; our own small files are looked into."""
    known = {artefact.name for artefact in backup.metadata.artefacts} if backup.metadata else set()
    for name in _files(store, backup.folder):
        is_link = name.startswith(f"{names.DIFFERENTIALS}/") and name != names.MANIFEST
        is_ours = name in _OWN_FILES or name.startswith(f"{names.RECORDS}/") or is_link
        if name not in known and not is_ours and backup.metadata is not None:
            report.notes.append(f"{printable(name)} does not belong to the backup")
    for record in backup.records:
        if record.kind == records.UNREADABLE:
            report.notes.append(f"the record {printable(record.name)} cannot be read")
    try:
        json.loads(b"".join(store.get(f"{backup.folder}/{names.MANIFEST}")))
    except NotFoundError:
        pass
    except ValueError:
        report.notes.append(f"{names.MANIFEST} is damaged; it is only an index of what lies beside it")


def _files(store: Store, folder: str) -> Iterator[str]:
    for entry in store.list(f"{folder}/"):
        yield entry.name[len(folder) + 1 :]


def _size(store: Store, name: str) -> int:
    try:
        return store.size(name)
    except NotFoundError:
        return 0


def _record(store: Store, backup: StoredBackup, report: VerificationReport) -> None:
    data = report.document()
    del data["base"]  # it has a record of its own
    data["findings"] = data["findings"][:MOST_RECORDED_FINDINGS]
    data["total_findings"] = len(report.findings)
    try:
        records.add(store, backup.folder, records.VERIFICATION, data)
    except DbtoolError as error:
        report.notes.append(f"the verification was not recorded: {error.message}")
