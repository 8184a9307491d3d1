"""Tables with history between servers whose time ends at different moments."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Sql, start_mysql
from tests.fidelity.mysql_picture import difference, take_picture
from tests.mysql_logical import backup, bring_back

from dbtool.engines.mysql import load
from dbtool.engines.mysql.array_binding import TooLargeError
from dbtool.errors import RefusedError
from dbtool.servers.mysql import MysqlServer

pytestmark = pytest.mark.matrix

END = {"mariadb1011": "2038-01-19 03:14:07.999999", "mariadb118": "2106-02-07 06:28:15.999999"}
SOURCE = (
    "SET time_zone = '+00:00'",
    "CREATE TABLE plain (id int PRIMARY KEY, t varchar(60), v varchar(40)) WITH SYSTEM VERSIONING",
    "CREATE TABLE named (id int PRIMARY KEY, v int, a timestamp(6) GENERATED ALWAYS AS ROW START, "
    "b timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING",
    "CREATE TABLE beside (id int PRIMARY KEY, t timestamp(6) NOT NULL)",
    f"INSERT INTO beside VALUES (1, '{END['mariadb1011']}')",
    "SET timestamp = UNIX_TIMESTAMP('2024-01-01 12:00:00.5')",
    # A text that looks like the end of a row, and of time.
    f"INSERT INTO plain VALUES (1, 'x,''{END['mariadb1011']}'')', 'first'), (2, '{END['mariadb1011']}', 'first')",
    "INSERT INTO named (id, v) VALUES (1, 1), (2, 1)",
    "SET timestamp = UNIX_TIMESTAMP('2024-01-02 12:00:00.5')",
    "UPDATE plain SET v = 'second' WHERE id = 1",
    "DELETE FROM named WHERE id = 2",
)
NOW = ("SELECT * FROM plain ORDER BY 1", "SELECT id, v FROM named ORDER BY 1", "SELECT * FROM beside")
ONCE = (
    "SELECT id, t, v, row_start, REPLACE(row_end, @end, 'now') FROM plain FOR SYSTEM_TIME ALL ORDER BY 1, row_start",
    "SELECT id, v, a, REPLACE(b, @end, 'now') FROM named FOR SYSTEM_TIME ALL ORDER BY 1, a",
)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, MysqlServer]]:
    """One whose time ends in 2038, and one whose does not."""
    with start_mysql("mariadb1011") as old, start_mysql("mariadb118") as new:
        yield {"mariadb1011": old, "mariadb118": new}


def seen(sql: Sql, server: MysqlServer, name: str, database: str) -> list[list[tuple[object, ...]]]:
    connection = server.connection(database)
    head = ["SET time_zone = '+00:00'", f"SET @end = '{END[name]}'"]
    return [sql(connection, [*head, query]) for query in (*NOW, *ONCE)]


@pytest.mark.parametrize(("here", "there"), [("mariadb1011", "mariadb118"), ("mariadb118", "mariadb1011")])
@pytest.mark.parametrize("way", ["arrays", "LOAD DATA", "INSERT"])
def test_present_rows_stay_present(
    servers: dict[str, MysqlServer],
    tmp_path: Path,
    mysql_sql: Sql,
    here: str,
    there: str,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if way != "arrays":
        monkeypatch.setattr(load.MysqlLoader, "_send_arrays", refuse_arrays)
    source, target = servers[here], servers[there]
    mysql_sql(target.connection(""), f"SET GLOBAL local_infile = {int(way == 'LOAD DATA')}")
    mysql_sql(source.connection(""), "CREATE DATABASE past")
    try:
        mysql_sql(source.connection("past"), SOURCE)
        before = seen(mysql_sql, source, here, "past")
        assert [len(rows) for rows in before] == [2, 1, 1, 3, 2]
        backup(source.connection("past"), tmp_path)
        assert bring_back(tmp_path, target.connection("past")).compared
        assert seen(mysql_sql, target, there, "past") == before
        # And on the server that it came from.
        bring_back(tmp_path, source.connection("past_again"))
        assert (
            difference(take_picture(source.connection("past_again")), take_picture(source.connection("past")))
            == []
        )
    finally:
        for server in (source, target):
            mysql_sql(
                server.connection(""), "DROP DATABASE IF EXISTS past; DROP DATABASE IF EXISTS past_again"
            )


def refuse_arrays(*_: object) -> tuple[int, int]:
    raise TooLargeError


def test_the_client_stops_where_present_rows_would_be_past_ones(
    servers: dict[str, MysqlServer], tmp_path: Path, mysql_sql: Sql
) -> None:
    source, target = servers["mariadb1011"], servers["mariadb118"]
    for server in (source, target):
        mysql_sql(server.connection(""), "CREATE DATABASE past")
    try:
        mysql_sql(source.connection("past"), SOURCE)
        backup(source.connection("past"), tmp_path)
        (main_file,) = tmp_path.glob("*/*.sql.zst")
        script = subprocess.run(["zstd", "-dcq", str(main_file)], stdout=subprocess.PIPE, check=True).stdout
        client = [str(target.bin_directory / "mariadb"), "--no-defaults", "--protocol=tcp", "-h127.0.0.1"]
        done = subprocess.run(
            [*client, f"-P{target.port}", "-uroot", "--comments", "--binary-mode", "--database=past"],
            input=script,
            capture_output=True,
        )
        assert done.returncode == 1
        assert b"restore this with dbtool" in done.stderr
        assert mysql_sql(target.connection("past"), "SHOW TABLES") == []
    finally:
        for server in (source, target):
            mysql_sql(server.connection(""), "DROP DATABASE past")


def test_an_older_server_takes_no_history(
    servers: dict[str, MysqlServer], tmp_path: Path, mysql_sql: Sql
) -> None:
    source = servers["mariadb1011"].connection("past")
    mysql_sql(source.with_database(""), "CREATE DATABASE past")
    try:
        mysql_sql(source, SOURCE)
        backup(source, tmp_path)
    finally:
        mysql_sql(source.with_database(""), "DROP DATABASE past")
    with start_mysql("mariadb105") as older:
        with pytest.raises(RefusedError, match=r"plain.*MariaDB before 10.11 cannot restore the history"):
            bring_back(tmp_path, older.connection("past"))
        bring_back(tmp_path, older.connection("past"), "beside")
        assert mysql_sql(older.connection("past"), "SHOW TABLES") == [("beside",)]
