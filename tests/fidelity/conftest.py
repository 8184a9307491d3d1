"""Fixtures of the fidelity tests: a server of each version, with the awkward database and its native copy."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import CARELESS_SETTINGS, MATRIX_VERSIONS, REQUIRE_MATRIX_VARIABLE
from tests.fidelity.building import build_awkward, create_database, drop_database, native_copy
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.extension import installation_with_extension
from tests.fidelity.picture import Picture, take_picture

from dbtool.errors import NotFoundError
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer, find_server_bin, major_of

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Awkward:
    """The awkward database, and what a faithful copy of it looks like."""

    server: PostgresServer
    source: Connection
    picture: Picture  # of the database itself
    expected: Picture  # as it is after a native dump-and-restore round trip


NewName = Callable[[], Connection]


def start_server(major: int | None) -> PostgresServer:
    """A server of that version, or of the machine's own, that knows the tests' extension."""
    try:
        programs = find_server_bin(major)
    except NotFoundError as error:
        if os.environ.get(REQUIRE_MATRIX_VARIABLE) == "1":
            raise
        pytest.skip(f"{error.message}; {error.hint}")
    return PostgresServer.start(installation_with_extension(programs), CARELESS_SETTINGS)


def _versions() -> list[object]:
    """The machine's own version in every run, the others in the matrix."""
    try:
        own = major_of(find_server_bin())
    except NotFoundError:
        own = 0
    others = [
        pytest.param(major, id=f"pg{major}", marks=pytest.mark.matrix)
        for major in MATRIX_VERSIONS
        if major != own
    ]
    return [pytest.param(None, id=f"pg{own}"), *others]


@pytest.fixture(scope="session", params=_versions())
def fidelity_server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    """Each version in turn."""
    with start_server(request.param) as server:
        yield server


@pytest.fixture(scope="session")
def awkward(fidelity_server: PostgresServer) -> Awkward:
    """The awkward database on each version in turn. Tests must leave it as it is."""
    programs = fidelity_server.bin_directory
    source = build_awkward(fidelity_server, "awkward")
    create_database(fidelity_server.connection(), "native")
    native = fidelity_server.connection("native")
    native_copy(source, native, programs)
    picture = take_picture(source, programs)
    # What belongs to the database itself is not part of a plain dump of its contents.
    expected = dataclasses.replace(take_picture(native, programs), properties=picture.properties)
    return Awkward(fidelity_server, source, picture, expected)


@pytest.fixture
def dbtool(tmp_path: Path, fidelity_server: PostgresServer) -> Dbtool:
    """dbtool with a repository of this test's own, and the server's client programs."""
    return Dbtool(tmp_path / "repository", fidelity_server.bin_directory)


@pytest.fixture
def new_name(fidelity_server: PostgresServer) -> Iterator[NewName]:
    """`new_name()` gives the connection of a database that is yet to be made; it is dropped afterwards."""
    given: list[Connection] = []

    def name() -> Connection:
        given.append(fidelity_server.connection(f"copy_{next(_numbers)}"))
        return given[-1]

    yield name
    for connection in given:
        drop_database(connection)
