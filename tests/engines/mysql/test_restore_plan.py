"""The order of a restore of MySQL or MariaDB, and what of it may run at the same time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from dbtool.engines.base import Stage, Task
from dbtool.engines.mysql.restore_plan import RestorePlan, make_plan, referenced_table
from dbtool.model.archive import ArchiveIndex, Frame, FrameKind, SchemaObject, TableSummary

PARENT = SchemaObject(1, "TABLE", "", "parents", identity=101)
COUNTER = SchemaObject(2, "SEQUENCE", "", "numbers")
CHILD = SchemaObject(3, "TABLE", "", "children", identity=102, needs=(2,))
INDEX = SchemaObject(4, "INDEX", "", "children", needs=(3,))
TEXTS = SchemaObject(5, "INDEX", "", "children words", needs=(3,))
KEY = SchemaObject(6, "FK CONSTRAINT", "", "up", needs=(3, 1))
FUNCTION = SchemaObject(7, "FUNCTION", "", "f")
VIEW = SchemaObject(8, "VIEW", "", "v", needs=(1, 7))
TRIGGER = SchemaObject(9, "TRIGGER", "", "t", needs=(3,))
EVENT = SchemaObject(10, "EVENT", "", "e")


def data(table: int, size: int, bounds: tuple[str, str] | None = None) -> Frame:
    return Frame(FrameKind.DATA, 0, 1, size, table=table, rows=size, bounds=bounds)


FRAMES: tuple[Frame, ...] = (
    Frame(FrameKind.HEADER, 0, 1, 1),
    Frame(FrameKind.BEFORE_DATA, 0, 1, 1, objects=(PARENT, COUNTER, CHILD)),
    data(1, 30, ("1000", "")),
    data(0, 5),
    data(1, 10, ("", "200")),
    data(1, 20, ("200", "1000")),
    data(1, 11, ("", "200")),
    Frame(FrameKind.AFTER_DATA, 0, 1, 1, objects=(INDEX, TEXTS, KEY, FUNCTION, VIEW, TRIGGER)),
    Frame(FrameKind.LAST, 0, 1, 1, objects=(EVENT,)),
    Frame(FrameKind.FOOTER, 0, 1, 1),
)
INDEX_OF_ALL = ArchiveIndex(
    backup={"type": "full", "engine": "mysql"},
    tables=(
        TableSummary(101, "shop", "parents", (), (), rows=5, bytes=5),
        TableSummary(102, "shop", "children", (), (), rows=60, bytes=60),
    ),
    frames=FRAMES,
)


def plan(
    chosen: Sequence[int] | None = None, present: Sequence[str] = (), compare: bool = True
) -> RestorePlan:
    return make_plan(INDEX_OF_ALL, None if chosen is None else frozenset(chosen), frozenset(present), compare)


def stage(found: RestorePlan, name: str) -> Stage:
    return next(stage for stage in found.stages if stage.name == name)


def names(task: Task) -> list[str]:
    return [item.name for _, item in task.objects]


def test_stages_in_order() -> None:
    found = plan()
    assert [one.name for one in found.stages] == ["schema", "rows", "foreign keys", "objects behind the rows"]
    (schema,) = stage(found, "schema").tasks
    assert names(schema) == ["parents", "numbers", "children"]
    (rest,) = stage(found, "objects behind the rows").tasks
    assert names(rest) == ["f", "v", "t", "e"]
    assert found.relations == ("parents", "numbers", "children")
    assert found.tables == (0, 1)


def test_frames_of_a_table_come_in_the_order_of_its_key() -> None:
    frames = [task.frame for task in stage(plan(), "rows").tasks if task.frame is not None]
    assert frames == [3, 4, 6, 5, 2]


def test_indexes_wait_for_the_rows_and_for_each_other() -> None:
    tasks = stage(plan(), "rows").tasks
    loads = [task.number for task in tasks if task.group == "rows of 102"]
    first, second = (task for task in tasks if task.objects)
    assert first.needs == tuple(loads)
    assert second.needs == (*loads, first.number)
    assert first.locks == second.locks == (("102", True),)


def test_comparing_waits_for_the_rows_alone() -> None:
    compared = {task.compare: task for task in stage(plan(), "rows").tasks if task.compare is not None}
    assert set(compared) == {0, 1}
    assert compared[1].locks == ()
    assert compared[1].needs == tuple(
        task.number for task in stage(plan(), "rows").tasks if task.group == "rows of 102"
    )
    assert not any(task.compare is not None for task in stage(plan(compare=False), "rows").tasks)


COUNTED = {"engine": "InnoDB", "auto_increment": 61}


def test_tables_with_a_counter_are_loaded_by_one_at_a_time() -> None:
    tables = (INDEX_OF_ALL.tables[0], replace(INDEX_OF_ALL.tables[1], details=COUNTED))
    index = replace(INDEX_OF_ALL, tables=tables)
    for counts_alone in (True, False):
        found = make_plan(index, None, frozenset(), True, counts_alone)
        locks = {task.group: task.locks for task in stage(found, "rows").tasks if task.frame is not None}
        alone = (("rows of 102", True),) if counts_alone else ()
        assert locks == {"rows of 101": (), "rows of 102": alone}


def test_a_key_takes_both_tables() -> None:
    (key,) = stage(plan(), "foreign keys").tasks
    assert dict(key.locks) == {"3": True, "1": True}


def test_a_table_brings_what_belongs_to_it() -> None:
    found = plan([102])
    (schema,) = stage(found, "schema").tasks
    assert names(schema) == ["numbers", "children"]
    (rest,) = stage(found, "objects behind the rows").tasks
    assert names(rest) == ["t"]
    assert found.tables == (1,)
    assert found.notes == ("FK CONSTRAINT up is left out: it needs a table that is",)


def test_a_key_to_a_table_that_is_there_is_made_in_its_place() -> None:
    found = plan([102], ["parents", "others"])
    (rest,) = stage(found, "objects behind the rows").tasks
    assert names(rest) == ["t", "up"]
    assert found.joining == {KEY.number}
    assert found.notes == ()


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("ALTER TABLE `c` ADD CONSTRAINT `x` FOREIGN KEY (`a`) REFERENCES `p` (`id`)", "p"),
        ("ALTER TABLE `c` ADD CONSTRAINT `REFERENCES` FOREIGN KEY (`a`) REFERENCES `p``q` (`id`)", "p`q"),
        ("ALTER TABLE `c` ADD CONSTRAINT `x` FOREIGN KEY (`a`) REFERENCES `other`.`p` (`id`)", None),
    ],
)
def test_what_a_key_points_to(sql: str, table: str | None) -> None:
    assert referenced_table(sql) == table
