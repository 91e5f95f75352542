"""Loss functions of `graphrt.ops` beyond cross entropy, MSE and L1, composed of the functions in `functional.py`.

In: predictions and targets, float Tensors that broadcast against each other unless a docstring says otherwise. Out: the
loss: "mean" and "sum" give a scalar, "none" one value per element.
"""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, ShapeError
from . import functional as base
from .location import user_source
from .tensor import Tensor

LOWEST_LOG = -100.0  # where the logarithm of a probability of 0 is cut off


def _reduced(name: str, loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return base.reduce_mean(loss)
    if reduction == "sum":
        return base.reduce_sum(loss)
    if reduction == "none":
        return loss
    raise ArgumentError(
        f"{name}: unknown reduction",
        at=user_source(),
        expected="'mean', 'sum' or 'none'",
        given=repr(reduction),
    )


def nll_loss(
    inputs: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-inputs[n, target[n]] for log-probabilities (N, C) or (N, C, d1, ...) and class indices (N, ...).

    `weight`: one factor per class; "mean" divides by the summed weight of the samples that are not `ignore_index`. The
    same as `cross_entropy` of log-probabilities, whose softmax changes nothing.
    """
    axis = 0 if inputs.ndim == 1 else 1
    classes = inputs.shape[axis]
    samples = (*inputs.shape[:axis], *inputs.shape[axis + 1 :])
    target = target if isinstance(target, Tensor) else Tensor(target)
    if not target.dtype.is_integer or tuple(target.shape) != samples:
        raise ShapeError(
            "nll_loss: one class index per sample", at=user_source(), expected=f"int32{list(samples)}",
            given=target.type.describe(),
        )  # fmt: skip
    one_hot = base.one_hot(target, classes, axis=axis, dtype=inputs.dtype)
    shape = [classes if k == axis else 1 for k in range(inputs.ndim)]
    counted = base.cast(base.not_equal(target, ignore_index), inputs.dtype)
    factor: Any = one_hot
    if weight is not None:
        factor = base.mul(one_hot, base.reshape(weight, shape))
    loss = base.neg(base.reduce_sum(base.where(one_hot, base.mul(inputs, factor), 0.0), axis))
    if label_smoothing:
        smooth = inputs if weight is None else base.mul(inputs, base.reshape(weight, shape))
        spread = base.neg(base.reduce_sum(smooth, axis))
        loss = base.add(base.mul(loss, 1.0 - label_smoothing), base.mul(spread, label_smoothing / classes))
    loss = base.mul(loss, counted)
    if reduction != "mean":
        return _reduced("nll_loss", loss, reduction)
    mass = counted if weight is None else base.mul(base.reduce_sum(factor, axis), counted)
    return base.div(base.reduce_sum(loss), base.reduce_sum(mass))


def binary_cross_entropy(logits: Any, labels: Any, weight: Any = None, reduction: str = "mean") -> Tensor:
    """-(labels log(p) + (1 - labels) log(1 - p)) for probabilities p = `logits`; logarithms are at least -100.
    `weight`: a factor per element."""
    positive = base.maximum(base.log(logits), LOWEST_LOG)
    negative = base.maximum(base.log1p(base.neg(logits)), LOWEST_LOG)
    loss = base.neg(base.add(base.mul(labels, positive), base.mul(base.sub(1.0, labels), negative)))
    return _reduced("binary_cross_entropy", loss if weight is None else base.mul(loss, weight), reduction)


def binary_cross_entropy_with_logits(
    logits: Any, label: Any, weight: Any = None, pos_weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(logits), without overflow: (1 - y) x + (1 + (w - 1) y) log(1 + exp(-x)) with w
    = `pos_weight`, the weight of positive examples. `weight`: a factor per element. `label`: y, as numbers
    0 to 1 of the shape of x."""
    # log(1 + exp(-x)) = max(-x, 0) + log1p(exp(-|x|))
    tail = base.add(base.relu(base.neg(logits)), base.log1p(base.exp(base.neg(base.abs(logits)))))
    if pos_weight is not None:
        tail = base.mul(tail, base.add(base.mul(base.sub(pos_weight, 1.0), label), 1.0))
    loss = base.add(base.mul(base.sub(1.0, label), logits), tail)
    loss = loss if weight is None else base.mul(loss, weight)
    return _reduced("binary_cross_entropy_with_logits", loss, reduction)


def smooth_l1_loss(input: Any, target: Any, beta: float = 1.0, reduction: str = "none") -> Tensor:
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, for d = input - target."""
    distance = base.abs(base.sub(input, target))
    if beta == 0:
        return _reduced("smooth_l1_loss", distance, reduction)
    near = base.mul(base.square(distance), 0.5 / beta)
    loss = base.where(base.less(distance, beta), near, base.sub(distance, 0.5 * beta))
    return _reduced("smooth_l1_loss", loss, reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), for d = input - target."""
    distance = base.abs(base.sub(input, target))
    far = base.mul(base.sub(distance, 0.5 * delta), delta)
    loss = base.where(base.less_equal(distance, delta), base.mul(base.square(distance), 0.5), far)
    return _reduced("huber_loss", loss, reduction)


def kl_div(logits: Any, labels: Any, reduction: str = "mean") -> Tensor:
    """labels (log(labels) - logits) for log-probabilities `logits` and probabilities `labels`; "batchmean" divides the
    sum by the extent of axis 0."""
    from .functional_math import xlogy

    loss = base.sub(xlogy(labels, labels), base.mul(labels, logits))
    if reduction == "batchmean":
        return base.div(base.reduce_sum(loss), float(loss.shape[0]))
    return _reduced("kl_div", loss, reduction)


def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """max(0, -target (input1 - input2) + margin); target 1: the first should be larger, -1: the second."""
    difference = base.mul(base.neg(target), base.sub(input1, input2))
    return _reduced("margin_ranking_loss", base.relu(base.add(difference, margin)), reduction)


def hinge_embedding_loss(inputs: Any, targets: Any, margin: float = 1.0, reduction: str = "mean") -> Tensor:
    """inputs where targets is 1, max(0, margin - inputs) where it is -1."""
    far = base.relu(base.sub(margin, inputs))
    return _reduced("hinge_embedding_loss", base.where(base.greater(targets, 0), inputs, far), reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """log(1 + exp(-target input)) for targets 1 and -1."""
    return _reduced(
        "soft_margin_loss", base.softplus(base.neg(base.mul(target, input)), 1.0, float("inf")), reduction
    )


def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean"
) -> Tensor:
    """1 - cos(input1, input2) where target is 1, max(0, cos - margin) where it is -1; rows (N, D) and targets (N,)."""
    from .functional_math import cosine_similarity

    cosine = cosine_similarity(input1, input2, -1)
    apart = base.relu(base.sub(cosine, margin))
    loss = base.where(base.greater(target, 0), base.sub(1.0, cosine), apart)
    return _reduced("cosine_embedding_loss", loss, reduction)


def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, p: int = 2, eps: float = 1e-06, margin: float = 1.0,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """max(0, |anchor - positive| - |anchor - negative| + margin) with p-norms along the last axis; `eps` is added to
    the differences."""

    def distance(other: Any) -> Tensor:
        difference = base.abs(base.add(base.sub(anchor, other), eps))
        return base.pow(base.reduce_sum(base.pow(difference, p), -1), 1.0 / p)

    loss = base.relu(base.add(base.sub(distance(positive), distance(negative)), margin))
    return _reduced("triplet_margin_loss", loss, reduction)


__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "hinge_embedding_loss",
    "huber_loss", "kl_div", "margin_ranking_loss", "nll_loss", "smooth_l1_loss", "soft_margin_loss",
    "triplet_margin_loss",
]  # fmt: skip
