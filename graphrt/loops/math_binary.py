"""Functions of two floats in loop IR: power, floored remainder, floored quotient. Called through math.expand_binary.

In: a Format and two scalars of it. Out: one Scalar tree. float32 is computed in float64, where a plain logarithm and
exponential are exact enough; float64 powers need the logarithm to about 65 bits, kept as an unevaluated sum of two
float64 ("double-double": Dekker, Numerische Mathematik 18, 1971).
"""

from __future__ import annotations

from ..dtypes import float64
from . import math as functions
from . import math_tables as tables
from .ir import Cast, Constant, Scalar, Unary
from .math import F32, F64, INFINITY, NAN, Format
from .scalars import (
    absolute,
    add,
    at_least,
    at_most,
    bit_and,
    bit_or,
    bit_xor,
    bitcast,
    div,
    equal,
    fma,
    greater,
    greater_equal,
    less,
    mul,
    neg,
    not_equal,
    polynomial,
    select,
    sub,
)

TWO_THIRDS, TWO_THIRDS_LOW = 0.6666666666666666, 3.700743415417188e-17
# Steps of a remainder: each removes 52 bits of the quotient. A float32 quotient has at most 277 bits.
REMAINDER_STEPS = {F32: 6, F64: 4}


def power(form: Format, x: Scalar, y: Scalar) -> Scalar:
    """x to the y, with the special values of IEEE 754 (x^0 = 1^y = 1, negative x only with integer y)."""
    size = absolute(x)
    if form is F32:
        logarithm = functions.log(F64, Cast(size, float64))
        result: Scalar = Cast(functions.exp(F64, mul(Cast(y, float64), logarithm)), form.dtype)
    else:
        result = _power_of_positive(size, y)
    is_integer = equal(Unary("floor", y), y)
    half = mul(y, 0.5)
    is_odd = bit_and(is_integer, not_equal(Unary("floor", half), half))
    # |x| = 1 and infinite y: the product with log(1) is NaN, the power is 1
    result = select(bit_and(equal(size, 1.0), equal(y, y)), 1.0, result)
    result = select(is_odd, functions.copy_sign(form, result, x), result)
    no_root = bit_and(bit_and(less(x, 0.0), greater(x, -INFINITY)), not_equal(Unary("floor", y), y))
    result = select(no_root, NAN, result)
    return select(bit_or(equal(y, 0.0), equal(x, 1.0)), 1.0, result)


def _power_of_positive(x: Scalar, y: Scalar) -> Scalar:
    """x to the y in float64 for x >= 0, up to the values power() corrects."""
    high, low = _double_double_log(x)
    product = mul(y, high)
    rest = fma(y, low, fma(y, high, neg(product)))
    rest = select(less(absolute(product), 1000.0), rest, 0.0)  # beyond, the result is 0 or infinite anyway
    limited = at_least(at_most(product, F64.exp_high), F64.exp_low)
    rounded, r = functions.reduce_exponent(F64, limited)
    p = polynomial(add(r, rest), (1.0, 1.0, *F64.exp))
    return functions.scale(F64, p, rounded)


def _fast_sum(x: Scalar, y: Scalar) -> tuple[Scalar, Scalar]:
    """x + y and its rounding error, for |x| >= |y| or x = 0."""
    total = add(x, y)
    return total, sub(y, sub(total, x))


def _product(x: Scalar, y: Scalar) -> tuple[Scalar, Scalar]:
    """x * y and its rounding error."""
    high = mul(x, y)
    return high, fma(x, y, neg(high))


