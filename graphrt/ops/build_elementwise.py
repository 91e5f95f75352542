"""Build functions for elementwise operations: any operands in, one node of the broadcast shape out.

Operands are Nodes, Python numbers or NumPy arrays. Types are promoted (`dtypes.promote`); a number takes the
tensor's type, except that a float turns an integer or bool tensor into float32. Shapes broadcast from the
right.
"""

from __future__ import annotations

import numpy as np

from ..dtypes import bool_, float64, int32
from ..errors import DTypeError
from ..ir import Node, Op, apply, current_source
from . import elementwise, gradient_control, logic, selection
from .operands import (
    Operand,
    as_node,
    broadcast_shapes,
    broadcast_to,
    cast,
    common_dtype,
    constant,
    is_scalar,
    promoted,
    together,
)


def _binary(op: Op, x: Operand, y: Operand) -> Node:
    return apply(op, *together(op.name, x, y, numeric=True))


def _float_binary(op: Op, x: Operand, y: Operand) -> Node:
    return apply(op, *together(op.name, x, y, floating=True))


def _float_unary(op: Op, x: Operand) -> Node:
    return apply(op, *promoted(x, floating=True))


def _number_unary(op: Op, x: Operand) -> Node:
    return apply(op, *promoted(x, numeric=True))


# ---- arithmetic ------------------------------------------------------------------------------------------------


def add(x: Operand, y: Operand) -> Node:
    """x + y (bool counts as int32)."""
    return _binary(elementwise.Add(), x, y)


def sub(x: Operand, y: Operand) -> Node:
    """x - y (bool counts as int32)."""
    return _binary(elementwise.Sub(), x, y)


def mul(x: Operand, y: Operand) -> Node:
    """x * y (bool counts as int32)."""
    return _binary(elementwise.Mul(), x, y)


def div(x: Operand, y: Operand) -> Node:
    """x / y as floats: integers and bool are divided as float32."""
    return _float_binary(elementwise.Div(), x, y)


def floor_div(x: Operand, y: Operand) -> Node:
    """floor(x / y), in the operands' type; an integer divided by zero gives 0."""
    return _binary(elementwise.FloorDiv(), x, y)


def remainder(x: Operand, y: Operand) -> Node:
    """x - floor(x / y) * y, as Python's %; an integer modulo zero gives 0."""
    return _binary(elementwise.Remainder(), x, y)


def minimum(x: Operand, y: Operand) -> Node:
    """The smaller of x and y."""
    return _binary(elementwise.Minimum(), x, y)


def maximum(x: Operand, y: Operand) -> Node:
    """The larger of x and y."""
    return _binary(elementwise.Maximum(), x, y)


def pow(x: Operand, y: Operand) -> Node:
    """x ** y. Small whole exponents given as numbers become multiplications; integer tensors with tensor
    exponents are computed in float64 and converted back."""
    if isinstance(y, np.generic):
        y = y.item()
    if isinstance(y, (int, float)) and not is_scalar(x):
        special = _power_of_number(as_node(x), y)
        if special is not None:
            return special
    dtype = common_dtype(x, y)
    if dtype.is_float:
        return _float_binary(elementwise.Pow(), x, y)
    x, y = promoted(x, y, numeric=True)
    return cast(_float_binary(elementwise.Pow(), cast(x, float64), cast(y, float64)), x.dtype)


def _power_of_number(x: Node, exponent: int | float | bool) -> Node | None:
    """x ** exponent without a power function, where that is exact enough; None elsewhere."""
    if isinstance(exponent, float) and not x.dtype.is_float:
        return None
    if exponent in (0.5, -0.5) and x.dtype.is_float:
        return sqrt(x) if exponent > 0 else rsqrt(x)
    if not -64 <= exponent <= 64 or int(exponent) != exponent or (exponent < 0 and not x.dtype.is_float):
        return None
    if x.dtype == bool_:
        x = cast(x, int32)
    count, result, factor = int(-exponent if exponent < 0 else exponent), None, x
    while count:
        if count & 1:
            result = factor if result is None else mul(result, factor)
        count >>= 1
        if count:
            factor = mul(factor, factor)
    if result is None:  # x ** 0 is 1, for NaN too
        return broadcast_to(constant(1, x.dtype), x.shape)
    return div(1.0, result) if exponent < 0 else result


