"""Reaching a PostgreSQL server: one resolver that feeds the driver and the client programs alike.

What a `Connection` leaves open is libpq's to decide (service file, `~/.pgpass`, PG* variables).
A service is taken apart here, so that psycopg and every client program go to the same server.
What went wrong is put into words in `connect_errors.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dbtool import redaction
from dbtool.config.sources import home_folder
from dbtool.engines.network import is_local, machine_root_certificates
from dbtool.engines.postgres import connect_errors
from dbtool.errors import UsageError
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    import psycopg

# Keywords of libpq, and the variables by which its programs take the same.
_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "passfile": "PGPASSFILE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "require_auth": "PGREQUIREAUTH",
    "requirepeer": "PGREQUIREPEER",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
}

# Variables that would make a client program behave otherwise than the connection says.
_CLEARED = (
    "PGPASSWORD",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGDATABASE",
    "PGOPTIONS",
    "PGAPPNAME",
    "PGCLIENTENCODING",
    "PGDATESTYLE",
    "PGTZ",
    "PGGEQO",
    "PSQLRC",
    "PSQL_HISTORY",
    "PSQL_PAGER",
    "PG_COLOR",
)

# Settings that a restored value, or a digest, would otherwise depend on; and limits that an
# administrator sets for applications, which would end a backup half-way. Those that the server
# is too old to know are left out by the join. `lc_monetary` is what MONEY is written with.
_SESSION_VALUES = """
    ('client_encoding', pg_catalog.getdatabaseencoding()::text),
    ('DateStyle', 'ISO, YMD'), ('IntervalStyle', 'postgres'), ('TimeZone', 'UTC'),
    ('extra_float_digits', '3'), ('bytea_output', 'hex'), ('xmloption', 'content'),
    ('lc_monetary', 'C'), ('array_nulls', 'on'), ('standard_conforming_strings', 'on'),
    ('quote_all_identifiers', 'off'), ('check_function_bodies', 'off'), ('row_security', 'off'),
    ('transform_null_equals', 'off'),
    ('statement_timeout', '0'), ('lock_timeout', '0'), ('transaction_timeout', '0'),
    ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0'),
    ('default_transaction_read_only', 'off'), ('default_transaction_deferrable', 'off'),
    ('default_transaction_isolation', 'read committed'), ('synchronize_seqscans', 'off'),
    ('jit', 'off'), ('client_min_messages', 'warning')"""

_SESSION_SQL = """
SELECT pg_catalog.set_config('search_path', '', false);
SELECT pg_catalog.set_config(s.name, v.value, false)
FROM (VALUES {values}) AS v (name, value)
JOIN pg_catalog.pg_settings AS s ON pg_catalog.lower(s.name) = pg_catalog.lower(v.name)
WHERE s.setting IS DISTINCT FROM v.value"""

LOAD_SESSION_SQL = _SESSION_SQL.format(values=_SESSION_VALUES)

# While dumping, a table that somebody swaps for a view must be an error and not run its code; and
# rows come in the table's order, from one process.
DUMP_SESSION_SQL = _SESSION_SQL.format(
    values=_SESSION_VALUES
    + ", ('restrict_nonsystem_relation_kind', 'view, foreign-table'), ('max_parallel_workers_per_gather', '0')"
)


def connect(
    connection: Connection,
    *,
    application_name: str = "dbtool",
    autocommit: bool = True,
    replication: bool = False,
) -> psycopg.Connection[tuple[Any, ...]]:
    """Open a connection; with `replication` one that speaks the physical replication protocol.

    Raises ConnectionFailedError: one clear line, and what mends it.
    """
    import psycopg
    from psycopg.conninfo import make_conninfo

    parameters = libpq_parameters(connection)
    ours = {
        "dbname": connection.database,
        "application_name": application_name,
        "options": "",  # not PGOPTIONS: a backup must not depend on somebody's shell
        "client_encoding": "UTF8",
        "keepalives_idle": "60",  # a control connection is idle for as long as the data flows
        "keepalives_interval": "10",
        "keepalives_count": "6",
    }
    if replication:
        ours["replication"] = "true"
    try:
        # Statements run once, and poolers trip over prepared ones.
        return psycopg.connect(
            make_conninfo("", **{**parameters, **ours}), autocommit=autocommit, prepare_threshold=None
        )
    except (psycopg.Error, UnicodeError) as error:
        raise connect_errors.explain(error, connection, parameters) from error


def backup_session_settings(connection: psycopg.Connection[Any], *, loading: bool = False) -> None:
    """Make the session's values exact and its bytes unconverted, and lift its time limits.

    Call it outside a transaction: what it sets would be undone by a rollback. Afterwards
    `search_path` is empty and the client encoding is the database's own.
    """
    connection.execute(LOAD_SESSION_SQL if loading else DUMP_SESSION_SQL)
    if _takes_any_bytes(connection):
        _read_any_bytes_as_text(connection)


def set_client_encoding(connection: psycopg.Connection[Any], encoding: str) -> None:
    """Have text come and go in an encoding of the server's naming."""
    connection.execute("SELECT pg_catalog.set_config('client_encoding', %s, false)", (encoding,))
    if _takes_any_bytes(connection):
        _read_any_bytes_as_text(connection)


def codec_of(connection: psycopg.Connection[Any]) -> str:
    """Python's name of the client encoding. Use it with `surrogateescape`: in a SQL_ASCII database
    text is bytes of any kind, which pass through unchanged."""
    return "utf-8" if _takes_any_bytes(connection) else connection.info.encoding


