"""Elementwise arithmetic and mathematics: operands of one type in, that type out.

Comparisons, logic and bit operations are in `logic.py`, Select, Cast and IsFinite in `selection.py`; they can
be imported from here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..dtypes import DType
from ..ir import Node, TensorType
from .base import ElementBuilder, Elementwise, Index, Read, Scalar
from .deferred import build
from .logic import (
    BitwiseAnd,
    BitwiseOr,
    BitwiseXor,
    Equal,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    LogicalXor,
    MultiplyHigh,
    NotEqual,
    ShiftLeft,
    ShiftRight,
)
from .selection import Cast, IsFinite, Select


class _Unary(Elementwise, abstract=True):
    """One operand: `ufunc` is the NumPy rule, `rule` the ElementBuilder name."""

    ufunc: ClassVar[Any]
    rule: ClassVar[str]
    onnx: ClassVar[str | None] = None

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.ufunc(x), dtype=x.dtype)

    def scalar(self, b: ElementBuilder, *x: Scalar) -> Scalar:
        return b.unary(self.rule, *x)


class FloatUnary(_Unary, abstract=True):
    """One operand, of a float type."""

    kinds = ("float",)


class _Binary(Elementwise, abstract=True):
    """Two operands of one type: `ufunc` is the NumPy rule, `rule` the ElementBuilder name."""

    ufunc: ClassVar[Any]
    rule: ClassVar[str]
    onnx: ClassVar[str | None] = None

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.asarray(self.ufunc(x, y), dtype=x.dtype)

    def scalar(self, b: ElementBuilder, *x: Scalar) -> Scalar:
        return b.binary(self.rule, *x)


# ---- arithmetic ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Add(_Binary):
    """x + y; integers wrap around."""

    ufunc, rule, onnx = np.add, "add", "Add"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        return g, g


@dataclass(frozen=True)
class Sub(_Binary):
    """x - y; integers wrap around."""

    ufunc, rule, onnx = np.subtract, "sub", "Sub"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        return g, build.neg(g)


@dataclass(frozen=True)
class Mul(_Binary):
    """x * y; integers wrap around."""

    ufunc, rule, onnx = np.multiply, "mul", "Mul"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        return build.mul(g, x[1]), build.mul(g, x[0])


@dataclass(frozen=True)
class Div(_Binary):
    """x / y on floats (`build.div` converts integers first)."""

    kinds = ("float",)
    ufunc, rule, onnx = np.divide, "div", "Div"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        dx = build.div(g, x[1])
        return dx, build.neg(build.mul(dx, y))


def _guarded_floor_div(b: ElementBuilder, x: Scalar, y: Scalar, dtype: DType) -> Scalar:
    """Integer floor division that cannot trap: x // 0 is 0 and the division by -1 is a (wrapping) negation."""
    one, zero = b.constant(1, dtype), b.constant(0, dtype)
    is_zero = b.binary("eq", y, zero)
    if dtype.kind == "uint":
        return b.select(is_zero, zero, b.binary("floor_div", x, b.select(is_zero, one, y)))
    is_minus_one = b.binary("eq", y, b.constant(-1, dtype))
    quotient = b.binary("floor_div", x, b.select(b.binary("or", is_zero, is_minus_one), one, y))
    return b.select(is_zero, zero, b.select(is_minus_one, b.unary("neg", x), quotient))


@dataclass(frozen=True)
class FloorDiv(_Binary):
    """floor(x / y). An integer divided by zero gives 0. No gradient (it is zero almost everywhere)."""

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            # np.floor_divide on floats goes through fmod, which disagrees with floor(x / y) in the last place
            result = np.floor_divide(x, y) if x.dtype.kind in "iu" else np.floor(np.divide(x, y))
        return np.asarray(result, dtype=x.dtype)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        x, y = read(0, index), read(1, index)
        if types[0].dtype.is_float:
            return b.unary("floor", b.binary("div", x, y))
        return _guarded_floor_div(b, x, y, types[0].dtype)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None, None]:
        return None, None


