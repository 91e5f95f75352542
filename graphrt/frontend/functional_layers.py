"""The functions of `graphrt.ops` that layers are made of: activations, normalization, attention, adaptive pooling,
gradient clipping. Part of `functional.py`, which lists them among its own.

In: Tensors, Parameters, numbers, arrays. Out: Tensors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..ops import build
from . import random as _random
from .lift import lift
from .location import user_source
from .parameter import Parameter, assign
from .tensor import Tensor

gelu = lift(build.gelu)
silu = lift(build.silu)
leaky_relu = lift(build.leaky_relu)
elu = lift(build.elu)
softplus = lift(build.softplus)
mish = lift(build.mish)
relu6 = lift(build.relu6)
hardsigmoid = lift(build.hard_sigmoid)
hardswish = lift(build.hard_swish)
layer_norm = lift(build.layer_norm)
batch_statistics = lift(build.batch_statistics)
adaptive_avg_pool2d = lift(build.adaptive_avg_pool2d)
_batch_norm = lift(build.batch_norm)
_attention = lift(build.scaled_dot_product_attention)
_clip = lift(build.clip)
_global_norm = lift(build.global_norm)
_clip_by_global_norm = lift(build.clip_by_global_norm)
_abs, _pow, _minimum, _maximum = lift(build.abs), lift(build.pow), lift(build.minimum), lift(build.maximum)
_reduce_sum, _reduce_max = lift(build.reduce_sum), lift(build.reduce_max)


def batch_norm(
    input_x: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Each channel of (N, C, ...) normalized, times `weight` (C,) plus `bias` (C,).

    `training`: with the statistics of this batch; `running_mean` and `running_var`, if Parameters, then become
    (1 - momentum) * running + momentum * batch (biased variance). Otherwise with the running statistics.
    """
    if not training:
        return _batch_norm(input_x, weight, bias, running_mean, running_var, eps)
    running = [p for p in (running_mean, running_var) if isinstance(p, Parameter)]
    if len(running) == 2:
        move_statistics(input_x, running_mean, running_var, 1.0 - momentum, momentum)
    return _batch_norm(input_x, weight, bias, None, None, eps)


def move_statistics(x: Any, mean: Parameter, variance: Parameter, keep: float, take: float) -> None:
    """mean and variance (C,) become keep * themselves + take * those of the batch x (N, C, ...)."""
    for moving, batch in zip((mean, variance), batch_statistics(x)):
        assign(moving, moving * keep + batch * take)


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    rng_key: Any = None,
) -> Tensor:
    """softmax(query key^T * scale) value: query (..., T, D), key (..., S, D), value (..., S, E) -> (..., T, E).

    `scale`: 1 / sqrt(D) unless given. `is_causal`: position t sees positions s <= t only. `attn_mask`: bool (True:
    seen) or float (added to the scores), broadcast to (..., T, S). `dropout_p`: the part of the weights to drop;
    `rng_key`: uint32[2], without one the stream that `set_seed` starts.
    """
    if not 0.0 <= dropout_p < 1.0:
        raise ArgumentError(
            "scaled_dot_product_attention: dropout_p out of range",
            at=user_source(), expected="0 <= dropout_p < 1", given=dropout_p,
        )  # fmt: skip
    if not dropout_p:
        return _attention(query, key, value, attn_mask, is_causal, scale)
    stream = _random.default_key() if rng_key is None else rng_key
    stream = _random.advance(stream) if isinstance(stream, Parameter) else stream
    return _attention(query, key, value, attn_mask, is_causal, scale, dropout_p, stream)


def _one_or_many(x: Any, function: Any) -> Any:
    return type(x)(function(e) for e in x) if isinstance(x, (list, tuple)) else function(x)


def clip_by_value(x: Any, clip_value_min: Any = None, clip_value_max: Any = None) -> Any:
    """x, a Tensor or a list or tuple of Tensors, limited to clip_value_min..clip_value_max; None leaves that side
    open."""
    if clip_value_min is None and clip_value_max is None:
        raise ArgumentError(
            "clip_by_value: clip_value_min or clip_value_max is needed",
            at=user_source(), given="clip_value_min=None, clip_value_max=None",
        )  # fmt: skip
    return _one_or_many(x, lambda one: _clip(one, clip_value_min, clip_value_max))


def global_norm(x: Sequence[Any]) -> Tensor:
    """The Euclidean length of all Tensors of `x` taken together."""
    return _global_norm(list(x))


def clip_by_global_norm(x: Sequence[Any], clip_norm: float = 1.0, use_norm: Any = None) -> tuple[Tensor, ...]:
    """Every Tensor of `x` times clip_norm / max(global norm, clip_norm): together they are no longer than `clip_norm`
    afterwards. `use_norm`: the global norm, if it is known already."""
    return _clip_by_global_norm(list(x), clip_norm, use_norm)


def clip_by_norm(x: Any, max_norm: float, norm_type: float = 2.0) -> Any:
    """x, a Tensor or a list or tuple of Tensors, times max_norm / (norm + 1e-6) if that is less than 1, the norm of order
    `norm_type` (> 0, or inf) being that of all elements together."""
    if not max_norm > 0 or not norm_type > 0:
        raise ArgumentError(
            "clip_by_norm: max_norm and norm_type must be positive",
            at=user_source(), expected="> 0", given=f"max_norm={max_norm}, norm_type={norm_type}",
        )  # fmt: skip
    total = _norm_of_all(list(x) if isinstance(x, (list, tuple)) else [x], float(norm_type))
    factor = _minimum(max_norm / (total + 1e-6), 1.0)
    return _one_or_many(x, lambda one: one * factor.astype(one.dtype))


def _norm_of_all(xs: list[Any], order: float) -> Tensor:
    """The norm of all elements of several Tensors, float32 0-d."""
    if order == 2.0:
        return _global_norm(xs)
    total: Any = 0.0
    for x in xs:
        sizes = _abs(x)
        total = (
            _maximum(total, _reduce_max(sizes))
            if math.isinf(order)
            else total + _reduce_sum(_pow(sizes, order))
        )
    return total if math.isinf(order) else _pow(total, 1.0 / order)


__all__ = [
    "adaptive_avg_pool2d", "batch_norm", "batch_statistics", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "elu", "gelu",
    "global_norm", "hardsigmoid", "hardswish", "layer_norm", "leaky_relu", "mish", "relu6",
    "scaled_dot_product_attention", "silu", "softplus",
]  # fmt: skip
