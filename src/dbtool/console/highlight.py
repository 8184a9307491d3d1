"""Colours of the line being typed: commands and options by our grammar, SQL by Pygments."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.formatted_text.utils import split_lines
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.styles import Style

from dbtool.console import commands, words
from dbtool.console.grammar import find_command
from dbtool.console.reading import SQL_WORD, split_options
from dbtool.errors import UsageError

if TYPE_CHECKING:
    from prompt_toolkit.document import Document

STYLE = Style.from_dict(
    {
        "prompt": "ansicyan bold",
        "prompt.transaction": "ansiyellow bold",
        "continuation": "ansibrightblack",
        "command": "bold ansigreen",
        "unknown": "ansired",
        "option": "ansicyan",
        "value": "",
        "quoted": "ansiyellow",
        "bottom-toolbar": "noreverse bg:ansibrightblack ansiwhite",
        "bottom-toolbar.transaction": "bg:ansiyellow ansiblack",
        "auto-suggestion": "ansibrightblack",
        "completion-menu.completion": "bg:#303030 #d0d0d0",
        "completion-menu.completion.current": "noreverse bg:#005f87 #ffffff",
        "completion-menu.meta.completion": "bg:#262626 #8a8a8a",
        "completion-menu.meta.completion.current": "bg:#004060 #d0d0d0",
        "pygments.keyword": "bold ansiblue",
        "pygments.name.builtin": "ansicyan",
        "pygments.literal.string": "ansiyellow",
        "pygments.literal.number": "ansimagenta",
        "pygments.comment": "italic ansibrightblack",
        "pygments.operator": "",
        "pygments.error": "ansired",
    }
)


class ConsoleLexer(Lexer):
    """prompt_toolkit's view of `fragments`."""

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """The coloured lines of the text."""
        lines = list(split_lines(fragments(document.text, self._dialect)))
        return lambda number: lines[number] if number < len(lines) else []


def fragments(text: str, dialect: str) -> StyleAndTextTuples:
    """The whole text as (style, text) pairs."""
    match = SQL_WORD.match(text)
    if match:
        _, trailing = split_options(text[match.end() :], dialect)
        options_at = len(text.rstrip()) - len(trailing) if trailing else len(text)
        return [
            ("class:command", text[: match.end()]),
            *_sql(text[match.end() : options_at], dialect),
            *_words(text[options_at:], 0),
        ]
    if text.lstrip().startswith("\\"):
        command, space, rest = text.partition(" ")
        return [("class:command", command), ("", space + rest)]
    typed = [word.text for word in words.scan(text)]
    try:
        _, taken = find_command(commands.CONSOLE, typed)
    except UsageError:
        taken = -1
    return _words(text, taken)


def _words(text: str, command_words: int) -> StyleAndTextTuples:
    parts: StyleAndTextTuples = []
    position = 0
    for number, word in enumerate(words.scan(text)):
        parts.append(("", text[position : word.start]))
        written = text[word.start : word.end]
        if command_words < 0:
            begun = any(command.name.startswith(text.strip().lower()) for command in commands.CONSOLE)
            style = "" if begun or number else "class:unknown"
        elif number < command_words:
            style = "class:command"
        elif written.startswith("-"):
            style = "class:option"
        else:
            style = "class:quoted" if written[:1] in ("'", '"') else "class:value"
        parts.append((style, written))
        position = word.end
    parts.append(("", text[position:]))
    return parts


def _sql(text: str, dialect: str) -> StyleAndTextTuples:
    parts: StyleAndTextTuples = []
    for _, kind, value in _pygments_lexer(dialect).get_tokens_unprocessed(text):
        parts.append(("class:" + ".".join(("pygments", *kind)).lower(), value))
    return parts


@lru_cache(maxsize=2)
def _pygments_lexer(dialect: str) -> Any:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name("mysql" if dialect == "mysql" else "postgresql")
