"""The short commands that begin with a backslash: a look at tables, and how things are shown."""

from __future__ import annotations

import re

from dbtool.console import narration
from dbtool.console.context import Context
from dbtool.errors import UsageError

_WRITTEN = re.compile(r"\s*\\(?P<name>\w+|\?)\+?(?:\s+(?P<argument>.*))?\Z", re.DOTALL)
_BLOCKS = {"on": True, "off": False, "auto": None}
_BLOCKS_TEXT = {True: "as blocks", False: "as a table", None: "as a table where it fits, else as blocks"}


def is_meta_command(line: str) -> bool:
    """Whether a line is one of these."""
    return line.lstrip().startswith("\\")


def run(context: Context, line: str) -> None:
    """Carry out one of them. Raises `UsageError` for an unknown one, `EOFError` for `\\q`."""
    match = _WRITTEN.match(line)
    name = match["name"] if match else line.strip().lstrip("\\")
    argument = (match["argument"] or "").strip() if match else ""
    if name in ("d", "dt", "dv"):
        narration.say("\n".join(context.session().describe(argument or None)))
    elif name == "timing":
        context.show_timing = not context.show_timing
        narration.note(f"Timing is {'on' if context.show_timing else 'off'}.")
    elif name == "x":
        context.expanded = _BLOCKS.get(argument.lower(), None if context.expanded else True)
        narration.note(f"Rows are shown {_BLOCKS_TEXT[context.expanded]}.")
    elif name == "q":
        raise EOFError
    else:
        raise UsageError(
            f"unknown: \\{name}", "There are \\d [NAME], \\timing, \\x and \\q; help lists the commands."
        )
