"""Why a MySQL or MariaDB server was not reached, in one clear line, and what mends it."""

from __future__ import annotations

import difflib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dbtool.engines.mysql.messages import number_of, text_of
from dbtool.engines.mysql.quoting import quote_identifier, quote_literal
from dbtool.errors import ConnectionFailedError, DbtoolError
from dbtool.model.connection import Connection
from dbtool.text import printable

if TYPE_CHECKING:
    from dbtool.engines.mysql.connect import Address

_NEAREST = 3
_TLS_NOT_OFFERED = 2026
_LOST = 2013


class UnsafeError(Exception):
    """The server wants something of us that would give the password away."""


def expected() -> tuple[type[Exception], ...]:
    """What may be raised while connecting, also by a driver that hears something else than a server."""
    import pymysql

    driver = (pymysql.MySQLError, UnsafeError, OSError, RuntimeError)
    return (*driver, ValueError, TypeError, IndexError, AssertionError, struct.error)


def is_tls_trouble(error: Exception) -> bool:
    """Whether the handshake of TLS failed, or the server does not offer it."""
    import ssl

    return number_of(error) == _TLS_NOT_OFFERED or isinstance(_cause(error), ssl.SSLError)


def _cause(error: Exception) -> BaseException:
    """What happened to the socket, where the driver hides that."""
    cause = getattr(error, "original_exception", error)
    return cause if isinstance(cause, BaseException) else error


@dataclass(frozen=True)
class _Attempt:
    """What was tried, for the words about it."""

    connection: Connection
    address: Address
    error: Exception

    @property
    def place(self) -> str:
        """Where the server was looked for."""
        return self.address.place

    @property
    def user(self) -> str:
        """The account's name."""
        return self.address.user or "(the system's user)"

    @property
    def reason(self) -> str:
        """What the server or the system said."""
        cause = _cause(self.error)
        if isinstance(cause, OSError) and number_of(self.error) != _LOST:
            return printable(cause.strerror or str(cause))
        return text_of(self.error)


_Words = tuple[str, str | None]
_Explain = Callable[[_Attempt], _Words]


def _tls_not_offered(attempt: _Attempt) -> _Words:
    return (
        f"the server at {attempt.place} does not offer TLS",
        "Switch TLS on at the server; or say that an unencrypted connection is meant: "
        "--tls-mode disable, or DB_SSLMODE=disable.",
    )


def _certificate(attempt: _Attempt) -> _Words:
    return (
        f"the server at {attempt.place} did not prove who it is: {attempt.reason}",
        "Name the certificate authority that signed its certificate (--tls-root-certificate FILE, "
        "DB_SSLROOTCERT), with --tls-mode verify-ca where its name is not in it, as in those that the server "
        "makes for itself; or take encryption without proof: --tls-mode require, DB_SSLMODE=require.",
    )


def _tls(attempt: _Attempt) -> _Words:
    return f"TLS with {attempt.place} failed: {attempt.reason}", "See --tls-mode and DB_SSLMODE."


def _tls_wanted(attempt: _Attempt) -> _Words:
    return (
        f"the server at {attempt.place} takes encrypted connections only",
        "--tls-mode require or, with proof, verify-full. (DB_SSLMODE)",
    )


def _refused(attempt: _Attempt) -> _Words:
    return (
        f"nothing listens at {attempt.place}",
        "Is the server running, and are host and port right? (--host, --port, DB_HOST, DB_PORT)",
    )


def _not_allowed(attempt: _Attempt) -> _Words:
    return f"the system does not let us reach {attempt.place}: {attempt.reason}", None


def _unreachable(attempt: _Attempt) -> _Words:
    return f"cannot reach {attempt.place}: {attempt.reason}", "Check host, port and network."


def _closed(attempt: _Attempt) -> _Words:
    return (
        f"{attempt.place} closed the connection without a word",
        "Is that a MySQL or MariaDB server, and no other service or proxy? The server's log may say more.",
    )


def _no_server(attempt: _Attempt) -> _Words:
    return (
        f"what answers at {attempt.place} does not speak MySQL's protocol",
        "Check host and port; 3306 is the usual one, 33060 speaks another protocol.",
    )


def _unknown_host(attempt: _Attempt) -> _Words:
    return f"the host of {attempt.place} is not known", "Check the name. (--host, DB_HOST)"


def _timeout(attempt: _Attempt) -> _Words:
    seconds = attempt.connection.connect_timeout_seconds
    return (
        f"{attempt.place} did not answer within {seconds} seconds",
        "Check host, port and firewall; a longer wait is set by DB_CONNECT_TIMEOUT (seconds).",
    )


def _password(attempt: _Attempt) -> _Words:
    if not attempt.address.password:
        return (
            f'the server at {attempt.place} does not let "{attempt.user}" in without a password',
            "Give it by DB_PASSWORD, password_file, password_command or ~/.my.cnf; or is the account another "
            "one? (--user, DB_USER)",
        )
    return (
        f'the server at {attempt.place} refuses user "{attempt.user}": wrong password, or no such account for '
        "connections from here",
        "Check DB_USER and DB_PASSWORD (or --user and --password, password_file, ~/.my.cnf). An account is a "
        "user and a host: SELECT user, host FROM mysql.user;",
    )


def _socket_only(attempt: _Attempt) -> _Words:
    hint = "Run dbtool as that system user, or use an account that has a password."
    if not attempt.address.socket:
        hint = f"It may be one that is let in over the server's socket only: --host /run/mysqld. {hint}"
    return f'the server at {attempt.place} does not take us for "{attempt.user}": {attempt.reason}', hint


