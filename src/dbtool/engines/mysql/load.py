"""One worker's connection to a MySQL or MariaDB database that is being restored."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dbtool import rows
from dbtool.engines.base import Tally, Task
from dbtool.engines.mysql import bulk, history
from dbtool.engines.mysql.array_binding import ArrayInsert, TooLargeError
from dbtool.engines.mysql.connect import connect, load_session_settings
from dbtool.engines.mysql.definers import Definers
from dbtool.engines.mysql.execute import (
    SQL_MODE,
    Executor,
    MissingDefiners,
    warnings_of,
    what_of,
    without_enabling,
)
from dbtool.engines.mysql.flavour import Flavour
from dbtool.engines.mysql.foreign import Translation
from dbtool.engines.mysql.messages import explain, number_of
from dbtool.engines.mysql.queries import value_of
from dbtool.engines.mysql.quoting import STATEMENT_END, insert_prefix, quote_identifier
from dbtool.engines.mysql.table_facts import is_by_number
from dbtool.errors import InterruptedByUserError, VerificationError
from dbtool.model.archive import ArchiveIndex, Frame, SchemaObject, TableSummary
from dbtool.model.connection import Connection
from dbtool.text import counted

if TYPE_CHECKING:
    import pymysql

Remembered = list[tuple[SchemaObject, tuple[str, ...]]]

#: What is made where it is restored, and is a table or moves with it. The rest is made again.
EARLY_KINDS = frozenset(
    {"DATABASE PROPERTIES", "TABLE", "SEQUENCE", "SEQUENCE SET", "INDEX", "FK CONSTRAINT"}
)

_MASK = (1 << 64) - 1
_COMPARED_BYTES = 1 << 20  # at once; it is small enough for the processor's cache
_SENT_BYTES = 1 << 20
_DDL_THREADS_SINCE = 80027
_DDL_BUFFER_BYTES = 64 << 20

_LOCAL_IS_OFF = frozenset({1148, 3948, 4166})  # the server takes no LOAD DATA LOCAL
# Unknown command; not in this protocol; too many marks, or prepared statements; statements are logged.
_NO_ARRAYS = frozenset({1047, 1295, 1390, 1461, 4033})
_TRUNCATED = 1265

# In these the rows' bytes go unchanged into statements and come unchanged out of them.
_ROWS_SETTINGS = f"SET NAMES binary, SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00'"


class MysqlLoader:
    """See `engines.base.Loader`."""

    def __init__(
        self,
        connection: Connection,
        index: ArchiveIndex,
        flavour: Flavour,
        translation: Translation,
        definers: Definers,
        with_local_infile: bool,
        compares: bool,
        missing_definers: MissingDefiners,
        remembered: Remembered,
        only_remembered: frozenset[int],
        is_final: bool,
        with_arrays: bool = True,
    ) -> None:
        """`remembered` gets the statements of objects that are made again in the final database; those of
        the numbers `only_remembered` cannot be made here. Where it is not the final one, no event runs."""
        self._connection = connection
        self._index = index
        self._flavour = flavour
        self._compares = compares
        self._remembered = remembered
        self._only_remembered = only_remembered
        self._is_final = is_final
        self._stopped = threading.Event()
        self._uses_arrays = with_arrays and flavour.is_mariadb
        self._uses_local = with_local_infile
        self._array: tuple[int, ArrayInsert] | None = None  # of a table
        self._most_bytes = 0
        self._end_of_time = ""
        self._session: pymysql.connections.Connection[Any] = connect(
            connection,
            application_name="dbtool restore",
            local_infile=with_local_infile,
            array_binding=self._uses_arrays,
        )
        self._executor = Executor(
            self._session, translation, definers, missing_definers, stopped=self._stopped.is_set
        )
        self._reader: bulk.RowReader | None = None
        self._is_set_for_rows = False
        try:
            load_session_settings(self._session, flavour)
            self._most_bytes = int(value_of(self._session, "SELECT @@max_allowed_packet"))
            self._end_of_time = history.end_of_time(self._session, flavour)
        except BaseException:
            self.close()
            raise

    # ---- tasks ---------------------------------------------------------------------------------

    def run(self, task: Task, texts: Mapping[int, bytes], idle: int) -> None:
        """Load a frame of rows, or make schema objects."""
        if task.frame is not None:
            text = texts[task.frame]
            self._load(
                self._index.frames[task.frame], text
            )  # how many rows are left is known when it was read
        for frame, item in task.objects:
            self._raise_if_stopped()
            if self._is_set_for_rows:
                self._is_set_for_rows = False
                self._executor.forget_settings()
            sql = item.sql
            if sql is None:
                sql = texts[frame][item.offset : item.offset + item.length].decode("utf-8", "surrogateescape")
            statements = self._executor.statements(sql)
            if item.kind == "INDEX":
                statements = (*self._building_settings(idle), *statements)
            if item.number in self._only_remembered or item.kind not in EARLY_KINDS:
                self._remembered.append((item, statements))
            if item.number not in self._only_remembered:
                made = statements if self._is_final else without_enabling(statements)
                self._executor.run(what_of(item), made)

    def _building_settings(self, idle: int) -> Iterator[str]:
        """What an index is best built with. Threads that help would only take each other's time while all
        loaders are at work."""
        if not self._flavour.is_mariadb and self._flavour.version_number >= _DDL_THREADS_SINCE:
            yield (
                f"SET SESSION innodb_ddl_threads = {idle + 1}, innodb_parallel_read_threads = {idle + 1}, "
                f"innodb_ddl_buffer_size = {_DDL_BUFFER_BYTES}"
            )

    def _load(self, frame: Frame, text: bytes) -> None:
        import pymysql

        assert frame.table is not None  # noqa: S101
        table = self._index.tables[frame.table]
        try:
            self._set_for_rows()
            self._raise_if_stopped()
            # In a transaction: a connection that breaks in the middle leaves nothing behind.
            self._session.begin()
            try:
                rows = memoryview(history.to_target(text, table, self._end_of_time))
                affected, warnings = self._send(table, rows[frame.prefix_bytes :], frame)
                remarks = warnings_of(self._session) if warnings else []
                self._check(table, frame, affected, warnings, remarks)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._session.rollback()
                raise
            self._session.commit()
        except ValueError as error:
            raise VerificationError(
                f"the archive's rows of {table.name} are not in its grammar: {error}"
            ) from None
        except (pymysql.MySQLError, OSError) as error:
            self._raise_if_stopped()
            raise explain(error, f"loading rows of {table.name}") from None

    def _send(self, table: TableSummary, text: memoryview, frame: Frame) -> tuple[int, int]:
        """Rows by the way that costs the server least: (rows, warnings)."""
        import pymysql

        end = len(text) - frame.suffix_bytes
        if self._uses_arrays:
            try:
                return self._send_arrays(table, text[:end], frame.table or 0)
            except TooLargeError:
                self._begin_again()
            except pymysql.MySQLError as error:
                if number_of(error) not in _NO_ARRAYS:
                    raise
                self._uses_arrays = False
                self._begin_again()
        if self._uses_local:
            try:
                return bulk.load_local(self._session, _load_statement(table), _lines(text[:end]))
            except pymysql.MySQLError as error:
                if number_of(error) not in _LOCAL_IS_OFF:
                    raise
                self._uses_local = False  # somebody has switched it off meanwhile
        affected = warnings = 0
        prefix = insert_prefix(table.name, (name for name, _ in table.columns))
        for statement in _statements(bytes(text[:end]), prefix):
            self._raise_if_stopped()
            counts = bulk.execute_raw(self._session, statement)
            affected, warnings = affected + counts[0], warnings + counts[1]
        return affected, warnings

    def _send_arrays(self, table: TableSummary, text: memoryview, number: int) -> tuple[int, int]:
        if self._array is None or self._array[0] != number:
            if self._array is not None:
                self._array[1].close()
                self._array = None
            columns = [
                (name, "CAST(? AS UNSIGNED)" if kind == "n" and is_by_number(column_type) else "?")
                for (name, column_type), kind in zip(table.columns, table.details["kinds"], strict=True)
            ]
            self._array = number, ArrayInsert(self._session, table.name, columns, self._most_bytes)
        limit = min(_SENT_BYTES, self._most_bytes // 2)
        return self._array[1].run(_parameters(text, limit))

    def _begin_again(self) -> None:
        self._session.rollback()
        self._session.begin()

    def _check(
        self,
        table: TableSummary,
        frame: Frame,
        affected: int,
        warnings: int,
        remarks: list[tuple[str, int, str]],
    ) -> None:
        said = f": {remarks[0][2]}" if remarks else ""
        if affected != frame.rows:
            raise VerificationError(
                f"{table.name}: the server took {affected:,} of {counted(frame.rows, 'row')}{said}"
            )
        if not warnings:
            return
        # The empty value of an ENUM, of number 0, is read as '' and stored again, with a warning. That
        # it is what was stored is seen when the rows are compared.
        if self._compares and remarks and all(self._is_about_enum(table, remark) for remark in remarks):
            return
        raise VerificationError(f"{table.name}: the server changed values{said or ' (it gave warnings)'}")

    def _is_about_enum(self, table: TableSummary, remark: tuple[str, int, str]) -> bool:
        _, number, message = remark
        enums = [name for name, kind in table.columns if kind.lower().startswith("enum")]
        return number == _TRUNCATED and any(f"'{name}'" in message for name in enums)

    def _set_for_rows(self) -> None:
        if not self._is_set_for_rows:
            bulk.execute_raw(self._session, _ROWS_SETTINGS)
            self._is_set_for_rows = True

    def _raise_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise InterruptedByUserError("stopped")

    # ---- comparison ----------------------------------------------------------------------------

    def tally(self, table: int) -> Tally:
        """Read a table's rows back and digest them; nothing is kept."""
        import pymysql

        summary = self._index.tables[table]
        found = Tally()
        try:
            self._set_for_rows()
            if self._reader is None:
                self._reader = bulk.RowReader(self._session)
            stream = self._reader.stream
            kinds = summary.details["kinds"].encode("ascii")
            self._reader.begin(_select_statement(summary, self._end_of_time), kinds, (), None, b"")
            more = True
            while more:
                stream.reset(b"")
                more = self._reader.read(_COMPARED_BYTES)
                found.rows += stream.rows
                found.digest = (found.digest + stream.digest) & _MASK
        except InterruptedError:
            raise InterruptedByUserError("stopped") from None
        except (pymysql.MySQLError, OSError) as error:
            self._raise_if_stopped()
            raise explain(error, f"reading the restored rows of {summary.name}") from None
        return found

    def stop(self) -> None:
        """End what another thread is doing here: at the server too, which would finish an ALTER TABLE."""
        self._stopped.set()
        with contextlib.suppress(Exception):
            number = self._session.thread_id()  # type: ignore[no-untyped-call]
            with connect(
                self._connection, application_name="dbtool restore control", database=False
            ) as other:
                other.kill(number)  # type: ignore[no-untyped-call]
        if self._reader is not None:
            self._reader.stop()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(Exception):
            self._session.close()


