"""Names and values inside SQL. Names come from the catalogue, never from a pattern."""

from __future__ import annotations

from collections.abc import Iterable

STATEMENT_END = b";\n"  # of the archive's INSERT statements; it stands in no literal of theirs

_ESCAPES = str.maketrans(
    {
        "\0": "\\0",
        "'": "\\'",
        "\\": "\\\\",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\x1a": "\\Z",
    }
)


def quote_identifier(name: str) -> str:
    """A name as SQL takes it, always in back-ticks, whatever the sql_mode."""
    return "`" + name.replace("`", "``") + "`"


def quote_literal(text: str) -> str:
    """A string as SQL takes it, with the escapes of the archive's rows.

    Right in every session whose sql_mode lacks NO_BACKSLASH_ESCAPES; all of our own do.
    """
    return "'" + text.translate(_ESCAPES) + "'"


def qualified(database: str, name: str) -> str:
    """`` `database`.`name` ``."""
    return f"{quote_identifier(database)}.{quote_identifier(name)}"


def insert_prefix(name: str, columns: Iterable[str]) -> bytes:
    """`INSERT INTO … VALUES` and a line's end, as it begins each of the archive's statements."""
    quoted = ",".join(quote_identifier(column) for column in columns)
    return f"INSERT INTO {quote_identifier(name)} ({quoted}) VALUES\n".encode("utf-8", "surrogateescape")
