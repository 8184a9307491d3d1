"""The Store protocol: all that the rest of dbtool may ask of a place that keeps bytes.

Names are relative, `/` between their parts, without a leading slash. Errors are `StorageError`;
a name that is not there is `NotFoundError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol


@dataclass(frozen=True)
class Entry:
    """One stored object."""

    name: str
    size_bytes: int
    modified: float  # seconds since the epoch, by the store's clock


class Upload(Protocol):
    """An object being written. Nothing can be seen under its name before `commit`.

    As a context manager it aborts on leaving unless it was committed.
    """

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""

    def commit(self) -> None:
        """Make everything written durable and visible under the name, replacing what was there."""

    def abort(self) -> None:
        """Forget what was written. Safe to call twice, and after `commit`."""

    def __enter__(self) -> Upload: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """A repository's bytes."""

    @property
    def url(self) -> str:
        """Where it is, as a person would write it: an absolute path or a URL."""

    def put(self, name: str) -> Upload:
        """Begin to write an object."""

    def put_if_absent(self, name: str, data: bytes) -> bool:
        """Write a small object durably unless the name is taken; False if it is."""

    def get(self, name: str) -> Iterator[bytes]:
        """The whole object, in pieces of at most 1 MiB."""

    def get_range(self, name: str, start: int, length: int) -> bytes:
        """`length` bytes from `start`; fewer only at the object's end."""

    def size(self, name: str) -> int:
        """The object's size in bytes."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object below `prefix` (a folder name ending in `/`, or empty), at any depth, by name.

        Uploads that were not committed are not among them.
        """

    def folders(self, prefix: str = "") -> Iterator[str]:
        """The names of the folders directly below `prefix`, without it and without a slash."""

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens if it is not there."""

    def delete_folder(self, prefix: str) -> None:
        """Remove a folder and all below it, uncommitted uploads too."""

    def lock(self, name: str, timeout_seconds: float) -> AbstractContextManager[None]:
        """Keep other dbtool processes out while the context is open; `BusyError` after the timeout.

        A help against lost updates of caches, never something that correctness may rest on: a
        place that knows no locks lets everybody in.
        """

    def now(self) -> float:
        """Seconds since the epoch by the clock that `Entry.modified` is set from."""
