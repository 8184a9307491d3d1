"""Differentials that are killed, disturbed or damaged: nothing that is not whole calls itself completed, and no chain
that is not whole is restored."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.breakage.conftest import NewName, completed, outcome, paused, session, wait_until
from tests.fidelity.building import create_database
from tests.fidelity.dbtool_runs import Dbtool, archive_of
from tests.fidelity.picture import difference, take_picture
from tests.fidelity.test_differential import run_chain

from dbtool.archive.reader import ArchiveReader
from dbtool.model.archive import FrameKind
from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer
from dbtool.storage.local import LocalStore

CHANGES = (
    "DELETE FROM big WHERE id % 100 = 0",
    "UPDATE big SET t = 'changed' WHERE id % 100 = 1",
    "INSERT INTO big SELECT n, 'new' FROM generate_series(200001, 200500) AS n",
    "UPDATE small SET n = 1 WHERE id < 20",
    "DELETE FROM parted WHERE id % 97 = 0",
)
PARTS = ("schema", "tables", "sequences", "large_objects")
DIFFERENTIAL = ("differential", "backup", "-max-differential-ratio", "1000")
BEFORE_COMPLETION = (
    "backup-begun",
    "locked",
    "removed-written",
    "schema-written",
    "frame-written",
    "rows-read",
    "artefact-before-commit",
    "before-metadata",
)


def change(connection: Connection) -> None:
    with session(connection) as link:
        for statement in CHANGES:
            link.execute(statement.encode())


@pytest.fixture
def changed(source: Connection, dbtool: Dbtool) -> Connection:
    """The database, changed since its full."""
    dbtool.backup(source)
    change(source)
    return source


def check(
    made: dict[str, Any], source: Connection, dbtool: Dbtool, new_name: NewName, server: PostgresServer
) -> None:
    assert made["type"] == "differential", made["options"]
    copy = new_name()
    dbtool.restore(made["id"], copy)
    assert (
        difference(
            take_picture(source, server.bin_directory), take_picture(copy, server.bin_directory), PARTS
        )
        == []
    )


@pytest.mark.parametrize("point", BEFORE_COMPLETION)
@pytest.mark.parametrize("action", ["kill", "error"])
def test_ended_early(
    point: str,
    action: str,
    changed: Connection,
    dbtool: Dbtool,
    new_name: NewName,
    postgres_server: PostgresServer,
) -> None:
    (full,) = completed(dbtool)
    process = dbtool.start(
        dbtool.backup_arguments(changed, *DIFFERENTIAL), DBTOOL_FAILPOINT=f"{point}:{action}"
    )
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if action == "kill" else 1)
    assert completed(dbtool) == [full]
    assert dbtool.run(["verify", "--all", "--path", str(dbtool.repository)], expect=None).returncode in (0, 6)
    made = dbtool.backup(changed, *DIFFERENTIAL)
    assert made["parent"]["id"] == full
    assert sorted(completed(dbtool)) == sorted([full, made["id"]])
    check(made, changed, dbtool, new_name, postgres_server)


def test_killed_after_completion(changed: Connection, dbtool: Dbtool) -> None:
    process = dbtool.start(
        dbtool.backup_arguments(changed, *DIFFERENTIAL), DBTOOL_FAILPOINT="after-metadata:kill"
    )
    process.communicate(timeout=60)
    assert len(completed(dbtool)) == 2
    dbtool.run(["verify", "latest", "--path", str(dbtool.repository)])
    dbtool.run(["catalog", "rebuild", "--path", str(dbtool.repository)])
    assert len(completed(dbtool)) == 2


def test_two_at_once_and_a_full_beside(
    changed: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    with paused(dbtool, dbtool.backup_arguments(changed, *DIFFERENTIAL), "schema-written") as first:
        second = dbtool.backup(changed, *DIFFERENTIAL)
        full = dbtool.backup(changed)
        third = dbtool.backup(changed, *DIFFERENTIAL)
    code, said = outcome(first)
    assert code == 0, said
    assert third["parent"]["id"] == full["id"] != second["parent"]["id"]
    assert len(completed(dbtool)) == 5
    dbtool.run(["verify", "--all", "--path", str(dbtool.repository)])
    for one in dbtool.listed():
        if one["type"] == "differential":
            check(one, changed, dbtool, new_name, postgres_server)


# --- what lies in the repository is damaged -----------------------------------------------------


def _frame_of(archive: Path, kind: FrameKind, table: str | None = None) -> tuple[int, int]:
    """(offset, length) of the first such frame in the file."""
    reader = ArchiveReader(LocalStore(archive.parent), archive.name)
    for frame in reader.index.frames:
        if frame.kind is kind and (table is None or reader.index.tables[frame.table or 0].name == table):
            return frame.offset, frame.stored_bytes
    raise LookupError(kind)


def _damage(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x40
    path.chmod(0o644)
    path.write_bytes(bytes(data))


def test_a_frame_of_the_base_that_is_needed_is_damaged(changed: Connection, dbtool: Dbtool) -> None:
    (base,) = dbtool.repository.glob("full_*/*.sql.zst")
    offset, length = _frame_of(base, FrameKind.BEFORE_DATA)
    _damage(base, offset + length // 2)
    done = dbtool.run(dbtool.backup_arguments(changed, *DIFFERENTIAL), expect=6)
    assert base.name.encode() in done.stderr
    assert b"take a new full" in done.stderr
    assert len(completed(dbtool)) == 1
    full = dbtool.backup(changed)
    assert dbtool.backup(changed, *DIFFERENTIAL)["parent"]["id"] == full["id"]


def test_rows_of_the_base_that_nobody_reads_are_damaged(changed: Connection, dbtool: Dbtool) -> None:
    """Integer keys stand apart. The differential may be taken; the chain is not restored."""
    (base,) = dbtool.repository.glob("full_*/*.sql.zst")
    offset, length = _frame_of(base, FrameKind.DATA, "big")
    _damage(base, offset + length // 2)
    done = dbtool.run(dbtool.backup_arguments(changed, *DIFFERENTIAL), expect=None)
    assert done.returncode in (0, 6), done.stderr
    target = changed.with_database("never_made")
    dbtool.run(dbtool.restore_arguments("latest", target), expect=6)
    with session(changed.with_database("postgres")) as link:
        assert link.execute("SELECT FROM pg_database WHERE datname ~ 'never_made'").fetchall() == []


def test_the_index_of_the_base_is_damaged(changed: Connection, dbtool: Dbtool) -> None:
    (base,) = dbtool.repository.glob("full_*/*.sql.zst")
    _damage(base, base.stat().st_size - 40)
    done = dbtool.run(dbtool.backup_arguments(changed, *DIFFERENTIAL), expect=6)
    assert base.name.encode() in done.stderr


def test_the_metadata_of_the_base_was_changed(changed: Connection, dbtool: Dbtool) -> None:
    made = dbtool.backup(changed, *DIFFERENTIAL)
    (metadata,) = dbtool.repository.glob("full_*/metadata.json")
    metadata.chmod(0o644)
    metadata.write_text(metadata.read_text().replace('"duration_seconds":', '"duration_seconds": '))
    target = changed.with_database("never_made")
    done = dbtool.run(dbtool.restore_arguments(made["id"], target), expect=6)
    assert b"no backup of" in done.stderr
    named = dbtool.run(
        dbtool.backup_arguments(changed, *DIFFERENTIAL, "-base", made["parent"]["id"]), expect=None
    )
    assert named.returncode == 6, named.stderr
    again = dbtool.backup(changed, *DIFFERENTIAL)
    assert again["type"] == "full"


@pytest.mark.parametrize("harm", ["gone", "shorter", "damaged", "failed"])
def test_a_chain_with_a_bad_base_is_refused(
    harm: str, changed: Connection, dbtool: Dbtool, postgres_server: PostgresServer
) -> None:
    first = dbtool.backup(changed, *DIFFERENTIAL)
    with session(changed) as link:
        link.execute("UPDATE small SET n = 2 WHERE id = 5")
    other = dbtool.backup(changed)
    with session(changed) as link:
        link.execute("UPDATE small SET n = 3 WHERE id = 5")
    newest = dbtool.backup(changed, *DIFFERENTIAL)
    folder = Path(other["backup_location"])
    archive = archive_of(other)
    code = 6
    if harm == "gone":
        archive.unlink()
    elif harm == "shorter":
        archive.chmod(0o644)
        archive.write_bytes(archive.read_bytes()[:-100])
    elif harm == "damaged":
        _damage(archive, archive.stat().st_size // 2)
    else:
        (folder / "metadata.json").unlink()
        code = 9
    target = changed.with_database("never_made")
    for wanted in (newest["id"], "latest"):
        done = dbtool.run(dbtool.restore_arguments(wanted, target), expect=None)
        if wanted == newest["id"]:
            assert done.returncode == code, done.stderr
            if harm != "damaged":
                assert first["id"].encode() in done.stderr
    with session(changed.with_database("postgres")) as link:
        query = "SELECT FROM pg_database WHERE datname ~ 'never_made'"
        if harm == "damaged":
            assert link.execute(query).fetchall() == []
    dbtool.run(dbtool.restore_arguments(first["id"], target))
    with session(changed.with_database("postgres")) as link:
        link.execute("DROP DATABASE IF EXISTS never_made")


# --- restores ------------------------------------------------------------------------------------


def test_parts_plans_and_replacing(
    changed: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    programs = postgres_server.bin_directory
    first_state = take_picture(changed, programs)
    first = dbtool.backup(changed, *DIFFERENTIAL)
    with session(changed) as link:
        link.execute("DELETE FROM big WHERE id % 50 = 3")
        link.execute("CREATE TABLE newer (a int)")
    second_state = take_picture(changed, programs)
    dbtool.backup(changed, *DIFFERENTIAL)

    planned = new_name()
    report = dbtool.restore("latest", planned, "--dry-run")
    assert report["status"] == "planned"
    with session(changed.with_database("postgres")) as link:
        assert link.execute("SELECT FROM pg_database WHERE datname = %s", [planned.database]).fetchall() == []

    part = new_name()
    report = dbtool.restore("latest", part, "--tables", "big", "small")
    assert report["compared"]
    found = take_picture(part, programs)
    assert {name: found.tables.get(name) for name in ("public.big", "public.small")} == {
        name: second_state.tables[name] for name in ("public.big", "public.small")
    }
    assert "public.other" not in found.tables

    with session(changed) as link:
        link.execute("DROP TABLE other")
    dbtool.restore("latest", changed, "--replace")
    assert difference(second_state, take_picture(changed, programs), PARTS) == []
    dbtool.restore(first["id"], changed, "--replace")
    assert difference(first_state, take_picture(changed, programs), PARTS) == []
    with session(changed.with_database("postgres")) as link:
        rows = link.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{changed.database}_%"]
        )
        for (name,) in rows.fetchall():
            link.execute(f'DROP DATABASE "{name}"'.encode())


# --- locks, and accounts that may not do everything -----------------------------------------------


@pytest.mark.parametrize("point", ["locked", "schema-compared", "removed-written"])
def test_exclusive_locks_are_awaited_while_it_looks(
    point: str, changed: Connection, dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    """Who waits for a table bars our readers: their work is done on the connection that has the locks."""
    expected = take_picture(changed, postgres_server.bin_directory)
    arguments = dbtool.backup_arguments(changed, *DIFFERENTIAL, "-lock-timeout", "60")
    waiters = []

    def lock(table: str) -> None:
        with session(changed) as link, link.transaction():
            link.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())

    with paused(dbtool, arguments, point) as process:
        for table in ("big", "small", "other", "parted_1"):
            waiters.append(threading.Thread(target=lock, args=(table,)))
            waiters[-1].start()
        with session(changed) as link:
            query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            wait_until(lambda: link.execute(query).fetchone() == (4,))
    try:
        out, err = process.communicate(timeout=120)
    finally:
        for waiter in waiters:
            waiter.join(60)
    assert process.returncode == 0, err.decode()
    made = json.loads(out)
    assert made["type"] == "differential", made["options"]
    copy = new_name()
    dbtool.restore(made["id"], copy)
    assert difference(expected, take_picture(copy, postgres_server.bin_directory), PARTS) == []


ORDINARY = """
CREATE TABLE a (id int PRIMARY KEY, b int, n int);
CREATE TABLE b (id int PRIMARY KEY, a int);
INSERT INTO a SELECT n, n, 0 FROM generate_series(1, 500) AS n;
INSERT INTO b SELECT n, n FROM generate_series(1, 500) AS n;
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED;
ALTER TABLE b ADD FOREIGN KEY (a) REFERENCES a ON DELETE CASCADE;
CREATE TABLE log (said text);
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN INSERT INTO public.log VALUES (TG_OP || ' $dbtool$ '); RETURN coalesce(NEW, OLD); END$$;
CREATE TABLE told (id int PRIMARY KEY, n int);
INSERT INTO told SELECT n, 0 FROM generate_series(1, 500) AS n;
CREATE TRIGGER one AFTER INSERT OR UPDATE OR DELETE ON told FOR EACH ROW EXECUTE FUNCTION tell();
CREATE TRIGGER "two ""$dbtool$" BEFORE DELETE ON told FOR EACH STATEMENT EXECUTE FUNCTION tell();
ALTER TABLE told ENABLE ALWAYS TRIGGER "two ""$dbtool$";
ALTER TABLE told DISABLE TRIGGER one;
CREATE TABLE ruled (id int PRIMARY KEY, n int);
INSERT INTO ruled SELECT n, 0 FROM generate_series(1, 500) AS n;
CREATE RULE keep AS ON DELETE TO ruled DO INSTEAD NOTHING;
CREATE TABLE parts (id int PRIMARY KEY, n int REFERENCES told ON DELETE CASCADE) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (250);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (250) TO (900);
INSERT INTO parts SELECT n, n FROM generate_series(1, 300) AS n;
CREATE TRIGGER three AFTER INSERT OR DELETE ON parts FOR EACH ROW EXECUTE FUNCTION tell();
SELECT lo_create(77);
"""
ORDINARY_CHANGES = """
UPDATE a SET n = 1 WHERE id < 20;
DELETE FROM a WHERE id > 490;
UPDATE told SET n = 1 WHERE id < 20;
DELETE FROM told WHERE id BETWEEN 100 AND 110;
INSERT INTO told VALUES (1000, 1);
UPDATE ruled SET n = 1 WHERE id = 7;
DELETE FROM parts WHERE id > 295;
UPDATE parts SET id = 800 WHERE id = 3;
SELECT lo_put(77, 0, 'x');
"""


def test_an_account_that_owns_only_its_own(
    dbtool: Dbtool, new_name: NewName, postgres_server: PostgresServer
) -> None:
    """It takes the differential, and applies the script through psql: keys, rules and triggers are dropped and made again."""
    administration = postgres_server.connection()
    owner = f"ordinary_{new_name().database}"
    programs = postgres_server.bin_directory
    made_databases = []

    def database() -> Connection:
        connection = new_name()
        create_database(administration, connection.database, f"OWNER {owner}")
        made_databases.append(connection)
        return postgres_server.connection(connection.database, owner)

    with session(administration) as link:
        link.execute(f"CREATE ROLE {owner} LOGIN".encode())
    try:
        source = database()
        if postgres_server.major >= 15:
            with session(postgres_server.connection(source.database)) as link:
                link.execute(f"ALTER SCHEMA public OWNER TO {owner}".encode())
        with session(source) as link:
            link.execute(ORDINARY.encode())
        dbtool.backup(source)
        with session(source) as link:
            link.execute(ORDINARY_CHANGES.encode())
        made = dbtool.backup(source, *DIFFERENTIAL)
        assert made["type"] == "differential", made["options"]
        expected = take_picture(postgres_server.connection(source.database), programs)
        target = database()
        if postgres_server.major >= 15:
            with session(postgres_server.connection(target.database)) as link:
                link.execute(f"ALTER SCHEMA public OWNER TO {owner}".encode())
        run_chain(made, target, postgres_server)
        found = take_picture(postgres_server.connection(target.database), programs)
        assert difference(expected, found, PARTS) == []
        restored = new_name()
        dbtool.restore(made["id"], restored)
        found = take_picture(restored, programs)
        assert difference(expected, found, PARTS) == []
        made_databases.append(restored)
    finally:
        with session(administration) as link:
            for connection in made_databases:
                link.execute(f"DROP DATABASE IF EXISTS {connection.database} WITH (FORCE)".encode())
            link.execute(f"DROP ROLE {owner}".encode())
