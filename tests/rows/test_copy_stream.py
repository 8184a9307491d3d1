"""Reading rows from a real server, over every transport, in C and in Python."""

from __future__ import annotations

import contextlib
import threading
import time
from array import array
from typing import Any

import pytest
import xxhash
from tests.conftest import connect
from tests.rows.conftest import Open

from dbtool.engines.postgres.bulk import CopyOut, ServerError
from dbtool.errors import ConnectionFailedError, DbtoolError
from dbtool.rows import tally_lines, text_of
from dbtool.servers.postgres import PostgresServer

MASK = (1 << 64) - 1
FRAME = 1 << 20
SLOW_QUERY = b"SELECT repeat('x', 9000), pg_sleep(0.01) FROM generate_series(1, 100000) AS n"


def read_all(copy: CopyOut, target: int = FRAME, prefix: bytes = b"") -> tuple[list[bytes], int, int, int]:
    """(texts without prefix, rows, digest, key digest)."""
    texts: list[bytes] = []
    rows = digest = key_digest = 0
    more = True
    while more:
        copy.stream.reset(prefix)
        more = copy.read(len(prefix) + target)
        with text_of(copy.stream) as text:
            assert len(text) == copy.stream.length
            assert bytes(text[: len(prefix)]) == prefix
            texts.append(bytes(text[len(prefix) :]))
        rows += copy.stream.rows
        digest = (digest + copy.stream.digest) & MASK
        key_digest = (key_digest + copy.stream.key_digest) & MASK
    assert copy.rows_sent == rows
    return texts, rows, digest, key_digest


def copy_and_read(copy: CopyOut, query: bytes, target: int = FRAME, lock: bytes | None = None) -> None:
    """Over TLS `begin` may raise what else `read` does."""
    copy.begin(query, (), (), None, lock)
    read_all(copy, target)


def psycopg_copy(session: Any, statement: str) -> bytes:
    """What psycopg itself reads."""
    with session.cursor().copy(statement) as copy:
        return b"".join(bytes(block) for block in copy)


@pytest.mark.parametrize("target", [1, 1000, 65536, 1 << 30])
def test_rows_are_those_that_psycopg_reads(open_link: Open, target: int) -> None:
    count = 300 if target == 1 else 20_000
    query = (
        "SELECT n, 'name ' || n, repeat(chr(9) || 'x', n % 7), NULL, md5(n::text) "
        f"FROM generate_series(1, {count}) AS n"
    )
    session = open_link()
    expected = psycopg_copy(session, f"COPY ({query}) TO STDOUT")
    copy = CopyOut(session)
    copy.begin(query.encode(), (), (0,), None)
    texts, rows, digest, key_digest = read_all(copy, target, b"prefix;\n")
    assert b"".join(texts) == expected
    assert (rows, digest, key_digest) == tally_lines(expected, (0,))
    assert all(text == b"" or text.endswith(b"\n") for text in texts)
    # A text goes a little beyond its target, by one row at most.
    assert all(len(text) < target + 200 for text in texts)


def test_one_statement_after_the_other_on_one_connection(open_link: Open) -> None:
    session = open_link()
    copy = CopyOut(session)
    for count in (0, 1, 5000, 3):
        copy.begin(f"SELECT generate_series(1, {count})".encode(), (), (), None)
        assert read_all(copy)[1] == count
    assert session.execute("SELECT 42").fetchone() == (42,)
    copy.begin(b"SELECT 1", (), (), None)
    assert read_all(copy)[0] == [b"1\n"]
    assert session.execute("SELECT 43").fetchone() == (43,)


def test_a_row_larger_than_a_frame(open_link: Open) -> None:
    copy = CopyOut(open_link())
    copy.begin(
        b"SELECT n, repeat(chr(96 + n), CASE n WHEN 2 THEN 40000000 ELSE 5 END) "
        b"FROM generate_series(1, 3) AS n",
        (),
        (0,),
        None,
    )
    texts, rows, digest, _ = read_all(copy)
    big = b"2\t" + b"b" * 40_000_000
    assert rows == 3
    assert b"".join(texts) == b"1\taaaaa\n" + big + b"\n3\tccccc\n"
    assert texts[0].endswith(big + b"\n")
    assert digest == (sum(xxhash.xxh64_intdigest(row) for row in (b"1\taaaaa", big, b"3\tccccc"))) & MASK


