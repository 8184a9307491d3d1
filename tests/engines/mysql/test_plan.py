"""Chunks of tables: together they are every row exactly once, whatever the key and its values."""

from __future__ import annotations

import time

import pytest
from tests.conftest import MakeDatabase, Sql
from tests.engines.mysql.sources import opened, rows_by_chunk

from dbtool.engines.buckets import bucket_bytes
from dbtool.engines.mysql import edges, plan
from dbtool.engines.mysql.edges import condition
from dbtool.engines.mysql.table_facts import KeyColumn
from dbtool.errors import VerificationError
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer

ROWS = 12000
NUMBERS = """CREATE TABLE numbers (n int PRIMARY KEY)
SELECT a.n + b.n * 10 + c.n * 100 + d.n * 1000 + e.n * 10000 AS n
FROM ({0}) a, ({0}) b, ({0}) c, ({0}) d, (SELECT 0 AS n UNION SELECT 1) e HAVING n < {1}"""
DIGITS = "SELECT 0 AS n " + " ".join(f"UNION SELECT {n}" for n in range(1, 10))

# Definition of the key's columns, the key, an expression for each.
KEYS = {
    "int": ("a int", "a", "n"),
    "negative": ("a bigint", "a", "(n - 6000) * 7"),
    "sparse": ("a bigint", "a", "IF(n < 11990, n, 200000000000000000 + n * 1000003)"),
    "both ends": ("a bigint", "a", "n * 1537228672809129.0 - 9223372036854775808"),
    "unsigned": ("a bigint unsigned", "a", "18446744073709551615 - n * 1537228672809129.0"),
    "crowded": ("a int unsigned", "a", "IF(n % 2, n, 4000000000 + n)"),
    "decimal": ("a decimal(20,6)", "a", "n / 7"),
    "date": ("a date", "a", "DATE_ADD('1000-01-01', INTERVAL n * 30 DAY)"),
    "datetime": ("a datetime(3)", "a", "DATE_ADD('2024-02-28', INTERVAL n * 97 SECOND)"),
    "timestamp": ("a timestamp", "a", "DATE_ADD('2024-02-28', INTERVAL n SECOND)"),
    "time": ("a time(2)", "a", "SEC_TO_TIME((n - 6000) / 10)"),
    "text": ("a varchar(40)", "a", "LEFT(SHA2(n, 256), 32)"),
    "uuid": ("a char(36) CHARACTER SET ascii", "a", "INSERT(INSERT(LEFT(SHA2(n, 256), 32), 9, 0, '-'), 14, 0, '-')"),
    "prefixed": ("a varchar(60) CHARACTER SET utf8mb4", "a", "CONCAT('https://example.org/ü/', n)"),
    "sorted by case": ("a varchar(40) CHARACTER SET utf8mb4", "a", "CONCAT(IF(n % 2, 'A', 'a'), CHAR(65 + n % 26), n)"),
    "accents": ("a varchar(20) COLLATE utf8mb4_unicode_ci", "a", "CONCAT(ELT(1 + n % 5, 'é', 'E', 'ß', '名', ''), n)"),
    "odd bytes": ("a varchar(20) CHARACTER SET latin1", "a", "CONCAT(CHAR(39, 92, 128 + n % 100 USING latin1), n)"),
    "wide": ("a varchar(20) CHARACTER SET utf16", "a", "CONCAT('x', n)"),
    "binary": ("a binary(16)", "a", "UNHEX(LEFT(SHA2(n, 256), 32))"),
    "varbinary": ("a varbinary(40)", "a", "CONCAT(UNHEX('005C27'), n)"),
    "pair": ("a int, b int", "a, b", "n % 3, n"),
    "one tenant": ("a int, b int", "a, b", "IF(n < 11000, 1, n), n"),
    "text and number": ("a varchar(10), b int", "a, b", "IF(n % 4, 'many', CONCAT('x', n)), n"),
    "three": ("a int, b date, c varchar(32)", "a, b, c", "7, '2024-01-01' + INTERVAL n % 5 DAY, LEFT(SHA2(n, 256), 32)"),
    "enum second": ("a int, e enum('z', 'a')", "a, e", "n DIV 2, n % 2 + 1"),
    "enum first": ("e enum('z', 'a'), a int", "e, a", "n % 2 + 1, n"),
    "set": ("e set('z', 'a'), a int", "e, a", "n % 4, n"),
    "double": ("a double", "a", "n / 7e0"),
    "unique": ("a int NOT NULL, UNIQUE KEY u (a)", "", "n"),
    "none": ("a int", "", "n"),
}  # fmt: skip
UNCUT = ("enum first", "set", "double", "none")


@pytest.fixture
def numbers(mysql_database: Connection, mysql_sql: Sql) -> Connection:
    """A database with the numbers up to ROWS."""
    mysql_sql(mysql_database, NUMBERS.format(DIGITS, ROWS))
    return mysql_database


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "CHUNK_BYTES", 1 << 16)


