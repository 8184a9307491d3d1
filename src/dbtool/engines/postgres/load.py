"""One worker's connection to a PostgreSQL database that is being restored."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from dbtool.engines.base import Tally, Task
from dbtool.engines.postgres import keys
from dbtool.engines.postgres.binary import column_kinds
from dbtool.engines.postgres.bulk import CopyOut, ServerError, binary_formats, copy_in
from dbtool.engines.postgres.connect import backup_session_settings, codec_of, connect, set_client_encoding
from dbtool.engines.postgres.introspect import configuration_condition
from dbtool.engines.postgres.keys import INDEX_OF_KEY
from dbtool.engines.postgres.plan import select_statement
from dbtool.engines.postgres.schema import setting_statement, settings_of
from dbtool.errors import ConnectionFailedError, InterruptedByUserError, SqlError, VerificationError
from dbtool.model.archive import ArchiveIndex, SchemaObject
from dbtool.model.connection import Connection
from dbtool.model.database import Column, Table
from dbtool.text import counted

_MASK = (1 << 64) - 1
_COMPARED_BYTES = 1 << 20  # at once; it is small enough for the processor's cache
_BINARY_BYTES = 128 * 1024  # below it, asking for the columns' types costs more than it saves
_SHOWN_STATEMENT_CHARACTERS = 300
# One transaction for many small objects; each of them may hold a lock until its end.
_OBJECTS_A_TRANSACTION = 200
# An object that is there already, where a restore of some tables brings what those need.
_DUPLICATES = frozenset({"42P06", "42P07", "42710", "42723", "42P04"})

_ROLES_ADVICE = (
    "if a role is missing, make it or add --globals; or leave owners and privileges out: "
    "--no-owner --no-privileges"
)
_ADVICE = {
    "42704": _ROLES_ADVICE,  # undefined object, such as a role
    "42501": _ROLES_ADVICE,  # insufficient privilege
    "58P01": "install the extension's package on the server",  # no control file
    "0A000": "the server does not have it; is the extension's package installed?",
}

# What is sorted for a B-tree goes to disk in runs, which are merged from there. Runs that fit into the
# processor's cache are sorted faster than what fills much memory; so: as much memory as is needed to
# merge all runs at once (one buffer of 256 KiB a run, tuplesort.c), and not less than 16 MiB.
_MERGE_BUFFER_BYTES = 256 * 1024
_LEAST_SORT_BYTES, _MOST_SORT_BYTES = 16 << 20, 1 << 30
_OTHER_INDEX_BYTES = 256 << 20  # the more memory the better
_BUILT_KINDS = frozenset({"INDEX", "CONSTRAINT"})
_IS_SORTED = re.compile(rb" USING btree | (PRIMARY KEY|UNIQUE) ")


Placed = tuple[int, SchemaObject]  # an object with the number of the frame that it stands in


class CopyLoader:
    """See `engines.base.Loader`."""

    def __init__(
        self,
        connection: Connection,
        index: ArchiveIndex,
        with_owners: bool,
        keeps_existing: frozenset[int],
        notes: list[str],
        with_index: set[int],
    ) -> None:
        self._index = index
        self._with_owners = with_owners
        self._keeps_existing = keeps_existing
        self._notes = notes
        self._with_index = with_index  # numbers of keys whose index is there; shared by all loaders
        self._settings: dict[str, str] = {}
        self._stopped = False
        self._session = connect(connection, application_name="dbtool restore")
        backup_session_settings(self._session, loading=True)
        encoding = index.backup["database"]["encoding"]
        set_client_encoding(self._session, encoding)
        # Nothing is lost by it: the restore's last transaction waits for all before it.
        self._session.execute("SET synchronous_commit = off")
        self._codec = codec_of(self._session)
        self._copy: CopyOut | None = None
        self._kinds: dict[int, bytes | None] = {}

    # ---- tasks ---------------------------------------------------------------------------------

    def run(self, task: Task, texts: Mapping[int, bytes], idle: int) -> None:
        """Load a frame of rows, or make schema objects."""
        if task.frame is not None:
            self._load(task.frame, texts[task.frame])
        if task.detail == INDEX_OF_KEY:
            self._make_index_of_key(task, texts, idle)
            return
        for batch in _batches(task.objects, self._keeps_existing):
            if any(item.kind in _BUILT_KINDS for _, item in batch):
                self._prepare_building(batch, texts, task.weight, idle)
            self._make(batch, texts)

    def _load(self, number: int, text: bytes) -> None:
        frame = self._index.frames[number]
        assert frame.table is not None  # noqa: S101
        table = self._index.tables[frame.table]
        statement = text[: frame.prefix_bytes].rstrip().removesuffix(b";")
        data = frame.rows_of(text)
        name = f"{table.schema}.{table.name}"
        try:
            count = copy_in(self._session, statement, data, self._kinds_of(frame.table, len(data)))
        except ServerError as error:
            self._raise_if_stopped()
            context = f" ({error.context.splitlines()[0]})" if error.context else ""
            raise SqlError(f"loading rows of {name} failed: {error.message}{context}", error.hint) from None
        if count != frame.rows:
            raise VerificationError(f"{name}: the server took {count:,} of {counted(frame.rows, 'row')}")

    def _kinds_of(self, number: int, size_bytes: int) -> bytes | None:
        """How the rows of a table can be sent in binary; None if as text, or if they are few."""
        if size_bytes < _BINARY_BYTES:
            return None
        if number not in self._kinds:
            table = self._index.tables[number]
            schema, name = table.details.get("loaded_through") or (table.schema, table.name)
            columns = [column for column, _ in table.columns]
            self._kinds[number] = column_kinds(self._session, schema, name, columns)
        return self._kinds[number]

    def _make_index_of_key(self, task: Task, texts: Mapping[int, bytes], idle: int) -> None:
        """The first step, where there can be two. If it fails, the key itself is tried, and its error told."""
        ((frame, item),) = task.objects
        steps = keys.in_steps(self._text_of(item, frame, texts))
        if steps is None:
            return
        self._prepare_building(task.objects, texts, task.weight, idle)
        sql = self._settings_for(item) + steps.index
        try:
            self._execute(sql)
        except ServerError:
            self._raise_if_stopped()
            self._settings.clear()
        else:
            self._with_index.add(item.number)

    def _prepare_building(
        self, batch: Sequence[Placed], texts: Mapping[int, bytes], table_bytes: int, idle: int
    ) -> None:
        """Set what indexes are best built with. Processes that help would only take each other's time
        while all loaders are at work."""
        memory = min(max(math.isqrt(table_bytes * _MERGE_BUFFER_BYTES), _LEAST_SORT_BYTES), _MOST_SORT_BYTES)
        if not all(_IS_SORTED.search(self._text_of(item, frame, texts)) for frame, item in batch):
            memory = max(memory, _OTHER_INDEX_BYTES)
        self._session.execute(
            f"SET maintenance_work_mem = {memory >> 10}; SET max_parallel_maintenance_workers = {idle}"
        )

    def _make(self, batch: Sequence[Placed], texts: Mapping[int, bytes]) -> None:
        """Make objects in one transaction; if that fails, one by one, to know which it was."""
        if len(batch) > 1:
            settings = dict(self._settings)
            sql = b"".join(self._sql_of(item, frame, texts) for frame, item in batch)
            try:
                self._execute(sql)
            except ServerError:
                self._settings = settings
            else:
                return
        for frame, item in batch:
            sql = self._sql_of(item, frame, texts)
            try:
                self._execute(sql)
            except ServerError as error:
                if item.number in self._keeps_existing and error.sqlstate in _DUPLICATES:
                    self._settings.clear()
                    self._notes.append(f"{item.kind} {called(item)} is there already and stays as it is")
                    continue
                self._raise_if_stopped()
                if item.kind == "ANALYZE":  # a foreign server may be out of reach; the rows are there
                    self._notes.append(f"statistics of {called(item)} were not gathered: {error.message}")
                    continue
                shown = sql.decode(self._codec, "replace").strip()
                if len(shown) > _SHOWN_STATEMENT_CHARACTERS:
                    shown = shown[:_SHOWN_STATEMENT_CHARACTERS] + "…"
                detail = f" ({error.fields['D']})" if error.fields.get("D") else ""
                advice = error.hint or _ADVICE.get(error.sqlstate)
                raise SqlError(
                    f"{item.kind} {called(item)} could not be made: {error.message}{detail}",
                    f"{advice + '; ' if advice else ''}the statement: {' '.join(shown.split())}",
                ) from None

    def _sql_of(self, item: SchemaObject, frame: int, texts: Mapping[int, bytes]) -> bytes:
        """The object's SQL with the settings that it needs and, if wanted, its owner."""
        text = self._text_of(item, frame, texts)
        if not self._with_owners:
            text = text[: item.owner_offset] + text[item.owner_offset :].partition(b";\n")[2]
        steps = keys.in_steps(text) if item.number in self._with_index else None
        return self._settings_for(item) + (steps.key if steps else text) + b"\n"

    def _settings_for(self, item: SchemaObject) -> bytes:
        """Statements for the settings that the object needs and the session has not."""
        changed = b""
        for setting, value in settings_of(item).items():
            if self._settings.get(setting) != value:
                changed += setting_statement(setting, value).encode(self._codec, "surrogateescape")
                self._settings[setting] = value
        return changed

    def _text_of(self, item: SchemaObject, frame: int, texts: Mapping[int, bytes]) -> bytes:
        if item.sql is not None:
            return item.sql.encode(self._codec, "surrogateescape")
        return texts[frame][item.offset : item.offset + item.length]

    def _execute(self, sql: bytes) -> None:
        import psycopg

        try:
            self._session.execute(sql, prepare=False)
        except psycopg.Error as error:
            if error.diag.sqlstate is None:
                raise ConnectionFailedError(f"connection to the server lost: {error}") from None
            fields = {
                "M": error.diag.message_primary or str(error),
                "C": error.diag.sqlstate,
                "D": error.diag.message_detail or "",
                "H": error.diag.message_hint or "",
            }
            raise ServerError({letter: value for letter, value in fields.items() if value}) from None

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise InterruptedByUserError("stopped")

    # ---- comparison ----------------------------------------------------------------------------

    def tally(self, number: int) -> Tally:
        """Read a table's rows back and digest them; nothing is kept."""
        if self._copy is None:
            self._copy = CopyOut(self._session)
        summary = self._index.tables[number]
        columns = tuple(Column(*column) for column in summary.columns)
        condition = ""
        if summary.details.get("is_configuration"):
            condition = configuration_condition(self._session, summary.schema, summary.name)
        table = Table(summary.identity, summary.schema, summary.name, columns, condition=condition)
        query = select_statement(table, "").encode(self._codec, "surrogateescape")
        found = Tally()
        stream = self._copy.stream
        try:
            self._copy.begin(query, binary_formats(columns), (), None)
            more = True
            while more:
                stream.reset(b"")
                more = self._copy.read(_COMPARED_BYTES)
                found.rows += stream.rows
                found.digest = (found.digest + stream.digest) & _MASK
        except ServerError as error:
            raise SqlError(f"reading restored rows back failed: {error.message}", error.hint) from None
        except InterruptedError:
            raise InterruptedByUserError("stopped") from None
        return found

    def stop(self) -> None:
        """End what another thread is doing here."""
        self._stopped = True
        if self._copy is not None:
            self._copy.stop()
        with contextlib.suppress(Exception):
            self._session.cancel_safe(timeout=2)

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(Exception):
            self._session.close()


def called(item: SchemaObject) -> str:
    """`schema.name`, for a person."""
    return f"{item.schema}.{item.name}" if item.schema else item.name


def _batches(objects: Sequence[Placed], alone: frozenset[int]) -> Iterator[Sequence[Placed]]:
    """Groups for one transaction each; objects that may fail stand alone."""
    group: list[tuple[int, SchemaObject]] = []
    for pair in objects:
        if pair[1].number in alone:
            if group:
                yield group
            yield [pair]
            group = []
            continue
        group.append(pair)
        if len(group) == _OBJECTS_A_TRANSACTION:
            yield group
            group = []
    if group:
        yield group
