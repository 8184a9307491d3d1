"""The verbs of the command line: settings are read, then the console's command is carried out."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence

from dbtool.console import commands, dispatch, meta_commands, narration, reading
from dbtool.console.context import Context
from dbtool.console.grammar import Call
from dbtool.errors import ExitCode, UsageError

# Options of the command line, and what the same thing is called among the settings.
_SETTINGS = {
    "db": "engine",
    "database": "database",
    "host": "host",
    "port": "port",
    "user": "user",
    "password": "password",
    "tls-mode": "tls_mode",
    "tls-root-certificate": "tls_root_certificate",
}


def run(call: Call, debug: bool) -> ExitCode:
    """Carry out one verb. Raises `DbtoolError`."""
    context = make_context(call)
    try:
        if call.command is commands.BACKUP:
            return _backup(context, call, debug)
        if call.command is commands.SQL_SCRIPT:
            return dispatch.run(context, _as_console_sql(call))
        return dispatch.run(context, call)
    finally:
        context.close()


def make_context(call: Call) -> Context:
    """The settings that hold for this run; what `--config manual` lacks is asked for."""
    from dbtool.config import settings

    is_manual = call.text("config") == "manual"
    given = {setting: call.text(option) for option, setting in _SETTINGS.items()}
    password = _complete(given) if is_manual else None
    loaded = settings.load(given, call.text("profile"), use_files=not is_manual)
    for note in loaded.notes:
        narration.note(f"note: {note}")
    context = Context(loaded, loaded.text("engine") or "postgres")
    if call.command is commands.BACKUP:
        context.path, context.yes, context.json = call.text("path"), call.flag("yes"), call.flag("json")
    if password is not None:
        context.use_password(password)
    return context


def _backup(context: Context, call: Call, debug: bool) -> ExitCode:
    if call.text("storage") not in (None, "local"):
        raise UsageError(
            f"--storage {call.text('storage')} is not in this version",
            "Say --storage local, and a folder with --path.",
        )
    context.connection()  # what is missing is said before anything is typed
    if call.rest:
        return _run_action(context, call.rest)
    if sys.stdin.isatty() and sys.stdout.isatty():
        from dbtool.console import shell

        return shell.run(context, debug)
    return _run_piped(context, sys.stdin)


def _run_action(context: Context, action: Sequence[str]) -> ExitCode:
    with contextlib.suppress(EOFError):  # the command was `exit`
        if meta_commands.is_meta_command(action[0]):
            meta_commands.run(context, " ".join(action))
        else:
            return dispatch.run(context, reading.read_arguments(action, context.dialect))
    return ExitCode.DONE


def _run_piped(context: Context, lines: Iterable[str]) -> ExitCode:
    """Each line is a command; the first that fails ends the run."""
    with contextlib.suppress(EOFError):  # one of them was `exit`
        for line in reading.split_lines(lines, context.dialect):
            if meta_commands.is_meta_command(line):
                meta_commands.run(context, line)
                continue
            code = dispatch.run(context, reading.read_line(line, context.dialect))
            if code is not ExitCode.DONE:
                return code
    return ExitCode.DONE


def _complete(given: dict[str, str | None]) -> str | None:
    """With `--config manual`, database, host and user must be said; a person is asked for them.

    Gives the password, where that was asked for.
    """
    missing = [name for name in ("database", "host", "user") if not given.get(name)]
    if not narration.is_interactive():
        if missing:
            raise UsageError(
                f"--config manual needs --{' and --'.join(missing)}",
                "Or say --config file, and write it in .env.",
            )
        return None
    for name in missing:
        given[name] = narration.ask(f"{name}: ").strip()
        if not given[name]:
            raise UsageError(f"--config manual needs --{name}")
    if given.get("password") is not None:
        return None
    from getpass import getpass

    return getpass("password (empty: none): ") or None


def _as_console_sql(call: Call) -> Call:
    """`dbtool sql -c STATEMENT --extract --output DIR` as `SQL STATEMENT -extract -path DIR`."""
    statement = call.text("c")
    if statement is None:
        raise UsageError("sql needs a statement: -c STATEMENT", "For example: dbtool sql -c 'SELECT 1'")
    if not call.flag("extract") and (call.text("output") or call.text("format")):
        raise UsageError("--output and --format need --extract")
    values = dict(call.values)
    if call.text("output"):
        values["path"] = call.text("output")
    return Call(commands.SQL, values, rest=(statement,))
