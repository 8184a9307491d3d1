"""Names and values as they may be shown to a person: one line, and nothing a terminal would obey."""

from __future__ import annotations

import re

# C0 and C1 controls, DEL, line and paragraph separators, directional overrides, lone surrogates.
_UNSAFE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def _escaped(match: re.Match[str]) -> str:
    number = ord(match.group())
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def printable(text: str) -> str:
    """`text` with control characters shown as `\\x1b`, `\\x0a`, `\\u2028`."""
    return _UNSAFE.sub(_escaped, text)
