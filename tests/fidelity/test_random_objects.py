"""Random objects of every kind are dropped from the awkward database, changed, and made again: a differential follows."""

from __future__ import annotations

import os
import random
import subprocess

import pytest
from tests.breakage.conftest import session
from tests.fidelity.building import build_awkward, drop_database, psql
from tests.fidelity.conftest import NewName
from tests.fidelity.dbtool_runs import Dbtool
from tests.fidelity.picture import connection_string, program
from tests.fidelity.test_differential import check_chain, picture_of

from dbtool.model.connection import Connection
from dbtool.servers.postgres import PostgresServer

SEED = os.environ.get("DBTOOL_TEST_SEED")
ROUNDS = int(os.environ.get("DBTOOL_TEST_ROUNDS", "1"))
MANY_ROUNDS = int(os.environ.get("DBTOOL_TEST_ROUNDS", "100"))
DIFFERENTIAL = ("differential", "backup", "-max-differential-ratio", "1000")


@pytest.mark.parametrize("round_number", range(ROUNDS))
def test_some_random_objects(
    round_number: int, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName
) -> None:
    follow(fidelity_server, dbtool, new_name)


@pytest.mark.slow
@pytest.mark.parametrize("round_number", range(MANY_ROUNDS))
def test_many_random_objects(
    round_number: int, fidelity_server: PostgresServer, dbtool: Dbtool, new_name: NewName
) -> None:
    follow(fidelity_server, dbtool, new_name)


def follow(server: PostgresServer, dbtool: Dbtool, new_name: NewName) -> None:
    """One database: some objects go, and come again."""
    seed = int(SEED) if SEED else random.SystemRandom().randrange(10**9)
    dice = random.Random(seed)
    log: list[str] = []
    source = build_awkward(server, f"objects_{os.getpid()}_{seed}")
    try:
        script = _schema(source, server, "--clean")
        dbtool.backup(source)
        drops = [
            line
            for line in script.decode(errors="surrogateescape").split("\n")
            if line.startswith(("DROP ", "ALTER "))
        ]
        drops = sorted({line for line in drops if " DROP " in f" {line}" and line.endswith(";")})
        for statement in dice.sample(drops, dice.choice((1, 1, 3, 8))):
            _try(source, statement[:-1] + " CASCADE", log)
        _look("dropped", source, server, dbtool, new_name, log)
        # What is there already fails; what is missing is made.
        psql(source, server.bin_directory, _schema_without_drops(script), ("-X", "-q"))
        _look("made again", source, server, dbtool, new_name, log)
    except Exception as error:
        raise AssertionError(f"DBTOOL_TEST_SEED={seed} repeats it\n{error}\n" + "\n".join(log)) from error
    finally:
        drop_database(source)


def _look(
    what: str, source: Connection, server: PostgresServer, dbtool: Dbtool, new_name: NewName, log: list[str]
) -> None:
    made = dbtool.backup(source, *DIFFERENTIAL)
    reason = made["options"].get("differential_refused")
    log.append(f"-- {what}: {reason or made['id']}")
    print(log[-1])
    if made["type"] == "full":
        assert reason
        return
    check_chain(made, picture_of(source, server, new_name), server, dbtool, new_name)


def _try(connection: Connection, statement: str, log: list[str]) -> None:
    with session(connection) as link:
        link.execute("SET client_encoding = 'UTF8'")
        try:
            link.execute(statement.encode(errors="surrogateescape"))
            log.append(f"{statement};")
        except Exception as error:
            log.append(f"-- {str(error).splitlines()[0]}: {statement}")


def _schema(source: Connection, server: PostgresServer, *options: str) -> bytes:
    command = [program(server.bin_directory, "pg_dump"), "-s", *options, "-d", connection_string(source)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def _schema_without_drops(script: bytes) -> bytes:
    """The script from its first object on."""
    start = script.index(b"\n--\n-- Name: ")
    header = [line for line in script.split(b"\n") if line.startswith(b"SET ")]
    return b"\n".join(header) + script[start:]
