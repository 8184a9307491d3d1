"""What a PostgreSQL database holds: facts about server, database, snapshot, tables, sequences.

Only reads the system catalogues. Every name is qualified, for the session's search_path is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.engines.postgres.connect import codec_of
from dbtool.model.database import Column, ServerFacts, Snapshot, Table

if TYPE_CHECKING:
    import psycopg

    Session = psycopg.Connection[tuple[Any, ...]]

_SERVER_SQL = """
SELECT current_setting('server_version'), current_setting('server_version_num')::int,
       (pg_control_system()).system_identifier::text, pg_is_in_recovery(),
       current_setting('block_size')::int
"""

_DATABASE_SQL = """
SELECT d.oid, d.datname, pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), d.datcollate,
       d.datctype, to_jsonb(d) - 'datacl', d.datconnlimit, t.spcname,
       shobj_description(d.oid, 'pg_database'),
       CASE WHEN d.datacl IS NULL THEN NULL ELSE ARRAY(
           SELECT jsonb_build_array(CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
                                    a.privilege_type, a.is_grantable)
           FROM aclexplode(d.datacl) AS a) END,
       ARRAY(SELECT jsonb_build_array(CASE WHEN s.setrole = 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END, c)
             FROM pg_db_role_setting AS s, unnest(s.setconfig) AS c
             WHERE s.setdatabase = d.oid ORDER BY s.setrole, c),
       pg_database_size(d.oid)
FROM pg_database AS d JOIN pg_tablespace AS t ON t.oid = d.dattablespace
WHERE d.datname = current_database()
"""

# The control file learns of a promotion only with the next checkpoint, the names of WAL files at once.
_SNAPSHOT_SQL = """
SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
       {current_snapshot}()::text, pg_export_snapshot(),
       (CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)::text,
       CASE WHEN pg_is_in_recovery()
            THEN greatest((pg_control_checkpoint()).timeline_id, (pg_control_recovery()).min_recovery_end_timeline)
            ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int END
"""

# Tables and partitioned tables that pg_dump would lock, but for those of extensions.
_LOCKABLE_SQL = """
SELECT c.oid::bigint, n.nspname, c.relname, c.relkind::text
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                     AND d.objid = c.oid AND d.deptype = 'e')
       OR EXISTS (SELECT FROM pg_extension AS e WHERE c.oid = ANY (e.extconfig)))
ORDER BY n.nspname, c.relname
"""

_TABLES_SQL = """
WITH configured AS (
    SELECT u.oid, coalesce(u.condition, '') AS condition
    FROM pg_extension AS e, unnest(e.extconfig, e.extcondition) AS u (oid, condition)),
wanted AS (
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, c.reltuples, a.amname, c.relispartition,
           coalesce(x.condition, '') AS condition, x.oid IS NOT NULL AS is_configuration
    FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    LEFT JOIN pg_am AS a ON a.oid = c.relam
    LEFT JOIN configured AS x ON x.oid = c.oid
    WHERE c.relkind = 'r' AND c.relpersistence <> 't'
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND (x.oid IS NOT NULL OR NOT EXISTS (
          SELECT FROM pg_depend AS d
          WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))),
columns AS (
    SELECT a.attrelid, array_agg(a.attname::text ORDER BY a.attnum) AS names,
           array_agg(format_type(a.atttypid, a.atttypmod) ORDER BY a.attnum) AS types
    FROM pg_attribute AS a JOIN wanted AS w ON w.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
    GROUP BY a.attrelid),
keys AS (
    SELECT DISTINCT ON (i.indrelid) i.indrelid, i.indisprimary,
           ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
                 JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                 WHERE k.position <= i.indnkeyatts ORDER BY k.position) AS names
    FROM pg_index AS i JOIN wanted AS w ON w.oid = i.indrelid
    WHERE i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
      AND NOT EXISTS (
          SELECT FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
          JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
          WHERE k.position <= i.indnkeyatts AND (NOT a.attnotnull OR a.attgenerated <> ''))
    ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid)
SELECT w.oid::bigint, w.nspname, w.relname, coalesce(c.names, '{}'), coalesce(c.types, '{}'),
       coalesce(k.names, '{}'), w.condition, w.relpersistence::text, w.reltuples::float8, w.amname,
       w.is_configuration, w.relispartition
