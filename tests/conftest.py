"""Fixtures that every test may use: real servers of each kind, fresh databases, SQL.

Servers are started when first asked for, one of a kind for each pytest process (so one for each
worker of pytest-xdist), and gone afterwards.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from dbtool.errors import NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers.mysql import FlavourName, MysqlServer, Settings, find_mysql
from dbtool.servers.postgres import PostgresServer, find_server_bin

if TYPE_CHECKING:
    import psycopg
    import pymysql

MATRIX_VERSIONS = (13, 15, 17, 18)
MYSQL_MATRIX = ("mariadb105", "mariadb1011", "mariadb118", "mysql97")
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
_CARELESS_MYSQL: Settings = {
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_doublewrite": "0",
    "innodb_flush_method": "nosync",
    "sync_binlog": "0",
    "innodb_buffer_pool_size": "64M",
    "max_connections": "60",
    "server_id": "1",
    "log_bin": "binlog",
    "binlog_format": "ROW",
    "event_scheduler": "OFF",  # what a test sees must not depend on the second
    "max_allowed_packet": "128M",
}
CARELESS_MYSQL_SETTINGS: dict[FlavourName, Settings] = {
    "mariadb": {**_CARELESS_MYSQL, "innodb_log_file_size": "16M", "innodb_buffer_pool_dump_at_shutdown": "0"},
    "mysql": {
        **_CARELESS_MYSQL,
        "innodb_redo_log_capacity": "64M",
        "innodb_buffer_pool_dump_at_shutdown": "0",
        "gtid_mode": "ON",
        "enforce_gtid_consistency": "ON",
    },
}

MakeDatabase = Callable[..., Connection]
Sql = Callable[..., "list[tuple[Any, ...]]"]

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def hermetic_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test reads or writes the settings, passwords or history of who runs it."""
    for name in list(os.environ):
        if name.startswith(("PG", "MYSQL_", "MARIADB_", "DB_", "BACKUP_")) or (
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


def start_mysql(name: str, settings: Settings | None = None, **options: Any) -> MysqlServer:
    """A fast server of that name for `find_mysql`; the test is skipped where it is not there.

    It fails where all are required. `options` go to `MysqlServer.start`.
    """
    try:
        prefix = find_mysql(name)
    except NotFoundError as error:
        if os.environ.get(REQUIRE_MATRIX_VARIABLE) == "1":
            raise
        pytest.skip(f"{error.message}; {error.hint}")
    flavour: FlavourName = "mysql" if name.startswith("mysql") else "mariadb"
    return MysqlServer.start(prefix, {**CARELESS_MYSQL_SETTINGS[flavour], **(settings or {})}, **options)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MysqlServer]:
    """A MariaDB of this machine's own version."""
    with start_mysql("mariadb") as server:
        yield server


@pytest.fixture(scope="session", params=[pytest.param("mysql97", marks=pytest.mark.matrix)])
def mysql_server(request: pytest.FixtureRequest) -> Iterator[MysqlServer]:
    """A MySQL, which Debian's stable releases do not have."""
    with start_mysql(request.param) as server:
        yield server


@pytest.fixture(
    scope="session", params=[pytest.param(name, marks=pytest.mark.matrix) for name in MYSQL_MATRIX]
)
def mysql_matrix_server(request: pytest.FixtureRequest) -> Iterator[MysqlServer]:
    """Each supported MariaDB and MySQL in turn."""
    with start_mysql(request.param) as server:
        yield server


def connect_mysql(connection: Connection, **options: Any) -> pymysql.connections.Connection[Any]:
    """A PyMySQL connection in autocommit mode, with utf8mb4; several statements at once are allowed."""
    import pymysql
    from pymysql.constants import CLIENT

    socket = connection.host if (connection.host or "").startswith("/") else None
    given: dict[str, Any] = {
        "host": None if socket else connection.host,
        "unix_socket": socket,
        "port": connection.port or 0,
        "user": connection.user,
        "password": connection.password or "",
        "database": connection.database or None,
        "charset": "utf8mb4",
        "autocommit": True,
        "client_flag": CLIENT.MULTI_STATEMENTS,
    }
    return pymysql.connect(**{**given, **options})


@pytest.fixture(scope="session")
def mysql_sql() -> Sql:
    """`mysql_sql(connection, statements, parameters=None)` runs SQL; the rows of the last result.

    `statements` is a text, or several texts that are sent one by one, as bodies with semicolons want it
    that belong to no one statement. Each commits by itself.
    """

    def run(
        connection: Connection, statements: str | bytes | Sequence[str | bytes], parameters: Any = None
    ) -> list[tuple[Any, ...]]:
        texts = [statements] if isinstance(statements, (str, bytes)) else statements
        rows: list[tuple[Any, ...]] = []
        with connect_mysql(connection) as session, session.cursor() as cursor:
            for text in texts:
                cursor.execute(text, parameters)
                rows = list(cursor.fetchall())
                while cursor.nextset():
                    rows = list(cursor.fetchall())
        return rows

    return run


@pytest.fixture
def make_mysql_database() -> Iterator[MakeDatabase]:
    """`make_mysql_database(server, name=None, options="")` makes an empty database, dropped after the test.

    `options` is what follows the name in CREATE DATABASE. The name may be any; None makes one up.
    """
    made: list[Connection] = []

    def make(server: MysqlServer, name: str | None = None, options: str = "") -> Connection:
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        with connect_mysql(server.connection()) as session, session.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {back_ticked(name)} {options}")
        made.append(server.connection(name))
        return made[-1]

    yield make
    for connection in made:
        with connect_mysql(connection.with_database("")) as session, session.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {back_ticked(connection.database)}")


def back_ticked(name: str) -> str:
    """A name as MySQL's SQL has it."""
    return "`" + name.replace("`", "``") + "`"


@pytest.fixture
def mysql_database(mariadb_server: MysqlServer, make_mysql_database: MakeDatabase) -> Connection:
    """An empty database of the machine's own MariaDB."""
    return make_mysql_database(mariadb_server)


@pytest.fixture
def mysql_matrix_database(mysql_matrix_server: MysqlServer, make_mysql_database: MakeDatabase) -> Connection:
    """An empty database of each supported MariaDB and MySQL in turn."""
    return make_mysql_database(mysql_matrix_server)
