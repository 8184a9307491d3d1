"""Making the awkward database, its native copy, and getting rid of both. Not the comparing: see picture.py.

The files of `awkward/` are fed to psql in order: `20_types.sql` first, then `20_types.14.sql` where the
server is of version 14 or newer.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from tests.fidelity.picture import connection_string, program

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

AWKWARD = Path(__file__).parent / "awkward"
BATCH = ("-X", "-q", "-v", "ON_ERROR_STOP=1")


def awkward_files(major: int) -> list[Path]:
    """The files that a server of that version understands, in their order."""

    def key(path: Path) -> tuple[str, int]:
        name, _, version = path.stem.partition(".")
        return name, int(version or 0)

    return sorted((path for path in AWKWARD.glob("*.sql") if key(path)[1] <= major), key=key)


def psql(
    connection: Connection, programs: Path, script: bytes | Path, options: Sequence[str] = BATCH
) -> subprocess.CompletedProcess[bytes]:
    """Feed a script to psql; its outcome, whatever it is."""
    text = script.read_bytes() if isinstance(script, Path) else script
    command = [program(programs, "psql"), *options, "-d", connection_string(connection)]
    environment = {**os.environ, "PGOPTIONS": "-c client_min_messages=error"}
    return subprocess.run(command, input=text, capture_output=True, env=environment, check=False)


def build_awkward(server: PostgresServer, database: str) -> Connection:
    """Make the awkward database under that name. Roles and tablespaces stay on the server."""
    create_database(server.connection(), database)
    connection = server.connection(database)
    for path in awkward_files(server.major):
        done = psql(connection, server.bin_directory, path)
        if done.returncode:
            raise RuntimeError(f"{path.name}: {done.stderr.decode(errors='replace')}")
    return connection


def create_database(connection: Connection, database: str, options: str = "") -> None:
    """An empty database; `options` is what follows its name in CREATE DATABASE."""
    with _administration(connection) as link:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ").format(sql.Identifier(database))
        link.execute(create.as_bytes(link) + options.encode())


def drop_database(connection: Connection) -> None:
    """Drop a database, which its subscriptions would prevent."""
    with _administration(connection) as link:
        if not link.execute("SELECT FROM pg_database WHERE datname = %s", [connection.database]).fetchall():
            return
    with psycopg.connect(connection_string(connection), autocommit=True) as link:
        for name in _own_subscriptions(link):
            link.execute(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
            link.execute(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))
            link.execute(sql.SQL("DROP SUBSCRIPTION {}").format(name))
    with _administration(connection) as link:
        link.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(connection.database)))


def native_copy(
    source: Connection, target: Connection, programs: Path, dump_options: Sequence[str] = ()
) -> None:
    """What `pg_dump | psql -v ON_ERROR_STOP=1` makes of a database, in an empty one."""
    command = [program(programs, "pg_dump"), *dump_options, "-d", connection_string(source)]
    dumped = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if dumped.returncode:
        raise RuntimeError(f"pg_dump: {dumped.stderr.decode(errors='replace')}")
    loaded = psql(target, programs, dumped.stdout)
    if loaded.returncode:
        raise RuntimeError(f"psql: {loaded.stderr.decode(errors='replace')}")


def _administration(connection: Connection) -> psycopg.Connection[Any]:
    return psycopg.connect(connection_string(connection.with_database("postgres")), autocommit=True)


def _own_subscriptions(link: psycopg.Connection[Any]) -> Iterator[sql.Identifier]:
    query = """
        SELECT subname FROM pg_catalog.pg_subscription s
        JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = pg_catalog.current_database()
    """
    return iter([sql.Identifier(name) for (name,) in link.execute(query).fetchall()])