def _no_entry(attempt: _Attempt) -> _Words:
    return (
        f"the server at {attempt.place} lets nobody in from this machine: {attempt.reason}",
        "Its accounts name the hosts that they come from: CREATE USER 'name'@'this host' …",
    )


def _blocked(attempt: _Attempt) -> _Words:
    return (
        f"the server at {attempt.place} has blocked this machine, after too many failed connections",
        "At the server: mysqladmin flush-hosts, or TRUNCATE TABLE performance_schema.host_cache;",
    )


def _unknown_database(attempt: _Attempt) -> _Words:
    wanted = attempt.connection.database
    near = difflib.get_close_matches(wanted, _databases(attempt.connection), n=_NEAREST, cutoff=0.5)
    hint = "Check --database or DB_NAME."
    if near:
        hint = "Did you mean " + " or ".join(f'"{name}"' for name in near) + "?"
    return f'there is no database "{wanted}" at {attempt.place}', hint


def _no_database_right(attempt: _Attempt) -> _Words:
    database = attempt.connection.database
    return (
        f'user "{attempt.user}" may not use database "{database}", if there is one of that name',
        f"GRANT SELECT ON {quote_identifier(database)}.* TO {quote_literal(attempt.user)}@…;",
    )


def _too_many(attempt: _Attempt) -> _Words:
    return (
        f"the server at {attempt.place} has no free connection: {attempt.reason}",
        "Wait, use fewer jobs (-jobs), or raise max_connections or the limit of the user.",
    )


def _starting(attempt: _Attempt) -> _Words:
    return f"the server at {attempt.place} is not ready: {attempt.reason}", "Try again in a moment."


def _expired(attempt: _Attempt) -> _Words:
    return (
        f'the password of user "{attempt.user}" has expired at {attempt.place}',
        "Set a new one, with the server's own client: ALTER USER CURRENT_USER() IDENTIFIED BY '…';",
    )


def _locked(attempt: _Attempt) -> _Words:
    return (
        f'the account of user "{attempt.user}" is locked at {attempt.place}',
        f"ALTER USER {quote_literal(attempt.user)}@… ACCOUNT UNLOCK;",
    )


def _method(attempt: _Attempt) -> _Words:
    return (
        f'user "{attempt.user}" logs in by a method that dbtool does not know: {attempt.reason}',
        "It knows: caching_sha2_password, sha256_password, mysql_native_password, ed25519, parsec, "
        "unix_socket, PAM and LDAP over TLS.",
    )


def _unsafe(attempt: _Attempt) -> _Words:
    return (
        f"refused to log in at {attempt.place}: {attempt.reason}, and others could read it on the way",
        "Use TLS (--tls-mode verify-full, or require), or the server's socket.",
    )


def _untrusted(attempt: _Attempt) -> _Words:
    return (
        f"what answers at {attempt.place} is not to be trusted: {attempt.reason}",
        "Is it the server that is meant? Check host and port; --tls-mode verify-full lets it prove who it is.",
    )


_NUMBERS: dict[int, _Explain] = {
    **dict.fromkeys((1040, 1203, 1226), _too_many),
    1044: _no_database_right,
    1045: _password,
    1049: _unknown_database,
    **dict.fromkeys((1053, 1077, 1079), _starting),
    1129: _blocked,
    1130: _no_entry,
    1698: _socket_only,
    **dict.fromkeys((1820, 1862), _expired),
    **dict.fromkeys((1251, 2059, 2061), _method),
    2026: _tls_not_offered,
    2027: _untrusted,
    3118: _locked,
    4151: _locked,
    3159: _tls_wanted,
}


def explain(error: Exception, connection: Connection, address: Address) -> ConnectionFailedError:
    """The error that a person sees. May ask the server for its databases' names."""
    attempt = _Attempt(connection, address, error)
    words = _NUMBERS.get(number_of(error)) or _by_kind(error)
    if words is None:
        return ConnectionFailedError(f"cannot connect to {printable(attempt.place)}: {attempt.reason}")
    message, hint = words(attempt)
    return ConnectionFailedError(printable(message), hint and printable(hint))


def _by_kind(error: Exception) -> _Explain | None:
    import ssl

    import pymysql

    cause = _cause(error)
    kinds: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], _Explain], ...] = (
        (UnsafeError, _unsafe),
        (ssl.SSLCertVerificationError, _certificate),
        (ssl.SSLError, _tls),
        (socket.gaierror, _unknown_host),
        (TimeoutError, _timeout),
        ((ConnectionRefusedError, FileNotFoundError), _refused),
        ((ConnectionResetError, ConnectionAbortedError, BrokenPipeError), _closed),
        (PermissionError, _not_allowed),
        (OSError, _unreachable),
    )
    for kind, words in kinds:
        if isinstance(cause, kind):
            return words
    if isinstance(error, pymysql.InternalError) and not number_of(error):
        return _no_server  # it speaks, but no packets
    if number_of(error) == _LOST:
        return _timeout if "timed out" in str(error) else _closed
    if isinstance(error, pymysql.OperationalError):
        return _method if "auth" in str(error) else None
    return None if isinstance(error, (pymysql.DatabaseError, RuntimeError)) else _no_server


def _databases(connection: Connection) -> list[str]:
    import pymysql

    from dbtool.engines.mysql.connect import connect

    try:
        session = connect(connection, database=False)
    except DbtoolError:
        return []
    try:
        with session, session.cursor() as cursor:
            cursor.execute("SHOW DATABASES")
            return [str(name) for (name,) in cursor.fetchall()]
    except pymysql.MySQLError:
        return []
