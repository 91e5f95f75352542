"""Build functions for random numbers: pure functions of a key (uint32[2]); a new key gives new numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..dtypes import DType, as_dtype, float32, float64, uint32
from ..errors import ArgumentError, DTypeError
from ..ir import Node, apply, current_source
from . import random
from .build_elementwise import add, cos, greater_equal, log, mul, right_shift, sqrt, sub, where
from .build_views import slice_static, squeeze
from .operands import Operand, as_node, cast, constant, promoted


def random_bits(key: Operand, shape: int | Sequence[int]) -> Node:
    """Independent uniform 32-bit words, as uint32."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    key = constant(np.asarray(key), uint32) if isinstance(key, (list, tuple)) else as_node(key)
    return apply(random.RandomBits(shape), key)


def _part(x: Node, position: int) -> Node:
    """x[position]."""
    start, stop = [0] * len(x.shape), list(x.shape)
    start[0], stop[0] = position, position + 1
    return squeeze(slice_static(x, start, stop), 0)


def _unit(key: Operand, shape: tuple[int, ...], dtype: DType) -> Node:
    """Uniform in [0, 1): 24 random bits for float32 and narrower types, 53 for float64."""
    if dtype == float64:
        words = random_bits(key, (2, *shape))
        high = mul(cast(right_shift(_part(words, 0), 5), float64), 2.0**-27)
        return add(high, mul(cast(right_shift(_part(words, 1), 6), float64), 2.0**-53))
    return mul(cast(right_shift(random_bits(key, shape), 8), float32), 2.0**-24)


def random_uniform(
    key: Operand,
    shape: int | Sequence[int],
    low: Operand = 0.0,
    high: Operand = 1.0,
    dtype: DType | str | type = float32,
) -> Node:
    """Uniform numbers in [low, high) of a float type."""
    dtype = _float_type("random_uniform", dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    unit = _unit(key, shape, dtype)
    if not (isinstance(low, float) and isinstance(high, float) and (low, high) == (0.0, 1.0)):
        unit = add(mul(unit, sub(cast(high, unit.dtype), cast(low, unit.dtype))), low)
    return cast(unit, dtype)


def random_normal(
    key: Operand,
    shape: int | Sequence[int],
    mean: Operand = 0.0,
    sigma: Operand = 1.0,
    dtype: DType | str | type = float32,
) -> Node:
    """Normally distributed numbers of a float type, by the transform of Box and Muller."""
    dtype = _float_type("random_normal", dtype)
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    pair = _unit(key, (2, *shape), dtype)
    # 1 - u is in (0, 1]: the logarithm stays finite
    radius = sqrt(mul(log(sub(1.0, _part(pair, 0))), -2.0))
    normal = mul(radius, cos(mul(_part(pair, 1), 2.0 * math.pi)))
    return cast(add(mul(normal, sigma), mean), dtype)


def dropout(x: Operand, p: float, key: Operand) -> Node:
    """x with each element set to zero with probability p and the others divided by 1 - p."""
    (x,) = promoted(x, floating=True)
    if not 0.0 <= p <= 1.0:
        raise ArgumentError(
            "dropout: p is a probability", expected="0 <= p <= 1", given=p, at=current_source()
        )
    threshold = int(p * 2**32 + 0.5)
    if threshold == 0:
        return x
    if threshold >= 2**32:
        return mul(x, 0.0)
    keep = greater_equal(random_bits(key, x.shape), threshold)
    return where(keep, mul(x, 1.0 / (1.0 - p)), 0.0)


def _float_type(name: str, dtype: DType | str | type) -> DType:
    result = as_dtype(dtype)
    if not result.is_float:
        raise DTypeError(
            f"{name}: element type not accepted", expected="a float type", given=result, at=current_source()
        )
    return result
