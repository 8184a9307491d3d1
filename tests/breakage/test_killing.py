"""dbtool or the server dies in the middle: nothing that is not whole calls itself completed."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.breakage.conftest import NewName, completed, fill, kill, outcome, paused, session, wait_until
from tests.conftest import CARELESS_SETTINGS
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import difference, take_picture

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

BEFORE_COMPLETION = (
    "backup-begun",
    "listed",
    "locked",
    "schema-written",
    "frame-written",
    "rows-read",
    "artefact-before-commit",
    "artefact-committed",
    "before-metadata",
)
AFTER_COMPLETION = ("after-metadata", "before-catalogue")


def _sessions_of_dbtool(connection: Connection) -> int:
    with session(connection.with_database("postgres")) as link:
        row = link.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [connection.database],
        ).fetchone()
    return row[0] if row else 0


@pytest.mark.parametrize("point", BEFORE_COMPLETION)
def test_killed_before_completion(point: str, source: Connection, dbtool: Dbtool) -> None:
    process = dbtool.start(
        dbtool.backup_arguments(source, "full", "database"), DBTOOL_FAILPOINT=f"{point}:kill"
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert completed(dbtool) == []
    target = source.with_database("never_made")
    assert dbtool.run(dbtool.restore_arguments("latest", target), expect=None).returncode in (8, 9)
    wait_until(lambda: _sessions_of_dbtool(source) == 0, 20)
    after = dbtool.backup(source)
    assert completed(dbtool) == [after["id"]]
    states = {backup["id"]: backup["status"] for backup in dbtool.listed()}
    assert set(states.values()) <= {"completed", "interrupted", "running", "failed"}
    dbtool.run(["verify", "latest", "--path", str(dbtool.repository)])


@pytest.mark.parametrize("point", AFTER_COMPLETION)
def test_killed_after_completion(point: str, source: Connection, dbtool: Dbtool) -> None:
    """What is whole stays whole, whether the catalogue knows it or not."""
    process = dbtool.start(
        dbtool.backup_arguments(source, "full", "database"), DBTOOL_FAILPOINT=f"{point}:kill"
    )
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(completed(dbtool)) == 1
    dbtool.run(["verify", "latest", "--path", str(dbtool.repository)])


def test_killed_at_any_moment(source: Connection, dbtool: Dbtool) -> None:
    began = time.monotonic()
    whole = dbtool.backup(source)["id"]
    lasts = time.monotonic() - began
    dice = random.Random(4)
    for _ in range(10):
        process = dbtool.start(dbtool.backup_arguments(source, "full", "database"))
        time.sleep(dice.uniform(0.1, lasts * 1.1))
        kill(process)
    good = completed(dbtool)
    assert whole in good
    for backup in good:
        dbtool.run(["verify", backup, "--path", str(dbtool.repository)])
    # A catalogue made anew says the same.
    dbtool.run(["catalog", "rebuild", "--path", str(dbtool.repository)])
    assert sorted(completed(dbtool)) == sorted(good)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("point", ["locked", "schema-written", "frame-written"])
def test_interrupted_by_a_signal(
    point: str, number: signal.Signals, source: Connection, dbtool: Dbtool
) -> None:
    process = dbtool.start(
        dbtool.backup_arguments(source, "full", "database"),
        DBTOOL_FAILPOINT=f"{point}:pause={dbtool.repository.parent / 'flag'}",
    )
    wait_until((dbtool.repository.parent / "flag").exists)
    process.send_signal(number)
    code, said = outcome(process, 20)
    assert code == 130, said
    assert completed(dbtool) == []
    assert {backup["status"] for backup in dbtool.listed()} <= {"failed", "interrupted"}
    wait_until(lambda: _sessions_of_dbtool(source) == 0, 20)


def test_interrupted_at_any_moment(source: Connection, dbtool: Dbtool) -> None:
    dice = random.Random(5)
    for _ in range(6):
        process = dbtool.start(dbtool.backup_arguments(source, "full", "database"))
        time.sleep(dice.uniform(0.3, 1.5))
        process.send_signal(signal.SIGINT)
        code, said = outcome(process, 20)
        assert code in (0, 130, -signal.SIGINT), said
    for backup in completed(dbtool):
        dbtool.run(["verify", backup, "--path", str(dbtool.repository)])
    wait_until(lambda: _sessions_of_dbtool(source) == 0, 20)


@pytest.mark.parametrize("limit_megabytes", [0.1, 2])
def test_no_room_for_the_archive(limit_megabytes: float, source: Connection, dbtool: Dbtool) -> None:
    """A file that may not grow: an error that says so, and no file under a final name."""
    limit = int(limit_megabytes * 1024 * 1024)
    program = (
        f"import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        " sys.argv[0] = 'dbtool'; runpy.run_module('dbtool', run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *dbtool.backup_arguments(source, "full", "database")],
        env=dbtool.environment,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 7, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert completed(dbtool) == []
    assert list(dbtool.repository.glob("*/*.sql.zst")) == []


def test_full_disk(source: Connection, dbtool: Dbtool, tmp_path: Path) -> None:
    """A file system that is really full, in a namespace of its own."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-Urm", "true"], check=False).returncode:
        pytest.skip("this machine does not let us make a small file system of our own (unshare -Urm)")
    backup = " ".join(f"'{word}'" for word in dbtool.backup_arguments(source, "full", "database"))
    script = f"""
        mkdir -p '{dbtool.repository}' && mount -t tmpfs -o size=3m none '{dbtool.repository}' || exit 99
        '{sys.executable}' -m dbtool {backup} > '{tmp_path}/out' 2> '{tmp_path}/err'
        echo $? > '{tmp_path}/code'
        '{sys.executable}' -m dbtool list --path '{dbtool.repository}' --json > '{tmp_path}/list'
        find '{dbtool.repository}' > '{tmp_path}/files'
    """
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", script], env=dbtool.environment, check=False, capture_output=True
    )
    if done.returncode == 99:
        pytest.skip("this machine does not let us mount a small file system of our own")
    said = (tmp_path / "err").read_text()
    assert (tmp_path / "code").read_text().strip() == "7", said
    assert "space" in said.lower(), said
    assert "Traceback" not in said
    assert '"completed"' not in (tmp_path / "list").read_text()
    assert ".sql.zst\n" not in (tmp_path / "files").read_text()


