"""The help texts, made from the declarations of the commands."""

from __future__ import annotations

from collections.abc import Sequence

from dbtool.console import commands as known
from dbtool.console import narration
from dbtool.console.context import Context
from dbtool.console.grammar import Call, Command, Kind, Option, find_command, usage
from dbtool.errors import ExitCode

_CONSOLE_KEYS = (
    ("\\d [NAME]", "look at the tables, or at one of them (a pattern may be given)"),
    ("\\timing", "show or hide how long statements take"),
    ("\\x", "rows one above the other, or as a table again"),
    ("Tab", "complete; Ctrl-R searches the history; the grey suggestion is taken with the right arrow"),
    ("Alt-Enter", "add a line; Enter runs what is complete"),
    ("Ctrl-C", "end the statement that runs; Ctrl-D leaves"),
)


def console_help(context: Context, call: Call) -> ExitCode:  # noqa: ARG001 - as all commands
    """`help [COMMAND]` of the console."""
    asked = call.rest
    if not asked:
        narration.say(console_overview(known.CONSOLE))
        return ExitCode.DONE
    begun = [one for one in known.CONSOLE if one.words[: len(asked)] == tuple(word.lower() for word in asked)]
    found = begun or [find_command(known.CONSOLE, asked, known.LATER)[0]]
    narration.say("\n\n".join(command_help(command) for command in found))
    return ExitCode.DONE


def console_overview(commands: Sequence[Command]) -> str:
    """What `help` says in the console."""
    rows = [
        (command.name.upper() if command.words == ("sql",) else command.name, command) for command in commands
    ]
    width = max(len(name) for name, _ in rows) + 2
    lines = ["Commands (help COMMAND says more):", ""]
    lines += [f"  {name:<{width}}{command.summary}" for name, command in rows]
    lines += ["", "In the console:", ""]
    lines += [f"  {key:<{width}}{meaning}" for key, meaning in _CONSOLE_KEYS]
    return "\n".join(lines)


def command_help(command: Command, prefix: str = "-", program: str = "") -> str:
    """What `help COMMAND` and `dbtool COMMAND --help` say."""
    lines = [
        f"{program}{usage(command, prefix)}",
        "",
        f"  {command.summary[0].upper()}{command.summary[1:]}.",
    ]
    if command.operand is not None and command.operand.kind is not Kind.COMMAND:
        lines += ["", f"  {command.operand.name}: {command.operand.summary}"]
    if command.options:
        spelled = [(_spelled(option, prefix), option) for option in command.options]
        width = min(28, max(len(text) for text, _ in spelled) + 2)
        lines += ["", "Options:"]
        for text, option in spelled:
            choices = f" ({', '.join(option.choices)})" if option.choices else ""
            lines.append(f"  {text:<{width}}{option.summary}{choices}")
    if command.notes:
        lines += ["", *command.notes.splitlines()]
    if command.examples:
        lines += ["", "Examples:", *(f"  {example}" for example in command.examples)]
    return "\n".join(lines)


def script_overview(commands: Sequence[Command]) -> str:
    """What `dbtool --help` says."""
    width = max(len(command.name) for command in commands) + 2
    return "\n".join(
        [
            "dbtool backs up, restores and proves databases.",
            "",
            "Usage: dbtool [--debug] COMMAND [options]",
            "",
            "Commands (dbtool COMMAND --help says more):",
            "",
            *(f"  {command.name:<{width}}{command.summary}" for command in commands),
            "",
            "Options are written --option or -option.",
            "  --help     this text, or that of a command",
            "  --version  the version of dbtool",
            "  --debug    show the traceback of an error",
            "",
            "Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 partly done, 4 cannot connect,",
            "5 locked or busy, 6 verification failed, 7 storage, 8 not found, 9 refused for safety,",
            "130 interrupted.",
            "",
            "Begin with:",
            "  dbtool backup --db postgres --database mydb --storage local --config file",
        ]
    )


def _spelled(option: Option, prefix: str) -> str:
    spelled = f"{prefix if len(option.name) > 1 else '-'}{option.name}"
    if option.kind is Kind.FLAG:
        return spelled
    return f"{spelled} {option.metavar}" + (" …" if option.many else "")
