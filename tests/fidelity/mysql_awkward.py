"""The awkward MySQL or MariaDB database: all that an exact copy must get right, made with SQL.

What is in it is in mysql_awkward_values, _tables and _code. To compare it: mysql_picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from tests.conftest import back_ticked, connect_mysql
from tests.fidelity.mysql_awkward_code import code_statements
from tests.fidelity.mysql_awkward_tables import table_statements
from tests.fidelity.mysql_awkward_values import Dialect, value_statements

from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer

SESSION = ("SET NAMES utf8mb4", "SET time_zone = '+00:00'", "SET sql_mode = ''", "SET max_statement_time = 0")
# Not the server's: what a database brings with it stands in its own options.
DATABASE_OPTIONS = "CHARACTER SET latin1 COLLATE latin1_german2_ci"
DATABASE_COMMENT = "it''s \\\\ \"odd\"\n*/ ü"
INVALID = b"caf\xe9 \xff\xfe"  # no UTF-8


def dialect_of(server: MysqlServer) -> Dialect:
    """What that server understands."""
    return Dialect(server.flavour_name, tuple(int(part) for part in server.version.split(".")))


def awkward_statements(dialect: Dialect, *, gentle: bool = False) -> Iterator[str]:
    """All statements for one session of root in an empty database, each to be sent by itself.

    `gentle` leaves out what the servers' own tools cannot copy at all.
    """
    yield from SESSION if dialect.mariadb else SESSION[:3]
    yield from value_statements(dialect)
    yield from table_statements(dialect)
    yield from code_statements(dialect, gentle=gentle)


def build_awkward(server: MysqlServer, database: str, *, gentle: bool = False) -> Connection:
    """Make the awkward database under that name, which may be any."""
    dialect = dialect_of(server)
    comment = f" COMMENT '{DATABASE_COMMENT}'" if dialect.is_mariadb(10, 5) else ""
    create = f"CREATE DATABASE {back_ticked(database)} {DATABASE_OPTIONS}{comment}"
    run(server.connection(""), create)
    run(server.connection(database), *awkward_statements(dialect, gentle=gentle))
    return server.connection(database)


def build_other_engines(server: MysqlServer, connection: Connection) -> None:
    """Add tables of engines that know no snapshot, with rows in them."""
    dialect = dialect_of(server)
    engines = ["MyISAM", "MEMORY", "CSV", *(["Aria"] if dialect.mariadb else ["ARCHIVE", "BLACKHOLE"])]
    for engine in engines:
        table = "engine_" + engine.lower()
        run(
            connection,
            f"CREATE TABLE {table} (id int NOT NULL, v varchar(20) NOT NULL) ENGINE={engine}",
            f"INSERT INTO {table} VALUES (1, 'one'), (2, 'it''s \\\\'), (2, '')",
        )
    run(
        connection,
        # The counter is the second column of the key: only some engines can do that.
        "CREATE TABLE counter_second (a int, id int AUTO_INCREMENT, PRIMARY KEY (a, id)) ENGINE=MyISAM",
        "INSERT INTO counter_second (a) VALUES (1), (1), (2)",
        "CREATE TABLE merged (id int NOT NULL, v varchar(20) NOT NULL) ENGINE=MERGE UNION=(engine_myisam) INSERT_METHOD=LAST",
    )


def make_text_invalid(server: MysqlServer, connection: Connection, table: str = "invalid_text") -> None:
    """Add a table (id, v) with utf8mb4 text in row 2 that is none, as upgrades and copied files leave it.

    No statement does that. The files of a table with a binary column are taken for one with text.
    """
    columns = "(id int PRIMARY KEY, v {kind}) ENGINE=InnoDB ROW_FORMAT=DYNAMIC"
    source, target = back_ticked(table + "_binary"), back_ticked(table)
    run(
        connection,
        f"CREATE TABLE {source} {columns.format(kind='varbinary(80)')}",
        f"INSERT INTO {source} VALUES (1, 'plain'), (2, X'{INVALID.hex()}'), (3, NULL)",
        f"CREATE TABLE {target} {columns.format(kind='varchar(20) CHARACTER SET utf8mb4')}",
        f"ALTER TABLE {target} DISCARD TABLESPACE",
    )
    folder = server.data_directory / connection.database
    with connect_mysql(connection) as session, session.cursor() as cursor:
        cursor.execute(f"FLUSH TABLES {source} FOR EXPORT")
        copy = folder / f"{table}.ibd"
        copy.write_bytes((folder / f"{table}_binary.ibd").read_bytes())
        status = folder.stat()
        copy.chmod(0o660)
        if os.geteuid() == 0:
            os.chown(copy, status.st_uid, status.st_gid)
        cursor.execute("UNLOCK TABLES")
        cursor.execute(f"ALTER TABLE {target} IMPORT TABLESPACE")
        cursor.execute(f"DROP TABLE {source}")


def build_large_blob(connection: Connection, megabytes: int = 64, table: str = "large_blob") -> None:
    """Add a table (id, v) whose row 2 is that large, of bytes that need escaping and others that do not."""
    run(
        connection,
        f"CREATE TABLE {back_ticked(table)} (id int PRIMARY KEY, v longblob)",
        f"INSERT INTO {back_ticked(table)} VALUES (1, 'small'), (3, NULL)",
        f"INSERT INTO {back_ticked(table)} VALUES (2, REPEAT(X'{bytes(range(256)).hex()}', {megabytes << 12}))",
    )


def build_many_rows(connection: Connection, rows: int = 1_000_000, table: str = "many_rows") -> None:
    """Add a table with a composite unique key that ends in an enum, whose labels are not in its order."""
    steps = range(rows.bit_length())
    run(
        connection,
        f"CREATE TABLE {back_ticked(table)} (a int NOT NULL, e enum('z', 'a') NOT NULL, v varchar(20), UNIQUE KEY (a, e))",
        f"INSERT INTO {back_ticked(table)} VALUES (0, 'z', 'v0')",
        *(
            f"INSERT INTO {back_ticked(table)} SELECT (n + {1 << step}) DIV 2, (n + {1 << step}) % 2 + 1,"
            f" CONCAT('v', n + {1 << step}) FROM (SELECT a * 2 + (e = 'a') AS n FROM {back_ticked(table)}) t"
            f" WHERE n + {1 << step} < {rows}"
            for step in steps
        ),
    )


def run(connection: Connection, *statements: str) -> None:
    """Run statements in one session; an error says which it was."""
    with connect_mysql(connection) as session, session.cursor() as cursor:
        for statement in statements:
            try:
                cursor.execute(statement)
            except Exception as error:
                raise RuntimeError(f"{error} in: {statement[:500]}") from error
