"""Accuracies: the fraction of samples that are right, or whose label is among the best guesses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError
from ...frontend import functional as ops
from ...frontend.location import user_source
from .base import Average, array, two
from .classes import (
    are_one_hot,
    check_eval_type,
    check_same_shape,
    class_numbers,
    samples_by_class,
    traced_class_numbers,
)


class Accuracy(Average):
    """The fraction of samples whose highest score is at the label.

    `update(scores (N, C, ...), labels (N, ...) of class numbers or (N, C, ...) one-hot)`. With
    `eval_type="multilabel"`: the fraction of samples all of whose 0/1 outputs (N, C, ...) equal the labels.
    """

    def __init__(self, eval_type: str = "classification"):
        self._type = check_eval_type("Accuracy", eval_type)
        super().__init__()

    def update(self, *inputs: Any) -> None:
        outputs, labels = (array(value) for value in two("Accuracy", inputs))
        if self._type == "multilabel":
            check_same_shape("Accuracy", outputs.shape, labels.shape)
            right = (samples_by_class(outputs) == samples_by_class(labels)).all(axis=1)
        else:
            wanted = class_numbers("Accuracy", outputs, labels)
            right = outputs.argmax(axis=1) == wanted
        self._sum += float(right.sum())
        self._count += right.size

    def is_summable(self) -> bool:
        """Whether `sums` can stand in for `update`."""
        return self._type == "classification"

    def sums(self, *inputs: Any) -> Sequence[Any]:
        scores, labels = two("Accuracy", inputs)
        wanted = traced_class_numbers("Accuracy", scores, labels)
        right = ops.equal(scores.argmax(1), wanted)
        return right.astype("float32").sum(), float(right.size)


class TopKCategoricalAccuracy(Average):
    """The fraction of samples whose label is among the k highest scores; of equal scores the first count as higher.

    `update(scores (N, C), labels (N,) of class numbers or (N, C) one-hot)`.
    """

    def __init__(self, k: int):
        if type(k) is not int or k < 1:
            raise ArgumentError(
                "TopKCategoricalAccuracy: k must be a positive int", at=user_source(), given=repr(k)
            )
        self.k = k
        super().__init__()

    def update(self, *inputs: Any) -> None:
        scores, labels = (array(value) for value in two("TopKCategoricalAccuracy", inputs))
        self._check(scores)
        wanted = class_numbers("TopKCategoricalAccuracy", scores, labels)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        self._sum += float((best == wanted[:, None]).any(axis=1).sum())
        self._count += len(wanted)

    def sums(self, *inputs: Any) -> Sequence[Any]:
        scores, labels = two("TopKCategoricalAccuracy", inputs)
        self._check(scores)
        if are_one_hot("TopKCategoricalAccuracy", scores.shape, labels.shape):
            labels = labels.argmax(1)
        # without sorting: the label's rank is how many classes come before it
        classes = ops.arange(scores.shape[1]).astype("int32").reshape(1, -1)
        wanted = labels.astype("int32").reshape(-1, 1)
        own = ops.where(ops.equal(classes, wanted), scores, 0.0).sum(1).reshape(-1, 1)
        before = ops.logical_or(scores > own, ops.logical_and(ops.equal(scores, own), classes < wanted))
        rank = before.astype("float32").sum(1)
        return (rank < float(self.k)).astype("float32").sum(), float(scores.shape[0])

    @staticmethod
    def _check(scores: Any) -> None:
        if scores.ndim != 2:
            raise ArgumentError(
                "TopKCategoricalAccuracy: scores must have two axes", at=user_source(), expected="(N, C)",
                given=list(scores.shape),
            )  # fmt: skip


class Top1CategoricalAccuracy(TopKCategoricalAccuracy):
    """TopKCategoricalAccuracy with k = 1."""

    def __init__(self) -> None:
        super().__init__(1)


class Top5CategoricalAccuracy(TopKCategoricalAccuracy):
    """TopKCategoricalAccuracy with k = 5."""

    def __init__(self) -> None:
        super().__init__(5)
