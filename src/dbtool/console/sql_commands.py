"""The command SQL: run, show, export; asks before anything is destroyed."""

from __future__ import annotations

import itertools
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dbtool.console import narration
from dbtool.console.context import Context
from dbtool.console.grammar import Call
from dbtool.console.units import bytes_text
from dbtool.errors import ExitCode
from dbtool.text import counted

if TYPE_CHECKING:
    from dbtool.console.render import Style
    from dbtool.engines.session import Session
    from dbtool.operations.sql import ExportReport


def sql(context: Context, call: Call) -> ExitCode:
    """`SQL STATEMENT [-extract …]`. Notices of the server go to stderr."""
    session = context.session()
    try:
        if call.flag("extract"):
            _extract(context, call, session)
        else:
            _run(context, call, session)
    finally:
        say_notices(session)
    return ExitCode.DONE


def say_notices(session: Session) -> None:
    """What the server said beside the results."""
    for notice in session.notices():
        for line in notice.splitlines():
            narration.note(line)


def _extract(context: Context, call: Call, session: Session) -> None:
    from dbtool.config.sources import expanded
    from dbtool.operations import sql as operation

    folder = expanded(call.text("path") or str(Path.cwd()))
    with context.progress() as progress:
        report = operation.extract(
            session,
            call.rest[0],
            folder,
            call.text("format") or "csv",
            progress,
            may_destroy=context.may_destroy(call),
            confirm=_confirm if narration.is_interactive() else None,
        )
    if context.wants_json(call):
        narration.say_json({"path": str(report.path), "rows": report.rows, "bytes": report.bytes})
    else:
        narration.say(_exported(report))


def _run(context: Context, call: Call, session: Session) -> None:
    from dbtool.console import render
    from dbtool.operations import sql as operation

    results = operation.run(
        session,
        call.rest[0],
        may_destroy=context.may_destroy(call),
        confirm=_confirm if narration.is_interactive() else None,
    )
    if context.wants_json(call):
        # The first statement runs before anything is written: if it fails, stdout stays empty.
        first = list(itertools.islice(results, 1))
        for piece in render.json_document(itertools.chain(first, results)):
            sys.stdout.write(piece)
        return
    style, height = _style(context)
    started = time.monotonic()
    for result in results:
        line = render.show(
            result, style, sys.stdout, started=started if context.show_timing else None, height=height
        )
        narration.note(line)
        say_notices(session)
        started = time.monotonic()


def _style(context: Context) -> tuple[Style, int | None]:
    """How rows are shown, and from how many lines on they are paged: only on a terminal."""
    from dbtool.console.render import Style

    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    if not narration.stdout_is_terminal():
        return Style(is_unicode=encoding == "utf8", expanded=context.expanded or False), None
    size = shutil.get_terminal_size()
    style = Style(size.columns, narration.uses_color(), encoding == "utf8", context.expanded)
    return style, size.lines


def _confirm(dangers: Sequence[str]) -> bool:
    for danger in dangers:
        narration.note(f"This destroys: {danger}")
    return narration.is_yes(narration.ask("Run it? [y/N] "))


def _exported(report: ExportReport) -> str:
    return f"{report.path}: {counted(report.rows, 'row')}, {bytes_text(report.bytes)}"
