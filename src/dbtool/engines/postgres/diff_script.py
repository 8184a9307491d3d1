"""The script of a differential: one transaction that turns the restored base into a later snapshot.

In order: what was dropped or changed goes, what is new is made; keys of rows that are there no more, the rows that
changed, values of sequences, and the rest of the schema. Meanwhile no trigger, rule or foreign key of
the target acts: by `session_replication_role`, or, for an account that may not set it, by dropping them and
making them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import IO, Any

from dbtool.engines.postgres.quoting import qualified, quote_identifier, quote_literal
from dbtool.engines.postgres.schema_diff import Item
from dbtool.model.archive import Block, FrameKind
from dbtool.model.database import Table
from dbtool.rows import tally_lines

_KEYS_A_FRAME_BYTES = 8 << 20
_TERMINATOR = b"\\.\n"
_GONE = "pg_temp.dbtool_removed_keys"

_OPERATORS_SQL = """
SELECT n.nspname, o.oprname, m.nspname, l.collname FROM (
    SELECT i.indclass::oid[] AS classes, i.indcollation::oid[] AS collations, i.indnkeyatts FROM pg_index AS i
    WHERE i.indrelid = {identity} AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
      AND i.indexprs IS NULL
      AND ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, position)
                JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
                WHERE k.position <= i.indnkeyatts ORDER BY k.position) = ARRAY[{names}]
    ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1) AS x,
    unnest(x.classes, x.collations) WITH ORDINALITY AS u (opclass, sorted_by, position)
LEFT JOIN pg_collation AS l ON l.oid = u.sorted_by LEFT JOIN pg_namespace AS m ON m.oid = l.collnamespace
JOIN pg_opclass AS c ON c.oid = u.opclass
JOIN pg_amop AS a ON a.amopfamily = c.opcfamily AND a.amopmethod = c.opcmethod AND a.amopstrategy = 3
                 AND a.amoplefttype = c.opcintype AND a.amoprighttype = c.opcintype
