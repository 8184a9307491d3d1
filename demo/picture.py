"""What a database holds, as it was seen without dbtool. Two pictures that are equal show the same database."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Picture:
    """One database at one moment."""

    schema: str
    tables: Mapping[str, tuple[int, str]]  # rows; a digest of them, as a number
    sequences: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    large_objects: tuple[tuple[Any, ...], ...] = ()
    properties: tuple[Any, ...] = ()

    @property
    def rows(self) -> int:
        """Of all tables together."""
        return sum(rows for rows, _ in self.tables.values())

    def differences(self, other: Picture) -> list[str]:
        """What is not the same, one line each; nothing if the pictures are equal."""
        lines = list(
            difflib.unified_diff(self.schema.splitlines(), other.schema.splitlines(), lineterm="", n=0)
        )
        found = [f"schema: {line}" for line in lines[2:] if not line.startswith("@@")]
        for kind, ours, theirs in (
            ("table", self.tables, other.tables),
            ("sequence", self.sequences, other.sequences),
        ):
            for name in sorted({*ours, *theirs}):
                if (old := ours.get(name)) != (new := theirs.get(name)):
                    found.append(f"{kind} {name}: {_in_words(kind, old)} became {_in_words(kind, new)}")
        if self.large_objects != other.large_objects:
            found.append("large objects: not the same")
        if self.properties != other.properties:
            found.append(f"database: {self.properties} became {other.properties}")
        return found


def _in_words(kind: str, state: tuple[Any, ...] | None) -> str:
    if state is None:
        return "nothing"
    return f"{state[0]:,} rows (digest {int(state[1]) % 2**64:016x})" if kind == "table" else str(state)
