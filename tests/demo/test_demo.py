"""The demo: it tells its story to the end, and its picture of a database sees what changed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from demo.picture import take_picture  # noqa: E402

Sql = Callable[..., "list[tuple[Any, ...]]"]

CHANGES = {
    "a row": "UPDATE t SET v = 'other' WHERE id = 1",
    "a NULL": "UPDATE t SET v = NULL WHERE id = 1",
    "a row twice": "INSERT INTO t SELECT * FROM t WHERE id = 2",
    "a sequence": "SELECT nextval('t_id_seq')",
    "an index": "CREATE INDEX ON t (v)",
    "a privilege": "GRANT SELECT ON t TO public",
    "a large object": "SELECT lo_from_bytea(0, 'x')",
    "a setting": "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END$$",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_picture_sees_a_change(
    postgres_server: PostgresServer, database: Connection, sql: Sql, change: str
) -> None:
    sql(
        database,
        "CREATE TABLE t (id serial, v text); INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 9)",
    )
    before = take_picture(postgres_server, database.database)
    assert before.differences(take_picture(postgres_server, database.database)) == []
    sql(database, CHANGES[change])
    assert before.differences(take_picture(postgres_server, database.database)) != []


@pytest.mark.slow
def test_the_demo_succeeds() -> None:
    done = subprocess.run([sys.executable, "-m", "demo"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "the same to the last bit" in done.stdout
