"""doctor finds what is missing, and the statement it gives mends it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import start_mysql

from dbtool.engines.base import SourceOptions
from dbtool.engines.mysql.engine import MysqlEngine
from dbtool.errors import ExitCode, RefusedError
from dbtool.model.check import Check, State
from dbtool.model.connection import Connection
from dbtool.operations import doctor
from dbtool.progress import Silent
from dbtool.servers.mysql import MysqlServer

Sql = Callable[..., "list[tuple[Any, ...]]"]
MakeDatabase = Callable[..., Connection]

USER = 'the "backup" o\'x'
QUOTED = "'the \"backup\" o\\'x'@'%'"


def by_name(checks: list[Check]) -> dict[str, Check]:
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    return found


def problems(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if check.state is State.PROBLEM]


def method(connection: Connection) -> str:
    """How a backup by that account holds the server still."""
    source = MysqlEngine().open_source(connection, SourceOptions(workers=2), Silent())
    try:
        return str(source.snapshot.details["method"])
    finally:
        source.close()


@pytest.fixture
def account(
    mysql_matrix_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql
) -> Iterator[Connection]:
    """An account that may enter the database, and nothing more; its name is like that of another."""
    database = make_mysql_database(mysql_matrix_server, "doc_tor%")
    make_mysql_database(mysql_matrix_server, "docXtor%")
    mysql_sql(
        database,
        [
            f"CREATE USER {QUOTED}",
            f"GRANT CREATE ON `doc\\_tor\\%`.* TO {QUOTED}",
            "CREATE TABLE t (a int PRIMARY KEY) ENGINE=InnoDB",
            "CREATE TABLE old (a int) ENGINE=MyISAM",
            "CREATE PROCEDURE p() SELECT 1",
        ],
    )
    yield replace(database, user=USER)
    mysql_sql(database, f"DROP USER {QUOTED}")


def test_every_problem_is_mended_by_what_is_said(
    account: Connection, mysql_matrix_server: MysqlServer, mysql_sql: Sql, tmp_path: Path
) -> None:
    administrator = replace(account, user="root")
    checks = doctor.run(account, str(tmp_path))
    assert not any("could not be looked at" in check.message for check in checks)
    # Which tables there are is not seen either.
    assert problems(checks)[:2] == ["logical backup: database", "logical backup: routines"]
    assert doctor.exit_code(checks) == ExitCode.FAILED
    with pytest.raises(RefusedError):
        method(account)
    for _ in range(3):
        for check in checks:
            if check.state is State.PROBLEM and check.mend:
                mysql_sql(administrator, check.mend)
        checks = doctor.run(account, str(tmp_path))
    assert problems(checks) == []
    assert doctor.exit_code(checks) == ExitCode.DONE
    grants = " ".join(text for (text,) in mysql_sql(account, "SHOW GRANTS"))
    assert "`doc\\_tor\\%`" in grants  # and not of its like
    is_mariadb = mysql_matrix_server.flavour_name == "mariadb"
    assert method(account) == ("compared snapshots" if is_mariadb else "LOCK TABLES")
    for check in checks:
        if check.name.startswith(("logical backup", "backup", "users")) and check.mend:
            mysql_sql(administrator, check.mend)
    found = by_name(doctor.run(account, str(tmp_path)))
    for name in ("logical backup: snapshot", "backup coordinates", "users and grants"):
        assert found[name].state is State.OK, name
    assert "logical backup: definitions" not in found
    assert found["tables without transactions"].state is State.NOTE
    assert "old" in found["tables without a key"].message
    if not is_mariadb:
        assert method(account) == "FLUSH TABLES WITH READ LOCK"


def test_what_a_restore_needs_is_said_and_mended(
    account: Connection, mysql_matrix_server: MysqlServer, mysql_sql: Sql
) -> None:
    administrator = replace(account, user="root")
    found = by_name(doctor.run(account))
    for name in ("restore: rights", "restore: definers", "restore: functions and triggers"):
        assert found[name].state is State.NOTE
        mysql_sql(administrator, str(found[name].mend).partition(" Or ")[0])
    try:
        found = by_name(doctor.run(account))
        assert found["restore: rights"].state is State.OK
        assert "restore: definers" not in found
        assert "restore: functions and triggers" not in found
    finally:
        mysql_sql(administrator, "SET GLOBAL log_bin_trust_function_creators = OFF")


def test_an_administrator_has_no_problem_and_too_many_rights(
    mysql_matrix_database: Connection, mysql_sql: Sql, tmp_path: Path
) -> None:
    checks = doctor.run(mysql_matrix_database, str(tmp_path / "new folder"))
    found = by_name(checks)
    assert problems(checks) == []
    assert found["server version"].state in (State.OK, State.NOTE)
    assert "tested" not in found["server version"].message
    assert found["repository"].message.endswith("new folder will be made")
    assert not any("could not be looked at" in check.message for check in checks)
    json.dumps(doctor.as_json(checks))
    mend = str(found["excess privileges"].mend)
    mysql_sql(mysql_matrix_database, [part.strip() for part in mend.split(";") if part.strip()])
    try:
        backups = replace(mysql_matrix_database, user="dbtool_backup", password="…")
        assert problems(doctor.run(backups)) == []
        quiet = by_name(doctor.run(backups))
        assert quiet["logical backup: snapshot"].state is State.OK
        assert "excess privileges" not in quiet
        assert method(backups)
    finally:
        mysql_sql(mysql_matrix_database, "DROP USER dbtool_backup")


def test_settings_that_stand_in_the_way() -> None:
    settings = {
        "max_allowed_packet": "1M",
        "local_infile": "OFF",
        "skip_log_bin": None,
        "lower_case_table_names": "1",
        "read_only": "ON",
    }
    from dbtool.servers.mysql import MysqlServer as Server

    with Server.start(settings=settings) as server:
        found = by_name(doctor.run(server.connection()))
    assert "1 MiB: larger rows cannot" in found["packet size"].message
    assert "switches it on" in found["restore: speed"].message
    assert found["binary log"].state is State.NOTE
    assert found["time zones"].state is State.NOTE
    assert found["names"].state is State.NOTE
    assert found["read-only server"].message == "read_only on: nothing can be restored here"


def test_a_binary_log_of_statements_is_warned_of() -> None:
    with start_mysql("mariadb", {"binlog_format": "STATEMENT"}) as server:
        found = by_name(doctor.run(server.connection()))
    assert found["binary log"].state is State.WARNING
    assert "binlog_format = STATEMENT" in found["binary log"].message


def test_without_a_server_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    checks = doctor.run(Connection("mysql", "d", "127.0.0.1", 1), str(tmp_path))
    found = by_name(checks)
    assert found["connection"].state is State.PROBLEM
    assert found["connection"].message == "nothing listens at 127.0.0.1:1"
    assert "client mysql" in found
    assert found["repository"].state is State.OK
