"""Splitting a console line into words by shell-like quoting, with positions for completion.

Only quotes, backslashes and white space mean something: there are no variables, globs or comments.
"""

from __future__ import annotations

from dataclasses import dataclass

from dbtool.errors import UsageError


@dataclass(frozen=True)
class Word:
    """One word: its text without quotes, where it stands, and the quote that is still open, if any."""

    text: str
    start: int
    end: int
    open_quote: str = ""


def scan(line: str) -> list[Word]:
    """All words of a line; only the last can have an open quote (or a lone backslash at its end)."""
    words: list[Word] = []
    position, length = 0, len(line)
    while position < length:
        if line[position].isspace():
            position += 1
            continue
        start, parts, quote = position, [], ""
        while position < length:
            character = line[position]
            if quote:
                if character == quote:
                    quote = ""
                elif character == "\\" and quote == '"' and line[position + 1 : position + 2] in ('"', "\\"):
                    position += 1
                    parts.append(line[position])
                else:
                    parts.append(character)
            elif character in "'\"":
                quote = character
            elif character == "\\":
                position += 1
                if position == length:
                    quote = "\\"
                else:
                    parts.append(line[position])
            elif character.isspace():
                break
            else:
                parts.append(character)
            position += 1
        words.append(Word("".join(parts), start, min(position, length), quote))
    return words


def split(line: str) -> list[str]:
    """The texts of a line's words. A quote that is not closed: `UsageError`."""
    words = scan(line)
    if words and words[-1].open_quote:
        raise UsageError(
            f"the quote {words[-1].open_quote} is not closed",
            "Close it, or write a backslash before a quote that is part of a name.",
        )
    return [word.text for word in words]


def quote(text: str) -> str:
    """The text as one word of a line, quoted only where that is needed."""
    if text and not any(character.isspace() or character in "'\"\\" for character in text):
        return text
    if "'" not in text:
        return f"'{text}'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
