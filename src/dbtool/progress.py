"""What long work reports, and how it is shown.

Work calls a `Progress`; who shows it is decided at the roof: a bar on a terminal, plain lines
in a log, nothing in a test. Everything shown goes to stderr, for stdout is data.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What long work tells. Every method may be called from any thread."""

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """A new phase begins, such as "schema" or "data"; `total_bytes` is an estimate."""

    def advance(self, done_bytes: int) -> None:
        """So many more bytes of the phase are done."""

    def note(self, message: str) -> None:
        """One line that a person should read, once."""


class Silent:
    """Says nothing, and keeps the notes for whoever asks."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def phase(self, name: str, total_bytes: int | None = None) -> None:
        """Nothing is shown."""

    def advance(self, done_bytes: int) -> None:
        """Nothing is shown."""

    def note(self, message: str) -> None:
        """Kept in `notes`."""
        self.notes.append(message)
