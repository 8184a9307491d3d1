"""A MySQL or MariaDB server dies while a restored database takes the place of another: nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.breakage.conftest import outcome, paused
from tests.conftest import MYSQL_MATRIX, Sql, start_mysql
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.mysql_picture import difference, take_picture
from tests.mysql_logical import backup, bring_back

from dbtool.errors import RefusedError
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer, Settings

# What a server does that keeps what it has confirmed, and what one does that keeps it a second later.
DURABLE: Settings = {"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1"}
CARELESS: Settings = {"innodb_flush_log_at_trx_commit": "0", "innodb_flush_log_at_timeout": "2700"}

SOURCE = (
    "CREATE TABLE parents (id int PRIMARY KEY, name varchar(40))",
    "CREATE TABLE children (id int AUTO_INCREMENT PRIMARY KEY, parent int NOT NULL, note text, "
    "CONSTRAINT to_parent FOREIGN KEY (parent) REFERENCES parents (id))",
    "CREATE TABLE others (id int PRIMARY KEY)",
    "CREATE VIEW both_of_them AS SELECT p.name, c.note FROM parents AS p JOIN children AS c ON c.parent = p.id",
    "CREATE FUNCTION shout(t text) RETURNS text DETERMINISTIC RETURN upper(t)",
    "INSERT INTO parents VALUES (1, 'one'), (2, 'two')",
    "INSERT INTO children (parent, note) VALUES (1, 'a'), (2, 'b'), (2, 'c')",
    "CREATE TRIGGER shouting BEFORE INSERT ON children FOR EACH ROW SET NEW.note = shout(NEW.note)",
    "CREATE EVENT sweeping ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO DELETE FROM others",
)
CHANGES = (
    "DELETE FROM children WHERE id > 1",
    "DROP VIEW both_of_them",
    "CREATE VIEW of_mine AS SELECT name FROM parents",
    "DROP TRIGGER shouting",
    "CREATE TRIGGER of_mine BEFORE UPDATE ON children FOR EACH ROW SET NEW.note = 'mine'",
    "CREATE PROCEDURE p_of_mine() SELECT 1",
)


@pytest.fixture(params=[pytest.param("durable", id="durable"), pytest.param("careless", id="careless")])
def settings(request: pytest.FixtureRequest) -> Settings:
    return DURABLE if request.param == "durable" else CARELESS


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.matrix) for name in MYSQL_MATRIX])
def server(request: pytest.FixtureRequest, settings: Settings) -> Iterator[MysqlServer]:
    """One of the test's own, which it kills."""
    with start_mysql(request.param, settings) as started:
        yield started


@pytest.mark.parametrize(
    ("point", "becomes", "code"),
    [("swap-prepared", "old", 4), ("swap-moved", "new", 4), ("swap-finished", "new", 0)],
)
def test_the_server_dies_during_the_swap(
    point: str, becomes: str, code: int, server: MysqlServer, tmp_path: Path, mysql_sql: Sql
) -> None:
    dbtool = Dbtool(tmp_path / "repository", server.bin_directory)
    mysql_sql(server.connection(""), "CREATE DATABASE shop")
    mysql_sql(server.connection("shop"), SOURCE)
    backup(server.connection("shop"), dbtool.repository)
    new = take_picture(server.connection("shop"))
    mysql_sql(server.connection("shop"), CHANGES)
    old = take_picture(server.connection("shop"))
    arguments = dbtool.restore_arguments("latest", server.connection("shop"), "--replace", "--yes")
    with paused(dbtool, arguments, point) as process:
        server.crash()
    found, said = outcome(process)
    assert found == code, said
    assert "the next restore" in said  # what it tells the user to do
    server.launch()
    target = server.connection("shop")
    # Whatever the next restore is, it first mends what it finds; this one is then refused.
    with pytest.raises(RefusedError, match="is not empty"):
        bring_back(dbtool.repository, target)
    assert difference(take_picture(target), old if becomes == "old" else new) == []
    assert beside(mysql_sql, target) == []
    bring_back(dbtool.repository, target, replace=True)
    assert difference(take_picture(target), new) == []
    assert beside(mysql_sql, target) == []


def beside(sql: Sql, connection: Connection) -> list[str]:
    found = sql(replace(connection, database=""), "SELECT schema_name FROM information_schema.schemata")
    return [str(name) for (name,) in found if "_dbtool_" in str(name)]
