"""The pipeline: a chain of datasets, each reading the one before. `map`, `shuffle`, `batch`, `repeat`, `take`, `skip`.

In: a source (sources.py, mnist.py). Out: passes over rows (samples, or batches after `batch`), as Tensors to users and
as NumPy rows to training. A pipeline whose source is random access also has a `Table` up to its `batch`; rows then
come out in the order the native loop visits them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from ..context import seed_generation
from ..errors import ArgumentError
from ..frontend.location import user_source
from .iterator import DatasetIterator
from .operations import SelectStep, Step, make_step
from .rows import Row, stack
from .seed import dataset_seed
from .table import Table

if TYPE_CHECKING:
    from ..frontend.tensor import Tensor


class Dataset:
    """Rows of named columns, to be passed over any number of times.

    Arguments named num_parallel_workers, python_multiprocessing, cache, max_rowsize, offload and callbacks are accepted
    for compatibility and have no effect: what can run natively runs inside the training step.
    """

    def __init__(self, parent: Dataset | None, column_names: Sequence[str]):
        self._parent = parent
        self._columns = tuple(column_names)
        self._passes = (-1, 0)  # (seed generation, passes begun since)

    # --------------------------------------------------------------------------------------- what subclasses define

    def _rows(self, epoch: int) -> Iterator[Row]:
        """The rows of pass number `epoch`."""
        raise NotImplementedError

    def _table(self) -> Table | None:
        """The samples as a random-access table, if they are that."""
        return None

    def _known_size(self) -> int | None:
        """Number of rows per pass if it is known without a pass."""
        raise NotImplementedError

    # ------------------------------------------------------------------------------------------------- reading

    def _next_epoch(self) -> int:
        """The number of the pass that begins now; `set_seed` starts the count anew."""
        generation = seed_generation()
        epoch = self._passes[1] if self._passes[0] == generation else 0
        self._passes = (generation, epoch + 1)
        return epoch

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return iter(self.create_tuple_iterator())

    def __len__(self) -> int:
        """Rows per pass. TypeError where only a pass could tell: `list(dataset)` must not read the source twice."""
        size = self._known_size()
        if size is None:
            raise TypeError(
                "the source does not know its length; get_dataset_size() counts with one pass over it"
            )
        return self.get_dataset_size()

    def create_tuple_iterator(
        self,
        columns: Sequence[str] | None = None,
        num_epochs: int = -1,
        output_numpy: bool = False,
        do_copy: bool = False,
    ) -> DatasetIterator:
        """Passes over the rows as tuples of Tensors (arrays with `output_numpy`), of the given columns.

        Each `for` over the iterator is one pass; `num_epochs` bounds how many it gives (-1: any number).
        """
        return DatasetIterator(self, columns, num_epochs, output_numpy, as_dict=False)

    def create_dict_iterator(
        self, num_epochs: int = -1, output_numpy: bool = False, do_copy: bool = False
    ) -> DatasetIterator:
        """Passes over the rows as dicts column name -> Tensor (array with `output_numpy`)."""
        return DatasetIterator(self, None, num_epochs, output_numpy, as_dict=True)

    def get_col_names(self) -> list[str]:
        """The column names in order."""
        return list(self._columns)

    def get_dataset_size(self) -> int:
        """Rows per pass (batches after `batch`). A source of unknown length is passed over once to count."""
        size = self._known_size()
        if size is None:
            if not hasattr(self, "_counted"):
                self._counted = sum(1 for _ in self._rows(0))
            size = self._counted
        return size

    def get_batch_size(self) -> int:
        """Samples per row: the batch size, 1 before `batch`."""
        return 1 if self._parent is None else self._parent.get_batch_size()

    def get_repeat_count(self) -> int:
        """How often a pass goes over the source."""
        return 1 if self._parent is None else self._parent.get_repeat_count()

    def output_shapes(self) -> list[list[int]]:
        """The shape of every column in the first row."""
        return [list(array.shape) for array in next(self._rows(0))]

    def output_types(self) -> list[np.dtype]:
        """The NumPy element type of every column in the first row."""
        return [array.dtype for array in next(self._rows(0))]

    # ------------------------------------------------------------------------------------------------- the chain

    def map(
        self,
        operations: Callable[..., Any] | Sequence[Callable[..., Any]],
        input_columns: str | Sequence[str] | None = None,
        output_columns: str | Sequence[str] | None = None,
        column_order: Sequence[str] | None = None,
        num_parallel_workers: int | None = None,
        python_multiprocessing: bool = False,
        cache: object = None,
        callbacks: object = None,
        max_rowsize: object = None,
        offload: object = None,
    ) -> Dataset:
        """Apply `operations` in order to the columns `input_columns` (None: all of them) of every row.

        Transforms of `dataset.vision` and `dataset.transforms` become part of the native training step. Functions of
        the user run in Python, once per sample and pass; they take the input columns as arrays and return the output
        columns (several as a tuple). `output_columns` (default: the same names) replace the input columns;
        `column_order` selects and orders the columns of the result.
        """
        mapped: Dataset = MapDataset(self, operations, input_columns, output_columns)
        return mapped if column_order is None else mapped.project(column_order)

    def project(self, columns: str | Sequence[str]) -> Dataset:
        """Only these columns, in this order."""
        return ProjectDataset(self, columns)

    def shuffle(self, buffer_size: int) -> Dataset:
        """Visit the rows in a random order, another one each pass, repeatable with `graphrt.set_seed`.

        Sources in memory are shuffled completely whatever `buffer_size` is; streams draw each row from a buffer of
        `buffer_size` rows.
        """
        return ShuffleDataset(self, _count("shuffle", "buffer_size", buffer_size, smallest=1))

    def batch(
        self, batch_size: int, drop_remainder: bool = False, num_parallel_workers: int | None = None
    ) -> Dataset:
        """Stack `batch_size` rows along a new first axis. The last batch of a pass holds what is left, or is
        dropped with `drop_remainder` if it is short."""
        return BatchDataset(self, _count("batch", "batch_size", batch_size, smallest=1), bool(drop_remainder))

    def repeat(self, count: int | None = None) -> Dataset:
        """Every pass goes over the rows `count` times (None or -1: without end)."""
        if count is None or count == -1:
            return RepeatDataset(self, -1)
        return RepeatDataset(self, _count("repeat", "count", count, smallest=1))

    def take(self, count: int = -1) -> Dataset:
        """Only the first `count` rows of every pass (-1: all)."""
        return self if count == -1 else WindowDataset(self, 0, _count("take", "count", count, smallest=1))

    def skip(self, count: int) -> Dataset:
        """Every pass without its first `count` rows."""
        return WindowDataset(self, _count("skip", "count", count, smallest=0), None)


def _count(method: str, argument: str, value: object, smallest: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < smallest:
        raise ArgumentError(
            f"{method}: {argument} must be an int >= {smallest}", at=user_source(),
            expected=f"{argument} >= {smallest}", given=repr(value),
        )  # fmt: skip
    return value.__index__()


class _Stage(Dataset):
    """A dataset that reads another one."""

    _parent: Dataset

    def _known_size(self) -> int | None:
        return self._parent._known_size()


class _StepDataset(_Stage):
    """One step applied to every row."""

    def __init__(self, parent: Dataset, column_names: Sequence[str], step: Step):
        super().__init__(parent, column_names)
        self._step = step

    def _rows(self, epoch: int) -> Iterator[Row]:
        names = self._parent._columns
        for row in self._parent._rows(epoch):
            yield tuple(self._step.apply(dict(zip(names, row))).values())

    def _table(self) -> Table | None:
        table = self._parent._table()
        return None if table is None else table.with_step(self._step)


class MapDataset(_StepDataset):
    """`map`."""

    def __init__(self, parent: Dataset, operations: Any, input_columns: Any, output_columns: Any):
        step = make_step(operations, input_columns, output_columns, parent._columns)
        super().__init__(parent, step.column_names(parent._columns), step)


class ProjectDataset(_StepDataset):
    """`project`."""

    def __init__(self, parent: Dataset, columns: str | Sequence[str]):
        names = (columns,) if isinstance(columns, str) else tuple(columns)
        unknown = [name for name in names if name not in parent._columns]
        if unknown or not names or len(set(names)) != len(names):
            raise ArgumentError(
                "project: unusable column names", at=user_source(),
                expected=f"different names out of {', '.join(parent._columns)}", given=repr(columns),
            )  # fmt: skip
        super().__init__(parent, names, SelectStep(names))


class ShuffleDataset(_Stage):
    """`shuffle`."""

    def __init__(self, parent: Dataset, buffer_size: int):
        super().__init__(parent, parent._columns)
        self._buffer_size = buffer_size

    def _rows(self, epoch: int) -> Iterator[Row]:
        table = self._table()
        if table is not None:
            yield from table.rows(epoch)
            return
        draw = np.random.default_rng([dataset_seed(), epoch])
        buffer: list[Row] = []
        for row in self._parent._rows(epoch):
            if len(buffer) < self._buffer_size:
                buffer.append(row)
                continue
            place = int(draw.integers(len(buffer)))
            yield buffer[place]
            buffer[place] = row
        for place in draw.permutation(len(buffer)):
            yield buffer[place]

    def _table(self) -> Table | None:
        table = self._parent._table()
        return None if table is None else table.shuffled()


class BatchDataset(_Stage):
    """`batch`."""

    def __init__(self, parent: Dataset, batch_size: int, drop_remainder: bool):
        super().__init__(parent, parent._columns)
        self.batch_size, self.drop_remainder = batch_size, drop_remainder

    def _rows(self, epoch: int) -> Iterator[Row]:
        table = self._parent._table()
        if table is not None:
            yield from table.batches(epoch, self.batch_size, self.drop_remainder)
            return
        rows = self._parent._rows(epoch)
        while chunk := list(islice(rows, self.batch_size)):
            if len(chunk) < self.batch_size and self.drop_remainder:
                return
            yield stack(chunk, self._columns)

    def _known_size(self) -> int | None:
        rows = self._parent._known_size()
        if rows is None:
            return None
        return rows // self.batch_size if self.drop_remainder else -(-rows // self.batch_size)

    def get_batch_size(self) -> int:
        return self.batch_size


class RepeatDataset(_Stage):
    """`repeat`."""

    def __init__(self, parent: Dataset, count: int):
        super().__init__(parent, parent._columns)
        self.count = count

    def _rows(self, epoch: int) -> Iterator[Row]:
        if self.count > 0:
            for k in range(self.count):
                yield from self._parent._rows(epoch * self.count + k)
            return
        any_rows = True
        while any_rows:  # an empty parent ends the endless pass
            any_rows = False
            for row in self._parent._rows(epoch):
                any_rows = True
                yield row
            epoch += 1

    def _known_size(self) -> int | None:
        size = self._parent._known_size()
        return size if size is None or self.count == -1 else size * self.count

    def get_dataset_size(self) -> int:
        """Rows per pass; an endless pass counts as one pass over what it repeats."""
        return self._parent.get_dataset_size() * max(self.count, 1)

    def get_repeat_count(self) -> int:
        return self.count if self.count == -1 else self._parent.get_repeat_count() * self.count


class WindowDataset(_Stage):
    """`take` and `skip`: the rows start..stop of every pass."""

    def __init__(self, parent: Dataset, start: int, stop: int | None):
        super().__init__(parent, parent._columns)
        self._start, self._stop = start, stop

    def _rows(self, epoch: int) -> Iterator[Row]:
        yield from islice(self._parent._rows(epoch), self._start, self._stop)

    def _table(self) -> Table | None:
        table = self._parent._table()
        return (
            None
            if table is None
            else table.cut(self._start, table.size if self._stop is None else self._stop)
        )

    def _known_size(self) -> int | None:
        size = self._parent._known_size()
        if size is None:
            return None
        return max(0, (size if self._stop is None else min(size, self._stop)) - self._start)
