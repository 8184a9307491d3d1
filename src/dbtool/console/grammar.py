"""All commands and options, once: parser, completion, help and command line are fed from here.

A command is declared in `commands.py`; this file says what a declaration is and reads words by it.
An option that takes a value always takes the next word, whatever it begins with, so that a table
called `-rf` can be named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from dbtool.errors import UsageError

_SHORT_USAGE = 90


class Kind(Enum):
    """What a value is: decides how it is checked and what completion offers."""

    FLAG = auto()
    TEXT = auto()
    NUMBER = auto()
    FOLDER = auto()
    BACKUP = auto()
    FULL_BACKUP = auto()
    TABLE = auto()
    COLUMN = auto()
    DATABASE = auto()
    CHOICE = auto()
    COMMAND = auto()


@dataclass(frozen=True)
class Option:
    """One option, written `-name` or `--name`. `many`: each use may take several words."""

    name: str
    summary: str
    kind: Kind = Kind.FLAG
    metavar: str = ""
    choices: tuple[str, ...] = ()
    many: bool = False
    minimum: int = 0
    maximum: int | None = None


@dataclass(frozen=True)
class Operand:
    """The word of a command that is no option, such as the id of a backup."""

    name: str
    kind: Kind
    summary: str
    required: bool = True


@dataclass(frozen=True)
class Command:
    """One command. `later` names options of the design that this version refuses by name."""

    words: tuple[str, ...]
    summary: str
    options: tuple[Option, ...] = ()
    operand: Operand | None = None
    takes_rest: bool = False  # what follows the options is kept as it is: SQL text, or an ACTION
    examples: tuple[str, ...] = ()
    notes: str = ""
    later: tuple[str, ...] = ()
    is_script: bool = False  # a verb of the command line, not of the console

    @property
    def name(self) -> str:
        """Its words, as a person types them."""
        return " ".join(self.words)

    def option(self, name: str) -> Option | None:
        """The option of that name, if the command has it."""
        return next((option for option in self.options if option.name == name.lower()), None)


@dataclass(frozen=True)
class Call:
    """A command with its values, as read from words."""

    command: Command
    values: dict[str, Any] = field(default_factory=dict)
    operand: str | None = None
    rest: tuple[str, ...] = ()

    def flag(self, name: str) -> bool:
        """Whether the flag was given."""
        return bool(self.values.get(name, False))

    def text(self, name: str) -> str | None:
        """The value of an option that takes one word; None where it was not given."""
        value = self.values.get(name)
        return None if value is None else str(value)

    def texts(self, name: str) -> tuple[str, ...]:
        """The values of an option that may be given many times."""
        return tuple(self.values.get(name, ()))

    def number(self, name: str) -> int | None:
        """The value of a number."""
        value = self.values.get(name)
        return None if value is None else int(value)


def find_command(
    commands: Iterable[Command], words: Sequence[str], later: Sequence[str] = (), where: str = "help"
) -> tuple[Command, int]:
    """the command that the first words name, and how many words that took; else `UsageError`."""
    commands = tuple(commands)
    lowered = [word.lower() for word in words]
    for command in sorted(commands, key=lambda command: -len(command.words)):
        if tuple(lowered[: len(command.words)]) == command.words:
            return command, len(command.words)
    if not lowered:
        raise UsageError("no command was given", f"Say {where} for a list.")
    if lowered[0] in later:
        raise UsageError(
            f'the command "{lowered[0]}" is not in this version', f"Say {where} for what there is."
        )
    begun = [command.name for command in commands if command.words[0] == lowered[0]]
    if begun:
        raise UsageError(f'"{lowered[0]}" needs another word', "It can be: " + ", ".join(begun) + ".")
    from difflib import get_close_matches

    near = get_close_matches(
        " ".join(lowered[:2]), [command.name for command in commands], 1, 0.6
    ) or get_close_matches(lowered[0], [command.words[0] for command in commands], 1, 0.6)
    hint = f"Did you mean {near[0]}?" if near else f"Say {where} for a list."
    raise UsageError(f"unknown command: {words[0]}", hint)


def parse(command: Command, words: Sequence[str]) -> Call:
    """Read the words behind a command's own. Anything that does not fit is a `UsageError`."""
    values: dict[str, Any] = {}
    operand: str | None = None
    position, options_ended = 0, False
    while position < len(words):
        word = words[position]
        if options_ended or not word.startswith("-") or word == "-":
            if command.takes_rest:
                return Call(command, values, operand, tuple(words[position:]))
            if command.operand is None or operand is not None:
                raise UsageError(f'"{command.name}" does not take: {word}', _usage_hint(command))
            operand = word
            position += 1
        elif word == "--":
            options_ended = True
            position += 1
        else:
            position = _read_option(command, words, position, values)
    if command.operand is not None and command.operand.required and operand is None:
        raise UsageError(f'"{command.name}" needs: {command.operand.name}', _usage_hint(command))
    return Call(command, values, operand)


