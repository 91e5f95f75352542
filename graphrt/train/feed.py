"""Training on data that comes from Python batch by batch, read ahead into a ring of batches while native code trains.

In: a pipeline that is not resident (generators, user functions). Out: the same steps and losses as any other source.
The compiled step is the one of resident data with the ring as its dataset, in order. A thread runs the pipeline and
fills the places of the ring that are free; the native loop, which needs no Python, trains on those that are full.
"""

from __future__ import annotations

import time
import warnings
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np

from ..dataset.pipeline import Dataset
from ..dataset.reader import Reader
from ..dataset.rows import Row
from ..dtypes import as_dtype
from ..errors import DataError, DataWarning
from ..frontend.location import user_source
from ..frontend.parameter import Parameter
from ..ir import TensorType
from ..runtime.result import SinkResult
from .random_keys import dataset_parameters
from .source import CompiledStep, Progress

_BLOCK_BYTES = 32 << 20  # of data in the ring: fits beside the working set, and hides the hiccups of a source
_BLOCK_BATCHES = 64
_SLOW_SHARE, _SLOW_SECONDS = 0.5, 2.0  # training that waits longer than both for data is reported

MakeStep = Callable[[dict[str, TensorType], int, int], CompiledStep]  # (column types, size, batch size)


class _Block:
    """A ring of `capacity` batches of one size, and the step compiled for it (when it is first needed)."""

    def __init__(self, first: Row, names: tuple[str, ...], capacity: int, make_step: MakeStep):
        self.batch_size, self.capacity, self.free = len(first[0]), capacity, capacity
        size = capacity * self.batch_size
        self.columns = [np.empty((size, *array.shape[1:]), array.dtype) for array in first]
        self._types = {
            name: TensorType(array.shape, as_dtype(array.dtype)) for name, array in zip(names, self.columns)
        }
        self._make_step, self._size = make_step, size
        self._step: CompiledStep | None = None
        self._next = 0

    @property
    def step(self) -> CompiledStep:
        if self._step is None:
            self._step = self._make_step(self._types, self._size, self.batch_size)
        return self._step

    def put(self, row: Row) -> int:
        """Copy a batch to the next place, which must be free; returns the place."""
        place, self._next = self._next, (self._next + 1) % self.capacity
        for column, array in zip(self.columns, row):
            column[place * self.batch_size : (place + 1) * self.batch_size] = array
        return place

    def has_room(self) -> bool:
        return self.free > 0

    def claim(self) -> None:
        self.free -= 1

    def give_back(self, count: int) -> None:
        self.free += count

    def clear(self) -> None:
        self.free, self._next = self.capacity, 0

    def stop(self) -> None:
        if self._step is not None:
            self._step.stop()

    def run(self, place: int, batches: int) -> SinkResult:
        self.step.sink.position = {"step": 0, "epoch": 0, "cursor": place * self.batch_size}
        return self.step.sink.run(batches, self.columns, self.step.state, None)


class _Batch(NamedTuple):
    """A batch in the ring; `keys`: the pipeline's random keys after it was drawn."""

    block: _Block
    place: int
    keys: tuple[np.ndarray, ...]


def _neighbours(one: _Batch, other: _Batch) -> bool:
    """Whether one native call can run both."""
    return one.block is other.block and other.place == one.place + 1