# --- restores -----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", ["task-done", "before-swap"])
@pytest.mark.parametrize("action", ["kill", "error"])
def test_replace_that_ends_early_leaves_the_old_database(
    point: str, action: str, source: Connection, dbtool: Dbtool, postgres_server: PostgresServer
) -> None:
    programs = postgres_server.bin_directory
    backed_up = take_picture(source, programs)
    dbtool.backup(source)
    with session(source) as link:
        link.execute("DELETE FROM other WHERE id > 10")
        link.execute("CREATE TABLE newer (a integer)")
    before = take_picture(source, programs)
    process = dbtool.start(
        dbtool.restore_arguments("latest", source, "--replace"), DBTOOL_FAILPOINT=f"{point}:{action}"
    )
    process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if action == "kill" else 1)
    assert difference(before, take_picture(source, programs)) == []
    dbtool.restore("latest", source, "--replace")
    assert difference(backed_up, take_picture(source, programs)) == []
    _drop_leftovers(source, expected=action == "kill")


def test_replace_killed_at_any_moment(
    source: Connection, dbtool: Dbtool, postgres_server: PostgresServer
) -> None:
    programs = postgres_server.bin_directory
    dbtool.backup(source)
    backed_up = take_picture(source, programs)
    with session(source) as link:
        link.execute("CREATE TABLE newer (a integer)")
    before = take_picture(source, programs)
    dice = random.Random(6)
    for _ in range(8):
        process = dbtool.start(dbtool.restore_arguments("latest", source, "--replace"))
        time.sleep(dice.uniform(0.3, 4))
        kill(process)
        found = take_picture(source, programs)
        assert not difference(before, found) or not difference(backed_up, found)
        if not difference(backed_up, found):
            before = backed_up
    _drop_leftovers(source, expected=True)


def test_killed_restore_into_a_new_name(source: Connection, dbtool: Dbtool, new_name: NewName) -> None:
    """Nothing half-done bears the name; a second attempt succeeds."""
    dbtool.backup(source)
    copy = new_name()
    process = dbtool.start(dbtool.restore_arguments("latest", copy), DBTOOL_FAILPOINT="task-done:kill")
    process.communicate(timeout=60)
    with session(source) as link:
        query = "SELECT 1 FROM pg_database WHERE datname = %s"
        assert link.execute(query, [copy.database]).fetchall() == []
    dbtool.restore("latest", copy)
    _drop_leftovers(copy, expected=True)


