"""Taking a differential: what changed since the newest full of the database; or a full, with the reason.

A differential always builds on a full logical backup. What it is read with is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timezone

from dbtool.catalog import chain, index, names
from dbtool.catalog.repository import Repository
from dbtool.catalog.stored import StoredBackup
from dbtool.engines.base import ByColumn, Engine
from dbtool.errors import NeedsFullError, UsageError, VerificationError
from dbtool.model.backup import BackupType, Metadata, Method
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, logical_backup, logical_differential
from dbtool.operations.differential_policy import DifferentialPolicy, policy_reason
from dbtool.progress import Progress
from dbtool.storage.base import Store
from dbtool.text import printable

METHODS = ("auto", "rows", "timestamp", "blocks")


@dataclass(frozen=True)
class DifferentialOptions(BackupOptions):
    """How a differential is taken; `tables` stays empty.

    `method` "rows" finds what changed by itself, "timestamp" by `column`; with `only_changed`, tables
    without that column are left out instead of coming whole.
    """

    base: str | None = None  # the id of a full; None: the newest that will do
    method: str = "auto"
    column: str | None = None
    only_changed: bool = False
    policy: DifferentialPolicy = field(default_factory=DifferentialPolicy)


@dataclass(frozen=True)
class _FullInstead(BackupOptions):
    """The options of a full that is taken where a differential was asked for."""

    differential_refused: str = ""  # why


@dataclass(frozen=True)
class NoBase:
    """There is no full to build upon; `reason` says so in one line."""

    reason: str


def differential_backup(
    engine: Engine, connection: Connection, store: Store, options: DifferentialOptions, progress: Progress
) -> Metadata:
    """Take a differential; or a full, and say why, where there is no base, the policy wants a full, or the
    differential would not be exact.

    `UsageError` for options that do not go together, and as `choose_base` for a base that was named.
    """
    options = checked(options)
    repository = Repository(store)
    base = choose_base(repository, connection.database, engine.name, options.base)
    if isinstance(base, NoBase):
        return _full_instead(engine, connection, store, options, base.reason, progress)
    reason = _policy_reason(store, base, options.policy)
    if reason is None:
        try:
            return take(engine, connection, store, base, options, progress)
        except NeedsFullError as error:
            reason = error.message
    return _full_instead(engine, connection, store, options, reason, progress)


def take(
    engine: Engine,
    connection: Connection,
    store: Store,
    base: StoredBackup,
    options: DifferentialOptions,
    progress: Progress,
) -> Metadata:
    """Take the differential of `base`; `NeedsFullError` where that cannot be had as it was asked for,
    `VerificationError` where the base turns out to be damaged."""
    by_column = None
    if options.method == "timestamp":
        if engine.name != "postgres":
            raise NeedsFullError("-method timestamp of MySQL and MariaDB is not there yet")
        by_column = ByColumn(options.column or "", options.only_changed)
    try:
        return logical_differential(engine, connection, store, base, options, progress, by_column)
    except VerificationError as error:
        if base.folder in error.message:
            error.hint = "the full that it builds upon is damaged: take a new full backup"
        raise


def choose_base(
    repository: Repository, database: str, engine: str, wanted: str | None = None
) -> StoredBackup | NoBase:
    """The newest completed, undamaged full logical backup of a database; or the one that is `wanted`.

    One that is wanted and will not do is an error: `NotFoundError`, `RefusedError` if it was not
    completed, `VerificationError` if it is damaged, `UsageError` if it is no such full.
    """
    if wanted is not None:
        return _wanted_base(repository, database, engine, wanted)
    safe_name = names.file_safe_name(database)
    passed_over = ""
    for folder in repository.folders_newest_first():
        parts = names.id_parts(folder)
        if names.full_of(folder) or (parts and parts[:2] != (BackupType.FULL, safe_name)):
            continue  # not worth reading
        backup = repository.read(folder)
        known = backup.metadata
        if known is None or known.type is not BackupType.FULL or backup.database != database:
            continue
        if known.engine != engine:
            continue
        if known.method is not Method.LOGICAL:
            passed_over = passed_over or f"{printable(backup.id)} is physical"
        elif not chain.is_whole(repository, backup):
            passed_over = passed_over or f"{printable(backup.id)} is damaged"
        else:
            return backup
    why = f" ({passed_over})" if passed_over else ""
    return NoBase(f"there is no full logical backup of {printable(database)} to build upon{why}")


def _wanted_base(repository: Repository, database: str, engine: str, wanted: str) -> StoredBackup:
    backup = repository.read(wanted)
    name = printable(backup.id)
    if backup.type == BackupType.DIFFERENTIAL.value:
        full = printable(backup.base or "")
        raise UsageError(f"{name} is a differential itself", f"Name its full: -base {full}" if full else None)
    known = backup.completed()
    hint = "Name a full logical backup of this database, or leave -base out: the newest is taken."
    if known.type is not BackupType.FULL:
        raise UsageError(f"{name} is a {known.type.value} backup, and a differential needs a full one", hint)
    if backup.database != database:
        raise UsageError(
            f"{name} is a backup of {printable(backup.database)}, not of {printable(database)}", hint
        )
    if known.engine != engine:
        raise UsageError(f"{name} is a backup of {known.engine}, not of {engine}", hint)
    if known.method is not Method.LOGICAL:
        raise UsageError(f"{name} is physical, and a differential needs a logical one", hint)
    chain.check_files(repository, backup)
    return backup


def _policy_reason(store: Store, base: StoredBackup, policy: DifferentialPolicy) -> str | None:
    full = index.summary_of(store, base)
    differentials = index.differentials_of(store, base.folder)
    return policy_reason(full, differentials, policy, datetime.now(timezone.utc))


def _full_instead(
    engine: Engine,
    connection: Connection,
    store: Store,
    options: DifferentialOptions,
    reason: str,
    progress: Progress,
) -> Metadata:
    progress.note(f"a full backup is taken: {reason}")
    common = {one.name: getattr(options, one.name) for one in fields(BackupOptions)}
    instead = _FullInstead(**common, differential_refused=reason)
    return logical_backup(engine, connection, store, instead, progress)


def checked(options: DifferentialOptions) -> DifferentialOptions:
    """The options with the method that "auto" stands for. `UsageError` if they do not go together."""
    if options.tables:
        raise ValueError("a differential is always of the whole database")
    if options.method not in METHODS:
        raise UsageError(f"there is no method {options.method!r}", "It can be: " + ", ".join(METHODS) + ".")
    if options.method == "blocks":
        raise UsageError(
            "-method blocks needs a physical full backup, and those are not in this version",
            "Say -method rows, or leave it out.",
        )
    if options.method == "timestamp" and options.column is None:
        raise UsageError(
            "-method timestamp needs -column",
            "For example: differential backup -method timestamp -column updated_at",
        )
    if options.method != "timestamp" and options.column is not None:
        raise UsageError("-column needs -method timestamp", "Without it, no column is needed.")
    if options.method != "timestamp" and options.only_changed:
        raise UsageError("-only-changed needs -method timestamp", "It leaves out tables without the column.")
    return replace(options, method="rows") if options.method == "auto" else options
