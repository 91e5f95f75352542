"""Convolutions by Winograd's minimal filtering: F(4x4, 3x3), 36 products instead of 144 per 4x4 results.

In: the operands of a 3x3 convolution with stride 1. Out: what `Conv2d` gives, up to rounding.

One dimension (S. Winograd, Arithmetic Complexity of Computations, 1980): four neighbouring results y of a filter g with
three taps over six inputs x are

    y = A^T [(G g) * (B^T x)]

where * is elementwise: both polynomials are evaluated at the points 0, a, -a, b, -b and infinity, multiplied there, and
the product is interpolated. Two dimensions are the same along rows and along columns. The transforms of inputs and
results cost additions and a few multiplications per channel, the 36 products a sum over channels each, so that many
channels make it worth while.

Rounding errors grow with the size of the matrices' entries. With the customary points 1 and 2 they are five times those
of a direct sum in float32, with 3/4 and 3/2 (whose powers are exact in float32) two to three times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..dtypes import float32
from ..errors import ShapeError
from ..ir import Literal, Node, Op, TensorType, apply
from .base import TiledProductOp
from .batching import one_by_one
from .contractions import Conv2d, Conv2dBackwardInput, Conv2dBackwardWeight, MatMul
from .reductions import ReduceSum
from .views import Constant, Reshape, Transpose

POINTS = (Fraction(3, 4), Fraction(3, 2))  # a and b of the module docstring
TILE = 4  # results of one tile along each axis
TAPS = 3
SPAN = TILE + TAPS - 1  # inputs of one tile along each axis, and points
POSITIONS = SPAN * SPAN  # products per tile
TRANSFORM = 150  # operations of one transform of a tile: about twelve lines of twelve


def input_matrix() -> np.ndarray:
    """B^T, float64[6, 6]; rows in the order of the points 0, a, -a, b, -b, infinity."""
    a, b = POINTS
    rows = [[a * a * b * b, 0, -(a * a + b * b), 0, 1, 0]]
    for point, other in ((a, b), (-a, b), (b, a), (-b, a)):
        rows.append([0, -point * other * other, -other * other, point, 1, 0])
    rows.append([0, a * a * b * b, 0, -(a * a + b * b), 0, 1])
    return np.array(rows, np.float64)


def weight_matrix(taps: int = TAPS) -> np.ndarray:
    """G, float64[6, taps]."""
    a, b = POINTS
    rows: list[list[Fraction | int]] = [[1 / (a * a * b * b), *[0] * (taps - 1)]]
    for point, other in ((a, b), (-a, b), (b, a), (-b, a)):
        scale = 1 / (2 * point * point * (point * point - other * other))
        rows.append([scale * point**k for k in range(taps)])
    return np.array([*rows, [int(k == taps - 1) for k in range(taps)]], np.float64)


def output_matrix(results: int = TILE) -> np.ndarray:
    """A^T, float64[results, 6]."""
    a, b = POINTS
    rows = [[int(k == 0), *(p**k for p in (a, -a, b, -b)), int(k == results - 1)] for k in range(results)]
    return np.array(rows, np.float64)


def tiles_of(extent: int) -> int:
    """How many tiles cover `extent` results; the last may stick out."""
    return -(-extent // TILE)


@dataclass(frozen=True)
class WinogradConv2d(Conv2d):
    """`Conv2d` with a 3x3 kernel, stride and dilation 1, no padding and one group, computed by F(4x4, 3x3)."""

    def infer(self, *types: TensorType) -> TensorType:
        result = super().infer(*types)
        if types[1].shape[2:] != (TAPS, TAPS) or self != WinogradConv2d() or result.dtype != float32:
            raise ShapeError(
                f"{self.name}: only 3x3 kernels with stride 1, no padding, dilation 1 and one group",
                expected="a weight float32[O, C, 3, 3] and default attributes",
                given=f"a weight {types[1].describe()} and {self._settings()}",
            )
        return result

    def evaluate(self, x: np.ndarray, w: np.ndarray) -> np.ndarray:
        b, g, a = (m.astype(x.dtype) for m in (input_matrix(), weight_matrix(), output_matrix()))
        rows, columns = x.shape[2] - TAPS + 1, x.shape[3] - TAPS + 1
        with np.errstate(all="ignore"):
            patches = b @ _patches(x, tiles_of(rows), tiles_of(columns)) @ b.T
            kernels = g @ w @ g.T
            products = np.einsum("ncrsij,ocij->norsij", patches, kernels, optimize=True)
            tiles = (a @ products @ a.T).transpose(0, 1, 2, 4, 3, 5)
        n, o, r, _, s, _ = tiles.shape
        whole = tiles.reshape(n, o, r * TILE, s * TILE)[:, :, :rows, :columns]
        return np.ascontiguousarray(whole)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return one_by_one(self, size, x, batched)

    def flops(self, *types: TensorType) -> int:
        """Real operations: products, and the transforms of inputs and results."""
        n, o, rows, columns = self.infer(*types).shape
        tiles = n * tiles_of(rows) * tiles_of(columns)
        channels = types[0].shape[1]
        return tiles * (2 * POSITIONS * o * channels + TRANSFORM * (channels + o)) + TRANSFORM * o * channels


def _patches(x: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """(N, C, H, W) -> overlapping tiles (N, C, rows, columns, 6, 6), zeros outside the image."""
    n, c, height, width = x.shape
    whole = np.zeros((n, c, rows * TILE + TAPS - 1, columns * TILE + TAPS - 1), x.dtype)
    whole[:, :, :height, :width] = x
    view = np.lib.stride_tricks.sliding_window_view(whole, (SPAN, SPAN), axis=(2, 3))
    return view[:, :, ::TILE, ::TILE]


@dataclass(frozen=True)
class WinogradWeightProducts(TiledProductOp):
    """(x: N,C,H+2,W+2; dy: N,O,H,W) -> (parts, 36, O, C): the products that `weight_gradient` turns into the gradient
    of a 3x3 kernel, F(3x3, 4x4) with 4x4 tiles of dy as the filter. Part p sums over the tiles of the images from
    p * `images` on, so that threads may share the work without deciding the order of the sums."""

    images: int

    def infer(self, *types: TensorType) -> TensorType:
        x, dy = types
        if self.images < 1 or x.rank != 4 or x.dtype != float32 or dy.dtype != float32:
            raise ShapeError(
                f"{self.name}: unusable operands", expected="images >= 1 and two float32[N, C, H, W]",
                given=f"images={self.images}, {x.describe()} and {dy.describe()}",
            )  # fmt: skip
        expected = (x.shape[0], *dy.shape[1:2], *(extent - TAPS + 1 for extent in x.shape[2:]))
        if dy.shape != expected or not dy.size:
            raise ShapeError(
                f"{self.name}: the cotangent must have the shape of the convolution's result",
                expected=list(expected), given=dy.describe(),
            )  # fmt: skip
        parts = -(-x.shape[0] // self.images)
        return TensorType((parts, POSITIONS, dy.shape[1], x.shape[1]), x.dtype)

    def evaluate(self, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
        b, g = input_matrix().astype(x.dtype), weight_matrix(TILE).astype(x.dtype)
        rows, columns = (tiles_of(extent) for extent in dy.shape[2:])
        whole = np.zeros((*dy.shape[:2], rows * TILE, columns * TILE), x.dtype)
        whole[:, :, : dy.shape[2], : dy.shape[3]] = dy
        filters = whole.reshape(*dy.shape[:2], rows, TILE, columns, TILE).transpose(0, 1, 2, 4, 3, 5)
        parts = []
        with np.errstate(all="ignore"):
            patches = b @ _patches(x, rows, columns) @ b.T
            filters = g @ filters @ g.T
            for first in range(0, len(x), self.images):
                part = slice(first, first + self.images)
                parts.append(np.einsum("ncrsij,norsij->ijoc", patches[part], filters[part], optimize=True))
        return np.stack(parts).reshape(len(parts), POSITIONS, dy.shape[1], x.shape[1])

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return one_by_one(self, size, x, batched)

    def flops(self, *types: TensorType) -> int:
        """Real operations: products, and the transforms of inputs and cotangents."""
        x, dy = types
        tiles = dy.shape[0] * tiles_of(dy.shape[2]) * tiles_of(dy.shape[3])
        channels, outputs = x.shape[1], dy.shape[1]
        return tiles * (2 * POSITIONS * channels * outputs + TRANSFORM * (channels + outputs))


def weight_gradient(x: Node, dy: Node, images: int) -> Node:
    """What `Conv2dBackwardWeight` gives for a 3x3 kernel: A^T M A of the products M, summed over their parts."""
    products = apply(WinogradWeightProducts(images), x, dy)
    parts, _, outputs, channels = products.shape
    total = apply(ReduceSum((0,)), products) if parts > 1 else products
    table = apply(Transpose((1, 0)), apply(Reshape((POSITIONS, outputs * channels)), total))
    a = output_matrix(TAPS)
    matrix = np.einsum("ki,lj->ijkl", a, a).reshape(POSITIONS, TAPS * TAPS)
    taps = apply(MatMul(), table, apply(Constant(Literal(matrix.astype(x.dtype.numpy)))))
    return apply(Reshape((outputs, channels, TAPS, TAPS)), taps)


def wants(op: Op, types: Sequence[TensorType]) -> bool:
    """Whether this is a convolution, in any of its directions, that Winograd's algorithm can compute."""
    if not isinstance(op, Conv2d | Conv2dBackwardInput | Conv2dBackwardWeight) or isinstance(
        op, WinogradConv2d
    ):
        return False
    kernel = op.weight_shape if isinstance(op, Conv2dBackwardWeight) else types[1].shape
    plain = op.stride == op.dilation == (1, 1) and op.groups == 1 and max(op.padding) < TAPS
    several = min(types[0].shape[0], *kernel[:2]) > 1  # images and channels, which share vectors
    return plain and several and kernel[2:] == (TAPS, TAPS) and types[0].dtype == float32
