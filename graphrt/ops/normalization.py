"""Batch and layer normalization: composites with their own gradients.

In: a float tensor with its scale and shift. Out: the normalized tensor. The expansions and gradient rules compute
statistics through the same build functions as `build.batch_statistics`, so that merging duplicates leaves one copy of
each, whoever asks for it: forward, backward, or the moving statistics.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import CompositeOp
from .batching import everywhere, merge_into, split_from, spread
from .deferred import build
from .views import Broadcast


def channel_axes(rank: int) -> tuple[int, ...]:
    """The axes a channel's statistics run over: all but axis 1."""
    return (0, *range(2, rank))


def channel_sum(x: Node) -> Node:
    """The sum of every channel of x (N, C, ...): (C,). First within each image, then over the images: the rounding
    errors of two short sums are far smaller than those of a long one."""
    within = build.reduce_sum(x, tuple(range(2, len(x.shape))))
    return build.reduce_sum(within, (0,))


def per_channel(vector: Node, x: Node) -> Node:
    """A (C,) vector repeated over x (N, C, ...)."""
    return apply(Broadcast(x.shape, (1,)), vector)


def _check_float(name: str, x: TensorType) -> None:
    if not x.dtype.is_float:
        raise DTypeError(f"{name}: element type not accepted", expected="float", given=x.describe())


def _check_operand(name: str, what: str, expected: TensorType, given: TensorType) -> None:
    if given.shape != expected.shape:
        raise ShapeError(
            f"{name}: {what} does not fit the input", expected=expected.describe(), given=given.describe()
        )
    if given.dtype != expected.dtype:
        raise DTypeError(
            f"{name}: {what} must have the input's element type",
            expected=expected.describe(), given=given.describe(),
        )  # fmt: skip


def _check_channels(name: str, types: tuple[TensorType, ...], operands: tuple[str, ...]) -> TensorType:
    x = types[0]
    _check_float(name, x)
    if x.rank < 2:
        raise ShapeError(
            f"{name}: the input needs a channel axis", expected="float32[N, C, ...]", given=x.describe()
        )
    for what, given in zip(operands, types[1:], strict=True):
        _check_operand(name, what, TensorType(x.shape[1:2], x.dtype), given)
    return x


def _spread(vector: np.ndarray, rank: int) -> np.ndarray:
    """A (C,) array that broadcasts against (N, C, ...)."""
    return vector.reshape(-1, *(1,) * (rank - 2))


def _wide(x: np.ndarray) -> np.ndarray:
    """Half precision as float32: statistics need the digits."""
    return x.astype(np.float32) if x.dtype.itemsize == 2 else x


