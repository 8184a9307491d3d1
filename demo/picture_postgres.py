"""A picture of a PostgreSQL database: its schema by pg_dump, and a digest of every table by SQL."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

from dbtool.model.connection import Connection
from demo.picture import Picture

if TYPE_CHECKING:
    import psycopg

    from dbtool.servers.postgres import PostgresServer

TABLES = """
    SELECT n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    ORDER BY 1, 2"""
SEQUENCES = """
    SELECT n.nspname, c.relname
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'S' ORDER BY 1, 2"""
LARGE_OBJECTS = "SELECT oid::bigint, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1"
PROPERTIES = """
    SELECT pg_encoding_to_char(encoding), datcollate, datctype, pg_get_userbyid(datdba),
           (SELECT array_agg(acl::text ORDER BY acl::text)
            FROM unnest(coalesce(datacl, acldefault('d', datdba))) AS acl),
           shobj_description(oid, 'pg_database'),
           (SELECT setconfig FROM pg_db_role_setting WHERE setdatabase = d.oid AND setrole = 0)
    FROM pg_database d WHERE datname = current_database()"""


def take_picture(server: PostgresServer, database: str) -> Picture:
    """Read all of a database of the server."""
    import psycopg

    connection = server.connection(database)
    with psycopg.connect(
        host=connection.host,
        port=connection.port,
        user=connection.user,
        password=connection.password,
        dbname=database,
    ) as session:
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        for setting in ("SET search_path = ''", "SET extra_float_digits = 3", "SET timezone = 'UTC'"):
            session.execute(setting)
        return Picture(
            schema=_schema(server, connection),
            tables={
                f"{schema}.{name}": _digest(session, schema, name) for schema, name in _all(session, TABLES)
            },
            sequences={
                f"{schema}.{name}": _state(session, schema, name) for schema, name in _all(session, SEQUENCES)
            },
            large_objects=tuple(_all(session, LARGE_OBJECTS)),
            properties=_all(session, PROPERTIES)[0],
        )


def _all(session: psycopg.Connection[tuple[Any, ...]], query: Any) -> list[tuple[Any, ...]]:
    return session.execute(query).fetchall()


def _digest(session: psycopg.Connection[tuple[Any, ...]], schema: str, name: str) -> tuple[int, str]:
    """The rows as a multiset: their number, and the sum of their hashes."""
    from psycopg import sql

    query = sql.SQL(
        "SELECT count(*), coalesce(sum(('x' || left(md5(t::text), 16))::bit(64)::bigint::numeric), 0)::text"
        " FROM ONLY {} t"
    )
    rows, digest = _all(session, query.format(sql.Identifier(schema, name)))[0]
    return rows, digest


def _state(session: psycopg.Connection[tuple[Any, ...]], schema: str, name: str) -> tuple[Any, ...]:
    from psycopg import sql

    return _all(
        session, sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
    )[0]


def _schema(server: PostgresServer, connection: Connection) -> str:
    """What pg_dump says of the schema, without its own name for the moment and the random key."""
    folder = server.socket_directory
    script = subprocess.run(
        [server.bin_directory / "pg_dump", "--schema-only", "--dbname", connection.database],
        env={
            "PGHOST": str(folder),
            "PGPORT": str(server.port),
            "PGUSER": "postgres",
            "PGPASSWORD": connection.password or "",
            "LC_ALL": "C",
        },
        capture_output=True,
        check=True,
        text=True,
        encoding="utf-8",
    ).stdout
    return re.sub(r"(?m)^(--.*|\\(un)?restrict .*)?\n", "", script)
