"""Layers that change the size of images: Upsample, ResizeBilinear, PixelShuffle, PixelUnshuffle.

In: images (N, C, H, W) (Upsample also sequences (N, C, L)). Out: the same with another size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.tensor import Tensor
from .conv import check_images
from .dense import here, positive_int

_MODES = ("nearest", "linear", "bilinear")


def nearest_positions(extent: int, size: int, scale: float | None = None) -> np.ndarray:
    """The position each of `size` elements takes its value from: floor(k / scale), int32."""
    step = extent / size if scale is None else 1.0 / scale
    return np.minimum(np.floor(np.arange(size) * step), extent - 1).astype(np.int32)


def linear_weights(extent: int, size: int, align_corners: bool, scale: float | None = None) -> np.ndarray:
    """float32 (size, extent): row k interpolates between the two elements next to position k.

    Positions are (k + 1/2) / scale - 1/2, limited to the image, or k (extent - 1) / (size - 1) with `align_corners`.
    """
    k = np.arange(size, dtype=np.float64)
    if align_corners:
        where = k * (extent - 1) / max(size - 1, 1)
    else:
        where = np.maximum((k + 0.5) * (extent / size if scale is None else 1.0 / scale) - 0.5, 0.0)
    low = np.minimum(np.floor(where).astype(int), extent - 1)
    high, part = np.minimum(low + 1, extent - 1), where - low
    weights = np.zeros((size, extent))
    np.add.at(weights, (np.arange(size), low), 1.0 - part)
    np.add.at(weights, (np.arange(size), high), part)
    return weights.astype(np.float32)


class Upsample(Cell):
    """Images or sequences enlarged to `size`, or by `scale_factor` (a number, or one per axis).

    `mode`: "nearest", "linear" for (N, C, L), "bilinear" for (N, C, H, W). `align_corners` (linear modes): the corner
    elements keep their places. `recompute_scale_factor`: positions follow from the sizes and not from scale_factor.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: float | Sequence[float] | None = None,
        mode: str = "nearest",
        align_corners: bool = False,
        recompute_scale_factor: bool = False,
    ):
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise ArgumentError(
                "Upsample: give size or scale_factor", **here(), expected="one of them",
                given=f"size={size!r}, scale_factor={scale_factor!r}",
            )  # fmt: skip
        if mode not in _MODES:
            raise ArgumentError(
                "Upsample: unknown mode", **here(), expected=" or ".join(map(repr, _MODES)), given=repr(mode)
            )
        if align_corners and mode == "nearest":
            raise ArgumentError(
                "Upsample: align_corners needs a linear mode", **here(), given="mode='nearest'"
            )
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners, self.recompute_scale_factor = bool(align_corners), bool(recompute_scale_factor)

    def _per_axis(self, value: Any, axes: int) -> list[Any]:
        values = [value] * axes if isinstance(value, (int, float)) else list(value)
        if len(values) != axes or any(v <= 0 for v in values):
            raise ArgumentError(
                f"Upsample: one positive number, or {axes} of them", **here(), given=repr(value)
            )
        return values

    def construct(self, x: Tensor) -> Tensor:
        ranks = {"nearest": (3, 4), "linear": (3,), "bilinear": (4,)}[self.mode]
        if x.ndim not in ranks:
            raise ShapeError(
                f"Upsample: mode {self.mode!r} takes another number of axes", **here(),
                expected=" or ".join({3: "float32[N, C, L]", 4: "float32[N, C, H, W]"}[r] for r in ranks),
                given=x.type.describe(),
            )  # fmt: skip
        axes = x.ndim - 2
        scales: list[float | None] = [None] * axes
        if self.size is not None:
            size = [int(s) for s in self._per_axis(self.size, axes)]
        else:
            factors = self._per_axis(self.scale_factor, axes)
            size = [int(extent * f) for extent, f in zip(x.shape[2:], factors)]
            scales = scales if self.recompute_scale_factor else list(factors)
        for number, (wanted, scale) in enumerate(zip(size, scales)):
            axis, extent = 2 + number, x.shape[2 + number]
            if self.mode == "nearest":
                x = ops.gather(x, nearest_positions(extent, wanted, scale), axis)
            else:
                x = _interpolated(x, linear_weights(extent, wanted, self.align_corners, scale), axis)
        return x

    def extend_repr(self) -> str:
        return f"size={self.size}, scale_factor={self.scale_factor}, mode={self.mode}, align_corners={self.align_corners}"


