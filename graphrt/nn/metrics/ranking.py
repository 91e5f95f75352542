"""The receiver operating characteristic and the area under it (Fawcett, An introduction to ROC analysis, 2006).

In: scores and labels of all samples. Out: curves, areas. All scores are kept until `eval`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...errors import ArgumentError, DataError, ShapeError
from ...frontend.location import user_source
from .base import Metric, array, two


class ROC(Metric):
    """The receiver operating characteristic: `eval()` gives (false positive rates, true positive rates, thresholds).

    `update(scores (N,), labels (N,))`, samples labelled `pos_label` (1) are the positive ones; or
    `update(scores (N, C), labels (N,))` with `class_num=C`: one curve per class, three lists of C arrays. Thresholds
    fall, from above the highest score down to the lowest.
    """

    def __init__(self, class_num: int | None = None, pos_label: int | None = None):
        if class_num is not None and (type(class_num) is not int or class_num < 1):
            raise ArgumentError(
                f"{type(self).__name__}: class_num must be a positive int", at=user_source(), given=repr(class_num)
            )  # fmt: skip
        self.class_num, self.pos_label = class_num, 1 if pos_label is None else pos_label
        self.clear()

    def clear(self) -> None:
        self._scores: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def update(self, *inputs: Any) -> None:
        name = type(self).__name__
        scores, labels = (array(value) for value in two(name, inputs))
        if scores.ndim not in (1, 2) or labels.shape != scores.shape[:1]:
            raise ShapeError(
                f"{name}: outputs and labels do not fit together", at=user_source(),
                expected="scores (N,) or (N, C) with labels (N,)", given=f"{list(scores.shape)} with {list(labels.shape)}",
            )  # fmt: skip
        if scores.ndim == 2 and self.class_num not in (None, scores.shape[1]):
            raise ShapeError(
                f"{name}: another number of classes", at=user_source(), expected=f"(N, {self.class_num})",
                given=list(scores.shape),
            )  # fmt: skip
        if scores.ndim == 2 and scores.shape[1] == 1:
            scores = scores[:, 0]
        self._scores.append(scores.astype(np.float64))
        self._labels.append(labels)

    def _curves(self) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        if not self._scores:
            raise DataError(
                f"{type(self).__name__}: there is no sample",
                at=user_source(),
                expected="update() before eval()",
            )
        scores, labels = np.concatenate(self._scores), np.concatenate(self._labels)
        if scores.ndim == 1:
            return [roc_curve(scores, labels == self.pos_label)]
        return [roc_curve(scores[:, k], labels == k) for k in range(scores.shape[1])]

    def eval(self) -> Any:
        curves = self._curves()
        if len(curves) == 1:
            return curves[0]
        return tuple(list(part) for part in zip(*curves))


class AreaUnderCurve(ROC):
    """The area under the receiver operating characteristic; with scores (N, C) the mean of those of all classes.

    Of scores (N, 2) only class 1 counts. Inputs as for `ROC`.
    """

    def eval(self) -> float:
        """The area, 0.5 for guessing and 1 for scores that separate the classes."""
        curves = self._curves()
        if len(curves) == 2:
            curves = curves[1:]
        return float(np.mean([auc(false, true) for false, true, _ in curves]))


def roc_curve(scores: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(false positive rates, true positive rates, thresholds), beginning at (0, 0) with a threshold above all scores.

    DataError if all samples are positive, or none.
    """
    if positive.all() or not positive.any():
        raise DataError(
            "ROC: there must be positive and other samples", at=user_source(), expected="two kinds of labels",
            given=f"{int(positive.sum())} positive of {len(positive)}",
        )  # fmt: skip
    order = np.argsort(-scores, kind="stable")
    scores, positive = scores[order], positive[order]
    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each run of equal scores
    true = np.cumsum(positive)[last]
    false = 1 + last - true
    thresholds = scores[last]
    rates = [np.concatenate([[0.0], counts / counts[-1]]) for counts in (false, true)]
    return rates[0], rates[1], np.concatenate([[thresholds[0] + 1], thresholds])


def auc(x: Any, y: Any, reorder: bool = False) -> float:
    """The area under a curve through (x[k], y[k]), by trapezoids. `reorder`: sort the points by x first.

    Raises ArgumentError unless x rises or falls throughout.
    """
    x, y = array(x).astype(np.float64), array(y).astype(np.float64)
    if x.ndim != 1 or x.shape != y.shape or len(x) < 2:
        raise ArgumentError(
            "auc: two arrays of at least two points are needed", at=user_source(), expected="x (N,) and y (N,)",
            given=f"{list(x.shape)} and {list(y.shape)}",
        )  # fmt: skip
    if reorder:
        order = np.lexsort((y, x))
        x, y = x[order], y[order]
    steps = np.diff(x)
    if (steps < 0).any() and (steps > 0).any():
        raise ArgumentError("auc: x must rise or fall throughout", at=user_source(), fix="pass reorder=True")
    area = float((steps * (y[1:] + y[:-1]) / 2).sum())
    return -area if (steps <= 0).all() else area
