"""Archives made by hand, of whatever statements and rows a test wants in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dbtool.model.archive import ArchiveIndex, Frame, FrameKind, SchemaObject, TableSummary
from dbtool.rows import tally_inserts

Columns = Sequence[tuple[str, str, str]]  # (name, type, kind)


@dataclass
class HandMade:
    """An archive in memory: add tables, frames and objects, then ask for its index."""

    tables: list[TableSummary] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    texts: dict[int, bytes] = field(default_factory=dict)

    def table(self, name: str, columns: Columns, *rows: bytes) -> int:
        """A table with a frame for its rows, each as it stands between its parentheses. The frame's number."""
        listed = b",".join(b"`" + column[0].encode() + b"`" for column in columns)
        prefix = b"INSERT INTO `" + name.encode() + b"` (" + listed + b") VALUES\n"
        text = prefix + b",\n".join(b"(" + row + b")" for row in rows) + b";\n"
        count, digest, _ = tally_inserts(text)
        self.tables.append(
            TableSummary(
                identity=100 + len(self.tables),
                schema="shop",
                name=name,
                columns=tuple((column, type_) for column, type_, _ in columns),
                key=(),
                rows=count,
                digest=digest,
                details={
                    "kinds": "".join(kind for *_, kind in columns),
                    "select": [f"`{column}`" for column, *_ in columns],
                },
            )
        )
        head = b"SET NAMES binary;\n"
        self._add(
            Frame(
                FrameKind.DATA,
                0,
                1,
                len(text),
                table=len(self.tables) - 1,
                rows=count,
                digest=digest,
                prefix_bytes=len(head),
            ),
            head + text,
        )
        return len(self.frames) - 1

    def object(self, kind: str, name: str, sql: str) -> tuple[int, SchemaObject]:
        """An object in a frame of its own: the frame's number, and the object."""
        data = sql.encode("utf-8", "surrogateescape")
        item = SchemaObject(
            1 + len(self.frames), kind, "", name, offset=3, length=len(data), owner_offset=len(data)
        )
        self._add(Frame(FrameKind.AFTER_DATA, 0, 1, len(data), objects=(item,)), b"--\n" + data + b"\n")
        return len(self.frames) - 1, item

    def _add(self, frame: Frame, text: bytes) -> None:
        self.texts[len(self.frames)] = text
        self.frames.append(frame)

    def index(self) -> ArchiveIndex:
        """All that was added."""
        return ArchiveIndex({"engine": "mysql", "type": "full"}, tuple(self.tables), tuple(self.frames))
