"""Why a PostgreSQL server was not reached, in one clear line, and what mends it.

libpq gives no error codes while connecting, only text, and a server may speak another language:
what is not recognised is passed on in the server's own words.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dbtool.engines.postgres.quoting import quote_identifier
from dbtool.errors import ConnectionFailedError
from dbtool.model.connection import Connection
from dbtool.text import printable

_NEAREST = 3


@dataclass(frozen=True)
class _Attempt:
    """What was tried, for the words about it."""

    connection: Connection
    parameters: Mapping[str, str]
    text: str

    @property
    def place(self) -> str:
        """Where the server was looked for."""
        if match := re.search(r"socket \"([^\"]+)\"", self.text):
            return match.group(1)
        host = self.parameters.get("host")
        port = self.parameters.get("port")
        if not host and (match := re.search(r"server at \"([^\"]+)\"", self.text)):
            host = match.group(1)
        if not port and (match := re.search(r"port (\d+)", self.text)):
            port = match.group(1)
        return f"{host or 'the default host'}:{port or '5432'}"

    @property
    def user(self) -> str:
        """The account, as given or as the server named it."""
        if match := re.search(r"(?:user|role) \"(.*?)\"", self.text):
            return match.group(1)
        return self.parameters.get("user") or "the default user"


_Explain = Callable[[_Attempt], tuple[str, str | None]]


def _tls_not_offered(attempt: _Attempt) -> tuple[str, str | None]:
    return (
        f"the server at {attempt.place} does not offer TLS",
        "Switch TLS on at the server; or say that an unencrypted connection is meant: "
        "--tls-mode disable, or DB_SSLMODE=disable.",
    )


def _certificate(attempt: _Attempt) -> tuple[str, str | None]:
    return (
        f"the server at {attempt.place} did not prove who it is: {_reason(attempt.text)}",
        "Name the certificate authority that signed its certificate (--tls-root-certificate FILE, "
        "DB_SSLROOTCERT); or take encryption without proof: --tls-mode require, DB_SSLMODE=require.",
    )


def _tls(attempt: _Attempt) -> tuple[str, str | None]:
    return f"TLS with {attempt.place} failed: {_reason(attempt.text)}", "See --tls-mode and DB_SSLMODE."


def _refused(attempt: _Attempt) -> tuple[str, str | None]:
    return (
        f"nothing listens at {attempt.place}",
        "Is the server running, and are host and port right? (--host, --port, DB_HOST, DB_PORT)",
    )


def _closed(attempt: _Attempt) -> tuple[str, str | None]:
    return (
        f"{attempt.place} closed the connection without a word",
        "Is that a PostgreSQL server, and no other service or proxy? The server's log may say more.",
    )


def _unknown_host(attempt: _Attempt) -> tuple[str, str | None]:
    return f"the host of {attempt.place} is not known", "Check the name. (--host, DB_HOST)"


def _timeout(attempt: _Attempt) -> tuple[str, str | None]:
    seconds = attempt.parameters.get("connect_timeout", "15")
    return (
        f"{attempt.place} did not answer within {seconds} seconds",
        "Check host, port and firewall; a longer wait is set by DB_CONNECT_TIMEOUT (seconds).",
    )


def _password(attempt: _Attempt) -> tuple[str, str | None]:
    return (
        f'the password of user "{attempt.user}" is wrong for {attempt.place}',
        "Check DB_USER and DB_PASSWORD (or --user and --password, ~/.pgpass, password_file).",
    )


def _no_password(attempt: _Attempt) -> tuple[str, str | None]:
    return (
        f"the server at {attempt.place} asks for a password, and none was given",
        "Give it by DB_PASSWORD, password_file, password_command or ~/.pgpass.",
    )


def _no_entry(attempt: _Attempt) -> tuple[str, str | None]:
    encrypted = "no encryption" not in attempt.text and "SSL off" not in attempt.text
    return (
        f"the server at {attempt.place} does not let us in: {_reason(attempt.text)}",
        "Its pg_hba.conf needs a line for this host, user and database"
        + ("." if encrypted else "; or it asks for encryption: --tls-mode require."),
    )


def _peer(attempt: _Attempt) -> tuple[str, str | None]:
    return (
        f'the server at {attempt.place} does not take us for "{attempt.user}": {_reason(attempt.text)}',
        "Run dbtool as that system user, or connect over TCP with a password: --host localhost.",
    )


def _unknown_user(attempt: _Attempt) -> tuple[str, str | None]:
    return f'there is no user "{attempt.user}" at {attempt.place}', "Check --user or DB_USER."


def _unknown_database(attempt: _Attempt) -> tuple[str, str | None]:
    names = _databases(attempt.connection)
    wanted = attempt.connection.database
    near = difflib.get_close_matches(wanted, names, n=_NEAREST, cutoff=0.5)
    hint = "Check --database or DB_NAME."
    if near:
        hint = "Did you mean " + " or ".join(f'"{name}"' for name in near) + "?"
    return f'there is no database "{wanted}" at {attempt.place}', hint


def _no_connect_right(attempt: _Attempt) -> tuple[str, str | None]:
    database = attempt.connection.database
    return (
        f'user "{attempt.user}" may not connect to database "{database}"',
        f"GRANT CONNECT ON DATABASE {quote_identifier(database)} TO {quote_identifier(attempt.user)};",
    )


def _too_many(attempt: _Attempt) -> tuple[str, str | None]:
    return (
        f"the server at {attempt.place} has no free connection: {_reason(attempt.text)}",
        "Wait, use fewer jobs (-jobs), or raise max_connections or the limit of the user or database.",
    )


def _starting(attempt: _Attempt) -> tuple[str, str | None]:
    return f"the server at {attempt.place} is not ready: {_reason(attempt.text)}", "Try again in a moment."


# In this order: what is more particular comes first. A server without TLS that is asked with
# "prefer" gives two failures in one text; the last one is what counts there.
_KNOWN: tuple[tuple[str, _Explain], ...] = (
    (r"server does not support SSL", _tls_not_offered),
    (r"certificate verify failed|does not match host name|root certificate", _certificate),
    (r"no pg_hba\.conf entry|pg_hba\.conf rejects", _no_entry),
    (r"password authentication failed", _password),
    (r"no password supplied", _no_password),
    (r"Peer authentication failed|Ident authentication failed|requirepeer", _peer),
    (r"database \".*\" does not exist", _unknown_database),
    (r"role \".*\" does not exist", _unknown_user),
    (r"permission denied for database", _no_connect_right),
    (r"too many clients|too many connections|remaining connection slots", _too_many),
    (r"starting up|shutting down|recovery mode|not accepting connections", _starting),
    (r"SSL error|SSL SYSCALL|private key|certificate", _tls),
    (r"could not translate host name|Name or service not known|failed to resolve host", _unknown_host),
    (r"timeout expired|timed out|connection timeout", _timeout),
    (r"server closed the connection unexpectedly", _closed),
    (r"Connection refused|No such file or directory|No route to host|unreachable", _refused),
)


def explain(error: Exception, connection: Connection, parameters: Mapping[str, str]) -> ConnectionFailedError:
    """The error that a person sees. May ask the server for its databases' names."""
    text = str(error)
    attempt = _Attempt(connection, parameters, text)
    for pattern, words in _KNOWN:
        if re.search(pattern, text, re.DOTALL):
            message, hint = words(attempt)
            return ConnectionFailedError(printable(message), hint and printable(hint))
    return ConnectionFailedError(printable(f"cannot connect to {attempt.place}: {_reason(text)}"))


def _reason(text: str) -> str:
    """What the server said, else what libpq said, in one line."""
    if match := re.search(r"(?:FATAL|ERROR):\s*(.+)", text):
        return match.group(1).strip()
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("\t")]
    line = lines[0] if lines else "unknown reason"
    return re.sub(r"^(?:connection (?:failed|is bad): )?(?:connection to server .*? failed: )?", "", line)


def _databases(connection: Connection) -> list[str]:
    import psycopg

    from dbtool.engines.postgres import connect

    for database in ("postgres", "template1"):
        if database == connection.database:
            continue
        try:
            with connect.connect(connection.with_database(database)) as asked:
                rows = asked.execute("SELECT datname FROM pg_catalog.pg_database WHERE datallowconn")
                return [str(name) for (name,) in rows]
        except (ConnectionFailedError, psycopg.Error):
            continue
    return []
