"""Reading ahead: a thread that runs a pipeline in Python while training runs native code.

In: an iterator (a pass over a pipeline). Out: its items in order, and its exceptions with their own tracebacks. Waiting
for it never hangs unheard: a silent source is reported with the line it stands at, Ctrl-C ends the wait, `timeout` too.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator
from types import FrameType
from typing import Generic, TypeVar

from ..errors import DataError, DataWarning
from ..frontend.location import from_here, shown_path, user_source
from . import config
from .parallel import Workers
from .pipeline import Dataset
from .rows import Row

T = TypeVar("T")
_CLOSE_SECONDS = 0.5  # how long an abandoned source may take to come to its next item
_DEPTH = 8  # batches read ahead of an evaluation
_HELPERS = (__name__.partition(".")[0], "threading", "concurrent")  # packages whose lines are not the user's


class Stopped(Exception):
    """Raised inside the reading thread when nobody wants its items any more."""


class Reader(Generic[T]):
    """Runs `items(self)` in a thread. `what` describes the pipeline in messages, `timeout` is in seconds.

    The items are taken by one other thread. `waited`: seconds spent waiting for them so far.
    """

    def __init__(self, items: Callable[[Reader[T]], Iterator[T]], what: str, timeout: float | None):
        self._what, self._timeout = what, timeout
        self._changed = threading.Condition()
        self._ready: deque[T] = deque()
        self._ended = self._stopped = self._warned = False
        self._error: BaseException | None = None
        self._taken = 0
        self.waited = 0.0
        self._thread = threading.Thread(
            target=from_here(self._read), args=(items,), name="graphrt-reader", daemon=True
        )
        self._thread.start()

    # ------------------------------------------------------------------------------------- in the reading thread

    def _read(self, items: Callable[[Reader[T]], Iterator[T]]) -> None:
        error: BaseException | None = None
        iterator: Iterator[T] | None = None
        try:
            iterator = items(self)
            for item in iterator:
                with self._changed:
                    if self._stopped:
                        break
                    self._ready.append(item)
                    self._changed.notify_all()
        except Stopped:
            pass
        except (
            BaseException
        ) as problem:  # Ctrl-C and exits inside the source, too, belong to the one who waits
            error = problem
        try:
            if isinstance(iterator, Generator):
                iterator.close()  # the source's own `finally` blocks run now
        except BaseException as problem:
            error = error or problem
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool], then: Callable[[], None]) -> None:
        """Called by the items while they are read: wait for the taker, then do something at once. Raises Stopped."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or condition())
            if self._stopped:
                raise Stopped
            then()

    # -------------------------------------------------------------------------------------- in the taking thread

    def first(self) -> T | None:
        """The next item, which stays; None at the end. Raises what the source raised."""
        with self._changed:
            if not self._ready and not self._ended:
                self._wait()
            if self._ready:
                return self._ready[0]
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            return None

    def take(self, most: int | None, joins: Callable[[T, T], bool]) -> list[T]:
        """The next item and those that are ready already and each `joins` the one before; [] at the end."""
        if self.first() is None:
            return []
        with self._changed:
            taken = [self._ready.popleft()]
            while self._ready and (most is None or len(taken) < most) and joins(taken[-1], self._ready[0]):
                taken.append(self._ready.popleft())
            self._taken += len(taken)
            return taken

    def change(self, action: Callable[[], None]) -> None:
        """Run `action`, which may let `wait_until` go on."""
        with self._changed:
            action()
            self._changed.notify_all()

    @property
    def stuck(self) -> bool:
        """Whether the source was still silent when the reader was closed."""
        return self._stopped and self._thread.is_alive()

    def close(self) -> None:
        """Stop reading. A source that is silent just now is left behind: it ends when it gives its next item."""
        with self._changed:
            self._stopped = True
            self._ready.clear()
            self._changed.notify_all()
        if (
            threading.current_thread() is not self._thread
        ):  # the garbage collector may call this from anywhere
            self._thread.join(_CLOSE_SECONDS)

    def _wait(self) -> None:
        begun = time.monotonic()
        warn_after = config.get_multiprocessing_timeout_interval()
        try:
            while not self._ready and not self._ended:
                waited = time.monotonic() - begun
                if self._timeout is not None and waited >= self._timeout:
                    raise self._silent(f"no batch within its timeout of {self._timeout:g} s", user_source())
                if not self._warned and waited >= warn_after:
                    problem = self._silent(f"no batch for {waited:.0f} s; still waiting", None)
                    warnings.warn(str(problem), DataWarning, stacklevel=2)
                    self._warned = True
                limits = [limit for limit in (self._timeout, None if self._warned else warn_after) if limit]
                self._changed.wait(min(limits) - waited if limits else None)
        finally:
            self.waited += time.monotonic() - begun

    def _silent(self, what: str, at: object) -> DataError:
        place = self._place()
        return DataError(
            f"the dataset gave {what}", at=at, expected=f"batch {self._taken} of a pass of {self._what}",
            given=f"nothing: the source stands at {place}" if place else "nothing",
            fix="read or prepare the data faster (num_parallel_workers, fewer files), or look for what it waits for",
        )  # fmt: skip

    def _place(self) -> str:
        """Where the reading thread is in the user's code; if it waits for worker threads, where one of them is."""
        frames = sys._current_frames()
        reading = frame = frames.get(self._thread.ident or 0)
        places = [_place_of(reading)]
        while frame is not None:
            workers = frame.f_locals.get("self")
            if isinstance(workers, Workers):
                places += [_place_of(frames.get(number)) for number in workers.thread_numbers()]
            frame = frame.f_back
        return next((place for place in places if place), "")


def _place_of(frame: FrameType | None) -> str:
    """The user's outermost line of a thread, with the innermost if that is another; "" for none."""
    lines = []
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _HELPERS:
            lines.append(f"{shown_path(frame.f_code.co_filename)}:{frame.f_lineno} in {frame.f_code.co_name}")
        frame = frame.f_back
    if not lines:
        return ""
    return lines[-1] if len(lines) == 1 else f"{lines[-1]} (in there at {lines[0]})"


def prefetched(dataset: Dataset, depth: int = _DEPTH) -> Iterator[Row]:
    """The rows of the next pass of `dataset`, read up to `depth` rows ahead by a thread."""
    epoch = dataset._next_epoch()
    ahead = 0

    def add(count: int) -> None:
        nonlocal ahead
        ahead += count

    def items(reader: Reader[Row]) -> Iterator[Row]:
        for row in dataset._rows(epoch):
            reader.wait_until(lambda: ahead < depth, lambda: add(1))
            yield row

    reader = Reader(items, dataset.describe(), dataset._shortest_timeout())

    try:
        while rows := reader.take(1, lambda *_: False):
            reader.change(lambda: add(-1))
            yield rows[0]
    finally:
        reader.close()
        if reader.stuck:
            dataset.close()
