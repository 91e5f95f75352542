"""Metrics that compare two tensors as wholes: Dice coefficient, cosine similarity, perplexity of predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError, ShapeError
from ...frontend import functional as ops
from ...frontend.location import user_source
from .base import Average, Metric, array, two


class Dice(Average):
    """The overlap of masks: 2 sum(p y) / (sum(p p) + sum(y y) + smooth) of every batch, added up and divided by the
    number of samples, as MindSpore counts. `update(outputs, labels)` of one shape."""

    def __init__(self, smooth: float = 1e-5):
        if isinstance(smooth, bool) or not isinstance(smooth, (int, float)) or smooth < 0:
            raise ArgumentError("Dice: smooth must be a number >= 0", at=user_source(), given=repr(smooth))
        self.smooth = float(smooth)
        super().__init__()

    def update(self, *inputs: Any) -> None:
        outputs, labels = (array(value).astype(np.float64) for value in two("Dice", inputs))
        self._check(outputs, labels)
        self._sum += float(self._coefficient(outputs, labels))
        self._count += labels.shape[0]

    def sums(self, *inputs: Any) -> Sequence[Any]:
        outputs, labels = (value.astype("float64") for value in two("Dice", inputs))
        self._check(outputs, labels)
        return self._coefficient(outputs, labels), float(labels.shape[0])

    def _coefficient(self, outputs: Any, labels: Any) -> Any:
        both = (outputs * outputs).sum() + (labels * labels).sum()
        return (outputs * labels).sum() * 2.0 / (both + self.smooth)

    @staticmethod
    def _check(outputs: Any, labels: Any) -> None:
        if tuple(outputs.shape) != tuple(labels.shape) or outputs.ndim == 0:
            raise ShapeError(
                "Dice: outputs and labels have different shapes", at=user_source(), expected=list(outputs.shape),
                given=list(labels.shape),
            )  # fmt: skip


class CosineSimilarity(Metric):
    """Similarity of every row with every other: `update(rows (N, F))`, `eval()` gives float64[N, N].

    `similarity`: "cosine", or "dot" for plain products. `reduction`: "none", or "sum" or "mean" over the last axis.
    `zero_diagonal`: a row's similarity with itself counts as 0.
    """

    indexes = (1,)

    def __init__(self, similarity: str = "cosine", reduction: str = "none", zero_diagonal: bool = True):
        for name, value, allowed in (
            ("similarity", similarity, ("cosine", "dot")),
            ("reduction", reduction, ("none", "sum", "mean")),
        ):
            if value not in allowed:
                raise ArgumentError(
                    f"CosineSimilarity: unknown {name}", at=user_source(),
                    expected=" or ".join(map(repr, allowed)), given=repr(value),
                )  # fmt: skip
        self.similarity, self.reduction, self.zero_diagonal = similarity, reduction, bool(zero_diagonal)
        self.clear()

    def clear(self) -> None:
        self._rows: list[np.ndarray] = []

    def update(self, *inputs: Any) -> None:
        rows = array(inputs[0]).astype(np.float64) if len(inputs) == 1 else np.zeros(())
        if rows.ndim != 2:
            raise ShapeError(
                "CosineSimilarity: update takes rows", at=user_source(), expected="one array (N, F)",
                given=list(rows.shape) if len(inputs) == 1 else f"{len(inputs)} values",
            )  # fmt: skip
        self._rows.append(rows)

    def eval(self) -> np.ndarray:
        if not self._rows:
            raise self._nothing()
        rows = np.concatenate(self._rows)
        if self.similarity == "cosine":
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        result = rows @ rows.T
        if self.zero_diagonal:
            np.fill_diagonal(result, 0.0)
        if self.reduction == "none":
            return result
        return result.sum(axis=-1) if self.reduction == "sum" else result.mean(axis=-1)


class Perplexity(Metric):
    """exp of the mean of -log p(label): how many equally likely words a language model hesitates between.

    `update(probabilities (..., C), labels (...))`. Labels equal to `ignore_label` do not count; probabilities below
    1e-10 count as that.
    """

    def __init__(self, ignore_label: int | None = None):
        if ignore_label is not None and type(ignore_label) is not int:
            raise ArgumentError(
                "Perplexity: ignore_label must be an int or None", at=user_source(), given=repr(ignore_label)
            )
        self.ignore_label = ignore_label
        self.clear()

    def clear(self) -> None:
        self._sum, self._count = 0.0, 0.0

    def update(self, *inputs: Any) -> None:
        probabilities, labels = (array(value) for value in two("Perplexity", inputs))
        self._check(probabilities, labels)
        flat, wanted = probabilities.reshape(-1, probabilities.shape[-1]), labels.reshape(-1).astype(np.int64)
        counts = np.ones(len(wanted), bool) if self.ignore_label is None else wanted != self.ignore_label
        own = flat[counts, wanted[counts]].astype(np.float64)
        self._sum -= float(np.log(np.maximum(own, 1e-10)).sum())
        self._count += int(counts.sum())

    def sums(self, *inputs: Any) -> Sequence[Any]:
        probabilities, labels = two("Perplexity", inputs)
        self._check(probabilities, labels)
        classes = probabilities.shape[-1]
        flat, wanted = probabilities.reshape(-1, classes), labels.reshape(-1).astype("int32")
        own = (flat * ops.one_hot(wanted, classes)).sum(1)
        counts = (
            ops.not_equal(wanted, self.ignore_label).astype("float32")
            if self.ignore_label is not None
            else None
        )
        logs = ops.log(ops.maximum(own, 1e-10)) * -1.0
        if counts is None:
            return logs.sum(), float(wanted.shape[0])
        return (logs * counts).sum(), counts.sum()

    def take_sums(self, totals: Sequence[np.ndarray]) -> None:
        self._sum, self._count = float(totals[0]), float(totals[1])

    @staticmethod
    def _check(probabilities: Any, labels: Any) -> None:
        if probabilities.ndim < 1 or tuple(probabilities.shape[:-1]) != tuple(labels.shape):
            raise ShapeError(
                "Perplexity: probabilities and labels do not fit together", at=user_source(),
                expected="probabilities (..., C) with labels (...)",
                given=f"{list(probabilities.shape)} with {list(labels.shape)}",
            )  # fmt: skip

    def eval(self) -> float:
        if self._count == 0:
            raise DataError(
                "Perplexity: there is no label that counts",
                at=user_source(),
                expected="update() before eval()",
            )
        return math.exp(self._sum / self._count)
