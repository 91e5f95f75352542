"""Softmax, log-softmax and softmax cross entropy: composites with their own, numerically safe gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import CompositeOp
from .batching import everywhere, merge_into, split_from
from .deferred import build


def _check_float(name: str, x: TensorType) -> None:
    if not x.dtype.is_float:
        raise DTypeError(f"{name}: element type not accepted", expected="float", given=x.describe())


def _shift(x: Node, axis: int) -> Node:
    """x minus its maximum along `axis`, so that no exponential overflows."""
    return build.sub(x, build.reduce_max(x, (axis,), keepdims=True))


def _log_softmax(x: np.ndarray, axis: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=axis, keepdims=True)
        return (shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))).astype(x.dtype, copy=False)


class _AlongAxis(CompositeOp, abstract=True):
    """A float tensor normalised along one axis."""

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        _check_float(self.name, x)
        if not 0 <= self.axis < x.rank:
            raise ShapeError(
                f"{self.name}: axis out of range", expected=f"an axis of {x.describe()}", given=self.axis
            )
        if x.shape[self.axis] == 0:
            raise ShapeError(
                f"{self.name}: the axis is empty", expected="1 or more elements", given=x.describe()
            )
        return x

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(replace(self, axis=self.axis + 1), x[0])  # type: ignore[type-var]

    def flops(self, *types: TensorType) -> int:
        return 5 * types[0].size


@dataclass(frozen=True)
class Softmax(_AlongAxis):
    """exp(x) / sum(exp(x)) along `axis`."""

    axis: int

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            exponential = np.exp(x - x.max(axis=self.axis, keepdims=True))
            return (exponential / exponential.sum(axis=self.axis, keepdims=True)).astype(x.dtype, copy=False)

    def expand(self, *x: Node) -> Node:
        exponential = build.exp(_shift(x[0], self.axis))
        return build.div(exponential, build.reduce_sum(exponential, (self.axis,), keepdims=True))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        inner = build.reduce_sum(build.mul(g, y), (self.axis,), keepdims=True)
        return (build.mul(y, build.sub(g, inner)),)


@dataclass(frozen=True)
class LogSoftmax(_AlongAxis):
    """x - log(sum(exp(x))) along `axis`."""

    axis: int

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return _log_softmax(x, self.axis)

    def expand(self, *x: Node) -> Node:
        shifted = _shift(x[0], self.axis)
        total = build.reduce_sum(build.exp(shifted), (self.axis,), keepdims=True)
        return build.sub(shifted, build.log(total))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        total = build.reduce_sum(g, (self.axis,), keepdims=True)
        return (build.sub(g, build.mul(apply(Softmax(self.axis), x[0]), total)),)


def _check_logits(name: str, logits: TensorType) -> None:
    _check_float(name, logits)
    if logits.rank != 2 or logits.shape[1] == 0:
        raise ShapeError(
            f"{name}: logits must be one row of class scores per sample",
            expected=f"{logits.dtype.name}[N, C]", given=logits.describe(),
        )  # fmt: skip


@dataclass(frozen=True)
class SoftmaxCrossEntropySparse(CompositeOp):
    """(logits: float (N, C), labels: integer (N,)) -> (N,): -log softmax(logits)[label].

    Samples whose label is `ignore_index` have loss 0 and no gradient. Any other label outside 0..C-1 has loss
    NaN, so that training reports it instead of learning from it. Gradient: (softmax - onehot) * g.
    """

    ignore_index: int | None = None

    def infer(self, *types: TensorType) -> TensorType:
        logits, labels = types
        _check_logits(self.name, logits)
        if not labels.dtype.is_integer:
            raise DTypeError(
                f"{self.name}: labels must be class indices", expected=f"int32[{logits.shape[0]}]",
                given=labels.describe(), fix="labels.astype(graphrt.int32)",
            )  # fmt: skip
        if labels.shape != logits.shape[:1]:
            raise ShapeError(
                f"{self.name}: one label per sample is needed",
                expected=f"{labels.dtype.name}[{logits.shape[0]}]", given=labels.describe(),
            )  # fmt: skip
        return TensorType(labels.shape, logits.dtype)

    def evaluate(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        classes = logits.shape[1]
        labels = labels.astype(np.int64)
        valid = (labels >= 0) & (labels < classes)
        columns = np.where(valid, labels, 0)
        loss = -np.take_along_axis(_log_softmax(logits, 1), columns[:, None], axis=1)[:, 0]
        loss = np.where(valid, loss, loss.dtype.type(np.nan))
        if self.ignore_index is not None:
            loss = np.where(labels == self.ignore_index, loss.dtype.type(0), loss)
        return loss

    def _ignored(self, labels: Node) -> Node | None:
        """Which samples are ignored; None when the label type cannot hold `ignore_index`."""
        if self.ignore_index is None or not build.fits(self.ignore_index, labels.dtype):
            return None
        return build.equal(labels, self.ignore_index)

    def _is_label(self, logits: Node, labels: Node) -> Node:
        """bool (N, C): the one-hot labels. int32 columns unless the label type is wider."""
        labels = _at_least_int32(labels)
        return build.equal(build.iota(logits.shape, 1, labels.dtype), build.expand_dims(labels, 1))

    def expand(self, *x: Node) -> Node:
        logits, labels = x
        shifted = _shift(logits, 1)
        picked = build.reduce_sum(build.where(self._is_label(logits, labels), shifted, 0.0), (1,))
        loss = build.sub(build.log(build.reduce_sum(build.exp(shifted), (1,))), picked)
        wide = _at_least_int32(labels)
        valid = build.logical_and(build.greater_equal(wide, 0), build.less(wide, logits.shape[1]))
        loss = build.where(valid, loss, float("nan"))
        ignored = self._ignored(labels)
        return loss if ignored is None else build.where(ignored, 0.0, loss)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, None]:
        logits, labels = x
        ignored = self._ignored(labels)
        if ignored is not None:
            g = build.where(ignored, 0.0, g)
        probability = apply(Softmax(1), logits)
        difference = build.where(self._is_label(logits, labels), build.sub(probability, 1.0), probability)
        return build.mul(difference, build.expand_dims(g, 1)), None

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return _by_row(self, size, x, batched)

    def flops(self, *types: TensorType) -> int:
        return 5 * types[0].size


def _by_row(op: CompositeOp, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
    """A loss of the rows of a matrix: the rows of all samples make one matrix."""
    rows = [merge_into(n, 0) for n in everywhere(size, x, batched)]
    return split_from(apply(op, *rows), 0, size)


def _at_least_int32(labels: Node) -> Node:
    return labels if labels.dtype.size >= 4 else build.cast(labels, int32)


@dataclass(frozen=True)
class SoftmaxCrossEntropyDense(CompositeOp):
    """(logits: float (N, C), probabilities: the same type) -> (N,): -sum(probabilities * log
    softmax(logits)).

    The gradient is (softmax * sum(probabilities) - probabilities) * g: right for rows that do not sum to one,
    too.
    """

    def infer(self, *types: TensorType) -> TensorType:
        logits, probabilities = types
        _check_logits(self.name, logits)
        if probabilities.shape != logits.shape:
            raise ShapeError(
                f"{self.name}: class probabilities must have the shape of the logits",
                expected=logits.describe(), given=probabilities.describe(),
            )  # fmt: skip
        if probabilities.dtype != logits.dtype:
            raise DTypeError(
                f"{self.name}: logits and probabilities must have one element type",
                expected=logits.describe(), given=probabilities.describe(),
            )  # fmt: skip
        return TensorType(logits.shape[:1], logits.dtype)

    def evaluate(self, logits: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        # the sign goes inside, so that all-zero probabilities give 0 and not -0
        return (probabilities * -_log_softmax(logits, 1)).sum(axis=1, dtype=logits.dtype)

    def expand(self, *x: Node) -> Node:
        return build.reduce_sum(build.mul(x[1], build.neg(apply(LogSoftmax(1), x[0]))), (1,))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        logits, probabilities = x
        mass = build.reduce_sum(probabilities, (1,), keepdims=True)
        difference = build.sub(build.mul(apply(Softmax(1), logits), mass), probabilities)
        g = build.expand_dims(g, 1)
        return build.mul(difference, g), build.neg(build.mul(apply(LogSoftmax(1), logits), g))

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return _by_row(self, size, x, batched)

    def flops(self, *types: TensorType) -> int:
        return 6 * types[0].size
