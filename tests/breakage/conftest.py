"""Fixtures of the breakage tests: a database with enough in it to be caught in the middle."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.fidelity.building import create_database, drop_database
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import connection_string

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

CONTENT = """
CREATE TABLE big (id integer PRIMARY KEY, t text);
INSERT INTO big SELECT i, md5(i::text) || md5((-i)::text) FROM generate_series(1, 150000) i;
CREATE TABLE small (id integer PRIMARY KEY, n integer);
INSERT INTO small SELECT i, 100 FROM generate_series(1, 1000) i;
CREATE TABLE other (id integer REFERENCES small, n integer);
INSERT INTO other SELECT i, 100 FROM generate_series(1, 1000) i;
CREATE TABLE parted (id integer, t text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (500);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (500) TO (1000);
INSERT INTO parted SELECT i, i FROM generate_series(0, 999) i;
CREATE INDEX ON big (t);
SELECT lo_from_bytea(1234, decode(repeat('00ff', 500000), 'hex'));
"""

NewName = Callable[[], Connection]
_numbers = itertools.count(1)


@pytest.fixture
def dbtool(tmp_path: Path, postgres_server: PostgresServer) -> Dbtool:
    """dbtool with a repository of this test's own."""
    return Dbtool(tmp_path / "repository", postgres_server.bin_directory)


@pytest.fixture
def new_name(postgres_server: PostgresServer) -> Iterator[NewName]:
    """`new_name()` gives the connection of a database that is yet to be made; it is dropped afterwards."""
    given: list[Connection] = []

    def name() -> Connection:
        given.append(postgres_server.connection(f"broken_{os.getpid()}_{next(_numbers)}"))
        return given[-1]

    yield name
    for connection in given:
        drop_database(connection)


@pytest.fixture
def source(postgres_server: PostgresServer, new_name: NewName) -> Connection:
    """A database of some twenty megabytes, that the test may change."""
    connection = new_name()
    fill(connection)
    return connection


def fill(connection: Connection) -> None:
    """Make the database with its content."""
    create_database(connection, connection.database)
    with session(connection) as link:
        link.execute(CONTENT)


def session(connection: Connection) -> psycopg.Connection[Any]:
    """A session of a user's, in autocommit mode. It does not wait for ever."""
    link = psycopg.connect(connection_string(connection), autocommit=True)
    link.execute("SET lock_timeout = '60s'")
    return link


@contextlib.contextmanager
def paused(dbtool: Dbtool, arguments: list[str], point: str) -> Iterator[subprocess.Popen[bytes]]:
    """dbtool, stopped at a failpoint; it goes on when the block ends. `outcome` waits for its end."""
    flag = dbtool.repository.parent / f"pause_{next(_numbers)}"
    process = dbtool.start(arguments, DBTOOL_FAILPOINT=f"{point}:pause={flag}")
    try:
        wait_until(lambda: flag.exists() or process.poll() is not None)
        assert flag.exists(), f"{point} was not reached: {process.communicate()[1].decode()}"
        yield process
        flag.unlink(missing_ok=True)
    except BaseException:
        kill(process)
        raise


def outcome(process: subprocess.Popen[bytes], timeout_seconds: float = 120) -> tuple[int, str]:
    """(exit code, stderr) of a process that was started."""
    try:
        _, err = process.communicate(timeout=timeout_seconds)
    except subprocess.TimeoutExpired:
        kill(process)
        raise
    text = err.decode(errors="replace")
    assert "Traceback" not in text, text
    return process.returncode, text


def kill(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL, to this process only: what it started must find out by itself."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.communicate()


def wait_until(condition: Callable[[], bool], timeout_seconds: float = 60) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def completed(dbtool: Dbtool) -> list[str]:
    """Ids of the backups that call themselves completed."""
    return [backup["id"] for backup in dbtool.listed() if backup["status"] == "completed"]
