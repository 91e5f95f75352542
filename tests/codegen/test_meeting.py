"""The barrier: threads meet, whether they look, sleep, or are late."""

import ctypes
import threading
import time

import numpy as np
import pytest

from graphrt.codegen import jit, meeting
from graphrt.codegen.target import target

ROUNDS = """
define void @rounds(ptr %barrier, i64 %threads, i64 %thread, ptr %cells, i64 %count, ptr %wrong) {
entry:
  br label %round
round:
  %k = phi i64 [ 0, %entry ], [ %next, %passed ]
  %own = getelementptr i64, ptr %cells, i64 %thread
  store i64 %k, ptr %own
  call void @graphrt_barrier(ptr %barrier, i64 %threads)
  %after = add i64 %thread, 1
  %wrapped = urem i64 %after, %threads
  %other = getelementptr i64, ptr %cells, i64 %wrapped
  %seen = load i64, ptr %other
  %same = icmp eq i64 %seen, %k
  br i1 %same, label %fine, label %broken
broken:
  store i64 1, ptr %wrong
  br label %fine
fine:
  call void @graphrt_barrier(ptr %barrier, i64 %threads)
  br label %passed
passed:
  %next = add i64 %k, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %round, label %leave
leave:
  ret void
}
"""


class Meeting:
    """Threads that go through rounds of writing their cell and reading their neighbour's."""

    def __init__(self, threads: int, patience: int):
        host = target("host")
        text = meeting.barrier_text(host) + ROUNDS
        self.loaded = jit.load([jit.compile_text(text, host).object_code], ["rounds"])
        arguments = [ctypes.c_void_p, *[ctypes.c_int64] * 2, ctypes.c_void_p, ctypes.c_int64, ctypes.c_void_p]
        self.function = ctypes.CFUNCTYPE(None, *arguments)(self.loaded.address("rounds"))
        self.threads = threads
        memory = np.zeros(meeting.BARRIER_BYTES // 8 + 16, np.int64)
        self.words = memory[-memory.ctypes.data % meeting.LINE // 8 :]
        self.words[meeting.SPINS // 8] = patience
        self.cells, self.wrong = np.full(threads, -1), np.zeros(1, np.int64)

    def run(self, count: int, delays: tuple[float, ...] = ()) -> None:
        def enter(thread: int) -> None:
            time.sleep(delays[thread] if delays else 0)
            self.function(
                self.words.ctypes.data, self.threads, thread, self.cells.ctypes.data, count, self.wrong.ctypes.data
            )  # fmt: skip

        others = [threading.Thread(target=enter, args=(k,)) for k in range(1, self.threads)]
        for thread in others:
            thread.start()
        enter(0)
        for thread in others:
            thread.join()


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("patience", [0, 50, meeting.PATIENCE])
def test_nobody_goes_on_before_all_have_come(threads, patience):
    rounds = Meeting(threads, patience)
    for _ in range(3):
        rounds.run(2000 if threads <= 2 else 300)
        assert not rounds.wrong[0] and (rounds.cells == rounds.cells[0]).all()
    assert rounds.words[meeting.SLEEPERS // 8] == 0 and rounds.words[meeting.ARRIVED // 8] == 0


def test_those_who_wait_long_sleep_and_are_woken():
    rounds = Meeting(3, 10)
    before = time.process_time()
    rounds.run(1, delays=(0.0, 0.0, 0.3))
    assert time.process_time() - before < 0.25, (
        "two threads that look all the time use 0.6 s of processor time"
    )
    assert not rounds.wrong[0] and rounds.words[meeting.SLEEPERS // 8] == 0
