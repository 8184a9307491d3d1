"""The rows of system-versioned tables as they were, and when those of today end to be: at the end of time.

That is another moment from MariaDB 11.5 on. A present row of an older server would be one of the past there,
that ends in 2038, and nobody would see it any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dbtool.engines.mysql.queries import value_of
from dbtool.errors import RefusedError
from dbtool.model.archive import TableSummary
from dbtool.text import printable, some

if TYPE_CHECKING:
    from dbtool.engines.mysql.flavour import Flavour
    from dbtool.engines.mysql.queries import Session

HISTORY_SUFFIX = " FOR SYSTEM_TIME ALL"

# The first MariaDB that lets a session insert the rows of history.
HISTORY_VERSION = 101100
END_BEFORE_11_5 = "2038-01-19 03:14:07.999999"
_END = "2106-02-07 06:28:15.999999"


def end_of_time(session: Session, flavour: Flavour) -> str:
    """When present rows end, in UTC; "" where there is no history. Raises what the driver raises."""
    if not flavour.is_mariadb:
        return ""
    is_later = value_of(session, "SELECT FROM_UNIXTIME(2147483648) IS NOT NULL")
    return _END if int(is_later) else END_BEFORE_11_5


def guard(end: str) -> str:
    """What stops the script where its present rows would be past ones."""
    if end != END_BEFORE_11_5:
        return ""
    return (
        "/*M!110500 SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = "
        "'Present rows of tables with history would be past ones from MariaDB 11.5 on: restore this with dbtool' */;\n"
    )


def refuse_older(names: Sequence[str], target: Flavour) -> None:
    """Raise RefusedError where tables come with their history, and the server takes none."""
    if names and target.is_mariadb and target.version_number < HISTORY_VERSION:
        raise RefusedError(
            f"{printable(some(names))}: MariaDB before 10.11 cannot restore the history of a table",
            "restore the other tables with --tables, or all into another MariaDB",
        )


def to_target(text: bytes, table: TableSummary, end: str) -> bytes:
    """A table's rows as the server takes them whose time ends at `end`.

    A row's last literal is its end. No other can look like it from the comma on: a quote within a
    literal has a backslash before it.
    """
    own = _end_of(table)
    if not own or own == end:
        return text
    return text.replace(f",'{own}')".encode(), f",'{end}')".encode())


def expressions(table: TableSummary, end: str) -> list[str]:
    """By what the rows are read from such a server, so that they are again as the archive has them."""
    found: list[str] = list(table.details["select"])
    own = _end_of(table)
    if own and own != end:
        found[-1] = f"REPLACE(CAST({found[-1]} AS CHAR), '{end}', '{own}')"
    return found


def _end_of(table: TableSummary) -> str:
    return str(table.details.get("end_of_time", ""))
