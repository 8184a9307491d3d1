"""Definitions whose bytes are no UTF-8: made by clients of other character sets, or of bytes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import MakeDatabase, Sql, back_ticked
from tests.engines.mysql.test_dump import pipe_into
from tests.fidelity.mysql_picture import difference, take_picture
from tests.mysql_logical import backup, bring_back

from dbtool.model.connection import Connection
from dbtool.servers.mysql import MysqlServer

LATIN1 = (
    "SET NAMES latin1",
    "CREATE FUNCTION f_é() RETURNS varchar(20) CHARACTER SET latin1 DETERMINISTIC COMMENT 'café ÿ' RETURN 'café ÿ€'",
    "CREATE FUNCTION g() RETURNS int DETERMINISTIC RETURN (SELECT COUNT(*) FROM té WHERE sü = 'COMMENT é')",
    "CREATE PROCEDURE `p``ü`(`ä` int) COMMENT 'it''s ü' BEGIN SELECT 'é' AS `ä`; END",
    "CREATE PROCEDURE q() MODIFIES SQL DATA CREATE TEMPORARY TABLE passing (id int COMMENT 'Ã©') COMMENT 'Ã©'",
    "CREATE TABLE té (id int COMMENT 'é', sü varchar(20) DEFAULT 'é', e enum('é','ü') DEFAULT 'ü', "
    "g varchar(30) AS (CONCAT(sü, 'é')) VIRTUAL, CONSTRAINT cé CHECK (sü <> 'ä')) DEFAULT CHARSET latin1 COMMENT 'äö'",
    "INSERT INTO té (id, sü, e) VALUES (1, 'é', 'é'), (2, 'ÿ€', 'ü')",
    "CREATE VIEW vé AS SELECT 'café' AS cé, sü FROM té WHERE sü <> 'ä'",
    "CREATE TRIGGER tré BEFORE UPDATE ON té FOR EACH ROW SET NEW.sü = 'café'",
    "CREATE EVENT evé ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' ENABLE COMMENT 'é' "
    "DO INSERT INTO té (id, sü) VALUES (9, 'é')",
)
BYTES = (
    b"SET NAMES binary",
    b"CREATE FUNCTION fb() RETURNS varbinary(20) DETERMINISTIC RETURN 'a\xff\xfe\\\\'",
    b"CREATE TABLE tb (id int, b varbinary(5) DEFAULT '\xff\x00', c binary(2) DEFAULT '\x80x', PRIMARY KEY (id))",
    b"INSERT INTO tb (id) VALUES (1)",
    b"CREATE TABLE tp (k varbinary(4) NOT NULL) PARTITION BY LIST COLUMNS (k) "
    b"(PARTITION a VALUES IN ('\xff'), PARTITION b VALUES IN ('\xfe', 'x'))",
    b"INSERT INTO tp VALUES ('\xff'), ('x')",
    b"CREATE VIEW vb AS SELECT 'a\xff' AS x",
    b"CREATE TRIGGER trb BEFORE INSERT ON tb FOR EACH ROW SET NEW.b = '\xff\xfe'",
    b"CREATE PROCEDURE pb() BEGIN SELECT '\xff\xfe'; END",
    # Letters with a byte that is a backslash in ASCII.
    b"SET NAMES gbk",
    b"CREATE FUNCTION fg() RETURNS varchar(20) CHARACTER SET gbk DETERMINISTIC COMMENT '\xd5\x5c' RETURN '\xd5\x5c'",
    b"SET NAMES sjis",
    b"CREATE PROCEDURE ps() BEGIN SELECT '\x95\x5c', ';'; END",
)
ASKED = (
    ("SELECT HEX(f_é()), g()", "SELECT HEX(cé), HEX(sü) FROM vé"),
    (
        "SELECT HEX(fb()), HEX(fg())",
        "SELECT HEX(x) FROM vb",
    ),
)


@pytest.mark.parametrize("way", ["dbtool", "client"])
@pytest.mark.parametrize("group", ["latin1", "bytes"])
def test_bytes_of_definitions_come_back(
    mysql_matrix_server: MysqlServer,
    make_mysql_database: MakeDatabase,
    mysql_sql: Sql,
    tmp_path: Path,
    group: str,
    way: str,
) -> None:
    is_latin1 = group == "latin1"
    source = make_mysql_database(mysql_matrix_server, options="CHARACTER SET latin1" if is_latin1 else "")
    texts = [text.encode("cp1252") for text in LATIN1] if is_latin1 else list(BYTES)
    mysql_sql(source, ["SET sql_mode = ''", *texts])
    before = take_picture(source)
    metadata = backup(source, tmp_path)
    assert metadata.warnings == ()
    target = arrive(mysql_matrix_server, make_mysql_database, source, tmp_path, way)
    try:
        assert difference(take_picture(target), before) == []
        for query in ASKED[0 if is_latin1 else 1]:
            assert mysql_sql(target, query) == mysql_sql(source, query)
    finally:
        mysql_sql(target.with_database(""), f"DROP DATABASE IF EXISTS {back_ticked(target.database)}")


def arrive(
    server: MysqlServer, make: MakeDatabase, source: Connection, repository: Path, way: str
) -> Connection:
    """The database that the backup became."""
    if way == "dbtool":
        target = source.with_database(f"{source.database}_again")
        bring_back(repository, target)
        return target
    target = make(server)
    (main_file,) = repository.glob("*/*.sql.zst")
    pipe_into(server, target.database, main_file)
    return target
