"""Stages with one dataset before them: `map`, `project`, `rename`, `shuffle`, `batch`, `repeat`, `take`, `skip`.

In: the dataset before. Out: its rows, changed; or its table with the change recorded, where it has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError
from ..frontend.location import user_source
from .operations import MapStep, RenameStep, SelectStep, Step, column_list, make_step, name_of, user_place
from .parallel import Workers, add_note
from .pipeline import Dataset
from .rows import Row, stack, to_column_value
from .seed import dataset_seed
from .table import Table


class Stage(Dataset):
    """A dataset that reads another one."""

    _parent: Dataset

    def _size(self, count: bool = False) -> int | None:
        return self._parent._size(count)


class _StepDataset(Stage):
    """One step applied to every row."""

    def __init__(self, parent: Dataset, step: Step):
        super().__init__(parent, step.column_names(parent._columns))
        self._step = step

    def _rows(self, epoch: int) -> Iterator[Row]:
        names = self._parent._columns
        rows = (dict(zip(names, row)) for row in self._parent._rows(epoch))
        return (tuple(row.values()) for row in self._step.apply_rows(rows, epoch))

    def _table(self) -> Table | None:
        table = self._parent._table()
        return None if table is None else table.with_step(self._step)

    def _subset(self, positions: np.ndarray) -> Dataset | None:
        parent = self._parent._subset(positions)
        return None if parent is None else _StepDataset(parent, self._step)

    def close(self) -> None:
        self._step.close()
        super().close()

    def _label(self) -> str:
        if isinstance(self._step, MapStep):
            return f"map({', '.join(map(name_of, self._step.operations))})"
        return "project" if isinstance(self._step, SelectStep) else "rename"


class MapDataset(_StepDataset):
    """`map`."""

    def __init__(
        self,
        parent: Dataset,
        operations: Any,
        input_columns: Any,
        output_columns: Any,
        workers: int,
        processes: bool,
    ):
        names = parent._columns
        super().__init__(
            parent, make_step(operations, input_columns, output_columns, names, workers, processes)
        )


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
        super().__init__(parent, SelectStep(names))


class RenameDataset(_StepDataset):
    """`rename`."""

    def __init__(self, parent: Dataset, input_columns: Any, output_columns: Any):
        old = column_list("rename: input_columns", input_columns, ())
        new = column_list("rename: output_columns", output_columns, ())
        step = RenameStep(tuple(zip(old, new)))
        after = step.column_names(parent._columns)
        known = all(name in parent._columns for name in old)
        if not old or len(old) != len(new) or not known or len(set(after)) != len(after):
            raise ArgumentError(
                "rename: unusable column names", at=user_source(),
                expected=f"as many new names as old ones, out of {', '.join(parent._columns)}, all different",
                given=f"{list(old)} to {list(new)}",
            )  # fmt: skip
        super().__init__(parent, step)


class ShuffleDataset(Stage):
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

    def _subset(self, positions: np.ndarray) -> Dataset | None:
        parent = self._parent._subset(positions)
        return None if parent is None else ShuffleDataset(parent, self._buffer_size)

    @property
    def _varies(self) -> bool:
        return True

    def _label(self) -> str:
        return f"shuffle({self._buffer_size})"


@dataclass(frozen=True)
class BatchInfo:
    """Where a `per_batch_map` is: the batch in its pass, and the pass, both from 0. `batch_number`,
    `epoch_number`: these two."""

    batch_number: int
    epoch_number: int

    def get_batch_num(self) -> int:
        """The batch in its pass, from 0."""
        return self.batch_number

    def get_epoch_num(self) -> int:
        """The pass, from 0."""
        return self.epoch_number


class BatchDataset(Stage):
    """`batch`."""

    def __init__(
        self,
        parent: Dataset,
        batch_size: int,
        drop_remainder: bool,
        per_batch_map: Callable[..., Any] | None = None,
        input_columns: Any = None,
        output_columns: Any = None,
        workers: int = 1,
        processes: bool = False,
    ):
        names: Sequence[str] = parent._columns
        self.batch_size, self.drop_remainder, self.per_batch_map = batch_size, drop_remainder, per_batch_map
        self._prepared: Any = None  # what plan.py made of the table before it
        self._workers: Workers | None = None
        if per_batch_map is not None:
            step = make_step(per_batch_map, input_columns, output_columns, names)
            names = step.column_names(names)
            self._map = _BatchMap(per_batch_map, step, tuple(parent._columns), batch_size, user_place())
            if workers > 1:
                label = f"per_batch_map {name_of(per_batch_map)}"
                self._workers = Workers(self._map, workers, processes, label)
        super().__init__(parent, names)

    def _rows(self, epoch: int) -> Iterator[Row]:
        if self.per_batch_map is not None:
            items = ((chunk, BatchInfo(k, epoch)) for k, chunk in enumerate(self._chunks(epoch)))
            if self._workers is not None:
                yield from self._workers.run(items, (epoch,))
            else:
                yield from (self._map(*item) for item in items)
            return
        table = self._parent._table()
        if table is not None:
            yield from table.batches(epoch, self.batch_size, self.drop_remainder)
            return
        for number, chunk in enumerate(self._chunks(epoch)):
            yield stack(chunk, self._columns, number * self.batch_size)

    def _chunks(self, epoch: int) -> Iterator[list[Row]]:
        rows = self._parent._rows(epoch)
        while chunk := list(islice(rows, self.batch_size)):
            if len(chunk) < self.batch_size and self.drop_remainder:
                return
            yield chunk

    def _size(self, count: bool = False) -> int | None:
        rows = self._parent._size(count)
        if rows is None:
            return None
        return rows // self.batch_size if self.drop_remainder else -(-rows // self.batch_size)

    def get_batch_size(self) -> int:
        return self.batch_size

    def close(self) -> None:
        if self._workers is not None:
            self._workers.close()
        super().close()

    def _label(self) -> str:
        return f"batch({self.batch_size})"


@dataclass(frozen=True)
class _BatchMap:
    """A `per_batch_map` as a function (rows of a batch, info) -> the batch."""

    function: Callable[..., Any]
    step: MapStep  # which columns go in and out
    columns: tuple[str, ...]
    batch_size: int
    at: str

    def __call__(self, rows: list[Row], info: BatchInfo) -> Row:
        lists = {name: [row[k] for row in rows] for k, name in enumerate(self.columns)}
        try:
            result = self.function(*(lists[name] for name in self.step.inputs), info)
        except Exception as error:
            number = info.batch_number
            add_note(
                error, f"raised by per_batch_map {name_of(self.function)} at {self.at}, for batch {number}"
            )
            raise
        several = isinstance(result, tuple) or len(self.step.outputs) > 1
        results = tuple(result) if several else (result,)
        if len(results) != len(self.step.outputs):
            raise DataError(
                "batch: per_batch_map gave another number of columns", at=user_source(),
                expected=f"{len(self.step.outputs)} ({', '.join(self.step.outputs)})", given=str(len(results)),
            )  # fmt: skip
        first = info.batch_number * self.batch_size
        new = dict(zip(self.step.outputs, results))
        kept = {
            name: stack([(v,) for v in lists[name]], [name], first)[0] for name in lists if name not in new
        }
        kept = {name: value for name, value in kept.items() if name not in self.step.inputs}
        batch = {name: to_column_value(value, name) for name, value in new.items()}
        return tuple((batch | kept)[name] for name in self.step.column_names(self.columns))


class RepeatDataset(Stage):
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

    def _size(self, count: bool = False) -> int | None:
        size = self._parent._size(count)
        return None if size is None else size * max(self.count, 1)

    @property
    def _is_endless(self) -> bool:
        return self.count == -1 or self._parent._is_endless

    def get_repeat_count(self) -> int:
        return self.count if self.count == -1 else self._parent.get_repeat_count() * self.count

    def _label(self) -> str:
        return f"repeat({self.count})"


class WindowDataset(Stage):
    """`take` and `skip`: the rows start..stop of every pass."""

    def __init__(self, parent: Dataset, start: int, stop: int | None):
        super().__init__(parent, parent._columns)
        self._start, self._stop = start, stop

    def _rows(self, epoch: int) -> Iterator[Row]:
        yield from islice(self._parent._rows(epoch), self._start, self._stop)

    def _table(self) -> Table | None:
        table = self._parent._table()
        if table is None:
            return None
        return table.cut(self._start, table.size if self._stop is None else self._stop)

    def _size(self, count: bool = False) -> int | None:
        size = self._parent._size(count)
        if self._parent._is_endless and size != 0:
            return size if self._stop is None else max(0, self._stop - self._start)
        if size is None:
            return None
        return max(0, (size if self._stop is None else min(size, self._stop)) - self._start)

    @property
    def _is_endless(self) -> bool:
        return self._stop is None and self._parent._is_endless

    def _label(self) -> str:
        return f"skip({self._start})" if self._stop is None else f"take({self._stop})"