# ---- unary -----------------------------------------------------------------------------------------------------


def neg(x: Operand) -> Node:
    """-x."""
    return _number_unary(elementwise.Neg(), x)


def abs(x: Operand) -> Node:
    """|x|."""
    return _number_unary(elementwise.Abs(), x)


def sign(x: Operand) -> Node:
    """-1, 0 or 1."""
    return _number_unary(elementwise.Sign(), x)


def square(x: Operand) -> Node:
    """x * x."""
    return mul(x, x)


def reciprocal(x: Operand) -> Node:
    """1 / x."""
    return div(1.0, x)


def exp(x: Operand) -> Node:
    """e ** x."""
    return _float_unary(elementwise.Exp(), x)


def expm1(x: Operand) -> Node:
    """exp(x) - 1, exact for small x."""
    return _float_unary(elementwise.Expm1(), x)


def log(x: Operand) -> Node:
    """The natural logarithm."""
    return _float_unary(elementwise.Log(), x)


def log1p(x: Operand) -> Node:
    """log(1 + x), exact for small x."""
    return _float_unary(elementwise.Log1p(), x)


def sqrt(x: Operand) -> Node:
    """The square root."""
    return _float_unary(elementwise.Sqrt(), x)


def rsqrt(x: Operand) -> Node:
    """1 / sqrt(x)."""
    return _float_unary(elementwise.Rsqrt(), x)


def tanh(x: Operand) -> Node:
    """The hyperbolic tangent."""
    return _float_unary(elementwise.Tanh(), x)


def sigmoid(x: Operand) -> Node:
    """1 / (1 + exp(-x))."""
    return _float_unary(elementwise.Sigmoid(), x)


def erf(x: Operand) -> Node:
    """The error function."""
    return _float_unary(elementwise.Erf(), x)


def sin(x: Operand) -> Node:
    """The sine of radians."""
    return _float_unary(elementwise.Sin(), x)


def cos(x: Operand) -> Node:
    """The cosine of radians."""
    return _float_unary(elementwise.Cos(), x)


def relu(x: Operand) -> Node:
    """max(x, 0)."""
    return _number_unary(elementwise.Relu(), x)


def _round_to_integer(op: Op, x: Operand) -> Node:
    (x,) = promoted(x, numeric=True)
    return apply(op, x) if x.dtype.is_float else x


def floor(x: Operand) -> Node:
    """The largest whole number <= x, in x's type."""
    return _round_to_integer(elementwise.Floor(), x)


def ceil(x: Operand) -> Node:
    """The smallest whole number >= x, in x's type."""
    return _round_to_integer(elementwise.Ceil(), x)


def round(x: Operand) -> Node:
    """The nearest whole number (halves to the even one), in x's type."""
    return _round_to_integer(elementwise.Round(), x)


def clip(x: Operand, low: Operand | None = None, high: Operand | None = None) -> Node:
    """x limited to low..high; None leaves that side open."""
    if low is not None:
        x = maximum(x, low)
    if high is not None:
        x = minimum(x, high)
    return as_node(x)


# ---- comparison, logic, bits -----------------------------------------------------------------------------------


def equal(x: Operand, y: Operand) -> Node:
    """x == y, as bool."""
    return apply(logic.Equal(), *together("equal", x, y))


def not_equal(x: Operand, y: Operand) -> Node:
    """x != y, as bool."""
    return apply(logic.NotEqual(), *together("not_equal", x, y))


