"""doctor finds what is missing, and the statement it gives mends it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbtool.errors import ExitCode
from dbtool.model.check import Check, State
from dbtool.model.connection import Connection
from dbtool.operations import doctor
from dbtool.servers.postgres import PostgresServer, find_server_bin
from dbtool.storage.local import LocalStore

ROLE = 'the "backup" o\'x'
QUOTED = '"the ""backup"" o\'x"'


def by_name(checks: list[Check]) -> dict[str, Check]:
    found = {check.name: check for check in checks}
    assert len(found) == len(checks)
    return found


def problems(checks: list[Check]) -> list[str]:
    return [check.name for check in checks if check.state is State.PROBLEM]


@pytest.fixture
def account(matrix_database: Connection, sql: Any) -> Iterator[Connection]:
    """An account that may do nothing yet, in a database with something to read."""
    sql(
        matrix_database,
        f"""
        CREATE ROLE {QUOTED} LOGIN;
        CREATE TABLE "a b" (x int); CREATE TABLE secret (x int); CREATE TABLE "rows" (x int);
        ALTER TABLE "rows" ENABLE ROW LEVEL SECURITY;
        CREATE SEQUENCE numbers; CREATE SCHEMA "S s"; CREATE TABLE "S s".t (x int);
        SELECT lo_create(4711)""",
    )
    yield replace(matrix_database, user=ROLE)
    sql(matrix_database, f"DROP OWNED BY {QUOTED}")
    sql(matrix_database, f"DROP ROLE {QUOTED}")


def test_every_problem_is_mended_by_what_is_said(
    account: Connection, matrix_server: PostgresServer, sql: Any, tmp_path: Path
) -> None:
    directories = [str(matrix_server.bin_directory)]
    administrator = replace(account, user="postgres")
    checks = doctor.run(account, str(tmp_path), directories)
    assert problems(checks) == [
        "logical backup: tables",
        "logical backup: sequences",
        "logical backup: row security",
        "logical backup: large objects",
    ]
    assert doctor.exit_code(checks) == ExitCode.FAILED
    assert by_name(checks)["roles and tablespaces"].state is State.NOTE
    assert '"S s".t' in by_name(checks)["logical backup: tables"].message
    for _ in range(3):  # row security is seen once a table can be read
        for check in checks:
            if check.name.startswith(("logical backup", "physical backup: rights")) and check.mend:
                sql(administrator, check.mend)
        checks = doctor.run(account, str(tmp_path), directories)
    assert problems(checks) == []
    assert doctor.exit_code(checks) == ExitCode.DONE
    assert by_name(checks)["physical backup: rights"].state is State.OK
    assert by_name(checks)["physical backup: connection"].state is State.OK
    sql(administrator, f"ALTER ROLE {QUOTED} NOREPLICATION NOBYPASSRLS")


def test_what_it_says_is_right_because_pg_dump_then_works(
    account: Connection, matrix_server: PostgresServer, sql: Any
) -> None:
    import subprocess

    def dump() -> int:
        command = [
            str(matrix_server.bin_directory / "pg_dump"),
            "-h",
            "127.0.0.1",
            "-p",
            str(account.port),
            "-w",
        ]
        done = subprocess.run([*command, "-U", ROLE, account.database], capture_output=True)
        return done.returncode

    assert dump() != 0
    for _ in range(3):
        for check in doctor.run(account, None, [str(matrix_server.bin_directory)]):
            if check.name.startswith("logical backup") and check.mend:
                sql(replace(account, user="postgres"), check.mend)
    assert dump() == 0


def test_a_superuser_has_no_problem_and_too_many_rights(
    matrix_database: Connection, matrix_server: PostgresServer, tmp_path: Path
) -> None:
    checks = doctor.run(matrix_database, str(tmp_path / "new folder"), [str(matrix_server.bin_directory)])
    found = by_name(checks)
    assert problems(checks) == []
    assert found["excess privileges"].state is State.NOTE
    assert found["repository"].message.endswith("new folder will be made")
    assert not (tmp_path / "new folder").exists()
    assert "the database has" in found["free space"].message
    assert not any("could not be looked at" in check.message for check in checks)
    json.dumps(doctor.as_json(checks))


def test_dangers_in_the_database_are_named(database: Connection, sql: Any) -> None:
    sql(
        database,
        "CREATE TABLE t (x int, y int); INSERT INTO t VALUES (1, 1), (1, 2);"
        " ALTER TABLE t ADD CONSTRAINT positive CHECK (x > 5) NOT VALID",
    )
    with pytest.raises(Exception, match="could not create unique index"):
        sql(database, "CREATE UNIQUE INDEX CONCURRENTLY broken ON t (x)")
    sql(database, f"ALTER DATABASE {database.database} SET statement_timeout = '5min'")
    sql(database, f"ALTER DATABASE {database.database} SET default_transaction_isolation = 'serializable'")
    found = by_name(doctor.run(database))
    assert found["invalid indexes"].state is State.WARNING
    assert found["invalid indexes"].mend == "REINDEX INDEX public.broken;"
    assert "positive on public.t" in found["constraints not validated"].message
    assert found["time limits"].state is State.NOTE
    assert "serializable" in found["transaction defaults"].message


def test_extensions_tables_are_not_asked_for(database: Connection, sql: Any) -> None:
    sql(database, "CREATE ROLE visitor LOGIN; CREATE EXTENSION pg_stat_statements")
    try:
        found = by_name(doctor.run(replace(database, user="visitor")))
        assert found["logical backup: tables"].state is State.OK
    finally:
        sql(database, "DROP ROLE visitor")


def test_settings_that_stand_in_the_way() -> None:
    settings = {
        "wal_level": "minimal",
        "max_wal_senders": "0",
        "max_locks_per_transaction": "10",
        "max_connections": "5",
    }
    settings["superuser_reserved_connections"] = "0"
    with PostgresServer.start(settings=settings) as server:
        import psycopg

        tables = "".join(f"CREATE TABLE t{number} (x int);" for number in range(20))
        with psycopg.connect(f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres") as session:
            session.execute(tables.encode())
        found = by_name(doctor.run(server.connection()))
        assert found["write-ahead log"].state is State.WARNING
        assert found["lock table"].state is State.WARNING
        assert "max_locks_per_transaction = " in str(found["lock table"].mend)
        assert found["physical backup: connection"].state is State.WARNING


def test_without_a_server_the_rest_is_still_looked_at(tmp_path: Path) -> None:
    checks = doctor.run(Connection("postgres", "d", "127.0.0.1", 1), str(tmp_path))
    found = by_name(checks)
    assert found["connection"].state is State.PROBLEM
    assert found["connection"].message == "nothing listens at 127.0.0.1:1"
    assert "client pg_dump" in found
    assert found["repository"].state is State.OK
    assert doctor.exit_code(checks) == ExitCode.FAILED


def test_missing_programs_are_problems(
    database: Connection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from dbtool.engines.postgres import tools

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools, "_FOLDERS", ())
    checks = doctor.run(database)
    assert problems(checks) == ["client pg_dump", "client pg_dumpall", "client pg_restore"]
    assert "apt-get install postgresql-client-" in str(by_name(checks)["client pg_dump"].mend)
    assert problems(doctor.run(database, None, [str(find_server_bin())])) == []


def test_repositories_that_do_not_work(tmp_path: Path) -> None:
    nowhere = Connection("postgres", "d", "127.0.0.1", 1)
    (tmp_path / "file").write_text("")
    assert by_name(doctor.run(nowhere, str(tmp_path / "file" / "x")))["repository"].state is State.PROBLEM
    assert by_name(doctor.run(nowhere, "s3://bucket"))["repository"].state is State.NOTE
    assert by_name(doctor.run(nowhere))["repository"].state is State.NOTE
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        assert by_name(doctor.run(nowhere, str(tmp_path / "closed")))["repository"].state is State.PROBLEM


def test_files_of_killed_uploads_are_counted_and_can_be_removed_as_it_says(tmp_path: Path) -> None:
    nowhere = Connection("postgres", "d", "127.0.0.1", 1)
    repository = tmp_path / "it's here"
    store = LocalStore(repository)
    uploads = [store.put(f"{folder}/data") for folder in ("a", "b", "b")]
    for upload in uploads:
        upload.write(b"x" * (2 << 20))
    temporary = sorted(repository.rglob(".dbtool-tmp-*"))
    assert "unfinished files" not in by_name(doctor.run(nowhere, str(repository)))
    an_hour_ago = time.time() - 3700
    for path in temporary[:2]:
        os.utime(path, (an_hour_ago, an_hour_ago))
    check = by_name(doctor.run(nowhere, str(repository)))["unfinished files"]
    assert (check.state, check.message) == (State.NOTE, "2 of processes that were killed, 4 MiB")
    subprocess.run(["/bin/sh", "-c", str(check.mend)], check=True)
    assert sorted(repository.rglob(".dbtool-tmp-*")) == temporary[2:]
    assert "unfinished files" not in by_name(doctor.run(nowhere, str(repository)))
