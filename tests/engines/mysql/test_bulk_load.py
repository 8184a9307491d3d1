"""The archive's rows go into a real server, in C and in Python; and no other bytes of ours do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
from tests.conftest import Sql
from tests.engines.mysql.transfer import (
    LOAD,
    ORDERS,
    PREFIX,
    ROW_SETTINGS,
    Open,
    load,
    read_all,
    row_count,
    scratch_table,
)

from dbtool.engines.mysql.bulk import RowReader, abort, execute_raw, load_local
from dbtool.engines.mysql.connect import connect
from dbtool.engines.mysql.messages import readable_errors
from dbtool.engines.mysql.queries import rows_of
from dbtool.errors import ConnectionFailedError, DbtoolError
from dbtool.model.connection import Connection
from dbtool.rows import insert_to_load, text_of


@pytest.mark.parametrize("piece_bytes", [1, 65536, 1 << 30])
def test_rows_come_back_as_they_were(open_link: Open, piece_bytes: int) -> None:
    session = open_link(local_infile=True)
    scratch_table(session, "a INT, b DECIMAL(12, 4), c VARCHAR(50), d VARBINARY(50), e BLOB, PRIMARY KEY (a)")
    query = ORDERS.format(count=200 if piece_bytes == 1 else 30_000)
    reader = RowReader(session)
    texts, count, digest, key_digest = read_all(reader, query, "nnsss", (0,))
    assert load(session, "copy", b"".join(texts), piece_bytes) == (count, 0)
    execute_raw(session, "SET character_set_results = NULL")
    _, *again = read_all(reader, "SELECT * FROM copy", "nnsss", (0,))
    assert again == [count, digest, key_digest]


def test_statements_give_the_same_rows(open_link: Open) -> None:
    """What a restore without LOAD DATA runs."""
    session = open_link()
    scratch_table(session, "a INT, b DECIMAL(12, 4), c VARCHAR(50), d VARBINARY(50), e BLOB")
    reader = RowReader(session)
    reader.begin(
        ORDERS.format(count=3000),
        b"nnsss",
        (),
        None,
        b"INSERT INTO `copy` (`a`,`b`,`c`,`d`,`e`) VALUES\n",
        9999,
    )
    assert not reader.read(1 << 30)
    reader.stream.finish_text()
    with text_of(reader.stream) as view:
        statements = bytes(view).split(b";\n")[:-1]
    digest = reader.stream.digest
    execute_raw(session, ROW_SETTINGS)
    assert len(statements) > 10
    assert sum(execute_raw(session, statement)[0] for statement in statements) == 3000
    assert read_all(reader, "SELECT * FROM copy", "nnsss")[1:3] == (3000, digest)


def test_every_byte_goes_through_every_character_set(open_link: Open) -> None:
    session = open_link(local_infile=True)
    sets = ("latin1", "utf8mb4", "gbk", "sjis", "ucs2", "utf16le", "koi8r", "binary", "big5", "utf32")
    columns = ", ".join(f"`{name}` VARCHAR(300) CHARACTER SET {name}" for name in sets)
    scratch_table(session, f"n INT PRIMARY KEY, {columns}")
    # Texts with everything that matters, and texts whose last bytes in some character sets are
    # those of a backslash or a quote.
    texts = ["NULL", "\\N", "", "\\", "'", "\t\n\r\0\x1a", "表示ソ能", "許功蓋", "я", "誠\\'", "𝒳😀"]
    session.query("SET sql_mode = ''")  # what a character set lacks becomes a question mark
    for number, text in enumerate(texts):
        values = ", ".join(f"CONVERT(_utf8mb4 X'{text.encode().hex()}' USING {name})" for name in sets)
        session.query(f"INSERT INTO copy VALUES ({number}, {values})")
    for byte in range(256):
        session.query(
            f"INSERT INTO copy (n, latin1, `binary`) VALUES ({1000 + byte}, X'{byte:02x}', X'{byte:02x}')"
        )
    kinds = "n" + "s" * len(sets)
    reader = RowReader(session)
    execute_raw(session, "SET character_set_results = NULL")
    read, count, digest, _ = read_all(reader, "SELECT * FROM copy", kinds)
    assert count == len(texts) + 256
    session.query("TRUNCATE copy")
    assert load(session, "copy", b"".join(read)) == (count, 0)
    execute_raw(session, "SET character_set_results = NULL")
    assert read_all(reader, "SELECT * FROM copy", kinds)[:3] == (read, count, digest)


@pytest.mark.parametrize("file", ["'/etc/passwd'", "'../../../etc/shadow'", "'C:/secret'", "'x\\0y'", "'-'"])
def test_no_file_is_read_whatever_the_server_names(open_link: Open, file: str) -> None:
    session = open_link(local_infile=True)
    scratch_table(session, "a INT")
    assert load(session, "copy", b"INSERT INTO `t` (`a`) VALUES\n(1),\n(2);\n", file=file) == (2, 0)
    assert row_count(session) == 2


def test_the_driver_itself_gives_no_file(open_link: Open) -> None:
    """Even on a connection that may load: only `load_local` answers such a wish."""
    session = open_link(local_infile=True)
    scratch_table(session, "a TEXT")
    with pytest.raises(pymysql.OperationalError, match="asked for a file of this machine, and got none"):
        session.query(LOAD.format(file="'/etc/hostname'", table="copy"))
    assert not session.open
    other = open_link(local_infile=True)
    with pytest.raises(pymysql.OperationalError, match="something else"):
        execute_raw(other, LOAD.format(file="'/etc/hostname'", table="bulk`.`copy"))
    assert not other.open
    assert row_count(open_link(), "bulk`.`copy") == 0


def test_duplicates_and_bad_values_are_seen(open_link: Open) -> None:
    """The server makes warnings of them, and leaves rows out."""
    session = open_link(local_infile=True)
    scratch_table(session, "a TINYINT PRIMARY KEY")
    inserts = b"INSERT INTO `copy` (`a`) VALUES\n(1),\n(2),\n(1),\n(3);\n"
    affected, warnings = load(session, "copy", inserts)
    assert (affected, warnings > 0) == (3, True)
    affected, warnings = load(session, "copy", b"INSERT INTO `copy` (`a`) VALUES\n(1000);\n")
    assert warnings > 0


@pytest.mark.parametrize(("table", "number"), [("nothing", 1146), ("copy", 1364)])
def test_an_error_in_loading(open_link: Open, table: str, number: int) -> None:
    session = open_link(local_infile=True)
    scratch_table(session, "a INT")
    if table == "copy":
        session.query(
            "CREATE TRIGGER refuse BEFORE INSERT ON copy FOR EACH ROW SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1364"
        )
    inserts = b"INSERT INTO `t` (`a`) VALUES\n" + b",\n".join(b"(%d)" % n for n in range(200_000)) + b";\n"
    with pytest.raises(pymysql.MySQLError) as caught:
        load(session, table, inserts)
    assert caught.value.args[0] == number
    assert row_count(session) == 0  # and the connection is as good as before


def test_rows_that_end_early_are_not_kept(open_link: Open) -> None:
    session, other = open_link(local_infile=True), open_link()
    scratch_table(session, "a INT")
    inserts = b"INSERT INTO `t` (`a`) VALUES\n" + b",\n".join(b"(%d)" % n for n in range(200_000))
    session.begin()
    with pytest.raises(ValueError, match="not made of the archive's"):
        load(session, "copy", inserts)
    assert not session.open
    other.select_db("bulk")
    deadline = time.monotonic() + 5
    while row_count(other) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert row_count(other) == 0


def test_abort_from_another_thread(open_link: Open) -> None:
    session = open_link(local_infile=True)
    scratch_table(session, "a INT")
    timer = threading.Timer(0.3, abort, (session,))
    timer.start()

    def endless() -> Iterator[bytes]:
        while True:
            yield b"1\n" * 10000

    began = time.monotonic()
    session.begin()
    with pytest.raises(ConnectionFailedError), readable_errors("loading"):
        load_local(session, LOAD.format(file="'x'", table="copy"), endless())
    timer.join()
    waiting = open_link()
    timer = threading.Timer(0.3, abort, (waiting,))
    timer.start()
    with pytest.raises(ConnectionFailedError), readable_errors("waiting"):
        execute_raw(waiting, "DO SLEEP(60)")
    timer.join()
    assert time.monotonic() - began < 10
    abort(waiting)


def test_statements_that_are_sent_as_they_are(open_link: Open) -> None:
    session = open_link()
    scratch_table(session, "a VARBINARY(10), b TINYINT")
    assert execute_raw(session, ROW_SETTINGS) == (0, 0)
    assert execute_raw(session, b"INSERT INTO copy VALUES ('\xff\xfe', 1), ('\xc3', 1000)") == (2, 1)
    assert execute_raw(session, "UPDATE copy SET b = 5") == (2, 0)
    with pytest.raises(pymysql.ProgrammingError):
        execute_raw(session, b"INSERT INTO")
    assert row_count(session) == 2
    with pytest.raises(pymysql.OperationalError, match="something else"):
        execute_raw(session, "SELECT 1")
    assert not session.open


def test_what_is_no_load_statement(open_link: Open) -> None:
    session = open_link(local_infile=True)
    with pytest.raises(pymysql.OperationalError, match="does not ask for the rows"):
        load_local(session, "DO 1", [b"1\n"])
    assert not session.open
    # Without the permission the server refuses.
    other = open_link()
    scratch_table(other, "a INT")
    with pytest.raises(pymysql.MySQLError) as caught:
        load(other, "copy", b"INSERT INTO `t` (`a`) VALUES\n(1);\n")
    assert caught.value.args[0] in (1148, 3948, 4166)


# ---- servers that mean no good ---------------------------------------------------------------------

_GREETING = (
    b"\x0a8.0.99\0"
    + bytes(4)
    + b"12345678\0"
    + b"\xff\xf7\x2d\x02\0\xff\x81\x15"
    + bytes(10)
    + b"123456789012\0"
)
_GREETING += b"mysql_native_password\0"
_OK = b"\0\0\0\2\0\0\0"
_GIVE_ME_A_FILE = b"\xfb/etc/passwd"


@contextlib.contextmanager
def hostile_server(answer: bytes, honest_answers: int) -> Iterator[tuple[int, list[bytes]]]:
    """A server that greets, says OK to so many packets, and then only `answer`: (its port, what it got)."""
    received: list[bytes] = []

    def packet(payload: bytes, number: int) -> bytes:
        return len(payload).to_bytes(3, "little") + bytes([number]) + payload

    def serve() -> None:
        with contextlib.suppress(OSError), listener.accept()[0] as peer:
            peer.sendall(packet(_GREETING, 0))
            count = 0
            while data := peer.recv(1 << 20):
                received.append(data)
                peer.sendall(packet(_OK if count < honest_answers else answer, data[3] + 1))
                count += 1

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], received
        listener.close()
    thread.join(5)


@pytest.mark.parametrize("honest_answers", range(3))
@pytest.mark.parametrize("local_infile", [False, True])
@pytest.mark.parametrize("use", ["execute", "read", "query"])
def test_a_server_that_wants_a_file_gets_none(
    implementation: Any, honest_answers: int, local_infile: bool, use: str
) -> None:
    """In answer to the login, to what is set then, and to any statement."""
    with hostile_server(_GIVE_ME_A_FILE, honest_answers) as (port, received):
        connection = Connection("mysql", "d", "127.0.0.1", port, "u", tls_mode="disable")
        with pytest.raises(DbtoolError) as caught, readable_errors("talking"):
            talk_to(connection, local_infile, use)
        assert isinstance(caught.value, ConnectionFailedError), caught.value
        assert caught.value.hint
    content = Path("/etc/passwd").read_bytes()
    assert len(received) > honest_answers
    assert not any(content[:20] in data for data in received)


def talk_to(connection: Connection, local_infile: bool, use: str) -> None:
    with contextlib.closing(connect(connection, local_infile=local_infile)) as session:
        for _ in range(3):
            if use == "execute":
                execute_raw(session, "DO 1")
            elif use == "query":
                rows_of(session, "SELECT 1")
            else:
                read_all(RowReader(session), "SELECT 1", "n")


# ---- every version ---------------------------------------------------------------------------------


def test_rows_of_every_version(mysql_matrix_database: Connection, mysql_sql: Sql, opened: list[Any]) -> None:
    session: Any = connect(mysql_matrix_database, local_infile=True)
    opened.append(session)
    is_mysql = "MariaDB" not in session.get_server_info()
    columns = (
        "a BIGINT UNSIGNED PRIMARY KEY, b DOUBLE, c DECIMAL(60, 20), d BIT(9), e DATETIME(6), f TIMESTAMP(3) NULL, "
        "g TIME(6), h YEAR, i ENUM('x', 'y''z'), j SET('p', 'q'), k JSON, l GEOMETRY, m MEDIUMBLOB, "
        "n TEXT CHARACTER SET latin1, o INT(8) ZEROFILL"
    )
    for table in ("source", "copy"):
        session.query(f"CREATE TABLE {table} ({columns})")
    session.query(
        "INSERT INTO source VALUES (18446744073709551615, -1.7976931348623157e308, -1234567890.12345, b'101010101', "
        "'9999-12-31 23:59:59.999999', '2024-03-31 01:30:00.5', '-838:59:59', 1901, 'y''z', 'p,q', '{\"k\": \"\\\\u00e9\"}', "
        "ST_GeomFromText('POINT(1 2)'), X'000a0d1a5c2709', 'é', 42), (0, 5e-324, 0, b'0', '0001-01-01', NULL, NULL, NULL, "
        "NULL, '', '[]', NULL, '', '', NULL)"
    )
    kinds = "nnnsssss" + "ss" + ("j" if is_mysql else "s") + "sssn"
    kinds = "nnn" + "s" * 4 + "n" + kinds[8:]
    session.query("SET character_set_results = NULL, time_zone = '+00:00'")
    reader = RowReader(session)
    texts, count, digest, key_digest = read_all(reader, "SELECT * FROM source", kinds, (0,))
    assert count == 2
    mysql_sql(mysql_matrix_database, "SET GLOBAL local_infile = 1")
    execute_raw(session, ROW_SETTINGS)
    statement = LOAD.format(file="'x'", table="copy")
    if is_mysql:
        statement += " (a, b, c, d, e, f, g, h, i, j, @k, l, m, n, o) SET k = CONVERT(@k USING utf8mb4)"
    piece, _, _ = insert_to_load(b"".join(texts), 0, 1 << 30)
    assert load_local(session, statement, [piece]) == (2, 0)
    execute_raw(session, "SET character_set_results = NULL")
    assert read_all(reader, "SELECT * FROM copy", kinds, (0,)) == (texts, count, digest, key_digest)
    # And as statements.
    session.query("TRUNCATE copy")
    execute_raw(session, ROW_SETTINGS)
    for text in b"".join(texts).split(b";\n")[:-1]:
        assert execute_raw(session, text.replace(PREFIX, b"INSERT INTO `copy` VALUES\n")) == (2, 0)
    execute_raw(session, "SET character_set_results = NULL")
    assert read_all(reader, "SELECT * FROM copy", kinds, (0,)) == (texts, count, digest, key_digest)
