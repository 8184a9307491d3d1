"""Turning a reference to a password into the password, as late as possible, and only in memory."""

from __future__ import annotations

from pathlib import Path

from dbtool import redaction
from dbtool.config.sources import Values
from dbtool.errors import DbtoolError, UsageError

_COMMAND_SECONDS = 60.0


def password(values: Values) -> str | None:
    """The password that the settings give or refer to; None where they do not.

    It is registered, so that `redaction.redact` hides it. Raises UsageError.
    """
    found: str | None = None
    if "password" in values:
        found = str(values["password"].value)
    elif "password_file" in values:
        found = _from_file(Path(str(values["password_file"].value)))
    elif "password_command" in values:
        command = values["password_command"].value
        found = _from_command((command,) if isinstance(command, str) else command)
    if found:
        redaction.register(found)
    return found


def _from_file(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"cannot read the password file {file}: {reason}") from error
    return _one_line(text, f"the password file {file}")


def _from_command(command: tuple[str, ...]) -> str:
    if not command:
        raise UsageError("password_command is empty")
    from dbtool import process

    try:
        output = process.run(command, deadline_seconds=_COMMAND_SECONDS).stdout
    except DbtoolError as error:
        raise UsageError(f"password_command: {error.message}") from error
    try:
        return _one_line(output.decode("utf-8"), "password_command's output")
    except UnicodeError as error:
        raise UsageError("password_command's output is not UTF-8") from error


def _one_line(text: str, what: str) -> str:
    line = text.removesuffix("\n").removesuffix("\r")
    if not line:
        raise UsageError(f"{what} is empty")
    if "\n" in line:
        raise UsageError(f"{what} has more than one line")
    return line