def test_rows_without_columns(open_link: Open) -> None:
    copy = CopyOut(open_link())
    copy.begin(b"SELECT FROM generate_series(1, 7)", (), (), None)
    texts, rows, digest, _ = read_all(copy)
    assert (b"".join(texts), rows) == (b"\n" * 7, 7)
    assert digest == 7 * xxhash.xxh64_intdigest(b"") & MASK


def test_what_is_appended_is_no_row(open_link: Open) -> None:
    copy = CopyOut(open_link())
    copy.begin(b"SELECT 'a'", (), (), None)
    copy.stream.reset(b"<<")
    assert not copy.read(FRAME)
    copy.stream.append(b">>")
    with text_of(copy.stream) as text:
        assert bytes(text) == b"<<a\n>>"
        # The text cannot change under a reader's feet.
        with pytest.raises(BufferError):
            copy.stream.append(b"more")
    assert copy.stream.rows == 1
    copy.stream.reset(b"")
    assert copy.stream.length == 0


def test_keys_that_are_not_next_to_each_other(open_link: Open) -> None:
    copy = CopyOut(open_link())
    query = b"SELECT n, 'b' || n, 'c', n * 2 FROM generate_series(1, 100) AS n"
    for key in ((3,), (1, 0), (3, 1), (0, 1), (1, 2, 3), (2, 3, 0)):
        copy.begin(query, (), key, None)
        texts, _, _, key_digest = read_all(copy)
        rows = [line.split(b"\t") for line in b"".join(texts).splitlines()]
        expected = sum(xxhash.xxh64_intdigest(b"\t".join(row[n] for n in key)) for row in rows)
        assert key_digest == expected & MASK


def test_buckets_are_shared_between_threads(open_link: Open) -> None:
    buckets = bytearray(8 * 64)
    failures: list[BaseException] = []

    def work(session: Any, first: int) -> None:
        try:
            copy = CopyOut(session)
            rows = f"SELECT n, md5(n::text) FROM generate_series({first}, 10000, 3) AS n"
            copy.begin(rows.encode(), (), (0,), buckets)
            read_all(copy, 65536)
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
        value = xxhash.xxh64_intdigest(str(number).encode())
        expected[value >> 58] = (expected[value >> 58] + value) & MASK
    assert array("Q", bytes(buckets)) == expected


def test_a_single_bucket_is_the_key_digest(open_link: Open) -> None:
    copy = CopyOut(open_link())
    bucket = bytearray(8)
    copy.begin(b"SELECT generate_series(1, 999)", (), (0,), bucket)
    _, _, digest, key_digest = read_all(copy)
    assert array("Q", bytes(bucket))[0] == key_digest == digest


@pytest.mark.parametrize(
    ("query", "sqlstate"),
    [
        (b"SELECT 1 / 0", "22012"),
        (b"SELECT * FROM nothing", "42P01"),
        (b"SELECT 10 / (n - 5000) FROM generate_series(1, 10000) AS n", "22012"),
        (b"SELEKT", "42601"),
    ],
)
def test_an_error_of_the_server(open_link: Open, query: bytes, sqlstate: str) -> None:
    session = open_link()
    copy = CopyOut(session)
    with pytest.raises(ServerError) as caught:
        copy_and_read(copy, query, 4096)
    assert caught.value.sqlstate == sqlstate
    assert caught.value.message
    # The connection is as good as before.
    copy.begin(b"SELECT 'still here'", (), (), None)
    assert read_all(copy)[0] == [b"still here\n"]
    assert session.execute("SELECT 1").fetchone() == (1,)


def test_an_error_in_a_transaction_can_be_rolled_back(open_link: Open) -> None:
    session = open_link()
    copy = CopyOut(session)
    session.execute("BEGIN")
    with pytest.raises(ServerError):
        copy_and_read(copy, b"SELECT 1 / 0")
    session.execute("ROLLBACK")
    assert session.execute("SELECT 1").fetchone() == (1,)


def test_lock_and_rows_in_one_round_trip(open_link: Open) -> None:
    session = open_link()
    session.execute("CREATE TEMPORARY TABLE locked AS SELECT generate_series(1, 10) AS n")
    session.execute("BEGIN")
    copy = CopyOut(session)
    copy.begin(b"SELECT * FROM locked", (), (), None, b"LOCK TABLE ONLY locked IN ACCESS SHARE MODE NOWAIT")
    assert read_all(copy)[1] == 10
    assert session.execute(
        "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'locked'::regclass"
    ).fetchone() == (1,)
    session.execute("ROLLBACK")


