"""What can come next on a console line: commands, options, paths, backups, tables, and SQL.

`ConsoleCompleter.suggestions` is pure but for folders read from the disk; what it knows of the
database and of the repository comes from a `Knowledge`, which answers at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from prompt_toolkit.completion import CompleteEvent, Completer, Completion

from dbtool.catalog.names import is_full
from dbtool.config.sources import expanded
from dbtool.console import commands, sql_completer, sql_text, words
from dbtool.console.grammar import Command, Kind, Option, find_command
from dbtool.console.names_index import NamesIndex
from dbtool.console.reading import SQL_WORD, split_options
from dbtool.console.sql_completer import Suggestion
from dbtool.errors import UsageError

if TYPE_CHECKING:
    from prompt_toolkit.document import Document

_DESCRIBE = re.compile(r"\s*\\d\+?\s+")
_META_COMMANDS = (
    ("\\d", "look at tables"),
    ("\\timing", "how long it takes"),
    ("\\x", "rows as blocks"),
    ("\\q", "leave"),
)
_LIMIT = 200


class Knowledge(Protocol):
    """What completion knows; every answer comes at once, from what was loaded in the background."""

    def names(self) -> NamesIndex:
        """The names of the database; empty while they are being loaded."""

    def backups(self, repository: str | None) -> Sequence[tuple[str, str]]:
        """The ids of the repository's backups, the newest first, each with what is said of it."""


class ConsoleCompleter(Completer):
    """Completion by context, for prompt_toolkit."""

    def __init__(
        self,
        knowledge: Knowledge,
        known_commands: Sequence[Command] = commands.CONSOLE,
        dialect: str = "postgres",
    ) -> None:
        self._knowledge = knowledge
        self._dialect = dialect
        self._commands = known_commands

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:  # noqa: ARG002
        """Called on every key stroke."""
        start, found = self.suggestions(document.text, document.cursor_position)
        for suggestion in found:
            yield Completion(
                suggestion.text,
                start_position=start - document.cursor_position,
                display=suggestion.display or suggestion.text,
                display_meta=suggestion.meta,
                style=f"class:completion.{suggestion.kind}",
            )

    def suggestions(self, text: str, cursor: int) -> tuple[int, list[Suggestion]]:
        """Where the word under the cursor begins, and what it could become."""
        before = text[:cursor]
        if match := SQL_WORD.match(before):
            if match.end() > 3 and before[match.end() - 1].isspace():
                return self._sql(text, cursor, match.end())
        elif match := _DESCRIBE.match(before):
            return match.end(), list(self._tables(before[match.end() :]))
        elif before.lstrip().startswith("\\"):
            start = len(before) - len(before.lstrip())
            return start, [
                Suggestion(name, "command", meta)
                for name, meta in _META_COMMANDS
                if name.startswith(before[start:])
            ]
        return self._words(before)

    def _sql(self, text: str, cursor: int, offset: int) -> tuple[int, list[Suggestion]]:
        before = text[offset:cursor]
        # A dash alone may be the beginning of an option.
        statement, trailing = split_options(re.sub(r"(?<=\s)--?\Z", "", before), self._dialect)
        if trailing:
            begin = offset + before.rindex(trailing, len(statement))
            start, found = self._arguments(commands.SQL, text[begin:cursor], [])
            return begin + start, found
        dash = re.search(r"(?:\s|\A)(--?\w*)\Z", before)
        if dash and sql_text.is_code_at_end(before[: dash.start(1)], self._dialect):
            typed = dash[1].lstrip("-").lower()
            found = [
                Suggestion(f"-{option.name}", "option", option.summary)
                for option in commands.SQL.options
                if option.name in ("extract", "json", "yes") and option.name.startswith(typed)
            ]
            return offset + dash.start(1), found
        start, found = sql_completer.suggest(text[offset:], cursor - offset, self._knowledge.names())
        return offset + start, found

    def _words(self, before: str) -> tuple[int, list[Suggestion]]:
        scanned = words.scan(before)
        typed = [word.text for word in scanned]
        if not before or (before[-1:].isspace() and not (scanned and scanned[-1].open_quote)):
            done, partial, start = typed, "", len(before)
        else:
            done, partial, start = typed[:-1], typed[-1], scanned[-1].start
        try:
            command, taken = find_command(self._commands, done)
        except UsageError:
            return start, self._command_words(done, partial)
        if command.words == ("help",):
            return start, self._command_words(done[1:], partial)
        longer = self._command_words(done, partial) if len(done) == taken else []
        behind = scanned[taken - 1].end
        found_start, found = self._arguments(command, before[behind:], longer)
        return behind + found_start, found

    def _command_words(self, done: Sequence[str], partial: str) -> list[Suggestion]:
        found: dict[str, Suggestion] = {}
        lowered = tuple(word.lower() for word in done)
        for command in self._commands:
            if command.words[: len(lowered)] != lowered or len(command.words) <= len(lowered):
                continue
            rest = " ".join(command.words[len(lowered) :])
            if rest.startswith(partial.lower()):
                shown = rest.upper() if command.words == ("sql",) else rest
                found[shown] = Suggestion(shown, "command", command.summary)
        return list(found.values())

    def _arguments(
        self, command: Command, text: str, longer: list[Suggestion]
    ) -> tuple[int, list[Suggestion]]:
        scanned = words.scan(text)
        if (text and not text[-1:].isspace()) or (scanned and scanned[-1].open_quote):
            *done, current = scanned
            partial, start, quote = current.text, current.start, current.open_quote
        else:
            done, partial, start, quote = scanned, "", len(text), ""
        typed = [word.text for word in done]
        option = _option_that_waits(command, typed)
        if option is None and partial.startswith("-") and "=" in partial:
            name, _, value = partial.partition("=")
            option = command.option(name.lstrip("-"))
            start += len(name) + 1
            partial = value
        repository = _value_of("path", typed)
        has_value = bool(typed) and not typed[-1].startswith("-")
        if option is not None and not (option.many and has_value and partial.startswith("-")):
            found = self._values(option.kind, option.choices, partial, quote, repository)
            if option.many and has_value and not partial:
                found = [*found, *self._options(command, typed, "")]
            return start, found
        if partial.startswith("-"):
            return start, self._options(command, typed, partial)
        found = list(longer)
        if command.operand is not None and not _has_operand(command, typed):
            found += self._values(command.operand.kind, (), partial, quote, repository)
        if not partial:
            found += self._options(command, typed, "")
        return start, found

    def _options(self, command: Command, typed: Sequence[str], partial: str) -> list[Suggestion]:
        given = {word.lstrip("-").partition("=")[0].lower() for word in typed if word.startswith("-")}
        dashes = "--" if partial.startswith("--") else "-"
        wanted = partial.lstrip("-").lower()
        return [
            Suggestion(f"{dashes}{option.name}", "option", option.summary)
            for option in command.options
            if option.name.startswith(wanted) and (option.many or option.name not in given)
        ]

    def _values(
        self, kind: Kind, choices: Sequence[str], partial: str, quote: str, repository: str | None
    ) -> list[Suggestion]:
        if kind is Kind.CHOICE:
            return [Suggestion(choice, "value") for choice in choices if choice.startswith(partial.lower())]
        if kind is Kind.FOLDER:
            return list(_folders(partial, quote))
        if kind is Kind.BACKUP:
            return self._backups(partial, repository)
        if kind is Kind.FULL_BACKUP:
            return self._backups(partial, repository, is_full)
        if kind is Kind.TABLE:
            return list(self._tables(partial, as_word=True))
        if kind is Kind.COLUMN:
            columns = self._knowledge.names().columns.find(partial, _LIMIT)
            return [Suggestion(words.quote(name), "column", tables) for name, tables in columns]
        if kind is Kind.DATABASE:
            names = self._knowledge.names().databases.find(partial, _LIMIT)
            return [Suggestion(words.quote(name), "database") for name in names]
        return []

    def _backups(
        self, partial: str, repository: str | None, is_wanted: Callable[[str], bool] | None = None
    ) -> list[Suggestion]:
        found = [("latest", "the newest completed backup"), *self._knowledge.backups(repository)]
        lowered = partial.lower()
        return [
            Suggestion(words.quote(name), "backup", meta)
            for name, meta in found
            if lowered in name.lower() and (is_wanted is None or is_wanted(name))
        ][:_LIMIT]

    def _tables(self, partial: str, as_word: bool = False) -> Iterator[Suggestion]:
        """Tables by name; `as_word`: as an option takes them, which is without SQL's quotes."""
        index = self._knowledge.names()
        schema, dot, name = partial.partition(".")
        if dot:
            relations = index.relations_of(schema.strip('"`')).find(name.strip('"`'), _LIMIT)
        else:
            relations = index.relations(partial.strip('"`'), _LIMIT)
        written = str if as_word else index.quoted
        for relation in relations:
            if as_word and "table" not in relation.kind:
                continue
            text = written(relation.name)
            if dot or not relation.visible:
                text = f"{written(relation.schema)}.{text}"
            meta = f"{relation.kind}  {relation.schema}"
            yield Suggestion(words.quote(text) if as_word else text, "table", meta)


