"""Comparisons (one type in, bool out), logic (bool) and bit operations (integers); none has a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..dtypes import bool_
from ..ir import Node, TensorType
from .base import ElementBuilder, Elementwise, Scalar


class _Discrete(Elementwise, abstract=True):
    """`ufunc` is the NumPy rule, `rule` the ElementBuilder name; the result takes the operands' type."""

    ufunc: ClassVar[Any]
    rule: ClassVar[str]
    onnx: ClassVar[str | None] = None

    def evaluate(self, *x: np.ndarray) -> np.ndarray:
        return np.asarray(self.ufunc(*x), dtype=x[0].dtype)

    def scalar(self, b: ElementBuilder, *x: Scalar) -> Scalar:
        return b.binary(self.rule, *x)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None, ...]:
        return (None,) * len(x)


class _Comparison(_Discrete, abstract=True):
    """Comparisons with NaN are false (NotEqual: true)."""

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(super().infer(*types).shape, bool_)

    def evaluate(self, *x: np.ndarray) -> np.ndarray:
        return np.asarray(self.ufunc(*x), dtype=np.bool_)


@dataclass(frozen=True)
class Equal(_Comparison):
    """x == y."""

    kinds = ("float", "int", "uint", "bool")
    ufunc, rule, onnx = np.equal, "eq", "Equal"


@dataclass(frozen=True)
class NotEqual(_Comparison):
    """x != y."""

    kinds = ("float", "int", "uint", "bool")
    ufunc, rule = np.not_equal, "ne"


@dataclass(frozen=True)
class Less(_Comparison):
    """x < y."""

    ufunc, rule, onnx = np.less, "lt", "Less"


@dataclass(frozen=True)
class LessEqual(_Comparison):
    """x <= y."""

    ufunc, rule, onnx = np.less_equal, "le", "LessOrEqual"


@dataclass(frozen=True)
class Greater(_Comparison):
    """x > y."""

    ufunc, rule, onnx = np.greater, "gt", "Greater"


@dataclass(frozen=True)
class GreaterEqual(_Comparison):
    """x >= y."""

    ufunc, rule, onnx = np.greater_equal, "ge", "GreaterOrEqual"


@dataclass(frozen=True)
class LogicalAnd(_Discrete):
    """x and y, on bool."""

    kinds = ("bool",)
    ufunc, rule, onnx = np.logical_and, "and", "And"


@dataclass(frozen=True)
class LogicalOr(_Discrete):
    """x or y, on bool."""

    kinds = ("bool",)
    ufunc, rule, onnx = np.logical_or, "or", "Or"


@dataclass(frozen=True)
class LogicalXor(_Discrete):
    """Exactly one of x and y, on bool."""

    kinds = ("bool",)
    ufunc, rule, onnx = np.logical_xor, "xor", "Xor"


@dataclass(frozen=True)
class LogicalNot(_Discrete):
    """not x, on bool."""

    kinds = ("bool",)
    ufunc, onnx = np.logical_not, "Not"

    def scalar(self, b: ElementBuilder, *x: Scalar) -> Scalar:
        return b.unary("not", *x)


@dataclass(frozen=True)
class BitwiseAnd(_Discrete):
    """x & y, on integers or bool."""

    kinds = ("int", "uint", "bool")
    ufunc, rule, onnx = np.bitwise_and, "and", "BitwiseAnd"


@dataclass(frozen=True)
class BitwiseOr(_Discrete):
    """x | y, on integers or bool."""

    kinds = ("int", "uint", "bool")
    ufunc, rule, onnx = np.bitwise_or, "or", "BitwiseOr"


@dataclass(frozen=True)
class BitwiseXor(_Discrete):
    """x ^ y, on integers or bool."""

    kinds = ("int", "uint", "bool")
    ufunc, rule, onnx = np.bitwise_xor, "xor", "BitwiseXor"


@dataclass(frozen=True)
class ShiftLeft(_Discrete):
    """x << y, on integers; y must be at least 0 and below the number of bits."""

    kinds = ("int", "uint")
    ufunc, rule = np.left_shift, "shl"


@dataclass(frozen=True)
class ShiftRight(_Discrete):
    """x >> y, on integers: logical on unsigned types, arithmetic on signed ones; 0 <= y < number of bits."""

    kinds = ("int", "uint")
    ufunc, rule = np.right_shift, "shr"


def _multiply_high(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    bits = x.dtype.itemsize * 8
    if bits < 64:
        return (x.astype(np.uint64) * y.astype(np.uint64)) >> np.uint64(bits)
    # 64 bits: schoolbook multiplication of 32-bit halves
    half, low_mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    x_low, x_high, y_low, y_high = x & low_mask, x >> half, y & low_mask, y >> half
    low, middle_x, middle_y = x_low * y_low, x_high * y_low, x_low * y_high
    carry = ((low >> half) + (middle_x & low_mask) + (middle_y & low_mask)) >> half
    return x_high * y_high + (middle_x >> half) + (middle_y >> half) + carry


@dataclass(frozen=True)
class MultiplyHigh(_Discrete):
    """The high half of the double-width product, on unsigned integers."""

    kinds = ("uint",)
    rule = "mulhi"
    ufunc = staticmethod(_multiply_high)
