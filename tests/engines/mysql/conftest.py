"""Connections over each kind of transport, for the tests of bulk transfer."""

from __future__ import annotations

import contextlib
import importlib
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pymysql
import pytest
from tests.conftest import start_mysql
from tests.engines.mysql.transfer import Open
from tests.tls import self_signed

from dbtool import rows
from dbtool.engines.mysql.connect import connect
from dbtool.rows import pure
from dbtool.servers.mysql import MysqlServer


@pytest.fixture(params=["native", "pure"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The C part or its twin, in use everywhere for this test."""
    module: Any = pure
    if request.param == "native":
        try:
            module = importlib.import_module("dbtool.rows._rows")
        except ImportError:
            pytest.skip("the C part was not built here")
    monkeypatch.setattr(rows, "_implementation", module)
    monkeypatch.setattr(rows, "is_native", module is not pure)
    return module


@pytest.fixture(scope="module")
def encrypted_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MysqlServer]:
    """A server that speaks TLS."""
    files = self_signed(tmp_path_factory.mktemp("tls"))
    with start_mysql("mariadb", tls=files) as server:
        yield server


@pytest.fixture
def opened() -> Iterator[list[Any]]:
    """Sessions that are closed after the test."""
    sessions: list[Any] = []
    yield sessions
    for session in sessions:
        with contextlib.suppress(pymysql.Error):
            session.close()


@pytest.fixture(params=["tcp", "socket", "tls"])
def open_link(
    request: pytest.FixtureRequest, mariadb_server: MysqlServer, implementation: Any, opened: list[Any]
) -> Open:
    """`open_link()` opens a connection over each kind of transport in turn."""
    through_socket = request.param == "socket"
    connection = mariadb_server.connection(through_socket=through_socket)
    if request.param == "tls":
        server: MysqlServer = request.getfixturevalue("encrypted_server")
        connection = replace(server.connection(), tls_mode="require")
    elif not through_socket:
        connection = replace(connection, tls_mode="disable")

    def link(**options: Any) -> Any:
        session = connect(connection, **options)
        assert isinstance(session._sock, ssl.SSLSocket) == (request.param == "tls")  # type: ignore[attr-defined]
        opened.append(session)
        session.query("SET character_set_results = NULL")
        return session

    return link
