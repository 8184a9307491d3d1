"""A backup restored on another server: of a newer version, or one that has none of its roles."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.conftest import CARELESS_SETTINGS
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
    """As the old version's pg_dump and the newer version's psql bring it over."""
    with start_server(old) as from_server, start_server(new) as to_server:
        source = build_awkward(from_server, "awkward")
        _make_roles(to_server)
        native, copy = to_server.connection("native"), to_server.connection("copy")
        create_database(native, native.database)
        native_copy(source, native, from_server.bin_directory)
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


ROLES = """
CREATE ROLE "Weird ""owner" NOLOGIN;
CREATE ROLE reader LOGIN PASSWORD 'se''cret' VALID UNTIL '2040-01-01' CONNECTION LIMIT 7 IN ROLE "Weird ""owner";
CREATE ROLE "-rf" CREATEDB CREATEROLE;
ALTER ROLE reader SET search_path = "a b", public;
GRANT reader TO "-rf" WITH ADMIN OPTION;
COMMENT ON ROLE reader IS 'it''s';
"""
OWNED = """
CREATE TABLE t (id integer PRIMARY KEY);
INSERT INTO t SELECT generate_series(1, 10);
ALTER TABLE t OWNER TO "Weird ""owner";
GRANT SELECT ON t TO reader;
ALTER DATABASE source OWNER TO "-rf";
ALTER ROLE reader IN DATABASE source SET work_mem = '5MB';
"""


def test_roles_come_with_globals(fidelity_server: PostgresServer, dbtool: Dbtool) -> None:
    """Without them the restore says what is missing; with them the other server has what it needs."""
    programs = fidelity_server.bin_directory
    with PostgresServer.start(programs, CARELESS_SETTINGS) as first:
        source = first.connection("source")
        create_database(source, source.database)
        done = psql(source, programs, (ROLES + OWNED).encode())
        assert done.returncode == 0, done.stderr
        metadata = dbtool.backup(source)
        expected = take_picture(source, programs, with_roles=True)
    with PostgresServer.start(programs, CARELESS_SETTINGS) as other:
        copy = other.connection("copy")
        refused = dbtool.run(dbtool.restore_arguments(metadata["id"], copy), expect=None)
        assert refused.returncode not in (0, 130)
        assert b"--globals" in refused.stderr or b"role" in refused.stderr
        dbtool.restore(metadata["id"], copy, "--globals")
        found = take_picture(copy, programs, with_roles=True)
        assert "\n".join(difference(expected, found)) == ""
        # A second time, where the roles are there already.
        dbtool.restore(metadata["id"], copy, "--globals", "--replace")
        found = take_picture(copy, programs, with_roles=True)
        assert "\n".join(difference(expected, found)) == ""


def test_without_owners_on_a_server_without_roles(awkward: Awkward, dbtool: Dbtool) -> None:
    programs = awkward.server.bin_directory
    metadata = dbtool.backup(awkward.source, "full", "tables", "-tablename", "app.serials")
    with PostgresServer.start(programs, {"fsync": "off"}) as other:
        copy = other.connection("copy")
        dbtool.restore(metadata["id"], copy, "--no-owner", "--no-privileges")
        assert take_picture(copy, programs).tables["app.serials"] == awkward.expected.tables["app.serials"]