def check_key(connection: Connection, mysql_sql: Sql, name: str) -> None:
    columns, key, values = KEYS[name]
    primary = f", PRIMARY KEY ({key})" if key else ""
    mysql_sql(
        connection,
        [
            f"CREATE TABLE t ({columns}{primary}, v varchar(100))",
            f"INSERT INTO t SELECT {values}, REPEAT('v', 60) FROM numbers",
            "ANALYZE TABLE t",
        ],
    )
    with opened(connection) as source:
        chunks = rows_by_chunk(source)["t"]
    rows = [row for chunk in chunks for row in chunk]
    assert len(rows) == len(set(rows)) or not key
    assert len(rows) == ROWS
    sizes = [len(chunk) for chunk in chunks]
    if name in UNCUT:
        assert len(chunks) == 1
    else:
        assert len(chunks) > 5
        assert max(sizes) < ROWS * 0.4, sizes


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("name", KEYS)
def test_chunks_are_all_rows(numbers: Connection, mysql_sql: Sql, name: str) -> None:
    check_key(numbers, mysql_sql, name)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.matrix
@pytest.mark.parametrize(
    "name", ["crowded", "accents", "one tenant", "three", "binary", "unsigned", "timestamp"]
)
def test_chunks_on_every_server(mysql_matrix_database: Connection, mysql_sql: Sql, name: str) -> None:
    mysql_sql(mysql_matrix_database, NUMBERS.format(DIGITS, ROWS))
    check_key(mysql_matrix_database, mysql_sql, name)


@pytest.mark.usefixtures("small_chunks")
def test_zero_dates_and_ends_of_time(numbers: Connection, mysql_sql: Sql) -> None:
    mysql_sql(
        numbers,
        [
            "SET sql_mode = 'ALLOW_INVALID_DATES'",
            "CREATE TABLE t (a datetime PRIMARY KEY, v varchar(100))",
            "INSERT INTO t SELECT DATE_ADD('2024-01-01', INTERVAL n HOUR), REPEAT('v', 60) FROM numbers",
            "INSERT INTO t VALUES ('0000-00-00 00:00:00', ''), ('2024-02-31 00:00:00', ''), ('9999-12-31 23:59:59', '')",
            "ANALYZE TABLE t",
        ],
    )
    with opened(numbers) as source:
        chunks = rows_by_chunk(source)["t"]
    assert len(chunks) > 5
    assert sum(map(len, chunks)) == ROWS + 3


@pytest.mark.usefixtures("small_chunks")
def test_partitions(numbers: Connection, mysql_sql: Sql) -> None:
    mysql_sql(
        numbers,
        [
            """CREATE TABLE t (a int, b varchar(100), PRIMARY KEY (a)) PARTITION BY RANGE (a) (
            PARTITION small VALUES LESS THAN (50), PARTITION `empty ``one``` VALUES LESS THAN (51),
            PARTITION large VALUES LESS THAN (9000), PARTITION rest VALUES LESS THAN MAXVALUE)""",
            "INSERT INTO t SELECT n, REPEAT('v', 60) FROM numbers",
            "ANALYZE TABLE t",
        ],
    )
    with opened(numbers) as source:
        chunks = rows_by_chunk(source)["t"]
    rows = [row for chunk in chunks for row in chunk]
    assert len(rows) == len(set(rows)) == ROWS
    assert len(chunks) > 5


@pytest.mark.usefixtures("small_chunks")
def test_rows_come_in_the_order_of_the_key(numbers: Connection, mysql_sql: Sql) -> None:
    mysql_sql(
        numbers,
        [
            "CREATE TABLE t (a int, b int, v varchar(100), PRIMARY KEY (b DESC, a), KEY (v, a))",
            "INSERT INTO t SELECT n, n % 7, REPEAT('v', 60) FROM numbers",
            "ANALYZE TABLE t",
        ],
    )
    with opened(numbers) as source:
        chunks = rows_by_chunk(source)["t"]
    assert len(chunks) > 5
    for chunk in chunks:
        keys = [tuple(int(part) for part in row.strip("()").split(",")[:2]) for row in chunk]
        assert keys == sorted(keys, key=lambda pair: (-pair[1], pair[0]))
    assert sum(map(len, chunks)) == ROWS


COUNTED = ("accents", "timestamp", "date", "three")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("name", ["crowded", "unsigned", "binary", *COUNTED])
def test_tables_whose_chunks_only_the_server_makes_whole_are_counted(
    numbers: Connection, mysql_sql: Sql, name: str
) -> None:
    columns, key, values = KEYS[name]
    mysql_sql(
        numbers,
        [
            f"CREATE TABLE t ({columns}, PRIMARY KEY ({key}), v varchar(100))",
            f"INSERT INTO t SELECT {values}, REPEAT('v', 60) FROM numbers",
            "ANALYZE TABLE t",
        ],
    )
    with opened(numbers) as source:
        source.chunks()
        counts = source._counts
        assert counts is not None
        number = [table.name for table in source.tables].index("t")
        assert (number in counts._counts) == (name in COUNTED)


