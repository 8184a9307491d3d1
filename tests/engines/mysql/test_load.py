"""One worker of a restore: rows that arrive exactly or not at all, and objects that say what failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from tests.conftest import Sql, connect_mysql
from tests.engines.mysql.archives import HandMade

from dbtool.engines.base import Task
from dbtool.engines.mysql.definers import Definers
from dbtool.engines.mysql.execute import MissingDefiners
from dbtool.engines.mysql.flavour import flavour_of
from dbtool.engines.mysql.foreign import translation_for
from dbtool.engines.mysql.load import MysqlLoader, Remembered
from dbtool.errors import DbtoolError, InterruptedByUserError, SqlError, VerificationError
from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer

Open = Callable[..., Any]


@pytest.fixture(params=["arrays", "LOAD DATA", "INSERT"])
def way(
    request: pytest.FixtureRequest,
    mysql_matrix_server: MysqlServer,
    mysql_matrix_database: Connection,
    mysql_sql: Sql,
) -> Iterator[str]:
    """How rows get in: in MariaDB's own way, by LOAD DATA LOCAL, or, where that is off, by the statements of
    the archive."""
    if request.param == "arrays" and mysql_matrix_server.flavour_name == "mysql":
        pytest.skip("MySQL has no such way")
    mysql_sql(mysql_matrix_database, f"SET GLOBAL local_infile = {int(request.param == 'LOAD DATA')}")
    yield request.param
    mysql_sql(mysql_matrix_database, "SET GLOBAL local_infile = DEFAULT")


@contextmanager
def loader_for(
    connection: Connection, archive: HandMade, way: str = "", **options: Any
) -> Iterator[MysqlLoader]:
    """A loader as a restore opens it."""
    with connect_mysql(connection) as session:
        flavour = flavour_of(session)
        translation = translation_for(session, flavour)
    given: dict[str, Any] = {
        "definers": Definers(),
        "with_local_infile": True,
        "compares": True,
        "missing_definers": MissingDefiners(),
        "remembered": [],
        "only_remembered": frozenset(),
        "is_final": False,
        "with_arrays": way in ("", "arrays"),
    }
    with closing(
        MysqlLoader(connection, archive.index(), flavour, translation, **{**given, **options})
    ) as loader:
        yield loader


def load(loader: MysqlLoader, archive: HandMade, frame: int) -> None:
    loader.run(Task(0, "rows", frame=frame), archive.texts, 0)


def make(loader: MysqlLoader, archive: HandMade, placed: tuple[int, Any]) -> None:
    loader.run(Task(0, "objects", objects=(placed,)), archive.texts, 0)


def test_rows_arrive_as_they_are(mysql_matrix_database: Connection, mysql_sql: Sql, way: str) -> None:
    mysql_sql(
        mysql_matrix_database,
        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, s varchar(20) CHARACTER SET latin1, b blob, "
        "f float, d date, ts timestamp NULL, e enum('x', 'y'))",
    )
    archive = HandMade()
    columns = [
        ("id", "int", "n"),
        ("s", "varchar", "s"),
        ("b", "blob", "s"),
        ("f", "float", "n"),
        ("d", "date", "s"),
    ]
    columns += [("ts", "timestamp", "s"), ("e", "enum('x','y')", "s")]
    frame = archive.table(
        "t",
        columns,
        rb"0,'it\'s \\',NULL,1.2345670461654663,'0000-00-00','2024-10-27 00:30:00','x'",
        b"1,'caf\xe9','\\0\\n\\r\\t\\Z\xff',NULL,'2024-02-30','0000-00-00 00:00:00','y'",
        rb"7,'NULL','',-0,NULL,NULL,NULL",
        rb"8,'\\N','\\N',3.4028234663852886e38,'2024-00-00',NULL,NULL",
    )
    with loader_for(mysql_matrix_database, archive, way) as loader:
        load(loader, archive, frame)
        found = loader.tally(0)
    assert found.rows == 4
    assert mysql_sql(mysql_matrix_database, "SELECT id, s, hex(b) FROM t ORDER BY id") == [
        (0, "it's \\", None),
        (1, "café", "000A0D091AFF"),
        (7, "NULL", ""),
        (8, "\\N", "5C4E"),
    ]
    zone = "SET time_zone = '+00:00'; "
    shown = "SELECT CAST(d AS char), CAST(ts AS char), f = 1.2345670461654663 FROM t ORDER BY id LIMIT 2"
    assert mysql_sql(mysql_matrix_database, zone + shown) == [
        ("0000-00-00", "2024-10-27 00:30:00", 1),
        ("2024-02-30", "0000-00-00 00:00:00", None),
    ]


def test_the_digest_is_the_archives(mysql_matrix_database: Connection, mysql_sql: Sql, way: str) -> None:
    mysql_sql(mysql_matrix_database, "CREATE TABLE t (id int, v varchar(2000) CHARACTER SET utf8mb4)")
    archive = HandMade()
    rows = [f"{n},'{'x' * (n % 1999)}\\'é'".encode() for n in range(3000)]
    frame = archive.table("t", [("id", "int", "n"), ("v", "varchar", "s")], *rows)
    with loader_for(mysql_matrix_database, archive, way) as loader:
        load(loader, archive, frame)
        found = loader.tally(0)
    assert (found.rows, found.digest) == (3000, archive.tables[0].digest)


def test_json_and_other_text_that_takes_no_bytes(
    mysql_matrix_database: Connection, mysql_sql: Sql, way: str
) -> None:
    mysql_sql(mysql_matrix_database, "CREATE TABLE t (id int, j json, v int)")
    archive = HandMade()
    row = '1,_utf8mb4\'{"a": "é\\\\\\\\\\\\n"}\',5'.encode()
    columns = [("id", "int", "n"), ("j", "json", "j"), ("v", "int", "n")]
    frame = archive.table("t", columns, row, b"2,NULL,6")
    with loader_for(mysql_matrix_database, archive, way) as loader:
        load(loader, archive, frame)
        assert loader.tally(0).digest == archive.tables[0].digest
    assert mysql_sql(mysql_matrix_database, "SELECT id, json_value(j, '$.a'), v FROM t ORDER BY 1") == [
        (1, "é\\\n", 5),
        (2, None, 6),
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            (b"1,'a'", b"2,'b'", b"1,'c'"),
            r"t: the server took 2 rows of 3: .*Duplicate entry|Duplicate entry",
        ),
        ((b"1,'a'", b"2,'much too long'"), r"changed values: Data (too long|truncated)"),
        ((b"1,'a'", b"99999999999,'b'"), r"changed values: Out of range"),
        ((b"1,'a'", b"NULL,'b'"), r"cannot be null|changed values"),
    ],
)
def test_a_row_that_vanished_or_changed_is_an_error(
    mysql_matrix_database: Connection,
    mysql_sql: Sql,
    way: str,
    rows: tuple[bytes, ...],
    message: str,
) -> None:
    mysql_sql(mysql_matrix_database, "CREATE TABLE t (id int PRIMARY KEY, v varchar(5))")
    archive = HandMade()
    frame = archive.table("t", [("id", "int", "n"), ("v", "varchar", "s")], *rows)
    with loader_for(mysql_matrix_database, archive, way) as loader, pytest.raises(DbtoolError, match=message):
        load(loader, archive, frame)
    assert mysql_sql(mysql_matrix_database, "SELECT count(*) FROM t") == [(0,)]


def test_the_empty_value_of_an_enum_needs_the_comparison(
    mysql_matrix_database: Connection, mysql_sql: Sql, way: str
) -> None:
    mysql_sql(mysql_matrix_database, "CREATE TABLE t (e enum('x', 'y'), v varchar(3))")
    archive = HandMade()
    columns = [("e", "enum('x','y')", "s"), ("v", "varchar", "s")]
    frame = archive.table("t", columns, b"'','a'", b"'y','b'")
    longer = archive.table("t", columns, b"'','abcd'")
    with loader_for(mysql_matrix_database, archive, way) as loader:
        load(loader, archive, frame)
        assert loader.tally(0).digest == archive.tables[0].digest
        with pytest.raises(VerificationError, match="changed values"):
            load(loader, archive, longer)
    with (
        loader_for(mysql_matrix_database, archive, way, compares=False) as loader,
        pytest.raises(VerificationError, match="changed values"),
    ):
        load(loader, archive, frame)


def test_values_that_look_the_same_are_told_apart_by_their_numbers(
    mysql_matrix_database: Connection, mysql_sql: Sql, way: str
) -> None:
    mysql_sql(
        mysql_matrix_database,
        "SET sql_mode = ''; CREATE TABLE t (e enum('3', '', 'a', 'A'), s set('', '4', 'b'), id int)",
    )
    archive = HandMade()
    columns = [("e", "enum('3','','a','A')", "n"), ("s", "set('','4','b')", "n"), ("id", "int", "n")]
    values = [(None, None), (0, 0), (1, 1), (2, 4), (3, 5), (4, 7)]
    rows = [
        ",".join("NULL" if value is None else str(value) for value in (*pair, number)).encode()
        for number, pair in enumerate(values)
    ]
    frame = archive.table("t", columns, *rows)
    archive.tables[0].details["select"] = ["CAST(`e` AS UNSIGNED)", "CAST(`s` AS UNSIGNED)", "`id`"]
    with loader_for(mysql_matrix_database, archive, way) as loader:
        load(loader, archive, frame)
        assert loader.tally(0).digest == archive.tables[0].digest
    found = mysql_sql(
        mysql_matrix_database, "SELECT CAST(e AS UNSIGNED), CAST(s AS UNSIGNED) FROM t ORDER BY id"
    )
    assert found == values


def test_a_row_larger_than_a_packet(mysql_matrix_database: Connection, mysql_sql: Sql) -> None:
    mysql_sql(mysql_matrix_database, "CREATE TABLE t (id int PRIMARY KEY, b longblob)")
    mysql_sql(mysql_matrix_database, "SET GLOBAL local_infile = 1, GLOBAL max_allowed_packet = 1048576")
    archive = HandMade()
    rows = [b"1,'x'", b"2,'" + b"y" * 3_000_000 + b"'", b"3,NULL"]
    frame = archive.table("t", [("id", "int", "n"), ("b", "longblob", "s")], *rows)
    try:
        with loader_for(mysql_matrix_database, archive) as loader:
            load(loader, archive, frame)
    finally:
        mysql_sql(
            mysql_matrix_database, "SET GLOBAL local_infile = DEFAULT, GLOBAL max_allowed_packet = DEFAULT"
        )
    assert mysql_sql(mysql_matrix_database, "SELECT id, length(b) FROM t ORDER BY id") == [
        (1, 1),
        (2, 3_000_000),
        (3, None),
    ]


def test_several_tables_one_after_the_other(
    mysql_matrix_database: Connection, mysql_sql: Sql, way: str
) -> None:
    archive = HandMade()
    frames = []
    for name in ("a", "b"):
        mysql_sql(mysql_matrix_database, f"CREATE TABLE {name} (id int AUTO_INCREMENT PRIMARY KEY, v int)")
        rows = [f"{number},{number % 7}".encode() for number in range(5000)]
        frames.append(archive.table(name, [("id", "int", "n"), ("v", "int", "n")], *rows))
    with loader_for(mysql_matrix_database, archive, way) as loader:
        for frame in frames:
            load(loader, archive, frame)
        assert loader._uses_arrays == (way == "arrays")
        make(loader, archive, archive_index(archive, "a"))
        for number in range(2):
            assert loader.tally(number).digest == archive.tables[number].digest
        # The table has another definition now.
        mysql_sql(mysql_matrix_database, "DELETE FROM a")
        load(loader, archive, frames[0])
        assert loader.tally(0).digest == archive.tables[0].digest


def archive_index(archive: HandMade, table: str) -> tuple[int, Any]:
    return archive.object("INDEX", table, f"ALTER TABLE {table} ADD KEY (v);\n")


def test_local_infile_switched_off_meanwhile(mysql_matrix_database: Connection, mysql_sql: Sql) -> None:
    mysql_sql(mysql_matrix_database, "CREATE TABLE t (id int PRIMARY KEY)")
    mysql_sql(mysql_matrix_database, "SET GLOBAL local_infile = 1")
    archive = HandMade()
    first = archive.table("t", [("id", "int", "n")], b"1", b"2")
    second = archive.table("t", [("id", "int", "n")], b"3")
    with loader_for(mysql_matrix_database, archive, "LOAD DATA") as loader:
        load(loader, archive, first)
        mysql_sql(mysql_matrix_database, "SET GLOBAL local_infile = 0")
        load(loader, archive, second)
    mysql_sql(mysql_matrix_database, "SET GLOBAL local_infile = DEFAULT")
    assert mysql_sql(mysql_matrix_database, "SELECT count(*) FROM t") == [(3,)]


def test_text_that_is_no_rows_is_refused(mysql_matrix_database: Connection, mysql_sql: Sql) -> None:
    mysql_sql(mysql_matrix_database, "SET GLOBAL local_infile = 1")
    mysql_sql(mysql_matrix_database, "CREATE TABLE t (id int PRIMARY KEY)")
    archive = HandMade()
    frame = archive.table("t", [("id", "int", "n")], b"1")
    archive.texts[frame] = archive.texts[frame].replace(b"(1)", b"(1), DROP")
    with (
        loader_for(mysql_matrix_database, archive) as loader,
        pytest.raises(VerificationError, match="not in its grammar"),
    ):
        load(loader, archive, frame)
    mysql_sql(mysql_matrix_database, "SET GLOBAL local_infile = DEFAULT")
    assert mysql_sql(mysql_matrix_database, "SELECT count(*) FROM t") == [(0,)]


# Objects


def test_an_error_names_the_object_and_the_statement(mysql_matrix_database: Connection) -> None:
    archive = HandMade()
    placed = archive.object("VIEW", "v", "CREATE VIEW v AS\n SELECT nothing FROM nowhere;\n")
    with loader_for(mysql_matrix_database, archive) as loader, pytest.raises(SqlError) as caught:
        make(loader, archive, placed)
    assert caught.value.message.startswith("VIEW v could not be made: Table ")
    assert "the statement: CREATE VIEW v AS SELECT nothing FROM nowhere" in str(caught.value.hint)


def test_a_table_of_another_engine_or_type_is_an_error(
    mysql_matrix_database: Connection, mysql_sql: Sql
) -> None:
    archive = HandMade()
    engine = archive.object("TABLE", "t", "CREATE TABLE t (id int) ENGINE=Nonsense;\n")
    wide = archive.object("TABLE", "w", "CREATE TABLE w (v varchar(70000) CHARACTER SET latin1);\n")
    with loader_for(mysql_matrix_database, archive) as loader:
        with pytest.raises(SqlError, match="TABLE t could not be made: Unknown storage engine"):
            make(loader, archive, engine)
        with pytest.raises(
            SqlError, match="TABLE w would not be what it was: a column was given another type"
        ):
            make(loader, archive, wide)


def test_definers_are_kept_or_left_out(mysql_matrix_database: Connection, mysql_sql: Sql) -> None:
    archive = HandMade()
    placed = archive.object("PROCEDURE", "p", "CREATE DEFINER=`ghost`@`nowhere` PROCEDURE p() SELECT 1;\n")
    definer = "SELECT definer FROM information_schema.routines WHERE routine_schema = %s"
    missing = MissingDefiners()
    with loader_for(mysql_matrix_database, archive, missing_definers=missing) as loader:
        make(loader, archive, placed)
    assert mysql_sql(mysql_matrix_database, definer, (mysql_matrix_database.database,)) == [
        ("ghost@nowhere",)
    ]
    assert ["ghost" in note and "PROCEDURE p" in note for note in missing.notes()] == [True]
    mysql_sql(mysql_matrix_database, "DROP PROCEDURE p")
    missing = MissingDefiners()
    with loader_for(
        mysql_matrix_database, archive, definers=Definers(are_kept=False), missing_definers=missing
    ) as loader:
        make(loader, archive, placed)
    ((found,),) = mysql_sql(mysql_matrix_database, definer, (mysql_matrix_database.database,))
    assert found.startswith("root@")
    assert missing.notes() == []


def test_events_do_not_run_beside_the_final_database(
    mysql_matrix_database: Connection, mysql_sql: Sql
) -> None:
    archive = HandMade()
    event = "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DISABLE DO SET @x = 1;\n"
    event += "ALTER EVENT e ENABLE;\n"
    placed = archive.object("EVENT", "e", event)
    status = "SELECT status FROM information_schema.events WHERE event_schema = %s"
    remembered: Remembered = []
    with loader_for(mysql_matrix_database, archive, remembered=remembered) as loader:
        make(loader, archive, placed)
    assert mysql_sql(mysql_matrix_database, status, (mysql_matrix_database.database,)) == [("DISABLED",)]
    ((item, statements),) = remembered
    assert item.name == "e"
    assert statements[-1] == "ALTER EVENT e ENABLE"
    mysql_sql(mysql_matrix_database, "DROP EVENT e")
    with loader_for(mysql_matrix_database, archive, is_final=True) as loader:
        make(loader, archive, placed)
    assert mysql_sql(mysql_matrix_database, status, (mysql_matrix_database.database,)) == [("ENABLED",)]


def test_settings_of_one_object_do_not_reach_the_next(
    mysql_matrix_database: Connection, mysql_sql: Sql
) -> None:
    archive = HandMade()
    first = archive.object(
        "VIEW",
        "a",
        "SET SESSION sql_mode = 'ANSI_QUOTES';\nCREATE VIEW a AS SELECT \"c\" FROM (SELECT 1 AS c) AS x;\n",
    )
    second = archive.object("VIEW", "b", 'CREATE VIEW b AS SELECT "text" AS c;\n')
    with loader_for(mysql_matrix_database, archive) as loader:
        loader.run(Task(0, "objects", objects=(first, second)), archive.texts, 0)
    assert mysql_sql(mysql_matrix_database, "SELECT * FROM b") == [("text",)]


def test_stopping_ends_a_statement_at_the_server(mysql_matrix_database: Connection, mysql_sql: Sql) -> None:
    archive = HandMade()
    placed = archive.object("FUNCTION", "f", "DO SLEEP(60);\n")
    caught: list[BaseException] = []

    def work(loader: MysqlLoader) -> None:
        try:
            make(loader, archive, placed)
        except BaseException as error:
            caught.append(error)

    running = "SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'DO SLEEP%'"
    with loader_for(mysql_matrix_database, archive) as loader:
        thread = threading.Thread(target=work, args=(loader,))
        thread.start()
        while mysql_sql(mysql_matrix_database, running) == [(0,)]:
            time.sleep(0.05)
        loader.stop()
        thread.join(10)
        assert not thread.is_alive()
    assert isinstance(caught[0], InterruptedByUserError)
    deadline = time.monotonic() + 10
    while mysql_sql(mysql_matrix_database, running) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_names_that_look_like_the_end_of_a_statement(
    mysql_matrix_database: Connection, mysql_sql: Sql, way: str
) -> None:
    mysql_sql(mysql_matrix_database, "CREATE TABLE `a;\nb` (`c;\nd` int PRIMARY KEY, s text)")
    archive = HandMade()
    columns = [("c;\nd", "int", "n"), ("s", "text", "s")]
    frame = archive.table("a;\nb", columns, b"1,'x;'", b"2,NULL")
    with loader_for(mysql_matrix_database, archive, way) as loader:
        load(loader, archive, frame)
        found = loader.tally(0)
    assert (found.rows, found.digest) == (2, archive.tables[0].digest)
