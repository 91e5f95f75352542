"""Weight gradients of a convolution below max-pool, without the zeros max-pool's gradient is full of.

The gradient of a convolution's result is one value per pooling window, at the position that won; everything else is
zero. So the sum over all pixels is a sum over windows:

    dw[o, c, kh, kw] = sum over n, ph, pw of  g[n, o, ph, pw] * patch[n, o, c, kh, kw, ph, pw]
    patch[n, o, c, kh, kw, ph, pw] = x[n, c, ph * stride + r + kh, pw * stride + s + kw],  (r, s): what won in the window

`WindowPatches` is the second factor. It is far too large for memory: the contraction selects its elements in registers.
Lowering makes these two ops after differentiation (passes/sparse_gradients.py), so they have no gradients of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType
from .base import Contraction, ContractionOp, ElementBuilder, ElementOp, Index, Read, Scalar
from .batching import one_by_one


@dataclass(frozen=True)
class WindowPatches(ElementOp):
    """(x: N,C,H,W; position: int32 N,O,PH,PW) -> N,O,C,KH,KW,PH,PW: what a kernel of `kernel` extents sees of x at the
    pixel a pooling window chose. `position`: row * window width + column, inside the window."""

    window: tuple[int, int]
    strides: tuple[int, int]
    kernel: tuple[int, int]

    virtual: ClassVar[bool] = True

    def infer(self, *types: TensorType) -> TensorType:
        x, position = types
        if position.dtype != int32:
            raise DTypeError(f"{self.name}: positions are int32", expected="int32", given=position.describe())
        fits = x.rank == 4 and position.rank == 4 and x.shape[0] == position.shape[0]
        for k in range(2):
            reach = self.window[k] + self.kernel[k] - 1
            fits = fits and (position.shape[2 + k] - 1) * self.strides[k] + reach <= x.shape[2 + k]
        if not fits:
            raise ShapeError(
                f"{self.name}: every window must lie in the image with the kernel at each of its pixels",
                expected=f"positions [N, O, PH, PW] of windows {self.window} with strides {self.strides}, kernel {self.kernel}",
                given=f"{x.describe()} and {position.describe()}",
            )  # fmt: skip
        batch, out_channels, *windows = position.shape
        return TensorType((batch, out_channels, x.shape[1], *self.kernel, *windows), x.dtype)

    def evaluate(self, x: np.ndarray, position: np.ndarray) -> np.ndarray:
        n, _, c, kh, kw, ph, pw = np.ogrid[
            tuple(slice(e) for e in (*position.shape[:2], x.shape[1], *self.kernel, *position.shape[2:]))
        ]
        chosen = position[:, :, None, None, None]
        rows = ph * self.strides[0] + chosen // self.window[1] + kh
        columns = pw * self.strides[1] + chosen % self.window[1] + kw
        return x[n, c, rows, columns]

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        n, o, c, kh, kw, ph, pw = index
        height, width = self.window
        position = read(1, [n, o, ph, pw])

        def at_least(x: Scalar, limit: int) -> Scalar:
            return b.binary("ge", x, b.constant(limit, int32))

        # column first: neighbouring kernel rows share what was selected between columns
        if width & (width - 1) == 0:
            column = b.binary("and", position, b.constant(width - 1, int32)) if height > 1 else position
        else:
            column = position
            for r in range(1, height):
                inside = b.binary("sub", position, b.constant(r * width, int32))
                column = b.select(at_least(position, r * width), inside, column)

        def row(r: int) -> Scalar:
            value = None
            for s in range(width):
                x = read(0, [n, c, ph * self.strides[0] + kh + r, pw * self.strides[1] + kw + s])
                value = x if value is None else b.select(at_least(column, s), x, value)
            return value

        value = row(0)
        for r in range(1, height):
            value = b.select(at_least(position, r * width), row(r), value)
        return value

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return one_by_one(self, size, x, batched)

    def selections(self, rows: int, columns: int) -> tuple[int, int]:
        """(selections, loads) of a block of rows x columns of the kernel, for one window."""
        reach = rows + self.window[0] - 1
        across = reach * columns * (self.window[1] - 1)
        return across + rows * columns * (self.window[0] - 1), reach * (columns + self.window[1] - 1)


@dataclass(frozen=True)
class WindowPatchSum(ContractionOp):
    """(patches: N,O,C,KH,KW,PH,PW; g: N,O,PH,PW) -> O,C,KH,KW: the sum over samples and windows of their products."""

    def infer(self, *types: TensorType) -> TensorType:
        patches, g = types
        if patches.rank != 7 or g.shape != (*patches.shape[:2], *patches.shape[5:]):
            raise ShapeError(
                f"{self.name}: one gradient per window", expected="patches [N, O, C, KH, KW, PH, PW], g [N, O, PH, PW]",
                given=f"{patches.describe()} and {g.describe()}",
            )  # fmt: skip
        if patches.dtype != g.dtype:
            raise DTypeError(
                f"{self.name}: operands must have one element type",
                expected=patches.describe(), given=g.describe(),
            )  # fmt: skip
        return TensorType(patches.shape[1:5], g.dtype)

    def evaluate(self, patches: np.ndarray, g: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.einsum("nocijpq,nopq->ocij", patches, g))

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        patches, _ = types
        batch, *output, height, width = patches.shape
        return Contraction(
            output=tuple(output),
            reduce=(batch, height, width),
            left_index=lambda i, r: (r[0], *i, r[1], r[2]),
            right_index=lambda i, r: (r[0], i[0], r[1], r[2]),
        )

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return one_by_one(self, size, x, batched)


__all__ = ["WindowPatchSum", "WindowPatches"]
