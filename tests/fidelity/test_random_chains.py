"""Random histories: every differential of a chain gives the state at its snapshot, whatever happened before.

`DBTOOL_TEST_SEED` repeats the history of that seed, `DBTOOL_TEST_ROUNDS` says how many there are.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from tests.breakage.conftest import outcome, paused
from tests.fidelity.building import create_database, drop_database
from tests.fidelity.conftest import NewName
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import Picture, difference, take_picture
from tests.fidelity.random_history import History
from tests.fidelity.test_differential import picture_of, run_chain

from dbtool.servers.postgres import PostgresServer

SEED = os.environ.get("DBTOOL_TEST_SEED")
ROUNDS = int(os.environ.get("DBTOOL_TEST_ROUNDS", "3"))
MANY_ROUNDS = int(os.environ.get("DBTOOL_TEST_ROUNDS", "300"))


@pytest.mark.parametrize("round_number", range(1 if SEED else ROUNDS))
def test_some_random_chains(
    round_number: int, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName
) -> None:
    follow(_seed(round_number), fidelity_server, dbtool, new_name)


@pytest.mark.slow
@pytest.mark.parametrize("round_number", range(MANY_ROUNDS))
def test_many_random_chains(
    round_number: int, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName
) -> None:
    follow(_seed(round_number), fidelity_server, dbtool, new_name)


def _seed(_: int) -> int:
    return int(SEED) if SEED else random.SystemRandom().randrange(10**9)


def follow(seed: int, server: PostgresServer, dbtool: Dbtool, new_name: NewName) -> None:
    """One history: a full, differentials at random moments, and each of them restored."""
    source = server.connection(f"random_{os.getpid()}_{seed}")
    create_database(server.connection(), source.database)
    try:
        history = History(source, seed)
        try:
            _live(history, server, dbtool, new_name)
        except BaseException as error:
            told = dbtool.repository.parent / "history.sql"
            told.write_text("\n".join(history.log))
            if isinstance(error, Exception):
                raise AssertionError(
                    f"DBTOOL_TEST_SEED={seed} repeats it; all statements: {told}\n{error}\n"
                    + "\n".join(history.log)
                ) from error
            raise
        finally:
            history.close()
    finally:
        drop_database(source)


def _live(history: History, server: PostgresServer, dbtool: Dbtool, new_name: NewName) -> None:
    dice = history.dice
    history.go_on(dice.randint(5, 40))
    full, _ = _taken(history, server, dbtool, new_name, "full", "database")
    differentials: list[tuple[dict[str, Any], Picture]] = []
    for _ in range(2):
        history.only_rows(dice.random() < 0.4)
        history.go_on(dice.choice((3, 15, 60)))
        made, expected = _taken(history, server, dbtool, new_name, "differential", "backup", "-base", full["id"],
                                "-max-differential-ratio", "1000")  # fmt: skip
        reason = made["options"].get("differential_refused")
        history.log.append(f"-- {made['id']}: {reason or 'a differential'}")
        assert (made["type"] == "full") == bool(reason)
        assert reason is None or "is locked" not in reason
        if made["type"] == "differential":
            differentials.append((made, expected))
    history.go_on(5)
    for made, expected in differentials:
        _check(made, expected, server, dbtool, new_name)


def _taken(
    history: History, server: PostgresServer, dbtool: Dbtool, new_name: NewName, *action: str
) -> tuple[dict[str, Any], Picture]:
    """A backup, and what the database looked like then; half of the time it is changed while it is backed up."""
    history.make_way()
    expected = picture_of(history.connection, server, new_name)
    history.log.append(f"-- {' '.join(action)}")
    if history.dice.random() < 0.5:
        return dbtool.backup(history.connection, *action), expected
    point = history.dice.choice(("schema-written", "rows-read"))
    before = {one["id"] for one in dbtool.listed()} if dbtool.repository.exists() else set()
    with paused(dbtool, dbtool.backup_arguments(history.connection, *action), point) as process:
        history.go_on(6)
    # Sequences are in no snapshot.
    expected = dataclasses.replace(expected, sequences={})
    code, said = outcome(process)
    assert code == 0, said
    (made,) = (
        one["id"] for one in dbtool.listed() if one["id"] not in before and one["status"] == "completed"
    )
    return _metadata(dbtool.repository, made), expected


def _metadata(repository: Path, wanted: str) -> dict[str, Any]:
    for path in repository.rglob("metadata.json"):
        document: dict[str, Any] = json.loads(path.read_text())
        if document["id"] == wanted:
            return {"backup_location": str(path.parent), **document}
    raise LookupError(wanted)


def _check(
    made: dict[str, Any], expected: Picture, server: PostgresServer, dbtool: Dbtool, new_name: NewName
) -> None:
    copy = new_name()
    dbtool.restore(made["id"], copy)
    _compare(expected, take_picture(copy, server.bin_directory), made)
    drop_database(copy)
    by_hand = new_name()
    create_database(server.connection(), by_hand.database)
    run_chain(made, by_hand, server)
    _compare(expected, take_picture(by_hand, server.bin_directory), made)
    drop_database(by_hand)


def _compare(expected: Picture, found: Picture, made: dict[str, Any]) -> None:
    if not expected.sequences:
        found = dataclasses.replace(found, sequences={})
    assert "\n".join(difference(expected, found)) == "", made["id"]