def _double_double_log(x: Scalar) -> tuple[Scalar, Scalar]:
    """log(x) as high + low for x >= 0, infinite at 0 and infinity.

    log(m) = 2 s + 2/3 s^3 + s^5 p(s^2) with s = f / (2 + f), f = m - 1: everything but p is carried in two parts.
    """
    normal, shift = functions.normalise(F64, x)
    m, exponent, _ = functions.split_exponent(F64, normal)
    e = add(Cast(exponent, float64), shift)
    f = sub(m, 1.0)
    divisor, divisor_low = _fast_sum(Constant(2.0, float64), f)
    s = div(f, divisor)
    s_low = div(fma(neg(s), divisor_low, fma(neg(s), divisor, f)), divisor)
    z, z_low = _product(s, s)
    z_low = fma(mul(s, 2.0), s_low, z_low)
    tail = mul(z, polynomial(z, tables.LOG_SECOND_F64))
    factor, factor_low = _fast_sum(Constant(TWO_THIRDS, float64), tail)
    factor_low = add(factor_low, TWO_THIRDS_LOW)
    cube, cube_low = _product(s, z)
    cube_low = fma(s, z_low, fma(s_low, z, cube_low))
    third, third_low = _product(cube, factor)
    third_low = fma(cube, factor_low, fma(cube_low, factor, third_low))
    first, first_low = _fast_sum(mul(s, 2.0), third)
    first_low = add(first_low, fma(s_low, 2.0, third_low))
    high, high_low = _fast_sum(mul(e, F64.ln2_short), first)
    low = add(high_low, fma(e, F64.ln2_rest, first_low))
    high, low = _fast_sum(high, low)
    high = select(equal(x, 0.0), -INFINITY, select(less(x, INFINITY), high, x))
    return high, select(bit_and(greater(x, 0.0), less(x, INFINITY)), low, 0.0)


def _opposite(x: Scalar, y: Scalar) -> Scalar:
    """One of x and y is below zero, the other is not, and x is not zero."""
    return bit_and(not_equal(x, 0.0), bit_xor(less(x, 0.0), less(y, 0.0)))


def remainder(form: Format, x: Scalar, y: Scalar) -> Scalar:
    """x - floor(x / y) y, in [0, y) or (y, 0]; zeros have the sign of y.

    Every step subtracts a quotient of at most 53 bits, so no step rounds.
    """
    a, b = (x, y) if form is F64 else (Cast(x, float64), Cast(y, float64))
    rest = a
    for _ in range(REMAINDER_STEPS[form]):
        rest = fma(neg(Unary("trunc", div(rest, b))), b, rest)
    rest = select(_opposite(rest, b), add(rest, b), rest)
    rest = select(less(absolute(b), absolute(rest)), NAN, rest)
    # an infinite divisor divides nothing: x itself, or one divisor away from it
    unlimited = add(select(_opposite(a, b), b, a), sub(a, a))
    rest = select(equal(absolute(b), INFINITY), unlimited, rest)
    result = rest if form is F64 else Cast(rest, form.dtype)
    zero = bitcast(bit_and(bitcast(y, form.bits), form.sign_bit), form.dtype)
    return select(equal(result, 0.0), zero, result)


def floor_division(form: Format, x: Scalar, y: Scalar) -> Scalar:
    """floor(x / y) of the exact quotient, rounded to the format; x / 0 is infinite, infinity / y is NaN."""
    a, b = (x, y) if form is F64 else (Cast(x, float64), Cast(y, float64))
    quotient = div(a, b)
    floor = Unary("floor", quotient)
    rest = fma(neg(floor), b, a)
    small = select(_opposite(rest, b), sub(floor, 1.0), floor)  # the quotient was rounded up to an integer
    large = select(equal(b, 0.0), quotient, add(quotient, sub(a, a)))
    whole = select(greater_equal(absolute(quotient), 2.0**53), large, small)
    unlimited = add(select(_opposite(a, b), Constant(-1.0, float64), 0.0), sub(a, a))
    whole = select(equal(absolute(b), INFINITY), unlimited, whole)
    result = whole if form is F64 else Cast(whole, form.dtype)
    sign = bit_and(bit_xor(bitcast(x, form.bits), bitcast(y, form.bits)), form.sign_bit)
    return select(equal(result, 0.0), bitcast(sign, form.dtype), result)
