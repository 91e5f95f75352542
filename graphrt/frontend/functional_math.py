"""Further elementwise functions, activations and reductions of `graphrt.ops`, composed of those in `functional.py`.

In: Tensors, Parameters, numbers, arrays. Out: Tensors of the broadcast shape unless the docstring says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from . import functional as base
from .location import user_source
from .tensor import Tensor

# ------------------------------------------------------------------------------------------------ arithmetic


def addn(x: Sequence[Any]) -> Tensor:
    """The sum of the Tensors of a tuple or list, all of one shape."""
    tensors = list(x)
    if not tensors:
        raise ArgumentError("addn: no tensors given", at=user_source(), expected="at least one", given="[]")
    total = tensors[0]
    for other in tensors[1:]:
        total = base.add(total, other)
    return total


def addcmul(input: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Tensor:
    """input + value * tensor1 * tensor2."""
    return base.add(input, base.mul(base.mul(tensor1, tensor2), value))


def addcdiv(input: Any, tensor1: Any, tensor2: Any, value: Any = 1) -> Tensor:
    """input + value * tensor1 / tensor2."""
    return base.add(input, base.mul(base.div(tensor1, tensor2), value))


def lerp(input: Any, end: Any, weight: Any) -> Tensor:
    """input + weight * (end - input)."""
    return base.add(input, base.mul(base.sub(end, input), weight))


def hypot(input: Any, other: Any) -> Tensor:
    """sqrt(input^2 + other^2)."""
    return base.sqrt(base.add(base.square(input), base.square(other)))


def exp2(input: Any) -> Tensor:
    """2 ** input."""
    return base.exp(base.mul(input, math.log(2.0)))


def log2(input: Any) -> Tensor:
    """The logarithm to base 2."""
    return base.mul(base.log(input), 1.0 / math.log(2.0))


def log10(input: Any) -> Tensor:
    """The logarithm to base 10."""
    return base.mul(base.log(input), 1.0 / math.log(10.0))


def tan(input: Any) -> Tensor:
    """The tangent of radians."""
    return base.div(base.sin(input), base.cos(input))


def sinh(input: Any) -> Tensor:
    """The hyperbolic sine: (expm1(x) + expm1(x) / (expm1(x) + 1)) / 2, exact for small x."""
    growth = base.expm1(input)
    return base.mul(base.add(growth, base.div(growth, base.add(growth, 1.0))), 0.5)


def cosh(input: Any) -> Tensor:
    """The hyperbolic cosine."""
    return base.mul(base.add(base.exp(input), base.exp(base.neg(input))), 0.5)


def erfc(input: Any) -> Tensor:
    """1 - erf(input)."""
    return base.sub(1.0, base.erf(input))


def trunc(input: Any) -> Tensor:
    """The whole number next to input towards zero."""
    return base.where(base.less(input, 0), base.ceil(input), base.floor(input))


def frac(x: Any) -> Tensor:
    """What is behind the decimal point, with the sign of x."""
    return base.sub(x, trunc(x))


def logit(input: Any, eps: float | None = None) -> Tensor:
    """log(input / (1 - input)), the inverse of sigmoid; `eps` limits the input to eps .. 1 - eps first."""
    x = input if eps is None else base.clip(input, eps, 1.0 - eps)
    return base.sub(base.log(x), base.log1p(base.neg(x)))


def xlogy(input: Any, other: Any) -> Tensor:
    """input * log(other), 0 where input is 0."""
    zero = base.equal(input, 0)
    return base.where(zero, 0.0, base.mul(input, base.log(base.where(zero, 1.0, other))))


def logaddexp(input: Any, other: Any) -> Tensor:
    """log(exp(input) + exp(other)) without overflow."""
    return base.add(
        base.maximum(input, other), base.log1p(base.exp(base.neg(base.abs(base.sub(input, other)))))
    )


def deg2rad(x: Any) -> Tensor:
    """Degrees as radians."""
    return base.mul(x, math.pi / 180.0)


def rad2deg(x: Any) -> Tensor:
    """Radians as degrees."""
    return base.mul(x, 180.0 / math.pi)


def isinf(input: Any) -> Tensor:
    """True where input is infinite."""
    return base.equal(base.abs(input), float("inf"))


def isclose(
    input: Any, other: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """|input - other| <= atol + rtol * |other|; infinities are close to themselves, NaN to NaN with `equal_nan`."""
    near = base.less_equal(base.abs(base.sub(input, other)), base.add(base.mul(base.abs(other), rtol), atol))
    finite = base.logical_and(base.isfinite(input), base.isfinite(other))
    close = base.logical_or(base.logical_and(near, finite), base.equal(input, other))
    if equal_nan:
        close = base.logical_or(close, base.logical_and(base.isnan(input), base.isnan(other)))
    return close


def nan_to_num(
    input: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """NaN replaced by `nan` (0), infinities by `posinf` and `neginf` (the largest finite numbers of the type)."""
    from ..ops.operands import largest_finite

    x = input if isinstance(input, Tensor) else Tensor(input)
    if not x.dtype.is_float:
        return x
    largest = largest_finite(x.dtype)
    x = base.where(base.isnan(x), 0.0 if nan is None else nan, x)
    x = base.where(base.equal(x, float("inf")), largest if posinf is None else posinf, x)
    return base.where(base.equal(x, float("-inf")), -largest if neginf is None else neginf, x)


# ----------------------------------------------------------------------------------------------- activations


def logsigmoid(x: Any) -> Tensor:
    """log(sigmoid(x)) without overflow."""
    return base.neg(base.softplus(base.neg(x), 1.0, float("inf")))


def softsign(x: Any) -> Tensor:
    """x / (1 + |x|)."""
    return base.div(x, base.add(base.abs(x), 1.0))


def tanhshrink(input: Any) -> Tensor:
    """input - tanh(input)."""
    return base.sub(input, base.tanh(input))


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """input limited to min_val .. max_val."""
    return base.clip(input, min_val, max_val)


def hardshrink(x: Any, lambd: float = 0.5) -> Tensor:
    """x where |x| > lambd, else 0."""
    return base.where(base.greater(base.abs(x), lambd), x, 0.0)


def softshrink(x: Any, lambd: float = 0.5) -> Tensor:
    """x brought towards zero by lambd, 0 within lambd of it."""
    return base.sub(x, base.clip(x, -lambd, lambd))


def threshold(input: Any, thr: float, value: float) -> Tensor:
    """input where it is above `thr`, else `value`."""
    return base.where(base.greater(input, thr), input, value)


def celu(x: Any, alpha: float = 1.0) -> Tensor:
    """max(x, 0) + min(alpha (exp(x / alpha) - 1), 0)."""
    return base.where(
        base.greater(x, 0.0), x, base.mul(base.expm1(base.div(base.minimum(x, 0.0), alpha)), alpha)
    )


def selu(input_x: Any) -> Tensor:
    """scale * elu(x, alpha) with the constants of Klambauer et al. (2017), which keep mean 0 and variance 1."""
    return base.mul(base.elu(input_x, 1.6732632423543772), 1.0507009873554805)


def prelu(x: Any, weight: Any) -> Tensor:
    """x where x > 0, else weight * x; weight: one number, or one per channel (axis 1 of x)."""
    if weight.ndim == 1 and weight.shape[0] > 1 and x.ndim > 1:
        weight = base.reshape(weight, (1, weight.shape[0], *(1,) * (x.ndim - 2)))
    return base.where(base.greater(x, 0.0), x, base.mul(x, weight))


def glu(x: Any, axis: int = -1) -> Tensor:
    """a * sigmoid(b) for the two halves a, b of x along `axis`."""
    extent = x.shape[axis]
    if extent % 2:
        raise ArgumentError("glu: the axis must have an even extent", at=user_source(), given=extent)
    first, second = base.split(x, extent // 2, axis)
    return base.mul(first, base.sigmoid(second))


def softmin(x: Any, axis: int = -1) -> Tensor:
    """softmax(-x) along `axis`."""
    return base.softmax(base.neg(x), axis)


# ------------------------------------------------------------------------------------------------ reductions


def logsumexp(input: Any, axis: Any = None, keep_dims: bool = False) -> Tensor:
    """log(sum(exp(input))) over `axis` without overflow."""
    axis = None if axis == () else axis
    largest = base.stop_gradient(base.amax(input, axis, True))
    largest = base.where(base.isfinite(largest), largest, 0.0)
    total = base.log(base.reduce_sum(base.exp(base.sub(input, largest)), axis, True))
    result = base.add(total, largest)
    return result if keep_dims else base.reshape(result, base.amax(input, axis, False).shape)


def count_nonzero(x: Any, axis: Any = (), keep_dims: bool = False, dtype: Any = "int32") -> Tensor:
    """How many elements along `axis` (all axes by default) are not zero."""
    return base.reduce_sum(base.cast(base.not_equal(x, 0), dtype), None if axis == () else axis, keep_dims)


def std_mean(input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean) over `axis`."""
    return base.std(input, axis, ddof, keepdims), base.reduce_mean(input, axis, keepdims)


