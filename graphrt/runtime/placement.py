"""Threads that work together begin on different CPUs.

In: the CPUs that others of the crew run on. Out: the calling thread is on another one, if one is idle that it may use.

A thread that is woken often begins on the CPU of the one that woke it, and the system takes up to 25 ms to spread them. Steps
that meet every few microseconds then hand one CPU to each other. So a woken thread that finds itself on the CPU of
another one steps aside, once. Afterwards its affinity is what it was: the system may move it like any other thread. Where all
CPUs are busy it stays, because moving would push aside programs that then share this program's CPUs.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Collection


def current_cpu() -> int | None:
    """The CPU the calling thread runs on just now; None where the system does not tell."""
    function = _getcpu()
    cpu = function() if function is not None else -1
    return cpu if cpu >= 0 else None


def step_aside(taken: Collection[int | None]) -> bool:
    """Move the calling thread to a CPU not among `taken`, if it is on one of them, may use another and some CPU is idle.
    Whether it moved."""
    if current_cpu() not in taken:
        return False
    try:
        if _runnable_threads() > (os.cpu_count() or 1):
            return False
        allowed = os.sched_getaffinity(0)  # of this thread
        free = allowed - set(taken)
        if not free:
            return False
        os.sched_setaffinity(0, free)  # takes effect at once
        os.sched_setaffinity(0, allowed)
    except (AttributeError, OSError, ValueError, IndexError):  # not Linux, or its CPUs changed in between
        return False
    return True


def _runnable_threads() -> int:
    """How many threads of the whole system run or could. If no more than there are CPUs, and two of them share one, then
    one is idle."""
    with open("/proc/loadavg") as file:
        return int(file.read().split()[3].split("/")[0])


@functools.cache
def _getcpu() -> Callable[[], int] | None:
    """The C library's function. It is called without letting go of Python's lock, so nobody else gets in between."""
    try:
        return ctypes.PyDLL(None).sched_getcpu
    except (AttributeError, OSError):
        return None
