"""What hangs on tables that are to be replaced: what must be turned to the new ones, and what cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbtool.errors import RefusedError

if TYPE_CHECKING:
    import psycopg

    Session = psycopg.Connection[tuple[Any, ...]]

_TABLES_SQL = """
SELECT n.nspname, c.relname, c.oid::bigint, c.relkind::text FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'f')
"""

_FOREIGN_KEYS_SQL = """
SELECT n.nspname, r.relname, c.conname, pg_get_constraintdef(c.oid) FROM pg_constraint AS c
JOIN pg_class AS r ON r.oid = c.conrelid JOIN pg_namespace AS n ON n.oid = r.relnamespace
WHERE c.contype = 'f' AND c.confrelid = ANY (%(oids)s::oid[]) AND NOT c.conrelid = ANY (%(oids)s::oid[])
  AND c.conparentid = 0
ORDER BY 1, 2, 3
"""

_VIEWS_SQL = """
SELECT DISTINCT v.oid, n.nspname, v.relname, pg_get_viewdef(v.oid), coalesce(v.reloptions, '{}')
FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid JOIN pg_class AS v ON v.oid = r.ev_class
JOIN pg_namespace AS n ON n.oid = v.relnamespace
WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.refobjid = ANY (%(oids)s::oid[]) AND v.relkind = 'v' AND r.rulename = '_RETURN'
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

# `own` is all that goes and comes with the tables; who needs something of it, and is neither part
# of it nor turned to the new tables, would be lost with the old ones.
_OTHERS_SQL = """
WITH relations AS (
    SELECT unnest(%(oids)s::oid[]) AS oid
    UNION
    SELECT d.objid FROM pg_depend AS d JOIN pg_class AS c ON c.oid = d.objid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND c.relkind = 'S'
      AND d.deptype IN ('a', 'i') AND d.refobjid = ANY (%(oids)s::oid[])),
own AS (
    SELECT 'pg_class'::regclass::oid AS class, oid FROM relations
    UNION SELECT 'pg_class'::regclass, indexrelid FROM pg_index JOIN relations ON oid = indrelid
    UNION SELECT 'pg_type'::regclass, t.oid FROM pg_type AS t JOIN relations AS r ON r.oid = t.typrelid
    UNION SELECT 'pg_type'::regclass, t.typarray FROM pg_type AS t JOIN relations AS r ON r.oid = t.typrelid
    UNION SELECT 'pg_constraint'::regclass, c.oid FROM pg_constraint AS c JOIN relations AS r ON r.oid = c.conrelid
    UNION SELECT 'pg_attrdef'::regclass, a.oid FROM pg_attrdef AS a JOIN relations AS r ON r.oid = a.adrelid
    UNION SELECT 'pg_trigger'::regclass, t.oid FROM pg_trigger AS t JOIN relations AS r ON r.oid = t.tgrelid
    UNION SELECT 'pg_policy'::regclass, p.oid FROM pg_policy AS p JOIN relations AS r ON r.oid = p.polrelid
    UNION SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite AS w JOIN relations AS r ON r.oid = w.ev_class
    UNION SELECT 'pg_statistic_ext'::regclass, s.oid FROM pg_statistic_ext AS s
          JOIN relations AS r ON r.oid = s.stxrelid),
turned AS (
    SELECT 'pg_constraint'::regclass::oid AS class, oid FROM pg_constraint
    WHERE contype = 'f' AND confrelid = ANY (%(oids)s::oid[])
    UNION SELECT 'pg_trigger'::regclass, oid FROM pg_trigger WHERE tgisinternal
    UNION SELECT 'pg_rewrite'::regclass, w.oid FROM pg_rewrite AS w JOIN pg_class AS v ON v.oid = w.ev_class
          WHERE v.relkind = 'v' AND w.rulename = '_RETURN'
    UNION SELECT 'pg_class'::regclass, oid FROM pg_class WHERE relkind = 't')
SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend AS d
JOIN own AS o ON o.class = d.refclassid AND o.oid = d.refobjid
WHERE NOT EXISTS (SELECT FROM own AS x WHERE x.class = d.classid AND x.oid = d.objid)
  AND NOT EXISTS (SELECT FROM turned AS x WHERE x.class = d.classid AND x.oid = d.objid)
ORDER BY 1
"""


@dataclass(frozen=True)
class View:
    """A view that reads one of the tables. `options` are such as "security_barrier=true"."""

    schema: str
    name: str
    definition: str
    options: tuple[str, ...]


@dataclass(frozen=True)
class Dependents:
    """What must follow when tables are replaced."""

    foreign_tables: frozenset[tuple[str, str]]  # those of the tables that are foreign
    foreign_keys: Sequence[tuple[str, ...]]  # of other tables: (schema, table, constraint, definition)
    views: Sequence[View]  # each behind those that it may read
    statistics: Sequence[tuple[str, ...]]  # (schema, name)
    sequences: Sequence[tuple[str, ...]]  # (schema, name)
    attachments: Sequence[tuple[str, ...]]  # (partition, its parent, bounds), as SQL


def find_dependents(session: Session, tables: Sequence[tuple[str, str]]) -> Dependents:
    """What hangs on the tables (schema, name).

    Raises RefusedError if a table is not there, or if something hangs on one that cannot follow.
    """
    present = {(schema, name): (oid, kind) for schema, name, oid, kind in session.execute(_TABLES_SQL)}
    for table in tables:
        if table not in present:
            raise RefusedError(f"{'.'.join(table)} went away in the meantime", "try again")
    oids = {"oids": [present[table][0] for table in tables]}
    others = [name for (name,) in session.execute(_OTHERS_SQL, oids)]
    if others:
        named = ", ".join(".".join(table) for table in tables[:3])
        raise RefusedError(
            f"cannot replace {named}: it would take with it {', '.join(others[:3])}",
            "restore --into another database, or drop those first",
        )
    return Dependents(
        foreign_tables=frozenset(table for table in tables if present[table][1] == "f"),
        foreign_keys=session.execute(_FOREIGN_KEYS_SQL, oids).fetchall(),
        views=[
            View(schema, name, definition, tuple(options))
            for _, schema, name, definition, options in session.execute(_VIEWS_SQL, oids)
        ],
        statistics=session.execute(_STATISTICS_SQL, oids).fetchall(),
        sequences=session.execute(_SEQUENCES_SQL, oids).fetchall(),
        attachments=session.execute(_ATTACHMENTS_SQL, oids).fetchall(),
    )