@dataclass(frozen=True)
class Remainder(_Binary):
    """x - floor(x / y) * y: the sign of y, as Python's %. An integer modulo zero gives 0."""

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            result = np.remainder(x, y) if x.dtype.kind in "iu" else x - np.floor(np.divide(x, y)) * y
        return np.asarray(result, dtype=x.dtype)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        x, y, dtype = read(0, index), read(1, index), types[0].dtype
        if dtype.is_float:
            quotient = b.unary("floor", b.binary("div", x, y))
            return b.binary("sub", x, b.binary("mul", quotient, y))
        zero = b.constant(0, dtype)
        difference = b.binary("sub", x, b.binary("mul", _guarded_floor_div(b, x, y, dtype), y))
        return b.select(b.binary("eq", y, zero), zero, difference)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        return g, build.neg(build.mul(g, build.floor(build.div(x[0], x[1]))))


@dataclass(frozen=True)
class Pow(_Binary):
    """x ** y on floats. The gradient with respect to y is zero where x <= 0 (the logarithm does not exist)."""

    kinds = ("float",)
    ufunc, rule, onnx = np.power, "pow", "Pow"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        base, exponent = x
        # both are kept finite where the true factor is 0 * infinity: y * x**(y-1) at y = 0, log(x) at x <= 0
        lowered = build.sub(build.where(build.equal(exponent, 0.0), 1.0, exponent), 1.0)
        d_base = build.mul(g, build.mul(exponent, build.pow(base, lowered)))
        positive = build.greater(base, 0.0)
        logarithm = build.log(build.where(positive, base, 1.0))
        return d_base, build.where(positive, build.mul(g, build.mul(y, logarithm)), 0.0)


@dataclass(frozen=True)
class Minimum(_Binary):
    """The smaller operand. The cotangent goes to x where x <= y, else to y."""

    ufunc, rule, onnx = np.minimum, "min", "Min"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        first = build.less_equal(x[0], x[1])
        return build.where(first, g, 0.0), build.where(first, 0.0, g)


@dataclass(frozen=True)
class Maximum(_Binary):
    """The larger operand. The cotangent goes to x where x >= y, else to y."""

    ufunc, rule, onnx = np.maximum, "max", "Max"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, Node]:
        first = build.greater_equal(x[0], x[1])
        return build.where(first, g, 0.0), build.where(first, 0.0, g)


# ---- unary -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Neg(_Unary):
    """-x; integers wrap around."""

    ufunc, rule, onnx = np.negative, "neg", "Neg"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.neg(g),)


@dataclass(frozen=True)
class Abs(_Unary):
    """|x|. The gradient at 0 is 0."""

    ufunc, rule, onnx = np.abs, "abs", "Abs"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.mul(g, build.sign(x[0])),)


@dataclass(frozen=True)
class Sign(_Unary):
    """-1, 0 or 1. No gradient."""

    ufunc, rule, onnx = np.sign, "sign", "Sign"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None]:
        return (None,)


@dataclass(frozen=True)
class Exp(FloatUnary):
    """e ** x."""

    ufunc, rule, onnx = np.exp, "exp", "Exp"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.mul(g, y),)


@dataclass(frozen=True)
class Log(FloatUnary):
    """The natural logarithm."""

    ufunc, rule, onnx = np.log, "log", "Log"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.div(g, x[0]),)


@dataclass(frozen=True)
class Log1p(FloatUnary):
    """log(1 + x), exact for small x."""

    ufunc, rule = np.log1p, "log1p"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.div(g, build.add(x[0], 1.0)),)


@dataclass(frozen=True)
class Expm1(FloatUnary):
    """exp(x) - 1, exact for small x."""

    ufunc, rule = np.expm1, "expm1"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.mul(g, build.add(y, 1.0)),)


