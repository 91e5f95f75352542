"""Loss functions as Cells.

In: predictions and targets. Out: the loss, reduced to a scalar by `reduction` "mean" or "sum", or per element ("none").
"""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, DTypeError, ShapeError
from ...frontend import functional as ops
from ...frontend.cell import Cell
from ...frontend.tensor import Tensor
from ..dense import here


class LossBase(Cell):
    """Base class of losses: `get_loss` reduces."""

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        if reduction not in ("mean", "sum", "none"):
            raise ArgumentError(
                f"{type(self).__name__}: unknown reduction", **here(), expected="'mean', 'sum' or 'none'",
                given=repr(reduction),
            )  # fmt: skip
        self.reduction = reduction

    def get_axis(self, x: Tensor) -> tuple[int, ...]:
        """All axes of x."""
        return tuple(range(x.ndim))

    def get_loss(self, x: Tensor, weights: Any = 1.0) -> Tensor:
        """x times weights, reduced."""
        weighted = x if isinstance(weights, float) and weights == 1.0 else x * weights
        if self.reduction == "none":
            return weighted
        return ops.mean(weighted) if self.reduction == "mean" else ops.sum(weighted)

    def extend_repr(self) -> str:
        return f"reduction={self.reduction}"


def check_same_shape(layer: str, logits: Tensor, labels: Tensor) -> None:
    """Raise ShapeError unless both have one shape: broadcasting here would hide a mistake."""
    if logits.shape != labels.shape:
        fix = None
        if logits.size == labels.size:
            fix = f"write labels.reshape({', '.join(map(str, logits.shape))})"
        raise ShapeError(
            f"{layer}: predictions and labels must have one shape", **here(), expected=logits.type.describe(),
            given=labels.type.describe(), fix=fix,
        )  # fmt: skip


class MSELoss(LossBase):
    """(logits - labels)^2. Both of one shape."""

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("MSELoss", logits, labels)
        return self.get_loss(ops.square(logits - labels))


class L1Loss(LossBase):
    """|logits - labels|. Both of one shape."""

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("L1Loss", logits, labels)
        return self.get_loss(ops.abs(logits - labels))


def check_class_indices(layer: str, logits: Tensor, labels: Tensor, expected_shape: tuple[int, ...]) -> None:
    """Raise unless `labels` holds integer class indices of this shape."""
    expected = f"int32[{', '.join(map(str, expected_shape))}]"
    if labels.shape != expected_shape:
        raise ShapeError(
            f"{layer}: labels do not fit the logits {logits.type.describe()}", **here(), expected=expected,
            given=labels.type.describe(),
        )  # fmt: skip
    if not labels.dtype.is_integer:
        raise DTypeError(
            f"{layer}: class indices must be integers", **here(), expected=expected, given=labels.type.describe(),
            fix="write label.astype(graphrt.int32), or map transforms.TypeCast(graphrt.int32) over the label column",
        )  # fmt: skip


class CrossEntropyLoss(LossBase):
    """-log softmax(logits)[label]: logits (N, C) or (N, C, d1, ...); labels either integer class indices (N, d1, ...)
    or class probabilities of the logits' shape.

    `weight`: a factor per class. With class indices, "mean" divides by the summed weight of the labels that are not
    `ignore_index`.
    """

    def __init__(
        self,
        weight: Any = None,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__(reduction)
        if not 0.0 <= label_smoothing <= 1.0:
            raise ArgumentError(
                "CrossEntropyLoss: label_smoothing must be in [0, 1]", **here(), given=label_smoothing
            )
        self.weight, self.ignore_index, self.label_smoothing = (
            weight,
            int(ignore_index),
            float(label_smoothing),
        )

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        if labels.shape != logits.shape or labels.dtype.is_integer:
            if logits.ndim == 0:
                raise ShapeError(
                    "CrossEntropyLoss: logits need a class axis", **here(), expected="float32[N, C]"
                )
            check_class_indices(
                "CrossEntropyLoss",
                logits,
                labels,
                logits.shape[:1] + logits.shape[2:] if logits.ndim > 1 else (),
            )
        return ops.cross_entropy(
            logits, labels, self.weight, self.ignore_index, self.reduction, self.label_smoothing
        )  # fmt: skip


class SoftmaxCrossEntropyWithLogits(LossBase):
    """Softmax cross entropy per sample: logits (N, C); labels (N,) class indices if `sparse`, else (N, C)
    probabilities. The result is (N,) unless `reduction` is "mean" or "sum"."""

    def __init__(self, sparse: bool = False, reduction: str = "none"):
        super().__init__(reduction)
        self.sparse = bool(sparse)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.ndim != 2:
            raise ShapeError(
                "SoftmaxCrossEntropyWithLogits: logits must have 2 axes", **here(), expected="float32[N, C]",
                given=logits.type.describe(),
            )  # fmt: skip
        if self.sparse:
            check_class_indices("SoftmaxCrossEntropyWithLogits", logits, labels, logits.shape[:1])
            return self.get_loss(ops.softmax_cross_entropy_sparse(logits, labels))
        check_same_shape("SoftmaxCrossEntropyWithLogits(sparse=False)", logits, labels)
        return self.get_loss(ops.softmax_cross_entropy_dense(logits, labels))

    def extend_repr(self) -> str:
        return f"sparse={self.sparse}, reduction={self.reduction}"
