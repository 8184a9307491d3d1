"""What the server says of a statement, in our words' form: one line, and what helps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dbtool.errors import SqlError

if TYPE_CHECKING:
    from psycopg.errors import Diagnostic


def notice_text(diagnostic: Diagnostic) -> str:
    """`NOTICE: …`, with its detail and hint on lines of their own."""
    first = f"{diagnostic.severity}: {diagnostic.message_primary}"
    return "\n".join(filter(None, (first, diagnostic.message_detail, diagnostic.message_hint)))


def sql_error(diagnostic: Diagnostic, source: str, offset: int) -> SqlError:
    """The error, with the line and column in `source`, where the statement begins at `offset`.

    Detail, hint and the innermost context stand in the error's hint.
    """
    message = " ".join((diagnostic.message_primary or "the server refused the statement").split("\n"))
    if diagnostic.statement_position:
        position = offset + int(diagnostic.statement_position) - 1
        line = source.count("\n", 0, position) + 1
        column = position - source.rfind("\n", 0, position)
        message = f"{message} (line {line}, column {column})"
    context = (diagnostic.context or "").partition("\n")[0]
    hint = "\n".join(filter(None, (diagnostic.message_detail, diagnostic.message_hint, context)))
    return SqlError(message, hint or None)
