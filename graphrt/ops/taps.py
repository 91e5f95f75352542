"""Gradients of a convolution's image below max-pool, without the zeros max-pool's gradient is full of.

Every pooling window passes its one gradient on to a patch of the image: the pixels that the kernel sees from any pixel of
the window. By which weight depends on the pixel (r, s) of the window that won:

    dx[n, c, ph * stride + i, pw * stride + j] += g[n, o, ph, pw] * tap[n, o, c, ph, pw, i, j]
    tap[n, o, c, ph, pw, i, j] = w[o, c, i - r, j - s],  zero outside of the kernel

`ChosenTaps` is the second factor, far too large for memory: the contraction looks its elements up in rows of weights that
fit in one vector register (`TapRows`), by one instruction for all samples in the lanes. Lowering makes these ops after
differentiation (passes/sparse_gradients.py), so they have no gradients of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType
from .base import Contraction, ContractionOp, ElementBuilder, ElementOp, Elementwise, Index, Read, Scalar
from .batching import one_by_one

Pair = tuple[int, int]


def patch_of(window: Pair, strides: Pair, kernel: Pair) -> Pair:
    """Rows and columns of the patch that one window reaches, rounded up to multiples of the strides."""
    reach = [size + taps - 1 for size, taps in zip(window, kernel)]
    rows, columns = (-(-extent // step) * step for extent, step in zip(reach, strides))
    return rows, columns


def section_of(window: Pair, strides: Pair, kernel: Pair) -> int:
    """Elements of a `TapRows` row for one row of the window: a patch row, wherever in the window it begins. A power of two
    if the whole row then still is as short as the next one: positions are multiplied by it."""
    columns = patch_of(window, strides, kernel)[1] + window[1] - 1
    even = 1 << (columns - 1).bit_length()
    whole = 1 << (columns * window[0] - 1).bit_length()
    return even if even * window[0] <= whole else columns


@dataclass(frozen=True)
class TapRows(ElementOp):
    """(w: O,C,KH,KW) -> O,C,I,`width`: element (i, r * section + t) is w[i - r, t - (window width - 1)], or zero outside of
    the kernel: what patch row i gets if row r of the window won, for every column that may have won."""

    window: Pair
    rows: int
    section: int
    width: int

    def infer(self, *types: TensorType) -> TensorType:
        (w,) = types
        if w.rank != 4 or self.window[0] * self.section > self.width:
            raise ShapeError(
                f"{self.name}: one section per row of the window",
                expected=f"weights [O, C, KH, KW], at least {self.window[0] * self.section} elements",
                given=f"{w.describe()} and {self.width} elements",
            )
        return TensorType((*w.shape[:2], self.rows, self.width), w.dtype)

    def evaluate(self, w: np.ndarray) -> np.ndarray:
        table = np.zeros((*w.shape[:2], self.rows, self.width), w.dtype)
        kh, kw = w.shape[2:]
        for r in range(self.window[0]):
            begin = r * self.section + self.window[1] - 1
            kept = min(kh, self.rows - r)
            table[:, :, r : r + kept, begin : begin + kw] = w[:, :, :kept]
        return table

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        o, c, i, t = index
        kh, kw = types[0].shape[2:]
        value = b.constant(0, types[0].dtype)
        for r in range(self.window[0]):
            column = t - (r * self.section + self.window[1] - 1)

            def tap(row=i - r, column=column) -> Scalar:
                return read(0, [o, c, row, column])

            value = b.where_in_range([(i - r, 0, kh), (column, 0, kw)], tap, value)
        return value

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return one_by_one(self, size, x, batched)


@dataclass(frozen=True)
class TapStarts(Elementwise):
    """position (int32: row * window width + column inside the window, of what won) -> where in every row of `TapRows` the
    patch begins."""

    width: int  # of the window
    section: int

    kinds: ClassVar[tuple[str, ...]] = ("int",)

    def evaluate(self, position: np.ndarray) -> np.ndarray:
        row, column = np.divmod(position, self.width)
        return (row * self.section + self.width - 1 - column).astype(position.dtype)

    def scalar(self, b: ElementBuilder, *x: Scalar) -> Scalar:
        (position,) = x

        def number(value: int) -> Scalar:
            return b.constant(value, position.dtype)

        if self.width & (self.width - 1) == 0:
            row = b.binary("shr", position, number(self.width.bit_length() - 1))
        else:
            row = b.binary("div", position, number(self.width))
        # row * section + width - 1 - column, with column = position - row * width
        ahead = b.binary("mul", row, number(self.section + self.width))
        return b.binary("sub", b.binary("add", ahead, number(self.width - 1)), position)


@dataclass(frozen=True)
class ChosenTaps(ElementOp):
    """(rows: O,C,I,E from `TapRows`; start: int32 N,O,PH,PW from `TapStarts`) -> N,O,C,PH,PW,I,J: the weights by which a
    window's gradient reaches its patch."""

    window: Pair
    strides: Pair
    kernel: Pair

    virtual: ClassVar[bool] = True

    @property
    def patch(self) -> Pair:
        return patch_of(self.window, self.strides, self.kernel)

    @property
    def section(self) -> int:
        return section_of(self.window, self.strides, self.kernel)

    def infer(self, *types: TensorType) -> TensorType:
        rows, start = types
        if start.dtype != int32:
            raise DTypeError(f"{self.name}: starts are int32", expected="int32", given=start.describe())
        fits = rows.rank == 4 and start.rank == 4 and rows.shape[0] == start.shape[1]
        if not fits or rows.shape[2] != self.patch[0] or rows.shape[3] < self.section * self.window[0]:
            raise ShapeError(
                f"{self.name}: rows of taps for every output channel",
                expected=f"rows [O, C, {self.patch[0]}, {self.section * self.window[0]} or more], starts [N, O, PH, PW]",
                given=f"{rows.describe()} and {start.describe()}",
            )
        batch, out_channels, *windows = start.shape
        return TensorType((batch, out_channels, rows.shape[1], *windows, *self.patch), rows.dtype)

    def evaluate(self, rows: np.ndarray, start: np.ndarray) -> np.ndarray:
        extents = (*start.shape[:2], rows.shape[1], *start.shape[2:], *self.patch)
        _, o, c, _, _, i, j = np.ogrid[tuple(slice(extent) for extent in extents)]
        return rows[o, c, i, start[:, :, None, :, :, None, None] + j]

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        n, o, c, ph, pw, i, j = index
        place = b.binary("add", read(1, [n, o, ph, pw]), b.index_value(j, int32))
        return read(0, [o, c, i, b.as_index(place, types[0].shape[3], known=True)])

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return one_by_one(self, size, x, batched)


