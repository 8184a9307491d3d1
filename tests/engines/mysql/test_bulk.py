"""Rows of a real server as the archive's text, in C and in Python."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Sequence
from typing import Any

import pymysql
import pytest
import xxhash
from tests.conftest import connect_mysql, start_mysql
from tests.engines.mysql.transfer import FRAME, MASK, ORDERS, PREFIX, Open, read_all
from tests.rows.packets import row_text

from dbtool.engines.mysql.bulk import RowReader, execute_raw
from dbtool.engines.mysql.connect import connect
from dbtool.engines.mysql.messages import readable_errors
from dbtool.errors import ConnectionFailedError
from dbtool.model.connection import Connection
from dbtool.rows import tally_inserts
from dbtool.servers.mysql import MysqlServer

SLOW_QUERY = "SELECT REPEAT('x', 9000), SLEEP(0.01) FROM seq_1_to_100000"


def driver_rows(connection: Connection, query: str) -> list[tuple[bytes | None, ...]]:
    """What PyMySQL reads, as bytes."""
    with connect_mysql(connection, conv={}, use_unicode=False) as session, session.cursor() as cursor:
        cursor.execute("SET character_set_results = NULL, time_zone = '+00:00'")
        cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()]


def inserts_of(given: Sequence[Sequence[bytes | None]], kinds: str) -> list[bytes]:
    return [b"(" + row_text(row, kinds) + b")" for row in given]


def bare(texts: Sequence[bytes]) -> list[bytes]:
    """The rows of statements, without all that is around them."""
    return [
        row
        for text in texts
        for statement in text.split(b";\n")[:-1]
        for row in statement.removeprefix(PREFIX).split(b",\n")
    ]


@pytest.mark.parametrize("target", [1, 1000, 65536, 1 << 30])
def test_rows_are_those_that_pymysql_reads(open_link: Open, mariadb_server: MysqlServer, target: int) -> None:
    query = ORDERS.format(count=300 if target == 1 else 20_000)
    expected = driver_rows(mariadb_server.connection(), query)
    texts, count, digest, key_digest = read_all(RowReader(open_link()), query, "nnsss", (0, 2), target)
    assert bare(texts) == inserts_of(expected, "nnsss")
    assert (count, digest, key_digest) == tally_inserts(b"".join(texts), (0, 2))
    assert all(len(text) < target + len(PREFIX) + 500 for text in texts)


def test_one_query_after_the_other_on_one_connection(open_link: Open) -> None:
    session = open_link()
    reader = RowReader(session)
    for count in (0, 1, 5000, 3):
        query = f"SELECT seq FROM seq_1_to_6000 WHERE seq <= {count}"
        assert read_all(reader, query, "n")[1] == count
        with session.cursor() as cursor:
            cursor.execute("SELECT 42")
            assert cursor.fetchone() == (42,)


def test_rows_of_several_packets(open_link: Open) -> None:
    query = "SELECT 1, REPEAT('a''', 8000000), REPEAT('b', 15000000), 2 UNION ALL SELECT 3, '', 'x', 4"
    texts, count, digest, _ = read_all(RowReader(open_link()), query, "nssn")
    large = b"1,'" + b"a\\'" * 8_000_000 + b"','" + b"b" * 15_000_000 + b"',2"
    assert count == 2
    assert b"".join(texts) == PREFIX + b"(" + large + b");\n" + PREFIX + b"(3,'','x',4);\n"
    assert digest == xxhash.xxh64_intdigest(large) + xxhash.xxh64_intdigest(b"3,'','x',4") & MASK


def test_a_query_of_several_packets(open_link: Open) -> None:
    """Longer than 16 MiB; and one that fills its packets exactly."""
    control = open_link()
    control.query("SET GLOBAL max_allowed_packet = 64 * 1024 * 1024")
    try:
        reader = RowReader(open_link())
    finally:
        control.query("SET GLOBAL max_allowed_packet = DEFAULT")
    for length in ((1 << 24) - 2, (1 << 24) - 1, 17 << 20):
        query = b"SELECT /* " + b"x" * (length - 13) + b"*/1"
        assert len(query) == length
        assert read_all(reader, query, "n")[0] == [PREFIX + b"(1);\n"]


def test_buckets_are_shared_between_threads(open_link: Open) -> None:
    buckets = bytearray(8 * 64)
    failures: list[BaseException] = []

    def work(session: Any, first: int) -> None:
        try:
            query = f"SELECT seq, MD5(seq) FROM seq_{first}_to_10000_step_3"
            read_all(RowReader(session), query, "ns", (0,), 65536, buckets=buckets)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(open_link(), first)) for first in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    expected = array("Q", bytes(8 * 64))
    for number in range(1, 10001):
        value = xxhash.xxh64_intdigest(b"%d" % number)
        expected[value >> 58] = (expected[value >> 58] + value) & MASK
    assert array("Q", bytes(buckets)) == expected


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("SELEKT 1", 1064),
        ("SELECT * FROM nothing", 1146),
        ("SELECT (SELECT b.seq FROM seq_1_to_2 AS b WHERE a.seq > 50000) FROM seq_1_to_60000 AS a", 1242),
    ],
)
def test_an_error_of_the_server(open_link: Open, query: str, number: int) -> None:
    session = open_link()
    reader = RowReader(session)
    with pytest.raises(pymysql.MySQLError) as caught:
        read_all(reader, query, "n", target=4096)
    assert caught.value.args[0] == number
    assert caught.value.args[1]
    # The connection is as good as before.
    assert read_all(reader, "SELECT 'still here'", "s")[0] == [PREFIX + b"('still here');\n"]
    assert execute_raw(session, "DO 1") == (0, 0)


def test_warnings_of_a_query_are_counted(open_link: Open) -> None:
    reader = RowReader(open_link())
    read_all(reader, "SELECT CAST('x' AS SIGNED), CAST('y' AS SIGNED)", "nn")
    assert reader.stream.warnings == 2
    read_all(reader, "SELECT 1", "n")
    assert reader.stream.warnings == 0


def test_columns_that_were_not_asked_for(open_link: Open) -> None:
    session = open_link()
    with pytest.raises(pymysql.OperationalError, match="other columns"):
        read_all(RowReader(session), "SELECT 1, 2", "n")
    assert not session.open


def test_a_number_that_is_none(open_link: Open) -> None:
    with pytest.raises(pymysql.OperationalError, match="a number that is none"):
        read_all(RowReader(open_link()), "SELECT '1), (2'", "n")


def test_a_killed_connection_is_an_error(open_link: Open) -> None:
    session, killer = open_link(), open_link()
    reader = RowReader(session)
    timer = threading.Timer(0.3, killer.kill, (session.thread_id(),))
    timer.start()
    with (
        pytest.raises(ConnectionFailedError, match="connection to the server lost while reading t"),
        readable_errors("reading t"),
    ):
        read_all(reader, SLOW_QUERY, "sn")
    timer.join()


def test_a_connection_that_is_gone_before_the_query(open_link: Open) -> None:
    session, killer = open_link(), open_link()
    killer.kill(session.thread_id())
    time.sleep(0.2)
    with pytest.raises(ConnectionFailedError), readable_errors("reading t"):
        read_all(RowReader(session), "SELECT 1", "n")


def test_a_server_that_dies(implementation: Any, opened: list[Any]) -> None:
    with start_mysql("mariadb") as server:
        session = connect(server.connection())
        opened.append(session)
        timer = threading.Timer(0.3, server.crash)
        timer.start()
        with pytest.raises(pymysql.OperationalError, match="Lost connection"):
            read_all(RowReader(session), SLOW_QUERY, "sn")
        timer.join()


@pytest.mark.parametrize(
    "query", ["SELECT SLEEP(60), 1", "SELECT REPEAT('x', 1000), 1 FROM seq_1_to_30000000"]
)
def test_stop_from_another_thread(open_link: Open, query: str) -> None:
    reader = RowReader(open_link())
    timer = threading.Timer(0.3, reader.stop)
    timer.start()
    began = time.monotonic()

    def read_on() -> None:
        reader.begin(query, b"sn", (), None, PREFIX)
        more = True
        while more:
            reader.stream.reset()
            more = reader.read(FRAME)

    with pytest.raises(InterruptedError), readable_errors("reading t"):
        read_on()
    assert time.monotonic() - began < 5
    timer.join()
    with pytest.raises(InterruptedError):
        reader.begin("SELECT 1", b"n", (), None, PREFIX)
