"""What the server says of a statement, in our words' form: one line, and what helps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dbtool.errors import BusyError, ConnectionFailedError, DbtoolError, RefusedError, SqlError
from dbtool.text import printable

_LOST_HINT = "the server's log says why; run it again when the server is up"
_RIGHTS_HINT = "dbtool doctor shows what the account lacks, and the GRANT that mends it"
_WAIT_HINT = "wait until the others are done"
_DAMAGED_HINT = "the server's own files are damaged; its log says more"
_DISK_HINT = "the server's disk is full: make room there, and run it again"
_RETRY_HINT = "others changed the same rows; run it again"

# What mends it, and how it counts, by the server's error number (those below 3000 are the same for both).
_KNOWN: dict[int, tuple[type[DbtoolError], str]] = {
    **dict.fromkeys((1044, 1045, 1142, 1143, 1227, 1370, 1419, 1698), (RefusedError, _RIGHTS_HINT)),
    **dict.fromkeys((1053, 1077, 1079, 1080, 2006, 2013, 2055, 3169), (ConnectionFailedError, _LOST_HINT)),
    2027: (ConnectionFailedError, "is it the server that is meant, and nothing in between?"),
    **dict.fromkeys(
        (1927, 3024, 4031), (ConnectionFailedError, "a time limit, or somebody, ended the session")
    ),
    **dict.fromkeys((1205, 3572, 4109), (BusyError, _WAIT_HINT)),
    1213: (DbtoolError, _RETRY_HINT),
    **dict.fromkeys((1020, 3058), (DbtoolError, _RETRY_HINT)),
    **dict.fromkeys((1021, 1114, 1041), (DbtoolError, _DISK_HINT)),
    **dict.fromkeys((1030, 1033, 1034, 1035, 1194, 1195, 1877), (DbtoolError, _DAMAGED_HINT)),
    **dict.fromkeys((1037, 1038), (DbtoolError, "the server has too little memory for it")),
    1153: (
        DbtoolError,
        "raise max_allowed_packet at the server: SET GLOBAL max_allowed_packet = 1073741824;",
    ),
    1290: (DbtoolError, "an option of the server forbids it, such as read_only"),
    1317: (DbtoolError, "somebody cancelled it at the server; run it again"),
    1412: (DbtoolError, "somebody changed a table's definition meanwhile; run it again"),
    1665: (
        DbtoolError,
        "the server logs statements, and cannot log these: SET GLOBAL binlog_format = ROW;",
    ),
    1836: (DbtoolError, "the server is read-only (a replica, perhaps): use the primary"),
    1969: (DbtoolError, "max_statement_time ended it at the server"),
    3024: (DbtoolError, "max_execution_time ended it at the server"),
}
_CONNECTION_LOST = frozenset(number for number, (kind, _) in _KNOWN.items() if kind is ConnectionFailedError)


def number_of(error: BaseException) -> int:
    """The number of an error of the driver's or the server's; 0 where it has none."""
    number = error.args[0] if error.args else 0
    return number if isinstance(number, int) else 0


def text_of(error: BaseException) -> str:
    """What an error says, in one line."""
    text = str(error.args[1] if len(error.args) > 1 and isinstance(error.args[0], int) else error)
    return printable(" ".join(text.split())) or type(error).__name__


def is_lost(error: BaseException) -> bool:
    """Whether an error means that the connection is no more."""
    import pymysql

    return number_of(error) in _CONNECTION_LOST or isinstance(error, (pymysql.InterfaceError, OSError))


@contextmanager
def readable_errors(doing: str) -> Iterator[None]:
    """Turns the driver's errors of what is done inside into ours, which say what was being done."""
    import pymysql

    try:
        yield
    except InterruptedError:  # somebody has ended it: that is no error of the server's
        raise
    except (pymysql.MySQLError, OSError) as error:
        raise explain(error, doing) from error


def explain(error: BaseException, doing: str = "talking to the server") -> DbtoolError:
    """What to raise for an error of the driver's: what was being done, what the server said, what helps."""
    if isinstance(error, DbtoolError):
        return error
    said = text_of(error)
    if is_lost(error):
        said = said if number_of(error) else "it is closed"
        hint = _KNOWN.get(number_of(error), (None, _LOST_HINT))[1]
        return ConnectionFailedError(f"connection to the server lost while {doing}: {said}", hint)
    kind, hint = _KNOWN.get(number_of(error), (SqlError, None))  # type: ignore[assignment]
    return kind(f"{doing} failed: {said}", hint)


def sql_error(error: BaseException, source: str, offset: int) -> SqlError:
    """The error, with the line in `source`, where the statement begins at `offset`.

    The server counts lines, and of a syntax error it tells what stands there.
    """
    message = text_of(error)
    hint = _KNOWN.get(number_of(error), (None, None))[1]
    if match := re.search(r" near '(.*)' at line (\d+)$", message, re.DOTALL):
        line = int(match.group(2)) + source.count("\n", 0, offset)
        message = f"{message[: match.start()]} near '{match.group(1)}' (line {line})"
        message = re.sub(
            r"check the manual that corresponds to your \S+ server version for the right syntax to use",
            "not understood",
            message,
        )
    return SqlError(message, hint)
