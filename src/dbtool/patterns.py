"""Names given as patterns by a person: `*`, `?`, `[…]`, case-sensitive on every system."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Whether the name is one of the patterns, to the letter or as a pattern."""
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
