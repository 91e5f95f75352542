"""Build functions of normalization, attention, adaptive pooling and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..ir import Node, apply, current_source
from . import attention, losses, normalization
from .build_elementwise import add, div, maximum, mul, sqrt, sub, where
from .build_network import _pair, avg_pool2d, matmul
from .build_reductions import reduce_mean, reduce_sum
from .build_views import ones, swap_last_axes, zeros
from .operands import Operand, as_node, cast, constant, normal_axis, promoted


def batch_statistics(x: Operand) -> tuple[Node, Node]:
    """The mean and the biased variance of every channel of x (N, C, ...): two (C,)."""
    (x,) = promoted(x, floating=True)
    if len(x.shape) < 2:
        raise ShapeError(
            "batch_statistics: the input needs a channel axis", expected="float32[N, C, ...]",
            given=x.type.describe(), at=current_source(),
        )  # fmt: skip
    count = float(max(1, x.type.size // max(1, x.shape[1])))
    mean = div(normalization.channel_sum(x), count)
    centred = sub(x, normalization.per_channel(mean, x))
    return mean, div(normalization.channel_sum(mul(centred, centred)), count)


def batch_norm(
    x: Operand,
    gamma: Operand,
    beta: Operand,
    mean: Operand | None = None,
    variance: Operand | None = None,
    epsilon: float = 1e-5,
) -> Node:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta per channel of x (N, C, ...); without `mean` and
    `variance` (C,) with the statistics of this batch."""
    if (mean is None) != (variance is None):
        raise ArgumentError(
            "batch_norm: mean and variance come together", expected="both or neither", at=current_source()
        )
    (x,) = promoted(x, floating=True)
    given = [gamma, beta] if mean is None or variance is None else [gamma, beta, mean, variance]
    op = (normalization.BatchNormTraining if mean is None else normalization.BatchNormInference)(epsilon)
    return apply(op, x, *(cast(v, x.dtype) for v in given))


