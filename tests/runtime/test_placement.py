"""Threads that work together step aside for each other, and only where that helps."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from graphrt.runtime import placement


class System:
    """A system of two CPUs, in place of the real one; `moves` are the affinities a thread asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cpu: int = 0, allowed: tuple[int, ...] = (0, 1)):
        self.cpu, self.allowed, self.runnable = cpu, set(allowed), 2
        self.moves: list[set[int]] = []
        monkeypatch.setattr(placement, "current_cpu", lambda: self.cpu)
        monkeypatch.setattr(placement, "_runnable_threads", lambda: self.runnable)
        monkeypatch.setattr(os, "cpu_count", lambda: 2)
        monkeypatch.setattr(os, "sched_getaffinity", lambda thread: set(self.allowed), raising=False)
        monkeypatch.setattr(os, "sched_setaffinity", self._move, raising=False)

    def _move(self, thread: int, cpus: set[int]) -> None:
        assert thread == 0, "only of the calling thread"
        self.moves.append(set(cpus))
        if self.cpu not in cpus:
            self.cpu = min(cpus)


def test_a_thread_leaves_a_taken_cpu_and_may_be_moved_again(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)
    assert placement.step_aside([0])
    assert system.cpu == 1
    assert system.moves == [{1}, {0, 1}], "its affinity must be what it was"


@pytest.mark.parametrize("taken", [[], [1], [None]])
def test_a_thread_on_a_free_cpu_stays(monkeypatch: pytest.MonkeyPatch, taken: list[int | None]) -> None:
    system = System(monkeypatch)
    assert not placement.step_aside(taken) and not system.moves


def test_nobody_is_pushed_aside_on_a_busy_system(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch)
    system.runnable = 3
    assert not placement.step_aside([0]) and not system.moves


def test_a_thread_stays_where_it_may_not_go_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    system = System(monkeypatch, allowed=(0,))
    assert not placement.step_aside([0]) and not system.moves
    system = System(monkeypatch)
    assert not placement.step_aside([0, 1]) and not system.moves


def test_systems_that_tell_nothing_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*arguments: object) -> int:
        raise OSError

    for name in ("_runnable_threads", "sched_setaffinity"):
        System(monkeypatch)
        monkeypatch.setattr(os if name.startswith("sched") else placement, name, missing, raising=False)
        assert not placement.step_aside([0])


def _in_a_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity of threads")
def test_the_real_system() -> None:
    before, seen = os.sched_getaffinity(0), []

    def on_each_cpu() -> None:
        for cpu in sorted(before):
            os.sched_setaffinity(0, {cpu})
            seen.append(placement.current_cpu())
        os.sched_setaffinity(0, before)
        placement.step_aside(before)
        placement.step_aside([placement.current_cpu()])
        seen.append(os.sched_getaffinity(0))

    _in_a_thread(on_each_cpu)
    assert seen == [*sorted(before), before]
    assert os.sched_getaffinity(0) == before
    assert placement._runnable_threads() >= 1
