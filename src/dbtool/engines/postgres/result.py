"""One running statement: its columns, and its rows as they come, in flat memory.

Works on libpq directly: psycopg's cursors keep whole results, or need a cursor on the server,
which INSERT … RETURNING, SHOW, EXPLAIN and CALL cannot have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from dbtool.engines.session import ResultColumn
from dbtool.errors import SqlError

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

# Few enough that wide rows stay small in memory, enough that a narrow row costs no call of its own.
ROWS_PER_BATCH = 50
BYTES_PER_BATCH = 1 << 20  # of a first row's width, times rows

_JSON_KINDS = {
    **dict.fromkeys(("int2", "int4", "int8", "float4", "float8", "numeric", "oid", "xid", "xid8"), "number"),
    "bool": "boolean",
    "json": "json",
    "jsonb": "json",
}


class Wire(Protocol):
    """What a result needs of the session that it belongs to."""

    @property
    def is_utf8(self) -> bool:
        """Whether all text on the connection is known to be UTF-8."""

    def next_result(self) -> PGresult | None:
        """Wait for the server's next result; None after the last. Raises what the server refuses."""

    def next_copied(self) -> bytes | None:
        """What COPY … TO STDOUT sends next; None after its end. Raises what the server refuses."""

    def end_statement(self) -> None:
        """Ask the server to end the running statement, and read what it still sends."""

    def read_to_end(self) -> str:
        """Read and forget what is left of the statement; the last command tag."""

    def finished(self) -> None:
        """The statement is over."""


@dataclass(frozen=True)
class _Context:
    """What psycopg's transformer asks for: which loaders, and no connection to take encodings from."""

    adapters: Any
    connection: None = None


def columns_of(result: PGresult) -> tuple[ResultColumn, ...]:
    """The columns of a result or of a described statement."""
    from psycopg.postgres import types

    found = []
    for index in range(result.nfields):
        info = types.get(result.ftype(index))
        type_name = info.name if info else "user-defined"
        kind = _JSON_KINDS.get(type_name, "string")
        is_numeric = kind == "number" or type_name == "money"
        name = (result.fname(index) or b"").decode("utf-8", "surrogateescape")
        found.append(ResultColumn(name, type_name, is_numeric, kind))
    return tuple(found)


class PostgresResult:
    """A statement's result; see the protocol `Result`."""

    def __init__(self, wire: Wire, first: PGresult, may_be_ended: bool) -> None:
        from psycopg.pq import ExecStatus

        self._wire = wire
        self._may_be_ended = may_be_ended
        self._first: PGresult | None = first
        self._status = ""
        self._is_done = self._is_read = False
        self.is_raw = first.status == ExecStatus.COPY_OUT
        self.columns: Sequence[ResultColumn] | None
        if self.is_raw:
            self.columns = (ResultColumn("COPY", "text"),)
            if first.binary_tuples:
                wire.end_statement()
                self._finish("")
                raise SqlError(
                    "COPY in binary format is nothing that can be shown here",
                    "Leave FORMAT binary out, or let the server write it to a file of its own.",
                )
        elif first.status in (ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY):
            self.columns = None
            self._finish(_tag(first))
        else:
            self.columns = columns_of(first)

    @property
    def status(self) -> str:
        """The command tag."""
        return self._status

    def rows(self) -> Iterator[Sequence[str | None]]:
        """The rows, once."""
        for batch in self.batches():
            yield from batch

    def batches(self) -> Iterator[Sequence[Sequence[str | None]]]:
        """The rows, once, up to `ROWS_PER_BATCH` at a time."""
        if self._is_read:
            return
        self._is_read = True
        yield from self._copied_lines() if self.is_raw else self._row_batches()

    def close(self) -> None:
        """End or drain the statement."""
        if self._is_done:
            return
        if self._may_be_ended:
            self._wire.end_statement()
            self._finish("SELECT (not read to its end)")
        else:
            self.drain()

    def drain(self) -> None:
        """Let the statement run to its end, and forget its rows."""
        if not self._is_done:
            self._finish(self._wire.read_to_end())

    def abandon(self) -> None:
        """The statement failed: there is nothing more to read."""
        self._is_done = True

    def _row_batches(self) -> Iterator[Sequence[Sequence[str | None]]]:
        load = self._loader()
        result = self._first
        self._first = None
        while result is not None and not self._is_done:
            step = _rows_at_once(result)
            for start in range(0, result.ntuples, step):
                yield load(result, start, min(start + step, result.ntuples))
            self._status = _tag(result) or self._status
            result = None  # its memory is needed for the next one
            result = self._wire.next_result()
        if not self._is_done:
            self._finish(self._status)

    def _loader(self) -> Callable[[PGresult, int, int], Sequence[Sequence[str | None]]]:
        if not self._wire.is_utf8:
            return _load_escaped
        from psycopg.adapt import AdaptersMap, Transformer
        from psycopg.types.string import TextLoader

        adapters = AdaptersMap()
        adapters.register_loader(0, TextLoader)  # type 0: every type that has no loader, that is all
        transformer: Any = Transformer(_Context(adapters))

        def load(result: PGresult, start: int, end: int) -> Sequence[Sequence[str | None]]:
            transformer.set_pgresult(result, set_loaders=True)
            rows: Sequence[Sequence[str | None]] = transformer.load_rows(start, end, tuple)
            transformer.set_pgresult(None)
            return rows

        return load

    def _copied_lines(self) -> Iterator[Sequence[Sequence[str | None]]]:
        self._first = None
        while not self._is_done:
            line = self._wire.next_copied()
            if line is None:
                self._finish(self._wire.read_to_end())
            else:
                yield [(line.decode("utf-8", "surrogateescape").removesuffix("\n"),)]

    def _finish(self, status: str) -> None:
        self._status = status
        self._is_done = True
        self._first = None
        self._wire.finished()


def _tag(result: PGresult) -> str:
    return (result.command_status or b"").decode("utf-8", "replace")


def _rows_at_once(result: PGresult) -> int:
    """How many rows of a batch to turn into text at once: fewer where they are wide."""
    if not result.ntuples:
        return 1
    width = sum(len(result.get_value(0, column) or b"") for column in range(result.nfields))
    return max(1, min(result.ntuples, BYTES_PER_BATCH // max(width, 1)))


def _load_escaped(result: PGresult, start: int, end: int) -> Sequence[Sequence[str | None]]:
    return [
        tuple(
            None if value is None else value.decode("utf-8", "surrogateescape")
            for value in (result.get_value(row, column) for column in range(result.nfields))
        )
        for row in range(start, end)
    ]