def test_a_lock_that_somebody_has_is_an_error_and_not_a_wait(open_link: Open) -> None:
    holder, session = open_link(), open_link()
    holder.execute("DROP TABLE IF EXISTS taken; CREATE TABLE taken (n int)")
    try:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE taken IN ACCESS EXCLUSIVE MODE")
        session.execute("BEGIN")
        copy = CopyOut(session)
        lock = b"LOCK TABLE ONLY taken IN ACCESS SHARE MODE NOWAIT"
        with pytest.raises(ServerError) as caught:
            copy_and_read(copy, b"SELECT * FROM taken", lock=lock)
        assert caught.value.sqlstate == "55P03"
        session.execute("ROLLBACK")
    finally:
        holder.execute("ROLLBACK")
        holder.execute("DROP TABLE taken")


def test_notices_on_the_way_do_no_harm(open_link: Open) -> None:
    session = open_link()
    session.execute(
        "CREATE FUNCTION pg_temp.chatty(n int) RETURNS int LANGUAGE plpgsql AS "
        "$$BEGIN IF n % 100 = 0 THEN RAISE NOTICE 'at %', n; "
        "PERFORM set_config('application_name', 'row ' || n, false); END IF; RETURN n; END$$"
    )
    copy = CopyOut(session)
    copy.begin(b"SELECT pg_temp.chatty(n) FROM generate_series(1, 1000) AS n", (), (), None)
    texts, rows, _, _ = read_all(copy)
    assert rows == 1000
    assert b"".join(texts) == b"".join(b"%d\n" % n for n in range(1, 1001))


def test_a_killed_backend_is_an_error(open_link: Open) -> None:
    session, killer = open_link(), open_link()
    pid = session.info.backend_pid
    copy = CopyOut(session)
    copy.begin(
        SLOW_QUERY,
        (),
        (),
        None,
    )
    timer = threading.Timer(0.3, lambda: killer.execute("SELECT pg_terminate_backend(%s)", (pid,)))
    timer.start()
    with pytest.raises(DbtoolError) as caught:
        read_all(copy)
    timer.join()
    assert isinstance(caught.value, (ServerError, ConnectionFailedError))
    assert caught.value.message


def test_a_backend_that_is_gone_before_the_statement(open_link: Open) -> None:
    session, killer = open_link(), open_link()
    copy = CopyOut(session)
    killer.execute("SELECT pg_terminate_backend(%s, 5000)", (session.info.backend_pid,))
    with pytest.raises(DbtoolError):
        copy_and_read(copy, b"SELECT 1")


def test_stop_from_another_thread_ends_a_wait(open_link: Open) -> None:
    session = open_link()
    copy = CopyOut(session)
    timer = threading.Timer(0.2, copy.stop)
    timer.start()
    began = time.monotonic()
    with pytest.raises(InterruptedError):
        copy_and_read(copy, b"SELECT 1 UNION ALL SELECT length(pg_sleep(60)::text)")
    assert time.monotonic() - began < 5
    timer.join()


def test_stop_ends_a_read_that_never_waits(open_link: Open) -> None:
    copy = CopyOut(open_link())
    copy.begin(b"SELECT repeat('x', 1000) FROM generate_series(1, 2000000)", (), (), None)
    timer = threading.Timer(0.3, copy.stop)
    timer.start()
    began = time.monotonic()

    def read_on() -> None:
        more = True
        while more:
            copy.stream.reset(b"")
            more = copy.read(FRAME)

    with pytest.raises(InterruptedError):
        read_on()
    assert time.monotonic() - began < 5
    timer.join()


def test_a_server_that_dies(implementation: Any) -> None:
    with PostgresServer.start() as server:
        session = connect(server.connection(), sslmode="disable")
        copy = CopyOut(session)
        copy.begin(
            SLOW_QUERY,
            (),
            (),
            None,
        )
        timer = threading.Timer(0.3, server.crash)
        timer.start()
        with pytest.raises(ConnectionFailedError, match="connection to the server lost"):
            read_all(copy)
        timer.join()
        with contextlib.suppress(Exception):
            session.close()


def test_strange_bytes_on_the_wire_are_an_error(implementation: Any) -> None:
    import socket

    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    stream = implementation.CopyStream(ours.fileno(), None)
    with ours, theirs:
        stream.begin((), None)
        stream.reset(b"")
        theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 100)
        theirs.close()
        with pytest.raises(ConnectionError):
            stream.read(FRAME)
