"""The demo: it tells its stories to the end, and its pictures of a database see what changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dbtool.errors import NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer
from dbtool.servers.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from demo.__main__ import main  # noqa: E402

from demo import picture_mariadb, picture_postgres  # noqa: E402

Sql = Callable[..., "list[tuple[Any, ...]]"]

CHANGES = {
    "a row": "UPDATE t SET v = 'other' WHERE id = 1",
    "a NULL": "UPDATE t SET v = NULL WHERE id = 1",
    "a row twice": "INSERT INTO t SELECT * FROM t WHERE id = 2",
    "a sequence": "SELECT nextval('t_id_seq')",
    "an index": "CREATE INDEX ON t (v)",
    "a privilege": "GRANT SELECT ON t TO public",
    "a large object": "SELECT lo_from_bytea(0, 'x')",
    "a setting": "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END$$",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_sees_a_change(
    postgres_server: PostgresServer, database: Connection, sql: Sql, change: str
) -> None:
    sql(
        database,
        "CREATE TABLE t (id serial, v text); INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 9)",
    )
    before = picture_postgres.take_picture(postgres_server, database.database)
    assert before.differences(picture_postgres.take_picture(postgres_server, database.database)) == []
    sql(database, CHANGES[change])
    assert before.differences(picture_postgres.take_picture(postgres_server, database.database)) != []


MYSQL_CHANGES = {
    "a row": "UPDATE t SET v = 'other' WHERE id = 1",
    "a NULL": "UPDATE t SET v = NULL WHERE id = 1",
    "a row twice": "INSERT INTO t (v, f) SELECT v, f FROM t WHERE id = 2",
    "the last bit of a float": "UPDATE t SET f = f + 0.0000001 WHERE id = 1",
    "one row for another": "UPDATE t SET v = IF(id = 1, 'b', 'a') WHERE id < 3",
    "an index": "CREATE INDEX i ON t (v)",
    "a comment": "ALTER TABLE t COMMENT 'new'",
    "the next number": "ALTER TABLE t AUTO_INCREMENT = 1000",
    "a view": "CREATE OR REPLACE VIEW w AS SELECT v FROM t",
    "a trigger": "DROP TRIGGER g",
    "a routine": "ALTER PROCEDURE p COMMENT 'new'",
    "an event": "ALTER EVENT e DISABLE",
    "a sequence": "DO NEXTVAL(s)",
    "the past of a table": "DELETE HISTORY FROM past",
    "the character set": "ALTER DATABASE CHARACTER SET ascii",
}


@pytest.mark.parametrize("change", MYSQL_CHANGES)
def test_a_picture_of_mariadb_sees_a_change(
    mariadb_server: MysqlServer, mysql_database: Connection, mysql_sql: Sql, change: str
) -> None:
    mysql_sql(
        mysql_database,
        [
            "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, v varchar(9), f float)",
            "INSERT INTO t (v, f) VALUES ('a', 1), ('b', 1), ('c', NULL)",
            "CREATE VIEW w AS SELECT id FROM t",
            "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET new.f = 1",
            "CREATE PROCEDURE p() SELECT 1",
            "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM t",
            "CREATE SEQUENCE s CACHE 0",
            "CREATE TABLE past (id int PRIMARY KEY) WITH SYSTEM VERSIONING",
            "INSERT INTO past VALUES (1), (2)",
            "DELETE FROM past WHERE id = 1",
        ],
    )
    before = picture_mariadb.take_picture(mariadb_server, mysql_database.database)
    assert before.differences(picture_mariadb.take_picture(mariadb_server, mysql_database.database)) == []
    mysql_sql(mysql_database, MYSQL_CHANGES[change])
    assert before.differences(picture_mariadb.take_picture(mariadb_server, mysql_database.database)) != []


def without_mariadb() -> Path:
    raise NotFoundError("MariaDB was not found", "install it")


def test_a_story_without_its_server_is_left_out_and_told_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("demo.story_mariadb.find_programs", without_mariadb)
    monkeypatch.setattr(sys, "argv", ["demo", "--only", "mariadb"])
    assert main() == 1  # nothing at all was shown
    assert "Not shown: MariaDB was not found; install it." in capsys.readouterr().out
    monkeypatch.setattr("demo.story_postgres.PostgresStory.tell", lambda _: "well told")
    monkeypatch.setattr(sys, "argv", ["demo"])
    assert main() == 0
    told = capsys.readouterr().out
    assert "Not shown: MariaDB was not found; install it." in told
    assert "✔ well told" in told


@pytest.mark.slow
@pytest.mark.parametrize("only", ["postgres", "mariadb"])
def test_the_demo_succeeds(only: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo", "--only", only], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "the same to the last bit" in done.stdout


@pytest.mark.slow
def test_the_story_can_be_told_on_mysql(
    mysql_server: MysqlServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("demo.story_mariadb.find_programs", lambda: mysql_server.prefix)
    monkeypatch.setattr(sys, "argv", ["demo", "--only", "mariadb"])
    succeeded = main() == 0
    told = capfd.readouterr().out
    assert succeeded, told[-3000:]
    assert "MySQL 9.7" in told
