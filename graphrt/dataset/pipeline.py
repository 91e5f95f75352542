"""`Dataset`: what all sources and stages of a pipeline have in common, and the methods that add stages.

In: a source (sources.py, generator.py, mnist.py, ...). Out: passes over rows (samples, or batches after `batch`), as
Tensors to users and as NumPy rows to training. A pipeline whose source is in memory also has a `Table` up to its
`batch`; rows then come out in the order the native loop visits them. The stages are in stages.py and combine.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..context import seed_generation
from ..errors import ArgumentError, DataError
from ..frontend.location import user_source
from .iterator import DatasetIterator
from .parallel import worker_count
from .rows import Row
from .table import Table

if TYPE_CHECKING:
    from ..frontend.tensor import Tensor


class Dataset:
    """Rows of named columns, to be passed over any number of times.

    What can run natively runs inside the training step; arguments that tune a pipeline of Python functions
    (num_parallel_workers, python_multiprocessing) only matter where there are such functions. `parent`: the
    stage before, None for a source; `column_names`: of the rows.
    """

    timeout: float | None = None  # seconds training waits for a batch before it gives up

    def __init__(self, parent: Dataset | None, column_names: Sequence[str]):
        self._parent = parent
        self._parents: tuple[Dataset, ...] = () if parent is None else (parent,)
        self._columns = tuple(column_names)
        self._passes = (-1, 0)  # (seed generation, passes begun since)
        self._counted: int | None = None
        self._types_seen: list[tuple[tuple[int, ...], np.dtype]] | None = None

    # --------------------------------------------------------------------------------------- what subclasses define

    def _rows(self, epoch: int) -> Iterator[Row]:
        """The rows of pass number `epoch`."""
        raise NotImplementedError

    def _table(self) -> Table | None:
        """The samples as a random-access table, if they are that."""
        return None

    def _size(self, count: bool = False) -> int | None:
        """Rows per pass. Where only a pass over the source can tell: None, or with `count` what such a pass counts.
        Endless passes count as one over what they repeat."""
        raise NotImplementedError

    @property
    def _is_endless(self) -> bool:
        """Whether a pass never ends."""
        return any(parent._is_endless for parent in self._parents)

    def _label(self) -> str:
        """This stage in `describe()`."""
        return type(self).__name__

    def _subset(self, positions: np.ndarray) -> Dataset | None:
        """The pipeline over only these of its source's samples; None where it cannot choose."""
        return None

    # ------------------------------------------------------------------------------------------------- reading

    def _next_epoch(self) -> int:
        """The number of the pass that begins now; `set_seed` starts the count anew."""
        epoch = self._upcoming_epoch()
        self._go_to_epoch(epoch + 1)
        return epoch

    def describe(self) -> str:
        """The stages from source to end: "GeneratorDataset(read) -> map(crop) -> batch(32)"."""
        before = ", ".join(parent.describe() for parent in self._parents)
        return f"{before} -> {self._label()}" if before else self._label()

    def _shortest_timeout(self) -> float | None:
        times = [self.timeout, *(parent._shortest_timeout() for parent in self._parents)]
        return min((time for time in times if time is not None), default=None)

    def _upcoming_epoch(self) -> int:
        """The number of the pass that will begin next."""
        return self._passes[1] if self._passes[0] == seed_generation() else 0

    def _go_to_epoch(self, epoch: int) -> None:
        """Let pass `epoch` begin next."""
        self._passes = (seed_generation(), epoch)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return iter(self.create_tuple_iterator())

    def __len__(self) -> int:
        """Rows per pass. TypeError where only a pass could tell: `list(dataset)` must not read the source twice."""
        size = self._size()
        if size is None:
            raise TypeError(
                "the source does not know its length; get_dataset_size() counts with one pass over it"
            )
        return size

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
        """Rows per pass (batches after `batch`). A source of unknown length is passed over once to count.

        An endless `repeat()` counts as one pass. DataError for a pipeline that cannot be counted: a `filter` of an
        endless one, or an iterator given to training, which counting would use up.
        """
        size = self._size(count=True)
        assert size is not None
        return size

    @property
    def _varies(self) -> bool:
        """Whether the n-th row of a pass is made of other samples each pass."""
        return any(parent._varies for parent in self._parents)

    def _count_rows(self) -> int:
        """The rows of one pass, counted once."""
        if self._counted is None:
            if self._is_endless:
                raise DataError(
                    "the size of an endless dataset cannot be counted", at=user_source(), given=self.describe(),
                    fix="put repeat() after the stage that chooses rows, or take() after it",
                )  # fmt: skip
            self._counted = sum(1 for _ in self._rows(0))
        return self._counted

    def get_batch_size(self) -> int:
        """Samples per row: the batch size, 1 before `batch`."""
        return 1 if self._parent is None else self._parent.get_batch_size()

    def get_repeat_count(self) -> int:
        """How often a pass goes over the source."""
        return 1 if self._parent is None else self._parent.get_repeat_count()

    def output_shapes(self) -> list[list[int]]:
        """The shape of every column in the first row. DataError for a pipeline without rows."""
        return [list(shape) for shape, _ in self._row_types()]

    def output_types(self) -> list[np.dtype]:
        """The NumPy element type of every column in the first row. DataError for a pipeline without rows."""
        return [dtype for _, dtype in self._row_types()]

    def _row_types(self) -> list[tuple[tuple[int, ...], np.dtype]]:
        if self._types_seen is None:
            rows = self._rows(0)
            row = next(rows, None)
            rows.close()  # type: ignore[attr-defined]
            if row is None:
                raise DataError("the dataset is empty", at=user_source(), expected="at least one row")
            self._types_seen = [(array.shape, array.dtype) for array in row]
        return self._types_seen

    @property
    def dataset_size(self) -> int:
        """`get_dataset_size()`."""
        return self.get_dataset_size()

    def reset(self) -> None:
        """Begin the count of passes anew: the next one draws what the first one drew."""
        self._go_to_epoch(0)

    def close(self) -> None:
        """Let worker threads and processes go; the next pass starts new ones."""
        for parent in self._parents:
            parent.close()

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

        `num_parallel_workers` > 1: that many threads run the functions, or processes with `python_multiprocessing`
        (for functions that keep Python busy; they are forked and see the variables as they are at the first use). Rows
        stay in order. `max_rowsize` and `offload` have no effect; ArgumentError for `cache` and `callbacks`.
        """
        from .stages import MapDataset

        _unsupported("map", cache=cache, callbacks=callbacks)
        workers = worker_count("map", num_parallel_workers)
        mapped: Dataset = MapDataset(
            self, operations, input_columns, output_columns, workers, bool(python_multiprocessing)
        )
        return mapped if column_order is None else mapped.project(column_order)

    def filter(
        self,
        predicate: Callable[..., Any],
        input_columns: str | Sequence[str] | None = None,
        num_parallel_workers: int | None = None,
    ) -> Dataset:
        """Only the rows for which `predicate(*columns)` is true. It must depend on nothing but the row: on data in
        memory it is asked once per sample, not once per pass. `num_parallel_workers` has no effect."""
        from .combine import filtered

        worker_count("filter", num_parallel_workers)
        return filtered(self, predicate, input_columns)

    def project(self, columns: str | Sequence[str]) -> Dataset:
        """Only these columns, in this order."""
        from .stages import ProjectDataset

        return ProjectDataset(self, columns)

    def rename(self, input_columns: str | Sequence[str], output_columns: str | Sequence[str]) -> Dataset:
        """The columns `input_columns` under the names `output_columns`."""
        from .stages import RenameDataset

        return RenameDataset(self, input_columns, output_columns)

    def shuffle(self, buffer_size: int) -> Dataset:
        """Visit the rows in a random order, another one each pass, repeatable with `graphrt.set_seed`.

        Sources in memory are shuffled completely whatever `buffer_size` is; streams draw each row from a buffer of
        `buffer_size` rows.
        """
        from .stages import ShuffleDataset

        return ShuffleDataset(self, _count("shuffle", "buffer_size", buffer_size, smallest=1))

    def batch(
        self,
        batch_size: int,
        drop_remainder: bool = False,
        num_parallel_workers: int | None = None,
        per_batch_map: Callable[..., Any] | None = None,
        input_columns: str | Sequence[str] | None = None,
        output_columns: str | Sequence[str] | None = None,
        python_multiprocessing: bool = False,
        max_rowsize: object = None,
    ) -> Dataset:
        """Stack `batch_size` rows along a new first axis. The last batch of a pass holds what is left, or is
        dropped with `drop_remainder` if it is short.

        `per_batch_map(list, ..., info)` is called before stacking with a list of arrays per column of `input_columns`
        (None: all) and a `BatchInfo`; it returns as many arrays or lists of arrays as there are `output_columns`. It
        runs in `num_parallel_workers` threads, or processes with `python_multiprocessing`.
        """
        from .stages import BatchDataset

        size = _count("batch", "batch_size", batch_size, smallest=1)
        workers = worker_count("batch", num_parallel_workers)
        if per_batch_map is None:
            _unsupported(
                "batch without per_batch_map", input_columns=input_columns, output_columns=output_columns
            )
        return BatchDataset(
            self, size, bool(drop_remainder), per_batch_map, input_columns, output_columns,
            workers, bool(python_multiprocessing),
        )  # fmt: skip

    def padded_batch(
        self,
        batch_size: int,
        drop_remainder: bool = False,
        num_parallel_workers: int | None = None,
        pad_info: Mapping[str, Any] | None = None,
    ) -> Dataset:
        """`batch` for samples that differ in shape: they are filled up at the end of their axes.

        `pad_info`: column -> (shape, fill value); None for the shape, or for a length in it, stands for the longest
        sample of the batch, a sample that is longer is cut. Without it all columns get zeros up to their longest sample.
        Training needs batches of one shape: give it there. Runs in Python, in `num_parallel_workers` threads.
        """
        from .padded import PadToOneShape, checked_padding

        pad = PadToOneShape(self._columns, checked_padding(pad_info, self._columns))
        return self.batch(batch_size, drop_remainder, num_parallel_workers, pad)

    def repeat(self, count: int | None = None) -> Dataset:
        """Every pass goes over the rows `count` times (None or -1: without end)."""
        from .stages import RepeatDataset

        if count is None or count == -1:
            return RepeatDataset(self, -1)
        return RepeatDataset(self, _count("repeat", "count", count, smallest=1))

    def take(self, count: int = -1) -> Dataset:
        """Only the first `count` rows of every pass (-1: all)."""
        from .stages import WindowDataset

        return self if count == -1 else WindowDataset(self, 0, _count("take", "count", count, smallest=1))

    def skip(self, count: int) -> Dataset:
        """Every pass without its first `count` rows."""
        from .stages import WindowDataset

        return WindowDataset(self, _count("skip", "count", count, smallest=0), None)

    def zip(self, datasets: Dataset | Sequence[Dataset]) -> Dataset:
        """Rows that have the columns of this dataset and of `datasets` side by side; a pass ends with the shortest.

        ArgumentError where two of them have a column of one name.
        """
        from .combine import zip as zip_datasets

        others = datasets if isinstance(datasets, (tuple, list)) else (datasets,)
        return zip_datasets((self, *others))

    def flat_map(self, func: Callable[[Row], Dataset]) -> Dataset:
        """The rows of all the datasets that `func(row)` returns, which must have the same columns. `row`: the tuple of a
        row's arrays. `func` is called for every row at once, not again each pass."""
        from .combine import flat_mapped

        return flat_mapped(self, func)

    def concat(self, datasets: Dataset | Sequence[Dataset]) -> Dataset:
        """The rows of this dataset, then those of `datasets`, which must have the same columns."""
        from .combine import concatenated

        others = datasets if isinstance(datasets, (tuple, list)) else (datasets,)
        return concatenated((self, *others))

    def __add__(self, other: Dataset) -> Dataset:
        """`concat`."""
        return self.concat(other) if isinstance(other, Dataset) else NotImplemented

    def split(self, sizes: Sequence[int] | Sequence[float], randomize: bool = True) -> tuple[Dataset, ...]:
        """Parts without common samples: `sizes` are numbers of rows, or shares that add up to 1 (rounded; the first
        part takes what rounding leaves).

        `randomize`: which sample goes to which part is drawn once, repeatable with `graphrt.set_seed`; streams can only
        be split in order, with `randomize=False`. Split a dataset before `batch`.
        """
        from .combine import split

        return split(self, sizes, bool(randomize))

    def apply(self, apply_func: Callable[[Dataset], Dataset]) -> Dataset:
        """`apply_func(self)`, which must be a dataset."""
        result = apply_func(self)
        if not isinstance(result, Dataset):
            raise ArgumentError(
                "apply: the function must return a dataset", at=user_source(), given=type(result).__name__
            )
        return result


def _unsupported(method: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if value is not None:
            raise ArgumentError(
                f"{method}: {name} is not supported", at=user_source(),
                expected=f"{name}=None", given=repr(value), fix="leave it out",
            )  # fmt: skip


def _count(method: str, argument: str, value: object, smallest: int) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < smallest:
        raise ArgumentError(
            f"{method}: {argument} must be an int >= {smallest}", at=user_source(),
            expected=f"{argument} >= {smallest}", given=repr(value),
        )  # fmt: skip
    return value.__index__()
