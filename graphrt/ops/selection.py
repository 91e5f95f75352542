"""Ops whose operands or result differ in type: selection by a condition, conversion, the finiteness test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..dtypes import DType, bool_
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType
from .base import ElementBuilder, Elementwise, Index, Read, Scalar
from .deferred import build


@dataclass(frozen=True)
class Select(Elementwise):
    """x where condition, else y; the operand not selected may be anything, NaN too."""

    onnx: ClassVar[str | None] = "Where"

    def infer(self, *types: TensorType) -> TensorType:
        condition, x, y = types
        if condition.dtype != bool_:
            raise DTypeError(
                "select: the condition must be bool", expected="bool", given=condition.describe()
            )
        if x != y:
            kind = DTypeError if x.shape == y.shape else ShapeError
            raise kind(
                "select: both alternatives must have one type", expected=x.describe(), given=y.describe()
            )
        if condition.shape != x.shape:
            raise ShapeError(
                "select: the condition must have the shape of the alternatives",
                expected=TensorType(x.shape, bool_).describe(),
                given=condition.describe(),
            )
        return x

    def evaluate(self, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(condition, x, y)

    def scalar(self, b: ElementBuilder, *x: Scalar) -> Scalar:
        return b.select(*x)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None, Node, Node]:
        return None, build.where(x[0], g, 0.0), build.where(x[0], 0.0, g)


@dataclass(frozen=True)
class Cast(Elementwise):
    """Conversion to another element type. Float to integer truncates towards zero (out of range: any value);
    to bool means != 0. Gradients pass between float types only."""

    dtype: DType

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(types[0].shape, self.dtype)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            if self.dtype == bool_:
                return np.asarray(x != 0)
            return x.astype(self.dtype.numpy)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        x, source = read(0, index), types[0].dtype
        if self.dtype == source:
            return x
        if self.dtype == bool_:
            return b.binary("ne", x, b.constant(0, source))
        return b.cast(x, self.dtype)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node | None]:
        source = x[0].dtype
        return (build.cast(g, source) if source.is_float and self.dtype.is_float else None,)


@dataclass(frozen=True)
class IsFinite(Elementwise):
    """True where x is neither infinite nor NaN. Float in, bool out."""

    kinds = ("float",)

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(super().infer(*types).shape, bool_)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.isfinite(x), dtype=np.bool_)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        # an ordered comparison: false for NaN
        dtype = types[0].dtype
        largest = b.constant(build.largest_finite(dtype), dtype)
        return b.binary("le", b.unary("abs", read(0, index)), largest)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None]:
        return (None,)
