"""The inverse trigonometric and hyperbolic functions of `graphrt.ops`, composed of those in `functional.py`.

In: Tensors, Parameters, numbers, arrays; angles in radians. Out: Tensors of the same (broadcast) shape; integers
become float32. Outside the domain of a function the result is NaN.

All angles come from one arctangent: for |x| <= 1 the half-angle formula atan(x) = 2 atan(x / (1 + sqrt(1 + x^2))),
applied twice, leaves arguments below tan(pi / 16), where the Taylor series converges fast; above,
atan(x) = pi / 2 - atan(1 / x).
"""

from __future__ import annotations

import math
from typing import Any

from . import functional as base
from .tensor import Tensor

HALVINGS = 2
HUGE = 1e9  # where 1 + x^2 is x^2 to the last digit of float64, and x^2 no overflow in float32
TERMS = 12  # of the Taylor series: 0.2^(2 * 12) / 25 is below the precision of float64


def _small_arctangent(x: Any) -> Tensor:
    """The arctangent for |x| <= 1."""
    for _ in range(HALVINGS):
        x = base.div(x, base.add(base.sqrt(base.add(base.square(x), 1.0)), 1.0))
    z = base.square(x)
    series: Any = (-1.0) ** (TERMS - 1) / (2 * TERMS - 1)
    for k in reversed(range(TERMS - 1)):
        series = base.add(base.mul(z, series), (-1.0) ** k / (2 * k + 1))
    return base.mul(base.mul(x, series), 2.0**HALVINGS)


def atan(input: Any) -> Tensor:
    """The arctangent, -pi / 2 .. pi / 2."""
    large = base.greater(base.abs(input), 1.0)
    # the branch not taken gets a harmless operand, or its gradient would be NaN
    angle = _small_arctangent(base.where(large, base.reciprocal(base.where(large, input, 1.0)), input))
    return base.where(large, base.sub(base.mul(base.sign(input), math.pi / 2), angle), angle)


def atan2(input: Any, other: Any) -> Tensor:
    """The angle of the point (other, input), -pi .. pi: atan(input / other) in the right quadrant; 0 for (0, 0)."""
    steep = base.greater(base.abs(input), base.abs(other))
    shorter, longer = base.where(steep, other, input), base.where(steep, input, other)
    angle = _small_arctangent(base.div(shorter, base.where(base.equal(longer, 0.0), 1.0, longer)))
    below = base.less(input, 0.0)
    upright = base.where(below, base.sub(-math.pi / 2, angle), base.sub(math.pi / 2, angle))
    behind = base.where(below, base.sub(angle, math.pi), base.add(angle, math.pi))
    return base.where(steep, upright, base.where(base.less(other, 0.0), behind, angle))


def asin(input: Any) -> Tensor:
    """The arcsine, -pi / 2 .. pi / 2, of -1 .. 1: 2 atan(x / (1 + sqrt(1 - x^2)))."""
    cosine = base.sqrt(base.mul(base.sub(1.0, input), base.add(1.0, input)))
    return base.mul(_small_arctangent(base.div(input, base.add(1.0, cosine))), 2.0)


def acos(input: Any) -> Tensor:
    """The arccosine, 0 .. pi, of -1 .. 1: 2 atan(sqrt((1 - x) / (1 + x)))."""
    return base.mul(atan(base.sqrt(base.div(base.sub(1.0, input), base.add(1.0, input)))), 2.0)


def asinh(x: Any) -> Tensor:
    """The inverse hyperbolic sine: sign(x) log1p(|x| + x^2 / (1 + sqrt(1 + x^2))), exact for small x."""
    side = base.where(base.less(x, 0.0), -1.0, 1.0)
    size = base.mul(x, side)  # |x|, with a gradient at 0
    huge = base.greater(size, HUGE)
    square = base.square(base.where(huge, 1.0, size))
    growth = base.div(square, base.add(1.0, base.sqrt(base.add(1.0, square))))
    near = base.log1p(base.add(base.where(huge, 1.0, size), growth))
    far = base.add(base.log(base.where(huge, size, 1.0)), math.log(2.0))
    return base.mul(base.where(huge, far, near), side)


def acosh(input: Any) -> Tensor:
    """The inverse hyperbolic cosine of numbers >= 1: log(x + sqrt(x - 1) sqrt(x + 1))."""
    root = base.mul(base.sqrt(base.sub(input, 1.0)), base.sqrt(base.add(input, 1.0)))
    return base.log(base.add(input, root))


def atanh(input: Any) -> Tensor:
    """The inverse hyperbolic tangent of -1 .. 1: (log1p(x) - log1p(-x)) / 2."""
    return base.mul(base.sub(base.log1p(input), base.log1p(base.neg(input))), 0.5)


arctan, arctan2, arcsin, arccos, arcsinh, arccosh, arctanh = atan, atan2, asin, acos, asinh, acosh, atanh

__all__ = [
    "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan", "arctan2", "arctanh", "asin", "asinh", "atan",
    "atan2", "atanh",
]  # fmt: skip
