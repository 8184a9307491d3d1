"""What is said to people, and what is given to programs: stderr is narration, stdout is data."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import traceback
from typing import Any, TextIO

from dbtool.errors import DbtoolError, ExitCode, InterruptedByUserError, RefusedError
from dbtool.redaction import redact
from dbtool.text import printable


def note(message: str) -> None:
    """One line for a person."""
    _narrate(f"{printable(redact(message))}\n")


_READABLE_CHARACTERS = 1_000_000


def say(text: str) -> None:
    """Lines on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def say_json(document: Any) -> None:
    """One JSON document on stdout; laid out for people unless it is too large for them."""
    text = json.dumps(document, ensure_ascii=False, default=str)
    indent = 2 if len(text) < _READABLE_CHARACTERS else None
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is no text
        say(json.dumps(document, indent=indent, default=str))
        return
    say(json.dumps(document, indent=indent, ensure_ascii=False, default=str) if indent else text)


def stdout_is_terminal() -> bool:
    """Whether what goes to stdout is seen by a person."""
    return sys.stdout.isatty()


def uses_color() -> bool:
    """Whether stdout is a terminal that shows colours, and nobody objects."""
    return _is_colored(sys.stdout)


def is_interactive() -> bool:
    """Whether there is a person to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(question: str, how_to_allow: str) -> None:
    """Ask, and raise `RefusedError` unless the answer is yes, or where there is nobody to ask."""
    if not is_interactive():
        raise RefusedError(f"refused, for nobody can be asked: {question}", how_to_allow)
    if not is_yes(ask(f"{question} Go on? [y/N] ")):
        raise RefusedError("refused: the answer was not yes", "Nothing was done.")


def is_yes(answer: str) -> bool:
    """Whether an answer agrees; anything but y or yes does not."""
    return answer.strip().lower() in ("y", "yes")


def ask(question: str) -> str:
    """A person's answer to a question; an empty one at the end of the input."""
    _narrate(printable(redact(question)))
    return sys.stdin.readline()


def report(error: BaseException, debug: bool = False) -> ExitCode:
    """Say what went wrong, and what mends it; gives the exit code that belongs to it."""
    if debug and not isinstance(error, KeyboardInterrupt):
        _narrate(redact("".join(traceback.format_exception(error))))
    explained = explain(error)
    _say_labelled("error", "\x1b[1;31m", explained.message)
    if explained.hint:
        _say_labelled("hint", "\x1b[36m", explained.hint)
    return explained.exit_code


def explain(error: BaseException) -> DbtoolError:
    """Any exception as one of ours."""
    if isinstance(error, DbtoolError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return InterruptedByUserError("interrupted")
    if isinstance(error, MemoryError):
        return DbtoolError("there is not enough memory")
    if isinstance(error, OSError) and error.strerror:
        where = f": {error.filename}" if error.filename else ""
        return DbtoolError(f"{error.strerror}{where}")
    return DbtoolError(
        f"unexpected {type(error).__name__}: {error}", "This is a fault of dbtool; --debug shows where it is."
    )


def _say_labelled(label: str, color: str, text: str) -> None:
    shown = f"{color}{label}:\x1b[0m" if _is_colored(sys.stderr) else f"{label}:"
    _narrate(f"{shown} {printable(redact(_on_one_line(text)))}\n")


def _is_colored(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _on_one_line(text: str) -> str:
    return " ".join(line.strip() for line in text.splitlines() if line.strip())


def _narrate(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # stderr is gone: there is nobody to tell
        sys.stderr.write(text)
        sys.stderr.flush()
