"""The normal distribution as straight-line loop IR: its density and its distribution function.

In: a format of `math.py` and an operand of it. Out: a Scalar tree as in `math.py`, where the bounds of the errors stand.

    density(x) = exp(-x^2 / 2) / sqrt(2 pi)
    cdf(x)     = density(x) m(-x)        for x < 0
               = 1 - density(x) m(x)     else

with Mills' ratio m (Mills, "Table of the ratio: area to bounding ordinate", 1926), which is smooth and falls from
sqrt(pi / 2) to 1 / x: a polynomial in x / (1 + pole x). Who needs both functions of one x (gelu and its slope) computes
one exponential, where erf and exp would share nothing.
"""

from __future__ import annotations

from . import math_tables as tables
from .ir import Scalar
from .math import F32, F64, Format, power_of_two
from .scalars import absolute, add, at_least, at_most, bitcast, div, fma, less, mul, polynomial, select, sub

_FAR = {F32: 14.0, F64: 39.0}  # the density is 0 beyond, and the polynomials of Mills' ratio end here


def density(form: Format, x: Scalar) -> Scalar:
    """exp(-x^2 / 2) / sqrt(2 pi); 0 where the power of two in it would be below the smallest normal number."""
    exponent = mul(mul(x, x), -0.5 * form.log2e)
    limited = at_least(exponent, -float(form.bias))  # there the exponent's field, and with it the power, is 0
    sum_ = add(limited, form.rounder)
    r = sub(limited, sub(sum_, form.rounder))
    p = polynomial(r, tables.DENSITY_F32 if form is F32 else tables.DENSITY_F64)
    return mul(p, power_of_two(form, bitcast(sum_, form.bits)))


def cdf(form: Format, x: Scalar) -> Scalar:
    """The integral of the density from -infinity to x."""
    size = at_most(absolute(x), _FAR[form])
    t = div(size, fma(size, tables.MILLS_POLE, 1.0))
    ratio = polynomial(t, tables.MILLS_F32 if form is F32 else tables.MILLS_F64)
    tail = mul(density(form, x), ratio)
    return select(less(x, 0.0), tail, sub(1.0, tail))
