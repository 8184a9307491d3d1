"""Names and values inside SQL. Names come from the catalogue, never from a pattern."""

from __future__ import annotations

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
