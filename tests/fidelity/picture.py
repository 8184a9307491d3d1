"""A picture of a PostgreSQL database: everything that makes it up, for the comparison "identical".

It is taken without dbtool's own code (pg_dump of the schema, catalogue queries, digests that the
server computes), so that it can judge dbtool. It is no backup: data are digests only.

Two databases are compared through the same pg_dump. The schema is compared as a multiset of
objects, for their order in a dump may differ legitimately.
"""

from __future__ import annotations

import difflib
import itertools
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo, sql

from dbtool.model.connection import Connection

# Settings that the text of a value depends on, and those by which a database could spoil the looking.
_SESSION = {
    "search_path": "",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "row_security": "off",
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "default_transaction_read_only": "off",
    "quote_all_identifiers": "off",
    "standard_conforming_strings": "on",
    "jit": "off",
}

_HEADER = re.compile(r"^--\n-- Name: .*; Type: .*; Schema: .*; Owner: .*\n--\n", re.MULTILINE)
_NOISE = re.compile(
    r"^(\\(un)?restrict .*|-- Dumped (from|by) .*|-- PostgreSQL database dump.*)\n", re.MULTILINE
)
# pg_dump says these before the object that they are for, and only where they change. The tablespace
# and the access method of each relation are read from the catalogue instead.
_SETTING_LINE = re.compile(r"^SET default_(tablespace|table_access_method|with_oids) = .*;$")


@dataclass(frozen=True)
class Picture:
    """One database. Every part maps a name to a text that is equal if and only if the thing is."""

    properties: Mapping[str, str]
    schema: Mapping[str, int]  # an object's text -> how often it occurs
    storage: Mapping[str, str]  # relation -> access method and tablespace
    tables: Mapping[str, str]  # relation -> rows and digest of their multiset
    sequences: Mapping[str, str]
    large_objects: Mapping[str, str]
    materialized_views: Mapping[str, str]  # populated or not
    roles: Mapping[str, str] = field(default_factory=dict)


def take_picture(
    connection: Connection,
    programs: Path | str | None = None,
    *,
    dump_options: tuple[str, ...] = (),
    with_roles: bool = False,
) -> Picture:
    """Look at all of a database. The account must be a superuser.

    `programs` is the folder of the pg_dump to use (both sides of a comparison need the same); else
    the one on the PATH. `dump_options` go to pg_dump, such as `--no-owner`. `with_roles` adds the roles
    and tablespaces of the server.
    """
    schema = _schema_blocks(_dump_schema(connection, programs, dump_options))
    with psycopg.connect(connection_string(connection), autocommit=True) as link:
        _settle(link)
        return Picture(
            properties=_properties(link),
            schema=schema,
            storage=_pairs(link, _STORAGE),
            tables=_tables(link),
            sequences=_sequences(link),
            large_objects=_pairs(link, _LARGE_OBJECTS),
            materialized_views=_pairs(link, _MATERIALIZED_VIEWS),
            roles=_roles(link) if with_roles else {},
        )


def difference(left: Picture, right: Picture, parts: tuple[str, ...] = ()) -> list[str]:
    """What differs, as lines a person can read; empty where the databases are identical.

    `parts` names the fields of `Picture` to compare; all where it is empty.
    """
    lines: list[str] = []
    for part in [part.name for part in fields(Picture)]:
        if parts and part not in parts:
            continue
        first, second = getattr(left, part), getattr(right, part)
        if part == "schema":
            lines += _schema_difference(Counter(first), Counter(second))
            continue
        for name in sorted({*first, *second}):
            if first.get(name) != second.get(name):
                lines.append(f"{part}: {name!r}: {first.get(name)!r} != {second.get(name)!r}")
    return lines


def connection_string(connection: Connection) -> str:
    """libpq's description of a connection, for programs and drivers alike. Holds no password."""
    words = {
        "dbname": connection.database,
        "host": connection.host,
        "port": connection.port,
        "user": connection.user,
        "passfile": connection.passfile,
    }
    given: dict[str, Any] = {word: value for word, value in words.items() if value is not None}
    return conninfo.make_conninfo("", **given)


def program(programs: Path | str | None, name: str) -> str:
    """The path of a client program in `programs`, or its bare name."""
    return str(Path(programs) / name) if programs else name


def _settle(link: psycopg.Connection[Any]) -> None:
    # Without an encoding there is nothing to convert from: the bytes are compared as they are.
    link.execute(sql.SQL("SET client_encoding = {}").format("SQL_ASCII" if _is_ascii(link) else "UTF8"))
    for name, value in _SESSION.items():
        link.execute(sql.SQL("SELECT pg_catalog.set_config({}, {}, false)").format(name, value))


