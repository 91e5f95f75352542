"""The steps of a pipeline that change rows: `map` (operations on columns) and the selection of columns.

In: a row or a batch of columns by name. Out: the same with the operations applied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_source
from .rows import stack, to_row
from .transform import Transform
from .transforms import Compose

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class MapStep:
    """`operations` run in order: the first takes `inputs`, each next what the one before gave, the last gives
    `outputs`, which take the place of `inputs`."""

    operations: tuple[Callable[..., Any], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def is_symbolic(self) -> bool:
        """Whether the step can become part of the native training step."""
        return len(self.inputs) == len(self.outputs) == 1 and all(
            isinstance(o, Transform) for o in self.operations
        )

    def column_names(self, names: Sequence[str]) -> tuple[str, ...]:
        """The columns after this step: outputs stand where the first input stood."""
        place = min(names.index(name) for name in self.inputs)
        kept = [name for name in names if name not in self.inputs]
        before = sum(1 for name in names[:place] if name not in self.inputs)
        return (*kept[:before], *self.outputs, *kept[before:])

    def apply(self, row: Columns) -> Columns:
        """The step applied to one sample."""
        values: tuple[Any, ...] = tuple(row[name] for name in self.inputs)
        for operation in self.operations:
            result = operation(*values)
            values = result if isinstance(result, tuple) else (result,)
        result = values[0] if len(values) == 1 else values
        outputs = to_row(result, self.outputs, "map: the operation")
        return self._replace(row, dict(zip(self.outputs, outputs)))

    def apply_batch(self, batch: Columns) -> Columns:
        """The step applied to a whole batch: at once where it can be, else sample by sample."""
        if self.is_symbolic:
            value = batch[self.inputs[0]]
            for operation in self.operations:
                value = operation.batch(value)  # type: ignore[attr-defined]
            return self._replace(batch, {self.outputs[0]: value})
        count = len(batch[self.inputs[0]])
        rows = [self.apply({name: batch[name][k] for name in self.inputs}) for k in range(count)]
        columns = stack([tuple(row[name] for name in self.outputs) for row in rows], self.outputs)
        return self._replace(batch, dict(zip(self.outputs, columns)))

    def _replace(self, columns: Mapping[str, np.ndarray], new: Columns) -> Columns:
        return {
            name: new[name] if name in new else columns[name] for name in self.column_names(tuple(columns))
        }


@dataclass(frozen=True)
class SelectStep:
    """Keeps the columns `names`, in this order."""

    names: tuple[str, ...]

    is_symbolic = True

    def apply(self, row: Columns) -> Columns:
        return {name: row[name] for name in self.names}

    apply_batch = apply


Step = MapStep | SelectStep


def make_step(operations: Any, input_columns: Any, output_columns: Any, available: Sequence[str]) -> MapStep:
    """Check the arguments of `Dataset.map`; ArgumentError says what is wrong with them."""
    flat = _flatten(operations)
    inputs = _names("input_columns", input_columns, tuple(available))
    outputs = _names("output_columns", output_columns, inputs)
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
    return MapStep(flat, inputs, outputs)


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
    if not flat:
        raise ArgumentError(
            "map: no operations", at=user_source(), expected="at least one", given="an empty list"
        )
    return tuple(flat)


def _names(argument: str, value: Any, default: tuple[str, ...]) -> tuple[str, ...]:
    if value is None:
        return default
    names = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, (list, tuple)) else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"map: {argument} must name columns",
            at=user_source(),
            expected="a name or a list of names",
            given=repr(value),
        )
    return names
