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

from dbtool.engines.postgres.connect import backup_session_settings, connect
from dbtool.engines.postgres.quoting import qualified, quote_identifier
from dbtool.errors import BusyError, RefusedError, SqlError
from dbtool.model.connection import Connection

if TYPE_CHECKING:
    import psycopg

_LOCK_TIMEOUT_SECONDS = 30

_OIDS_SQL = """
SELECT c.oid::bigint FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""

_FOREIGN_KEYS_SQL = """
SELECT n.nspname, r.relname, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
JOIN pg_class AS r ON r.oid = c.conrelid JOIN pg_namespace AS n ON n.oid = r.relnamespace
WHERE c.contype = 'f' AND c.confrelid = ANY (%(oids)s::oid[]) AND NOT c.conrelid = ANY (%(oids)s::oid[])
  AND c.conparentid = 0
ORDER BY 1, 2, 3
"""

_VIEWS_SQL = """
SELECT DISTINCT n.nspname, v.relname, v.relkind::text, pg_get_viewdef(v.oid), v.oid FROM pg_depend AS d
JOIN pg_rewrite AS r ON r.oid = d.objid JOIN pg_class AS v ON v.oid = r.ev_class
JOIN pg_namespace AS n ON n.oid = v.relnamespace
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = ANY (%(oids)s::oid[]) AND v.relkind IN ('v', 'm')
ORDER BY v.oid
"""

# Extended statistics do not move with their table.
_STATISTICS_SQL = """
SELECT n.nspname, s.stxname FROM pg_statistic_ext AS s JOIN pg_namespace AS n ON n.oid = s.stxnamespace
WHERE s.stxrelid = ANY (%(oids)s::oid[])
"""

# Sequences that the tables own, which move with them.
_SEQUENCES_SQL = """
SELECT n.nspname, c.relname FROM pg_depend AS d
JOIN pg_class AS c ON c.oid = d.objid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND c.relkind = 'S'
  AND d.deptype IN ('a', 'i') AND d.refobjid = ANY (%(oids)s::oid[])
"""

# Partitions that are replaced while their partitioned table stays.
_ATTACHMENTS_SQL = """
SELECT format('%%I.%%I', n.nspname, c.relname), format('%%I.%%I', m.nspname, p.relname),
       pg_get_expr(c.relpartbound, c.oid)
FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_class AS p ON p.oid = i.inhparent JOIN pg_namespace AS m ON m.oid = p.relnamespace
WHERE c.relispartition AND c.oid = ANY (%(oids)s::oid[]) AND NOT p.oid = ANY (%(oids)s::oid[])
"""

# Others that hang on the tables: children by inheritance, functions with a parsed body, rules, …
_OTHERS_SQL = """
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend AS d
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = ANY (%(oids)s::oid[]) AND d.deptype = 'n'
  AND NOT (d.classid = 'pg_class'::regclass AND d.objid = ANY (%(oids)s::oid[]))
  AND d.classid NOT IN ('pg_constraint'::regclass, 'pg_rewrite'::regclass, 'pg_attrdef'::regclass,
                        'pg_trigger'::regclass, 'pg_policy'::regclass)
