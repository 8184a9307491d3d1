"""What all of `doctor`'s looks at a MySQL or MariaDB server begin with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.engines.mysql.flavour import Flavour, flavour_of
from dbtool.engines.mysql.queries import rows_of, value_of
from dbtool.engines.mysql.quoting import quote_identifier, quote_literal
from dbtool.engines.mysql.rights import Rights, rights_of
from dbtool.engines.mysql.settings import control_session_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dbtool.engines.mysql.queries import Session

_SIZE = "SELECT SUM(DATA_LENGTH + INDEX_LENGTH) FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s"


@dataclass(frozen=True)
class Facts:
    """A session, who we are in it and which server it is. `account` is as GRANT takes it."""

    session: Session
    flavour: Flavour
    database: str
    database_bytes: int | None
    account: str
    rights: Rights
    settings: dict[str, str]

    @classmethod
    def read(cls, session: Session, database: str) -> Facts:
        """Ask the server. Raises what the driver raises."""
        control_session_settings(session)
        flavour = flavour_of(session)
        size = value_of(session, _SIZE, (database,))
        name, _, host = str(value_of(session, "SELECT CURRENT_USER()")).rpartition("@")
        settings = {str(key).lower(): str(value) for key, value in rows_of(session, "SHOW GLOBAL VARIABLES")}
        return cls(
            session,
            flavour,
            database,
            None if size is None else int(size),
            f"{quote_literal(name)}@{quote_literal(host)}",
            rights_of(session, flavour),
            settings,
        )

    @property
    def place(self) -> str:
        """Everything in the database, as GRANT takes it."""
        name = self.database
        if self.settings.get("partial_revokes") != "ON":  # else names are no patterns there
            name = name.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
        return f"{quote_identifier(name)}.*"

    def grant(self, privileges: Sequence[str] | str, place: str) -> str:
        """The statement that gives the account what it lacks."""
        text = privileges if isinstance(privileges, str) else ", ".join(privileges)
        return f"GRANT {text} ON {place} TO {self.account};"

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query gives. Raises what the driver raises."""
        return rows_of(self.session, query, parameters or None)

    def is_on(self, name: str) -> bool:
        """Whether a setting is there and on."""
        return self.settings.get(name) in ("ON", "1")

    def integer(self, name: str) -> int:
        """A setting that is a number; 0 where there is none."""
        text = self.settings.get(name, "")
        return int(text) if text.isascii() and text.isdigit() else 0