def _normalize(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    with np.errstate(all="ignore"):
        centred = x - x.mean(axis=axes, keepdims=True)
        variance = np.square(centred).mean(axis=axes, keepdims=True)
        return centred / np.sqrt(variance + x.dtype.type(epsilon))


def _by_channel(op: CompositeOp, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
    """Every sample gets channels of its own: (B, N, C, ...) is normalized as (N, B * C, ...)."""
    image, *vectors = everywhere(size, x, batched)
    result = apply(op, merge_into(image, 1), *(merge_into(v, 0) for v in vectors))
    return split_from(result, 1, size)


@dataclass(frozen=True)
class BatchNormTraining(CompositeOp):
    """(x: float (N, C, ...), gamma (C,), beta (C,)) -> x's shape: (x - mean) / sqrt(variance + epsilon) * gamma + beta
    with the mean and the biased variance of each channel over this batch.

    The gradient flows through the statistics:
    dx = gamma / sqrt(variance + epsilon) * (g - mean(g) - normalized x * mean(g * normalized x)).
    """

    epsilon: float

    def infer(self, *types: TensorType) -> TensorType:
        x = _check_channels(self.name, types, ("gamma", "beta"))
        if x.size == 0:
            raise ShapeError(
                f"{self.name}: an empty batch has no statistics",
                expected="1 or more values per channel", given=x.describe(),
            )  # fmt: skip
        return x

    def evaluate(self, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
        normalized = _normalize(_wide(x), channel_axes(x.ndim), self.epsilon)
        return (normalized * _spread(gamma, x.ndim) + _spread(beta, x.ndim)).astype(x.dtype, copy=False)

    def _parts(self, x: Node) -> tuple[Node, Node]:
        """x minus its channel means, and 1 / standard deviation (C,)."""
        mean, variance = build.batch_statistics(x)
        return build.sub(x, per_channel(mean, x)), build.rsqrt(build.add(variance, self.epsilon))

    def expand(self, *x: Node) -> Node:
        image, gamma, beta = x
        centred, scale = self._parts(image)
        scaled = build.mul(centred, per_channel(build.mul(gamma, scale), image))
        return build.add(scaled, per_channel(beta, image))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node, Node]:
        image, gamma, _ = x
        centred, scale = self._parts(image)
        count = float(image.type.size // image.shape[1])
        total = channel_sum(g)
        along = build.mul(channel_sum(build.mul(g, centred)), scale)
        mean = per_channel(build.div(total, count), image)
        slope = per_channel(build.div(build.mul(along, scale), count), image)
        inner = build.sub(build.sub(g, mean), build.mul(centred, slope))
        return build.mul(inner, per_channel(build.mul(gamma, scale), image)), along, total

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return _by_channel(self, size, x, batched)

    def flops(self, *types: TensorType) -> int:
        return 7 * types[0].size


@dataclass(frozen=True)
class BatchNormInference(CompositeOp):
    """(x: float (N, C, ...), gamma, beta, mean, variance: (C,)) -> x's shape: (x - mean) / sqrt(variance + epsilon) *
    gamma + beta with given statistics."""

    epsilon: float

    def infer(self, *types: TensorType) -> TensorType:
        return _check_channels(self.name, types, ("gamma", "beta", "mean", "variance"))

    def evaluate(
        self, x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray
    ) -> np.ndarray:
        wide = _wide(x)
        with np.errstate(all="ignore"):
            scale = gamma / np.sqrt(_wide(variance) + wide.dtype.type(self.epsilon))
        centred = wide - _spread(mean, x.ndim)
        return (centred * _spread(scale, x.ndim) + _spread(beta, x.ndim)).astype(x.dtype, copy=False)

    def _scale(self, variance: Node) -> Node:
        return build.rsqrt(build.add(variance, self.epsilon))

    def expand(self, *x: Node) -> Node:
        image, gamma, beta, mean, variance = x
        scale = per_channel(build.mul(gamma, self._scale(variance)), image)
        return build.add(
            build.mul(build.sub(image, per_channel(mean, image)), scale), per_channel(beta, image)
        )

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, ...]:
        image, gamma, _, mean, variance = x
        inverse = self._scale(variance)
        scale = build.mul(gamma, inverse)
        total = channel_sum(g)
        centred = build.sub(image, per_channel(mean, image))
        along = build.mul(channel_sum(build.mul(g, centred)), inverse)
        by_mean = build.neg(build.mul(total, scale))
        by_variance = build.mul(build.mul(along, -0.5), build.mul(scale, inverse))
        return build.mul(g, per_channel(scale, image)), along, total, by_mean, by_variance

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        if any(batched[1:]):
            return _by_channel(self, size, x, batched)
        return split_from(apply(self, merge_into(x[0], 0), *x[1:]), 0, size)

    def flops(self, *types: TensorType) -> int:
        return 3 * types[0].size


@dataclass(frozen=True)
class LayerNorm(CompositeOp):
    """(x: float, gamma[, beta]) -> x's shape: (x - mean) / sqrt(variance + epsilon) * gamma [+ beta], with the mean and
    the biased variance over axes `axis` and later. gamma and beta have the shape of those axes."""

    axis: int
    epsilon: float

    def infer(self, *types: TensorType) -> TensorType:
        x = types[0]
        _check_float(self.name, x)
        if not 0 <= self.axis < x.rank:
            raise ShapeError(
                "layer_norm: axis out of range", expected=f"an axis of {x.describe()}", given=self.axis
            )
        if math.prod(x.shape[self.axis :]) == 0:
            raise ShapeError(
                "layer_norm: nothing to normalize", expected="1 or more elements", given=x.describe()
            )
        if len(types) not in (2, 3):
            raise ShapeError(
                "layer_norm: wrong number of operands", expected="x, gamma and maybe beta", given=len(types)
            )
        for what, given in zip(("gamma", "beta"), types[1:]):
            _check_operand(self.name, what, TensorType(x.shape[self.axis :], x.dtype), given)
        return x

    def evaluate(self, x: np.ndarray, gamma: np.ndarray, *beta: np.ndarray) -> np.ndarray:
        result = _normalize(_wide(x), tuple(range(self.axis, x.ndim)), self.epsilon) * gamma
        return (result + beta[0] if beta else result).astype(x.dtype, copy=False)

    def _axes(self, x: Node) -> tuple[int, ...]:
        return tuple(range(self.axis, len(x.shape)))

    def _parts(self, x: Node) -> tuple[Node, Node]:
        """x minus its mean, and 1 / standard deviation with the normalized axes kept as 1."""
        axes = self._axes(x)
        centred = build.sub(x, build.reduce_mean(x, axes, keepdims=True))
        variance = build.reduce_mean(build.mul(centred, centred), axes, keepdims=True)
        return centred, build.rsqrt(build.add(variance, self.epsilon))

    def expand(self, *x: Node) -> Node:
        centred, scale = self._parts(x[0])
        result = build.mul(build.mul(centred, scale), x[1])
        return build.add(result, x[2]) if len(x) == 3 else result

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, ...]:
        axes = self._axes(x[0])
        leading = tuple(range(self.axis))
        centred, scale = self._parts(x[0])
        normalized = build.mul(centred, scale)
        weighted = build.mul(g, x[1])
        mean = build.reduce_mean(weighted, axes, keepdims=True)
        slope = build.reduce_mean(build.mul(weighted, normalized), axes, keepdims=True)
        inner = build.sub(build.sub(weighted, mean), build.mul(normalized, slope))
        by_gamma = build.reduce_sum(build.mul(g, normalized), leading)
        by_beta = (build.reduce_sum(g, leading),) if len(x) == 3 else ()
        return (build.mul(inner, scale), by_gamma, *by_beta)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        image, *parameters = x
        image = image if batched[0] else spread(image, size)
        op = LayerNorm(self.axis + 1, self.epsilon)
        if not any(batched[1:]):
            return apply(op, image, *parameters)

        def per_sample(vector: Node) -> Node:
            return apply(Broadcast(image.shape, (0, *range(self.axis + 1, len(image.shape)))), vector)

        gamma, *beta = everywhere(size, parameters, batched[1:])
        scaled = build.mul(
            apply(op, image, build.ones(image.shape[self.axis + 1 :], image.dtype)), per_sample(gamma)
        )
        return build.add(scaled, per_sample(beta[0])) if beta else scaled

    def flops(self, *types: TensorType) -> int:
        return 8 * types[0].size
