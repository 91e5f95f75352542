"""What a metric is: the base class, and averages over samples.

In: outputs and labels of one batch after the other, as arrays or Tensors. Out: one result per `eval()`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError
from ...frontend.location import user_source


def array(value: Any) -> np.ndarray:
    """The array behind a Tensor, or anything NumPy accepts."""
    return value.asnumpy() if hasattr(value, "asnumpy") else np.asarray(value)


def two(name: str, inputs: Sequence[Any]) -> tuple[Any, Any]:
    """Outputs and labels; ArgumentError for another number of inputs."""
    if len(inputs) != 2:
        raise ArgumentError(
            f"{name}: update takes outputs and labels", at=user_source(), given=f"{len(inputs)} values"
        )
    return inputs[0], inputs[1]


class Metric:
    """Base class: `clear()` starts anew, `update(...)` takes one batch, `eval()` gives the result.

    `indexes`: which of (loss, output, label) `update` is given during `Model.eval`; `set_indexes` changes it.

    A metric whose result follows from sums over the batches can also be evaluated inside native code: `sums(...)` gets
    the same inputs as `update`, as Tensors of a trace, and returns what to add up (numbers, or Tensors of any fixed
    shape); after the last batch `take_sums` gets the totals, as float64 arrays. Without these two methods `Model.eval`
    calls `update` batch by batch.
    """

    indexes: tuple[int, ...] = (1, 2)

    def set_indexes(self, indexes: Iterable[int]) -> Metric:
        """Choose which outputs of the evaluation network `update` is given."""
        self.indexes = tuple(indexes)
        return self

    def clear(self) -> None:
        """Forget all batches."""
        raise NotImplementedError(f"{type(self).__name__} has no clear method")

    def update(self, *inputs: Any) -> None:
        """Take one batch: the inputs that `indexes` choose, as arrays or Tensors."""
        raise NotImplementedError(f"{type(self).__name__} has no update method")

    def eval(self) -> Any:
        """The result over all batches since `clear`."""
        raise NotImplementedError(f"{type(self).__name__} has no eval method")

    def is_summable(self) -> bool:
        """Whether `sums` can stand in for `update`, with these settings."""
        return True

    def sums(self, *inputs: Any) -> Sequence[Any]:
        """What one batch adds to the totals; the inputs are Tensors of a trace."""
        raise NotImplementedError(f"{type(self).__name__} has no sums method")

    def take_sums(self, totals: Sequence[np.ndarray]) -> None:
        """Take the totals, float64 arrays in the order of `sums`, in place of the batches."""
        raise NotImplementedError(f"{type(self).__name__} has no take_sums method")

    def __call__(self, *inputs: Any) -> Any:
        """The result of this one batch."""
        self.clear()
        self.update(*inputs)
        return self.eval()

    @staticmethod
    def _convert_data(data: Any) -> np.ndarray:
        """The array behind a Tensor: what metrics written for MindSpore call in `update`."""
        return array(data)

    def _nothing(self) -> DataError:
        return DataError(
            f"{type(self).__name__}: there is nothing to average", at=user_source(),
            expected="update() with at least one sample before eval()",
        )  # fmt: skip


def rearrange_inputs(update: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator of a metric's `update`, for direct calls with more inputs than it takes: it then gets those that
    `set_indexes` chose, in that order. (`Model.eval` passes the chosen ones anyway.)"""

    @functools.wraps(update)
    def chosen(self: Metric, *inputs: Any) -> Any:
        indexes = vars(self).get("indexes")
        if indexes is not None and len(inputs) > len(indexes):
            inputs = tuple(inputs[k] for k in indexes)
        return update(self, *inputs)

    return chosen


class Average(Metric):
    """A sum over samples divided by their number."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._sum, self._count = 0.0, 0

    def eval(self) -> float:
        """The average. DataError if no sample was given."""
        if self._count == 0:
            raise self._nothing()
        return self._sum / self._count

    def take_sums(self, totals: Sequence[np.ndarray]) -> None:
        self._sum, self._count = float(totals[0]), int(totals[1])
