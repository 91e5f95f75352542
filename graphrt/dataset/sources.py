"""Datasets in memory: whole columns as arrays (`NumpySlicesDataset` and the base of MNIST and CIFAR-10), tables.

In: arrays. Out: the beginning of a pipeline that native steps can read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..frontend.location import user_source
from .parallel import worker_count
from .pipeline import Dataset
from .rows import Row, to_column_value
from .selection import Selection, select
from .table import Table


class TableDataset(Dataset):
    """A table as the beginning of a pipeline."""

    def __init__(self, table: Table, columns: Sequence[str]):
        super().__init__(None, columns)
        self._source = table

    def _rows(self, epoch: int) -> Iterator[Row]:
        return self._source.rows(epoch)

    def _table(self) -> Table:
        return self._source

    @property
    def _varies(self) -> bool:
        return self._source.varies

    def _size(self, count: bool = False) -> int:
        return self._source.size


class ArraysDataset(TableDataset):
    """Whole columns in memory: name -> array whose axis 0 counts samples, of which `selection` is visited."""

    def __init__(self, columns: dict[str, np.ndarray], selection: Selection):
        table = Table(selection.apply(columns), shuffle=selection.shuffle, draw=selection.draw)
        super().__init__(table, tuple(columns))


class NumpySlicesDataset(ArraysDataset):
    """Samples along the first axis of arrays in memory.

    `data`: an array or list (one column), a tuple of them (one column each), or a dict name -> column. Arrays are not
    copied; do not change them while the dataset is in use. `column_names`: default the dict's keys or column_0,
    column_1, ... `shuffle`: another random order each pass; None means True. `num_samples`: use only the first ones.
    `sampler`: a sampler of graphrt.dataset or sample numbers. `num_shards`, `shard_id`: use every num_shards-th sample
    from number shard_id on. `num_parallel_workers` has no effect: the data is read in place.

    Raises DataError for columns of different length, scalars and empty data.
    """

    def __init__(
        self,
        data: Any,
        column_names: str | Sequence[str] | None = None,
        num_samples: int | None = None,
        num_parallel_workers: int | None = None,
        shuffle: bool | None = None,
        sampler: Any = None,
        num_shards: int | None = None,
        shard_id: int | None = None,
    ):
        worker_count("NumpySlicesDataset", num_parallel_workers)
        if isinstance(data, dict):
            names, values = [str(name) for name in data], list(data.values())
            names = column_name_list("NumpySlicesDataset", column_names, names)
        else:
            values = list(data) if isinstance(data, tuple) else [data]
            default = [f"column_{k}" for k in range(len(values))]
            names = column_name_list("NumpySlicesDataset", column_names, default)
        columns = {name: to_column_value(value, name) for name, value in zip(names, values)}
        _check_lengths(columns)
        selection = select(
            "NumpySlicesDataset", len(next(iter(columns.values()))), num_samples=num_samples, shuffle=shuffle,
            sampler=sampler, num_shards=num_shards, shard_id=shard_id,
        )  # fmt: skip
        super().__init__({name: np.ascontiguousarray(array) for name, array in columns.items()}, selection)


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


def column_name_list(dataset: str, given: str | Sequence[str] | None, default: list[str] | None) -> list[str]:
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
