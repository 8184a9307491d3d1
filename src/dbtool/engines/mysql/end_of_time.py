"""Where the time of system-versioned tables ends: a row that is current has this end, and no other has.

MariaDB moved it from 2038 to 2106 with 11.5. A row that comes from the other side of that version, with its history,
would be one of the past: all rows would be in the table, and a plain SELECT would find none.
"""

from __future__ import annotations

from collections.abc import Sequence

from dbtool.engines.mysql.flavour import MARIADB, Flavour
from dbtool.errors import RefusedError
from dbtool.text import printable, some

MOVED_VERSION = 110500
# The first MariaDB that lets a session insert the rows of history.
HISTORY_VERSION = 101100
_HINT = "restore the other tables with --tables, or all into another MariaDB"

# MariaDB from 11.5 on runs this, and a script that is restored by hand ends there.
GUARD = (
    f"/*M!{MOVED_VERSION} SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT ="
    " 'restore this on MariaDB 10.11 to 11.4: system-versioned rows would be of the past here' */;\n"
)


def needs_guard(source: Flavour) -> bool:
    """Whether a script with history must not be run by later servers."""
    return source.is_mariadb and source.version_number < MOVED_VERSION


def refuse_other_end(names: Sequence[str], flavour: str, source_version: int, target: Flavour) -> None:
    """Raise RefusedError if tables that come with their history would not have the same current rows.

    `source_version` is a number such as 101118.
    """
    if not names or flavour != MARIADB or not target.is_mariadb:
        return
    shown = printable(some(names))
    if target.version_number < HISTORY_VERSION:
        raise RefusedError(f"{shown}: MariaDB before 10.11 cannot restore the history of a table", _HINT)
    if (source_version >= MOVED_VERSION) != (target.version_number >= MOVED_VERSION):
        raise RefusedError(
            f"{shown}: the history of a table cannot be restored across MariaDB 11.5, which moved the end of time",
            _HINT,
        )
