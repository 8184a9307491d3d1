"""What the server says of a statement, in our words' form: one line, and what helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dbtool.errors import BusyError, ConnectionFailedError, DbtoolError, RefusedError, SqlError

if TYPE_CHECKING:
    from psycopg.errors import Diagnostic


_LOST_HINT = "the server's log says why; run it again when the server is up"
_DAMAGED_HINT = "the server's own files are damaged; its log says more"

# What mends it, and how it counts, by SQLSTATE or by the first letters of several.
_KNOWN: dict[str, tuple[type[DbtoolError], str]] = {
    "08": (ConnectionFailedError, _LOST_HINT),
    "57P": (ConnectionFailedError, _LOST_HINT),  # somebody's command, a crash, a shutdown
    "25P": (ConnectionFailedError, "a time limit of the server ended the session; see dbtool doctor"),
    "40001": (
        DbtoolError,
        "on a standby, replay ends what holds it up: set hot_standby_feedback = on there, or raise "
        "max_standby_streaming_delay (max_standby_archive_delay); or use the primary",
    ),
    "42501": (RefusedError, "dbtool doctor shows what the account lacks, and the GRANT that mends it"),
    "53100": (DbtoolError, "the server's disk is full: make room there, and run it again"),
    "53200": (
        DbtoolError,
        "if it is shared memory: raise max_locks_per_transaction and restart the server; else it has "
        "too little memory",
    ),
    "53400": (DbtoolError, "a limit in the server's configuration, such as temp_file_limit, is too low"),
    "55006": (BusyError, "wait until the others are done, or end their sessions"),
    "55P03": (BusyError, "wait until the others are done"),
    "57014": (DbtoolError, "somebody cancelled it at the server, or a time limit did; run it again"),
    "58030": (DbtoolError, "check the disk of the server, and the server's log"),
    "72000": (DbtoolError, "set old_snapshot_threshold = -1, and restart the server"),
    "XX001": (DbtoolError, _DAMAGED_HINT),
    "XX002": (DbtoolError, _DAMAGED_HINT),
}


@contextmanager
def readable_errors(doing: str) -> Iterator[None]:
    """Turns the driver's errors of what is done inside into ours, which say what was being done."""
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        state = error.diag.sqlstate
        if state is None and not isinstance(error, psycopg.OperationalError):
            raise DbtoolError(f"{doing} failed: {_first_line(error)}") from error
        said = error.diag.message_primary or _first_line(error)
        raise server_error(state, said, error.diag.message_hint, doing) from error


def server_error(sqlstate: str | None, said: str, hint: str | None, doing: str) -> DbtoolError:
    """What to raise where the server ended something with an error: what was being done, what the
    server said, what helps. No SQLSTATE means that the connection was lost without one."""
    state = sqlstate or "08"
    found = next((_KNOWN[key] for key in (state, state[:3], state[:2]) if key in _KNOWN), None)
    kind, advice = found or (SqlError, hint)
    said = " ".join(said.split())
    if kind is ConnectionFailedError:
        return kind(f"connection to the server lost while {doing}: {said}", advice)
    return kind(f"{doing} failed: {said}", advice)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


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