def usage(command: Command, prefix: str = "-") -> str:
    """One line that shows how the command is written."""
    parts = [command.name.upper() if command.words == ("sql",) and prefix == "-" else command.name]
    if command.operand is not None:
        parts.append(command.operand.name if command.operand.required else f"[{command.operand.name}]")
    if command.takes_rest and command.words == ("sql",):
        parts.append("STATEMENT")
    for option in command.options:
        text = f"{prefix}{option.name}"
        if option.kind is not Kind.FLAG:
            text += f" {option.metavar}" + (" …" if option.many else "")
        parts.append(f"[{text}]")
    if command.takes_rest and command.words != ("sql",):
        parts.append("[ACTION …]")
    return " ".join(parts)


def _read_option(command: Command, words: Sequence[str], position: int, values: dict[str, Any]) -> int:
    word = words[position]
    name, equals, inline = word.lstrip("-").partition("=")
    option = command.option(name)
    if option is None:
        raise _unknown_option(command, name, word)
    position += 1
    if option.kind is Kind.FLAG:
        if equals:
            raise UsageError(f"-{option.name} takes no value", _usage_hint(command))
        values[option.name] = True
        return position
    taken = [inline] if equals else list(words[position : position + 1])
    if not taken:
        raise UsageError(f"-{option.name} needs a value: {option.metavar}", _usage_hint(command))
    if not equals:
        position += 1
        while option.many and position < len(words) and not words[position].startswith("-"):
            taken.append(words[position])
            position += 1
    checked = [_checked(option, text) for text in taken]
    if option.many:
        values.setdefault(option.name, []).extend(checked)
    elif option.name in values and values[option.name] != checked[0]:
        raise UsageError(f"-{option.name} was given twice", "Say it once.")
    else:
        values[option.name] = checked[0]
    return position


def _checked(option: Option, text: str) -> str | int:
    if option.kind is Kind.NUMBER:
        limit = f" and at most {option.maximum}" if option.maximum is not None else ""
        try:
            number = int(text)
        except ValueError:
            number = option.minimum - 1
        if number < option.minimum or (option.maximum is not None and number > option.maximum):
            raise UsageError(
                f"-{option.name} must be a whole number of at least {option.minimum}{limit}: {text}"
            )
        return number
    if option.kind is Kind.CHOICE:
        if text.lower() not in option.choices:
            raise UsageError(
                f"-{option.name} cannot be {text!r}", "It can be: " + ", ".join(option.choices) + "."
            )
        return text.lower()
    if not text:
        raise UsageError(f"-{option.name} is empty")
    if "\0" in text:
        raise UsageError(f"-{option.name} holds a NUL character")
    return text


def _unknown_option(command: Command, name: str, word: str) -> UsageError:
    if name.lower() in command.later:
        return UsageError(f"-{name} is not in this version", _usage_hint(command))
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), [option.name for option in command.options], 1, 0.6)
    dashes = "--" if command.is_script else "-"
    hint = f"Did you mean {dashes}{near[0]}?" if near else _usage_hint(command)
    return UsageError(f'"{command.name}" has no option {word}', hint)


def _usage_hint(command: Command) -> str:
    written = usage(command, "--" if command.is_script else "-")
    if len(written) < _SHORT_USAGE:
        return f"It is written: {written}"
    return f"dbtool {command.name} --help" if command.is_script else f"help {command.name}"