@dataclass(frozen=True)
class Sqrt(FloatUnary):
    """The square root."""

    ufunc, rule, onnx = np.sqrt, "sqrt", "Sqrt"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.div(build.mul(g, 0.5), y),)


@dataclass(frozen=True)
class Rsqrt(FloatUnary):
    """1 / sqrt(x)."""

    rule = "rsqrt"

    @staticmethod
    def ufunc(x: np.ndarray) -> np.ndarray:
        return np.reciprocal(np.sqrt(x))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.mul(build.mul(g, -0.5), build.mul(y, build.mul(y, y))),)


@dataclass(frozen=True)
class Tanh(FloatUnary):
    """The hyperbolic tangent."""

    ufunc, rule, onnx = np.tanh, "tanh", "Tanh"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.mul(g, build.sub(1.0, build.mul(y, y))),)


@dataclass(frozen=True)
class Sigmoid(FloatUnary):
    """1 / (1 + exp(-x))."""

    rule, onnx = "sigmoid", "Sigmoid"

    @staticmethod
    def ufunc(x: np.ndarray) -> np.ndarray:
        return np.reciprocal(1 + np.exp(-x))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.mul(g, build.mul(y, build.sub(1.0, y))),)


_erf = np.frompyfunc(math.erf, 1, 1)


@dataclass(frozen=True)
class Erf(FloatUnary):
    """The error function 2 / sqrt(pi) * integral of exp(-t^2) from 0 to x."""

    ufunc, rule, onnx = _erf, "erf", "Erf"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        density = build.mul(build.exp(build.neg(build.mul(x[0], x[0]))), 2.0 / math.sqrt(math.pi))
        return (build.mul(g, density),)


@dataclass(frozen=True)
class Sin(FloatUnary):
    """The sine of radians."""

    ufunc, rule, onnx = np.sin, "sin", "Sin"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.mul(g, build.cos(x[0])),)


@dataclass(frozen=True)
class Cos(FloatUnary):
    """The cosine of radians."""

    ufunc, rule, onnx = np.cos, "cos", "Cos"

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.neg(build.mul(g, build.sin(x[0]))),)


class _Rounding(FloatUnary, abstract=True):
    """Piecewise constant: no gradient."""

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None]:
        return (None,)


@dataclass(frozen=True)
class Floor(_Rounding):
    """The largest integer <= x."""

    ufunc, rule, onnx = np.floor, "floor", "Floor"


@dataclass(frozen=True)
class Ceil(_Rounding):
    """The smallest integer >= x."""

    ufunc, rule, onnx = np.ceil, "ceil", "Ceil"


@dataclass(frozen=True)
class Round(_Rounding):
    """The nearest integer, halves to the even one."""

    ufunc, rule, onnx = np.rint, "round", "Round"


@dataclass(frozen=True)
class Relu(_Unary):
    """max(x, 0); NaN stays NaN, so that a diverging network is noticed. The gradient at 0 is 0."""

    onnx = "Relu"

    @staticmethod
    def ufunc(x: np.ndarray) -> np.ndarray:
        return np.maximum(x, x.dtype.type(0))

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        x, zero = read(0, index), b.constant(0, types[0].dtype)
        return b.select(b.binary("lt", x, zero), zero, x)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        # in terms of the output: the input can be freed (or overwritten) right after the forward pass
        return (build.where(build.greater(y, 0.0), g, 0.0),)


__all__ = [
    "Abs", "Add", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Cast", "Ceil", "Cos", "Div", "Equal", "Erf",
    "Exp", "Expm1", "Floor", "FloorDiv", "Greater", "GreaterEqual", "IsFinite", "Less", "LessEqual", "Log",
    "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr", "LogicalXor", "Maximum", "Minimum", "Mul",
    "MultiplyHigh", "Neg", "NotEqual", "Pow", "Relu", "Remainder", "Round", "Rsqrt", "Select", "ShiftLeft",
    "ShiftRight", "Sigmoid", "Sign", "Sin", "Sqrt", "Sub", "Tanh",
]  # fmt: skip
