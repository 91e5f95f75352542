"""Scores and labels of a classification: which shapes fit together, and what they mean as 0/1 masks.

In: scores (N, C, ...) and labels, class numbers (N, ...) or one-hot (N, C, ...); for "multilabel" 0/1 predictions and
labels (N, C, ...). Out: class numbers or masks, from arrays or from Tensors of a trace.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...frontend import functional as ops
from ...frontend.location import user_source


def check_eval_type(name: str, eval_type: Any) -> str:
    """ "classification" or "multilabel", else ArgumentError."""
    if eval_type not in ("classification", "multilabel"):
        raise ArgumentError(
            f"{name}: eval_type not supported", at=user_source(), expected="'classification' or 'multilabel'",
            given=repr(eval_type),
        )  # fmt: skip
    return eval_type


def are_one_hot(name: str, scores: Sequence[int], labels: Sequence[int]) -> bool:
    """Whether labels of this shape are one-hot (else class numbers) for scores of that shape; ShapeError if neither."""
    expected = "scores (N, C) with labels (N,) or one-hot labels (N, C)"
    given = f"{list(scores)} with {list(labels)}"
    if len(scores) == 1 and len(labels) == 2 and scores[0] == labels[0]:
        raise ShapeError(
            f"{name}: class numbers are compared with one-hot labels", at=user_source(), expected=expected, given=given,
            fix="pass the scores themselves instead of their argmax, or take the argmax of the labels too",
        )  # fmt: skip
    rank = len(scores)
    if rank < 2 or len(labels) not in (rank - 1, rank) or scores[0] != labels[0]:
        raise ShapeError(f"{name}: outputs and labels do not fit together", at=user_source(), expected=expected, given=given)  # fmt: skip
    if len(labels) == rank - 1:
        if tuple(labels[1:]) != tuple(scores[2:]):
            raise ShapeError(
                f"{name}: outputs and labels do not fit together", at=user_source(), given=given,
                expected="scores (N, C, ...) with labels (N, ...)",
            )  # fmt: skip
        return False
    if tuple(labels) != tuple(scores):
        raise ShapeError(
            f"{name}: one-hot labels and scores have different numbers of classes", at=user_source(),
            expected=expected, given=given,
            fix="labels of shape (N, 1) are class numbers: reshape them to (N,)" if labels[1] == 1 else None,
        )  # fmt: skip
    return True


def check_same_shape(name: str, outputs: Sequence[int], labels: Sequence[int]) -> None:
    """ShapeError unless both are (N, C, ...)."""
    if tuple(outputs) != tuple(labels) or len(outputs) < 2:
        raise ShapeError(
            f"{name}: multilabel outputs and labels must have one shape", at=user_source(),
            expected="0/1 outputs (N, C) with 0/1 labels (N, C)", given=f"{list(outputs)} with {list(labels)}",
        )  # fmt: skip


def class_numbers(name: str, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels as class numbers (N, ...)."""
    return labels.argmax(axis=1) if are_one_hot(name, scores.shape, labels.shape) else labels


def traced_class_numbers(name: str, scores: Any, labels: Any) -> Any:
    """`class_numbers` for Tensors."""
    return labels.argmax(1) if are_one_hot(name, scores.shape, labels.shape) else labels


def samples_by_class(values: np.ndarray) -> np.ndarray:
    """(N, C, ...) -> (samples, C)."""
    return np.moveaxis(values, 1, -1).reshape(-1, values.shape[1])


def masks(
    name: str, eval_type: str, outputs: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and actual membership, two 0/1 arrays (samples, C) of float64."""
    if eval_type == "multilabel":
        check_same_shape(name, outputs.shape, labels.shape)
        return samples_by_class(outputs) != 0, samples_by_class(labels) != 0
    wanted = class_numbers(name, outputs, labels).reshape(-1, 1)
    found = outputs.argmax(axis=1).reshape(-1, 1)
    classes = np.arange(outputs.shape[1])
    return found == classes, wanted == classes


def traced_masks(name: str, eval_type: str, outputs: Any, labels: Any) -> tuple[Any, Any]:
    """`masks` for Tensors of two axes: 0/1 Tensors (N, C) of float32."""
    if eval_type == "multilabel":
        check_same_shape(name, outputs.shape, labels.shape)
        return tuple(ops.not_equal(x, 0).astype("float32") for x in (outputs, labels))  # type: ignore[return-value]
    wanted, count = traced_class_numbers(name, outputs, labels), outputs.shape[1]
    return ops.one_hot(outputs.argmax(1), count), ops.one_hot(wanted.astype("int32"), count)
