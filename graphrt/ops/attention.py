"""Scaled dot-product attention: softmax(query key^T * scale) value, optionally causal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import CompositeOp
from .batching import everywhere
from .deferred import build
from .losses import Softmax


@dataclass(frozen=True)
class ScaledDotProductAttention(CompositeOp):
    """query (..., T, D), key (..., S, D), value (..., S, E), floats with equal leading axes -> (..., T, E).

    Each of the T rows is a mean of the S rows of `value`, weighted by softmax(query key^T * scale) along S. `causal`:
    row t sees the rows s <= t only. The gradient computes the weights anew from query and key; where forward and
    backward share a graph, merging duplicates keeps the first copy instead.
    """

    causal: bool
    scale: float

    def infer(self, *types: TensorType) -> TensorType:
        query, key, value = types
        for what, given in (("query", query), ("key", key), ("value", value)):
            if not given.dtype.is_float or given.dtype != query.dtype:
                raise DTypeError(
                    f"attention: {what} must be floats of the query's type",
                    expected="float",
                    given=given.describe(),
                )
            if given.rank < 2 or given.shape[:-2] != query.shape[:-2]:
                raise ShapeError(
                    "attention: query, key and value need equal leading axes",
                    expected="(..., T, D), (..., S, D), (..., S, E)",
                    given=", ".join(t.describe() for t in types),
                )  # fmt: skip
        if key.shape[-1] != query.shape[-1]:
            raise ShapeError(
                "attention: query and key differ in their last axis",
                expected=f"key (..., {query.shape[-1]})", given=key.describe(),
            )  # fmt: skip
        if value.shape[-2] != key.shape[-2] or key.shape[-2] == 0:
            raise ShapeError(
                "attention: key and value need one row per position, at least one",
                expected=key.describe(), given=value.describe(),
            )  # fmt: skip
        return TensorType((*query.shape[:-1], value.shape[-1]), query.dtype)

    def evaluate(self, query: np.ndarray, key: np.ndarray, value: np.ndarray) -> np.ndarray:
        narrow = query.dtype.itemsize == 2
        q, k, v = (x.astype(np.float32) if narrow else x for x in (query, key, value))
        with np.errstate(all="ignore"):
            scores = (q @ np.swapaxes(k, -1, -2)) * q.dtype.type(self.scale)
            if self.causal:
                visible = np.tril(np.ones(scores.shape[-2:], np.bool_))
                scores = np.where(visible, scores, scores.dtype.type(-np.inf))
            return (Softmax(scores.ndim - 1).evaluate(scores) @ v).astype(query.dtype, copy=False)

    def _weights(self, query: Node, key: Node) -> Node:
        """How much each row t takes of each row s: (..., T, S)."""
        scores = build.mul(build.matmul(query, build.swap_last_axes(key)), self.scale)
        last = len(scores.shape) - 1
        if self.causal:
            row, column = (build.iota(scores.shape, axis, int32) for axis in (last - 1, last))
            scores = build.where(build.less_equal(column, row), scores, float("-inf"))
        return apply(Softmax(last), scores)

    def expand(self, *x: Node) -> Node:
        query, key, value = x
        return build.matmul(self._weights(query, key), value)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node, Node]:
        query, key, value = x
        weights = self._weights(query, key)
        # sum over s of weights * (g value^T) is sum over e of g * y: one short reduction instead of a long one
        inner = build.reduce_sum(build.mul(g, y), (len(y.shape) - 1,), keepdims=True)
        by_weights = build.matmul(g, build.swap_last_axes(value))
        by_scores = build.mul(build.mul(weights, build.sub(by_weights, inner)), self.scale)
        return (
            build.matmul(by_scores, key),
            build.matmul(build.swap_last_axes(by_scores), query),
            build.matmul(build.swap_last_axes(weights), g),
        )

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(self, *everywhere(size, x, batched))

    def flops(self, *types: TensorType) -> int:
        query, key, value = types
        pairs = query.size // max(1, query.shape[-1]) * key.shape[-2]
        return pairs * (2 * query.shape[-1] + 2 * value.shape[-1] + 5)