def less(x: Operand, y: Operand) -> Node:
    """x < y, as bool."""
    return _binary(logic.Less(), x, y)


def less_equal(x: Operand, y: Operand) -> Node:
    """x <= y, as bool."""
    return _binary(logic.LessEqual(), x, y)


def greater(x: Operand, y: Operand) -> Node:
    """x > y, as bool."""
    return _binary(logic.Greater(), x, y)


def greater_equal(x: Operand, y: Operand) -> Node:
    """x >= y, as bool."""
    return _binary(logic.GreaterEqual(), x, y)


def _logical(op: Op, *values: Operand) -> Node:
    return apply(op, *together(op.name, *(cast(v, bool_) for v in values)))


def logical_and(x: Operand, y: Operand) -> Node:
    """x and y; numbers count as x != 0."""
    return _logical(logic.LogicalAnd(), x, y)


def logical_or(x: Operand, y: Operand) -> Node:
    """x or y; numbers count as x != 0."""
    return _logical(logic.LogicalOr(), x, y)


def logical_xor(x: Operand, y: Operand) -> Node:
    """Exactly one of x and y; numbers count as x != 0."""
    return _logical(logic.LogicalXor(), x, y)


def logical_not(x: Operand) -> Node:
    """not x; numbers count as x != 0."""
    return _logical(logic.LogicalNot(), x)


def bitwise_and(x: Operand, y: Operand) -> Node:
    """x & y on integers or bool."""
    return apply(logic.BitwiseAnd(), *together("bitwise_and", x, y))


def bitwise_or(x: Operand, y: Operand) -> Node:
    """x | y on integers or bool."""
    return apply(logic.BitwiseOr(), *together("bitwise_or", x, y))


def bitwise_xor(x: Operand, y: Operand) -> Node:
    """x ^ y on integers or bool."""
    return apply(logic.BitwiseXor(), *together("bitwise_xor", x, y))


def bitwise_not(x: Operand) -> Node:
    """~x on integers; `logical_not` on bool."""
    x = as_node(x)
    if x.dtype == bool_:
        return logical_not(x)
    if not x.dtype.is_integer:
        raise DTypeError(
            "bitwise_not: element type not accepted", expected="int or uint or bool",
            given=x.type.describe(), at=current_source(),
        )  # fmt: skip
    all_ones = -1 if x.dtype.kind == "int" else 2 ** (8 * x.dtype.size) - 1
    return bitwise_xor(x, all_ones)


def left_shift(x: Operand, y: Operand) -> Node:
    """x << y on integers; 0 <= y < number of bits."""
    return apply(logic.ShiftLeft(), *together("left_shift", x, y))


def right_shift(x: Operand, y: Operand) -> Node:
    """x >> y on integers, filling with the sign on signed types; 0 <= y < number of bits."""
    return apply(logic.ShiftRight(), *together("right_shift", x, y))


def multiply_high(x: Operand, y: Operand) -> Node:
    """The high half of the double-width product of unsigned integers."""
    return apply(logic.MultiplyHigh(), *together("multiply_high", x, y))


def where(condition: Operand, x: Operand, y: Operand) -> Node:
    """x where condition (!= 0) holds, else y; all three broadcast."""
    condition = cast(condition, bool_)
    x, y = promoted(x, y)
    shape = broadcast_shapes("where", condition, x, y)
    return apply(selection.Select(), *(broadcast_to(n, shape) for n in (condition, x, y)))


def stop_gradient(x: Operand) -> Node:
    """x itself, as a constant for differentiation."""
    return apply(gradient_control.StopGradient(), as_node(x))


def isfinite(x: Operand) -> Node:
    """True where x is neither infinite nor NaN, as bool."""
    return apply(selection.IsFinite(), *promoted(x, floating=True))


def isnan(x: Operand) -> Node:
    """True where x is NaN, as bool."""
    return not_equal(x, x)
