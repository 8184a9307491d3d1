"""Exporting what MariaDB and MySQL answer: exact bytes, whole files or none, in flat memory."""

from __future__ import annotations

import json
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dbtool.engines.mysql.session import MysqlSession
from dbtool.errors import InterruptedByUserError, RefusedError, SqlError, UsageError
from dbtool.model.connection import Connection
from dbtool.operations import sql as operation
from dbtool.progress import Silent

Sql = Callable[..., "list[tuple[Any, ...]]"]

VALUES = r"""
SELECT * FROM t ORDER BY id"""
TABLE = r"""
CREATE TABLE t (id int, text varchar(40), amount decimal(22,1), bytes varbinary(4), day date) CHARSET utf8mb4;
INSERT INTO t VALUES (1, 'plain', 1.5, x'00FF', '0000-00-00'), (2, NULL, NULL, NULL, NULL), (3, '', -0.1, '', '2025-11-01'),
  (4, 'comma, "quote"\nand\r\nlines', 0, 'ab', '2025-11-01'),
  (5, 'tab\t \\N é 日😀', 12345678901234567890.5, x'e9', '9999-12-31')"""


@pytest.fixture
def session(mysql_database: Connection) -> Iterator[MysqlSession]:
    opened = MysqlSession(mysql_database)
    for result in opened.run(f"SET sql_mode = ''; {TABLE}"):
        assert result.columns is None
    yield opened
    opened.close()


def exported(session: MysqlSession, statement: str, folder: Path, form: str) -> bytes:
    report = operation.extract(session, statement, folder, form, Silent(), may_destroy=True)
    data = report.path.read_bytes()
    assert len(data) == report.bytes
    return data


def test_csv_tells_null_from_empty(session: MysqlSession, tmp_path: Path) -> None:
    assert exported(session, VALUES, tmp_path, "csv").decode() == (
        "id,text,amount,bytes,day\r\n"
        "1,plain,1.5,0x00FF,0000-00-00\r\n"
        "2,,,,\r\n"
        '3,"",-0.1,"",2025-11-01\r\n'
        '4,"comma, ""quote""\nand\r\nlines",0.0,0x6162,2025-11-01\r\n'
        "5,tab\t \\N é 日😀,12345678901234567890.5,0xE9,9999-12-31\r\n"
    )


def test_tsv_and_jsonl(session: MysqlSession, tmp_path: Path) -> None:
    lines = exported(session, VALUES, tmp_path, "tsv").decode().splitlines()
    assert lines[2] == "2\t\\N\t\\N\t\\N\t\\N"
    assert lines[5].startswith("5\ttab\\t \\\\N é 日😀\t12345678901234567890.5\t0xE9")
    objects = exported(session, VALUES, tmp_path, "jsonl").decode().split("\n")
    assert objects[0] == '{"id": 1, "text": "plain", "amount": 1.5, "bytes": "0x00FF", "day": "0000-00-00"}'
    assert '"amount": 12345678901234567890.5' in objects[4]
    assert json.loads(objects[1])["text"] is None
    filled = exported(session, "SELECT CAST(7 AS UNSIGNED) AS a, 1e300 AS a, 00042 AS b", tmp_path, "jsonl")
    assert json.loads(filled) == {"a": 7, "a_2": 1e300, "b": 42}


def test_what_gives_no_rows_does_not_run(session: MysqlSession, tmp_path: Path) -> None:
    for statement in ("DELETE FROM t", "UPDATE t SET id = 1", "SELECT 1; SELECT 2"):
        with pytest.raises(UsageError):
            operation.extract(session, statement, tmp_path, "csv", Silent(), may_destroy=True)
    with pytest.raises(SqlError):
        operation.extract(session, "SELECT nothing", tmp_path, "csv", Silent())
    with pytest.raises(RefusedError):
        operation.extract(session, "DELETE FROM t RETURNING id", tmp_path, "csv", Silent())
    assert list(tmp_path.iterdir()) == []
    assert len(exported(session, "SHOW TABLES", tmp_path, "csv").splitlines()) == 2


def test_a_large_export_needs_little_memory(session: MysqlSession, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    statement = "SELECT seq, CONCAT('row number ', seq), seq * 1.5, NULL FROM seq_1_to_1000000"
    report = operation.extract(session, statement, tmp_path, "csv", Silent())
    assert report.rows == 1_000_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
    with report.path.open("rb") as file:
        assert sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b"")) == 1_000_001


def test_an_interrupted_export_leaves_nothing_and_the_session_goes_on(
    session: MysqlSession, tmp_path: Path
) -> None:
    # More than one, for another's hook in the garbage collector may swallow it.
    timers = [threading.Timer(0.5 + 2 * turn, os.kill, (os.getpid(), signal.SIGINT)) for turn in range(5)]
    for timer in timers:
        timer.start()
    with pytest.raises((KeyboardInterrupt, InterruptedByUserError)):
        operation.extract(session, "SELECT seq FROM seq_1_to_1000000000000", tmp_path, "csv", Silent())
    for timer in timers:
        timer.cancel()
    assert list(tmp_path.iterdir()) == []
    (result,) = session.run("SELECT 1")
    assert list(result.rows()) == [("1",)]
