"""Reaching a MySQL or MariaDB server: one resolver that feeds the driver and the client programs alike.

What a `Connection` leaves open is taken from the user's option file, `~/.my.cnf`, as their clients do.
What went wrong is put into words in `connect_errors.py`; what a session is set to, in `settings.py`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtool import redaction
from dbtool.engines.mysql import connect_errors, option_files
from dbtool.engines.mysql.array_binding import offered
from dbtool.engines.mysql.messages import explain
from dbtool.engines.mysql.settings import dump_session_settings, load_session_settings
from dbtool.engines.network import is_local, machine_root_certificates
from dbtool.errors import UsageError
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    import ssl

    import pymysql

__all__ = (
    "Address",
    "client_option_file",
    "connect",
    "dump_session_settings",
    "explain",
    "load_session_settings",
    "resolve",
)

DEFAULT_PORT = 3306
_LOCAL_FILES = 128  # the protocol's CLIENT_LOCAL_FILES
_SOCKET_NAMES = ("mysqld.sock", "mysql.sock", "mariadb.sock", "mariadbd.sock")
_SOCKET_FOLDERS = ("/run/mysqld", "/var/run/mysqld", "/var/lib/mysql", "/tmp")  # noqa: S108 - the servers' own

# The client programs' words for libpq's, which are ours.
_SSL_MODES = {
    "disabled": "disable",
    "preferred": "prefer",
    "required": "require",
    "verify_ca": "verify-ca",
    "verify_identity": "verify-full",
}
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}


@dataclass(frozen=True)
class Address:
    """Where a server is found, and who we are there: all that was left open is decided."""

    host: str  # for TLS and for words; "localhost" where a socket is used
    port: int
    socket: str | None  # a Unix socket's path
    user: str | None  # None: whoever the operating system says we are
    password: str | None = field(repr=False)
    tls_mode: str
    tls_root_certificate: str | None
    tls_certificate: str | None
    tls_key: str | None

    @property
    def place(self) -> str:
        """The server, in words."""
        return self.socket or f"{self.host}:{self.port}"


def resolve(connection: Connection) -> Address:
    """Decide what the connection leaves open. Raises UsageError.

    In this order: what is configured, the user's option file (or the one that `passfile` names), what
    the clients of these servers do. `localhost` without a port means the server's socket, where
    there is one.
    """
    options = option_files.read(
        Path(connection.passfile) if connection.passfile else option_files.users_file()
    )
    host = connection.host or options.get("host")
    port = connection.port or (None if connection.host else _port(options.get("port")))
    path = None
    if host and host.startswith("/"):
        path = socket_in(host)
    elif connection.host is None and options.get("socket") and not options.get("host"):
        path = options["socket"]
    elif port is None and (not host or host.lower() == "localhost"):
        path = default_socket()
    password = connection.password or options.get("password") or os.environ.get("MYSQL_PWD")
    redaction.register(password or "")
    return Address(
        host="localhost" if path else host or "localhost",
        port=port or DEFAULT_PORT,
        socket=path,
        user=connection.user or options.get("user"),
        password=password,
        tls_mode=_tls_mode(connection, options, path, host),
        tls_root_certificate=connection.tls_root_certificate or options.get("ssl-ca"),
        tls_certificate=connection.tls_certificate or options.get("ssl-cert"),
        tls_key=connection.tls_key or options.get("ssl-key"),
    )


def _port(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _tls_mode(connection: Connection, options: dict[str, str], path: str | None, host: str | None) -> str:
    """Another machine must prove who it is, unless somebody said otherwise; a socket needs no TLS."""
    if path:
        return "disable"
    if connection.tls_mode:
        return connection.tls_mode
    said = _SSL_MODES.get(options.get("ssl-mode", "").lower().replace("-", "_"))
    return said or ("prefer" if is_local(host) else "verify-full")


def socket_in(path: str) -> str:
    """The socket that a path means: itself, or the one in that folder."""
    if Path(path).is_dir():
        for name in _SOCKET_NAMES:
            if (found := Path(path) / name).is_socket():
                return str(found)
    return path


def default_socket() -> str | None:
    """The socket of a server of this machine, at the places where packages put it."""
    for folder in _SOCKET_FOLDERS:
        for name in _SOCKET_NAMES[:2]:
            if (found := Path(folder) / name).is_socket():
                return str(found)
    return None


def connect(
    connection: Connection,
    *,
    application_name: str = "dbtool",
    database: bool = True,
    local_infile: bool = False,
    array_binding: bool = False,
) -> pymysql.connections.Connection[Any]:
    """Open a connection: utf8mb4, each statement commits by itself.

    Without `database` none is chosen. With `local_infile` the server may be told to ask for a file's
    content; whoever says so must answer that itself, as `bulk.load_local` does. `array_binding` says to
    a MariaDB that `array_binding.ArrayInsert` may be used. Raises ConnectionFailedError: one clear line,
    and what mends it.
    """
    address = resolve(connection)
    wanted = connection.database if database else None
    modes = [address.tls_mode]
    if address.tls_mode in ("prefer", "allow"):
        modes = ["prefer", "disable"]  # as libpq: where the handshake of TLS fails, go without
    while True:
        mode = modes.pop(0)
        try:
            return _attempt(connection, address, mode, application_name, wanted, local_infile, array_binding)
        except connect_errors.expected() as error:
            if modes and connect_errors.is_tls_trouble(error):
                continue
            raise connect_errors.explain(error, connection, address) from error


def _attempt(
    connection: Connection,
    address: Address,
    tls_mode: str,
    application_name: str,
    database: str | None,
    local_infile: bool,
    array_binding: bool,
) -> pymysql.connections.Connection[Any]:
    from dbtool.engines.mysql.driver import DriverConnection
    from dbtool.engines.mysql.login import METHODS

    context = None if tls_mode == "disable" else tls_context(address, tls_mode)
    timeout = connection.connect_timeout_seconds
    session: Any = DriverConnection(
        host=address.host,
        port=address.port,
        unix_socket=address.socket,
        user=address.user,
        # Bytes, for the driver would take text for Latin-1.
        password=(address.password or "").encode("utf-8", "surrogateescape"),
        database=database,
        charset="utf8mb4",
        autocommit=True,
        # Only said to the server: with the driver's own `local_infile` it would open whatever file a server
        # names, in answer to any statement.
        client_flag=_LOCAL_FILES if local_infile else 0,
        program_name=application_name,
        connect_timeout=timeout,
        read_timeout=timeout,  # else a server that says nothing would be waited for without end
        write_timeout=timeout,
        ssl=context,
        ssl_disabled=context is None,
        auth_plugin_map=dict(METHODS),
        defer_connect=True,
    )
    session._ssl_required = tls_mode != "prefer"
    with offered(session) if array_binding else nullcontext():
        session.connect(None if address.socket else _tcp_socket(address, timeout))
    # Said even where the server greets as if it were so: MariaDB does that before it looks at its own default.
    session._send_autocommit_mode()
    session._read_timeout = session._write_timeout = session._current_timeout = None
    session._sock.settimeout(None)
    connected: pymysql.connections.Connection[Any] = session
    return connected


def _tcp_socket(address: Address, timeout_seconds: float) -> socket.socket:
    """A control connection is idle for as long as the data flows, so it must be kept alive."""
    opened = socket.create_connection((address.host, address.port), timeout_seconds)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return opened


def tls_context(address: Address, mode: str) -> ssl.SSLContext:
    """What TLS is to check in a mode of libpq's words. Raises UsageError for files that are not usable.

    As with libpq, a root certificate that is named is used even where the mode asks for encryption only.
    """
    import ssl

    verifies = mode in ("verify-ca", "verify-full") or (
        mode == "require" and address.tls_root_certificate is not None
    )
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if verifies and address.tls_root_certificate:
            context.load_verify_locations(address.tls_root_certificate)
        elif verifies:
            context.load_default_certs()
        # The certificates that these servers make for themselves do not pass the strict reading of X.509
        # that Python 3.13 begins with.
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        context.check_hostname = mode == "verify-full"
        context.verify_mode = ssl.CERT_REQUIRED if verifies else ssl.CERT_NONE
        if address.tls_certificate:
            context.load_cert_chain(address.tls_certificate, address.tls_key)
    except OSError as error:
        files = (address.tls_root_certificate, address.tls_certificate, address.tls_key)
        names = ", ".join(file for file in files if file)
        raise UsageError(f"cannot use the TLS files {names}: {error.strerror or error}") from error
    return context


@contextmanager
def client_option_file(connection: Connection) -> Iterator[Path]:
    """An option file by which `mysql` and `mysqldump` reach what `connect` reaches.

    Name it first, as `--defaults-file`, so that no other is read. It can be read by us alone, and is
    gone at the end. The database is not in it: the caller names it in the arguments.
    """
    from dbtool import process

    address = resolve(connection)
    options = {"default-character-set": "utf8mb4"}
    if address.user:
        options["user"] = address.user
    if address.password:
        options["password"] = address.password
    if address.socket:
        options |= {"protocol": "socket", "socket": address.socket}
    else:
        options |= {"protocol": "tcp", "host": address.host, "port": str(address.port)}
        options |= _client_tls(address)
    with process.private_directory() as directory:
        file = directory / "client.cnf"
        process.write_private_file(file, option_files.file_text(options).encode("utf-8", "surrogateescape"))
        yield file


def _client_tls(address: Address) -> dict[str, str]:
    """TLS in the words that the client programs of both flavours know: `loose-` passes over the others."""
    if address.tls_mode == "disable":
        return {"loose-ssl-mode": "DISABLED", "loose-ssl": "0"}
    words = {ours: theirs for theirs, ours in _SSL_MODES.items()} | {"allow": "preferred"}
    # MariaDB's clients know no proof without the name in it: there `verify-ca` is as strict.
    verifies = address.tls_mode in ("verify-ca", "verify-full")
    options = {
        "loose-ssl-mode": words[address.tls_mode].upper(),  # MySQL
        "loose-ssl-verify-server-cert": "1" if verifies else "0",  # MariaDB
        "loose-ssl": "1",
    }
    files = {
        "ssl-ca": address.tls_root_certificate,
        "ssl-cert": address.tls_certificate,
        "ssl-key": address.tls_key,
    }
    if verifies and not address.tls_root_certificate:
        files["ssl-ca"] = machine_root_certificates()
    return options | {name: file for name, file in files.items() if file}
