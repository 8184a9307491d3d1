"""Runs a stage's tasks on several loaders at once, each as soon as what it needs is done."""

from __future__ import annotations

import threading
from bisect import insort
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from dbtool.engines.base import Loader, Stage, Task

#: Reads the frames that a task names and does it; told how many other loaders have nothing to do.
Runner = Callable[[Loader, Task, int], None]


class Scheduler:
    """A pool of loaders. Use as a context manager; leaving it ends the loaders."""

    def __init__(self, open_loader: Callable[[], Loader], workers: int) -> None:
        self._open_loader = open_loader
        self._workers = workers
        self._loaders: list[Loader] = []

    def __enter__(self) -> Scheduler:
        return self

    def __exit__(self, *_: object) -> None:
        for loader in self._loaders:
            with suppress(Exception):
                loader.close()

    def run(self, stage: Stage, runner: Runner) -> None:
        """Do all tasks. The first error stops the others and is raised."""
        workers = min(self._workers, len(stage.tasks))
        while len(self._loaders) < workers:
            self._loaders.append(self._open_loader())
        if workers <= 1:
            for task in stage.tasks:
                runner(self._loaders[0], task, self._workers - 1)
            return
        board = _Board(stage.tasks, spare=self._workers - workers)
        threads = [
            threading.Thread(
                target=board.work, args=(loader, runner), name=f"dbtool-loader-{number}", daemon=True
            )
            for number, loader in enumerate(self._loaders[:workers])
        ]
        for thread in threads:
            thread.start()
        try:
            board.wait()
        except BaseException:
            board.stop()
            for loader in self._loaders:
                loader.stop()
            raise
        finally:
            for thread in threads:
                thread.join()


class _Board:
    """Which tasks wait, run and are done."""

    def __init__(self, tasks: Sequence[Task], spare: int) -> None:
        self._idle = spare  # loaders without a task
        self._missing = {task.number: len(set(task.needs)) for task in tasks}
        self._dependants: dict[int, list[Task]] = {}
        for task in tasks:
            for need in set(task.needs):
                self._dependants.setdefault(need, []).append(task)
        self._ready: list[Task] = []  # heavy first, so that nobody is left alone with a heavy one
        self._groups: dict[str, deque[Task]] = {}
        self._weights: dict[str, int] = {}  # what is left of a group, begun or not
        self._workers: Counter[str] = Counter()  # how many are at a group
        for task in tasks:
            if task.group:
                self._weights[task.group] = self._weights.get(task.group, 0) + task.weight
            if not task.needs:
                self._insert(task)
        self._left = len(tasks)
        self._held: dict[str, tuple[int, bool]] = {}  # name → (holders, alone)
        self._error: BaseException | None = None
        self._stopped = False
        self._changed = threading.Condition()

    def work(self, loader: Loader, runner: Runner) -> None:
        """A thread's life: take a task, do it, until none is left."""
        group = ""
        while (task := self._take(group)) is not None:
            group = task.group or group
            try:
                runner(loader, task, self._idle)
            except BaseException as error:
                self._done(task, error)
                return
            self._done(task, None)

    def wait(self) -> None:
        """Until all is done; raises the first error."""
        with self._changed:
            # A bounded wait, so that Ctrl-C reaches the main thread at once.
            while self._left and self._error is None:
                self._changed.wait(0.5)
            if self._error is not None:
                raise self._error

    def stop(self) -> None:
        """No task is begun any more."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _take(self, group: str) -> Task | None:
        """The next task for a thread that was at `group` last; waits for one."""
        with self._changed:
            while True:
                if self._stopped or self._error is not None or not self._left:
                    return None
                task = self._take_single() or self._take_of_group(group)
                if task is not None:
                    self._lock(task)
                    return task
                self._idle += 1
                self._changed.wait()
                self._idle -= 1

    def _take_single(self) -> Task | None:
        for position, task in enumerate(self._ready):
            if self._can_lock(task):
                return self._ready.pop(position)
        return None

    def _take_of_group(self, group: str) -> Task | None:
        """Go on with a group, else take one that nobody is at, else help with the largest."""
        waiting = [name for name, tasks in self._groups.items() if tasks and self._can_lock(tasks[0])]
        if not waiting:
            return None
        if group not in waiting:
            group = max(waiting, key=lambda name: (not self._workers[name], self._weights[name]))
        task = self._groups[group].popleft()
        self._workers[group] += 1
        return task

    def _can_lock(self, task: Task) -> bool:
        return all(name not in self._held or not (alone or self._held[name][1]) for name, alone in task.locks)

    def _lock(self, task: Task) -> None:
        for name, alone in dict(task.locks).items():
            self._held[name] = (self._held.get(name, (0, False))[0] + 1, alone)

    def _done(self, task: Task, error: BaseException | None) -> None:
        with self._changed:
            for name in dict(task.locks):
                holders, alone = self._held.pop(name)
                if holders > 1:
                    self._held[name] = (holders - 1, alone)
            if task.group:
                self._workers[task.group] -= 1
                self._weights[task.group] -= task.weight
            self._error = self._error or error
            self._left -= 1
            for dependant in self._dependants.get(task.number, ()):
                self._missing[dependant.number] -= 1
                if not self._missing[dependant.number]:
                    self._insert(dependant)
            self._changed.notify_all()

    def _insert(self, task: Task) -> None:
        if task.group:
            self._groups.setdefault(task.group, deque()).append(task)
        else:
            insort(self._ready, task, key=lambda ready: -ready.weight)
