"""All databases of a server, in one snapshot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import Sql, start_mysql
from tests.engines.mysql.test_snapshot import block, fill_bank, moving_money

from dbtool.engines.mysql.engine import MysqlEngine
from dbtool.engines.mysql.reader import MysqlReader
from dbtool.errors import DbtoolError, PartlyDoneError
from dbtool.model.backup import Metadata
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, backup_all
from dbtool.progress import Silent
from dbtool.servers.mysql import MysqlServer
from dbtool.storage.open import open_store


@pytest.fixture(scope="module")
def server() -> Iterator[MysqlServer]:
    """A server of its own, for all of its databases are backed up."""
    with start_mysql("mariadb", {"log_bin": "binlog"}) as server:
        yield server


@pytest.fixture
def banks(server: MysqlServer, mysql_sql: Sql) -> Iterator[list[Connection]]:
    names = ["bank one", "bank two", "zoo"]
    for name in names:
        mysql_sql(server.connection(""), f"CREATE DATABASE `{name}`")
        fill_bank(server.connection(name), mysql_sql)
    yield [server.connection(name) for name in names]
    for name in names:
        mysql_sql(server.connection(""), f"DROP DATABASE `{name}`")


def all_of(server: MysqlServer, folder: Path, progress: Silent | None = None) -> list[Metadata]:
    store = open_store(str(folder / "repository"), create=True)
    return backup_all(
        MysqlEngine(), server.connection(""), store, BackupOptions(jobs=2), (), progress or Silent()
    )


@pytest.mark.usefixtures("banks")
def test_all_databases_are_in_one_snapshot(server: MysqlServer, tmp_path: Path) -> None:
    with moving_money(server.connection("bank one"), 0.003), moving_money(server.connection("zoo"), 0.003):
        done = all_of(server, tmp_path)
    assert [metadata.database["name"] for metadata in done] == ["bank one", "bank two", "zoo"]
    assert len({metadata.snapshot["time"] for metadata in done}) == 1
    assert len({metadata.snapshot["binlog_position"] for metadata in done}) == 1
    assert all(metadata.statistics["total_rows_processed"] == 400 for metadata in done)


@pytest.mark.usefixtures("banks")
def test_all_on_one_connection(server: MysqlServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    block(monkeypatch, ("open_by_comparing", "open_under_backup_stage", "open_under_table_locks"))
    done = all_of(server, tmp_path)
    assert {metadata.snapshot["method"] for metadata in done} == {"one connection"}
    assert all(metadata.statistics["total_rows_processed"] == 400 for metadata in done)


def test_one_that_cannot_be_read_does_not_stop_the_others(
    server: MysqlServer, banks: list[Connection], tmp_path: Path, mysql_sql: Sql
) -> None:
    mysql_sql(banks[1], "CREATE TABLE g (a int AS (1) VIRTUAL)")
    with pytest.raises(PartlyDoneError) as caught:
        all_of(server, tmp_path)
    assert "2 of 3 databases" in caught.value.message
    assert "only generated columns" in caught.value.message


def test_one_that_breaks_in_the_middle_does_not_stop_the_others(
    server: MysqlServer, banks: list[Connection], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = MysqlReader.read

    def breaking(reader: MysqlReader, chunk: object) -> object:
        if b"bank one" in chunk.statement:  # type: ignore[attr-defined]
            raise DbtoolError("not this one")
        return read(reader, chunk)  # type: ignore[arg-type]

    monkeypatch.setattr(MysqlReader, "read", breaking)
    progress = Silent()
    with pytest.raises(PartlyDoneError) as caught:
        all_of(server, tmp_path, progress)
    assert "2 of 3 databases" in caught.value.message
    assert "bank one: not this one" in caught.value.message
    assert len(banks) == 3
