"""The same tests for the C part and for its pure-Python twin."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.conftest import connect
from tests.tls import tls_server

from dbtool import rows
from dbtool.model.connection import Connection
from dbtool.rows import pure, pure_keys
from dbtool.servers.postgres import PostgresServer


def _native() -> Any:
    try:
        return importlib.import_module("dbtool.rows._rows")
    except ImportError:
        return None


@pytest.fixture(params=["native", "pure"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One of the two, in use everywhere for this test."""
    module = pure if request.param == "pure" else _native()
    if module is None:
        pytest.skip("the C part was not built here")
    monkeypatch.setattr(rows, "_implementation", module)
    monkeypatch.setattr(rows, "is_native", module is not pure)
    monkeypatch.setattr(rows, "KeySet", pure_keys.KeySet if module is pure else module.KeySet)
    return module


@pytest.fixture(scope="session")
def encrypted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A server that speaks TLS."""
    with tls_server(tmp_path_factory.mktemp("tls")) as (server, _):
        yield server


Open = Callable[[], Any]


@pytest.fixture(params=["tcp", "socket", "tls"])
def open_link(
    request: pytest.FixtureRequest, postgres_server: PostgresServer, implementation: Any
) -> Iterator[Open]:
    """`open_link()` opens a psycopg connection in autocommit mode, over each kind of transport in turn."""
    opened = []

    def link() -> Any:
        opened.append(connect(connection, sslmode=connection.tls_mode))
        return opened[-1]

    connection: Connection
    if request.param == "tls":
        server: PostgresServer = request.getfixturevalue("encrypted_server")
        connection = replace(server.connection(), tls_mode="require")
    else:
        through_socket = request.param == "socket"
        connection = postgres_server.connection(through_socket=through_socket)
        connection = replace(connection, tls_mode="disable")
    yield link
    for session in opened:
        session.close()
