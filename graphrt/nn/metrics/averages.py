"""The loss as a metric, and averages of errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...frontend import functional as ops
from ...frontend.location import user_source
from .base import Average, array, two


class Loss(Average):
    """The average of the batches' losses (every batch counts the same, as printed during training)."""

    indexes = (0,)

    def update(self, *inputs: Any) -> None:
        self._sum += float(array(self._only(inputs)).mean(dtype=np.float64))
        self._count += 1

    def sums(self, *inputs: Any) -> Sequence[Any]:
        loss = self._only(inputs)
        return (loss.mean() if loss.ndim else loss), 1.0

    @staticmethod
    def _only(inputs: Sequence[Any]) -> Any:
        if len(inputs) != 1:
            raise ArgumentError(
                "Loss: update takes the loss", at=user_source(), given=f"{len(inputs)} values"
            )
        return inputs[0]


class _Error(Average):
    """A sum of differences per sample."""

    def update(self, *inputs: Any) -> None:
        outputs, targets = (array(value) for value in two(type(self).__name__, inputs))
        self._check(outputs, targets)
        self._sum += float(
            self._difference(np, outputs.astype(np.float64) - targets.astype(np.float64)).sum()
        )
        self._count += outputs.shape[0] if outputs.ndim else 1

    def sums(self, *inputs: Any) -> Sequence[Any]:
        outputs, targets = two(type(self).__name__, inputs)
        self._check(outputs, targets)
        total = self._difference(ops, outputs.astype("float64") - targets.astype("float64")).sum()
        return total, float(outputs.shape[0] if outputs.ndim else 1)

    def _check(self, outputs: Any, targets: Any) -> None:
        if tuple(outputs.shape) != tuple(targets.shape):
            raise ShapeError(
                f"{type(self).__name__}: outputs and targets have different shapes", at=user_source(),
                expected=list(outputs.shape), given=list(targets.shape),
                fix="reshape one of them; graphrt does not broadcast here",
            )  # fmt: skip

    def _difference(self, functions: Any, error: Any) -> Any:
        raise NotImplementedError


class MSE(_Error):
    """The sum of squared errors divided by the number of samples."""

    def _difference(self, functions: Any, error: Any) -> Any:
        return functions.square(error)


class MAE(_Error):
    """The sum of absolute errors divided by the number of samples."""

    def _difference(self, functions: Any, error: Any) -> Any:
        return functions.abs(error)
