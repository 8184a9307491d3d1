"""A backup restored on another server: of a newer version, or one that has none of its roles."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from tests.fidelity.building import AWKWARD, build_awkward, create_database, native_copy, psql
from tests.fidelity.conftest import Awkward, start_server
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import difference, take_picture

from dbtool.servers.postgres import PostgresServer

UPGRADES = [(13, 15), (13, 18), (15, 17), (15, 18), (17, 18)]
CONTENTS = ("schema", "storage", "tables", "sequences", "large_objects", "materialized_views")


@pytest.mark.matrix
@pytest.mark.parametrize(("old", "new"), UPGRADES)
def test_newer_server(old: int, new: int, tmp_path: Path) -> None:
    """As the newer version's own programs bring it over."""
    with start_server(old) as from_server, start_server(new) as to_server:
        source = build_awkward(from_server, "awkward")
        _make_roles(to_server)
        native, copy = to_server.connection("native"), to_server.connection("copy")
        create_database(native, native.database)
        native_copy(source, native, to_server.bin_directory)
        dbtool = Dbtool(tmp_path / "repository", from_server.bin_directory)
        metadata = dbtool.backup(source)
        Dbtool(dbtool.repository, to_server.bin_directory).restore(metadata["id"], copy)
        expected = take_picture(native, to_server.bin_directory)
        found = take_picture(copy, to_server.bin_directory)
        assert "\n".join(difference(expected, found, CONTENTS)) == ""


def _make_roles(to_server: PostgresServer) -> None:
    """A database that needs the awkward roles finds them."""
    done = psql(to_server.connection(), to_server.bin_directory, AWKWARD / "00_roles.sql")
    assert done.returncode == 0, done.stderr


def test_roles_come_with_globals(awkward: Awkward, dbtool: Dbtool) -> None:
    """Without them the restore says what is missing; with them the other server has what it needs."""
    metadata = dbtool.backup(awkward.source)
    programs = awkward.server.bin_directory
    with PostgresServer.start(programs, {"fsync": "off", "wal_level": "logical"}) as other:
        copy = other.connection("copy")
        refused = dbtool.run(dbtool.restore_arguments(metadata["id"], copy), expect=None)
        assert refused.returncode not in (0, 130)
        assert b"--globals" in refused.stderr or b"role" in refused.stderr
        dbtool.restore(metadata["id"], copy, "--globals")
        found = take_picture(copy, programs, with_roles=True)
        expected = dataclasses.replace(
            awkward.expected, roles=take_picture(awkward.source, programs, with_roles=True).roles
        )
        parts = (*CONTENTS, "properties", "roles")
        assert "\n".join(difference(expected, found, parts)) == ""


def test_without_owners_on_a_server_without_roles(awkward: Awkward, dbtool: Dbtool) -> None:
    programs = awkward.server.bin_directory
    metadata = dbtool.backup(awkward.source, "full", "tables", "-tablename", "app.serials")
    with PostgresServer.start(programs, {"fsync": "off"}) as other:
        copy = other.connection("copy")
        dbtool.restore(metadata["id"], copy, "--no-owner", "--no-privileges")
        assert take_picture(copy, programs).tables["app.serials"] == awkward.expected.tables["app.serials"]
