"""The entry: arguments to a command, exceptions to an exit code. Nothing is done here itself."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from dbtool.console import commands, narration
from dbtool.console.grammar import Call, Command, find_command, parse
from dbtool.errors import ExitCode, UsageError


def main(argv: list[str]) -> int:
    """Run dbtool with these arguments (without the program's name); gives the exit code."""
    debug = False
    try:
        while argv and argv[0].lstrip("-") == "debug" and argv[0].startswith("-"):
            debug, argv = True, argv[1:]
        try:
            code = _run(argv, debug)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        return _without_reader()
    except (KeyboardInterrupt, Exception) as error:
        return int(narration.report(error, debug or "--debug" in argv))
    return int(code)


def console_script() -> None:
    """What `dbtool` on the command line runs."""
    from dbtool.console import interrupts

    interrupts.install()
    os.umask(0o077)
    for stream, errors in ((sys.stdout, "surrogateescape"), (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)
    sys.exit(main(sys.argv[1:]))


def _run(argv: Sequence[str], debug: bool) -> ExitCode:
    if not argv:
        from dbtool.console.help import script_overview

        narration.note("error: no command was given")
        sys.stderr.write(script_overview(commands.SCRIPT) + "\n")
        return ExitCode.USAGE
    if argv[0] in ("--help", "-help", "-h", "help"):
        return _help(argv[1:])
    if argv[0] in ("--version", "-version", "-V"):
        from dbtool import __version__

        narration.say(f"dbtool {__version__}")
        return ExitCode.DONE
    if argv[0].startswith("-"):
        raise UsageError(f"unknown option: {argv[0]}", "The command comes first: dbtool COMMAND [options]")
    command, taken = find_command(commands.SCRIPT, argv, commands.LATER, where="dbtool --help")
    words = list(argv[taken:])
    if _asks_for_help(command, words):
        return _help(command.words)
    from dbtool.cli import scripts

    # What a large schema is described with is many small objects that stay: to look through all of
    # them for garbage again and again took a fifth of the time of a backup of 20,000 tables.
    gc.set_threshold(50_000, 50, 100)
    call = parse(command, words)
    return scripts.run(call, debug or call.flag("debug"))


def _asks_for_help(command: Command, words: Sequence[str]) -> bool:
    """Whether help was asked for: before an ACTION, and not as the value of an option."""
    if not any(word in ("--help", "-help", "-h") for word in words):
        return False
    for position, word in enumerate(words):
        if word in ("--help", "-help", "-h"):
            try:
                before = parse(
                    Command(command.words, "", command.options, takes_rest=command.takes_rest),
                    words[:position],
                )
            except UsageError:
                return position == 0 or not words[position - 1].startswith("-")
            return not before.rest
    return False


def _help(asked: Sequence[str]) -> ExitCode:
    from dbtool.console.help import command_help, script_overview

    if not asked:
        narration.say(script_overview(commands.SCRIPT))
        return ExitCode.DONE
    command, _ = find_command(commands.SCRIPT, asked, commands.LATER, where="dbtool --help")
    narration.say(command_help(command, "--", "dbtool "))
    if command is commands.BACKUP:
        narration.say("\nAn ACTION is a command of the console:")
        for action in commands.CONSOLE:
            narration.say(f"  {action.name:<20}{action.summary}")
    return ExitCode.DONE


def _without_reader() -> int:
    """Whoever read stdout has gone: nothing more is said, not by the interpreter's end either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return int(ExitCode.FAILED)


__all__ = ["Call", "console_script", "main"]