TEXT_KEY = """CREATE TABLE t (a varchar(80) NOT NULL PRIMARY KEY, n int)"""
NO_TRANSACTIONS = """CREATE TABLE t (a varchar(80), n int) ENGINE=MyISAM PARTITION BY HASH (n) PARTITIONS 7"""


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [1, 2])
def test_rows_that_are_missing_are_noticed(
    mysql_matrix_database: Connection, mysql_sql: Sql, workers: int
) -> None:
    check_counts(mysql_matrix_database, mysql_sql, TEXT_KEY, workers)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [1, 2])
def test_tables_without_transactions_are_counted_while_they_are_locked(
    mysql_database: Connection, mysql_sql: Sql, workers: int
) -> None:
    check_counts(mysql_database, mysql_sql, NO_TRANSACTIONS, workers)


def check_counts(connection: Connection, mysql_sql: Sql, create: str, workers: int) -> None:
    """A chunk that is left out, as by an index of another order than the server's, is noticed."""
    mysql_sql(
        connection,
        [
            NUMBERS.format(DIGITS, ROWS),
            create,
            "INSERT INTO t SELECT CONCAT(n, REPEAT('v', 60)), n FROM numbers",
            "ANALYZE TABLE t",
        ],
    )
    for is_whole in (True, False):
        with opened(connection, workers=workers) as source:
            chunks = source.chunks()
            number = [table.name for table in source.tables].index("t")
            assert sum(chunk.table == number for chunk in chunks) > 5
            left_out = None if is_whole else next(chunk for chunk in chunks if chunk.table == number)
            reader = source.open_reader()
            for chunk in chunks:
                if chunk is left_out:
                    source.rows_read(chunk, 0)
                else:
                    for _ in reader.read(chunk):
                        pass
            reader.close()
            if is_whole:
                assert list(source.after_data())
            else:
                with pytest.raises(
                    VerificationError, match=rf"t: its chunks have [\d,]+ rows, the table has {ROWS:,}"
                ):
                    list(source.after_data())


@pytest.mark.usefixtures("small_chunks")
def test_a_count_ends_with_its_source(numbers: Connection, mysql_sql: Sql) -> None:
    mysql_sql(
        numbers,
        [
            "CREATE TABLE t (a varchar(80) PRIMARY KEY)",
            "INSERT INTO t SELECT CONCAT(n, REPEAT('v', 60)) FROM numbers",
            "ANALYZE TABLE t",
        ],
    )
    with opened(numbers) as source:
        with source._turn:  # so that the count waits
            source.chunks()
        began = time.monotonic()
    assert time.monotonic() - began < 20


def test_whole_keys_are_compared() -> None:
    cut = (KeyColumn("a", "int"), KeyColumn("b", "int"), KeyColumn("c", "int"))
    assert condition(cut, ("1",), None) == "`a` >= 1"
    assert condition(cut, None, ("1", "2")) == "(`a` < 1 OR (`a` = 1 AND `b` < 2))"
    assert (
        condition(cut, ("1", "2", "3"), None)
        == "(`a` > 1 OR (`a` = 1 AND (`b` > 2 OR (`b` = 2 AND `c` >= 3))))"
    )


@pytest.mark.usefixtures("small_chunks")
def test_few_questions_are_asked(
    numbers: Connection, mysql_sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    mysql_sql(
        numbers,
        [
            "CREATE TABLE t (a bigint unsigned PRIMARY KEY, v varchar(100))",
            "INSERT INTO t SELECT IF(n % 2, n, 18446744073709551615 - n), REPEAT('v', 60) FROM numbers",
            "ANALYZE TABLE t",
        ],
    )
    asked = 0
    estimate = edges.EdgeFinder._estimate

    def counted(*arguments: object) -> float:
        nonlocal asked
        asked += 1
        return estimate(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(edges.EdgeFinder, "_estimate", counted)
    with opened(numbers) as source:
        chunks = source.chunks()
    assert asked < 40 * len(chunks)


def test_more_buckets_for_more_keys(
    mariadb_server: MysqlServer, make_mysql_database: MakeDatabase, mysql_sql: Sql
) -> None:
    connection = make_mysql_database(mariadb_server)
    mysql_sql(connection, "CREATE TABLE t (a int PRIMARY KEY)")
    with opened(connection) as source:
        table = source.tables[0]
        assert bucket_bytes(table) & (bucket_bytes(table) - 1) == 0
        assert source.key_buckets(0) is source.key_buckets(0)
