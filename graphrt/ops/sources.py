"""Tensors made from nothing: positions along an axis, and known arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..dtypes import DType
from ..errors import CompileError, DTypeError, ShapeError
from ..ir import Literal, Node, TensorType
from .base import ElementBuilder, ElementOp, Index, Read, Scalar


@dataclass(frozen=True)
class Iota(ElementOp):
    """The position along `axis` as a number: 0, 1, 2, ... (no inputs)."""

    shape: tuple[int, ...]
    axis: int
    dtype: DType

    def infer(self, *types: TensorType) -> TensorType:
        if not 0 <= self.axis < len(self.shape):
            raise ShapeError("iota: axis out of range", expected=f"0..{len(self.shape) - 1}", given=self.axis)
        if self.dtype.kind == "bool":
            raise DTypeError(
                "iota: element type not accepted", expected="float or int or uint", given=self.dtype
            )
        return TensorType(self.shape, self.dtype)

    def evaluate(self) -> np.ndarray:
        aligned = [extent if axis == self.axis else 1 for axis, extent in enumerate(self.shape)]
        positions = np.arange(self.shape[self.axis]).astype(self.dtype.numpy)
        return np.broadcast_to(positions.reshape(aligned), self.shape)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        return b.index_value(index[self.axis], self.dtype)

    def flops(self, *types: TensorType) -> int:
        return 0

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[()]:
        return ()


@dataclass(frozen=True)
class Constant(ElementOp):
    """A known array (no inputs). Its element rule covers one repeated value; other arrays are stored as
    buffers."""

    value: Literal

    def infer(self, *types: TensorType) -> TensorType:
        return self.value.type

    def evaluate(self) -> np.ndarray:
        return self.value.array

    def is_uniform(self) -> bool:
        """Every element has the same bits (so that the array needs no storage)."""
        array = self.value.array
        if array.size == 0:
            return True
        data = array.tobytes()
        return array.size == 1 or data == data[: array.itemsize] * array.size

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        if not self.is_uniform():
            raise CompileError(
                "constant: an array of different values has no element rule; it must be stored"
            )
        array = self.value.array
        return b.constant(array.reshape(-1)[0].item() if array.size else 0, self.value.type.dtype)

    def flops(self, *types: TensorType) -> int:
        return 0

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[()]:
        return ()
