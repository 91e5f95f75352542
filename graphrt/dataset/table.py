"""Datasets that are random access: arrays in memory, map steps, and whether each pass is shuffled.

In: whole columns and the steps recorded by the pipeline. Out: any batch of any pass, by sample numbers. Eager iteration
and the native training loop both read tables, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..runtime.shuffle import permutation
from .operations import Columns, Step
from .rows import Row
from .seed import dataset_seed
from .selection import Draw


@dataclass(frozen=True)
class Table:
    """`columns`: name -> array whose axis 0 counts samples; `steps` are applied to what is read. `draw`: the samples of
    a pass, where it does not visit each one once."""

    columns: dict[str, np.ndarray]
    steps: tuple[Step, ...] = ()
    shuffle: bool = False
    draw: Draw | None = None

    def __post_init__(self) -> None:
        assert len({len(array) for array in self.columns.values()}) == 1

    @property
    def size(self) -> int:
        """Number of samples in a pass."""
        return self.draw.count if self.draw is not None else len(next(iter(self.columns.values())))

    @property
    def is_symbolic(self) -> bool:
        """Whether all steps can become part of the native training step."""
        return all(step.is_symbolic for step in self.steps)

    @property
    def varies(self) -> bool:
        """Whether the n-th sample of a pass is another one each pass."""
        return self.shuffle or self.draw is not None

    @property
    def is_random(self) -> bool:
        """Whether some step draws anew each time."""
        return any(step.is_random for step in self.steps)

    def with_step(self, step: Step) -> Table:
        return replace(self, steps=(*self.steps, step))

    def shuffled(self) -> Table:
        return replace(self, shuffle=self.draw is None)  # what is drawn comes in random order anyway

    def cut(self, start: int, stop: int) -> Table | None:
        """The samples start..stop, or None where the pipeline picks other ones each pass (it shuffles before)."""
        if self.varies:
            return None
        return replace(self, columns={name: array[start:stop] for name, array in self.columns.items()})

    def order(self, epoch: int) -> np.ndarray:
        """The sample numbers of pass `epoch` in the order they are visited, int[size]."""
        if self.draw is not None:
            return self.draw.order(epoch)
        if self.shuffle:
            return permutation(self.size, dataset_seed(), epoch)
        return np.arange(self.size, dtype=np.int32)

    def select(self, indices: np.ndarray) -> Table:
        """Only these samples, in this order."""
        return replace(self, columns={name: array[indices] for name, array in self.columns.items()})

    def read(self, indices: np.ndarray, epoch: int, first: int) -> Row:
        """The batch of these samples, number `first` and on of pass `epoch`, all steps applied."""
        batch = {name: array[indices] for name, array in self.columns.items()}
        for step in self.steps:
            batch = step.apply_batch(batch, epoch, first)
        return tuple(batch.values())

    def batches(self, epoch: int, batch_size: int, drop_remainder: bool) -> Iterator[Row]:
        """The batches of one pass."""
        order = self.order(epoch)
        end = self.size - self.size % batch_size if drop_remainder else self.size
        for start in range(0, end, batch_size):
            yield self.read(order[start : min(start + batch_size, end)], epoch, start)

    def rows(self, epoch: int) -> Iterator[Row]:
        """The samples of one pass."""
        order = self.order(epoch)
        rows: Iterator[Columns] = (
            {name: array[index] for name, array in self.columns.items()} for index in order
        )
        for step in self.steps:
            rows = step.apply_rows(rows, epoch)
        for row in rows:
            yield tuple(np.asarray(value) for value in row.values())
