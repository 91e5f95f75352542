"""Sources whose samples are read one by one, by number: the base of GeneratorDataset and ImageFolderDataset.

In: `read(number)` of a subclass. Out: rows of a pass in order, read by worker threads or processes where there are some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ..runtime.shuffle import permutation
from .parallel import Workers, add_note
from .pipeline import Dataset
from .rows import Row
from .seed import dataset_seed
from .selection import Selection


class RandomAccessDataset(Dataset):
    """Samples 0 .. size - 1, of which `selection` is visited. `read(number)` gives a sample as a row."""

    def __init__(
        self,
        column_names: Sequence[str],
        read: Callable[[int], Row],
        size: int,
        selection: Selection,
        workers: int,
        processes: bool,
        label: str,
    ):
        super().__init__(None, column_names)
        self._read, self._total, self._selection = read, size, selection
        self._name, self._kind = label, (workers, processes)
        self._workers = Workers(self._read_noted, workers, processes, label) if workers > 1 else None

    def _label(self) -> str:
        return self._name

    def _rows(self, epoch: int) -> Iterator[Row]:
        numbers: np.ndarray = np.arange(self._total)
        if self._selection.indices is not None:
            numbers = self._selection.indices
        if self._selection.draw is not None:
            numbers = self._selection.draw.order(epoch)
        if self._selection.shuffle:
            numbers = numbers[permutation(len(numbers), dataset_seed(), epoch)]
        items = ((int(number),) for number in numbers)
        if self._workers is None:
            yield from (self._read_noted(*item) for item in items)
        else:
            yield from self._workers.run(items, (epoch,))

    def _read_noted(self, number: int) -> Row:
        try:
            return self._read(number)
        except Exception as error:
            add_note(error, f"raised by the source of {self._name} while it read sample {number}")
            raise

    def _size(self, count: bool = False) -> int:
        return self._selection.size(self._total)

    @property
    def _varies(self) -> bool:
        return self._selection.varies

    def _subset(self, positions: np.ndarray) -> Dataset | None:
        if self._selection.draw is not None:
            return None
        numbers = np.arange(self._total) if self._selection.indices is None else self._selection.indices
        chosen = Selection(numbers[positions], self._selection.shuffle)
        return RandomAccessDataset(self._columns, self._read, self._total, chosen, *self._kind, self._name)

    def close(self) -> None:
        if self._workers is not None:
            self._workers.close()
