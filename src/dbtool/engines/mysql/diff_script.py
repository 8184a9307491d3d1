"""The script of a differential: it turns the restored base into a later snapshot.

In order: what fires and what changed is dropped, tables that are new or changed are made; in one transaction the keys
of rows that are there no more, and the rows that changed; then counters, sequences, and the rest of
the schema. MySQL commits at every definition, so a script that was broken off is run again from its beginning:
every step of it may be done twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from dbtool.engines.mysql.after import ROW_SETTINGS, SCHEMA_SETTINGS
from dbtool.engines.mysql.objects import MAY_ALTER
from dbtool.engines.mysql.quoting import STATEMENT_END, insert_prefix, quote_identifier
from dbtool.engines.mysql.schema_diff import SchemaScript
from dbtool.model.archive import Block, FrameKind
from dbtool.model.database import Table
from dbtool.rows import tally_inserts

_KEYS_A_FRAME_BYTES = 8 << 20
_STATEMENT_BYTES = 1 << 20
_REMOVED = "dbtool_removed_keys"


def opening(script: SchemaScript) -> Block | None:
    """What goes before anything is made."""
    statements = [*script.drops, *(f"TRUNCATE TABLE {quote_identifier(name)};\n" for name in script.emptied)]
    if not statements:
        return None
    return _block(FrameKind.BEFORE_DATA, SCHEMA_SETTINGS + "".join(statements))


def beginning_of_rows() -> Block:
    """From here on rows come and go in one transaction."""
    return _block(FrameKind.BEFORE_DATA, "START TRANSACTION;\n")


def end_of_rows(script: SchemaScript, with_history: Collection[str]) -> Block:
    """All rows are there; where tables go on counting. Of those `with_history` an ALTER must be allowed."""
    text = "COMMIT;\n"
    for name, number in script.counters:
        alter = f"ALTER TABLE {quote_identifier(name)} AUTO_INCREMENT = {number};\n"
        text += MAY_ALTER + alter if name in with_history else alter
    return _block(FrameKind.SEQUENCES, SCHEMA_SETTINGS + text)


def _block(kind: FrameKind, text: str) -> Block:
    return Block(kind=kind, text=(text + "\n").encode("utf-8", "surrogateescape"))


def free_name(taken: Collection[str]) -> str:
    """A name for the temporary table of keys that no table has."""
    name = _REMOVED
    while name in taken:
        name += "_"
    return name


class KeyFrames:
    """Frames that take away the rows with some keys of one table, which tell themselves: each makes a temporary
    table of the key's columns, so that values are compared as the table's key compares them."""

    def __init__(self, position: int, table: Table, temporary: str) -> None:
        self._position = position
        name = quote_identifier(temporary)
        columns = [quote_identifier(column) for column in table.key]
        equal = " AND ".join(f"kept.{column} = gone.{column}" for column in columns)
        self._insert = insert_prefix(temporary, table.key)
        chosen = f"SELECT {', '.join(columns)} FROM {quote_identifier(table.name)} LIMIT 0"  # noqa: S608
        delete = (
            f"DELETE kept FROM {name} AS gone STRAIGHT_JOIN {quote_identifier(table.name)} AS kept ON {equal}"
        )
        self._before = (
            f"{ROW_SETTINGS}DROP TEMPORARY TABLE IF EXISTS {name};\n"
            f"CREATE TEMPORARY TABLE {name} AS {chosen};\n"
        ).encode("utf-8", "surrogateescape")
        self._behind = f"{delete};\nDROP TEMPORARY TABLE {name};\n\n".encode("utf-8", "surrogateescape")

    def removed(self, lines: Iterable[bytes]) -> Iterator[Block]:
        """The keys of the base whose rows go."""
        for piece in _pieces(lines, _KEYS_A_FRAME_BYTES):
            text = self._statements(piece)
            count, digest, _ = tally_inserts(text)
            yield Block(
                kind=FrameKind.REMOVED,
                text=self._before + text + self._behind,
                table=self._position,
                rows=count,
                digest=digest,
                prefix_bytes=len(self._before),
                suffix_bytes=len(self._behind),
            )

    def cleared(self, lines: Iterable[bytes]) -> Iterator[Block]:
        """The keys of rows that come new, and are there already where the script is run again. They are none of
        the base's, so the frame counts none."""
        for piece in _pieces(lines, _KEYS_A_FRAME_BYTES):
            text = self._before + self._statements(piece) + self._behind
            yield Block(kind=FrameKind.REMOVED, text=text, table=self._position, prefix_bytes=len(text))

    def _statements(self, lines: bytes) -> bytes:
        pieces = _pieces([lines], _STATEMENT_BYTES)
        return b"".join(self._insert + piece[:-1].replace(b"\n", b",\n") + STATEMENT_END for piece in pieces)


def _pieces(blocks: Iterable[bytes], size_bytes: int) -> Iterator[bytes]:
    """Whole lines, about so many bytes at once. No line's end stands within a line."""
    gathered = b""
    for block in blocks:
        gathered += block
        start = 0
        while len(gathered) - start > size_bytes:
            end = gathered.find(b"\n", start + size_bytes) + 1 or len(gathered)
            yield gathered[start:end]
            start = end
        gathered = gathered[start:]
    if gathered:
        yield gathered
