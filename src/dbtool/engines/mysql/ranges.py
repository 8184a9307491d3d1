"""The ranges of a full backup's tables, read again in a later snapshot: the same keys as its frames hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dbtool.engines.base import Chunk
from dbtool.engines.mysql.edges import Edge, condition
from dbtool.engines.mysql.plan import Planned, part_of, select_statement, source_of_part
from dbtool.engines.mysql.table_facts import TableFacts
from dbtool.model.archive import ArchiveIndex, Frame, FrameKind

Frames = tuple[int, ...]  # numbers in the base's archive
_Bounds = tuple[str, str]


@dataclass(frozen=True)
class Range:
    """A part of one table: how its rows are read now, and the base's frames that hold them."""

    planned: Planned
    frames: Frames


def frames_by_table(index: ArchiveIndex) -> dict[int, list[int]]:
    """The numbers of each table's frames of rows, by the table's position."""
    found: dict[int, list[int]] = defaultdict(list)
    for number, frame in enumerate(index.frames):
        if frame.kind is FrameKind.DATA and frame.table is not None:
            found[frame.table].append(number)
    return found


def ranges_of(number: int, facts: TableFacts, frames: Sequence[int], index: ArchiveIndex) -> list[Range]:
    """Ranges that together hold every row of the table once: those of the base's frames, and what is beside
    them. A single one where the frames do not tell."""
    found: list[tuple[str, Edge | None, Edge | None, Frames]] = []
    by_part: dict[str, list[int]] = defaultdict(list)
    for frame in frames:
        by_part[index.frames[frame].part].append(frame)
    if by_part.keys() - {""}:
        if "" in by_part:
            return _whole(number, facts, frames)
        by_part[_other_partitions(facts, by_part)] += ()
        by_part.pop("", None)
    for part, members in (by_part or {"": []}).items():
        pieces = _pieces(facts, {frame: index.frames[frame] for frame in members})
        if pieces is None:
            return _whole(number, facts, frames)
        found += [(part, *piece) for piece in pieces]
    size = facts.table.size_bytes // max(1, len(found))
    return [_range(number, facts, size, *piece) for piece in found]


def _whole(number: int, facts: TableFacts, frames: Sequence[int]) -> list[Range]:
    return [_range(number, facts, facts.table.size_bytes, "", None, None, tuple(frames))]


def _range(
    number: int,
    facts: TableFacts,
    size_bytes: int,
    part: str,
    low: Edge | None,
    high: Edge | None,
    frames: Frames,
) -> Range:
    source = source_of_part(facts.table, part)
    where = condition(facts.cut, low, high)
    in_order = bool(facts.order) and not facts.partitions
    statement = select_statement(facts, source, where, in_order).encode("utf-8", "surrogateescape")
    compared = max(len(low or ()), len(high or ()))
    return Range(Planned(Chunk(number, size_bytes, statement, part=part), source, where, compared), frames)


def _other_partitions(facts: TableFacts, parts: Iterable[str]) -> str:
    """Those of which the base has no frames: they were empty. Names in back-ticks hold none but doubled ones,
    so nothing else looks like one between commas."""
    listed = [f", {part}, " for part in parts]
    return part_of([p for p in facts.partitions if not any(f", {part_of([p])}, " in one for one in listed)])


def _pieces(
    facts: TableFacts, frames: dict[int, Frame]
) -> list[tuple[Edge | None, Edge | None, Frames]] | None:
    """Ranges from edge to edge, with their frames; None if the edges make no chain."""
    by_bounds: dict[_Bounds | None, list[int]] = defaultdict(list)
    for number, frame in frames.items():
        by_bounds[frame.bounds].append(number)
    if None in by_bounds or not by_bounds:
        return [(None, None, tuple(frames))] if len(by_bounds) < 2 else None
    bounds = _without_gap([pair for pair in by_bounds if pair is not None])
    if bounds is None:
        return None
    edges = [(_edge(low), _edge(high)) for low, high in bounds]
    if any(len(edge) > len(facts.cut) for pair in edges for edge in pair if edge):
        return None
    return [
        (low, high, tuple(by_bounds.get(pair, ()))) for (low, high), pair in zip(edges, bounds, strict=True)
    ]


def _without_gap(bounds: Sequence[_Bounds]) -> list[_Bounds] | None:
    """The bounds in the order of the key, and those of a range of which the base has no frames. Where several
    are missing, their order is not known: None."""
    following = dict(bounds)
    starts, ends = {low for low, _ in bounds}, {high for _, high in bounds}
    if len(starts) != len(bounds) or len(ends) != len(bounds):
        return None
    # An open start has nothing before it, an open end nothing behind.
    lonely_ends = [high for high in ends if high and high not in starts]
    lonely_starts = [low for low in starts if low and low not in ends]
    if "" not in starts:
        lonely_ends.append("")
    if "" not in ends:
        lonely_starts.append("")
    if len(lonely_ends) != len(lonely_starts) or len(lonely_ends) > 1:
        return None
    if lonely_ends:
        following[lonely_ends[0]] = lonely_starts[0]
    ordered: list[_Bounds] = []
    low = ""
    while len(ordered) < len(following):
        if low not in following or (ordered and not low):
            return None
        ordered.append((low, following[low]))
        low = following[low]
    return ordered if not low else None


def _edge(text: str) -> Edge | None:
    """The literals of an edge: no comma and blank stand in one."""
    return tuple(text.split(", ")) if text else None
