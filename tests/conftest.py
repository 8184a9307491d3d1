"""Fixtures that every test may use: real PostgreSQL servers, fresh databases, SQL.

Servers are started when first asked for, one of a kind for each pytest process (so one for each
worker of pytest-xdist), and gone afterwards.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from dbtool.errors import NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer, find_server_bin

if TYPE_CHECKING:
    import psycopg

MATRIX_VERSIONS = (13, 15, 17, 18)
REQUIRE_MATRIX_VARIABLE = "DBTOOL_REQUIRE_MATRIX"
KEPT_VARIABLES = {"DBTOOL_TEST_ENGINES", "DBTOOL_PURE_PYTHON", REQUIRE_MATRIX_VARIABLE}
CARELESS_SETTINGS = {  # fast, for nobody misses the data; and small, for several run at once
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "max_locks_per_transaction": "256",
    "max_prepared_transactions": "4",
    "wal_level": "logical",
    "autovacuum": "on",
}

MakeDatabase = Callable[..., Connection]
Sql = Callable[..., "list[tuple[Any, ...]]"]

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def hermetic_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the settings, passwords or history of who runs it."""
    for name in list(os.environ):
        if name.startswith(("PG", "DB_", "BACKUP_")) or (
            name.startswith("DBTOOL_") and name not in KEPT_VARIABLES
        ):
            monkeypatch.delenv(name)
    home = tmp_path_factory.getbasetemp() / "home"
    home.mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL of this machine's own version."""
    with PostgresServer.start(settings=CARELESS_SETTINGS) as server:
        yield server


@pytest.fixture(
    scope="session",
    params=[pytest.param(major, id=f"pg{major}", marks=pytest.mark.matrix) for major in MATRIX_VERSIONS],
)
def matrix_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Each supported version in turn. One that is not there is reported, and fails where all are required."""
    try:
        bin_directory = find_server_bin(request.param)
    except NotFoundError as error:
        if os.environ.get(REQUIRE_MATRIX_VARIABLE) == "1":
            raise
        pytest.skip(f"{error.message}; {error.hint}")
    with PostgresServer.start(bin_directory, CARELESS_SETTINGS) as server:
        yield server


def connect(connection: Connection, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
    """A psycopg connection in autocommit mode."""
    import psycopg

    return psycopg.connect(
        host=connection.host,
        port=connection.port,
        user=connection.user,
        password=connection.password,
        dbname=connection.database,
        autocommit=True,
        **options,
    )


@pytest.fixture(scope="session")
def sql() -> Sql:
    """`sql(connection, statements, parameters=None)` runs SQL; the rows of the last result, if it has any.

    Several statements at once run as one implicit transaction, as in psql's -c.
    """

    def run(connection: Connection, statements: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        with connect(connection) as session:
            cursor = session.execute(statements, parameters)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture
def make_database() -> Iterator[MakeDatabase]:
    """`make_database(server, name=None, options="")` makes an empty database, dropped after the test.

    `options` is what follows the name in CREATE DATABASE. The name may be any; None makes one up.
    """
    from psycopg import sql as composed

    made: list[Connection] = []

    def make(server: PostgresServer, name: str | None = None, options: str = "") -> Connection:
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        administration = server.connection("postgres")
        with connect(administration) as session:
            session.execute(
                composed.SQL("CREATE DATABASE {} TEMPLATE template0 ").format(composed.Identifier(name))
                + composed.SQL(options)
            )
        made.append(server.connection(name))
        return made[-1]

    yield make
    for connection in made:
        with connect(connection.with_database("postgres")) as session:
            session.execute(
                composed.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                    composed.Identifier(connection.database)
                )
            )


@pytest.fixture
def database(postgres_server: PostgresServer, make_database: MakeDatabase) -> Connection:
    """An empty database of the machine's own version."""
    return make_database(postgres_server)


@pytest.fixture
def matrix_database(matrix_server: PostgresServer, make_database: MakeDatabase) -> Connection:
    """An empty database of each supported version in turn."""
    return make_database(matrix_server)
