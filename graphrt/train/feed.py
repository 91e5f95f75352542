"""Training on data that comes from Python batch by batch: blocks of batches are collected and trained on natively.

In: a pipeline that is not resident (generators, user functions). Out: the same steps and losses as any other source.
The compiled step is the one of resident data with the block as its dataset, in order; blocks are refilled in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..dataset.pipeline import Dataset, RepeatDataset
from ..dataset.rows import Row
from ..dtypes import as_dtype
from ..errors import DataError
from ..frontend.location import user_source
from ..ir import TensorType
from ..runtime.result import SinkResult
from .source import CompiledStep, Progress

_BLOCK_BYTES = 16 << 20  # of data per block: fits beside the working set, and Python is left rarely enough
_BLOCK_BATCHES = 64

MakeStep = Callable[[dict[str, TensorType], int, int], CompiledStep]  # (column types, size, batch size)


class _Block:
    """Memory for `capacity` batches of one size, and the step compiled for it."""

    def __init__(self, first: Row, names: tuple[str, ...], capacity: int, make_step: MakeStep):
        self.batch_size, self.capacity = len(first[0]), capacity
        size = capacity * self.batch_size
        self.columns = [np.empty((size, *array.shape[1:]), array.dtype) for array in first]
        types = {
            name: TensorType(array.shape, as_dtype(array.dtype)) for name, array in zip(names, self.columns)
        }
        self._step = make_step(types, size, self.batch_size)

    def put(self, place: int, row: Row) -> None:
        for column, array in zip(self.columns, row):
            column[place * self.batch_size : (place + 1) * self.batch_size] = array

    def run(self, batches: int, progress: Progress | None) -> SinkResult:
        self._step.sink.position = {"step": 0, "epoch": 0, "cursor": 0}
        return self._step.sink.run(batches, self.columns, self._step.state, progress)


class BlockSteps:
    """Steps over rows that Python produces. Each new object begins at the start of a pass."""

    def __init__(self, dataset: Dataset, make_step: MakeStep):
        self._dataset, self._make_step = dataset, make_step
        self._names = tuple(dataset.get_col_names())
        self._rows: Iterator[Row] | None = None
        self._waiting: Row | None = None  # read, but of another batch size than the block being filled
        self._blocks: dict[int, _Block] = {}  # by batch size: the full one first, then the ragged one
        self._first: Row | None = None

    @property
    def steps_per_epoch(self) -> int | None:
        stage: Dataset | None = self._dataset
        if isinstance(stage, RepeatDataset) and stage.count == -1:
            return stage.get_dataset_size()
        return self._dataset._known_size()

    def begin_epoch(self) -> None:
        self._rows = self._waiting = None

    def run(
        self, steps: int | None, progress: Progress | None = None, within_pass: bool = False
    ) -> SinkResult:
        losses, done = np.empty(min(steps or 1024, 1 << 20), np.float32), 0
        empty_passes = 0
        try:
            while steps is None or done < steps:
                block, count, ended = self._fill(None if steps is None else steps - done)
                if block is not None:
                    empty_passes = 0
                    result = block.run(count, None)
                    if done + result.done > len(losses):
                        losses = np.resize(losses, max(2 * len(losses), done + result.done))
                    losses[done : done + result.done] = result.losses
                    done += result.done
                    if progress is not None:
                        progress(done, losses[:done])
                    if result.status != "finished":
                        return SinkResult(losses[:done].copy(), done, result.status)
                if ended:
                    self.begin_epoch()
                    if steps is None or within_pass:
                        break
                    empty_passes += 1
                    if empty_passes == 2:  # a whole pass without a row
                        raise empty_dataset()
        except KeyboardInterrupt:  # while Python was collecting rows; native code reports it by its status
            return SinkResult(losses[:done].copy(), done, "interrupted")
        return SinkResult(losses[:done].copy(), done, "finished")

    def _fill(self, wanted: int | None) -> tuple[_Block | None, int, bool]:
        """Up to `wanted` batches of one size in a block; how many; whether the pass ended after them."""
        if self._rows is None:
            self._rows = self._dataset._rows(self._dataset._next_epoch())
        block: _Block | None = None
        count = 0
        while (wanted is None or count < wanted) and (block is None or count < block.capacity):
            row = self._waiting if self._waiting is not None else next(self._rows, None)
            self._waiting = None
            if row is None:
                return block, count, True
            mine = self._block_for(row)
            if block is not None and mine is not block:
                self._waiting = row
                break
            block = mine
            block.put(count, row)
            count += 1
        return block, count, False

    def _block_for(self, row: Row) -> _Block:
        self._check(row)
        size = len(row[0])
        if size not in self._blocks:
            if not self._blocks:
                bytes_per_batch = max(1, sum(array.nbytes for array in row))
                capacity = max(1, min(_BLOCK_BATCHES, _BLOCK_BYTES // bytes_per_batch))
                self._first = tuple(array[:0] for array in row)
            else:
                capacity = 1  # the short batch at the end of a pass comes alone
            self._blocks[size] = _Block(row, self._names, capacity, self._make_step)
        return self._blocks[size]

    def _check(self, row: Row) -> None:
        """One compiled step serves all batches: they must agree in everything but the size of the last one."""
        for name, array in zip(self._names, row):
            if array.ndim == 0:
                raise not_batched(name)
            if len(array) != len(row[0]):
                raise DataError(
                    "the columns of a batch have different lengths", at=user_source(),
                    given=", ".join(f"{n}: {len(a)}" for n, a in zip(self._names, row)),
                    fix="call .batch(batch_size) on the dataset, or make the columns equally long",
                )  # fmt: skip
        if self._first is None:
            return
        for name, array, first in zip(self._names, row, self._first):
            if array.shape[1:] != first.shape[1:] or array.dtype != first.dtype:
                full = next(iter(self._blocks))
                raise DataError(
                    f"the batches of column {name!r} differ in shape or element type", at=user_source(),
                    expected=f"{first.dtype}{[full, *first.shape[1:]]} as in the first batch",
                    given=f"{array.dtype}{list(array.shape)}",
                    fix="pad or crop the samples to one shape in map()",
                )  # fmt: skip
        sizes = list(self._blocks)
        if len(row[0]) not in sizes and (len(sizes) == 2 or len(row[0]) > sizes[0]):
            raise DataError(
                "the batches differ in size", at=user_source(),
                expected=f"{sizes[0]} samples, or one smaller size at the end of a pass",
                given=f"{len(row[0])} samples" + (f" after batches of {sizes[0]} and {sizes[1]}" if len(sizes) == 2 else ""),
                fix="let .batch(batch_size) form the batches",
            )  # fmt: skip


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
