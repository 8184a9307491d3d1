"""Ways to log in that give the password itself away: allowed only where nobody can listen.

Without these, whoever sits between us and the server could just ask for one of them.
"""

from __future__ import annotations

from typing import Any

from dbtool.engines.mysql.connect_errors import UnsafeError


class ClearPassword:
    """Sends the password as it is, as PAM and LDAP need it: over TLS and sockets only."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def authenticate(self, _packet: Any) -> Any:
        """Answer the server; its next packet. Raises UnsafeError."""
        if not self._session._secure:
            raise UnsafeError("the server asks for the password in clear text")
        self._session.write_packet(self._session.password + b"\0")
        answer = self._session._read_packet()
        answer.check_error()
        return answer


class OldPassword(ClearPassword):
    """The way of MySQL 3.23, which is no protection at all."""

    def authenticate(self, _packet: Any) -> Any:
        """Raises UnsafeError."""
        raise UnsafeError("the server asks for the password in the form of MySQL 3.23")


# MariaDB's PAM calls its one question a dialog.
METHODS = {"mysql_clear_password": ClearPassword, "dialog": ClearPassword, "mysql_old_password": OldPassword}