def _load_statement(table: TableSummary) -> bytes:
    """Bytes go into their columns as they are, but for those that take text only: see the kinds."""
    columns, conversions = [], []
    for number, ((name, column_type), kind) in enumerate(
        zip(table.columns, table.details["kinds"], strict=True)
    ):
        if kind == "j":
            columns.append(f"@v{number}")
            conversions.append(f"{quote_identifier(name)} = CONVERT(@v{number} USING utf8mb4)")
        elif kind == "n" and is_by_number(column_type):
            # As text, the number of a label might be the text of another.
            columns.append(f"@v{number}")
            conversions.append(f"{quote_identifier(name)} = CAST(@v{number} AS UNSIGNED)")
        else:
            columns.append(quote_identifier(name))
    text = (
        f"LOAD DATA LOCAL INFILE 'dbtool' INTO TABLE {quote_identifier(table.name)} CHARACTER SET binary "
        "FIELDS TERMINATED BY '\\t' ENCLOSED BY '' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' STARTING BY '' "
        f"({', '.join(columns)})"
    )
    if conversions:
        text += f" SET {', '.join(conversions)}"
    return text.encode("utf-8", "surrogateescape")


def _parameters(text: memoryview, limit: int) -> Iterator[bytes]:
    position = 0
    while position < len(text):
        piece, position, _ = rows.insert_to_parameters(text, position, limit)
        yield piece


def _lines(text: memoryview) -> Iterator[bytes]:
    position = 0
    while position < len(text):
        piece, position, _ = rows.insert_to_load(text, position, _SENT_BYTES)
        yield piece


def _statements(text: bytes, prefix: bytes) -> Iterator[bytes]:
    """The INSERT statements of a frame. Their end cannot stand inside a literal, but it can in the name of
    a table or a column, which are in the prefix."""
    start = 0
    while start < len(text):
        rows = start + len(prefix) if text.startswith(prefix, start) else start
        end = text.find(STATEMENT_END, rows)
        if end < 0:
            raise ValueError("a statement has no end")
        yield text[start:end]
        start = end + len(STATEMENT_END)


def _select_statement(table: TableSummary, end_of_time: str) -> bytes:
    """The same expressions that the backup read."""
    expressions = ", ".join(history.expressions(table, end_of_time))
    source = quote_identifier(table.name) + table.details.get("from_suffix", "")
    return f"SELECT {expressions} FROM {source}".encode("utf-8", "surrogateescape")  # noqa: S608
