"""What the script holds beside pg_dump's schema and the rows: its head, sequences, large objects,
materialised views, the database's own properties, its foot.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dbtool import __version__
from dbtool.engines.postgres.introspect import MaterializedView
from dbtool.engines.postgres.introspect import Sequence as DatabaseSequence
from dbtool.engines.postgres.quoting import qualified, quote_identifier, quote_literal
from dbtool.model.archive import Block, FrameKind, SchemaObject

if TYPE_CHECKING:
    import psycopg

_GROUP_BYTES = 1 << 20
_LARGE_OBJECT_GROUP_BYTES = 8 << 20
_LARGE_OBJECT_PIECE_BYTES = 1 << 20

# No object of pg_dump's has a number so high.
_FIRST_OWN_NUMBER = 1_000_000_000

_LARGE_OBJECTS_SQL = """
SELECT m.oid::bigint, pg_get_userbyid(m.lomowner), obj_description(m.oid, 'pg_largeobject'),
       CASE WHEN m.lomacl IS NULL THEN NULL ELSE ARRAY(
           SELECT jsonb_build_array(CASE WHEN a.grantee = 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
                                    a.privilege_type, a.is_grantable)
           FROM aclexplode(m.lomacl) AS a) END,
       ARRAY(SELECT jsonb_build_array(l.provider, l.label) FROM pg_seclabel AS l
             WHERE l.classoid = 'pg_largeobject'::regclass AND l.objoid = m.oid)
FROM pg_largeobject_metadata AS m WHERE m.oid > %s ORDER BY m.oid LIMIT 1000
"""


def restrict_key() -> str:
    """A key for `\\restrict`: letters and digits that nobody can guess."""
    return secrets.token_hex(24)


def header(key: str, encoding: str, database: str, server_version: str) -> Block:
    """The session's settings. `\\restrict` keeps what follows from giving psql commands."""
    name = quote_identifier(database).replace("\n", " ").replace("\r", " ")
    text = f"""--
-- dbtool {__version__}: logical backup of the PostgreSQL {server_version} database {name}
--

\\restrict {key}

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = '{encoding}';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres';
SET lc_monetary = 'C';

"""
    return Block(kind=FrameKind.HEADER, text=text.encode("utf-8", "surrogateescape"))


def footer(key: str) -> Block:
    """The script's last words; who sees them knows that it is whole."""
    text = f"--\n-- dbtool: the backup is complete\n--\n\n\\unrestrict {key}\n"
    return Block(kind=FrameKind.FOOTER, text=text.encode())


class _Script:
    """Gathers small statements into blocks, each an object of its own in the index."""

    def __init__(self, kind: FrameKind, codec: str, numbers: Iterator[int]) -> None:
        self._kind = kind
        self._codec = codec
        self._numbers = numbers
        self._pieces: list[bytes] = []
        self._objects: list[SchemaObject] = []
        self.size = 0

    def add(
        self,
        what: str,
        schema: str,
        name: str,
        statement: str,
        owner_statement: str = "",
        needs: tuple[int, ...] = (),
        identity: int = 0,
    ) -> None:
        data = (statement + "\n").encode(self._codec, "surrogateescape")
        behind = (owner_statement + "\n\n").encode(self._codec, "surrogateescape") if owner_statement else b""
        self._objects.append(
            SchemaObject(
                number=next(self._numbers),
                kind=what,
                schema=schema,
                name=name,
                identity=identity,
                needs=needs,
                offset=self.size,
                length=len(data) + len(behind),
                owner_offset=len(data),
            )
        )
        self._pieces.extend((data, behind))
        self.size += len(data) + len(behind)

    def take(self, least_bytes: int = 1) -> Iterator[Block]:
        if self.size >= least_bytes:
            # The blank line parts the blocks for a person's eye.
            yield Block(kind=self._kind, text=b"".join(self._pieces) + b"\n", objects=tuple(self._objects))
            self._pieces, self._objects, self.size = [], [], 0


def own_numbers() -> Iterator[int]:
    """Numbers for schema objects that pg_dump does not number."""
    number = _FIRST_OWN_NUMBER
    while True:
        yield number
        number += 1


