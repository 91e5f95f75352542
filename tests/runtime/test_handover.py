"""Warm threads: programs reach them without going through Python, and nothing hangs however calls come and go."""

import ctypes
import os
import threading
import time

import numpy as np
import pytest

from graphrt.codegen import handover, jit
from graphrt.codegen.target import target
from graphrt.runtime import handover as warm
from graphrt.runtime import memory
from graphrt.runtime.handover import WarmCrew

PROGRAM = """\
define void @count(ptr %frame, i64 %thread) {
  %place = getelementptr i64, ptr %frame, i64 %thread
  %old = load i64, ptr %place, align 8
  %new = add i64 %old, 1
  store i64 %new, ptr %place, align 8
  ret void
}
"""


class Counters:
    """A program in which every thread counts its calls in a place of its own."""

    def __init__(self, threads: int):
        loaded = jit.load([jit.compile_text(PROGRAM, target("host")).object_code], ["count"])
        self._loaded, self.entry = loaded, loaded.address("count")
        self.counts = np.zeros(threads, np.int64)
        self.frame = memory.address(self.counts)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_every_thread_runs_every_call_once(threads):
    crew, program = WarmCrew(), Counters(threads)
    for _ in range(200):
        assert crew.run(program.entry, program.frame, threads)
    assert program.counts.tolist() == [200] * threads


def test_threads_that_have_parked_come_back():
    crew, program = WarmCrew(), Counters(3)
    for calls in range(1, 4):
        assert crew.run(program.entry, program.frame, 3)
        deadline = time.monotonic() + 30
        while any(crew._mailboxes[k].state != handover.PARKED for k in range(2)):
            assert time.monotonic() < deadline, "a worker that nobody calls must not watch for ever"
            time.sleep(0.001)
        assert program.counts.tolist() == [calls] * 3


def test_prepared_threads_are_there_and_asleep():
    crew, program = WarmCrew(), Counters(3)
    crew.prepare(1)
    assert crew._gates == []
    crew.prepare(3)
    threads = list(crew._gates)
    assert len(threads) == 2 and [crew._mailboxes[k].state for k in range(2)] == [handover.PARKED] * 2
    assert crew.run(program.entry, program.frame, 3)
    assert crew._gates == threads and program.counts.tolist() == [1] * 3


def test_a_woken_thread_keeps_off_the_cpus_of_the_others(monkeypatch):
    """With the numbers of threads in place of those of CPUs, so that each has one of its own."""
    seen = {}
    monkeypatch.setattr(warm, "default_threads", lambda: 3)
    monkeypatch.setattr(warm, "current_cpu", threading.get_ident)
    monkeypatch.setattr(warm, "step_aside", lambda taken: seen.__setitem__(threading.get_ident(), set(taken)))
    crew, program = WarmCrew(), Counters(3)
    for _ in range(2):
        seen.clear()
        assert crew.run(program.entry, program.frame, 3)
        first, second = sorted(seen.values(), key=len)
        assert first == {threading.get_ident()}
        assert second - first < set(seen) and len(second) == 2
        deadline = time.monotonic() + 30
        while len(crew._cpus) > 1:
            assert time.monotonic() < deadline, "a parked worker is on no CPU"
            time.sleep(0.001)


def test_more_threads_than_cpus_stay_where_they_are(monkeypatch):
    monkeypatch.setattr(warm, "default_threads", lambda: 2)
    monkeypatch.setattr(warm, "step_aside", lambda taken: pytest.fail("there is no CPU for it"))
    crew, program = WarmCrew(), Counters(3)
    assert crew.run(program.entry, program.frame, 3)
    assert crew._cpus.keys() <= {0} and program.counts.tolist() == [1] * 3


def test_a_crew_grows_and_lends_a_part_of_itself():
    crew, program = WarmCrew(), Counters(4)
    for threads in (2, 4, 1, 3, 2):
        assert crew.run(program.entry, program.frame, threads)
    assert program.counts.tolist() == [5, 4, 2, 1]


def test_a_second_caller_is_turned_away_and_nothing_runs():
    crew, program = WarmCrew(), Counters(2)
    assert crew.run(program.entry, program.frame, 2)
    with crew._busy:
        refused: list[bool] = []
        thread = threading.Thread(target=lambda: refused.append(crew.run(program.entry, program.frame, 2)))
        thread.start()
        thread.join()
    assert refused == [False] and program.counts.tolist() == [1, 1]


def test_callers_in_many_threads_take_turns():
    crew, programs = WarmCrew(), [Counters(3) for _ in range(4)]
    done = [0] * 4

    def call(k):
        for _ in range(300):
            done[k] += crew.run(programs[k].entry, programs[k].frame, 3)

    threads = [threading.Thread(target=call, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        assert programs[k].counts.tolist() == [done[k]] * 3
    assert sum(done) > 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_has_a_crew_of_its_own():
    crew, program = WarmCrew(), Counters(2)
    assert crew.run(program.entry, program.frame, 2)
    child = os.fork()
    if child == 0:
        ran = crew.run(program.entry, program.frame, 2)
        os._exit(0 if ran and program.counts.tolist() == [2, 2] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert crew.run(program.entry, program.frame, 2) and program.counts.tolist() == [2, 2]


@pytest.mark.parametrize("cpu", ["znver5", "haswell", "neoverse-n1"])
def test_the_code_is_for_every_processor(cpu):
    chosen = target(cpu)
    code = jit.assembly(handover.handover_text(chosen), chosen)
    assert "graphrt_dispatch" in code and ("pause" in code or "yield" in code)


def test_mailboxes_do_not_share_cache_lines():
    assert ctypes.sizeof(handover.Mailbox) % 128 == 0 and handover.Mailbox.entry.offset >= 64
