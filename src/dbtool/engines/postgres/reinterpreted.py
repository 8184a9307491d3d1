"""Tables whose rows may read otherwise than in the base although nobody wrote them.

A column that was dropped and added again leaves every row, and the schema's SQL, as they were; so does an
attribute of a composite type below a column. And values of some types are names of other objects, which
change when those are renamed.
"""

from __future__ import annotations

from typing import Any

# Their text is the name of an object: of a table, a type, a function, a role.
_NAMING_TYPES = (
    "'regclass', 'regcollation', 'regconfig', 'regdictionary', 'regnamespace', 'regoper', 'regoperator', "
    "'regproc', 'regprocedure', 'regrole', 'regtype', 'aclitem'"
)

_REINTERPRETED_SQL = """
WITH RECURSIVE below (relation, type) AS (
    SELECT a.attrelid, a.atttypid FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
    WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
    UNION
    SELECT b.relation, x.type FROM below AS b JOIN pg_type AS t ON t.oid = b.type, LATERAL (
        SELECT t.typelem UNION ALL SELECT t.typbasetype
        UNION ALL SELECT r.rngsubtype FROM pg_range AS r
        WHERE r.rngtypid = t.oid OR to_jsonb(r) ->> 'rngmultitypid' = t.oid::text
        UNION ALL SELECT a.atttypid FROM pg_attribute AS a
        WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) AS x (type)
    WHERE x.type <> 0)
SELECT a.attrelid::bigint FROM pg_attribute AS a WHERE a.attnum > 0 AND NOT a.attisdropped AND {a_changed}
UNION
SELECT b.relation::bigint FROM below AS b JOIN pg_type AS t ON t.oid = b.type
WHERE {t_changed} OR (t.typname IN ({naming}) AND t.typnamespace = 'pg_catalog'::regnamespace)
   OR EXISTS (SELECT FROM pg_attribute AS a
              WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped AND {a_changed})
   OR EXISTS (SELECT FROM pg_enum AS e WHERE e.enumtypid = t.oid AND {e_changed})
"""


def reinterpreted_tables(session: Any, watermark_age: str) -> frozenset[int]:
    """OIDs of these tables. `watermark_age` is an SQL expression: the age of the base's oldest transaction."""
    changed = {f"{name}_changed": f"pg_catalog.age({name}.xmin) <= {watermark_age}" for name in "ate"}
    query = _REINTERPRETED_SQL.format(naming=_NAMING_TYPES, **changed)
    return frozenset(oid for (oid,) in session.execute(query.encode()))