def _interpolated(x: Tensor, weights: np.ndarray, axis: int) -> Tensor:
    """x with `axis` multiplied by weights (size, extent)."""
    matrix = weights.astype(x.dtype.numpy)
    if axis == x.ndim - 1:
        return ops.matmul(x, np.ascontiguousarray(matrix.T))
    return ops.matmul(matrix, x)  # axis is the one before the last


class ResizeBilinear(Cell):
    """`ResizeBilinear()(x, size=(h, w))` or `scale_factor=int`: images resized by bilinear interpolation.

    `half_pixel_centers`: element k covers k..k+1, so its position is k + 1/2; otherwise positions are k extent / size.
    """

    def __init__(self, half_pixel_centers: bool = False):
        super().__init__()
        self.half_pixel_centers = bool(half_pixel_centers)

    def construct(
        self,
        x: Tensor,
        size: Sequence[int] | None = None,
        scale_factor: int | None = None,
        align_corners: bool = False,
    ) -> Tensor:
        check_images("ResizeBilinear", x, None)
        if (size is None) == (scale_factor is None):
            raise ArgumentError(
                "ResizeBilinear: give size or scale_factor", **here(), expected="one of them",
                given=f"size={size!r}, scale_factor={scale_factor!r}",
            )  # fmt: skip
        wanted = tuple(size) if size is not None else tuple(e * int(scale_factor) for e in x.shape[2:])  # type: ignore[arg-type]
        for axis, to in zip((2, 3), wanted):
            extent = x.shape[axis]
            if self.half_pixel_centers or align_corners:
                weights = linear_weights(extent, to, align_corners)
            else:
                weights = _corner_weights(extent, to)
            x = _interpolated(x, weights, axis)
        return x


def _corner_weights(extent: int, size: int) -> np.ndarray:
    """`linear_weights` for positions k extent / size."""
    where = np.arange(size) * (extent / size)
    low = np.minimum(where.astype(int), extent - 1)
    weights = np.zeros((size, extent))
    np.add.at(weights, (np.arange(size), low), 1.0 - (where - low))
    np.add.at(weights, (np.arange(size), np.minimum(low + 1, extent - 1)), where - low)
    return weights.astype(np.float32)


class PixelShuffle(Cell):
    """(N, C r^2, H, W) -> (N, C, H r, W r): r^2 channels become a block of r by r pixels (Shi and others
    2016). `upscale_factor`: r."""

    def __init__(self, upscale_factor: int):
        super().__init__()
        positive_int("PixelShuffle", upscale_factor=upscale_factor)
        self.upscale_factor = int(upscale_factor)

    def construct(self, x: Tensor) -> Tensor:
        check_images("PixelShuffle", x, None)
        r, (n, c, h, w) = self.upscale_factor, x.shape
        if c % (r * r):
            raise ShapeError(
                "PixelShuffle: the channels are no multiple of upscale_factor^2", **here(),
                expected=f"float32[N, {r * r} k, H, W]", given=x.type.describe(),
            )  # fmt: skip
        blocks = ops.transpose(ops.reshape(x, (n, c // (r * r), r, r, h, w)), (0, 1, 4, 2, 5, 3))
        return ops.reshape(blocks, (n, c // (r * r), h * r, w * r))


class PixelUnshuffle(Cell):
    """(N, C, H r, W r) -> (N, C r^2, H, W): the reverse of `PixelShuffle`. `downscale_factor`: r."""

    def __init__(self, downscale_factor: int):
        super().__init__()
        positive_int("PixelUnshuffle", downscale_factor=downscale_factor)
        self.downscale_factor = int(downscale_factor)

    def construct(self, x: Tensor) -> Tensor:
        check_images("PixelUnshuffle", x, None)
        r, (n, c, h, w) = self.downscale_factor, x.shape
        if h % r or w % r:
            raise ShapeError(
                "PixelUnshuffle: height and width are no multiples of downscale_factor", **here(),
                expected=f"float32[N, C, {r} h, {r} w]", given=x.type.describe(),
            )  # fmt: skip
        blocks = ops.transpose(ops.reshape(x, (n, c, h // r, r, w // r, r)), (0, 1, 3, 5, 2, 4))
        return ops.reshape(blocks, (n, c * r * r, h // r, w // r))
