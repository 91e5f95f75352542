"""Metrics by name, and the forms of the `metrics` argument of Model."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from typing import Any

from ...errors import ArgumentError
from ...frontend.location import user_source
from .accuracy import Accuracy, Top1CategoricalAccuracy, Top5CategoricalAccuracy, TopKCategoricalAccuracy
from .averages import MAE, MSE, Loss
from .base import Metric
from .confusion import F1, ConfusionMatrix, Fbeta, Precision, Recall
from .ranking import ROC, AreaUnderCurve
from .similarity import CosineSimilarity, Dice, Perplexity

_BY_NAME: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "acc": Accuracy,
    "loss": Loss,
    "mse": MSE,
    "mae": MAE,
    "precision": Precision,
    "recall": Recall,
    "F1": F1,
    "fbeta": Fbeta,
    "confusion_matrix": ConfusionMatrix,
    "roc": ROC,
    "auc": AreaUnderCurve,
    "perplexity": Perplexity,
    "dice": Dice,
    "cosine_similarity": CosineSimilarity,
    "topk": TopKCategoricalAccuracy,
    "top1": Top1CategoricalAccuracy,
    "top5": Top5CategoricalAccuracy,
    "top_1_accuracy": Top1CategoricalAccuracy,
    "top_5_accuracy": Top5CategoricalAccuracy,
}


def names() -> list[str]:
    """The metrics that can be asked for by name."""
    return list(_BY_NAME)


def get_metric_fn(name: str, *args: Any, **kwargs: Any) -> Metric:
    """A new metric by name, made with these arguments; ArgumentError lists the names."""
    if name not in _BY_NAME:
        close = difflib.get_close_matches(str(name), _BY_NAME, 1)
        raise ArgumentError(
            f"unknown metric {name!r}", at=user_source(), expected=", ".join(_BY_NAME), given=repr(name),
            fix=f"did you mean {close[0]!r}?" if close else None,
        )  # fmt: skip
    kind = _BY_NAME[name]
    try:
        inspect.signature(kind).bind(*args, **kwargs)
    except TypeError as error:
        raise ArgumentError(
            f"metric {name!r} needs arguments", at=user_source(),
            expected=f"{kind.__name__}({', '.join(inspect.signature(kind).parameters)})", given=str(error),
            fix=f"pass an object: metrics={{{name!r}: nn.{kind.__name__}(...)}}",
        ) from None  # fmt: skip
    return kind(*args, **kwargs)


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