def sequence_blocks(
    sequences: Iterable[DatabaseSequence], codec: str, numbers: Iterator[int]
) -> Iterator[Block]:
    """`setval` for every sequence."""
    script = _Script(FrameKind.SEQUENCES, codec, numbers)
    for item in sequences:
        called = "true" if item.is_called else "false"
        name = quote_literal(qualified(item.schema, item.name))
        statement = f"SELECT pg_catalog.setval({name}, {item.last_value}, {called});"
        script.add("SEQUENCE SET", item.schema, item.name, statement, identity=item.identity)
        yield from script.take(_GROUP_BYTES)
    yield from script.take()


def refresh_blocks(
    views: Sequence[MaterializedView], objects: dict[int, int], codec: str, numbers: Iterator[int]
) -> Iterator[Block]:
    """`REFRESH` for the filled materialised views, in the order in which they read each other.

    `objects` gives the number of the view's own object by its OID.
    """
    script = _Script(FrameKind.REFRESH, codec, numbers)
    for view in views:
        if view.identity in objects:
            statement = f"REFRESH MATERIALIZED VIEW {qualified(view.schema, view.name)};"
            needs = (objects[view.identity],)
            script.add("MATERIALIZED VIEW DATA", view.schema, view.name, statement, needs=needs)
    yield from script.take()


def large_object_blocks(
    session: psycopg.Connection[Any], codec: str, numbers: Iterator[int]
) -> Iterator[Block]:
    """Every large object the account may see, with owner, privileges, comment and labels."""
    script = _Script(FrameKind.LARGE_OBJECTS, codec, numbers)
    last = 0
    while rows := session.execute(_LARGE_OBJECTS_SQL, (last,)).fetchall():
        for oid, owner, comment, privileges, labels in rows:
            name = f"LARGE OBJECT {oid}"
            owner_sql = f"ALTER {name} OWNER TO {quote_identifier(owner)};"
            script.add("BLOB", "", str(oid), f"SELECT pg_catalog.lo_create('{oid}');", owner_sql)
            for offset, piece in _pieces(session, oid):
                statement = f"SELECT pg_catalog.lo_put('{oid}', {offset}, '\\x{piece}');"
                script.add("BLOB DATA", "", str(oid), statement)
                yield from script.take(_LARGE_OBJECT_GROUP_BYTES)
            if comment is not None:
                script.add("COMMENT", "", str(oid), f"COMMENT ON {name} IS {quote_literal(comment)};")
            for provider, label in labels:
                script.add(
                    "SECURITY LABEL",
                    "",
                    str(oid),
                    f"SECURITY LABEL FOR {quote_identifier(provider)} ON {name} IS {quote_literal(label)};",
                )
            for statement in grant_statements(name, privileges, owner, {"SELECT", "UPDATE"}, set()):
                script.add("ACL", "", str(oid), statement)
            yield from script.take(_LARGE_OBJECT_GROUP_BYTES)
            last = oid
    yield from script.take()


def _pieces(session: psycopg.Connection[Any], oid: int) -> Iterator[tuple[int, str]]:
    """(offset, hex) of a large object's contents; holes read as zeros, as they do for everybody."""
    offset = 0
    while True:
        row = session.execute(
            "SELECT encode(lo_get(%s::bigint::oid, %s::bigint, %s), 'hex')",
            (oid, offset, _LARGE_OBJECT_PIECE_BYTES),
        ).fetchone()
        piece = str(row[0]) if row else ""
        if not piece:
            return
        yield offset, piece
        offset += len(piece) // 2


def grant_statements(
    target: str, privileges: list[Any] | None, owner: str, owner_default: set[str], public_default: set[str]
) -> Iterator[str]:
    """What makes the privileges of an object as they are. None is the default, and needs nothing;
    neither do the owner and PUBLIC where they have just what they have by default."""
    if privileges is None:
        return
    for who, default in ((owner, owner_default), (None, public_default)):
        has = [(privilege, grantable) for grantee, privilege, grantable in privileges if grantee == who]
        if {privilege for privilege, _ in has} != default or any(grantable for _, grantable in has):
            yield f"REVOKE ALL ON {target} FROM {_grantee(who)};"
            yield from (_grant(privilege, target, who, grantable) for privilege, grantable in has)
    for grantee, privilege, grantable in privileges:
        if grantee not in (owner, None):
            yield _grant(privilege, target, grantee, grantable)