def var_mean(input: Any, axis: Any = None, ddof: int = 0, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """(variance, mean) over `axis`."""
    return base.var(input, axis, ddof, keepdims), base.reduce_mean(input, axis, keepdims)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-08) -> Tensor:
    """x1 . x2 / max(|x1| |x2|, eps) along `dim`."""
    product = base.reduce_sum(base.mul(x1, x2), dim)
    return base.div(product, base.maximum(base.mul(base.norm(x1, dim), base.norm(x2, dim)), eps))


def l2_normalize(input_x: Any, axis: Any = 0, epsilon: float = 1e-4) -> Tensor:
    """x / sqrt(max(sum(x^2), epsilon)) along `axis`."""
    total = base.reduce_sum(base.square(input_x), axis, True)
    return base.mul(input_x, base.rsqrt(base.maximum(total, epsilon)))


__all__ = [
    "addcdiv", "addcmul", "addn", "celu", "cosh", "cosine_similarity", "count_nonzero", "deg2rad", "erfc", "exp2",
    "frac", "glu", "hardshrink", "hardtanh", "hypot", "isclose", "isinf", "l2_normalize", "lerp", "log2", "log10",
    "logaddexp", "logit", "logsigmoid", "logsumexp", "nan_to_num", "prelu", "rad2deg", "selu", "sinh", "softmin",
    "softshrink", "softsign", "std_mean", "tan", "tanhshrink", "threshold", "trunc", "var_mean", "xlogy",
]  # fmt: skip