FROM wanted AS w LEFT JOIN columns AS c ON c.attrelid = w.oid LEFT JOIN keys AS k ON k.indrelid = w.oid
ORDER BY w.nspname, w.relname
"""

_CONDITION_SQL = """
SELECT coalesce(u.condition, '') FROM pg_extension AS e, unnest(e.extconfig, e.extcondition) AS u (oid, condition)
JOIN pg_class AS c ON c.oid = u.oid JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s
"""

# Leaf partitions below a table that is partitioned by the hash of an enum: the hash is that of the
# label's OID, which is another one after a restore, so rows must find their partition anew.
_ROUTED_SQL = """
WITH RECURSIVE unsafe AS (
    SELECT p.partrelid AS oid FROM pg_partitioned_table AS p
    WHERE p.partstrat = 'h' AND EXISTS (
        SELECT FROM pg_opclass AS o JOIN pg_am AS a ON a.oid = o.opcmethod
        WHERE o.oid = ANY (p.partclass::oid[]) AND o.opcname = 'enum_ops' AND a.amname = 'hash'
          AND o.opcnamespace = 'pg_catalog'::regnamespace)),
below AS (
    SELECT i.inhrelid AS oid FROM pg_inherits AS i JOIN unsafe AS u ON u.oid = i.inhparent
    UNION SELECT i.inhrelid FROM pg_inherits AS i JOIN below AS b ON b.oid = i.inhparent)
SELECT c.oid::bigint, n.nspname, r.relname FROM below AS b JOIN pg_class AS c ON c.oid = b.oid
JOIN pg_class AS r ON r.oid = pg_partition_root(c.oid) JOIN pg_namespace AS n ON n.oid = r.relnamespace
WHERE c.relkind = 'r'
"""

# Tables whose CHECK constraints, or those of their columns' domains, call somebody's function:
# it may look at other tables, which must then have their rows already.
_CHECKED_SQL = """
WITH calling AS (
    SELECT d.objid AS oid FROM pg_depend AS d
    WHERE d.classid = 'pg_constraint'::regclass AND d.refclassid = 'pg_proc'::regclass AND d.refobjid >= 16384
      AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE e.classid = 'pg_proc'::regclass
                        AND e.objid = d.refobjid AND e.deptype = 'e'))
SELECT k.conrelid::bigint FROM pg_constraint AS k JOIN calling USING (oid) WHERE k.contype = 'c' AND k.conrelid <> 0
UNION
SELECT a.attrelid::bigint FROM pg_constraint AS k JOIN calling USING (oid)
JOIN pg_attribute AS a ON a.atttypid = k.contypid WHERE k.contypid <> 0 AND a.attnum > 0 AND NOT a.attisdropped
"""

# Foreign keys among configuration tables: CREATE EXTENSION makes them before there are rows.
_CONFIGURATION_KEYS_SQL = """
SELECT k.conrelid::bigint, k.confrelid::bigint FROM pg_constraint AS k
WHERE k.contype = 'f' AND EXISTS (SELECT FROM pg_extension AS e WHERE k.conrelid = ANY (e.extconfig))
"""

# Sizes are asked for after the locks are held: a table that is gone would be an error.
_SIZES_SQL = """
SELECT u.oid, coalesce(pg_table_size(u.oid::oid), 0), coalesce(pg_relation_size(u.oid::oid), 0),
       coalesce(pg_stat_get_tuples_inserted(u.oid::oid), 0), coalesce(pg_stat_get_tuples_updated(u.oid::oid), 0),
       coalesce(pg_stat_get_tuples_deleted(u.oid::oid), 0)
FROM unnest(%s::bigint[]) AS u (oid)
"""

_HELD_LOCKS_SQL = """
SELECT l.relation::bigint FROM pg_locks AS l
WHERE l.locktype = 'relation' AND l.pid = pg_backend_pid() AND l.mode = 'AccessShareLock' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""

_BLOCKED_SQL = """
SELECT n.nspname, c.relname FROM pg_locks AS l
JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE l.pid = %s AND NOT l.granted AND l.locktype = 'relation'
"""

_AWAITED_SQL = """
SELECT DISTINCT n.nspname, c.relname FROM pg_locks AS l
JOIN pg_class AS c ON c.oid = l.relation JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT l.granted AND l.mode = 'AccessExclusiveLock' AND l.locktype = 'relation'
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1, 2
"""

