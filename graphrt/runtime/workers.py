"""Threads that run native programs together, and how many of them this process should use.

In: a function of a thread number and a count. Out: that many threads inside the function at the same time, each with
its own number (SPMD). Workers are parked between calls and shared by every program of the process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import cgroup

Task = Callable[[int], object]


def default_threads(root: Path = Path("/")) -> int:
    """CPUs this process may use: its affinity mask, cut down to whole CPUs of its container's quota."""
    try:
        count = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        count = os.cpu_count() or 1
    quota = cgroup.cpu_quota(root)
    return max(1, min(count, int(quota)) if quota is not None else count)


class Worker(threading.Thread):
    """A parked thread. It runs one task at a time and goes back to its pool by itself."""

    def __init__(self, pool: Pool):
        super().__init__(name="graphrt-worker", daemon=True)
        self.wake = _closed_gate()
        self.task: tuple[Task, int, Crew] | None = None
        self._pool = pool
        self.start()

    def run(self) -> None:
        while True:
            self.wake.acquire()
            assert self.task is not None
            task, number, crew = self.task
            try:
                task(number)
            except BaseException as error:  # raised by Crew.join in the thread that asked
                crew.error = error
            self.task = None  # an idle worker must keep no program alive
            del task
            self._pool.give_back(self)  # before the crew hears of it, so that its next call finds this worker
            crew.leave()
            del crew


class Crew:
    """The workers of one call.

    An exception of a signal handler can strike the calling thread between any two bytecodes. A crew of which some
    never start would wait at its first barrier for ever, so starting is a single step as far as bytecode is concerned.
    """

    def __init__(self, pool: Pool, workers: list[Worker]):
        self._pool, self._workers = pool, workers
        self._present = len(workers)
        self._lock = threading.Lock()
        self._launched, self._finished = _closed_gate(), _closed_gate()
        self.error: BaseException | None = None

    def start(self, task: Task, first: int) -> None:
        """Run `task(first)`, `task(first + 1)`, ..., one in each worker."""
        for number, worker in enumerate(self._workers, first):
            worker.task = task, number, self
        gates = [self._launched, *(worker.wake for worker in self._workers)]
        deque(map(_OPEN, gates), maxlen=0)  # a loop in C: no bytecode between the first gate and the last

    @property
    def launched(self) -> bool:
        """Whether the workers were let go."""
        return not self._launched.locked()

    def leave(self) -> None:
        """A worker of the crew has ended its task."""
        with self._lock:
            self._present -= 1
            if self._present == 0:
                self._finished.release()

    def wait(self, seconds: float) -> bool:
        """Whether all tasks have ended, after waiting at most `seconds`."""
        return self._present == 0 or self._finished.acquire(timeout=seconds) or self._present == 0

    def join(self) -> None:
        """Return only when no worker is left inside. Exceptions of signal handlers and of tasks are raised after that;
        a crew that was never started is disbanded."""
        pending = None
        if not self.launched:
            for worker in self._workers:
                worker.task = None
                self._pool.give_back(worker)
            return
        while self._present:
            try:
                self._finished.acquire()
            except BaseException as error:
                pending = error
        if pending is not None or self.error is not None:
            raise pending or self.error  # type: ignore[misc]


_OPEN = type(threading.Lock()).release


def _closed_gate() -> Any:
    """A lock nobody can pass until another thread opens (releases) it."""
    gate = threading.Lock()
    gate.acquire()
    return gate


class Pool:
    """All workers of the process. Grows to the largest number ever needed at one time."""

    def __init__(self) -> None:
        self._reset()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Threads do not survive a fork: a forked child starts with an empty pool and a free lock."""
        self._lock = threading.Lock()
        self._idle: list[Worker] = []

    def reserve(self, count: int) -> Crew:
        """A crew of `count` workers nobody else uses: programs meet at barriers, so all of them must be there."""
        with self._lock:
            taken = [self._idle.pop() for _ in range(min(count, len(self._idle)))]
        try:
            while len(taken) < count:
                taken.append(Worker(self))
        except BaseException:  # the system refuses another thread
            for worker in taken:
                self.give_back(worker)
            raise
        return Crew(self, taken)

    def give_back(self, worker: Worker) -> None:
        with self._lock:
            self._idle.append(worker)


POOL = Pool()


class ForkSafeLock:
    """A lock that is free again in a forked child, whatever its state was in the parent at that moment.

    The uncontended path is one call of the plain lock, `acquire(False)`.
    """

    __slots__ = ("_generation", "_lock")

    def __init__(self) -> None:
        self._generation, self._lock = _generation, threading.Lock()

    def __enter__(self) -> None:
        if not self._lock.acquire(False):
            if self._generation != _generation:  # its holder does not exist in this process
                self._generation, self._lock = _generation, threading.Lock()
            self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()


_generation = 0


def _count_fork() -> None:
    global _generation
    _generation += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_count_fork)


class Interruption:
    """Whether Ctrl-C was pressed inside `interrupts_deferred`."""

    requested = False


@contextlib.contextmanager
def interrupts_deferred(react: Callable[[], None] | None = None) -> Iterator[Interruption]:
    """Inside, Ctrl-C calls `react` and is noted, instead of raising KeyboardInterrupt between any two bytecodes.

    Python delivers signals to the main thread only, so in other threads nothing changes; neither does it where the
    user has installed a handler of their own.
    """
    interruption = Interruption()
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interruption
        return

    def handle(number: int, frame: object) -> None:
        interruption.requested = True
        if react is not None:
            react()

    signal.signal(signal.SIGINT, handle)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
