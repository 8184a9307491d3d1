"""Ways to log in that the driver does not know, or takes too lightly.

Those that give the password itself away are allowed only where nobody can listen. Without these, whoever
sits between us and the server could just ask for one of them.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import pymysql

from dbtool.engines.mysql.connect_errors import UnsafeError

_CHALLENGE_BYTES = 32
_ITERATIONS = 1024
_MOST_DOUBLINGS = 10  # of the iterations: so much work is a server worth
_SHORTEST_SALT = 2 + 8
_HANDSHAKE_FAILED = 2012
_MORE_DATA = b"\1"  # stands before what a server says in the middle of a login


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


class Parsec:
    """MariaDB's PARSEC: a key is derived from the password by the account's salt, and signs what both sides
    made up."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def authenticate(self, packet: Any) -> Any:
        """Answer the server; its next packet. Raises OperationalError for what is no PARSEC."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        challenge = packet.read_all()
        salt = self._exchange(b"").get_all_data().removeprefix(_MORE_DATA)
        if (
            len(challenge) != _CHALLENGE_BYTES
            or len(salt) < _SHORTEST_SALT
            or salt[:1] != b"P"
            or salt[1] > _MOST_DOUBLINGS
        ):
            raise pymysql.OperationalError(_HANDSHAKE_FAILED, "the server speaks another auth method: parsec")
        iterations = _ITERATIONS << salt[1]
        seed = hashlib.pbkdf2_hmac("sha512", self._session.password, salt[2:], iterations, dklen=32)
        own = secrets.token_bytes(_CHALLENGE_BYTES)
        return self._exchange(own + Ed25519PrivateKey.from_private_bytes(seed).sign(challenge + own))

    def _exchange(self, content: bytes) -> Any:
        self._session.write_packet(content)
        answer = self._session._read_packet()
        answer.check_error()
        return answer


# MariaDB's PAM calls its one question a dialog.
METHODS = {
    "mysql_clear_password": ClearPassword,
    "dialog": ClearPassword,
    "mysql_old_password": OldPassword,
    "parsec": Parsec,
}