def _is_ascii(link: psycopg.Connection[Any]) -> bool:
    return link.info.parameter_status("server_encoding") == "SQL_ASCII"


def _pairs(link: psycopg.Connection[Any], query: str) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in link.execute(query.encode())}


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


# --- schema -----------------------------------------------------------------------------------


def _dump_schema(connection: Connection, programs: Path | str | None, options: tuple[str, ...]) -> str:
    command = [program(programs, "pg_dump"), "--schema-only", *options, "-d", connection_string(connection)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"pg_dump failed: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode("utf-8", "backslashreplace")


def _schema_blocks(script: str) -> dict[str, int]:
    """The objects of a schema-only script, each with its header, without what says nothing of it."""
    script = _NOISE.sub("", script)
    starts = [match.start() for match in _HEADER.finditer(script)] + [len(script)]
    # What comes before the first header are the settings of the session.
    blocks = (script[start:end] for start, end in itertools.pairwise(starts))
    return dict(Counter(_strip_block(block) for block in blocks))


def _strip_block(block: str) -> str:
    lines = block.rstrip().split("\n")
    while lines and (not lines[-1].strip() or lines[-1] == "--" or _SETTING_LINE.match(lines[-1])):
        lines.pop()
    return "\n".join(lines)


def _schema_difference(left: Counter[str], right: Counter[str]) -> list[str]:
    gone, new = sorted((left - right).elements()), sorted((right - left).elements())
    lines = []
    by_header = {_header(block): block for block in new}
    for block in gone:
        twin = by_header.pop(_header(block), None)
        if twin is None:
            lines.append(f"schema: only on the left:\n{block}")
        else:
            new.remove(twin)
            changes = difflib.unified_diff(block.split("\n"), twin.split("\n"), lineterm="", n=1)
            lines.append("schema: differs: " + _header(block) + "\n" + "\n".join(changes))
    return lines + [f"schema: only on the right:\n{block}" for block in new]


def _header(block: str) -> str:
    return block.split("\n", 2)[1]


_STORAGE = """
    SELECT format('%I.%I (%s)', n.nspname, c.relname, c.relkind),
           coalesce(a.amname, '-') || ' ' || coalesce(t.spcname, '-')
    FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_am a ON a.oid = c.relam
    LEFT JOIN pg_tablespace t ON t.oid = c.reltablespace
    WHERE c.relkind IN ('r', 'm', 'i', 'p', 'I') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""

_MATERIALIZED_VIEWS = """
    SELECT format('%I.%I', n.nspname, c.relname), c.relispopulated::text
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm'
"""

# --- data -------------------------------------------------------------------------------------

# `scattered`: rows below a hash partitioning by an enum lie in other leaves after a restore, for
# the hash of a label is that of its OID. Only the root says anything then.
_RELATIONS = """
    WITH RECURSIVE tree AS (
        SELECT c.oid, c.relkind, false AS scattered, 0 AS depth
        FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
        UNION ALL
        SELECT c.oid, c.relkind,
               tree.scattered OR EXISTS (
                   SELECT FROM pg_partitioned_table p
                   JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = ANY (p.partattrs::int2[])
                   JOIN pg_type t ON t.oid = a.atttypid
                   WHERE p.partrelid = tree.oid AND p.partstrat = 'h' AND t.typtype = 'e'),
               tree.depth + 1
        FROM tree
        JOIN pg_inherits i ON i.inhparent = tree.oid
        JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition
        WHERE tree.relkind = 'p'
    )
    SELECT n.nspname || '.' || c.relname,
           format('SELECT count(*), coalesce(sum((''x'' || substr(md5({row}), 1, 15))::bit(60)::bigint'
                  '::numeric), 0) FROM %s %I.%I AS picture_row',
                  (SELECT string_agg(format('picture_row.%I', attname), ', ' ORDER BY attname)
                   FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped),
                  CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, n.nspname, c.relname)
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't'
      AND NOT tree.scattered AND c.relkind <> 'f' AND (c.relkind <> 'm' OR c.relispopulated)
      AND NOT (c.relkind = 'p' AND EXISTS (
          SELECT FROM pg_partition_tree(c.oid) t JOIN pg_class l ON l.oid = t.relid WHERE l.relkind = 'f'))
    ORDER BY 1, 2
"""


def _tables(link: psycopg.Connection[Any]) -> dict[str, str]:
    """Rows and digest of each relation that can be read.

    The digest depends neither on the order of the rows nor on that of the columns, which a dump and
    restore changes where a table was made an heir.
    """
    row = "textsend(ROW(%s)::text)" if _is_ascii(link) else "convert_to(ROW(%s)::text, ''UTF8'')"
    query = _RELATIONS.replace("{row}", row)
    digests = {}
    for name, statement in link.execute(query.encode()).fetchall():
        count, digest = link.execute(_bytes(statement)).fetchone() or (0, 0)
        digests[_text(name)] = f"{count} rows, {digest}"
    return digests


def _sequences(link: psycopg.Connection[Any]) -> dict[str, str]:
    """Where each sequence stands, and how it goes on."""
    query = b"""
        SELECT n.nspname || '.' || c.relname, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache,
               s.seqcycle, format('SELECT last_value, is_called FROM %I.%I', n.nspname, c.relname)
        FROM pg_sequence s
        JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    """
    values = {}
    for name, *parameters, statement in link.execute(query).fetchall():
        state = link.execute(_bytes(statement)).fetchone()
        values[_text(name)] = f"{state} {parameters}"
    return values


_LARGE_OBJECTS = """
    SELECT m.oid::text,
           format('%s bytes, md5 %s, owner %s, acl %s, comment %s',
                  length(lo_get(m.oid)), md5(lo_get(m.oid)), pg_get_userbyid(m.lomowner),
                  (SELECT string_agg(a::text, ',' ORDER BY a::text)
                   FROM unnest(coalesce(m.lomacl, acldefault('L', m.lomowner))) a),
                  obj_description(m.oid, 'pg_largeobject'))
    FROM pg_largeobject_metadata m
"""

# --- the database and the server --------------------------------------------------------------


def _properties(link: psycopg.Connection[Any]) -> dict[str, str]:
    """What belongs to the database itself and not to anything in it."""
    version = link.info.server_version
    provider = "d.datlocprovider::text" if version >= 150000 else "'c'"
    icu = "d.daticulocale" if version >= 150000 else "NULL::text"
    icu = "d.datlocale" if version >= 170000 else icu
    rules = "d.daticurules" if version >= 160000 else "NULL::text"
    query = f"""
        SELECT k, v FROM pg_database d, LATERAL (VALUES
            ('encoding', pg_encoding_to_char(d.encoding)::text),
            ('collate', d.datcollate::text), ('ctype', d.datctype::text),
            ('provider', {provider}), ('locale', {icu}), ('rules', {rules}),
            ('owner', pg_get_userbyid(d.datdba)::text), ('connection limit', d.datconnlimit::text),
            ('template', d.datistemplate::text),
            ('tablespace', (SELECT spcname::text FROM pg_tablespace t WHERE t.oid = d.dattablespace)),
            ('privileges', (SELECT string_agg(a::text, ',' ORDER BY a::text)
                            FROM unnest(coalesce(d.datacl, acldefault('d', d.datdba))) a)),
            ('comment', shobj_description(d.oid, 'pg_database')),
            ('labels', (SELECT string_agg(provider || ':' || label, ',' ORDER BY 1) FROM pg_shseclabel
                        WHERE objoid = d.oid AND classoid = 'pg_database'::regclass))
        ) p(k, v) WHERE d.datname = current_database()
        UNION ALL
        SELECT 'setting for ' || coalesce(r.rolname, 'everybody') || ': ' || split_part(s, '=', 1), s
        FROM pg_db_role_setting x
        JOIN pg_database d ON d.oid = x.setdatabase AND d.datname = current_database()
        LEFT JOIN pg_roles r ON r.oid = x.setrole, unnest(x.setconfig) s
    """.replace("'pg_database'::regclass", "'pg_catalog.pg_database'::pg_catalog.regclass")
    return _pairs(link, query)


def _roles(link: psycopg.Connection[Any]) -> dict[str, str]:
    """The server's roles, with what they may do and belong to, and its tablespaces."""
    query = """
        SELECT rolname,
               concat_ws(' ', rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication,
               rolbypassrls, rolconnlimit, rolpassword, rolvaliduntil,
               (SELECT string_agg(format('%s/%s', pg_get_userbyid(m.roleid), m.admin_option), ','
                                  ORDER BY m.roleid::regrole::text)
                FROM pg_auth_members m WHERE m.member = a.oid),
               (SELECT string_agg(s::text, ',' ORDER BY s::text)
                FROM pg_db_role_setting x, unnest(x.setconfig) s
                WHERE x.setrole = a.oid AND x.setdatabase = 0),
               shobj_description(a.oid, 'pg_authid'))
        FROM pg_authid a WHERE rolname !~ '^pg_'
        UNION ALL
        SELECT 'tablespace ' || spcname,
               concat_ws(' ', pg_get_userbyid(spcowner), spcacl::text, spcoptions::text)
        FROM pg_tablespace WHERE spcname !~ '^pg_'
    """
    return _pairs(link, query)
