"""Metrics: numbers that judge a network's outputs, collected batch by batch.

In: outputs and labels as arrays or Tensors. Out: one result per `eval()`. All sums are float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ArgumentError, DataError, ShapeError
from ..frontend.location import user_source


def _array(value: Any) -> np.ndarray:
    return value.asnumpy() if hasattr(value, "asnumpy") else np.asarray(value)


class Metric:
    """Base class: `clear()` starts anew, `update(...)` takes one batch, `eval()` gives the result.

    `indexes`: which of (loss, output, label) `update` is given during `Model.eval`; `set_indexes` changes it.
    """

    indexes: tuple[int, ...] = (1, 2)

    def set_indexes(self, indexes: Iterable[int]) -> Metric:
        """Choose which outputs of the evaluation network `update` is given."""
        self.indexes = tuple(indexes)
        return self

    def clear(self) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no clear method")

    def update(self, *inputs: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no update method")

    def eval(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no eval method")

    def __call__(self, *inputs: Any) -> Any:
        """The result of this one batch."""
        self.clear()
        self.update(*inputs)
        return self.eval()


class _Average(Metric):
    """A sum over samples divided by their number."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._sum, self._count = 0.0, 0

    def eval(self) -> float:
        """The average. DataError if no sample was given."""
        if self._count == 0:
            raise DataError(
                f"{type(self).__name__}: there is nothing to average", at=user_source(),
                expected="update() with at least one sample before eval()",
            )  # fmt: skip
        return self._sum / self._count


def _class_labels(name: str, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int[N] labels for scores[N, C], from labels of shape (N,) or one-hot (N, C); else ShapeError."""
    expected = "scores (N, C) with labels (N,) or one-hot labels (N, C)"
    given = f"{list(scores.shape)} with {list(labels.shape)}"
    if scores.ndim == 1 and labels.ndim == 2 and len(scores) == len(labels):
        raise ShapeError(
            f"{name}: class numbers are compared with one-hot labels", at=user_source(), expected=expected, given=given,
            fix="pass the scores themselves instead of their argmax, or take the argmax of the labels too",
        )  # fmt: skip
    if scores.ndim != 2 or labels.ndim not in (1, 2) or len(scores) != len(labels):
        raise ShapeError(f"{name}: outputs and labels do not fit together", at=user_source(), expected=expected, given=given)  # fmt: skip
    if labels.ndim == 1:
        return labels
    if labels.shape != scores.shape:
        raise ShapeError(
            f"{name}: one-hot labels and scores have different numbers of classes", at=user_source(),
            expected=expected, given=given,
            fix="labels of shape (N, 1) are class numbers: reshape them to (N,)" if labels.shape[1] == 1 else None,
        )  # fmt: skip
    return labels.argmax(axis=1)


class Accuracy(_Average):
    """The fraction of samples whose highest score is at the label.

    `update(scores (N, C), labels (N,) of class numbers or (N, C) one-hot)`.
    """

    def __init__(self, eval_type: str = "classification"):
        if eval_type != "classification":
            raise ArgumentError(
                "Accuracy: eval_type not supported",
                at=user_source(),
                expected="'classification'",
                given=repr(eval_type),
            )
        super().__init__()

    def update(self, *inputs: Any) -> None:
        scores, labels = (_array(value) for value in _two("Accuracy", inputs))
        wanted = _class_labels("Accuracy", scores, labels)
        self._sum += float((scores.argmax(axis=1) == wanted).sum())
        self._count += len(wanted)


class TopKCategoricalAccuracy(_Average):
    """The fraction of samples whose label is among the k highest scores; inputs as for `Accuracy`."""

    def __init__(self, k: int):
        if type(k) is not int or k < 1:
            raise ArgumentError(
                "TopKCategoricalAccuracy: k must be a positive int", at=user_source(), given=repr(k)
            )
        self.k = k
        super().__init__()

    def update(self, *inputs: Any) -> None:
        scores, labels = (_array(value) for value in _two("TopKCategoricalAccuracy", inputs))
        wanted = _class_labels("TopKCategoricalAccuracy", scores, labels)
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        self._sum += float((best == wanted[:, None]).any(axis=1).sum())
        self._count += len(wanted)


class Top1CategoricalAccuracy(TopKCategoricalAccuracy):
    """TopKCategoricalAccuracy with k = 1."""

    def __init__(self) -> None:
        super().__init__(1)


class Top5CategoricalAccuracy(TopKCategoricalAccuracy):
    """TopKCategoricalAccuracy with k = 5."""

    def __init__(self) -> None:
        super().__init__(5)


class Loss(_Average):
    """The average of the batches' losses (every batch counts the same, as printed during training)."""

    indexes = (0,)

    def update(self, *inputs: Any) -> None:
        if len(inputs) != 1:
            raise ArgumentError(
                "Loss: update takes the loss", at=user_source(), given=f"{len(inputs)} values"
            )
        self._sum += float(_array(inputs[0]).mean(dtype=np.float64))
        self._count += 1


class _Error(_Average):
    """A sum of differences per sample."""

    def update(self, *inputs: Any) -> None:
        name = type(self).__name__
        outputs, targets = (_array(value) for value in _two(name, inputs))
        if outputs.shape != targets.shape:
            raise ShapeError(
                f"{name}: outputs and targets have different shapes", at=user_source(), expected=list(outputs.shape),
                given=list(targets.shape), fix="reshape one of them; graphrt does not broadcast here",
            )  # fmt: skip
        self._sum += self._difference(outputs.astype(np.float64) - targets.astype(np.float64))
        self._count += outputs.shape[0] if outputs.ndim else 1

    def _difference(self, error: np.ndarray) -> float:
        raise NotImplementedError


class MSE(_Error):
    """The sum of squared errors divided by the number of samples."""

    def _difference(self, error: np.ndarray) -> float:
        return float(np.square(error).sum())


class MAE(_Error):
    """The sum of absolute errors divided by the number of samples."""

    def _difference(self, error: np.ndarray) -> float:
        return float(np.abs(error).sum())


def _two(name: str, inputs: tuple[Any, ...]) -> tuple[Any, Any]:
    if len(inputs) != 2:
        raise ArgumentError(
            f"{name}: update takes outputs and labels", at=user_source(), given=f"{len(inputs)} values"
        )
    return inputs[0], inputs[1]


_BY_NAME: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "acc": Accuracy,
    "loss": Loss,
    "mse": MSE,
    "mae": MAE,
    "top1": Top1CategoricalAccuracy,
    "top5": Top5CategoricalAccuracy,
    "top_1_accuracy": Top1CategoricalAccuracy,
    "top_5_accuracy": Top5CategoricalAccuracy,
}


