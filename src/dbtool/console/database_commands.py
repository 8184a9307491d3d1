"""The commands that take backups and restore them: full database, full tables, differential backup, restore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbtool.console import narration, tables
from dbtool.console.context import Context
from dbtool.console.grammar import Call
from dbtool.console.units import bytes_text, duration_text
from dbtool.errors import ExitCode, UsageError
from dbtool.text import counted, printable

if TYPE_CHECKING:
    from dbtool.model.backup import Metadata
    from dbtool.operations.backup import BackupOptions
    from dbtool.operations.differential import DifferentialOptions
    from dbtool.operations.differential_policy import DifferentialPolicy
    from dbtool.operations.restore import RestoreReport
    from dbtool.storage.base import Store


def full_database(context: Context, call: Call) -> ExitCode:
    """`full database`: the whole database; with -all, every database of the server."""
    from dbtool.operations import backup

    options = _options(context, call)
    engine, connection = context.make_engine(), context.connection()
    exclude = call.texts("exclude")
    if exclude and not call.flag("all"):
        raise UsageError("-exclude needs -all", "It says which databases are left out.")
    store = context.store(call, create=True)
    with context.progress() as progress:
        if call.flag("all"):
            done = backup.backup_all(engine, connection, store, options, exclude, progress)
        else:
            done = [backup.logical_backup(engine, connection, store, options, progress)]
    _report(context, call, store, done)
    return ExitCode.DONE


def full_tables(context: Context, call: Call) -> ExitCode:
    """`full tables -tablename T …`: some tables, and what they need."""
    from dbtool.operations import backup

    if not call.texts("tablename"):
        raise UsageError(
            "full tables needs -tablename T", "For example: full tables -tablename users -tablename orders"
        )
    options = _options(context, call)
    engine, connection = context.make_engine(), context.connection()
    store = context.store(call, create=True)
    with context.progress() as progress:
        done = backup.logical_backup(engine, connection, store, options, progress)
    _report(context, call, store, [done])
    return ExitCode.DONE


def differential_backup(context: Context, call: Call) -> ExitCode:
    """`differential backup`: what changed since a full; or a full, with the reason."""
    from dbtool.operations import differential

    options = differential.checked(_differential_options(context, call))
    engine, connection = context.make_engine(), context.connection()
    store = context.store(call, create=True)
    with context.progress() as progress:
        done = differential.differential_backup(engine, connection, store, options, progress)
    _report(context, call, store, [done])
    return ExitCode.DONE


def restore(context: Context, call: Call) -> ExitCode:
    """`restore ID|latest -into DATABASE`: a backup, or some of its tables."""
    from dbtool.operations import restore as operation

    database = call.text("into")
    if database is None:
        raise UsageError(
            "restore needs -into DATABASE", f"For example: restore {call.operand} -into mydb_copy"
        )
    resolved = context.resolve(call)
    context.adopt_engine(resolved)
    options = operation.RestoreOptions(
        database=database,
        tables=call.texts("tables"),
        replace=call.flag("replace"),
        with_owners=not call.flag("no-owner"),
        with_privileges=not call.flag("no-privileges"),
        definers=call.texts("definer"),
        with_globals=call.flag("globals"),
        jobs=call.number("jobs"),
        compare=not call.flag("no-compare"),
        dry_run=call.flag("dry-run"),
    )
    if options.replace and not options.dry_run and narration.is_interactive():
        what = "The tables named are" if options.tables else "Everything in it is"
        context.confirm(call, f'Restore into "{database}"? {what} replaced at the end.')
    with context.progress() as progress:
        report = operation.restore(
            context.make_engine(), context.connection(database), resolved, options, progress
        )
    if context.wants_json(call):
        narration.say_json(report.document())
    else:
        narration.say(_restored(report))
    return ExitCode.DONE


def _restored(report: RestoreReport) -> str:
    source = f"from {printable(report.backup)}"
    target = printable(report.database)
    if report.dry_run:
        steps = [
            (str(step["stage"]), f"{step['tasks']:,}", f"{step['objects']:,}", f"{step['rows']:,}")
            for step in report.steps
        ]
        plan = tables.table(("STAGE", "TASKS", "OBJECTS", "ROWS"), steps)
        return f"{target} would be restored {source}:\n{plan}"
    compared = "compared with the backup" if report.compared else "not compared"
    return (
        f"{target}: {counted(report.tables, 'table')}, {counted(report.rows, 'row')} restored {source} "
        f"in {duration_text(report.duration_seconds)}, {compared}"
    )


def _differential_options(context: Context, call: Call) -> DifferentialOptions:
    from dbtool.operations.differential import DifferentialOptions

    return DifferentialOptions(
        **vars(_options(context, call)),
        base=call.text("base"),
        method=call.text("method") or DifferentialOptions.method,
        column=call.text("column"),
        only_changed=call.flag("only-changed"),
        policy=_policy(context, call),
    )


def _policy(context: Context, call: Call) -> DifferentialPolicy:
    """What the options say, else the settings."""
    from dbtool.config import known
    from dbtool.operations.differential_policy import DifferentialPolicy

    values = {}
    for name in ("max_differentials", "max_chain_age", "max_differential_ratio"):
        option = name.replace("_", "-")
        given = call.text(option)
        values[name] = (context.settings.text(name) if given is None else given) or ""
        known.check(name, values[name], f"-{option}")
    return DifferentialPolicy(
        int(values["max_differentials"]),
        known.duration_seconds(values["max_chain_age"]) or 0.0,
        float(values["max_differential_ratio"]),
    )


def _options(context: Context, call: Call) -> BackupOptions:
    from dbtool.operations.backup import BackupOptions

    if call.text("method") == "physical":
        raise UsageError("physical backups are not in this version", "Say -method logical, or leave it out.")
    lock_timeout = call.number("lock-timeout")
    return BackupOptions(
        tables=call.texts("tablename"),
        jobs=call.number("jobs"),
        level=call.number("level"),
        label=call.text("label"),
        lock_timeout_seconds=BackupOptions.lock_timeout_seconds
        if lock_timeout is None
        else float(lock_timeout),
        tool_directories=context.settings.client_directories,
        allow_invalid_text=call.flag("allow-invalid-text"),
    )


def _changes(metadata: Metadata) -> str:
    from dbtool.operations.listing import differential_contents

    found = differential_contents([table.details for table in metadata.tables])
    return (
        f"{counted(found['unchanged'], 'table')} unchanged, {found['rows']:,} changed, {found['whole']:,} whole, "
        f"{f'{left_out:,} left out, ' if (left_out := found['left_out']) else ''}"
        f"{counted(metadata.statistics['total_rows_processed'], 'row')}, "
        f"{counted(found['removed'], 'key')} removed"
    )


def _report(context: Context, call: Call, store: Store, done: Sequence[Metadata]) -> None:
    from dbtool.operations import listing

    context.remember(store.url, context.database or "")
    if context.wants_json(call):
        documents = [listing.show(store, metadata.id) for metadata in done]
        narration.say_json({"backups": documents} if call.flag("all") else documents[0])
        return
    for metadata in done:
        statistics = metadata.statistics
        tables, rows = statistics["total_tables"], statistics["total_rows_processed"]
        held = f"{counted(tables, 'table')}, {counted(rows, 'row')}"
        if metadata.parent is not None:
            held = f"of {printable(metadata.parent.id)}: {_changes(metadata)}"
        narration.say(
            f"{printable(metadata.id)}: {held}, {bytes_text(statistics['total_size_bytes'])} "
            f"in {duration_text(metadata.duration_seconds)}"
        )
    narration.note(f"It is in {store.url}.")
