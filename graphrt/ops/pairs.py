"""Products of bfloat16 tensors two terms at a time, as processors with a bfloat16 dot product compute them.

In: bfloat16 operands. Out: float32 sums. `PackPairs` puts two neighbours along the summed axis into one 32-bit word,
`MatMulPairs` sums the products of both halves. `passes/pair_products.py` makes them of ordinary products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..dtypes import bfloat16, float32, uint32
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import Contraction, ContractionOp, ElementBuilder, ElementOp, Index, Read, Scalar
from .batching import everywhere

UPPER = 0xFFFF0000  # the bits of a float32 that are those of a bfloat16


@dataclass(frozen=True)
class PackPairs(ElementOp):
    """(x: bfloat16) -> uint32 with half the extent along `axis` (rounded up): word k holds element 2 k in its lower and
    element 2 k + 1 in its upper half. Beyond the end there is a zero. It has no gradient."""

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        x = types[0]
        if x.dtype != bfloat16:
            raise DTypeError(
                f"{self.name}: element type not accepted", expected="bfloat16", given=x.describe()
            )
        if not 0 <= self.axis < x.rank:
            raise ShapeError(
                f"{self.name}: no such axis", expected=f"an axis of {x.describe()}", given=self.axis
            )
        return TensorType(_with_extent(x.shape, self.axis, -(-x.shape[self.axis] // 2)), uint32)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        words = np.moveaxis(x, self.axis, -1).astype(np.float32).view(np.uint32) >> np.uint32(16)
        if words.shape[-1] % 2:
            words = np.concatenate([words, np.zeros((*words.shape[:-1], 1), np.uint32)], axis=-1)
        pairs = words[..., 0::2] | words[..., 1::2] << np.uint32(16)
        return np.ascontiguousarray(np.moveaxis(pairs, -1, self.axis))

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        extent = types[0].shape[self.axis]

        def bits(half: int) -> Scalar:
            """Element 2 k + half as a float32's bits."""
            place = index[self.axis] * 2 + half
            at = (*index[: self.axis], place, *index[self.axis + 1 :])
            value = b.where_in_range(
                [(place, 0, extent)], lambda: read(0, at), b.constant(0.0, bfloat16)
            )  # fmt: skip
            return b.bitcast(b.cast(value, float32), uint32)

        low = b.binary("shr", bits(0), b.constant(16, uint32))
        return b.binary("or", low, b.binary("and", bits(1), b.constant(UPPER, uint32)))

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(PackPairs(self.axis + 1), *x)


@dataclass(frozen=True)
class MatMulPairs(ContractionOp):
    """(x: uint32 (..., M, K); y: uint32 (..., K, N)) -> float32 (..., M, N): sums over K of the products of the lower
    halves and of the upper halves, as bfloat16; the leading axes are equal. It has no gradient.

    Sums are float32. As the processors' instruction does, native code takes denormal operands as zero.
    """

    pairs: ClassVar[bool] = True

    def infer(self, *types: TensorType) -> TensorType:
        x, y = types
        if x.dtype != uint32 or y.dtype != uint32:
            raise DTypeError(
                f"{self.name}: element type not accepted", expected="uint32 pairs of bfloat16",
                given=f"{x.describe()} and {y.describe()}",
            )  # fmt: skip
        if x.rank < 2 or x.rank != y.rank or x.shape[:-2] != y.shape[:-2] or x.shape[-1] != y.shape[-2]:
            raise ShapeError(
                f"{self.name}: operands do not fit", expected="(..., M, K) and (..., K, N)",
                given=f"{x.describe()} and {y.describe()}",
            )  # fmt: skip
        return TensorType((*x.shape[:-1], y.shape[-1]), float32)

    def evaluate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            low = np.matmul(_float(x << np.uint32(16)), _float(y << np.uint32(16)))
            return low + np.matmul(_float(x & np.uint32(UPPER)), _float(y & np.uint32(UPPER)))

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        x, y = types
        return Contraction(
            output=(*x.shape[:-1], y.shape[-1]),
            reduce=(x.shape[-1],),
            left_index=lambda i, r: (*i[:-1], r[0]),
            right_index=lambda i, r: (*i[:-2], r[0], i[-1]),
        )

    def flops(self, *types: TensorType) -> int:
        return 2 * super().flops(*types)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(self, *everywhere(size, x, batched))


def _with_extent(shape: tuple[int, ...], axis: int, extent: int) -> tuple[int, ...]:
    return (*shape[:axis], extent, *shape[axis + 1 :])


def _float(words: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(words).view(np.float32)