def names() -> list[str]:
    """The metrics that can be asked for by name."""
    return list(_BY_NAME)


def get_metric_fn(name: str, *args: Any, **kwargs: Any) -> Metric:
    """A new metric by name; ArgumentError lists the names."""
    if name not in _BY_NAME:
        raise ArgumentError(
            f"unknown metric {name!r}", at=user_source(), expected=", ".join(_BY_NAME), given=repr(name)
        )
    return _BY_NAME[name](*args, **kwargs)


def as_metrics(value: Any) -> dict[str, Metric]:
    """The user's `metrics` argument by result name: a name, a metric, several of them, or a dict name -> metric."""
    if value is None:
        return {}
    if isinstance(value, Mapping):
        items = list(value.items())
    else:
        several = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        several = list(several) if isinstance(several, (list, tuple)) else [several]
        items = [(v if isinstance(v, str) else type(v).__name__.lower(), v) for v in several]
    result: dict[str, Metric] = {}
    for name, metric in items:
        if isinstance(metric, str):
            metric = get_metric_fn(metric)
        elif isinstance(metric, type) or not all(hasattr(metric, m) for m in ("clear", "update", "eval")):
            raise ArgumentError(
                "metrics: every element must be a name or a metric", at=user_source(), expected=", ".join(_BY_NAME),
                given=repr(metric), fix=f"make an object of it: {metric.__name__}()" if isinstance(metric, type) else None,
            )  # fmt: skip
        if name in result:
            raise ArgumentError(
                f"metrics: two metrics are named {name!r}", at=user_source(), fix="pass a dict of names"
            )
        result[name] = metric
    return result


__all__ = [
    "MAE", "MSE", "Accuracy", "Loss", "Metric", "Top1CategoricalAccuracy", "Top5CategoricalAccuracy",
    "TopKCategoricalAccuracy", "as_metrics", "get_metric_fn", "names",
]  # fmt: skip
