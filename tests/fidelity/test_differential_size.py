"""Differentials of many tables and of large ones: keys compared in parts, time, memory."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import MakeDatabase, Sql
from tests.fidelity.conftest import NewName
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import difference, take_picture

from dbtool.engines.postgres import changes
from dbtool.engines.postgres.engine import PostgresEngine
from dbtool.model.connection import Connection
from dbtool.operations.backup import BackupOptions, logical_backup
from dbtool.operations.differential import DifferentialOptions, differential_backup
from dbtool.operations.differential_policy import DifferentialPolicy
from dbtool.progress import Silent
from dbtool.servers.postgres import PostgresServer
from dbtool.storage.local import LocalStore

DIFFERENTIAL = ("differential", "backup", "-max-differential-ratio", "1000")
ANY_SIZE = DifferentialOptions(policy=DifferentialPolicy(max_differential_ratio=1000))


@pytest.mark.parametrize("keys_at_once", [7, 1000, 12_000_000])
@pytest.mark.parametrize("small", [0, 1 << 30])
def test_keys_compared_in_parts(
    keys_at_once: int,
    small: int,
    fidelity_server: PostgresServer,
    make_database: MakeDatabase,
    new_name: NewName,
    dbtool: Dbtool,
    sql: Sql,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = make_database(fidelity_server)
    sql(
        source,
        "CREATE TABLE a (id int, b text, PRIMARY KEY (b, id)); CREATE TABLE c (id bytea PRIMARY KEY, n int)",
    )
    sql(source, "INSERT INTO a SELECT n, E'\\\\' || n || E'\\t' FROM generate_series(1, 6000) AS n")
    sql(source, "INSERT INTO c SELECT decode(md5(n::text), 'hex'), n FROM generate_series(1, 6000) AS n")
    store, progress = LocalStore(dbtool.repository), Silent()
    logical_backup(PostgresEngine(), source, store, BackupOptions(), progress)
    sql(source, "DELETE FROM a WHERE id % 40 = 0; UPDATE a SET b = b || 'x' WHERE id % 40 = 1")
    sql(source, "UPDATE c SET n = -n WHERE n % 40 = 2; INSERT INTO c VALUES ('', 0)")
    monkeypatch.setattr(changes, "_KEYS_AT_ONCE", keys_at_once)
    monkeypatch.setattr(changes, "_SMALL_TABLE_BYTES", small)
    made = differential_backup(PostgresEngine(), source, store, ANY_SIZE, progress)
    found = {one.name: one.details["differential"] for one in made.tables}
    assert {name: (one["taken"], one["removed"]) for name, one in found.items()} == {
        "a": ("rows", 300),
        "c": ("rows", 150),
    }
    copy = new_name()
    dbtool.restore(made.id, copy)
    programs = fidelity_server.bin_directory
    assert difference(take_picture(source, programs), take_picture(copy, programs)) == []


@pytest.mark.slow
def test_many_tables(
    postgres_server: PostgresServer, make_database: MakeDatabase, sql: Sql, tmp_path: Path
) -> None:
    source = make_database(postgres_server)
    for start in range(0, 2000, 200):
        made = ";".join(
            f"CREATE TABLE t{n} (id int PRIMARY KEY, b text); INSERT INTO t{n} SELECT n, 'x' FROM generate_series(1, 20) n"
            for n in range(start, start + 200)
        )
        sql(source, made)
    dbtool = Dbtool(tmp_path / "repository", postgres_server.bin_directory)
    full_seconds, _ = timed(dbtool, source, "full", "database")
    seconds, differential = timed(dbtool, source, *DIFFERENTIAL)
    assert differential["type"] == "differential"
    sql(source, "UPDATE t7 SET b = 'y' WHERE id = 3; DELETE FROM t9 WHERE id = 4")
    _, differential = timed(dbtool, source, *DIFFERENTIAL)
    taken = [one["details"]["differential"]["taken"] for one in differential["tables"]]
    assert (taken.count("rows"), taken.count("unchanged")) == (2, 1998)
    print(f"\nfull {full_seconds:.1f} s, differential {seconds:.1f} s")
    assert seconds < full_seconds * 1.2


def timed(dbtool: Dbtool, source: Connection, *action: str) -> tuple[float, dict[str, Any]]:
    began = time.monotonic()
    made = dbtool.backup(source, *action)
    return time.monotonic() - began, made


@pytest.mark.slow
def test_memory(
    postgres_server: PostgresServer, make_database: MakeDatabase, sql: Sql, tmp_path: Path
) -> None:
    source = make_database(postgres_server)
    sql(source, "CREATE TABLE big (id bigint PRIMARY KEY, b text)")
    sql(source, "INSERT INTO big SELECT n, md5(n::text) FROM generate_series(1, 3000000) AS n")
    dbtool = Dbtool(tmp_path / "repository", postgres_server.bin_directory)
    dbtool.backup(source)
    sql(source, "UPDATE big SET b = 'x' WHERE id % 100 = 0")
    sql(source, "DELETE FROM big WHERE id % 1000 = 1")
    process = dbtool.start(dbtool.backup_arguments(source, "differential", "backup"))
    highest = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                highest = max(highest, int(line.split()[1]) // 1024)
        time.sleep(0.02)
    out, err = process.communicate()
    made = json.loads(out)
    assert made["tables"][0]["details"]["differential"]["removed"] == 33000, err
    print(f"\n{highest} MB")
    assert 0 < highest < 400
