"""What `doctor` does on a server of any kind: it makes looks, and reports what they found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dbtool.model.check import Check, State

_Facts = TypeVar("_Facts")


@dataclass(frozen=True)
class Report:
    """What was found. `database_bytes` is the size on the server's disk, None where unknown."""

    checks: tuple[Check, ...]
    database_bytes: int | None


def made(
    looks: Sequence[Callable[[_Facts], Iterator[Check]]],
    facts: _Facts,
    driver_error: type[Exception],
    is_lost: Callable[[Exception], bool],
    words: Callable[[Exception], str],
) -> Iterator[Check]:
    """What all looks find. One that fails with the driver's error is reported, and the others are made; but
    where the connection is lost nothing more can be looked at, and the error is raised."""
    for look in looks:
        try:
            yield from look(facts)
        except driver_error as error:
            if is_lost(error):
                raise
            name = look.__name__.strip("_").replace("_", " ")
            yield Check(name, State.NOTE, f"could not be looked at: {words(error)}")