def _option_that_waits(command: Command, typed: Sequence[str]) -> Option | None:
    """The option whose value comes next, if one does."""
    waiting: Option | None = None
    for word in typed:
        if waiting is not None and not waiting.many:
            waiting = None
            continue
        if word.startswith("-"):
            option = command.option(word.lstrip("-"))
            waiting = option if option is not None and option.kind is not Kind.FLAG else None
    return waiting


def _has_operand(command: Command, typed: Sequence[str]) -> bool:
    position = 0
    while position < len(typed):
        word = typed[position]
        if not word.startswith("-"):
            return True
        option = command.option(word.lstrip("-").partition("=")[0])
        takes_value = option is not None and option.kind is not Kind.FLAG and "=" not in word
        position += 2 if takes_value else 1
    return False


def _value_of(name: str, typed: Sequence[str]) -> str | None:
    for position, word in enumerate(typed):
        option, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and option.lower() == name:
            return value if equals else next(iter(typed[position + 1 : position + 2]), None)
    return None


def _folders(partial: str, quote: str) -> Iterator[Suggestion]:
    folder, _, beginning = partial.rpartition("/")
    place = expanded(f"{folder}/" if folder or partial.startswith("/") else ".")
    try:
        with os.scandir(place) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.name.startswith(beginning)
                and (beginning or not entry.name.startswith("."))
                and entry.is_dir()
            )
    except OSError:
        return
    prefix = f"{folder}/" if folder or partial.startswith("/") else ""
    for name in names[:_LIMIT]:
        path = f"{prefix}{name}/"
        # The quote stays open, for more may follow.
        text = f"{quote}{path}" if quote in ("'", '"') else re.sub(r"([\s'\"\\])", r"\\\1", path)
        yield Suggestion(text, "folder", display=f"{name}/")