@dataclass(frozen=True)
class ChosenTapSum(ContractionOp):
    """(taps: N,O,C,PH,PW,I,J; g: N,O,PH,PW) -> N,C,(PH - 1) * stride + I,(PW - 1) * stride + J: the patches of all windows,
    added where they overlap. I and J are multiples of the strides."""

    strides: Pair

    def infer(self, *types: TensorType) -> TensorType:
        taps, g = types
        fits = taps.rank == 7 and g.shape == (*taps.shape[:2], *taps.shape[3:5])
        if not fits or any(extent % step for extent, step in zip(taps.shape[5:], self.strides)):
            raise ShapeError(
                f"{self.name}: one gradient per window, patches in multiples of the strides {self.strides}",
                expected="taps [N, O, C, PH, PW, I, J], g [N, O, PH, PW]",
                given=f"{taps.describe()} and {g.describe()}",
            )
        if taps.dtype != g.dtype:
            raise DTypeError(
                f"{self.name}: operands must have one element type",
                expected=taps.describe(),
                given=g.describe(),
            )
        image = ((taps.shape[3 + k] - 1) * self.strides[k] + taps.shape[5 + k] for k in range(2))
        return TensorType((taps.shape[0], taps.shape[2], *image), g.dtype)

    def evaluate(self, taps: np.ndarray, g: np.ndarray) -> np.ndarray:
        ph, pw, height, width = taps.shape[3:]
        patches = np.einsum("nocpqij,nopq->ncpqij", taps, g)
        shape = self.infer(*(TensorType(x.shape, int32) for x in (taps, g))).shape
        image = np.zeros(shape, g.dtype)
        rows, columns = ((count - 1) * step + 1 for count, step in zip((ph, pw), self.strides))
        for i in range(height):
            for j in range(width):
                image[:, :, i : i + rows : self.strides[0], j : j + columns : self.strides[1]] += patches[
                    ..., i, j
                ]
        return image

    def contraction(self, types: Sequence[TensorType]) -> Contraction:
        taps, g = types
        down, across = self.strides
        image = self.infer(taps, g).shape

        def windows(i: Sequence[Index], r: Sequence[Index]) -> tuple[Index, Index]:
            return i[2] // down - r[0], i[3] // across - r[1]

        def left(i: Sequence[Index], r: Sequence[Index]) -> tuple[Index, ...]:
            inside = i[2] % down + r[0] * down, i[3] % across + r[1] * across
            return (i[0], r[2], i[1], *windows(i, r), *inside)

        return Contraction(
            output=image,
            reduce=(taps.shape[5] // down, taps.shape[6] // across, taps.shape[1]),
            left_index=left,
            right_index=lambda i, r: (i[0], r[2], *windows(i, r)),
            both_leave=True,
        )

    def flops(self, *types: TensorType) -> int:
        return 2 * types[0].size

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return one_by_one(self, size, x, batched)


__all__ = ["ChosenTapSum", "ChosenTaps", "TapRows", "TapStarts", "patch_of", "section_of"]