class _Ring:
    """The blocks of one pipeline, and how its batches get into them. Known to the reading thread, which must not keep
    the BlockSteps alive that nobody uses any more.

    `keys`: the random keys of the pipeline, which every batch drawn advances.
    """

    def __init__(self, names: tuple[str, ...], keys: list[Parameter], make_step: MakeStep):
        self._names, self._keys, self._make_step = names, keys, make_step
        self.blocks: dict[int, _Block] = {}  # by batch size: the full one first, then the ragged one
        self._first: Row | None = None

    def keys_now(self) -> tuple[np.ndarray, ...]:
        return tuple(key.asnumpy() for key in self._keys)

    def put_keys(self, values: tuple[np.ndarray, ...]) -> None:
        for key, value in zip(self._keys, values):
            assert key._array is not None
            key._array[...] = value

    def clear(self) -> None:
        """All places are free."""
        for block in self.blocks.values():
            block.clear()

    def deliver(
        self, reader: Reader[_Batch], rows: Generator[Row, None, None], first: int
    ) -> Iterator[_Batch]:
        """The batches of the pass from number `first` on, copied to their places. Runs in the reader's thread."""
        with closing(rows):  # the source's own `finally` blocks run in this thread, too
            for number, row in enumerate(rows, first):
                keys = self.keys_now()
                block = self.block_for(row, number)
                reader.wait_until(block.has_room, block.claim)
                yield _Batch(block, block.put(row), keys)

    def block_for(self, row: Row, number: int) -> _Block:
        """The block for batches of this size. Raises DataError for a batch that none can be made for; `number` is its
        place in the pass."""
        self._check(row, number)
        size = len(row[0])
        if size not in self.blocks:
            if not self.blocks:
                bytes_per_batch = max(1, sum(array.nbytes for array in row))
                capacity = max(2, min(_BLOCK_BATCHES, _BLOCK_BYTES // bytes_per_batch))
                self._first = tuple(array[:0] for array in row)
            else:
                capacity = 1  # the short batch at the end of a pass comes alone
            self.blocks[size] = _Block(row, self._names, capacity, self._make_step)
        return self.blocks[size]

    def _check(self, row: Row, number: int) -> None:
        """One compiled step serves all batches: they must agree in everything but the size of the last one."""
        for name, array in zip(self._names, row):
            if array.ndim == 0:
                raise not_batched(name)
            if len(array) != len(row[0]):
                raise DataError(
                    "the columns of a batch have different lengths", at=user_source(),
                    given=", ".join(f"{n}: {len(a)}" for n, a in zip(self._names, row)) + f" in batch {number}",
                    fix="call .batch(batch_size) on the dataset, or make the columns equally long",
                )  # fmt: skip
        if self._first is None:
            return
        for name, array, first in zip(self._names, row, self._first):
            if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
                full = next(iter(self.blocks))
                raise DataError(
                    f"the batches of column {name!r} differ in shape or element type", at=user_source(),
                    expected=f"{first.dtype}{[full, *first.shape[1:]]} as in the first batch",
                    given=f"{array.dtype}{list(array.shape)} in batch {number} of a pass",
                    fix="pad or crop the samples to one shape in map()",
                )  # fmt: skip
        sizes = list(self.blocks)
        if len(row[0]) not in sizes and (len(sizes) == 2 or len(row[0]) > sizes[0]):
            raise DataError(
                "the batches differ in size", at=user_source(),
                expected=f"{sizes[0]} samples, or one smaller size at the end of a pass",
                given=f"{len(row[0])} samples in batch {number} of a pass"
                + (f" after batches of {sizes[0]} and {sizes[1]}" if len(sizes) == 2 else ""),
                fix="let .batch(batch_size) form the batches",
            )  # fmt: skip


class BlockSteps:
    """Steps over rows that Python produces. Each new object begins at the start of a pass.

    `waited` and `seconds`: how long `run` has waited for data, and how long it took in all.
    """

    def __init__(self, dataset: Dataset, make_step: MakeStep):
        self._dataset = dataset
        self._names = tuple(dataset.get_col_names())
        self._ring = _Ring(self._names, dataset_parameters(dataset), make_step)
        self._drawn = self._ring.keys_now()  # the keys after the last batch that was trained on
        self._begin_keys = self._drawn  # the keys when the present pass began
        self._reader: Reader[_Batch] | None = None
        self._finalizer: Callable[[], Any] = lambda: None
        self._rows: Generator[Row, None, None] | None = None  # the pass, before it is given to the reader
        self._done = 0  # batches of the present pass that were trained on
        self._preparing = False  # waiting for data or compiling: nothing is lost where that is broken off
        self._failure: Exception | None = None
        self._waited = self.seconds = 0.0

    @property
    def steps_per_epoch(self) -> int | None:
        # an endless pass is cut into epochs of one pass over what it repeats
        return self._dataset._size(count=self._dataset._is_endless)

    # ------------------------------------------------------------------------------------ where training stands

    @property
    def position(self) -> dict[str, Any]:
        """The pass, how many of its batches are done, and the pipeline's random keys at its begin."""
        begun = self._done > 0
        keys = self._begin_keys if begun else self._drawn
        return {
            "pass": self._dataset._upcoming_epoch() - begun, "batch": self._done,
            "arrays": {f"key{k}": key for k, key in enumerate(keys)},
        }  # fmt: skip

    @property
    def at_pass_begin(self) -> bool:
        return self._done == 0

    @property
    def description(self) -> dict[str, Any]:
        return {"pipeline": self._dataset.describe(), "columns": list(self._names)}

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Of the steps compiled so far; of the first batch's if there is none yet."""
        if not self._ring.blocks:
            self._reading().first()
        return {n: p for block in list(self._ring.blocks.values()) for n, p in block.step.parameters.items()}

    @property
    def cells(self) -> dict[int, Any]:
        """id -> every Cell that ran in the steps compiled so far."""
        return {
            key: cell for block in list(self._ring.blocks.values()) for key, cell in block.step.cells.items()
        }

    def restore(self, position: Mapping[str, Any]) -> None:
        """Go on from a `position`: the batches before it are read again and dropped."""
        self.begin_epoch()
        self._dataset._go_to_epoch(int(position["pass"]))
        self._drawn = tuple(position.get("arrays", {}).values())
        self._ring.put_keys(self._drawn)
        if position["batch"]:
            self._begin_pass()
            assert self._rows is not None
            for _ in range(int(position["batch"])):
                row = next(self._rows, None)
                if row is None:
                    break
                if not self._ring.blocks:  # the full batch comes first, also where the ragged one is next
                    self._ring.block_for(row, self._done)
                self._done += 1
            self._drawn = self._ring.keys_now()

    def begin_epoch(self) -> None:
        if self._reader is None or self._done:
            self.close()

    def close(self) -> None:
        """Stop reading, as if no batch had been drawn but those trained on. What was read ahead is dropped."""
        if self._reader is not None:
            self._finalizer()  # closes it
            if self._reader.stuck:
                self._dataset.close()  # worker processes may be what it waits for
            self._waited += self._reader.waited
            self._reader = None
            if not self._done:  # the pass was not begun after all
                self._dataset._go_to_epoch(self._dataset._upcoming_epoch() - 1)
        if self._rows is not None:
            self._rows.close()
        self._rows, self._done = None, 0
        self._ring.put_keys(self._drawn)
        self._ring.clear()

    @property
    def waited(self) -> float:
        """Seconds that training has waited for data."""
        return self._waited + (0.0 if self._reader is None else self._reader.waited)

    @property
    def data_wait(self) -> float:
        """The share of the time of `run` that was spent waiting for data."""
        return self.waited / self.seconds if self.seconds else 0.0

    def report_slow_data(self) -> None:
        """Warn if training has waited for data most of the time."""
        if self.waited > _SLOW_SECONDS and self.data_wait > _SLOW_SHARE:
            problem = DataError(
                "training waited for its data most of the time",
                expected=f"batches of {self._dataset.describe()} as fast as the {self.seconds - self.waited:.1f} s of training",
                given=f"{self.waited:.1f} s of {self.seconds:.1f} s spent waiting ({self.data_wait:.0%})",
                fix="num_parallel_workers in map() and the source; data in memory (NumpySlicesDataset) with the "
                "transforms of graphrt.dataset, which run natively",
            )  # fmt: skip
            warnings.warn(str(problem), DataWarning, stacklevel=2)

    # ------------------------------------------------------------------------------------------------- training

    def run(
        self, steps: int | None, progress: Progress | None = None, within_pass: bool = False
    ) -> SinkResult:
        begun = time.perf_counter()
        self._failure = None
        losses, done = np.empty(min(steps or 1024, 1 << 20), np.float32), 0
        empty_passes = 0
        status = "finished"
        try:
            while steps is None or done < steps:
                batches = self._next_batches(None if steps is None else steps - done, progress, losses[:done])
                if batches:
                    empty_passes = 0
                    result = self._train(batches)
                    if done + result.done > len(losses):
                        losses = np.resize(losses, max(2 * len(losses), done + result.done))
                    losses[done : done + result.done] = result.losses
                    done += result.done
                    if result.status != "finished":
                        status = result.status
                        break
                    continue
                began = self._done > 0
                self._end_pass()
                if steps is None or within_pass:
                    break
                empty_passes += not began
                if empty_passes == 2:  # a whole pass without a row
                    raise empty_dataset()
        except KeyboardInterrupt:  # while waiting for rows; native code reports it by its status
            status = "interrupted"
        except Exception as error:  # of the source: the steps before it count
            self._failure, status = error, "failed"
        finally:
            self._preparing = False
            self.seconds += time.perf_counter() - begun
        return SinkResult(losses[:done].copy(), done, status)

    def stop(self) -> None:
        if self._preparing:
            raise KeyboardInterrupt
        for block in list(self._ring.blocks.values()):
            block.stop()

    def raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _next_batches(self, most: int | None, progress: Progress | None, losses: np.ndarray) -> list[_Batch]:
        """What the next native call trains on, with its step compiled; [] at the end of the pass."""
        self._preparing = True
        if progress is not None:
            progress(len(losses), losses)
        batches = self._reading().take(most, _neighbours)
        if batches:
            batches[0].block.step  # noqa: B018 (compiles it)
        self._preparing = False
        return batches

    def _train(self, batches: list[_Batch]) -> SinkResult:
        block = batches[0].block
        result = block.run(batches[0].place, len(batches))
        self._done += result.done
        if result.done:
            self._drawn = batches[result.done - 1].keys
        assert self._reader is not None
        self._reader.change(lambda: block.give_back(len(batches)))
        return result

    def _end_pass(self) -> None:
        """The pass gave its last batch: what it drew after it counts."""
        self._drawn = self._ring.keys_now()
        self._done = max(self._done, 1)  # an empty pass is a pass
        self.close()

    # --------------------------------------------------------------------------------------------- reading ahead

    def _reading(self) -> Reader[_Batch]:
        if self._reader is None:
            if self._rows is None:
                self._begin_pass()
            assert self._rows is not None
            what, timeout = self._dataset.describe(), self._dataset._shortest_timeout()
            rows, self._rows = self._rows, None
            ring = self._ring
            first = self._done
            self._reader = Reader(lambda reader: ring.deliver(reader, rows, first), what, timeout)
            self._finalizer = weakref.finalize(self, self._reader.close)
        return self._reader

    def _begin_pass(self) -> None:
        self._begin_keys = self._drawn = self._ring.keys_now()
        self._rows = (row for row in self._dataset._rows(self._dataset._next_epoch()))


def not_batched(column: str) -> DataError:
    """The error for a dataset whose rows are samples."""
    return DataError(
        "the dataset gives single samples, not batches", at=user_source(), expected="batches along the first axis",
        given=f"a scalar in column {column!r}", fix="call .batch(batch_size) on the dataset",
    )  # fmt: skip


def empty_dataset() -> DataError:
    """The error for a dataset without a batch."""
    return DataError(
        "the dataset is empty: one pass over it gives no batch", at=user_source(), expected="at least one batch per pass",
        fix="check the source; batch(..., drop_remainder=True) drops a dataset smaller than one batch",
    )  # fmt: skip
