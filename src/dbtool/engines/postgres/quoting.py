"""Names and values inside SQL and connection strings. Names come from the catalogue, never from a pattern."""

from __future__ import annotations


def quote_identifier(name: str) -> str:
    """A name as SQL takes it, always quoted."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """A string as SQL takes it, whatever `standard_conforming_strings` is."""
    quoted = "'" + text.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in text else quoted


def qualified(schema: str, name: str) -> str:
    """`"schema"."name"`."""
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"


def conninfo(database: str) -> str:
    """A database's name as a connection string, so that no name is taken for an option or a URL."""
    escaped = database.replace("\\", "\\\\").replace("'", "\\'")
    return f"dbname='{escaped}'"