def test_interrupted_restore_cleans_up(source: Connection, dbtool: Dbtool, new_name: NewName) -> None:
    dbtool.backup(source)
    copy = new_name()
    with paused(dbtool, dbtool.restore_arguments("latest", copy), "task-done") as process:
        process.send_signal(signal.SIGINT)
        code, said = outcome(process, 30)
    assert code == 130, said
    _drop_leftovers(copy, expected=False)


def test_tables_replaced_and_killed(
    source: Connection, dbtool: Dbtool, postgres_server: PostgresServer
) -> None:
    """`--tables … --replace`: the rows that were there are there, or those of the backup, never none."""
    programs = postgres_server.bin_directory
    dbtool.backup(source)
    with session(source) as link:
        link.execute("UPDATE other SET n = 1")
    before = take_picture(source, programs)
    for point in ("task-done", "before-swap"):
        process = dbtool.start(
            dbtool.restore_arguments("latest", source, "--tables", "other", "--replace"),
            DBTOOL_FAILPOINT=f"{point}:error",
        )
        process.communicate(timeout=60)
        assert process.returncode == 1
        assert difference(before, take_picture(source, programs)) == []


def _drop_leftovers(connection: Connection, expected: bool) -> None:
    """Databases that a killed restore could not clear away; an orderly end leaves none."""
    with session(connection.with_database("postgres")) as link:
        names = [
            name
            for (name,) in link.execute("SELECT datname FROM pg_database WHERE datname LIKE '%_dbtool_%'")
            if name.startswith(connection.database)
        ]
        assert expected or names == []
        for name in names:
            link.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


# --- the server dies ----------------------------------------------------------------------------


@pytest.fixture
def mortal(postgres_server: PostgresServer) -> Iterator[PostgresServer]:
    """A server of this test's own, to be killed."""
    with PostgresServer.start(postgres_server.bin_directory, CARELESS_SETTINGS) as server:
        yield server


@pytest.mark.parametrize("how", ["immediate", "fast", "crash"])
@pytest.mark.parametrize("point", ["locked", "schema-written", "frame-written", "rows-read"])
def test_server_dies_during_a_backup(how: str, point: str, mortal: PostgresServer, dbtool: Dbtool) -> None:
    source = mortal.connection("mortal")
    fill(source)
    with paused(dbtool, dbtool.backup_arguments(source, "full", "database"), point) as process:
        _end(mortal, how)
    code, said = outcome(process, 60)
    assert code in (1, 4), said
    assert completed(dbtool) == []
    mortal.launch()
    dbtool.backup(mortal.connection("mortal"))
    assert len(completed(dbtool)) == 1


def test_server_dies_at_any_moment_of_a_replace(mortal: PostgresServer, dbtool: Dbtool) -> None:
    mortal.configure({"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"})
    mortal.stop()
    mortal.launch()
    source = mortal.connection("mortal")
    fill(source)
    programs = mortal.bin_directory
    dbtool.backup(source)
    backed_up = take_picture(source, programs)
    with session(source) as link:
        link.execute("CREATE TABLE newer (a integer)")
        link.execute("CHECKPOINT")
    before = take_picture(source, programs)
    dice = random.Random(7)
    for round_number in range(6):
        process = dbtool.start(dbtool.restore_arguments("latest", source, "--replace"))
        time.sleep(dice.uniform(0.3, 3.5))
        _end(mortal, ("immediate", "crash")[round_number % 2])
        code, said = outcome(process, 60)
        assert code in (0, 1, 4), said
        mortal.launch()
        source = mortal.connection("mortal")
        found = take_picture(source, programs)
        assert not difference(before, found) or not difference(backed_up, found)
        if code == 0:
            assert difference(backed_up, found) == []
            before = backed_up


def _end(server: PostgresServer, how: str) -> None:
    if how == "crash":
        server.crash()
    elif how == "immediate":
        server.stop("immediate")
    else:
        server.stop("fast")


def test_stopped_reader_of_stdout(source: Connection, dbtool: Dbtool) -> None:
    """Whoever read our output went away: the backup is whole all the same, or says that it is not."""
    process = dbtool.start(dbtool.backup_arguments(source, "full", "database"))
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    process.communicate(timeout=60)
    for backup in completed(dbtool):
        dbtool.run(["verify", backup, "--path", str(dbtool.repository)])
