"""What choosing some tables of a database comes to, whatever kind it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """Which objects come along, by number; which are kept aside; remarks for a person."""

    taken: frozenset[int]
    aside: frozenset[int]
    missing: Mapping[int, frozenset[int]]  # by what is kept aside: the tables that it lacks
    notes: tuple[str, ...]
