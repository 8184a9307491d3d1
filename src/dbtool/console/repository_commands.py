"""The commands that look at a repository: list, show, verify, catalog rebuild."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from dbtool.console import narration
from dbtool.console.context import Context
from dbtool.console.grammar import Call
from dbtool.errors import ExitCode, NotFoundError, UsageError
from dbtool.text import counted

if TYPE_CHECKING:
    from dbtool.catalog.repository import Resolved


def list_backups(context: Context, call: Call) -> ExitCode:
    """`list`: every backup of the repository, in whatever state."""
    from dbtool.console import backup_views
    from dbtool.operations import listing

    store = context.store(call)
    found = listing.list_backups(store)
    if context.wants_json(call):
        narration.say_json({"backups": [summary.document() for summary in found]})
    elif found:
        # Only a terminal has a width; what goes to a file or a program is not cut.
        width = shutil.get_terminal_size().columns if narration.stdout_is_terminal() else 10_000
        narration.say(backup_views.render_list(found, width, narration.uses_color()))
    else:
        narration.note(f"There are no backups in {store.url}.")
    return ExitCode.DONE


def show(context: Context, call: Call) -> ExitCode:
    """`show ID`: all that is known of one backup."""
    from dbtool.console import backup_views
    from dbtool.operations import listing

    store = context.resolve(call).repository.store
    document = listing.show(store, str(call.operand), context.database)
    if context.wants_json(call):
        narration.say_json(document)
    else:
        narration.say(backup_views.render_show(document, narration.uses_color()))
    return ExitCode.DONE


def verify(context: Context, call: Call) -> ExitCode:
    """`verify ID|latest|-all`: read backups back. What is found is reported before the error."""
    from dbtool.console import backup_views
    from dbtool.operations import verify as operation
    from dbtool.operations.backup import default_jobs

    if (call.operand is None) is not call.flag("all"):
        raise UsageError("verify needs an id, latest, or -all, and not both", "For example: verify latest")
    backups = [context.resolve(call)] if call.operand is not None else _all_backups(context, call)
    jobs = call.number("jobs") or default_jobs()
    with_chain = call.operand is not None and not call.flag("no-chain")  # -all comes to every full by itself
    reports = []
    for backup in backups:
        with context.progress() as progress:
            report = operation.verify_resolved(backup, progress, jobs, with_chain)
        reports.append(report)
        if not context.wants_json(call):
            narration.say(backup_views.render_verification(report, narration.uses_color()))
    if context.wants_json(call):
        documents = [report.document() for report in reports]
        narration.say_json(documents[0] if call.operand is not None else {"verifications": documents})
    errors = [error for report in reports if (error := report.error()) is not None]
    for error in errors[:-1]:
        narration.report(error)
    if errors:
        raise errors[-1]
    return ExitCode.DONE


def rebuild_catalogue(context: Context, call: Call) -> ExitCode:
    """`catalog rebuild`: make backup_catalog.json again."""
    from dbtool.operations import listing

    store = context.store(call)
    found = listing.rebuild_catalogue(store)
    if context.wants_json(call):
        narration.say_json({"backups": [summary.document() for summary in found]})
    else:
        narration.say(f"{store.url}/backup_catalog.json: {counted(len(found), 'backup')}")
    return ExitCode.DONE


def _all_backups(context: Context, call: Call) -> list[Resolved]:
    """Every backup that was completed, damaged ones too."""
    from dbtool.catalog.repository import Repository
    from dbtool.operations.verify import worth_verifying

    store = context.store(call)
    found = worth_verifying(store)
    if not found:
        raise NotFoundError(f"there is no backup to verify in {store.url}")
    repository = Repository(store)
    return [repository.resolve(name) for name in found]
