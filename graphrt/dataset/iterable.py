"""Any Python iterable of batches as a dataset: lists of batches, generators, torch DataLoaders, Hugging Face datasets.

In: what the user gave to `Model.train`, `fit` or `eval`. Out: a `Dataset` of its batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from ..errors import DataError
from ..frontend.location import user_source
from .generator import length_of, used_up, warn_length
from .parallel import add_note
from .pipeline import Dataset
from .rows import Row, to_row


def as_dataset(value: Any) -> Any:
    """`value` itself if it is a dataset, arrays or not iterable, else its items as the batches of a dataset."""
    arrays = isinstance(value, (np.ndarray, dict, str, bytes)) or hasattr(value, "asnumpy")
    if isinstance(value, tuple):
        arrays = any(hasattr(item, "shape") for item in value)
    if isinstance(value, Dataset) or arrays or not hasattr(value, "__iter__"):
        return value
    return IterableDataset(value)


class IterableDataset(Dataset):
    """The items of `source` are batches: tuples or lists of columns, dicts by column name, or the only column itself.

    Columns are named after the keys of the dicts, else column_0, column_1, ... An iterable is passed over anew for every
    pass; an iterator (a generator) gives one pass. The first batch is read at once, to know the columns; it is not lost.
    """

    def __init__(self, source: Any):
        self._source = source
        self._begun: tuple[Any, Iterator[Any]] | None
        iterator = iter(source)
        first = next(iterator, _NOTHING)
        if first is _NOTHING:
            raise DataError(
                "the dataset is empty: the iterable gives no batch", at=user_source(),
                expected="at least one batch", given=type(source).__name__,
            )  # fmt: skip
        self._begun = first, iterator
        if isinstance(first, dict):
            names = [str(name) for name in first]
        else:
            names = [f"column_{k}" for k in range(len(first) if isinstance(first, (tuple, list)) else 1)]
        super().__init__(None, names)

    def _rows(self, epoch: int) -> Iterator[Row]:
        begun, self._begun = self._begun, None
        items = chain([begun[0]], begun[1]) if begun is not None else iter(self._source)
        promised, number = length_of(self._source), 0
        try:
            for item in items:
                if promised is not None and number >= promised:
                    warn_length(self._label(), promised, f"more than {promised}; the rest is not used")
                    return
                yield to_row(item, self._columns, f"{self._label()}: the iterable")
                number += 1
        except Exception as error:
            add_note(error, f"raised by {self._label()} while it gave batch {number} of a pass")
            raise
        if number == 0 and iter(self._source) is self._source:
            raise used_up(
                "the iterable of batches",
                self._source,
                "pass a list of the batches, or GeneratorDataset(function, column_names), which begins anew every pass",
            )
        if promised is not None and number < promised:
            warn_length(self._label(), promised, f"only {number} in this pass")

    def _size(self, count: bool = False) -> int | None:
        size = length_of(self._source)
        if size is None and count:  # which would use an iterator up
            raise DataError(
                "the iterable does not know its length", at=user_source(), given=type(self._source).__name__
            )
        return size

    def _label(self) -> str:
        return type(self._source).__name__


_NOTHING = object()