def layer_norm(
    x: Operand,
    gamma: Operand | None = None,
    beta: Operand | None = None,
    begin_norm_axis: int = -1,
    begin_params_axis: int = -1,
    epsilon: float = 1e-7,
) -> Node:
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, with the statistics over axes `begin_norm_axis` and later;
    gamma and beta (None: left out) have the shape of axes `begin_params_axis` and later."""
    (x,) = promoted(x, floating=True)
    axis = normal_axis("layer_norm", begin_norm_axis, len(x.shape))
    parameters_axis = normal_axis("layer_norm", begin_params_axis, len(x.shape))
    scale, shift = (None if v is None else cast(v, x.dtype) for v in (gamma, beta))
    if axis == parameters_axis or scale is shift is None:
        scale = ones(x.shape[axis:], x.dtype) if scale is None else scale
        return apply(normalization.LayerNorm(axis, epsilon), *(v for v in (x, scale, shift) if v is not None))
    for v in (scale, shift):
        if v is not None and v.shape != x.shape[parameters_axis:]:
            raise ShapeError(
                "layer_norm: gamma and beta need the shape of the axes from begin_params_axis on",
                expected=list(x.shape[parameters_axis:]), given=v.type.describe(), at=current_source(),
            )  # fmt: skip
    y = apply(normalization.LayerNorm(axis, epsilon), x, ones(x.shape[axis:], x.dtype))
    y = y if scale is None else mul(y, scale)
    return y if shift is None else add(y, shift)


def scaled_dot_product_attention(
    query: Operand,
    key: Operand,
    value: Operand,
    attn_mask: Operand | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    dropout_key: Operand | None = None,
) -> Node:
    """softmax(query key^T * scale) value: query (..., T, D), key (..., S, D), value (..., S, E) -> (..., T, E).

    `scale`: 1 / sqrt(D) unless given. `is_causal`: position t sees positions s <= t only. `attn_mask`: bool (True:
    seen) or float (added to the scores), broadcast to (..., T, S). `dropout_p`: the part of the weights to drop, from
    the random stream `dropout_key` (uint32[2]).
    """
    query, key, value = promoted(query, key, value, floating=True)
    if min(len(n.shape) for n in (query, key, value)) < 2:
        raise ShapeError(
            "attention: query, key and value need a position and a feature axis", at=current_source(),
            expected="(..., T, D), (..., S, D), (..., S, E)",
            given=", ".join(n.type.describe() for n in (query, key, value)),
        )  # fmt: skip
    factor = 1.0 / math.sqrt(max(1, query.shape[-1])) if scale is None else float(scale)
    if attn_mask is None and not dropout_p:
        return apply(attention.ScaledDotProductAttention(bool(is_causal), factor), query, key, value)
    scores = mul(matmul(query, swap_last_axes(key)), factor)
    rows, columns = scores.shape[-2:]
    if is_causal:
        scores = where(np.tril(np.ones((rows, columns), np.bool_)), scores, float("-inf"))
    if attn_mask is not None:
        mask = as_node(attn_mask)
        seen = mask.dtype.kind == "bool"
        scores = where(mask, scores, float("-inf")) if seen else add(scores, cast(mask, scores.dtype))
    weights = apply(losses.Softmax(len(scores.shape) - 1), scores)
    if dropout_p:
        from .build_random import dropout

        if dropout_key is None:
            raise ArgumentError("attention: dropout needs a random key", at=current_source())
        weights = dropout(weights, dropout_p, dropout_key)
    return matmul(weights, value)


# ---- pooling to a given size -----------------------------------------------------------------------------------


def adaptive_avg_pool2d(x: Operand, output_size: int | Sequence[int | None]) -> Node:
    """The mean of x (N, C, H, W) over an (h, w) grid of windows that cover it: (N, C, h, w). Window k of an axis runs
    from floor(k H / h) to ceil((k + 1) H / h); None keeps the axis. `output_size`: (h, w), or an int for
    both."""
    (x,) = promoted(x, floating=True)
    if len(x.shape) != 4 or 0 in x.shape[2:]:
        raise ShapeError(
            "adaptive_avg_pool2d: the input must hold images", expected="float32[N, C, H, W]",
            given=x.type.describe(), at=current_source(),
        )  # fmt: skip
    wanted = (output_size,) * 2 if isinstance(output_size, int) else tuple(output_size)
    height, width = _pair(
        "adaptive_avg_pool2d", "output_size",
        [e if w is None else w for e, w in zip(x.shape[2:], wanted)] if len(wanted) == 2 else wanted,  # type: ignore[arg-type]
    )  # fmt: skip
    if min(height, width) < 1:
        raise ArgumentError(
            "adaptive_avg_pool2d: output_size must be positive", given=output_size, at=current_source()
        )
    if (height, width) == (1, 1):
        return reduce_mean(x, (2, 3), keepdims=True)
    rows, columns = x.shape[2:]
    if rows % height == 0 and columns % width == 0:
        return avg_pool2d(x, (rows // height, columns // width))
    by_row = constant(_averages(rows, height), x.dtype)
    by_column = constant(_averages(columns, width).T, x.dtype)
    return matmul(matmul(by_row, x), by_column)


def _averages(extent: int, windows: int) -> np.ndarray:
    """(windows, extent): row k averages the elements of window k."""
    result = np.zeros((windows, extent))
    for k in range(windows):
        start, stop = k * extent // windows, -(-(k + 1) * extent // windows)
        result[k, start:stop] = 1.0 / (stop - start)
    return result


# ---- gradients -------------------------------------------------------------------------------------------------


def global_norm(xs: Sequence[Operand]) -> Node:
    """The Euclidean length of all tensors of `xs` taken together."""
    total: Node = zeros((), "float32")
    for k, x in enumerate(promoted(*xs, floating=True) if xs else ()):
        squares = reduce_sum(mul(x, x))
        total = squares if k == 0 else add(total, squares)
    return sqrt(total)


def clip_by_global_norm(
    xs: Sequence[Operand], clip_norm: float = 1.0, use_norm: Operand | None = None
) -> tuple[Node, ...]:
    """Every tensor of `xs` times clip_norm / max(global norm, clip_norm): together they are no longer than `clip_norm`
    afterwards. `use_norm`: the global norm, if it is known already."""
    if not isinstance(clip_norm, (int, float)) or not clip_norm > 0:
        raise ArgumentError(
            "clip_by_global_norm: clip_norm must be positive",
            expected="> 0",
            given=clip_norm,
            at=current_source(),
        )
    nodes = [as_node(x) for x in xs]
    length = global_norm(nodes) if use_norm is None else as_node(use_norm)
    factor = div(clip_norm, maximum(length, clip_norm))
    return tuple(mul(x, cast(factor, x.dtype)) for x in nodes)


__all__ = [
    "adaptive_avg_pool2d", "batch_norm", "batch_statistics", "clip_by_global_norm", "global_norm", "layer_norm",
    "scaled_dot_product_attention",
]  # fmt: skip