def _grantee(role: str | None) -> str:
    return "PUBLIC" if role is None else quote_identifier(role)


def _grant(privilege: str, target: str, role: str | None, grantable: bool) -> str:
    option = " WITH GRANT OPTION" if grantable else ""
    return f"GRANT {privilege} ON {target} TO {_grantee(role)}{option};"


def database_blocks(database: dict[str, Any], codec: str, numbers: Iterator[int]) -> Iterator[Block]:
    """Comment, settings and privileges of the database, for whatever name it is restored under."""
    script = _Script(FrameKind.DATABASE, codec, numbers)
    name = database["name"]
    owner_sql = _for_this_database(f"ALTER DATABASE %I OWNER TO {quote_identifier(database['owner'])}")
    script.add("DATABASE PROPERTIES", "", name, "", owner_sql)
    if database["comment"]:
        comment = quote_literal(database["comment"])
        script.add("DATABASE COMMENT", "", name, _for_this_database(f"COMMENT ON DATABASE %I IS {comment}"))
    if database["connection_limit"] not in (-1, -2):
        limit = f"ALTER DATABASE %I CONNECTION LIMIT {database['connection_limit']}"
        script.add("DATABASE PROPERTIES", "", name, _for_this_database(limit))
    for role, setting in database["settings"]:
        variable, _, value = setting.partition("=")
        whom = f"ROLE {quote_identifier(role)} IN DATABASE %I" if role else "DATABASE %I"
        statement = f"ALTER {whom} SET {quote_setting(variable)} TO {setting_value(variable, value)}"
        script.add("DATABASE PROPERTIES", "", name, _for_this_database(statement))
    owner = database["owner"]
    for statement in grant_statements(
        "DATABASE %I",
        database["privileges"],
        owner,
        {"CREATE", "CONNECT", "TEMPORARY"},
        {"CONNECT", "TEMPORARY"},
    ):
        script.add("DATABASE ACL", "", name, _for_this_database(statement.rstrip(";")))
    yield from script.take()


# Settings whose value is a list of names: quoted one by one, or they would become one name.
_LIST_SETTINGS = (
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
)


def setting_value(variable: str, value: str) -> str:
    """The value as `ALTER DATABASE … SET` takes it."""
    if variable.lower() not in _LIST_SETTINGS:
        return quote_literal(value)
    # The catalogue holds the list as it was typed, with double quotes where a name needs them.
    names = _split_names(value)
    return ", ".join(quote_literal(name) for name in names) if names else "''"


def _split_names(value: str) -> list[str]:
    names, current, quoted, was_quoted = [], "", False, False
    for character in value + ",":
        if character == '"':
            quoted = not quoted
            current += '"' if quoted and was_quoted else ""
            was_quoted = True
        elif character == "," and not quoted:
            name = current if was_quoted else current.strip().lower()
            if name or was_quoted:
                names.append(name)
            current, was_quoted = "", False
        elif quoted or not character.isspace():
            current += character
    return names


def quote_setting(variable: str) -> str:
    """A setting's name; an extension's has two parts."""
    return ".".join(quote_identifier(part) for part in variable.split("."))


def _for_this_database(template: str) -> str:
    """A statement about the database that it runs in, whose name it does not know. `%I` in the
    template stands for it; a `%` of its own is doubled by nobody, so it is replaced, not formatted."""
    before, _, behind = template.partition("%I")
    name = "pg_catalog.quote_ident(pg_catalog.current_database()::text)"
    body = f"EXECUTE {quote_literal(before)} || {name} || {quote_literal(behind)}"
    tag = "$dbtool$"
    while tag in body:
        tag = tag[:-1] + "_$"
    return f"DO {tag}BEGIN {body}; END{tag};"