"""


class TableReplacement:
    """The tables (schema, name) of one database that are to be replaced."""

    def __init__(self, connection: Connection, tables: Sequence[tuple[str, str]]) -> None:
        self._connection = connection
        self._tables = tables
        self._aside = f"dbtool_replaced_{secrets.token_hex(4)}"
        self._foreign_keys: list[tuple[str, str, str, str]] = []
        self._views: list[tuple[str, str, str]] = []
        self._attachments: list[tuple[str, str, str]] = []  # (partition, its parent, bounds)
        self._statistics: list[tuple[str, str]] = []  # (schema, name)
        self._sequences: list[tuple[str, str]] = []
        self._is_set_aside = False

    def set_aside(self) -> None:
        """Move the old tables away. `RefusedError` if something hangs on them that cannot follow."""
        with _readable("set aside"), self._session() as session, session.transaction():
            oids = {"oids": [self._oid(session, table) for table in self._tables]}
            self._foreign_keys = session.execute(_FOREIGN_KEYS_SQL, oids).fetchall()
            views = session.execute(_VIEWS_SQL, oids).fetchall()
            others = [row[0] for row in session.execute(_OTHERS_SQL, oids)]
            others += [f"materialized view {row[0]}.{row[1]}" for row in views if row[2] == "m"]
            if others:
                raise RefusedError(
                    f"cannot replace {self._named()}: {', '.join(others[:3])} would lose it",
                    "restore --into another database, or drop those first",
                )
            self._views = [(row[0], row[1], row[3]) for row in views]
            self._attachments = session.execute(_ATTACHMENTS_SQL, oids).fetchall()
            self._statistics = session.execute(_STATISTICS_SQL, oids).fetchall()
            self._sequences = session.execute(_SEQUENCES_SQL, oids).fetchall()
            session.execute(f"CREATE SCHEMA {quote_identifier(self._aside)}".encode())
            for schema, name in self._statistics:
                session.execute(_move("STATISTICS", schema, name, self._aside))
            for partition, parent, _ in self._attachments:
                session.execute(f"ALTER TABLE {parent} DETACH PARTITION {partition}".encode())
            for schema, name in self._checked():
                session.execute(_move("TABLE", schema, name, self._aside))
        # Only now, for what was rolled back did not move, and must not be put back over itself.
        self._is_set_aside = True

    def _checked(self) -> Sequence[tuple[str, str]]:
        names = [name for _, name in self._tables]
        if len(set(names)) != len(names):
            raise RefusedError(
                f"cannot replace {self._named()} at once: two of them have the same name",
                "restore them one after the other",
            )
        return self._tables

    def finish(self) -> None:
        """Turn keys and views to the new tables and drop the old ones."""
        with _readable("replaced"), self._session() as session, session.transaction():
            for schema, table, constraint, definition in self._foreign_keys:
                name = qualified(schema, table)
                session.execute(
                    f"ALTER TABLE {name} DROP CONSTRAINT {quote_identifier(constraint)}, "
                    f"ADD CONSTRAINT {quote_identifier(constraint)} {definition}".encode()
                )
            for schema, view, definition in self._views:
                session.execute(f"CREATE OR REPLACE VIEW {qualified(schema, view)} AS {definition}".encode())
            for _, name in self._tables:
                session.execute(f"DROP TABLE IF EXISTS {qualified(self._aside, name)} CASCADE".encode())
            session.execute(f"DROP SCHEMA {quote_identifier(self._aside)}".encode())

    def put_back(self, notes: list[str]) -> None:
        """Undo: drop what was restored so far, and bring the old tables back."""
        if not self._is_set_aside:
            return
        try:
            with self._session() as session, session.transaction():
                for schema, name in self._tables:
                    session.execute(f"DROP TABLE IF EXISTS {qualified(schema, name)} CASCADE".encode())
                # Sequences belong to their table only once that is whole.
                for schema, name in self._sequences:
                    session.execute(f"DROP SEQUENCE IF EXISTS {qualified(schema, name)} CASCADE".encode())
                for schema, name in self._tables:
                    session.execute(_move("TABLE", self._aside, name, schema))
                for schema, name in self._statistics:
                    session.execute(_move("STATISTICS", self._aside, name, schema))
                for partition, parent, bounds in self._attachments:
                    session.execute(f"ALTER TABLE {parent} ATTACH PARTITION {partition} {bounds}".encode())
                session.execute(f"DROP SCHEMA {quote_identifier(self._aside)}".encode())
        except Exception as error:
            notes.append(
                f"the old tables are in the schema {self._aside}, and could not be put back: {error}"
            )
        else:
            notes.append("the old tables are where they were")

    def _session(self) -> psycopg.Connection[Any]:
        session = connect(self._connection, application_name="dbtool restore control")
        backup_session_settings(session, loading=True)
        session.execute("SELECT set_config('client_encoding', 'UTF8', false)")
        session.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT_SECONDS}s'")
        return session

    @staticmethod
    def _oid(session: psycopg.Connection[Any], table: tuple[str, str]) -> int:
        row = session.execute(_OIDS_SQL, table).fetchone()
        if row is None:
            raise RefusedError(f"{table[0]}.{table[1]} went away in the meantime", "try again")
        return int(row[0])

    def _named(self) -> str:
        return ", ".join(f"{schema}.{name}" for schema, name in self._tables[:3])


def _move(kind: str, schema: str, name: str, to_schema: str) -> bytes:
    return f"ALTER {kind} {qualified(schema, name)} SET SCHEMA {quote_identifier(to_schema)}".encode()


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
