"""Datasets from Python: arrays in memory (`NumpySlicesDataset`), generators and random-access objects
(`GeneratorDataset`).

In: the user's data. Out: the beginning of a pipeline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import ArgumentError, DataError
from ..frontend.location import user_source
from ..runtime.shuffle import permutation
from .pipeline import Dataset
from .rows import Row, to_column_value, to_row
from .seed import dataset_seed
from .table import Table


class ArraysDataset(Dataset):
    """Whole columns in memory: name -> array whose axis 0 counts samples."""

    def __init__(self, columns: dict[str, np.ndarray], shuffle: bool):
        super().__init__(None, tuple(columns))
        self._source = Table(columns, shuffle=shuffle)

    def _rows(self, epoch: int) -> Iterator[Row]:
        return self._source.rows(epoch)

    def _table(self) -> Table:
        return self._source

    def _known_size(self) -> int:
        return self._source.size


class NumpySlicesDataset(ArraysDataset):
    """Samples along the first axis of arrays in memory.

    `data`: an array or list (one column), a tuple of them (one column each), or a dict name -> column. Arrays are not
    copied; do not change them while the dataset is in use. `column_names`: default the dict's keys or column_0,
    column_1, ... `shuffle`: another random order each pass; None means True. `num_samples`: use only the first ones.

    Raises DataError for columns of different length, scalars and empty data.
    """

    def __init__(
        self,
        data: Any,
        column_names: str | Sequence[str] | None = None,
        num_samples: int | None = None,
        num_parallel_workers: int = 1,
        shuffle: bool | None = None,
    ):
        if isinstance(data, dict):
            names, values = [str(name) for name in data], list(data.values())
            names = _column_names("NumpySlicesDataset", column_names, names)
        else:
            values = list(data) if isinstance(data, tuple) else [data]
            default = [f"column_{k}" for k in range(len(values))]
            names = _column_names("NumpySlicesDataset", column_names, default)
        columns = {name: to_column_value(value, name) for name, value in zip(names, values)}
        _check_lengths(columns)
        count = sample_count("NumpySlicesDataset", num_samples)
        columns = {name: np.ascontiguousarray(array[:count]) for name, array in columns.items()}
        super().__init__(columns, shuffle is None or bool(shuffle))


def _check_lengths(columns: dict[str, np.ndarray]) -> None:
    for name, array in columns.items():
        if array.ndim == 0:
            raise DataError(
                f"NumpySlicesDataset: column {name!r} has no axis of samples", at=user_source(),
                expected="an array with samples along its first axis", given=f"a scalar {array.dtype}",
            )  # fmt: skip
    lengths = {name: len(array) for name, array in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            "NumpySlicesDataset: the columns have different lengths", at=user_source(),
            expected="one number of samples", given=", ".join(f"{name}: {n}" for name, n in lengths.items()),
            fix="a tuple holds one array per column: NumpySlicesDataset((images, labels))",
        )  # fmt: skip
    if 0 in lengths.values():
        shapes = ", ".join(f"{name}: {array.dtype}{list(array.shape)}" for name, array in columns.items())
        raise DataError(
            "NumpySlicesDataset: the dataset is empty", at=user_source(), expected="at least one sample", given=shapes,
            fix="check how the arrays were read or selected",
        )  # fmt: skip


class GeneratorDataset(Dataset):
    """Samples from Python code.

    `source`: a function that returns an iterator (called at every pass), an iterable, or a random-access object with
    `__getitem__` and `__len__`. A sample is a tuple of columns, or the value itself if there is one column.
    `column_types`: element types the columns are converted to. `shuffle`: random-access sources only; None shuffles
    those. `num_samples`: at most so many samples per pass.

    Exceptions of the source reach the caller unchanged, with a note saying which sample was being read.
    """

    def __init__(
        self,
        source: Any,
        column_names: str | Sequence[str] | None = None,
        column_types: Sequence[object] | None = None,
        schema: object = None,
        num_samples: int | None = None,
        num_parallel_workers: int = 1,
        shuffle: bool | None = None,
        python_multiprocessing: bool = True,
        max_rowsize: object = None,
    ):
        if column_names is None:
            raise ArgumentError(
                "GeneratorDataset: column_names is needed",
                at=user_source(),
                expected="one name per column of a sample",
            )
        names = _column_names("GeneratorDataset", column_names, None)
        super().__init__(None, names)
        self._random_access = hasattr(source, "__getitem__") and hasattr(source, "__len__")
        if not self._random_access and not callable(source) and not hasattr(source, "__iter__"):
            raise ArgumentError(
                "GeneratorDataset: the source gives no samples", at=user_source(),
                expected="a generator function, an iterable, or an object with __getitem__ and __len__",
                given=type(source).__name__,
            )  # fmt: skip
        if shuffle and not self._random_access:
            raise ArgumentError(
                "GeneratorDataset: only random-access sources can be shuffled", at=user_source(),
                given=type(source).__name__,
                fix="call .shuffle(buffer_size) on the dataset, or give the source __getitem__ and __len__",
            )  # fmt: skip
        if column_types is not None and len(column_types) != len(names):
            raise ArgumentError(
                "GeneratorDataset: column_types needs one type per column", at=user_source(),
                expected=f"{len(names)} types", given=f"{len(column_types)}",
            )  # fmt: skip
        self._types = None if column_types is None else [as_dtype(t).numpy for t in column_types]
        self._source, self._limit = source, sample_count("GeneratorDataset", num_samples)
        self._shuffle = self._random_access and shuffle is not False

    def _rows(self, epoch: int) -> Iterator[Row]:
        for value in self._samples(epoch):
            row = to_row(value, self._columns, "GeneratorDataset: the source")
            if self._types is not None:
                row = tuple(array.astype(t, copy=False) for array, t in zip(row, self._types))
            yield row

    def _samples(self, epoch: int) -> Iterator[Any]:
        """The source's samples; its exceptions get a note about where they happened."""
        number = 0
        try:
            if self._random_access:
                size = self._known_size()
                assert size is not None
                # all of the source is shuffled, then the first num_samples are used
                order = (
                    permutation(len(self._source), dataset_seed(), epoch) if self._shuffle else range(size)
                )
                for index in order[:size]:
                    yield self._source[int(index)]
                    number += 1
                return
            for value in self._source() if callable(self._source) else self._source:
                if self._limit is not None and number >= self._limit:
                    return
                yield value
                number += 1
        except Exception as error:
            if hasattr(error, "add_note") and not getattr(error, "__notes__", None):
                error.add_note(
                    f"raised by the source of a GeneratorDataset while it read sample {number} of a pass"
                )
            raise
        if number == 0 and not callable(self._source) and iter(self._source) is self._source:
            raise DataError(
                "GeneratorDataset: the source is used up", at=user_source(),
                expected="a source that can be passed over again", given=f"an exhausted {type(self._source).__name__}",
                fix="pass the generator function itself, not what it returns",
            )  # fmt: skip

    def _known_size(self) -> int | None:
        if not self._random_access:
            return None
        size = len(self._source)
        return size if self._limit is None else min(size, self._limit)


def _column_names(dataset: str, given: str | Sequence[str] | None, default: list[str] | None) -> list[str]:
    """The user's column names checked against the number of columns."""
    if given is None:
        assert default is not None
        return default
    names = [given] if isinstance(given, str) else list(given)
    if (
        not names
        or not all(isinstance(name, str) and name for name in names)
        or len(set(names)) != len(names)
    ):
        raise ArgumentError(
            f"{dataset}: column_names must be different names", at=user_source(), given=repr(given)
        )
    if default is not None and len(names) != len(default):
        raise ArgumentError(
            f"{dataset}: column_names must name every column", at=user_source(),
            expected=f"{len(default)} names", given=repr(names),
        )  # fmt: skip
    return names


def sample_count(dataset: str, value: int | None) -> int | None:
    """The user's num_samples, checked."""
    if value is not None and (
        isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < 1
    ):
        raise ArgumentError(
            f"{dataset}: num_samples must be a positive int or None", at=user_source(), given=repr(value)
        )
    return None if value is None else value.__index__()
