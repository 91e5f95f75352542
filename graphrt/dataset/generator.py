"""GeneratorDataset: samples from Python code.

In: a function that returns an iterator, an iterable, or a random-access object. Out: the beginning of a pipeline.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..errors import ArgumentError, DataError, DataWarning
from ..frontend.location import user_source
from .parallel import add_note, worker_count
from .pipeline import Dataset
from .random_access import RandomAccessDataset
from .rows import Row, to_row
from .selection import sample_count, select
from .sources import column_name_list


class GeneratorDataset(Dataset):
    """Samples from Python code.

    `source`: a function that returns an iterator (called at every pass), an iterable, or a random-access object with
    `__getitem__` and `__len__`. A sample is a tuple of columns, a dict by column name, or the value itself if there is
    one column; arrays, numbers, Tensors and torch tensors are understood. `column_types`: element types the columns are
    converted to. `num_samples`: at most so many samples per pass. `timeout`: seconds to wait in training for a batch
    before a DataError (None: any time, with a DataWarning).

    Random-access sources only: `shuffle` (None means True), `sampler`, `num_shards` and `shard_id` as for
    NumpySlicesDataset, `num_parallel_workers` readers, which are processes with `python_multiprocessing`, else threads.

    Exceptions of the source reach the caller unchanged, with a note saying which sample was being read.
    `column_names`: one per column of a sample; not needed for dicts. `schema`, `batch_sampler` and
    `collate_fn` must be None; `max_rowsize` is accepted and has no meaning here.
    """

    def __init__(
        self,
        source: Any,
        column_names: str | Sequence[str] | None = None,
        column_types: Sequence[object] | None = None,
        schema: object = None,
        num_samples: int | None = None,
        num_parallel_workers: int | None = None,
        shuffle: bool | None = None,
        sampler: Any = None,
        num_shards: int | None = None,
        shard_id: int | None = None,
        python_multiprocessing: bool = True,
        max_rowsize: object = None,
        batch_sampler: object = None,
        collate_fn: object = None,
        timeout: float | None = None,
    ):
        names = _checked_names(
            column_names, schema=schema, batch_sampler=batch_sampler, collate_fn=collate_fn
        )
        super().__init__(None, names)
        workers = worker_count("GeneratorDataset", num_parallel_workers)
        self.timeout = _checked_timeout(timeout)
        self._source, self._limit = source, sample_count("GeneratorDataset", num_samples)
        self._types = types = _checked_types(column_types, names)
        self._numbered: RandomAccessDataset | None = None
        if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
            selection = select(
                "GeneratorDataset", len(source), num_samples=num_samples, shuffle=shuffle, sampler=sampler,
                num_shards=num_shards, shard_id=shard_id,
            )  # fmt: skip
            self._numbered = RandomAccessDataset(
                names, lambda number: _as_row(source[number], names, types), len(source), selection,
                workers, bool(python_multiprocessing), self._label(),
            )  # fmt: skip
            return
        if not callable(source) and not hasattr(source, "__iter__"):
            raise ArgumentError(
                "GeneratorDataset: the source gives no samples", at=user_source(),
                expected="a generator function, an iterable, or an object with __getitem__ and __len__",
                given=type(source).__name__,
            )  # fmt: skip
        numbered = {
            "shuffle": shuffle or None,
            "sampler": sampler,
            "num_shards": num_shards,
            "shard_id": shard_id,
        }
        for argument, value in numbered.items():
            if value is not None:
                raise ArgumentError(
                    "GeneratorDataset: only random-access sources can be shuffled, sampled or sharded",
                    at=user_source(), expected="a source with __getitem__ and __len__",
                    given=f"{argument}={value!r} for {type(source).__name__}",
                    fix="call .shuffle(buffer_size) on the dataset, or give the source __getitem__ and __len__",
                )  # fmt: skip

    def _label(self) -> str:
        return f"GeneratorDataset({_source_name(self._source)})"

    def _rows(self, epoch: int) -> Iterator[Row]:
        if self._numbered is not None:
            yield from self._numbered._rows(epoch)
            return
        for number, value in enumerate(self._samples()):
            yield self._noted_row(value, number)

    def _noted_row(self, value: Any, number: int) -> Row:
        try:
            return _as_row(value, self._columns, self._types)
        except Exception as error:
            add_note(error, f"sample {number} of a pass of {self._label()}")
            raise

    @property
    def _varies(self) -> bool:
        return self._numbered is not None and self._numbered._varies

    def _subset(self, positions: np.ndarray) -> Dataset | None:
        return None if self._numbered is None else self._numbered._subset(positions)

    def close(self) -> None:
        if self._numbered is not None:
            self._numbered.close()

    def _samples(self) -> Iterator[Any]:
        """The source's samples; its exceptions get a note about where they happened."""
        number, promised = 0, length_of(self._source)
        try:
            for value in self._source() if callable(self._source) else self._source:
                if self._limit is not None and number >= self._limit:
                    return
                if promised is not None and number >= promised:
                    warn_length(self._label(), promised, f"more than {promised}; the rest is not used")
                    return
                yield value
                number += 1
        except Exception as error:
            if not getattr(error, "__notes__", None):
                add_note(
                    error, f"raised by the source of {self._label()} while it read sample {number} of a pass"
                )
            raise
        if number == 0 and not callable(self._source) and iter(self._source) is self._source:
            raise used_up("GeneratorDataset", self._source)
        if promised is not None and number < promised and (self._limit is None or number < self._limit):
            warn_length(self._label(), promised, f"only {number} in this pass")

    def _size(self, count: bool = False) -> int | None:
        if self._numbered is not None:
            return self._numbered._size()
        size = length_of(self._source)
        if size is None:
            return self._count_rows() if count else None
        return size if self._limit is None else min(size, self._limit)


