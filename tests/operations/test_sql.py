"""Running SQL and exporting it: exact bytes, whole files or none, and nothing destroyed unasked."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtool.engines.postgres.session import PostgresSession
from dbtool.engines.session import ResultColumn
from dbtool.errors import (
    InterruptedByUserError,
    NotFoundError,
    RefusedError,
    SqlError,
    StorageError,
    UsageError,
)
from dbtool.model.connection import Connection
from dbtool.operations import sql as operation
from dbtool.operations.sql_formats import Csv, Jsonl, Tsv, format_for, unique_names
from dbtool.progress import Silent
from dbtool.servers.postgres import PostgresServer

Sql = Callable[..., "list[tuple[Any, ...]]"]
MakeDatabase = Callable[..., Connection]
MOMENT = datetime(2025, 11, 1, 12, 0, 0, tzinfo=timezone.utc)
VALUES = """SELECT * FROM (VALUES
  (1, 'plain', 1.50, true, '{"a": 1}'::json), (2, NULL, NULL, NULL, NULL), (3, '', -0.10, false, '[]'),
  (4, E'comma, "quote"\\nand\\r\\nlines', 'NaN', true, E'{"b":\\n 2}'),
  (5, E'tab\\t \\\\N é 日本', 12345678901234567890.5, false, '"x"')
) AS v (id, text, amount, flag, document) ORDER BY id"""


@pytest.fixture
def session(database: Connection) -> Iterator[PostgresSession]:
    opened = PostgresSession(database)
    yield opened
    opened.close()


def exported(session: PostgresSession, statement: str, folder: Path, form: str) -> bytes:
    report = operation.extract(session, statement, folder, form, Silent(), may_destroy=True)
    data = report.path.read_bytes()
    assert len(data) == report.bytes
    return data


def test_csv_is_rfc_4180_and_tells_null_from_empty(session: PostgresSession, tmp_path: Path) -> None:
    data = exported(session, VALUES, tmp_path, "csv")
    assert data.decode() == (
        "id,text,amount,flag,document\r\n"
        '1,plain,1.50,t,"{""a"": 1}"\r\n'
        "2,,,,\r\n"
        '3,"",-0.10,f,[]\r\n'
        '4,"comma, ""quote""\nand\r\nlines",NaN,t,"{""b"":\n 2}"\r\n'
        '5,tab\t \\N é 日本,12345678901234567890.5,f,"""x"""\r\n'
    )
    assert len(list(csv.reader(io.StringIO(data.decode(), newline="")))) == 6


def test_tsv_has_the_escapes_of_copy(session: PostgresSession, tmp_path: Path) -> None:
    assert exported(session, VALUES, tmp_path, "tsv").decode().splitlines() == [
        "id\ttext\tamount\tflag\tdocument",
        '1\tplain\t1.50\tt\t{"a": 1}',
        "2\t\\N\t\\N\t\\N\t\\N",
        "3\t\t-0.10\tf\t[]",
        '4\tcomma, "quote"\\nand\\r\\nlines\tNaN\tt\t{"b":\\n 2}',
        '5\ttab\\t \\\\N é 日本\t12345678901234567890.5\tf\t"x"',
    ]


def test_tsv_rows_go_back_in_through_copy(
    session: PostgresSession, tmp_path: Path, postgres_server: PostgresServer, database: Connection, sql: Sql
) -> None:
    sql(database, f"CREATE TABLE a AS {VALUES}; CREATE TABLE b (LIKE a)")
    lines = exported(session, "TABLE a", tmp_path, "tsv").split(b"\n", 1)[1]
    import psycopg

    with (
        psycopg.connect(
            host=database.host, port=database.port, user=database.user, dbname=database.database
        ) as connection,
        connection.cursor().copy("COPY b FROM STDIN") as copy,
    ):
        copy.write(lines)
    assert sql(database, "SELECT a::text FROM a EXCEPT SELECT b::text FROM b") == []


def test_jsonl_keeps_types_and_every_digit(session: PostgresSession, tmp_path: Path) -> None:
    lines = exported(session, VALUES, tmp_path, "jsonl").decode().split("\n")
    assert lines[0] == '{"id": 1, "text": "plain", "amount": 1.50, "flag": true, "document": {"a": 1}}'
    assert lines[1] == '{"id": 2, "text": null, "amount": null, "flag": null, "document": null}'
    assert '"amount": 12345678901234567890.5' in lines[4]
    parsed = [json.loads(line) for line in lines[:-1]]
    assert parsed[3] == {
        "id": 4, "text": 'comma, "quote"\nand\r\nlines', "amount": "NaN", "flag": True, "document": {"b": 2}
    }  # fmt: skip
    infinite = exported(session, "SELECT 'Infinity'::float8 AS a, 1e300::float8 AS a", tmp_path, "jsonl")
    assert json.loads(infinite) == {"a": "Infinity", "a_2": 1e300}


def test_bytes_that_are_no_text_stay_what_they_are(
    postgres_server: PostgresServer, make_database: MakeDatabase, tmp_path: Path
) -> None:
    where = make_database(postgres_server, options="ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    session = PostgresSession(where)
    try:
        assert exported(session, "SELECT E'\\xff' AS a", tmp_path, "csv") == b"a\r\n\xff\r\n"
        assert json.loads(exported(session, "SELECT E'\\xff' AS a", tmp_path, "jsonl")) == {"a": "\udcff"}
    finally:
        session.close()


def test_the_file_is_named_after_database_and_time_and_replaces_nothing(
    session: PostgresSession, tmp_path: Path
) -> None:
    def export(statement: str) -> Path:
        report = operation.export(session.query(statement), tmp_path, "a/b", "csv", MOMENT, Silent())
        assert report.rows == 1
        return report.path

    paths = [export(f"SELECT {number} AS a") for number in range(3)]
    assert [path.name for path in paths] == [
        "a%2Fb_query_20251101_120000.csv",
        "a%2Fb_query_20251101_120000_2.csv",
        "a%2Fb_query_20251101_120000_3.csv",
    ]
    assert [path.read_text() for path in paths] == ["a\n0\n", "a\n1\n", "a\n2\n"]
    assert paths[0].stat().st_mode & 0o777 == 0o600
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_an_empty_result_has_its_header(session: PostgresSession, tmp_path: Path) -> None:
    assert exported(session, "SELECT 1 AS a, 2 AS b WHERE false", tmp_path, "csv") == b"a,b\r\n"


def test_what_is_no_query_is_refused_and_not_run(session: PostgresSession, tmp_path: Path) -> None:
    list(session.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)"))
    for statement in ("DELETE FROM t", "INSERT INTO t VALUES (2)", "DROP TABLE t", "SELECT 1; SELECT 2"):
        with pytest.raises(UsageError):
            operation.extract(session, statement, tmp_path, "csv", Silent(), may_destroy=True)
    with pytest.raises(SqlError):
        operation.extract(session, "SELECT nothing", tmp_path, "csv", Silent())
    with pytest.raises(UsageError):
        operation.extract(session, "SELECT 1", tmp_path, "xlsx", Silent())
    assert list(next(iter(session.run("SELECT a FROM t"))).rows()) == [("1",)]
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_tried_before_anything_runs(session: PostgresSession, tmp_path: Path) -> None:
    list(session.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)"))
    file = tmp_path / "file"
    file.touch()
    for folder, error in (
        (tmp_path / "not there", NotFoundError),
        (file, StorageError),
        (Path("/proc"), StorageError),
    ):
        with pytest.raises(error) as caught:
            operation.extract(session, "DELETE FROM t RETURNING a", folder, "csv", Silent(), may_destroy=True)
        assert caught.value.hint
    assert list(next(iter(session.run("SELECT a FROM t"))).rows()) == [("1",)]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_full_disk_leaves_nothing(session: PostgresSession, tmp_path: Path, form: str) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, limits[1]))
    try:
        with pytest.raises(StorageError) as caught:
            operation.extract(session, "SELECT generate_series(1, 10000000)", tmp_path, form, Silent())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(tmp_path) in caught.value.message
    assert list(tmp_path.iterdir()) == []
    assert list(next(iter(session.run("SELECT 1"))).rows()) == [("1",)]


def test_a_statement_that_fails_half_way_leaves_nothing(session: PostgresSession, tmp_path: Path) -> None:
    with pytest.raises(SqlError):
        operation.extract(
            session, "SELECT 1 / (50000 - i) FROM generate_series(1, 100000) i", tmp_path, "csv", Silent()
        )
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_nothing(session: PostgresSession, tmp_path: Path) -> None:
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises((InterruptedByUserError, KeyboardInterrupt)):
        operation.extract(session, "SELECT generate_series(1, 1000000000)", tmp_path, "csv", Silent())
    assert list(tmp_path.iterdir()) == []
    assert list(next(iter(session.run("SELECT 1"))).rows()) == [("1",)]


def test_a_large_export_streams(session: PostgresSession, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    statement = "SELECT i, 'row ' || i, NULL FROM generate_series(1, 1000000) i"
    report = operation.extract(session, statement, tmp_path, "csv", Silent())
    assert report.rows == 1_000_000
    with report.path.open("rb") as file:
        assert sum(1 for _ in file) == 1_000_001
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


def test_sql_that_destroys_needs_a_yes(session: PostgresSession, database: Connection, sql: Sql) -> None:
    sql(database, "CREATE TABLE t (a int)")
    asked: list[list[str]] = []

    def answer(is_yes: bool) -> Callable[[Any], bool]:
        def confirm(reasons: Sequence[str]) -> bool:
            asked.append(list(reasons))
            return is_yes

        return confirm

    with pytest.raises(RefusedError):
        operation.run(session, "SELECT 1; DROP TABLE t")
    with pytest.raises(RefusedError):
        operation.run(session, "DROP TABLE t", confirm=answer(False))
    assert sql(database, "SELECT count(*) FROM pg_tables WHERE tablename = 't'") == [(1,)]
    (dropped,) = operation.run(session, "DROP TABLE t", confirm=answer(True))
    assert dropped.status == "DROP TABLE"
    made, dropped = operation.run(session, "CREATE TABLE u (); DROP TABLE u", may_destroy=True)
    assert (made.status, dropped.status) == ("CREATE TABLE", "DROP TABLE")
    assert asked == [["DROP TABLE t"], ["DROP TABLE t"]]


def test_harmless_sql_does_not_load_the_parser() -> None:
    check = (
        "import sys; from dbtool.operations.sql_safety import dangers; dangers('SELECT 1', 'postgres');"
        "sys.exit('sqlglot' in sys.modules or 'psycopg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def columns(count: int) -> list[ResultColumn]:
    return [ResultColumn(f"c{number}", "text") for number in range(count)]


ROWS = st.integers(1, 3).flatmap(
    lambda width: st.lists(
        st.lists(
            st.none() | st.text(alphabet='a,"\r\n\t\\ é\x00;', max_size=5), min_size=width, max_size=width
        ),
        min_size=1,
        max_size=5,
    )
)


@given(ROWS)
def test_any_csv_reads_back_with_its_nulls(rows: list[list[str | None]]) -> None:
    text = Csv(columns(len(rows[0]))).rows(rows).decode()
    expected = "".join(
        ",".join(
            "" if value is None
            else value if value and not set(value) & set(',"\r\n')
            else '"' + value.replace('"', '""') + '"'
            for value in row
        )
        + "\r\n"
        for row in rows
    )  # fmt: skip
    assert text == expected


@given(ROWS)
def test_any_tsv_reads_back_with_its_nulls(rows: list[list[str | None]]) -> None:
    unescaped = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}

    def value(field: str) -> str | None:
        if field == "\\N":
            return None
        parts, position = [], 0
        while position < len(field):
            length = 2 if field[position] == "\\" else 1
            parts.append(
                unescaped.get(field[position : position + length], field[position : position + length])
            )
            position += length
        return "".join(parts)

    text = Tsv(columns(len(rows[0]))).rows(rows).decode()
    assert [[value(field) for field in line.split("\t")] for line in text.split("\n")[:-1]] == rows


@given(ROWS)
def test_any_jsonl_reads_back(rows: list[list[str | None]]) -> None:
    text = Jsonl(columns(len(rows[0]))).rows(rows).decode()
    assert [list(json.loads(line).values()) for line in text.split("\n")[:-1]] == rows


def test_a_number_that_json_does_not_know_is_a_string() -> None:
    writer = format_for("jsonl", [ResultColumn("n", "int", True, "number")])
    values = ["1", "-0.5", "1e+20", "007", "NaN", "1.", "١"]
    assert [json.loads(line)["n"] for line in writer.rows([[value] for value in values]).splitlines()] == [
        1, -0.5, 1e20, "007", "NaN", "1.", "١"
    ]  # fmt: skip


def test_columns_of_the_same_name_are_told_apart() -> None:
    assert unique_names(["a", "a", "a_2", "a", ""]) == ["a", "a_3", "a_2", "a_4", ""]