def _takes_any_bytes(connection: psycopg.Connection[Any]) -> bool:
    return connection.info.parameter_status("client_encoding") == "SQL_ASCII"


def _read_any_bytes_as_text(connection: psycopg.Connection[Any]) -> None:
    from psycopg.adapt import Buffer, Loader

    class BytesAsText(Loader):
        def load(self, data: Buffer) -> str:
            return bytes(data).decode("utf-8", "surrogateescape")

    for type_name in ("text", "name", "varchar", "bpchar", '"char"'):
        connection.adapters.register_loader(type_name, BytesAsText)


def libpq_parameters(connection: Connection) -> dict[str, str]:
    """libpq's keywords for a connection, without the database; the password is among them.

    Only what the connection (or its service) says, and the TLS mode; the rest is libpq's.
    """
    service = connection.service or os.environ.get("PGSERVICE")
    parameters = service_parameters(service) if service else {}
    parameters.pop("dbname", None)
    parameters.pop("options", None)
    given = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.user,
        "password": connection.password,
        "passfile": connection.passfile,
        "sslmode": connection.tls_mode,
        "sslrootcert": connection.tls_root_certificate,
        "sslcert": connection.tls_certificate,
        "sslkey": connection.tls_key,
        "connect_timeout": connection.connect_timeout_seconds,
    }
    parameters.update({name: str(value) for name, value in given.items() if value not in (None, "")})
    if connection.host and "hostaddr" in parameters:
        del parameters["hostaddr"]  # the service's address belongs to the service's host
    if not parameters.get("password"):
        # libpq would take it too; named here so that client programs get it by a file instead
        inherited = os.environ.get("PGPASSWORD")
        if inherited:
            parameters["password"] = inherited
    redaction.register(parameters.get("password", ""))
    return {**parameters, **_tls_defaults(parameters, os.environ)}


def _tls_defaults(parameters: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """Another machine must prove who it is (`verify-full`), unless somebody said otherwise.

    Without a root certificate of one's own, the machine's certificate authorities decide. Their
    file is named rather than `system`, which client programs before 16 do not know.
    """
    if "sslmode" in parameters or environment.get("PGSSLMODE"):
        return {}
    hosts = parameters.get("host") or environment.get("PGHOST") or ""
    if all(is_local(host) for host in hosts.split(",")):
        return {}
    own = (
        parameters.get("sslrootcert")
        or environment.get("PGSSLROOTCERT")
        or (home_folder() / ".postgresql" / "root.crt").exists()
    )
    defaults = {"sslmode": "verify-full"}
    system = machine_root_certificates()
    if not own and system:
        defaults["sslrootcert"] = system
    return defaults


def service_parameters(service: str) -> dict[str, str]:
    """What libpq's connection service file says of a service. Raises UsageError.

    Read here because the driver's own libpq and the machine's may look in different folders.
    """
    own = os.environ.get("PGSERVICEFILE") or str(home_folder() / ".pg_service.conf")
    folders = (os.environ.get("PGSYSCONFDIR"), "/etc/postgresql-common", "/etc", "/etc/sysconfig/pgsql")
    files = [Path(own), *(Path(folder) / "pg_service.conf" for folder in folders if folder)]
    for file in files:
        if file.is_file():
            found = _service_section(file, service)
            if found is not None:
                return found
    raise UsageError(
        f"connection service {service!r} is not defined",
        "Looked in: " + ", ".join(str(file) for file in files),
    )


def _service_section(file: Path, service: str) -> dict[str, str] | None:
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    found: dict[str, str] | None = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("[") and line.endswith("]"):
            if found is not None:
                break
            if line[1:-1] == service:
                found = {}
        elif found is not None and line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            if not equals or line.startswith("ldap"):
                raise UsageError(
                    f"cannot use service {service!r} in {file}: {name.strip()!r} is not KEY=VALUE"
                )
            found.setdefault(name.strip(), value.strip())
    return found


def passfile_line(password: str) -> str:
    """One line of a passfile that gives the password to any server. Raises UsageError.

    The format of libpq: five fields, `\\` and `:` escaped, one line.
    """
    if any(character in password for character in "\n\r\0"):
        raise UsageError("a password with a line break or a NUL in it cannot be given to client programs")
    return "*:*:*:*:" + password.replace("\\", "\\\\").replace(":", "\\:") + "\n"


@contextmanager
def client_environment(connection: Connection) -> Iterator[dict[str, str]]:
    """The environment in which pg_dump, psql and the like reach what `connect` reaches.

    The database is not in it: the caller names it in the arguments. No secret is in it either:
    a password stands in a file that nobody else can read and that is gone at the end.
    """
    parameters = libpq_parameters(connection)
    environment = {name: value for name, value in os.environ.items() if name not in _CLEARED}
    for keyword, variable in _VARIABLES.items():
        if keyword in parameters:
            environment[variable] = parameters[keyword]
    environment["PSQLRC"] = os.devnull
    environment["PGAPPNAME"] = "dbtool"
    password = parameters.get("password")
    from dbtool import process

    with process.private_directory() as directory:
        if password:
            line = passfile_line(password).encode("utf-8", "surrogateescape")
            passfile = directory / "passfile"
            process.write_private_file(passfile, line)
            environment["PGPASSFILE"] = str(passfile)
        yield environment
