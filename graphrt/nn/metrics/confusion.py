"""Metrics made of counts per class: precision, recall, F-scores, the confusion matrix.

Inputs: scores (N, C, ...) with labels (N, ...) of class numbers or (N, C, ...) one-hot; with `eval_type="multilabel"`
0/1 outputs and labels (N, C, ...).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError
from ...frontend import functional as ops
from ...frontend.location import user_source
from .base import Metric, array, two
from .classes import check_eval_type, masks, traced_masks

_EPSILON = np.finfo(np.float64).tiny  # a class that nobody predicted has precision 0, not NaN


class _Counts(Metric):
    """Base: true positives, predicted and actual members of every class."""

    def __init__(self, eval_type: str = "classification"):
        self._type = check_eval_type(type(self).__name__, eval_type)
        self.clear()

    def clear(self) -> None:
        self._right: Any = 0.0
        self._predicted: Any = 0.0
        self._actual: Any = 0.0

    def update(self, *inputs: Any) -> None:
        name = type(self).__name__
        predicted, actual = masks(name, self._type, *map(array, two(name, inputs)))
        self._right = self._right + (predicted & actual).sum(axis=0, dtype=np.float64)
        self._predicted = self._predicted + predicted.sum(axis=0, dtype=np.float64)
        self._actual = self._actual + actual.sum(axis=0, dtype=np.float64)

    def sums(self, *inputs: Any) -> Sequence[Any]:
        name = type(self).__name__
        predicted, actual = traced_masks(name, self._type, *two(name, inputs))
        axes = (
            (0, *range(1, predicted.ndim - 1))
            if self._type == "classification"
            else (0, *range(2, predicted.ndim))
        )
        return (predicted * actual).sum(axes), predicted.sum(axes), actual.sum(axes)

    def take_sums(self, totals: Sequence[np.ndarray]) -> None:
        self._right, self._predicted, self._actual = totals

    def eval(self, average: bool = False) -> Any:
        """One value per class, float64[C]; with `average` their mean. DataError if no sample was given."""
        if np.ndim(self._right) == 0:
            raise self._nothing()
        values = self._ratio()
        return float(values.mean()) if average else values

    def _ratio(self) -> np.ndarray:
        raise NotImplementedError


class Precision(_Counts):
    """true positives / predicted, of every class."""

    def _ratio(self) -> np.ndarray:
        return self._right / (self._predicted + _EPSILON)


class Recall(_Counts):
    """true positives / actual, of every class."""

    def _ratio(self) -> np.ndarray:
        return self._right / (self._actual + _EPSILON)


class Fbeta(_Counts):
    """(1 + beta^2) true positives / (beta^2 actual + predicted), of every class."""

    def __init__(self, beta: float):
        if isinstance(beta, bool) or not isinstance(beta, (int, float)) or not beta > 0:
            raise ArgumentError(
                "Fbeta: beta must be positive", at=user_source(), expected="> 0", given=repr(beta)
            )
        self.beta = float(beta)
        super().__init__()

    def _ratio(self) -> np.ndarray:
        square = self.beta**2
        return (1 + square) * self._right / (square * self._actual + self._predicted + _EPSILON)


class F1(Fbeta):
    """Fbeta with beta = 1: 2 true positives / (actual + predicted), of every class."""

    def __init__(self) -> None:
        super().__init__(1.0)


class ConfusionMatrix(Metric):
    """How often class i (row) was predicted as class j (column): float64[num_classes, num_classes].

    `update(outputs, labels (N,))`: outputs are scores (N, num_classes), predicted class numbers (N,), or for two
    classes probabilities (N,) of class 1, which count from `threshold` on. `normalize`: "no_norm" for counts, "target"
    (rows sum to 1), "prediction" (columns) or "all".
    """

    def __init__(self, num_classes: int, normalize: str = "no_norm", threshold: float = 0.5):
        if type(num_classes) is not int or num_classes < 2:
            raise ArgumentError(
                "ConfusionMatrix: num_classes must be an int >= 2", at=user_source(), given=repr(num_classes)
            )
        if normalize not in ("no_norm", "target", "prediction", "all"):
            raise ArgumentError(
                "ConfusionMatrix: unknown normalize", at=user_source(),
                expected="'no_norm', 'target', 'prediction' or 'all'", given=repr(normalize),
            )  # fmt: skip
        self.num_classes, self.normalize, self.threshold = num_classes, normalize, float(threshold)
        self.clear()

    def clear(self) -> None:
        self._counts = np.zeros((self.num_classes, self.num_classes))

    def update(self, *inputs: Any) -> None:
        outputs, labels = (array(value) for value in two("ConfusionMatrix", inputs))
        found = self._predicted(outputs, "f" in outputs.dtype.kind, labels.shape).astype(np.int64)
        wanted = labels.astype(np.int64)
        for name, classes in (("outputs", found), ("labels", wanted)):
            if classes.size and not (classes.min() >= 0 and classes.max() < self.num_classes):
                raise DataError(
                    f"ConfusionMatrix: {name} out of range", at=user_source(),
                    expected=f"classes 0 to {self.num_classes - 1}", given=f"{classes.min()} to {classes.max()}",
                )  # fmt: skip
        np.add.at(self._counts, (wanted.reshape(-1), found.reshape(-1)), 1.0)

    def _predicted(self, outputs: Any, is_float: bool, labels: Sequence[int]) -> Any:
        """Class numbers (arrays or Tensors) of the shape of the labels; ArgumentError if that is not possible."""
        fits = tuple(outputs.shape) == tuple(labels)
        if not fits and outputs.ndim == len(labels) + 1 and outputs.shape[1] == self.num_classes:
            return outputs.argmax(1)
        if not fits or (is_float and self.num_classes != 2):
            raise ArgumentError(
                "ConfusionMatrix: outputs and labels do not fit together", at=user_source(),
                expected=f"scores (N, {self.num_classes}) or class numbers (N,), with labels (N,)",
                given=f"{list(outputs.shape)} with {list(labels)}",
            )  # fmt: skip
        return outputs >= self.threshold if is_float else outputs

    def sums(self, *inputs: Any) -> Sequence[Any]:
        outputs, labels = two("ConfusionMatrix", inputs)
        found = self._predicted(outputs, outputs.dtype.is_float, labels.shape)
        rows, columns = (
            ops.one_hot(x.astype("int32").reshape(-1), self.num_classes) for x in (labels, found)
        )
        return (ops.matmul(rows.T, columns),)

    def take_sums(self, totals: Sequence[np.ndarray]) -> None:
        self._counts = totals[0]

    def eval(self) -> np.ndarray:
        """The matrix. DataError if no sample was given."""
        if not self._counts.any():
            raise self._nothing()
        if self.normalize == "no_norm":
            return self._counts.copy()
        axis = {"target": 1, "prediction": 0, "all": None}[self.normalize]
        totals = self._counts.sum(axis=axis, keepdims=True)
        return self._counts / np.where(totals == 0, 1.0, totals)
