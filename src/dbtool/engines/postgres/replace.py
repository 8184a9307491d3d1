"""Putting tables of a backup in the place of tables that are there, so that a failure loses nothing.

The old tables move, with their indexes, keys and sequences, into a schema of their own; the new
ones are made where they were; foreign keys and views of other tables are turned to the new ones,
and only then are the old ones dropped, all of that in one transaction. Until then the old rows
are there, and are put back if anything goes wrong.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dbtool.engines.postgres.connect import backup_session_settings, codec_of, connect
from dbtool.engines.postgres.dependents import Dependents, View, find_dependents
from dbtool.engines.postgres.quoting import qualified, quote_identifier, quote_literal
from dbtool.errors import BusyError, RefusedError, SqlError
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    import psycopg

    Session = psycopg.Connection[tuple[Any, ...]]

_LOCK_TIMEOUT_SECONDS = 30


class TableReplacement:
    """The tables (schema, name) of one database that are to be replaced."""

    def __init__(self, connection: Connection, tables: Sequence[tuple[str, str]]) -> None:
        self._connection = connection
        self._tables = tables
        self._aside = f"dbtool_replaced_{secrets.token_hex(4)}"
        self._found: Dependents | None = None  # what was found when the tables were set aside

    def set_aside(self) -> None:
        """Move the old tables away. `RefusedError` if something hangs on them that cannot follow."""
        self._refuse_equal_names()
        with _readable("set aside"), self._transaction() as session:
            found = find_dependents(session, self._tables)
            _run(session, f"CREATE SCHEMA {quote_identifier(self._aside)}")
            for schema, name in found.statistics:
                _run(session, _move("STATISTICS", schema, name, self._aside))
            for partition, parent, _ in found.attachments:
                _run(session, f"ALTER TABLE {parent} DETACH PARTITION {partition}")
            for schema, name in self._tables:
                _run(session, _move("TABLE", schema, name, self._aside))
        # Only now, for what was rolled back did not move, and must not be put back over itself.
        self._found = found

    def _refuse_equal_names(self) -> None:
        names = [name for _, name in self._tables]
        if len(set(names)) != len(names):
            listed = ", ".join(".".join(table) for table in self._tables[:3])
            raise RefusedError(
                f"cannot replace {listed} at once: two of them have the same name",
                "restore them one after the other",
            )

    def finish(self) -> None:
        """Turn keys and views to the new tables and drop the old ones."""
        found = self._found
        assert found is not None  # noqa: S101
        with _readable("replaced"), self._transaction() as session:
            for schema, table, constraint, definition in found.foreign_keys:
                name = quote_identifier(constraint)
                _run(
                    session,
                    f"ALTER TABLE {qualified(schema, table)} "
                    f"DROP CONSTRAINT {name}, ADD CONSTRAINT {name} {definition}",
                )
            for view in found.views:
                _run(session, _turned(view))
            for kind, names in self._old_tables(found):
                # Without CASCADE: what came to hang on them since stops it all.
                _run(session, f"DROP {kind} {', '.join(names)}")
            _run(session, f"DROP SCHEMA {quote_identifier(self._aside)}")

    def _old_tables(self, found: Dependents) -> Iterator[tuple[str, list[str]]]:
        for kind, is_foreign in (("FOREIGN TABLE", True), ("TABLE", False)):
            names = [
                qualified(self._aside, table[1])
                for table in self._tables
                if (table in found.foreign_tables) is is_foreign
            ]
            if names:
                yield kind, names

    def put_back(self, notes: list[str]) -> None:
        """Undo: drop what was restored so far, and bring the old tables back."""
        if self._found is None:
            return
        try:
            self._undo(self._found)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            notes.append(
                f"the old tables are in the schema {self._aside}, and could not be put back: {reason}"
            )
        else:
            notes.append("the old tables are where they were")

    def _undo(self, found: Dependents) -> None:
        with self._transaction() as session:
            for table in self._tables:
                kind = "FOREIGN TABLE" if table in found.foreign_tables else "TABLE"
                _run(session, f"DROP {kind} IF EXISTS {qualified(*table)} CASCADE")
            # Sequences belong to their table only once that is whole.
            for schema, name in found.sequences:
                _run(session, f"DROP SEQUENCE IF EXISTS {qualified(schema, name)} CASCADE")
            for schema, name in self._tables:
                _run(session, _move("TABLE", self._aside, name, schema))
            for schema, name in found.statistics:
                _run(session, _move("STATISTICS", self._aside, name, schema))
            for partition, parent, bounds in found.attachments:
                _run(session, f"ALTER TABLE {parent} ATTACH PARTITION {partition} {bounds}")
            _run(session, f"DROP SCHEMA {quote_identifier(self._aside)}")

    @contextmanager
    def _transaction(self) -> Iterator[Session]:
        with connect(self._connection, application_name="dbtool restore control") as session:
            backup_session_settings(session, loading=True)
            session.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_SECONDS}s'".encode())
            with session.transaction():
                yield session


def _run(session: Session, statement: str) -> None:
    session.execute(statement.encode(codec_of(session), "surrogateescape"))


def _move(kind: str, schema: str, name: str, to_schema: str) -> str:
    return f"ALTER {kind} {qualified(schema, name)} SET SCHEMA {quote_identifier(to_schema)}"


def _turned(view: View) -> str:
    """The view as it is, read anew: names now mean the new tables. Its privileges stay."""
    pairs = (option.partition("=") for option in view.options)
    options = ", ".join(f"{quote_identifier(name)} = {quote_literal(value)}" for name, _, value in pairs)
    settings = f" WITH ({options})" if options else ""
    return f"CREATE OR REPLACE VIEW {qualified(view.schema, view.name)}{settings} AS {view.definition}"


@contextmanager
def _readable(doing: str) -> Iterator[None]:
    """Turns the server's errors into ours."""
    import psycopg

    try:
        yield
    except psycopg.errors.LockNotAvailable:
        raise BusyError(
            f"the tables could not be {doing}: somebody holds a lock on them", "try again later"
        ) from None
    except psycopg.Error as error:
        raise SqlError(
            f"the tables could not be {doing}: {error.diag.message_primary or error}",
            "nothing was changed; restore --into another database to look at the backup's tables",
        ) from None
