"""What users loop over: passes of a dataset as Tensors.

In: a dataset. Out: tuples or dicts of Tensors or arrays, pass by pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_source

if TYPE_CHECKING:
    from .pipeline import Dataset


class DatasetIterator:
    """Each `for` over it is one pass; `next()` continues the pass that was begun."""

    def __init__(
        self,
        dataset: Dataset,
        columns: Sequence[str] | None,
        num_epochs: int,
        output_numpy: bool,
        as_dict: bool,
    ):
        available = dataset.get_col_names()
        names = [columns] if isinstance(columns, str) else list(columns) if columns is not None else available
        for name in names:
            if name not in available:
                raise ArgumentError(
                    "there is no such column",
                    at=user_source(),
                    expected=", ".join(available),
                    given=repr(name),
                )
        self._places = [(name, available.index(name)) for name in names]
        self._dataset, self._epochs_left = dataset, num_epochs
        self._numpy, self._as_dict = output_numpy, as_dict
        self._pass: Iterator[Any] | None = None

    def __iter__(self) -> DatasetIterator:
        self._pass = self._begin()
        return self

    def __next__(self) -> Any:
        if self._pass is None:
            self._pass = self._begin()
        return next(self._pass)

    def __len__(self) -> int:
        return len(self._dataset)

    def _begin(self) -> Iterator[Any]:
        if self._epochs_left == 0:
            return iter(())
        if self._epochs_left > 0:
            self._epochs_left -= 1
        return self._values(self._dataset._next_epoch())

    def _values(self, epoch: int) -> Iterator[Any]:
        for row in self._dataset._rows(epoch):
            values = {name: self._present(row[place]) for name, place in self._places}
            yield values if self._as_dict else tuple(values.values())

    def _present(self, array: np.ndarray) -> Any:
        # a view of the source would let the caller change the dataset
        array = array if array.flags.owndata else array.copy()
        if self._numpy:
            return array
        from ..frontend.tensor import Tensor

        return Tensor._wrap(array if array.flags.c_contiguous else np.ascontiguousarray(array))
