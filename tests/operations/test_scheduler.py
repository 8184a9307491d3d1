"""The scheduler of a restore: order, locks, errors, and no standstill. Loaders here only keep books."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbtool.engines.base import Loader, Stage, Tally, Task
from dbtool.operations.scheduler import Scheduler


class Bookkeeper:
    """A loader without a server: the scheduler must not care what a task does."""

    def __init__(self) -> None:
        self.is_closed = False
        self.is_stopped = threading.Event()

    def run(self, task: Task, texts: Mapping[int, bytes], idle: int) -> None:
        raise NotImplementedError

    def tally(self, table: int) -> Tally:
        raise NotImplementedError

    def stop(self) -> None:
        self.is_stopped.set()

    def close(self) -> None:
        self.is_closed = True


class Opener:
    """Opens loaders, and keeps them to be looked at."""

    def __init__(self) -> None:
        self.opened: list[Bookkeeper] = []

    def __call__(self) -> Bookkeeper:
        self.opened.append(Bookkeeper())
        return self.opened[-1]


def run(tasks: list[Task], workers: int, work: Callable[[Task], object]) -> list[Bookkeeper]:
    opener = Opener()

    def do(_: Loader, task: Task, idle: int) -> None:
        work(task)

    with Scheduler(opener, workers) as scheduler:
        scheduler.run(Stage("test", tuple(tasks)), do)
    return opener.opened


def names_of_locks() -> st.SearchStrategy[tuple[tuple[str, bool], ...]]:
    one = st.tuples(st.sampled_from("abcd"), st.booleans())
    return st.lists(one, max_size=3, unique_by=lambda lock: lock[0]).map(tuple)


@st.composite
def many_tasks(draw: st.DrawFn) -> list[Task]:
    count = draw(st.integers(1, 25))
    return [
        Task(
            number,
            f"task {number}",
            needs=tuple(draw(st.lists(st.integers(0, number - 1), max_size=3))) if number else (),
            locks=draw(names_of_locks()),
            weight=draw(st.integers(0, 5)),
        )
        for number in range(count)
    ]


@settings(deadline=None, max_examples=150)
@given(tasks=many_tasks(), workers=st.integers(1, 4))
def test_everything_is_done_once_in_an_order_that_is_allowed(tasks: list[Task], workers: int) -> None:
    guard = threading.Lock()
    done: set[int] = set()
    holding: dict[str, list[bool]] = defaultdict(list)
    faults: list[str] = []

    def work(task: Task) -> None:
        with guard:
            if not set(task.needs) <= done:
                faults.append(f"{task.number} began before what it needs")
            for name, alone in task.locks:
                if holding[name] and (alone or any(holding[name])):
                    faults.append(f"{task.number} shares {name}")
                holding[name].append(alone)
        time.sleep(random.random() / 2000)
        with guard:
            for name, alone in task.locks:
                holding[name].remove(alone)
            if task.number in done:
                faults.append(f"{task.number} is done twice")
            done.add(task.number)

    run(tasks, workers, work)
    assert faults == []
    assert done == {task.number for task in tasks}


def test_tasks_run_side_by_side() -> None:
    meeting = threading.Barrier(3, timeout=10)
    run([Task(number, "meet") for number in range(3)], 3, lambda task: meeting.wait())


def test_tasks_that_share_a_lock_run_side_by_side() -> None:
    meeting = threading.Barrier(2, timeout=10)
    tasks = [Task(number, "meet", locks=(("t", False),)) for number in range(2)]
    run(tasks, 2, lambda task: meeting.wait())


def test_heavy_tasks_begin_first() -> None:
    order: list[int] = []
    tasks = [Task(number, "x", weight=weight) for number, weight in enumerate((1, 9, 5))]

    def work(task: Task) -> None:
        order.append(task.number)
        time.sleep(0.01 if task.number == 1 else 0.2)

    run([*tasks, Task(3, "y", needs=(1,), weight=7)], 2, work)
    assert order[0] == 1
    assert order.index(3) < order.index(0)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_first_error_stops_the_others_and_is_raised(workers: int) -> None:
    begun: list[int] = []

    def work(task: Task) -> None:
        begun.append(task.number)
        if task.number == 2:
            raise ZeroDivisionError("the cause")
        time.sleep(0.02)

    with pytest.raises(ZeroDivisionError, match="the cause"):
        run([Task(number, "x", weight=100 - number) for number in range(50)], workers, work)
    assert len(begun) < 10
    assert threading.active_count() < 10


def test_loaders_are_told_to_stop_and_closed() -> None:
    opener = Opener()
    scheduler = Scheduler(opener, 2)

    def work(loader: object, task: Task, idle: int) -> None:
        if task.number == 0:
            time.sleep(0.1)
            raise ZeroDivisionError
        # A statement that lasts until somebody ends it.
        assert isinstance(loader, Bookkeeper)
        assert loader.is_stopped.wait(10)

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), scheduler:
        scheduler.run(Stage("x", (Task(0, "fails"), Task(1, "lasts"))), work)
    assert time.monotonic() - began < 5
    assert [loader.is_closed for loader in opener.opened] == [True, True]


def test_loaders_serve_the_next_stage_too() -> None:
    opener = Opener()
    with Scheduler(opener, 2) as scheduler:
        for _ in range(3):
            scheduler.run(
                Stage("x", tuple(Task(number, "x") for number in range(5))), lambda loader, task, idle: None
            )
        assert len(opener.opened) == 2
        scheduler.run(Stage("none", ()), lambda loader, task, idle: None)
    assert all(loader.is_closed for loader in opener.opened)


def test_a_loader_that_cannot_be_opened_is_an_error() -> None:
    def refuse() -> Bookkeeper:
        raise ConnectionError("no connection left")

    with pytest.raises(ConnectionError), Scheduler(refuse, 2) as scheduler:
        scheduler.run(Stage("x", (Task(0, "x"), Task(1, "x"))), lambda loader, task, idle: None)
