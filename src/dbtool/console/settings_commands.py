"""The commands that look at the surroundings: doctor, config show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtool.console import narration, tables
from dbtool.console.context import Context
from dbtool.console.grammar import Call
from dbtool.errors import ExitCode, UsageError
from dbtool.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtool.model.check import Check

_MARKS = {"ok": "ok", "note": "note", "warning": "warning", "problem": "PROBLEM"}


def doctor(context: Context, call: Call) -> ExitCode:
    """`doctor`: what works here, what is missing, and what mends it; 1 where there is a problem."""
    from dbtool.operations import doctor as operation

    try:
        repository: str | None = context.repository(call)
    except UsageError:
        repository = None
    checks = operation.run(context.connection(), repository, context.settings.client_directories)
    if context.wants_json(call):
        narration.say_json(operation.as_json(checks))
    else:
        narration.say(_examined(checks))
    return operation.exit_code(checks)


def config_show(context: Context, call: Call) -> ExitCode:
    """`config show`: every setting and where it came from."""
    shown = context.settings.show()
    if context.wants_json(call):
        document = [{"name": name, "value": value, "origin": origin} for name, value, origin in shown]
        narration.say_json({"settings": document})
    else:
        narration.say(tables.table(("SETTING", "VALUE", "FROM"), shown))
    return ExitCode.DONE


def _examined(checks: Sequence[Check]) -> str:
    state_width = max((len(_MARKS[check.state.value]) for check in checks), default=0)
    name_width = max((len(check.name) for check in checks), default=0)
    lines = []
    for check in checks:
        mark = _MARKS[check.state.value]
        lines.append(f"{mark:<{state_width}}  {check.name:<{name_width}}  {printable(check.message)}")
        if check.mend:
            indent = " " * (state_width + name_width + 4)
            lines += [f"{indent}{printable(line)}" for line in check.mend.splitlines()]
    return "\n".join(lines)
