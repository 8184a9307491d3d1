"""The schema as pg_dump writes it, taken apart into objects that know what they need.

`pg_dump -Fc --schema-only` gives the objects and their dependencies, `pg_restore` their SQL,
word for word as a native dump has it. Which objects a partial backup takes is in `selection.py`.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dbtool import process
from dbtool.engines.postgres.connect import client_environment
from dbtool.engines.postgres.quoting import conninfo, quote_identifier
from dbtool.engines.postgres.toc import SECTION_AFTER_DATA, TocEntry, read_toc
from dbtool.engines.postgres.tools import Tool
from dbtool.errors import DbtoolError
from dbtool.model.archive import Block, FrameKind, SchemaObject
from dbtool.model.connection import Connection

_MARKER = re.compile(rb"\n--\n-- TOC entry (\d+) \(class \d+ OID \d+\)\n")
_HEADER_END = b"\n--\n\n"
_SETTINGS_BEHIND = re.compile(rb"(?:SET default_(?:tablespace|table_access_method) = [^\n]*;\n\n)+\Z")
_TRAILER = b"-- Completed on "
_GROUP_BYTES = 1 << 20
_LAST_KINDS = ("EVENT TRIGGER",)
_NAME = rb'("(?:[^"]|"")*"|[^\s".]+)'
_ATTACHMENT = re.compile(
    rb"^ALTER TABLE ONLY " + _NAME + rb"\." + _NAME + rb" ATTACH PARTITION .*?;\n(?=ALTER |\n|\Z)",
    re.MULTILINE | re.DOTALL,
)
# Between the numbers of pg_dump's objects and those of our own.
_FIRST_ATTACHMENT_NUMBER = 500_000_000
# The spelling of string literals, which a database may set otherwise; our script's header says "on".
_SESSION_OPTIONS = "-c standard_conforming_strings=on -c quote_all_identifiers=off"


@dataclass(frozen=True)
class SchemaPart:
    """One object with its SQL: comment, definition and owner. Offsets count from `text`'s start."""

    entry: TocEntry
    text: bytes
    definition_offset: int
    owner_offset: int  # counted from definition_offset
    kind: FrameKind  # BEFORE_DATA, AFTER_DATA or LAST


def dump_arguments(tool: Tool, database: str, snapshot: str, encoding: str, lock_seconds: float) -> list[str]:
    """The command that writes the schema's archive; the file is appended by the caller."""
    return [
        str(tool.path),
        "--format=custom",
        "--schema-only",
        "--no-password",
        "--no-sync",
        f"--snapshot={snapshot}",
        f"--encoding={encoding}",
        f"--lock-wait-timeout={max(1, int(lock_seconds * 1000))}",
        f"--dbname={conninfo(database)}",
    ]


def read_schema(
    restore_tool: Tool, connection: Connection, arguments: Sequence[str], codec: str
) -> list[SchemaPart]:
    """Run pg_dump and pg_restore, and take their output apart."""
    with (
        client_environment(connection) as environment,
        tempfile.TemporaryDirectory(prefix="dbtool-") as folder,
    ):
        archive = Path(folder) / "schema.dump"
        environment = {**environment, "PGOPTIONS": _SESSION_OPTIONS}
        process.run([*arguments, f"--file={archive}"], environment=environment)
        with archive.open("rb") as file:
            entries = read_toc(file, codec)
        script = process.run(
            [str(restore_tool.path), "--verbose", "--file=-", str(archive)], environment=environment
        ).stdout
    return split_script(script, entries)


def split_script(script: bytes, entries: Iterable[TocEntry]) -> list[SchemaPart]:
    """Cut pg_restore's script into its objects, in the script's order.

    After each heading the object's own definition, known from the archive, is stepped over, so
    that a function's body may hold text that looks like the next heading.
    """
    by_number = {entry.number: entry for entry in entries}
    parts: list[SchemaPart] = []
    phase = FrameKind.BEFORE_DATA
    marker = _MARKER.search(script)
    while marker is not None:
        entry = by_number.get(int(marker[1]))
        if entry is None:
            raise DbtoolError("pg_restore's script has an object that pg_dump's archive has not")
        start = marker.start() + 1
        definition_start = script.index(_HEADER_END, marker.end() - 1) + len(_HEADER_END)
        if not script.startswith(entry.definition, definition_start):
            raise DbtoolError(f"pg_restore wrote another definition of {entry.kind} {entry.tag} than pg_dump")
        definition_end = definition_start + len(entry.definition)
        marker = _MARKER.search(script, definition_end)
        end = marker.start() + 1 if marker else _script_end(script, definition_end)
        behind = script[definition_end:end]
        settings = _SETTINGS_BEHIND.search(behind)
        if settings:
            behind = behind[: settings.start()]
        separator = len(behind) - len(behind.lstrip(b"\n"))
        has_owner = b" OWNER TO " in behind
        if phase is FrameKind.BEFORE_DATA and entry.section == SECTION_AFTER_DATA:
            phase = FrameKind.AFTER_DATA
        parts.append(
            SchemaPart(
                entry=entry,
                text=script[start:definition_end] + behind,
                definition_offset=definition_start - start,
                owner_offset=len(entry.definition) + (separator if has_owner else len(behind)),
                kind=_kind_of(entry, phase),
            )
        )
    return [piece for part in parts for piece in _attachment_apart(part, by_number)]


