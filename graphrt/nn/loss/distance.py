"""Losses that measure distances: HuberLoss, SmoothL1Loss, RMSELoss, MAELoss, and between pairs and triples of samples
CosineEmbeddingLoss, MarginRankingLoss, HingeEmbeddingLoss, TripletMarginLoss.

In: predictions and targets, or samples and which belong together. Out: the loss, reduced as in `basic.py`.
"""

from __future__ import annotations

from ...errors import ArgumentError, ShapeError
from ...frontend import functional as ops
from ...frontend.cell import Cell
from ...frontend.tensor import Tensor
from ..dense import here
from .basic import L1Loss, LossBase, check_same_shape


def _positive(loss: str, name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise ArgumentError(
            f"{loss}: {name} must be positive", **here(), expected="> 0", given=f"{name}={value!r}"
        )
    return float(value)


class HuberLoss(LossBase):
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), d being logits - labels. Both of one shape."""

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction)
        self.delta = _positive("HuberLoss", "delta", delta)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("HuberLoss", logits, labels)
        d = ops.abs(logits - labels)
        far = (d - 0.5 * self.delta) * self.delta
        return self.get_loss(ops.where(d <= self.delta, ops.square(d) * 0.5, far))


class SmoothL1Loss(LossBase):
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, d being logits - labels. Both of one shape."""

    def __init__(self, beta: float = 1.0, reduction: str = "none"):
        super().__init__(reduction)
        self.beta = _positive("SmoothL1Loss", "beta", beta)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("SmoothL1Loss", logits, labels)
        d = ops.abs(logits - labels)
        return self.get_loss(ops.where(d < self.beta, ops.square(d) * (0.5 / self.beta), d - 0.5 * self.beta))


class RMSELoss(LossBase):
    """The square root of the mean of (logits - label)^2: a scalar. Both of one shape."""

    def __init__(self) -> None:
        super().__init__("mean")

    def construct(self, logits: Tensor, label: Tensor) -> Tensor:
        check_same_shape("RMSELoss", logits, label)
        return ops.sqrt(self.get_loss(ops.square(logits - label)))


class MAELoss(L1Loss):
    """|logits - labels|. Both of one shape."""


def _check_vectors(loss: str, *vectors: Tensor) -> None:
    """Samples are (N, D), all of one shape."""
    if vectors[0].ndim != 2 or any(v.shape != vectors[0].shape for v in vectors):
        raise ShapeError(
            f"{loss}: the samples must be vectors of one shape", **here(), expected="float32[N, D] each",
            given=", ".join(v.type.describe() for v in vectors),
        )  # fmt: skip


class CosineEmbeddingLoss(LossBase):
    """1 - c where the label is 1, max(0, c - margin) where it is -1, c being the cosine between logits_x1 and logits_x2
    (N, D); labels (N,)."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean"):
        super().__init__(reduction)
        if not -1.0 <= margin <= 1.0:
            raise ArgumentError(
                "CosineEmbeddingLoss: margin out of range", **here(), expected="-1 to 1", given=margin
            )
        self.margin = float(margin)

    def construct(self, logits_x1: Tensor, logits_x2: Tensor, labels: Tensor) -> Tensor:
        _check_vectors("CosineEmbeddingLoss", logits_x1, logits_x2)
        squares = [ops.reduce_sum(ops.square(x), 1) + 1e-12 for x in (logits_x1, logits_x2)]
        cosine = ops.reduce_sum(logits_x1 * logits_x2, 1) / ops.sqrt(squares[0] * squares[1])
        alike = ops.where(ops.equal(labels, 1), 1.0 - cosine, 0.0)
        different = ops.where(ops.equal(labels, -1), ops.relu(cosine - self.margin), 0.0)
        return self.get_loss(alike + different)


class MarginRankingLoss(LossBase):
    """max(0, margin - target (input1 - input2)): target 1 wants the first to be larger, -1 the second. All of one
    shape."""

    def __init__(self, margin: float = 0.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = float(margin)

    def construct(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        check_same_shape("MarginRankingLoss", input1, input2)
        check_same_shape("MarginRankingLoss", input1, target)
        return self.get_loss(ops.relu((input2 - input1) * target + self.margin))


class HingeEmbeddingLoss(LossBase):
    """logits where the label is 1, max(0, margin - logits) where it is -1. Both of one shape."""

    def __init__(self, margin: float = 1.0, reduction: str = "mean"):
        super().__init__(reduction)
        self.margin = float(margin)

    def construct(self, logits: Tensor, labels: Tensor) -> Tensor:
        check_same_shape("HingeEmbeddingLoss", logits, labels)
        return self.get_loss(ops.where(ops.equal(labels, 1), logits, ops.relu(self.margin - logits)))


class TripletMarginLoss(LossBase):
    """max(0, |x - positive| - |x - negative| + margin) with the p-norm of (N, D) differences, to which `eps` is added.

    `swap`: the smaller of |x - negative| and |positive - negative| in place of the former.
    """

    def __init__(
        self,
        p: float = 2,
        swap: bool = False,
        eps: float = 1e-06,
        reduction: str = "mean",
        margin: float = 1.0,
    ):
        super().__init__(reduction)
        self.p, self.eps = _positive("TripletMarginLoss", "p", p), float(eps)
        self.swap, self.margin = bool(swap), _positive("TripletMarginLoss", "margin", margin)

    def _distance(self, x: Tensor, y: Tensor) -> Tensor:
        difference = ops.abs(x - y + self.eps)
        if self.p == 1:
            return ops.reduce_sum(difference, 1)
        if self.p == 2:
            return ops.sqrt(ops.reduce_sum(ops.square(difference), 1))
        return ops.pow(ops.reduce_sum(ops.pow(difference, self.p), 1), 1.0 / self.p)

    def construct(self, x: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        _check_vectors("TripletMarginLoss", x, positive, negative)
        away = self._distance(x, negative)
        if self.swap:
            away = ops.minimum(away, self._distance(positive, negative))
        return self.get_loss(ops.relu(self._distance(x, positive) - away + self.margin))


class CosineSimilarity(Cell):
    """The cosine between x1 and x2 along `dim`: sum(x1 x2) / max(|x1| |x2|, eps)."""

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        super().__init__()
        self.dim, self.eps = int(dim), float(eps)

    def construct(self, x1: Tensor, x2: Tensor) -> Tensor:
        squares = ops.reduce_sum(ops.square(x1), self.dim) * ops.reduce_sum(ops.square(x2), self.dim)
        # the limit goes inside the root: its gradient stays finite for a vector of zeros
        return ops.reduce_sum(x1 * x2, self.dim) / ops.sqrt(ops.maximum(squares, self.eps**2))
