"""Results computed by another thread: once each, errors included, and nothing left behind."""

import os
import sys
import threading
import time
from functools import partial

import pytest

from graphrt.codegen.background import Background


def threads_of(background):
    return [thread for thread in threading.enumerate() if thread.name == "graphrt-compile"]


def test_each_result_is_computed_once_by_another_thread():
    calls = []

    def square(x):
        calls.append((x, threading.current_thread() is threading.main_thread()))
        return x * x

    background = Background(10)
    futures = [background.begin(x, partial(square, x)) for x in (3, 4, 3)]
    assert [future.result(10) for future in futures] == [9, 16, 9]
    assert background.begin(4, partial(square, 4)).result(10) == 16
    assert calls == [(3, False), (4, False)]


def test_the_latest_results_are_kept():
    calls = []
    background = Background(2)
    for x in (1, 2, 1, 3, 1, 2):  # 3 takes the place of 2, the one not asked for the longest
        background.begin(x, partial(calls.append, x)).result(10)
    assert calls == [1, 2, 3, 2]


def test_an_error_reaches_who_asks_and_is_not_kept():
    outcomes = [ValueError("no"), 5]

    def compute():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    background = Background(10)
    with pytest.raises(ValueError, match="no"):
        background.begin("a", compute).result(10)
    assert background.begin("a", compute).result(10) == 5


def test_the_thread_ends_and_python_switches_as_before():
    before = sys.getswitchinterval()
    background = Background(10)
    assert background.begin("a", sys.getswitchinterval).result(10) < before
    for thread in threads_of(background):
        thread.join(10)
    assert sys.getswitchinterval() == before and not threads_of(background)
    assert background.begin("b", sys.getswitchinterval).result(10) < before  # and begins again


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_fork_waits_for_the_computation_and_the_child_can_compute():
    begun = threading.Event()

    def slow(x):
        begun.set()
        time.sleep(0.2)
        return x

    background = Background(10)
    running, waiting = background.begin(1, partial(slow, 1)), background.begin(2, partial(slow, 2))
    assert begun.wait(10)
    child = os.fork()
    if child == 0:  # what was waiting will never come here, unless it is asked for again
        os._exit(0 if running.done() and background.begin(2, partial(slow, 2)).result(10) == 2 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert running.result(10) == 1 and waiting.result(10) == 2