_SEQUENCES_SQL = """
SELECT c.oid::bigint, n.nspname, c.relname, pg_sequence_last_value(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND (NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                     AND d.objid = c.oid AND d.deptype = 'e')
       OR EXISTS (SELECT FROM pg_extension AS e WHERE c.oid = ANY (e.extconfig)))
ORDER BY n.nspname, c.relname
"""

# Populated materialised views with those that they read, at any depth of views between. One that reads an
# empty one cannot be filled.
_MATERIALIZED_VIEWS_SQL = """
WITH RECURSIVE reads AS (
    SELECT c.oid AS view, d.refobjid AS source
    FROM pg_class AS c
    JOIN pg_rewrite AS r ON r.ev_class = c.oid
    JOIN pg_depend AS d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
     AND d.refclassid = 'pg_class'::regclass AND d.refobjid <> c.oid
    WHERE c.relkind IN ('m', 'v')),
closure AS (
    SELECT view, source FROM reads
    UNION SELECT c.view, r.source FROM closure AS c JOIN reads AS r ON r.view = c.source)
SELECT c.oid::bigint, n.nspname, c.relname,
       ARRAY(SELECT DISTINCT x.source::bigint FROM closure AS x JOIN pg_class AS s ON s.oid = x.source
             WHERE x.view = c.oid AND s.relkind = 'm')
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'm' AND c.relispopulated
  AND NOT EXISTS (SELECT FROM closure AS x JOIN pg_class AS s ON s.oid = x.source
                  WHERE x.view = c.oid AND s.relkind = 'm' AND NOT s.relispopulated)
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.classid = 'pg_class'::regclass
                    AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname
"""

_DATABASES_SQL = """
SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname
"""


@dataclass(frozen=True)
class Sequence:
    """A sequence and where it stands."""

    identity: int
    schema: str
    name: str
    last_value: int
    is_called: bool


@dataclass(frozen=True)
class MaterializedView:
    """A filled materialised view; `reads` holds the identities of those it is made of."""

    identity: int
    schema: str
    name: str
    reads: frozenset[int]


def server_facts(session: Session) -> ServerFacts:
    """Version and identity of the server."""
    version, number, identity, is_standby, block_size = _one(session, _SERVER_SQL)
    return ServerFacts(
        engine="postgres",
        flavour="postgresql",
        version=str(version).split(" ")[0],
        version_number=number,
        identity=identity,
        details={"is_standby": is_standby, "block_size": block_size},
    )


def database_facts(session: Session) -> dict[str, Any]:
    """The database's own properties: what `CREATE DATABASE` and `ALTER DATABASE` need."""
    row = _one(session, _DATABASE_SQL)
    catalog = row[6]
    provider = {"c": "libc", "i": "icu", "b": "builtin"}.get(catalog.get("datlocprovider", "c"), "libc")
    return {
        "name": row[1],
        "oid": row[0],
        "owner": row[2],
        "encoding": row[3],
        "locale": {
            "provider": provider,
            "collate": row[4],
            "ctype": row[5],
            "locale": catalog.get("datlocale", catalog.get("daticulocale")),
            "icu_rules": catalog.get("daticurules"),
        },
        "tablespace": row[8],
        "connection_limit": row[7],
        "comment": row[9],
        "privileges": row[10],
        "settings": row[11],
        "size_bytes": row[12],
    }


def take_snapshot(session: Session, version_number: int) -> Snapshot:
    """Export the snapshot of the transaction that the session is in."""
    function = "pg_current_snapshot" if version_number >= 130000 else "txid_current_snapshot"
    time, transactions, exported, lsn, timeline = _one(
        session, _SNAPSHOT_SQL.format(current_snapshot=function)
    )
    return Snapshot(
        time=time,
        details={
            "transaction_snapshot": transactions,
            "lsn": lsn,
            "timeline": timeline,
            "exported": exported,
        },
    )


def lockable_tables(session: Session) -> list[tuple[int, str, str, str]]:
    """(OID, schema, name, kind) of all tables with rows, and of partitioned tables."""
    return session.execute(_LOCKABLE_SQL).fetchall()


def held_locks(session: Session) -> set[int]:
    """OIDs of the relations that this session's transaction has locked."""
    return {oid for (oid,) in session.execute(_HELD_LOCKS_SQL)}


def blocked_table(session: Session, process_id: int) -> str | None:
    """The table that another session waits to lock."""
    row = session.execute(_BLOCKED_SQL, (process_id,)).fetchone()
    return f"{row[0]}.{row[1]}" if row else None


