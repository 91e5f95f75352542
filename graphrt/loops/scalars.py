"""Short names for building Scalar trees: `add(x, 1.0)` instead of `Binary("add", x, Constant(1.0, x.dtype))`.

In: scalars, and Python numbers wherever a scalar of the other operand's type is meant. Out: scalars.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DType
from .ir import Binary, Bitcast, Constant, Fma, Scalar, Select, Unary

Operand = Scalar | float | int


def as_scalar(value: Operand, like: Scalar) -> Scalar:
    """`value` itself, or the constant of the type of `like`."""
    if isinstance(value, Scalar):
        return value
    return Constant(float(value) if like.dtype.is_float else value, like.dtype)


def binary(op: str, x: Operand, y: Operand) -> Scalar:
    """A Binary of which at most one operand is a Python number."""
    if isinstance(x, Scalar):
        return Binary(op, x, as_scalar(y, x))
    assert isinstance(y, Scalar)
    return Binary(op, as_scalar(x, y), y)


def add(x: Operand, y: Operand) -> Scalar:
    return binary("add", x, y)


def sub(x: Operand, y: Operand) -> Scalar:
    return binary("sub", x, y)


def mul(x: Operand, y: Operand) -> Scalar:
    return binary("mul", x, y)


def div(x: Operand, y: Operand) -> Scalar:
    return binary("div", x, y)


def bit_and(x: Operand, y: Operand) -> Scalar:
    return binary("and", x, y)


def bit_or(x: Operand, y: Operand) -> Scalar:
    return binary("or", x, y)


def bit_xor(x: Operand, y: Operand) -> Scalar:
    return binary("xor", x, y)


def shift_left(x: Operand, y: Operand) -> Scalar:
    return binary("shl", x, y)


def shift_right(x: Operand, y: Operand) -> Scalar:
    return binary("shr", x, y)


def equal(x: Operand, y: Operand) -> Scalar:
    return binary("eq", x, y)


def not_equal(x: Operand, y: Operand) -> Scalar:
    return binary("ne", x, y)


def less(x: Operand, y: Operand) -> Scalar:
    return binary("lt", x, y)


def less_equal(x: Operand, y: Operand) -> Scalar:
    return binary("le", x, y)


def greater(x: Operand, y: Operand) -> Scalar:
    return binary("gt", x, y)


def greater_equal(x: Operand, y: Operand) -> Scalar:
    return binary("ge", x, y)


def fma(x: Scalar, y: Operand, z: Operand) -> Scalar:
    return Fma(x, as_scalar(y, x), as_scalar(z, x))


def neg(x: Scalar) -> Scalar:
    return Unary("neg", x)


def absolute(x: Scalar) -> Scalar:
    return Unary("abs", x)


def select(condition: Scalar, x: Operand, y: Operand) -> Scalar:
    """x where `condition`, else y; at most one of them a Python number."""
    if isinstance(x, Scalar):
        return Select(condition, x, as_scalar(y, x))
    assert isinstance(y, Scalar)
    return Select(condition, as_scalar(x, y), y)


def bitcast(x: Scalar, dtype: DType) -> Scalar:
    return Bitcast(x, dtype)


def polynomial(x: Scalar, coefficients: Sequence[float]) -> Scalar:
    """Sum of coefficients[k] * x^k (lowest power first) by Horner's rule: one Fma per power."""
    *rest, last = coefficients
    if not rest:
        return as_scalar(last, x)
    result = fma(x, last, rest[-1])
    for coefficient in reversed(rest[:-1]):
        result = Fma(result, x, as_scalar(coefficient, x))
    return result


def at_most(x: Scalar, limit: float) -> Scalar:
    """min(x, limit), NaN where x is NaN. In this form it is one instruction; Binary("min") orders zeros and both
    operands' NaN, which costs several."""
    return select(less(limit, x), limit, x)


def at_least(x: Scalar, limit: float) -> Scalar:
    """max(x, limit), NaN where x is NaN; one instruction, see `at_most`."""
    return select(greater(limit, x), limit, x)
