"""Work done by another thread while this one goes on.

In: keys, each with a call. Out: the results of the calls, each made once, in the order they were asked for.

The thread exists only while there is work: nothing is left to stop at exit, and a forked child finds an empty queue
rather than one that nobody serves. A fork waits until no computation is running: the child would otherwise inherit the
locks that the computation holds, and nobody who releases them.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

# The thread calls LLVM, which runs without Python's global lock, and takes that lock for a moment between two calls.
# At Python's default of 5 ms it would mostly wait for it.
_SWITCH_SECONDS = 2e-5


class Background:
    """Results by key, of which the latest `remembered` are kept. For any number of threads."""

    def __init__(self, remembered: int):
        self._remembered = remembered
        self._forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=lambda: self._computing.acquire(),
                after_in_parent=lambda: self._computing.release(),
                after_in_child=self._forget,
            )

    def _forget(self) -> None:
        self._lock, self._computing = threading.Lock(), threading.Lock()
        self._results: OrderedDict[Hashable, Future[Any]] = OrderedDict()
        self._queue: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._busy = False

    def begin(self, key: Hashable, compute: Callable[[], Any]) -> Future[Any]:
        """The result for `key`: of `compute()`, unless it is there or on its way."""
        with self._lock:
            known = self._results.get(key)
            if known is not None and not (known.done() and known.exception()):
                self._results.move_to_end(key)
                return known
            future = self._results[key] = Future()
            self._queue.append((compute, future))
            while len(self._results) > self._remembered:
                self._results.popitem(last=False)
            if not self._busy:
                self._busy = True
                threading.Thread(target=self._work, name="graphrt-compile").start()
            return future

    def _work(self) -> None:
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, _SWITCH_SECONDS))
        try:
            while True:
                with self._lock:
                    if not self._queue or not threading.main_thread().is_alive():
                        self._busy = False
                        return
                    compute, future = self._queue.popleft()
                try:
                    with self._computing:
                        future.set_result(compute())
                except BaseException as error:  # whoever asks for the result gets to see it
                    future.set_exception(error)
        finally:
            sys.setswitchinterval(before)