def awaited_tables(session: Session) -> list[str]:
    """Tables for whose exclusive lock somebody waits."""
    return [f"{schema}.{name}" for schema, name in session.execute(_AWAITED_SQL)]


def tables(session: Session) -> list[Table]:
    """Every table whose rows belong to a backup, with sizes (including TOAST) as of now."""
    rows = session.execute(_TABLES_SQL).fetchall()
    sizes = {row[0]: row[1:] for row in session.execute(_SIZES_SQL, ([row[0] for row in rows],))}
    routed = {oid: [schema, name] for oid, schema, name in session.execute(_ROUTED_SQL)}
    last = _loaded_last(session, [row[0] for row in rows if row[10]])
    found = []
    for oid, schema, name, names, types, key, condition, persistence, estimate, method, config, part in rows:
        total, heap, *written = sizes[oid]
        found.append(
            Table(
                identity=oid,
                schema=schema,
                name=name,
                columns=tuple(Column(*column) for column in zip(names, types, strict=True)),
                key=tuple(key),
                size_bytes=total,
                row_estimate=estimate,
                condition=condition,
                details={
                    "heap_bytes": heap,
                    "access_method": method,
                    "persistence": persistence,
                    "is_configuration": config,
                    "is_partition": part,
                    "written": written,
                    **({"loaded_through": routed[oid]} if oid in routed else {}),
                    **({"loaded_last": last[oid]} if oid in last else {}),
                },
            )
        )
    return found


def configuration_condition(session: Session, schema: str, name: str) -> str:
    """Which rows of an extension's configuration table belong to a backup; "" for all of them."""
    row = session.execute(_CONDITION_SQL, (schema, name)).fetchone()
    return str(row[0]) if row else ""


def _loaded_last(session: Session, configuration: list[int]) -> dict[int, int]:
    """OIDs of tables whose rows may need other tables' rows, with their place in the line."""
    keys = [(child, parent) for child, parent in session.execute(_CONFIGURATION_KEYS_SQL) if child != parent]
    line: list[int] = []
    waiting = [oid for oid in configuration if any(oid in key for key in keys)]
    while waiting:
        free = [
            oid for oid in waiting if not any(child == oid and parent in waiting for child, parent in keys)
        ]
        line += free or waiting  # tables that point to each other in a circle come as they are
        waiting = [oid for oid in waiting if oid not in line]
    line += [oid for (oid,) in session.execute(_CHECKED_SQL) if oid not in line]
    return {oid: place for place, oid in enumerate(line)}


def sequences(session: Session, quote: Any) -> list[Sequence]:
    """Where every sequence stands. Not part of any snapshot: sequences never are."""
    rows = session.execute(_SEQUENCES_SQL).fetchall()
    found = {
        oid: Sequence(oid, schema, name, last, True) for oid, schema, name, last in rows if last is not None
    }
    # Those never called say where they will begin only themselves.
    silent = [(oid, schema, name) for oid, schema, name, last in rows if last is None]
    codec = codec_of(session)
    for start in range(0, len(silent), 200):
        part = silent[start : start + 200]
        union = " UNION ALL ".join(
            f"SELECT {oid}, last_value, is_called FROM {quote(schema)}.{quote(name)}"  # noqa: S608
            for oid, schema, name in part
        )
        names = {oid: (schema, name) for oid, schema, name in part}
        for oid, last, called in session.execute(union.encode(codec, "surrogateescape")):
            found[oid] = Sequence(oid, *names[oid], last, called)
    return [found[row[0]] for row in rows if row[0] in found]


def materialized_views(session: Session) -> list[MaterializedView]:
    """The populated ones, each behind those that it reads."""
    rest = {
        oid: MaterializedView(oid, schema, name, frozenset(reads))
        for oid, schema, name, reads in session.execute(_MATERIALIZED_VIEWS_SQL)
    }
    ordered: list[MaterializedView] = []
    while rest:
        ready = [view for view in rest.values() if not view.reads & rest.keys()]
        for view in ready or list(rest.values()):  # views cannot read each other in a circle
            ordered.append(view)
            del rest[view.identity]
    return ordered


def databases(session: Session) -> list[str]:
    """Every database that can be connected to, but templates."""
    return [name for (name,) in session.execute(_DATABASES_SQL)]


def _one(session: Session, sql: str) -> tuple[Any, ...]:
    row = session.execute(sql).fetchone()
    if row is None:
        raise LookupError("the server gave no row")
    return row
