"""differential backup on a real server: which base is chosen, and when and why a full is taken instead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.running import backup, dbtool
from tests.conftest import Sql
from tests.sample_backups import take as take_sample
from tests.sample_backups import take_differential

from dbtool.catalog.repository import Repository
from dbtool.catalog.stored import StoredBackup
from dbtool.engines.mysql.engine import MysqlEngine
from dbtool.engines.postgres.engine import PostgresEngine
from dbtool.errors import NeedsFullError, NotFoundError, UsageError
from dbtool.model.backup import BackupType, Metadata
from dbtool.model.connection import Connection
from dbtool.operations import differential
from dbtool.operations.differential import DifferentialOptions, differential_backup
from dbtool.operations.differential_policy import DifferentialPolicy
from dbtool.progress import Silent
from dbtool.storage.local import LocalStore


@pytest.fixture
def shop(database: Connection, sql: Sql) -> Connection:
    """A database with a table in it."""
    sql(database, "CREATE TABLE t (id integer PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)")
    return database


def run(
    shop: Connection, root: Path, options: DifferentialOptions | None = None
) -> tuple[Metadata, list[str]]:
    progress = Silent()
    store = LocalStore(root)
    made = differential_backup(PostgresEngine(), shop, store, options or DifferentialOptions(), progress)
    return made, progress.notes


def test_without_a_base_a_full_is_taken_and_says_why(shop: Connection, tmp_path: Path) -> None:
    made, notes = run(shop, tmp_path, DifferentialOptions(label="nightly", level=3, jobs=2))
    reason = f"there is no full logical backup of {shop.database} to build upon"
    assert made.type is BackupType.FULL
    assert made.options["differential_refused"] == reason
    assert (made.label, made.options["level"], made.options["jobs"]) == ("nightly", 3, 2)
    assert not {"base", "method", "policy"} & set(made.options)
    assert notes[0] == f"a full backup is taken: {reason}"
    stored = Repository(LocalStore(tmp_path)).read(made.id).completed()
    assert stored.options["differential_refused"] == reason


def test_the_base_and_the_options_reach_the_engine(
    shop: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = take_sample(tmp_path, shop.database)
    newer, _ = run(shop, tmp_path, DifferentialOptions(policy=DifferentialPolicy(max_chain_age_seconds=-1)))
    assert "max_chain_age" in newer.options["differential_refused"]
    asked: list[tuple[str, DifferentialOptions]] = []

    def take(
        engine: Any,
        connection: Any,
        store: Any,
        base: StoredBackup,
        options: DifferentialOptions,
        progress: Any,
    ) -> Metadata:
        asked.append((base.id, options))
        made = take_differential(tmp_path, base.id)
        return Repository(store).read(made).completed()

    monkeypatch.setattr(differential, "take", take)
    made, notes = run(shop, tmp_path)
    assert made.type is BackupType.DIFFERENTIAL
    assert notes == []
    patient = DifferentialPolicy(max_chain_age_seconds=1e12)
    options = DifferentialOptions(
        base=full, method="timestamp", column="at", only_changed=True, policy=patient
    )
    run(shop, tmp_path, options)
    assert [base for base, _ in asked] == [newer.id, full]
    assert asked[0][1].method == "rows"
    assert asked[1][1] == options


def test_what_the_engine_cannot_do_exactly_becomes_a_full(
    shop: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, _ = run(shop, tmp_path)

    def take(*arguments: Any) -> Metadata:
        raise NeedsFullError("the server was restored to an earlier moment")

    monkeypatch.setattr(differential, "take", take)
    made, notes = run(shop, tmp_path)
    assert (made.type, made.id != full.id) == (BackupType.FULL, True)
    assert notes == ["a full backup is taken: the server was restored to an earlier moment"]


def test_the_policy_ends_the_chain(shop: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full, _ = run(shop, tmp_path)
    take_differential(tmp_path, full.id)
    monkeypatch.setattr(differential, "take", lambda *_: pytest.fail("a differential was taken"))
    for policy, word in (
        (DifferentialPolicy(max_differentials=1), "max_differentials is 1"),
        (DifferentialPolicy(max_differential_ratio=0.0001), "max_differential_ratio is 0.0001"),
    ):
        options = DifferentialOptions(base=full.id, policy=policy)
        made, notes = run(shop, tmp_path, options)
        assert made.type is BackupType.FULL
        assert word in notes[0]


def test_a_wrong_base_changes_nothing(shop: Connection, tmp_path: Path) -> None:
    full, _ = run(shop, tmp_path)
    made = take_differential(tmp_path, full.id)
    for base, kind in ((made, UsageError), ("full_x_20251101_120000_a1b2", NotFoundError)):
        with pytest.raises(kind):
            run(shop, tmp_path, DifferentialOptions(base=base))
    assert [one.id for one in Repository(LocalStore(tmp_path)).all()] == [made, full.id]


def test_on_the_command_line(shop: Connection, tmp_path: Path) -> None:
    done = dbtool(*backup(shop, tmp_path, "differential", "backup", "-json"))
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["type"] == "full"
    assert "a full backup is taken: there is no full logical backup" in done.stderr
    assert "there is no full" in document["options"]["differential_refused"]
    made = take_differential(tmp_path, document["id"])
    done = dbtool(*backup(shop, tmp_path, "differential", "backup", "-base", made))
    assert done.returncode == 2
    assert f"-base {document['id']}" in done.stderr
    done = dbtool(*backup(shop, tmp_path, "differential", "backup", "-max-differentials", "1"))
    assert done.returncode == 0, done.stderr
    assert "max_differentials is 1" in done.stderr
    assert done.stdout.startswith("full_")
    done = dbtool(*backup(shop, tmp_path, "list"))
    assert f"\n└─ {made}  differential" in done.stdout
    done = dbtool("show", made, "--path", str(tmp_path))
    assert "1 with changed rows" in done.stdout
    done = dbtool("verify", made, "--path", str(tmp_path))
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2), done.stderr
    done = dbtool("verify", made, "--no-chain", "--path", str(tmp_path))
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)


def test_limits_come_from_the_settings(shop: Connection, tmp_path: Path) -> None:
    made, _ = run(shop, tmp_path / "b")
    take_differential(tmp_path / "b", made.id)
    (tmp_path / "dbtool.toml").write_text(
        f'host = "{shop.host}"\nport = {shop.port}\nuser = "{shop.user}"\nmax_differentials = 1\n'
    )
    arguments = ("backup", "--database", shop.database, "--path", str(tmp_path / "b"))
    done = dbtool(*arguments, "differential", "backup", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "and max_differentials is 1" in done.stderr


def test_by_a_column_of_times_is_of_postgres_only_yet(tmp_path: Path) -> None:
    options = DifferentialOptions(method="timestamp", column="at")
    base = Repository(LocalStore(tmp_path)).read(take_sample(tmp_path))
    connection = Connection(engine="mysql", database="shop")
    with pytest.raises(NeedsFullError, match="not there yet"):
        differential.take(MysqlEngine(), connection, LocalStore(tmp_path), base, options, Silent())
