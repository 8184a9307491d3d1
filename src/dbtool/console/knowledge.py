"""What completion knows of the database and the repository, loaded in the background.

A failure to load is no error: completion then offers less.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from dbtool.console.names_index import NamesIndex
from dbtool.engines.session import Names

Backups = Sequence[tuple[str, str]]

_FRESH_SECONDS = 15.0
_PATIENCE_SECONDS = 0.3  # completion runs beside the input, so it may wait a moment for a first answer


class BackgroundKnowledge:
    """Loads names and backups in threads of its own; see the protocol `Knowledge`."""

    def __init__(
        self,
        load_names: Callable[[], Names],
        load_backups: Callable[[str | None], Backups],
        dialect: str = "postgres",
    ) -> None:
        self._load_names = load_names
        self._load_backups = load_backups
        self._dialect = dialect
        self._index = NamesIndex(Names(), dialect)
        self._names_loading = threading.Lock()
        self._names_wanted = threading.Event()
        self._backups: dict[str | None, tuple[float, Backups]] = {}
        self._backups_loading: dict[str | None, threading.Thread] = {}

    @property
    def is_loading_names(self) -> bool:
        """Whether the names are being read just now."""
        return self._names_loading.locked()

    def names(self) -> NamesIndex:
        """The names as they were last read."""
        return self._index

    def refresh_names(self) -> None:
        """Read the names again; if they are being read, once more afterwards."""
        self._names_wanted.set()
        threading.Thread(target=self._read_names, name="names", daemon=True).start()

    def backups(self, repository: str | None) -> Backups:
        """The repository's backups as they were last read; read again if that was some time ago."""
        read_at, known = self._backups.get(repository, (0.0, ()))
        if time.monotonic() - read_at > _FRESH_SECONDS:
            thread = self._backups_loading.get(repository)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(target=self._read_backups, args=(repository,), daemon=True)
                self._backups_loading[repository] = thread
                thread.start()
            if not known:
                thread.join(_PATIENCE_SECONDS)
                known = self._backups.get(repository, (0.0, ()))[1]
        return known

    def forget_backups(self) -> None:
        """A command may have changed them: read them again when they are next asked for."""
        self._backups.clear()

    def _read_names(self) -> None:
        if not self._names_loading.acquire(blocking=False):
            return  # whoever holds it looks at `_names_wanted` again
        try:
            while self._names_wanted.is_set():
                self._names_wanted.clear()
                self._index = NamesIndex(self._load_names(), self._dialect)
        except Exception:  # noqa: S110 - completion only offers less
            pass
        finally:
            self._names_loading.release()

    def _read_backups(self, repository: str | None) -> None:
        try:
            self._backups[repository] = (time.monotonic(), self._load_backups(repository))
        except Exception:
            self._backups[repository] = (time.monotonic(), ())
