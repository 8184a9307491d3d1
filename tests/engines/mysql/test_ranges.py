"""The ranges of a base's frames, as they are read again."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtool.engines.mysql.introspect import Partition, Relation
from dbtool.engines.mysql.ranges import frames_by_table, ranges_of
from dbtool.engines.mysql.schema_diff import without_counter
from dbtool.engines.mysql.table_facts import KeyColumn, TableFacts
from dbtool.model.archive import ArchiveIndex, Frame, FrameKind
from dbtool.model.database import Column, Table

Bounds = tuple[str, str] | None


def facts(*partitions: str) -> TableFacts:
    table = Table(1, "d", "t", (Column("id", "int"),), ("id",), 1000, details={"select": ["`id`"]})
    key = (KeyColumn("id", "int"),)
    pieces = tuple(Partition(name, 10, 1) for name in partitions)
    return TableFacts(table, Relation("t", "BASE TABLE", "InnoDB"), key, key, "PRIMARY", pieces)


def index_of(*frames: tuple[str, Bounds]) -> ArchiveIndex:
    made = [
        Frame(FrameKind.DATA, 0, 1, 1, table=0, rows=1, part=part, bounds=bounds) for part, bounds in frames
    ]
    return ArchiveIndex({}, (), [Frame(FrameKind.HEADER, 0, 1, 1), *made])


def found(table: TableFacts, *frames: tuple[str, Bounds]) -> dict[tuple[str, str], tuple[int, ...]]:
    """Frames by partitions and condition."""
    index = index_of(*frames)
    listed = ranges_of(0, table, frames_by_table(index)[0], index)
    result = {(one.planned.chunk.part, one.planned.condition): one.frames for one in listed}
    assert len(result) == len(listed)
    return result


@given(edges=st.sets(st.integers(-100, 100), min_size=1, max_size=9), data=st.data())
def test_ranges_hold_every_key_once(edges: set[int], data: st.DataObject) -> None:
    places = ["", *(str(edge) for edge in sorted(edges)), ""]
    bounds = list(itertools.pairwise(places))
    missing = data.draw(st.none() | st.sampled_from(bounds))
    kept = [pair for pair in bounds if pair != missing]
    random.Random(len(bounds)).shuffle(kept)
    listed = found(facts(), *(("", pair) for pair in kept))
    assert len(listed) == len(bounds)
    for key in range(-102, 102):
        conditions = [where.replace("`id`", str(key)) for _, where in listed]
        holding = [number for number, where in enumerate(conditions) if eval(where.replace("AND", "and"))]
        assert len(holding) == 1
    assert sorted(frame for frames in listed.values() for frame in frames) == list(range(1, len(kept) + 1))


def test_where_the_edges_tell_nothing_it_is_one_range() -> None:
    whole = {("", ""): (1, 2)}
    assert found(facts(), ("", ("", "1")), ("", ("5", "7"))) == whole  # two are missing
    assert found(facts(), ("", ("", "1")), ("", None)) == whole
    assert found(facts(), ("", ("", "1")), ("", ("", "2"))) == whole
    assert found(facts(), ("", ("", "1, 2")), ("", ("1, 2", ""))) == whole  # the key has one column only
    assert found(facts(), ("", None), ("", None)) == whole
    assert found(facts()) == {("", ""): ()}


def test_partitions() -> None:
    table = facts("a", "b", "c, d", "e`")
    assert found(table, ("`b`", None), ("`c, d`, `e```", None)) == {
        ("`b`", ""): (1,),
        ("`c, d`, `e```", ""): (2,),
        ("`a`", ""): (),
    }
    cut = found(table, ("`a`, `b`, `c, d`", ("", "7")), ("`a`, `b`, `c, d`", ("7", "")), ("`e```", None))
    assert set(cut.values()) == {(1,), (2,), (3,)}
    assert found(table, ("", None), ("`a`", None)) == {("", ""): (1, 2)}


@pytest.mark.parametrize(
    ("text", "left", "number"),
    [
        ("CREATE TABLE `t` (\n  `a` int\n) ENGINE=InnoDB AUTO_INCREMENT=12 DEFAULT CHARSET=x;\n", 12, 12),
        ("CREATE TABLE `t` (\n  `a` int COMMENT ') AUTO_INCREMENT=9'\n) ENGINE=InnoDB;\n", None, None),
        (
            "CREATE TABLE `AUTO_INCREMENT=3` (\n  `a` int\n) ENGINE=InnoDB AUTO_INCREMENT=4 COMMENT='AUTO_INCREMENT=5';\n",
            4,
            4,
        ),
    ],
)
def test_where_a_table_goes_on_counting(text: str, left: int | None, number: int | None) -> None:
    expected = text if left is None else text.replace(f" AUTO_INCREMENT={left} ", " ")
    assert without_counter(text) == (expected, number)


def test_a_character_set_beside_its_collation_makes_no_difference() -> None:
    said = "CREATE TABLE `t` (\n  `a` text CHARACTER SET utf8mb4 COLLATE utf8mb4_bin COMMENT 'CHARACTER SET x COLLATE y',\n"
    said += "  `b` text CHARACTER SET latin1\n) ENGINE=InnoDB AUTO_INCREMENT=3;\n"
    expected = said.replace("CHARACTER SET utf8mb4 ", "").replace("AUTO_INCREMENT=3", "")
    assert without_counter(said) == (expected, 3)