def _attachment_apart(part: SchemaPart, entries: Mapping[int, TocEntry]) -> Iterator[SchemaPart]:
    """A partition, then what attaches it: pg_dump 14 and newer make that an object of its own, so
    that a partition can be had alone; older ones write it into the partition's definition."""
    found = _ATTACHMENT.search(part.entry.definition) if part.entry.kind == "TABLE" else None
    if found is None:
        yield part
        return
    parent = tuple(_unquoted(name) for name in found.groups())
    tables = [number for number in part.entry.needs if number in entries and entries[number].kind == "TABLE"]
    # A table may need another for the type of a column, too.
    is_parent = [number for number in tables if len(tables) == 1 or _name_of(entries[number]) == parent]
    statement = found[0]
    definition = part.entry.definition.replace(statement, b"", 1)
    entry = replace(part.entry, definition=definition)
    text = part.text[: part.definition_offset] + part.text[part.definition_offset :].replace(
        statement, b"", 1
    )
    yield replace(part, entry=entry, text=text, owner_offset=part.owner_offset - len(statement))
    attachment = replace(
        entry,
        number=_FIRST_ATTACHMENT_NUMBER + entry.number,
        kind="TABLE ATTACH",
        class_oid=0,
        oid=0,
        drop=b"",
        definition=statement,
        tablespace=None,
        access_method=None,
        needs=(entry.number, *is_parent),
    )
    yield SchemaPart(attachment, statement + b"\n\n", 0, len(statement) + 2, part.kind)


def _name_of(entry: TocEntry) -> tuple[bytes, bytes]:
    return entry.namespace.encode("utf-8", "surrogateescape"), entry.tag.encode("utf-8", "surrogateescape")


def _unquoted(name: bytes) -> bytes:
    return name[1:-1].replace(b'""', b'"') if name.startswith(b'"') else name


def _script_end(script: bytes, position: int) -> int:
    end = script.rfind(b"\n" + _TRAILER)
    return end + 1 if end >= position else len(script)


def _kind_of(entry: TocEntry, phase: FrameKind) -> FrameKind:
    if entry.kind in _LAST_KINDS or (entry.kind == "COMMENT" and entry.tag.startswith(_LAST_KINDS)):
        return FrameKind.LAST
    return FrameKind.AFTER_DATA if entry.kind in ("ACL", "DEFAULT ACL") else phase


def schema_blocks(parts: Iterable[SchemaPart], kind: FrameKind, codec: str) -> Iterator[Block]:
    """The parts of one kind as blocks of about 1 MiB, each part's place in it noted."""
    writer = _BlockWriter(kind, codec)
    for part in parts:
        if part.kind is kind:
            writer.add(part)
            if writer.size >= _GROUP_BYTES:
                yield writer.take()
    if writer.size:
        yield writer.take()


class _BlockWriter:
    """Gathers parts, and the settings that they need where those change."""

    def __init__(self, kind: FrameKind, codec: str) -> None:
        self._kind = kind
        self._codec = codec
        self._pieces: list[bytes] = []
        self._objects: list[SchemaObject] = []
        self._settings: dict[str, str] = {}
        self.size = 0

    def add(self, part: SchemaPart) -> None:
        item = schema_object(part, self._codec, self.size + part.definition_offset)
        for setting, value in settings_of(item).items():
            if self._settings.get(setting) != value:
                self._append(setting_statement(setting, value).encode(self._codec, "surrogateescape"))
                self._settings[setting] = value
        behind_settings = self.size + part.definition_offset
        self._objects.append(replace(item, offset=behind_settings))
        self._append(part.text)

    def _append(self, text: bytes) -> None:
        self._pieces.append(text)
        self.size += len(text)

    def take(self) -> Block:
        block = Block(kind=self._kind, text=b"".join(self._pieces), objects=tuple(self._objects))
        self._pieces, self._objects, self.size = [], [], 0
        return block


def schema_object(part: SchemaPart, codec: str, offset: int = 0) -> SchemaObject:
    """What the index says of a part that stands at an offset in its frame."""
    entry = part.entry
    return SchemaObject(
        number=entry.number,
        kind=entry.kind,
        schema=entry.namespace,
        name=entry.tag,
        owner=entry.owner,
        identity=entry.oid,
        needs=entry.needs,
        offset=offset,
        length=len(part.text) - part.definition_offset,
        owner_offset=part.owner_offset,
        tablespace=entry.tablespace,
        access_method=None if entry.relation_kind == "p" else entry.access_method or None,
        drop=entry.drop.decode(codec, "surrogateescape").strip(),
    )


def aside(part: SchemaPart, codec: str) -> SchemaObject:
    """A part that is not in the script: its SQL stands in the index."""
    sql = part.text[part.definition_offset :].decode(codec, "surrogateescape")
    return replace(schema_object(part, codec), sql=sql)


def settings_of(item: SchemaObject) -> dict[str, str]:
    """The session settings under which an object must be made."""
    settings = {}
    if item.tablespace is not None:
        settings["default_tablespace"] = item.tablespace
    if item.access_method is not None:
        settings["default_table_access_method"] = item.access_method
    return settings


def setting_statement(setting: str, value: str) -> str:
    """`SET` for one of `settings_of`."""
    quoted = quote_identifier(value) if value else "''"
    return f"SET {setting} = {quoted};\n\n"
