"""MySQL or MariaDB, and which version: asked once a connection, and everything that differs hangs on it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.errors import ConnectionFailedError

if TYPE_CHECKING:
    import pymysql

MYSQL = "mysql"
MARIADB = "mariadb"


@dataclass(frozen=True)
class Flavour:
    """What kind of server it is. `version_number` is 101119 for 10.11.19 and 90704 for 9.7.4."""

    name: str  # "mysql" or "mariadb"
    version: str  # "10.11.19"
    version_number: int

    @property
    def is_mariadb(self) -> bool:
        """Whether it is MariaDB, and no MySQL."""
        return self.name == MARIADB

    @property
    def label(self) -> str:
        """What a person calls the server: "MariaDB 10.11.19"."""
        return f"{'MariaDB' if self.is_mariadb else 'MySQL'} {self.version}"


def flavour_from(version: str, comment: str) -> Flavour:
    """The flavour that `VERSION()` and `@@version_comment` tell. Raises ConnectionFailedError."""
    # A proxy may put "5.5.5-" before MariaDB's own number, for clients that know no two digits.
    match = re.match(r"(?:5\.5\.5-(?=\d+\.))?(\d+)\.(\d+)(?:\.(\d+))?", version)
    if match is None:
        raise ConnectionFailedError(
            f"the server calls itself {version!r}, which is no version of MySQL or MariaDB"
        )
    major, minor, patch = (int(number or 0) for number in match.groups())
    name = MARIADB if "mariadb" in f"{version} {comment}".lower() else MYSQL
    return Flavour(name, f"{major}.{minor}.{patch}", major * 10000 + minor * 100 + patch)


def flavour_of(session: pymysql.connections.Connection[Any]) -> Flavour:
    """Ask the server. Raises what the driver raises."""
    with session.cursor() as cursor:
        cursor.execute("SELECT VERSION(), @@version_comment")
        row = cursor.fetchone()
    version, comment = (_text(value) for value in row or ("", ""))
    return flavour_from(version, comment)


def _text(value: object) -> str:
    # Bytes come where the session has `character_set_results = binary`.
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
