"""Losses between probabilities: NLLLoss, BCELoss, BCEWithLogitsLoss, KLDivLoss, SoftMarginLoss, DiceLoss.

In: predictions and targets. Out: the loss, reduced as in `basic.py`. Logarithms are kept finite: log(x) is computed as
log(max(x, 1e-12)).
"""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, ShapeError
from ...frontend import functional as ops
from ...frontend.cell import Cell
from ...frontend.tensor import Tensor
from ..dense import here
from .basic import LossBase, check_class_indices, check_same_shape

_SMALLEST = 1e-12  # of a probability inside a logarithm


def _log(x: Tensor) -> Tensor:
    return ops.log(ops.maximum(x, _SMALLEST))


class NLLLoss(LossBase):
    """-weight[label] logits[label]: logits (N, C) or (N, C, d1, ...) are logarithms of probabilities, labels (N, d1, ...)
    class indices.

    `weight`: a factor per class (C,). Labels equal to `ignore_index` count nothing. "mean" divides by the summed weight of
    the labels that count.
    """

    def __init__(self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight, self.ignore_index = weight, int(ignore_index)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.ndim < 2:
            raise ShapeError(
                "NLLLoss: logits need a batch and a class axis", **here(), expected="float32[N, C]",
                given=logits.type.describe(),
            )  # fmt: skip
        check_class_indices("NLLLoss", logits, labels, logits.shape[:1] + logits.shape[2:])
        classes = logits.shape[1]
        chosen = ops.equal(
            ops.expand_dims(ops.cast(labels, "int32"), 1),
            ops.reshape(ops.arange(classes), (1, classes, *(1,) * (logits.ndim - 2))),
        )
        counted = ops.not_equal(ops.cast(labels, "int32"), self.ignore_index)
        chosen = ops.logical_and(chosen, ops.expand_dims(counted, 1))
        factor: Any = 1.0
        if self.weight is not None:
            factor = ops.reshape(self.weight, (1, classes, *(1,) * (logits.ndim - 2)))
        loss = -ops.reduce_sum(ops.where(chosen, logits * factor, 0.0), 1)
        if self.reduction != "mean":
            return self.get_loss(loss)
        mass = ops.where(chosen, ops.ones_like(logits) * factor, 0.0)
        return ops.sum(loss) / ops.sum(mass)


class BCELoss(LossBase):
    """-weight (y log(x) + (1 - y) log(1 - x)) for probabilities x and targets y in 0..1, both of one shape."""

    def __init__(self, weight: Any = None, reduction: str = "mean"):
        super().__init__(reduction)
        self.weight = weight

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("BCELoss", logits, labels)
        loss = -(labels * _log(logits) + (1.0 - labels) * _log(1.0 - logits))
        return self.get_loss(loss if self.weight is None else loss * self.weight)


class BCEWithLogitsLoss(LossBase):
    """`BCELoss` of sigmoid(logits), computed without the sigmoid so that large logits lose nothing.

    `weight`: a factor per element. `pos_weight`: a factor on the first term, y log(x). Both broadcast to the logits.
    """

    def __init__(self, reduction: str = "mean", weight: Any = None, pos_weight: Any = None):
        super().__init__(reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("BCEWithLogitsLoss", logits, labels)
        if self.pos_weight is None:
            loss = ops.softplus(logits) - logits * labels
        else:
            slope = labels * (self.pos_weight - 1.0) + 1.0
            loss = (1.0 - labels) * logits + slope * ops.softplus(-logits)
        return self.get_loss(loss if self.weight is None else loss * self.weight)


class KLDivLoss(LossBase):
    """labels (log(labels) - logits), 0 where labels is 0: logits are logarithms of probabilities, labels probabilities.

    Both of one shape. `reduction` "batchmean" divides the sum by the extent of the first axis.
    """

    def __init__(self, reduction: str = "mean"):
        super().__init__("sum" if reduction == "batchmean" else reduction)
        self._by_sample = reduction == "batchmean"

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("KLDivLoss", logits, labels)
        loss = self.get_loss(ops.where(labels > 0.0, labels * (_log(labels) - logits), 0.0))
        return loss / float(logits.shape[0]) if self._by_sample else loss


class SoftMarginLoss(LossBase):
    """log(1 + exp(-labels logits)) for labels 1 or -1. Both of one shape."""

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("SoftMarginLoss", logits, labels)
        return self.get_loss(ops.softplus(-(logits * labels)))


class DiceLoss(Cell):
    """1 - 2 sum(x y) / (sum(x^2) + sum(y^2) + smooth) for predictions x and targets y of one shape; a scalar."""

    def __init__(self, smooth: float = 1e-5):
        super().__init__()
        if not smooth > 0:
            raise ArgumentError("DiceLoss: smooth must be positive", **here(), given=f"smooth={smooth!r}")
        self.smooth = float(smooth)

    def construct(self, logits: Tensor, label: Tensor) -> Tensor:
        check_same_shape("DiceLoss", logits, label)
        both = ops.sum(ops.square(logits)) + ops.sum(ops.square(label)) + self.smooth
        return 1.0 - ops.sum(logits * label) * 2.0 / both
