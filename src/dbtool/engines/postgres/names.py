"""The names of a database that completion can offer: a few catalogue queries, fast on large schemas.

What `\\d` shows stands in `describe.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dbtool.engines.session import Names, Relation

if TYPE_CHECKING:
    import psycopg

RELATION_KINDS = {
    "r": "table",
    "p": "partitioned table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
}
_SYSTEM_SCHEMAS = ("pg_catalog", "information_schema")
_VISIBLE_SCHEMA = r"n.nspname !~ '^pg_(toast|temp)'"

_SCHEMAS = f"""
SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE {_VISIBLE_SCHEMA}
ORDER BY n.nspname IN ('pg_catalog', 'information_schema'), n.nspname"""  # noqa: S608 - our own text

# Columns come as two parallel arrays: a row for each column would be ten times as many rows.
_RELATIONS = f"""
SELECT n.nspname, c.relname, c.relkind::text, pg_catalog.pg_table_is_visible(c.oid), a.names, a.types
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (
  SELECT attrelid, pg_catalog.array_agg(attname::text ORDER BY attnum) AS names,
         pg_catalog.array_agg(atttypid::bigint ORDER BY attnum) AS types
  FROM pg_catalog.pg_attribute WHERE attnum > 0 AND NOT attisdropped GROUP BY attrelid
) a ON a.attrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND {_VISIBLE_SCHEMA}
ORDER BY n.nspname IN ('pg_catalog', 'information_schema'), n.nspname, c.relname"""  # noqa: S608

_COLUMN_TYPES = """
SELECT oid::bigint, pg_catalog.format_type(oid, NULL) FROM pg_catalog.pg_type
WHERE oid IN (SELECT atttypid FROM pg_catalog.pg_attribute WHERE attnum > 0)"""

# Functions that SQL cannot call (their arguments are the server's own structures) are left out.
_FUNCTIONS = f"""
SELECT n.nspname, p.proname FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
CROSS JOIN (SELECT ARRAY['internal'::regtype, 'cstring'::regtype]::oid[] AS types) hidden
WHERE {_VISIBLE_SCHEMA} AND p.prorettype <> ALL (hidden.types) AND NOT p.proargtypes::oid[] && hidden.types
GROUP BY n.nspname, p.proname
ORDER BY n.nspname IN ('pg_catalog', 'information_schema'), n.nspname, p.proname"""  # noqa: S608

_TYPES = f"""
SELECT pg_catalog.format_type(t.oid, NULL) FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
WHERE {_VISIBLE_SCHEMA} AND n.nspname <> 'information_schema' AND t.typtype <> 'p' AND t.typelem = 0
  AND (c.relkind IS NULL OR c.relkind = 'c')
ORDER BY n.nspname = 'pg_catalog', 1"""  # noqa: S608

_DATABASES = "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn ORDER BY 1"
_ROLES = r"SELECT rolname FROM pg_catalog.pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
_KEYWORDS = "SELECT pg_catalog.upper(word) FROM pg_catalog.pg_get_keywords() ORDER BY 1"


def load(connection: psycopg.Connection[Any]) -> Names:
    """All names, the user's before the system's.

    Relations of `pg_catalog` and `information_schema` come last and count as not visible: they are
    offered with their schema, or nobody would find their own tables among them.
    """

    def column(query: str) -> tuple[str, ...]:
        return tuple(row[0] for row in connection.execute(query))

    types = dict(connection.execute(_COLUMN_TYPES).fetchall())
    relations = tuple(
        Relation(
            schema,
            name,
            RELATION_KINDS[kind],
            tuple(
                (column_name, types.get(oid, ""))
                for column_name, oid in zip(names or (), oids or (), strict=True)
            ),
            is_visible and schema not in _SYSTEM_SCHEMAS,
        )
        for schema, name, kind, is_visible, names, oids in connection.execute(_RELATIONS)
    )
    return Names(
        schemas=column(_SCHEMAS),
        relations=relations,
        functions=tuple((schema, name) for schema, name in connection.execute(_FUNCTIONS)),
        types=column(_TYPES),
        databases=column(_DATABASES),
        roles=column(_ROLES),
        keywords=column(_KEYWORDS),
    )
