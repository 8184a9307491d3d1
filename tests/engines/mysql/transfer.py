"""Reading and loading rows in bulk, as the tests do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dbtool.engines.mysql.bulk import RowReader, execute_raw, load_local
from dbtool.rows import insert_to_load, text_of

Open = Callable[..., Any]

MASK = (1 << 64) - 1
FRAME = 1 << 20
PREFIX = b"INSERT INTO `copy` (`a`) VALUES\n"
ROW_SETTINGS = b"SET NAMES binary, time_zone = '+00:00', sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
LOAD = (
    "LOAD DATA LOCAL INFILE {file} INTO TABLE `{table}` CHARACTER SET binary FIELDS TERMINATED BY '\\t' "
    "ENCLOSED BY '' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' STARTING BY ''"
)
ORDERS = (
    "SELECT seq, seq / 7, IF(seq % 3, NULL, CONCAT('it''s \\\\ ', seq)), REPEAT(CHAR(9, 10, 0, 26, 13), seq % 7), "
    "UNHEX(SHA2(seq, 512)) FROM seq_1_to_{count}"
)


def read_all(
    reader: RowReader,
    query: str | bytes,
    kinds: str,
    key: tuple[int, ...] = (),
    target: int = FRAME,
    **options: Any,
) -> tuple[list[bytes], int, int, int]:
    """(texts, rows, digest, key digest) of a query."""
    reader.begin(query, kinds.encode(), key, options.pop("buckets", None), PREFIX, **options)
    texts = []
    count = digest = key_digest = 0
    more = True
    while more:
        reader.stream.reset()
        more = reader.read(target)
        reader.stream.finish_text()
        with text_of(reader.stream) as text:
            texts.append(bytes(text))
        count += reader.stream.rows
        digest = (digest + reader.stream.digest) & MASK
        key_digest = (key_digest + reader.stream.key_digest) & MASK
    return texts, count, digest, key_digest


def load(
    session: Any, table: str, inserts: bytes, piece_bytes: int = 65536, file: str = "'dbtool'"
) -> tuple[int, int]:
    """Load the rows of statements; (affected rows, warnings)."""

    def pieces() -> Iterator[bytes]:
        position = 0
        while position < len(inserts):
            piece, position, _ = insert_to_load(inserts, position, piece_bytes)
            yield piece

    execute_raw(session, ROW_SETTINGS)
    return load_local(session, LOAD.format(file=file, table=table), pieces())


def scratch_table(session: Any, columns: str, options: str = "ENGINE=InnoDB") -> None:
    """An empty table `copy`, in a database that the session then is in."""
    session.query("CREATE DATABASE IF NOT EXISTS bulk")
    session.select_db("bulk")
    session.query("DROP TABLE IF EXISTS copy")
    session.query(f"CREATE TABLE copy ({columns}) {options}")


def row_count(session: Any, table: str = "copy") -> int:
    """How many rows a table has."""
    with session.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM `{table}`")
        return int(cursor.fetchone()[0])