JOIN pg_operator AS o ON o.oid = a.amopopr JOIN pg_namespace AS n ON n.oid = o.oprnamespace
WHERE u.position <= x.indnkeyatts ORDER BY u.position
"""


def key_conditions(session: Any, table: Table, codec: str) -> list[str]:
    """For each column of the table's key the condition by which its index calls the values of `kept` and `gone` equal.

    The index may have another collation than the column, by which more values would be equal.
    """
    names = ", ".join(f"{quote_literal(name)}::text" for name in table.key)
    query = _OPERATORS_SQL.format(identity=table.identity, names=names)
    rows = session.execute(query.encode(codec, "surrogateescape")).fetchall()
    if len(rows) != len(table.key):
        raise LookupError(f"the key of {table.qualified_name} has no index any more")
    return [
        f"kept.{column} OPERATOR({quote_identifier(schema)}.{operator}) gone.{column}"
        + (f" COLLATE {qualified(collation_schema, collation)}" if collation else "")
        for column, (schema, operator, collation_schema, collation) in zip(
            map(quote_identifier, table.key), rows, strict=True
        )
    ]


def opening(statements: Sequence[bytes], aside: Sequence[Item], codec: str) -> Block:
    """The transaction begins; the target's triggers are silenced; what changed is dropped. `aside` are keys, rules and triggers
    that an account without the right to silence them has to drop."""
    drops = [item.entry.drop.encode(codec, "surrogateescape") for item in reversed(aside)]
    silenced = (
        b"  PERFORM pg_catalog.set_config('session_replication_role', 'replica', true);\n"
        b"EXCEPTION WHEN insufficient_privilege THEN\n" + _executed(drops)
    )
    text = b"BEGIN;\n\n" + _do(silenced) + b"\n" + b"".join(statements) + b"\n"
    return Block(kind=FrameKind.BEFORE_DATA, text=text)


def closing_of_rows(aside: Sequence[Item]) -> bytes:
    """All rows are there: triggers, rules and foreign keys act again."""
    again = (
        b"  IF pg_catalog.current_setting('session_replication_role') = 'replica' THEN\n"
        b"    PERFORM pg_catalog.set_config('session_replication_role', 'origin', true);\n"
        b"  ELSE\n" + _executed([item.sql for item in aside]) + b"  END IF;\n"
    )
    return _do(again) + b"\n"


def _executed(statements: Sequence[bytes]) -> bytes:
    if not statements:
        return b"    NULL;\n"
    return b"".join(b"    EXECUTE " + _dollar_quoted(one.strip()) + b";\n" for one in statements)


def _do(body: bytes) -> bytes:
    return b"DO " + _dollar_quoted(b"BEGIN\n" + body + b"END") + b";\n"


def _dollar_quoted(text: bytes) -> bytes:
    tag, number = b"$dbtool$", 0
    while tag in text or text.endswith(b"$"):
        number += 1
        tag = b"$dbtool%d$" % number
        if text.endswith(b"$"):
            text += b" "
    return tag + text + tag


def referenced_tables(session: Any) -> frozenset[int]:
    """OIDs of tables that foreign keys point to: TRUNCATE is not for them."""
    query = "SELECT DISTINCT confrelid::bigint FROM pg_constraint WHERE contype = 'f'"
    return frozenset(oid for (oid,) in session.execute(query))


def emptied(position: int, table: Table, is_referenced: bool, codec: str) -> Block:
    """All rows of a table go: it comes whole. By TRUNCATE where that can be: DELETE is refused where a table
    is published and has no replica identity."""
    root = table.details.get("loaded_through")
    name = qualified(*root) if root else f"ONLY {qualified(table.schema, table.name)}"
    if is_referenced or table.condition:
        text = f"DELETE FROM {name} {table.condition.strip()}".rstrip() + ";\n\n"  # noqa: S608
    else:
        text = f"TRUNCATE {name};\n\n"
    data = text.encode(codec, "surrogateescape")
    return Block(kind=FrameKind.REMOVED, text=data, table=position, prefix_bytes=len(data))


def removed_blocks(
    position: int, table: Table, conditions: Sequence[str], keys: IO[bytes], codec: str
) -> Iterator[Block]:
    """The keys of rows that go, as frames that stand for themselves: each deletes those that it names."""
    columns = ", ".join(quote_identifier(name) for name in table.key)
    name = qualified(table.schema, table.name)
    prefix = (
        f"CREATE TEMPORARY TABLE dbtool_removed_keys ON COMMIT DROP AS SELECT {columns} FROM ONLY {name} WITH NO DATA;\n"  # noqa: S608
        f"COPY {_GONE} ({columns}) FROM stdin;\n"
    ).encode(codec, "surrogateescape")
    equal = " AND ".join(conditions)
    suffix = _TERMINATOR + (
        f"ANALYZE {_GONE};\nDELETE FROM ONLY {name} AS kept USING {_GONE} AS gone WHERE {equal};\n"
        f"DROP TABLE {_GONE};\n\n"
    ).encode(codec, "surrogateescape")
    while lines := keys.read(_KEYS_A_FRAME_BYTES):
        lines += keys.readline()
        count, digest, _ = tally_lines(lines)
        yield Block(
            kind=FrameKind.REMOVED,
            text=prefix + lines + suffix,
            table=position,
            rows=count,
            digest=digest,
            prefix_bytes=len(prefix),
            suffix_bytes=len(suffix),
        )


def emptied_views(names: Sequence[tuple[str, str]], codec: str) -> Block:
    """Materialised views that are to be empty."""
    text = "".join(
        f"REFRESH MATERIALIZED VIEW {qualified(schema, name)} WITH NO DATA;\n" for schema, name in names
    )
    return Block(kind=FrameKind.REFRESH, text=text.encode(codec, "surrogateescape") + b"\n")


def without_large_objects() -> Block:
    """All large objects go: they come whole."""
    text = b"SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata;\n\n"
    return Block(kind=FrameKind.BEFORE_DATA, text=text)


def database_reset(before: dict[str, Any], now: dict[str, Any], codec: str) -> Block | None:
    """Takes back the base's properties of the database, for the new ones follow; None if they are the same."""
    told = ("settings", "comment", "connection_limit", "privileges", "owner")
    if all(before.get(what) == now.get(what) for what in told):
        return None
    templates = [
        "ALTER DATABASE %I RESET ALL",
        "COMMENT ON DATABASE %I IS NULL",
        "ALTER DATABASE %I CONNECTION LIMIT -1",
    ]
    templates += [
        f"ALTER ROLE {quote_identifier(role)} IN DATABASE %I RESET ALL"
        for role in dict.fromkeys(role for role, _ in before["settings"] if role)
    ]
    grantees = dict.fromkeys(grantee for grantee, *_ in before["privileges"] or [])
    templates += [
        f"REVOKE ALL ON DATABASE %I FROM {'PUBLIC' if role is None else quote_identifier(role)}"
        for role in grantees
    ]
    if before["privileges"] is not None:
        templates += [
            "GRANT CONNECT, TEMPORARY ON DATABASE %I TO PUBLIC",
            f"GRANT ALL ON DATABASE %I TO {quote_identifier(now['owner'])}",
        ]
    name = "pg_catalog.quote_ident(pg_catalog.current_database()::text)"
    body = "".join(
        f"  EXECUTE {quote_literal(before)} || {name} || {quote_literal(behind)};\n"
        for before, _, behind in (template.partition("%I") for template in templates)
    )
    text = _do(body.encode(codec, "surrogateescape")) + b"\n"
    return Block(kind=FrameKind.DATABASE, text=text)


def footer(key: str) -> Block:
    """The transaction's end, and the script's last words."""
    text = f"COMMIT;\n\n--\n-- dbtool: the backup is complete\n--\n\n\\unrestrict {key}\n"
    return Block(kind=FrameKind.FOOTER, text=text.encode())
