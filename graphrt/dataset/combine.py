"""Stages that choose rows or join datasets: `filter`, `zip`, `concat`, `flat_map`, `split`.

In: one or more datasets. Out: a dataset; with a table where the datasets have one that stays the same every pass.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_source
from ..runtime.shuffle import permutation
from .operations import MapStep, column_list, name_of, user_place
from .parallel import add_note
from .pipeline import Dataset
from .rows import Row
from .seed import dataset_seed
from .sources import TableDataset
from .stages import Stage, WindowDataset
from .table import Table

_CHUNK = 1024  # samples transformed at once while a predicate is asked


# --------------------------------------------------------------------------------------------------------- filter


def filtered(parent: Dataset, predicate: Callable[..., Any], input_columns: Any) -> Dataset:
    """`Dataset.filter`."""
    if not callable(predicate):
        raise ArgumentError(
            "filter: the predicate must be a function", at=user_source(), given=repr(predicate)
        )
    names = column_list("filter: input_columns", input_columns, tuple(parent._columns))
    unknown = [name for name in names if name not in parent._columns]
    if unknown:
        raise ArgumentError(
            "filter: there is no such column", at=user_source(),
            expected=", ".join(parent._columns), given=repr(unknown[0]),
        )  # fmt: skip
    return FilterDataset(parent, predicate, names)


class FilterDataset(Stage):
    """`filter`."""

    def __init__(self, parent: Dataset, predicate: Callable[..., Any], names: tuple[str, ...]):
        super().__init__(parent, parent._columns)
        self._predicate, self._places = predicate, [parent._columns.index(name) for name in names]
        self._at = user_place()
        self._chosen: np.ndarray | None = None

    def _keeps(self, row: Row, number: int) -> bool:
        try:
            return bool(self._predicate(*(row[place] for place in self._places)))
        except Exception as error:
            add_note(error, f"raised by {self._label()} at {self._at}, for row {number} of a pass")
            raise

    def _rows(self, epoch: int) -> Iterator[Row]:
        table = self._table()
        if table is not None:
            yield from table.rows(epoch)
            return
        for number, row in enumerate(self._parent._rows(epoch)):
            if self._keeps(row, number):
                yield row

    def _table(self) -> Table | None:
        table = self._parent._table()
        if table is None or not table.is_symbolic or table.is_random or table.draw is not None:
            return None
        if self._chosen is None:
            self._chosen = np.array(
                [k for k, row in enumerate(_in_order(table)) if self._keeps(row, k)], np.int64
            )
        return table.select(self._chosen)

    def _size(self, count: bool = False) -> int | None:
        table = self._table()
        if table is not None:
            return table.size
        return self._count_rows() if count else None

    def _label(self) -> str:
        return f"filter({name_of(self._predicate)})"


def _in_order(table: Table) -> Iterator[Row]:
    for start in range(0, table.size, _CHUNK):
        numbers = np.arange(start, min(start + _CHUNK, table.size))
        yield from builtins.zip(*table.read(numbers, 0, start))


# ------------------------------------------------------------------------------------------------- zip and concat


def _checked(method: str, datasets: Any) -> tuple[Dataset, ...]:
    items = tuple(datasets) if isinstance(datasets, (tuple, list)) else (datasets,)
    wrong = [item for item in items if not isinstance(item, Dataset)]
    if wrong or len(items) < 2:
        raise ArgumentError(
            f"{method}: datasets are needed", at=user_source(), expected="a tuple of at least two datasets",
            given=type(wrong[0]).__name__ if wrong else f"{len(items)}",
        )  # fmt: skip
    return items


def zip(datasets: Sequence[Dataset]) -> Dataset:
    """Rows that have the columns of all `datasets` side by side; a pass ends with the shortest.

    ArgumentError where two of them have a column of one name.
    """
    items = _checked("zip", datasets)
    names = [name for item in items for name in item._columns]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ArgumentError(
            "zip: two datasets have a column of one name", at=user_source(), given=repr(twice[0]),
            fix=f"rename it in one of them: dataset.rename({twice[0]!r}, ...)",
        )  # fmt: skip
    return ZipDataset(items, names)


class _JoinedDataset(Dataset):
    def __init__(self, parents: tuple[Dataset, ...], columns: Sequence[str]):
        super().__init__(parents[0], columns)
        self._parents = parents


class ZipDataset(_JoinedDataset):
    """`zip`."""

    def _rows(self, epoch: int) -> Iterator[Row]:
        for rows in builtins.zip(*(parent._rows(epoch) for parent in self._parents)):
            yield tuple(array for row in rows for array in row)

    def _table(self) -> Table | None:
        tables = [parent._table() for parent in self._parents]
        if any(t is None or t.varies for t in tables):
            return None
        whole: list[Table] = [t for t in tables if t is not None]
        names = [name for t in whole for name in t.columns]
        # steps work on columns by name; only `map` leaves the columns of the other datasets alone
        if any(not isinstance(s, MapStep) for t in whole for s in t.steps) or len(set(names)) != len(names):
            return None
        size = min(t.size for t in whole)
        columns = {name: array[:size] for t in whole for name, array in t.columns.items()}
        return Table(columns, tuple(step for t in whole for step in t.steps))

    def _size(self, count: bool = False) -> int | None:
        ending = [parent for parent in self._parents if not parent._is_endless]
        sizes = [parent._size(count) for parent in ending or self._parents]
        return None if None in sizes else min(size for size in sizes if size is not None)

    @property
    def _is_endless(self) -> bool:
        return all(parent._is_endless for parent in self._parents)

    def _label(self) -> str:
        return "zip"


def concatenated(datasets: Sequence[Dataset]) -> Dataset:
    """`Dataset.concat`."""
    items = _checked("concat", datasets)
    for item in items[1:]:
        if item._columns != items[0]._columns:
            raise ArgumentError(
                "concat: the datasets have different columns", at=user_source(),
                expected=", ".join(items[0]._columns), given=", ".join(item._columns),
                fix="bring them to the same names and order with rename() and project()",
            )  # fmt: skip
    return ConcatDataset(items, items[0]._columns)


def flat_mapped(dataset: Dataset, function: Callable[[Row], Dataset]) -> Dataset:
    """`Dataset.flat_map`."""
    if not callable(function):
        raise ArgumentError("flat_map: a function is needed", at=user_source(), given=repr(function))
    if dataset._is_endless:
        raise ArgumentError("flat_map: the dataset never ends", at=user_source(), given=dataset.describe())
    parts = [function(row) for row in dataset._rows(0)]
    wrong = [part for part in parts if not isinstance(part, Dataset)]
    if wrong or not parts:
        raise ArgumentError(
            "flat_map: the function must return a dataset for every row", at=user_source(),
            expected="at least one dataset", given=type(wrong[0]).__name__ if wrong else "no rows",
        )  # fmt: skip
    return concatenated(parts) if len(parts) > 1 else parts[0]


class ConcatDataset(_JoinedDataset):
    """`concat`."""

    def __init__(self, parents: tuple[Dataset, ...], columns: Sequence[str]):
        super().__init__(parents, columns)
        self._joined: Table | None = None
        self._tried = False

    def _rows(self, epoch: int) -> Iterator[Row]:
        for parent in self._parents:
            yield from parent._rows(epoch)

    def _table(self) -> Table | None:
        if not self._tried:
            self._joined, self._tried = self._join(), True
        return self._joined

    def _join(self) -> Table | None:
        """One table where all parts are arrays of the same types in a fixed order."""
        tables = [parent._table() for parent in self._parents]
        if any(t is None or t.varies or t.steps for t in tables):
            return None
        parts = [t.columns for t in tables if t is not None]
        kinds = {tuple((name, a.dtype, a.shape[1:]) for name, a in part.items()) for part in parts}
        if len(kinds) > 1:
            return None
        return Table({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})

    def _size(self, count: bool = False) -> int | None:
        sizes = [parent._size(count) for parent in self._parents]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def _label(self) -> str:
        return "concat"


# ---------------------------------------------------------------------------------------------------------- split


class PartDataset(TableDataset):
    """A part of the samples of a dataset that `label` describes."""

    def __init__(self, table: Table, columns: Sequence[str], label: str):
        super().__init__(table, columns)
        self._name = label

    def _label(self) -> str:
        return self._name


def split(dataset: Dataset, sizes: Any, randomize: bool) -> tuple[Dataset, ...]:
    """`Dataset.split`."""
    table = dataset._table()
    if table is not None and table.draw is not None:
        raise _overlapping(dataset)
    size = table.size if table is not None else dataset.get_dataset_size()
    counts = _counts(sizes, size)
    bounds = np.cumsum([0, *counts])
    windows = list(builtins.zip(bounds[:-1].tolist(), bounds[1:].tolist()))
    # pass -1 of the shuffle: no training pass has this order
    order = permutation(size, dataset_seed(), 0xFFFFFFFF) if randomize else np.arange(size)
    if table is not None:
        label = f"{dataset.describe()} -> split"
        return tuple(
            PartDataset(table.select(np.sort(order[a:b])), dataset._columns, label) for a, b in windows
        )
    parts = [dataset._subset(np.sort(order[a:b])) for a, b in windows]
    chosen = tuple(part for part in parts if part is not None)
    if len(chosen) == len(parts):
        return chosen
    if randomize:
        raise ArgumentError(
            "split: a stream has no random access, so its rows cannot be dealt out at random", at=user_source(),
            expected="randomize=False", given="randomize=True",
            fix="split in order with randomize=False, or use a source with __getitem__ and __len__",
        )  # fmt: skip
    if dataset._varies:
        raise _overlapping(dataset)
    return tuple(WindowDataset(dataset, a, b) for a, b in windows)


def _overlapping(dataset: Dataset) -> ArgumentError:
    return ArgumentError(
        "split: each pass has other rows, or another order, so samples would move from one part to another",
        at=user_source(), given=dataset.describe(),
        fix="call split() before shuffle() and take(), and give the source shuffle=False or no sampler",
    )  # fmt: skip


def _counts(sizes: Any, size: int) -> list[int]:
    """Rows of every part; ArgumentError for sizes that do not fit."""
    items = list(sizes) if isinstance(sizes, (tuple, list)) else []
    whole = all(isinstance(item, (int, np.integer)) and not isinstance(item, bool) for item in items)
    shares = all(isinstance(item, float) and 0.0 < item <= 1.0 for item in items)
    counts = [int(item) for item in items] if whole else []
    if items and shares and abs(sum(items) - 1.0) < 1e-9:
        counts = [round(item * size) for item in items]
        counts[0] += size - sum(counts)
    if not counts or min(counts) < 1 or sum(counts) != size:
        raise ArgumentError(
            "split: the sizes do not fit the dataset", at=user_source(),
            expected=f"numbers of rows that add up to {size}, or shares that add up to 1.0, each of at least one row",
            given=repr(sizes),
        )  # fmt: skip
    return counts
