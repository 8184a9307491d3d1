"""When the next differential must be a full, and from which full it is one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.sample_backups import FIRST_MOMENT, begin, take, take_differential

from dbtool.catalog import names, records
from dbtool.catalog.index import BackupSummary
from dbtool.catalog.repository import Repository
from dbtool.errors import NotFoundError, RefusedError, UsageError, VerificationError
from dbtool.model.backup import BackupType, Method
from dbtool.operations.differential import DifferentialOptions, NoBase, checked, choose_base
from dbtool.operations.differential_policy import DifferentialPolicy, policy_reason
from dbtool.storage.local import LocalStore

POLICY = DifferentialPolicy()
DAY = timedelta(days=1)


def summary(hours: float = 0, stored_bytes: int = 1000, status: str = "completed") -> BackupSummary:
    return BackupSummary(
        id=f"x{hours}",
        type="full",
        status=status,
        timestamp_start=(FIRST_MOMENT + timedelta(hours=hours)).isoformat(),
        duration_seconds=1.0,
        compress=True,
        backup_location="",
        statistics={},
        stored_bytes=stored_bytes,
    )


@pytest.mark.parametrize(
    ("differentials", "policy", "now", "reason"),
    [
        ([], POLICY, FIRST_MOMENT, None),
        ([summary(1, 500)], POLICY, FIRST_MOMENT + 7 * DAY, None),
        ([summary(n, 10) for n in range(29)], POLICY, FIRST_MOMENT + DAY, None),
        (
            [summary(n, 10) for n in range(30)],
            POLICY,
            FIRST_MOMENT + DAY,
            "x0 has 30 differentials, and max_differentials is 30",
        ),
        (
            [summary(1, 10)],
            replace(POLICY, max_differentials=1),
            FIRST_MOMENT,
            "x0 has 1 differential, and max_differentials is 1",
        ),
        ([summary(1, 10, "failed")] * 40, POLICY, FIRST_MOMENT, None),
        ([], POLICY, FIRST_MOMENT + 8 * DAY, "x0 is 8 days old, and max_chain_age is 7 days"),
        (
            [],
            replace(POLICY, max_chain_age_seconds=12 * 3600),
            FIRST_MOMENT + timedelta(hours=12.5),
            "x0 is 12.5 hours old, and max_chain_age is 12 hours",
        ),
        ([], POLICY, FIRST_MOMENT - DAY, None),
        (
            [summary(2, 501), summary(1, 10)],
            POLICY,
            FIRST_MOMENT,
            "the last differential has 0.50 of the size of x0, and max_differential_ratio is 0.5",
        ),
        ([summary(1, 900), summary(2, 10)], POLICY, FIRST_MOMENT, None),
        ([summary(1, 900)], replace(POLICY, max_differential_ratio=1), FIRST_MOMENT, None),
    ],
)
def test_the_policy_ends_chains(
    differentials: list[BackupSummary], policy: DifferentialPolicy, now: datetime, reason: str | None
) -> None:
    assert policy_reason(summary(), differentials, policy, now) == reason


def test_a_full_without_bytes_has_no_ratio() -> None:
    assert policy_reason(summary(stored_bytes=0), [summary(1)], POLICY, FIRST_MOMENT) is None


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(LocalStore(tmp_path))


def root(repository: Repository) -> Path:
    return Path(repository.store.url)


def chosen(repository: Repository, database: str = "mydb", engine: str = "postgres") -> str:
    found = choose_base(repository, database, engine)
    return found.reason if isinstance(found, NoBase) else found.id


def test_the_base_is_the_newest_full_of_that_database_and_engine(repository: Repository) -> None:
    assert "no full logical backup of mydb" in chosen(repository)
    old = take(root(repository))
    full = take(root(repository), started=FIRST_MOMENT + DAY)
    take_differential(root(repository), full, FIRST_MOMENT + 2 * DAY)
    take(root(repository), "my%db", FIRST_MOMENT + 3 * DAY)
    take(root(repository), started=FIRST_MOMENT + 4 * DAY, type=BackupType.PARTIAL)
    take(root(repository), started=FIRST_MOMENT + 5 * DAY, engine="mysql")
    take(root(repository), started=FIRST_MOMENT + 6 * DAY, method=Method.PHYSICAL)
    begin(repository, started=FIRST_MOMENT + 7 * DAY).fail("no")
    assert chosen(repository) == full
    path = root(repository) / full / names.METADATA
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    assert chosen(repository) == old
    path.write_bytes(good)
    records.add(repository.store, full, records.VERIFICATION, {"outcome": "failed"})
    assert chosen(repository) == old
    next((root(repository) / old).glob("*.sql.zst")).unlink()
    assert "is physical" in chosen(repository)
    assert "my%25db" in chosen(repository, "my%db")


def test_a_base_that_was_named_must_be_one(repository: Repository) -> None:
    old = take(root(repository))
    full = take(root(repository), started=FIRST_MOMENT + DAY)
    made = take_differential(root(repository), full, FIRST_MOMENT + 2 * DAY)
    partial = take(root(repository), started=FIRST_MOMENT + 4 * DAY, type=BackupType.PARTIAL)
    physical = take(root(repository), started=FIRST_MOMENT + 6 * DAY, method=Method.PHYSICAL)
    failed = begin(repository, started=FIRST_MOMENT + 7 * DAY)
    failed.fail("the disk was full")
    base = choose_base(repository, "mydb", "postgres", old)
    assert not isinstance(base, NoBase)
    assert base.id == old
    for wanted, database, engine, kind, message in (
        (partial, "mydb", "postgres", UsageError, "is a partial backup"),
        (old, "other", "postgres", UsageError, "is a backup of mydb, not of other"),
        (old, "mydb", "mysql", UsageError, "is a backup of postgres, not of mysql"),
        (physical, "mydb", "postgres", UsageError, "is physical"),
        (failed.id, "mydb", "postgres", RefusedError, "the disk was full"),
        ("full_mydb", "mydb", "postgres", NotFoundError, "there is no backup full_mydb"),
    ):
        with pytest.raises(kind, match=message):
            choose_base(repository, database, engine, wanted)
    with pytest.raises(UsageError, match="is a differential itself") as caught:
        choose_base(repository, "mydb", "postgres", made)
    assert f"-base {full}" in (caught.value.hint or "")
    next((root(repository) / old).glob("*.sql.zst")).unlink()
    with pytest.raises(VerificationError, match="lacks"):
        choose_base(repository, "mydb", "postgres", old)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "blocks"}, "needs a physical full"),
        ({"method": "timestamp"}, "needs -column"),
        ({"column": "updated_at"}, "-column needs -method timestamp"),
        ({"only_changed": True}, "-only-changed needs -method timestamp"),
        ({"method": "magic"}, "no method 'magic'"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checked(DifferentialOptions(**options))  # type: ignore[arg-type]


def test_auto_means_rows() -> None:
    assert checked(DifferentialOptions()).method == "rows"
    options = DifferentialOptions(method="timestamp", column="updated_at", only_changed=True)
    assert checked(options) == options
