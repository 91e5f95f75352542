"""Worker threads and processes for the Python functions of a pipeline.

In: a function and a stream of items. Out: the function's results in the order of the items, a bounded number of items
ahead of the reader. Exceptions arrive where the result would have; a worker process that dies is reported.
"""

from __future__ import annotations

import random
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..frontend.location import from_here, user_source
from . import config
from .seed import dataset_seed

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

_AHEAD = 2  # items (processes: chunks of them) in flight per worker: one at work, one waiting
_CHUNK = 8  # items sent to a process at once: a message costs about as much as transforming one image


class Workers:
    """`count` threads or processes that apply `function`; they start when first used and last until `close`.

    Processes are forked: the function needs no pickling and sees the variables as they are at the first use. NumPy's
    and Python's global random generators are seeded in each process from `graphrt.set_seed` and the number of the
    chunk of items, so that results repeat and no two processes draw the same. `label` names the operation in errors.
    """

    def __init__(self, function: Callable[..., Any], count: int, processes: bool, label: str):
        self._function, self._count, self._processes, self._label = function, count, processes, label
        self._executor: Executor | _Threads | None = None

    def run(self, items: Iterable[tuple[Any, ...]], stream: Sequence[int] = (0,)) -> Iterator[Any]:
        """`function(*item)` of every item, in order. `stream`: numbers that tell this pass from others."""
        chunks = self._chunks(iter(items))
        running: deque[Future[Any]] = deque()
        number = 0
        try:
            while True:
                while len(running) < _AHEAD * self._count and (chunk := next(chunks, None)) is not None:
                    running.append(self._submit(chunk, (*stream, number)))
                    number += 1
                if not running:
                    return
                results, error = self._result(running.popleft())
                yield from results
                if error is not None:
                    raise error
        finally:
            left = [future for future in running if not future.cancel() and not future.done()]
            if left and self._processes:  # they may be stuck, and Python waits for them when it exits
                self.close()

    def close(self) -> None:
        """Let the workers go, processes in the middle of their work; a later `run` starts new ones."""
        executor, self._executor = self._executor, None
        if executor is None:
            return
        processes = list((getattr(executor, "_processes", None) or {}).values())
        executor.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.kill()  # a user's function may have blocked SIGTERM, or be where Python does not look at signals

    def thread_numbers(self) -> list[int]:
        """The `ident` of every worker thread there is now."""
        executor = self._executor
        return [t.ident for t in executor.threads if t.ident] if isinstance(executor, _Threads) else []

    def _chunks(self, items: Iterator[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
        size = _CHUNK if self._processes else 1
        while chunk := list(islice(items, size)):
            yield chunk

    def _submit(self, chunk: list[tuple[Any, ...]], stream: Sequence[int]) -> Future[Any]:
        if self._executor is None:
            self._executor = self._start()
        if self._processes:
            from concurrent.futures.process import BrokenProcessPool

            try:
                return self._executor.submit(_apply_in_process, chunk, (dataset_seed(), *stream))
            except BrokenProcessPool:
                raise self._died() from None
        return self._executor.submit(from_here(_apply), self._function, chunk)

    def _start(self) -> Executor | _Threads:
        if not self._processes:
            return _Threads(self._count)
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor

        if "fork" not in multiprocessing.get_all_start_methods():
            raise ArgumentError(
                f"{self._label}: worker processes need a system that can fork", at=user_source(),
                given="python_multiprocessing=True", fix="use threads: python_multiprocessing=False",
            )  # fmt: skip
        context = multiprocessing.get_context("fork")
        return ProcessPoolExecutor(self._count, context, _begin_process, (from_here(_apply), self._function))

    def _result(self, future: Future[Any]) -> tuple[list[Any], BaseException | None]:
        if not self._processes:
            return future.result()
        from concurrent.futures.process import BrokenProcessPool

        try:
            return future.result()
        except BrokenProcessPool:
            raise self._died() from None

    def _died(self) -> DataError:
        self.close()
        return DataError(
            f"{self._label}: a worker process died", at=user_source(),
            expected="workers that return a result or raise an exception",
            given="a process that was killed (out of memory?), crashed in native code or called exit",
            fix="run the function with num_parallel_workers=1 to see what happens to it",
        )  # fmt: skip


class _Threads:
    """Worker threads that end with the program even if a function of the user never returns (those of
    ThreadPoolExecutor are waited for)."""

    def __init__(self, count: int):
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self.threads = [
            threading.Thread(target=_work, args=(self._tasks,), name=f"graphrt-data-{number}", daemon=True)
            for number in range(count)
        ]
        for thread in self.threads:
            thread.start()
        self._stop = weakref.finalize(self, _end_all, self._tasks, count)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        from concurrent.futures import Future

        future: Future[Any] = Future()
        self._tasks.put((future, function, arguments))
        return future

    def shutdown(self, wait: bool = False, cancel_futures: bool = False) -> None:
        """The threads end when they have done what is in the queue."""
        self._stop()


def _work(tasks: SimpleQueue[Any]) -> None:
    while (task := tasks.get()) is not None:
        future, function, arguments = task
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # raised where the result is asked for
                future.set_exception(error)
        del task, future, function, arguments  # a waiting thread keeps nothing alive


def _end_all(tasks: SimpleQueue[Any], count: int) -> None:
    for _ in range(count):
        tasks.put(None)


def worker_count(method: str, value: object) -> int:
    """The user's num_parallel_workers (None: the setting of `dataset.config`), checked."""
    if value is None:
        return config.get_num_parallel_workers()
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1:
        raise ArgumentError(
            f"{method}: num_parallel_workers must be a positive int or None", at=user_source(),
            given=repr(value),
        )  # fmt: skip
    return value.__index__()


def _apply(
    function: Callable[..., Any], chunk: list[tuple[Any, ...]]
) -> tuple[list[Any], BaseException | None]:
    """Results up to the first exception, and that exception: rows before it are not lost."""
    results: list[Any] = []
    for item in chunk:
        try:
            results.append(function(*item))
        except Exception as error:
            return results, error
    return results, None


_in_process: tuple[Callable[..., Any], Callable[..., Any]] | None = None  # set in worker processes only


def _begin_process(apply: Callable[..., Any], function: Callable[..., Any]) -> None:
    import signal

    global _in_process
    _in_process = apply, function
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group: the parent handles it


def _apply_in_process(
    chunk: list[tuple[Any, ...]], stream: Sequence[int]
) -> tuple[list[Any], BaseException | None]:
    assert _in_process is not None
    apply, function = _in_process
    words = np.random.SeedSequence([int(n) for n in stream]).generate_state(2)
    np.random.seed(words[0])
    random.seed(int(words[1]))
    results, error = apply(function, chunk)
    return results, None if error is None else _portable(error)


def _portable(error: BaseException) -> BaseException:
    """`error` with its traceback as text in its notes: tracebacks themselves do not travel between processes."""
    import pickle
    import traceback

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = DataError(f"{type(error).__name__} in a worker process: {error}")
    add_note(error, f"in a worker process:\n{text}")
    return error


def add_note(error: BaseException, note: str) -> None:
    """PEP 678 where Python has it (3.11 and later)."""
    if hasattr(error, "add_note"):
        error.add_note(note)
