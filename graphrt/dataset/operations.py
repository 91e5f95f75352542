"""The steps of a pipeline that change rows: `map` (operations on columns), selecting and renaming columns.

In: rows or batches of columns by name. Out: the same with the operations applied, by workers where there are some.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, starmap
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_line, user_source
from .parallel import Workers, add_note
from .rows import stack, to_row
from .transform import Transform
from .transforms import Compose
from .vision.decode import ToPIL

Columns = dict[str, np.ndarray]
Values = tuple[Any, ...]


class Step:
    """A change of rows, one by one (`apply_rows`) or a batch at once (`apply_batch`)."""

    is_symbolic = True  # whether it can become part of the native training step
    is_random = False  # whether it draws anew each time

    def column_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns after this step."""
        raise NotImplementedError

    def apply_rows(self, rows: Iterable[Columns], epoch: int, first: int = 0) -> Iterator[Columns]:
        """The step applied to samples `first`, `first + 1`, ... of pass `epoch`."""
        raise NotImplementedError

    def apply_batch(self, batch: Columns, epoch: int, first: int) -> Columns:
        """The step applied to the batch of samples that begins with number `first` of pass `epoch`."""
        raise NotImplementedError

    def close(self) -> None:
        """Let workers go."""


@dataclass(frozen=True)
class MapStep(Step):
    """`operations` run in order: the first takes `inputs`, each next what the one before gave, the last gives
    `outputs`, which take the place of `inputs`. Functions of the user run in `workers` threads or `processes`; what
    draws from a random stream of graphrt stays in order, outside of them."""

    operations: tuple[Callable[..., Any], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    workers: int = 1
    processes: bool = False
    at: str = ""  # the user's line

    def __post_init__(self) -> None:
        object.__setattr__(self, "_stages", self._make_stages())

    @property
    def is_symbolic(self) -> bool:  # type: ignore[override]
        return len(self.inputs) == len(self.outputs) == 1 and all(
            isinstance(o, Transform) for o in self.operations
        )

    @property
    def is_random(self) -> bool:  # type: ignore[override]
        return any(map(_draws, self.operations))

    def column_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """Outputs stand where the first input stood."""
        place = min(names.index(name) for name in self.inputs)
        kept = [name for name in names if name not in self.inputs]
        before = sum(1 for name in names[:place] if name not in self.inputs)
        return (*kept[:before], *self.outputs, *kept[before:])

    def apply_rows(self, rows: Iterable[Columns], epoch: int, first: int = 0) -> Iterator[Columns]:
        waiting: deque[Columns] = deque()  # rows whose inputs are at work

        def inputs() -> Iterator[tuple[int, Values]]:
            for number, row in enumerate(rows, first):
                waiting.append(row)
                yield number, tuple(row[name] for name in self.inputs)

        results = inputs()
        for function, workers in self._stages:  # type: ignore[attr-defined]
            if workers is None:
                results = starmap(function, results)
            else:
                results = workers.run(results, (epoch, first))
        for _, values in results:
            yield self._placed(waiting.popleft(), values)

    def apply_batch(self, batch: Columns, epoch: int, first: int) -> Columns:
        """At once where it can be, else sample by sample."""
        if self.is_symbolic:
            value = batch[self.inputs[0]]
            for operation in self.operations:
                value = operation.batch(value)  # type: ignore[attr-defined]
            return self._replace(batch, {self.outputs[0]: value})
        count = len(batch[self.inputs[0]])
        samples = ({name: batch[name][k] for name in self.inputs} for k in range(count))
        rows = [tuple(row[n] for n in self.outputs) for row in self.apply_rows(samples, epoch, first)]
        return self._replace(batch, dict(zip(self.outputs, stack(rows, self.outputs, first))))

    def close(self) -> None:
        for _, workers in self._stages:  # type: ignore[attr-defined]
            if workers is not None:
                workers.close()

    def _make_stages(self) -> list[tuple[Callable[[int, Values], tuple[int, Values]], Workers | None]]:
        """The operations as functions (row number, values) -> (row number, values), and what runs each."""
        if self.workers == 1 or self.is_symbolic:
            return [(_Operations(self.operations, self.at), None)]
        stages: list[tuple[Callable[[int, Values], tuple[int, Values]], Workers | None]] = []
        for in_order, group in groupby(self.operations, _draws):
            function = _Operations(tuple(group), self.at)
            label = f"map({function.label})"
            stages.append(
                (function, None if in_order else Workers(function, self.workers, self.processes, label))
            )
        return stages

    def _placed(self, row: Columns, values: Values) -> Columns:
        result = values[0] if len(values) == 1 else values
        outputs = to_row(result, self.outputs, "map: the operation")
        return self._replace(row, dict(zip(self.outputs, outputs)))

    def _replace(self, columns: Mapping[str, np.ndarray], new: Columns) -> Columns:
        return {
            name: new[name] if name in new else columns[name] for name in self.column_names(tuple(columns))
        }


@dataclass(frozen=True)
class _Operations:
    """Functions of one sample, run after each other."""

    operations: tuple[Callable[..., Any], ...]
    at: str

    def __call__(self, number: int, values: Values) -> tuple[int, Values]:
        for operation in self.operations:
            try:
                result = operation(*values)
            except Exception as error:
                place = f" at {self.at}" if self.at else ""
                add_note(error, f"raised by {name_of(operation)} of map(){place}, for row {number} of a pass")
                raise
            values = result if isinstance(result, tuple) else (result,)
        return number, values

    @property
    def label(self) -> str:
        return ", ".join(map(name_of, self.operations))


def _draws(operation: Callable[..., Any]) -> bool:
    """Whether an operation draws from a random stream of graphrt."""
    return getattr(operation, "is_random", False)


def user_place() -> str:
    """The user's "file:line"; "" if there is none."""
    file, line = user_line()
    return f"{file}:{line}" if file else ""


def name_of(operation: Callable[..., Any]) -> str:
    """How messages call an operation: the function's name, or the class of a callable object."""
    return getattr(operation, "__name__", None) or type(operation).__name__


@dataclass(frozen=True)
class SelectStep(Step):
    """Keeps the columns `names`, in this order."""

    names: tuple[str, ...]

    def column_names(self, names: Sequence[str]) -> tuple[str, ...]:
        return self.names

    def apply_rows(self, rows: Iterable[Columns], epoch: int, first: int = 0) -> Iterator[Columns]:
        return (self.apply_batch(row, epoch, first) for row in rows)

    def apply_batch(self, batch: Columns, epoch: int, first: int) -> Columns:
        return {name: batch[name] for name in self.names}


@dataclass(frozen=True)
class RenameStep(Step):
    """Gives columns other names; `names`: old name -> new name, as pairs."""

    names: tuple[tuple[str, str], ...]

    def column_names(self, names: Sequence[str]) -> tuple[str, ...]:
        new = dict(self.names)
        return tuple(new.get(name, name) for name in names)

    def apply_rows(self, rows: Iterable[Columns], epoch: int, first: int = 0) -> Iterator[Columns]:
        return (self.apply_batch(row, epoch, first) for row in rows)

    def apply_batch(self, batch: Columns, epoch: int, first: int) -> Columns:
        return dict(zip(self.column_names(tuple(batch)), batch.values()))


def make_step(
    operations: Any,
    input_columns: Any,
    output_columns: Any,
    available: Sequence[str],
    workers: int = 1,
    processes: bool = False,
) -> MapStep:
    """Check the arguments of `Dataset.map`; ArgumentError says what is wrong with them."""
    flat = _flatten(operations)
    inputs = column_list("map: input_columns", input_columns, tuple(available))
    outputs = column_list("map: output_columns", output_columns, inputs)
    for name in inputs:
        if name not in available:
            raise ArgumentError(
                "map: there is no such column",
                at=user_source(),
                expected=", ".join(available),
                given=repr(name),
            )
    clash = [name for name in outputs if name in available and name not in inputs]
    if clash or len(set(outputs)) != len(outputs) or len(set(inputs)) != len(inputs):
        raise ArgumentError(
            "map: two columns would have one name", at=user_source(),
            given=f"input_columns={list(inputs)}, output_columns={list(outputs)}",
        )  # fmt: skip
    if isinstance(flat[0], Transform) and len(inputs) != 1:
        raise ArgumentError(
            f"map: {type(flat[0]).__name__} takes one column", at=user_source(),
            expected="one column", given=", ".join(inputs), fix=f"name it: map(..., input_columns={inputs[0]!r})",
        )  # fmt: skip
    return MapStep(flat, inputs, outputs, workers, processes, user_place())


def _flatten(operations: Any) -> tuple[Callable[..., Any], ...]:
    items = list(operations) if isinstance(operations, (list, tuple)) else [operations]
    flat: list[Callable[..., Any]] = []
    for item in items:
        if isinstance(item, Compose):
            flat += _flatten(item.transforms)
        elif callable(item) and not isinstance(item, type):
            flat.append(item)
        else:
            fix = f"make an object of it: {item.__name__}(...)" if isinstance(item, type) else None
            raise ArgumentError(
                "map: an operation cannot be called on a sample", at=user_source(),
                expected="a transform or a function of the sample", given=repr(item), fix=fix,
            )  # fmt: skip
    # transforms work on pixels: without a detour through Pillow they can be part of the native step
    flat = [
        o
        for o, after in zip(flat, [*flat[1:], None])
        if not (isinstance(o, ToPIL) and isinstance(after, Transform))
    ]
    if not flat:
        raise ArgumentError(
            "map: no operations", at=user_source(), expected="at least one", given="an empty list"
        )
    return tuple(flat)


def column_list(argument: str, value: Any, default: tuple[str, ...]) -> tuple[str, ...]:
    """The user's list of columns (a name stands for a list of one, None for `default`); else ArgumentError."""
    if value is None:
        return default
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"{argument} must name columns",
            at=user_source(),
            expected="a name or a list of names",
            given=repr(value),
        )
    return names