def length_of(source: Any) -> int | None:
    """What `len(source)` says; None where it says nothing."""
    try:
        return len(source)
    except (TypeError, NotImplementedError):
        return None


def used_up(
    dataset: str, source: Any, fix: str = "pass the generator function itself, not what it returns"
) -> DataError:
    """The error for an iterator that is passed over a second time."""
    return DataError(
        f"{dataset}: the source is used up", at=user_source(),
        expected="a source that can be passed over again", given=f"an exhausted {type(source).__name__}",
        fix=fix,
    )  # fmt: skip


def warn_length(label: str, promised: int, given: str) -> None:
    """Warn that a source gave another number of items than its length says."""
    problem = DataError(
        f"{label}: the source does not give as many items as its __len__ says",
        expected=f"{promised} per pass", given=given, fix="correct the __len__ of the source",
    )  # fmt: skip
    warnings.warn(str(problem), DataWarning, stacklevel=2)


def _as_row(value: Any, names: Sequence[str], types: list[np.dtype] | None) -> Row:
    row = to_row(value, names, "GeneratorDataset: the source")
    return row if types is None else tuple(array.astype(t, copy=False) for array, t in zip(row, types))


def _source_name(source: Any) -> str:
    return getattr(source, "__name__", None) or type(source).__name__


def _checked_names(column_names: Any, **unsupported: object) -> list[str]:
    for argument, value in unsupported.items():
        if value is not None:
            raise ArgumentError(
                f"GeneratorDataset: {argument} is not supported", at=user_source(),
                expected=f"{argument}=None", given=repr(value),
                fix="name the columns with column_names" if argument == "schema" else "call .batch(...) on the dataset",
            )  # fmt: skip
    if column_names is None:
        raise ArgumentError(
            "GeneratorDataset: column_names is needed",
            at=user_source(),
            expected="one name per column of a sample",
        )
    return column_name_list("GeneratorDataset", column_names, None)


def _checked_types(column_types: Sequence[object] | None, names: Sequence[str]) -> list[np.dtype] | None:
    if column_types is None:
        return None
    if len(column_types) != len(names):
        raise ArgumentError(
            "GeneratorDataset: column_types needs one type per column", at=user_source(),
            expected=f"{len(names)} types", given=f"{len(column_types)}",
        )  # fmt: skip
    return [as_dtype(element_type).numpy for element_type in column_types]


def _checked_timeout(value: Any) -> float | None:
    good = value is None or (isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0)
    if not good:
        raise ArgumentError(
            "GeneratorDataset: timeout must be a positive number of seconds or None", at=user_source(),
            given=repr(value),
        )  # fmt: skip
    return None if value is None else float(value)
