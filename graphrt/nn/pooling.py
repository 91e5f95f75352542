"""Pooling to a given output size.

In: images (N, C, H, W) or sequences (N, C, L). Out: the same with the wanted height and width or length.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import ArgumentError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.tensor import Tensor
from .conv import check_images
from .conv1d import check_sequences
from .dense import here, positive_int


class _AdaptivePool2d(Cell):
    def __init__(self, output_size: int | Sequence[int | None] | None):
        super().__init__()
        layer = type(self).__name__
        both = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
        if len(both) != 2:
            raise ArgumentError(
                f"{layer}: output_size must be an int or 2 of them", **here(), given=repr(output_size)
            )
        for extent in both:
            if extent is not None:
                positive_int(layer, output_size=extent)
        self.output_size = both

    def extend_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool2d(_AdaptivePool2d):
    """The mean of the image over a grid of `output_size` windows that cover it. `output_size`: an int, or (height,
    width); None keeps that axis as it is. `AdaptiveAvgPool2d(1)` is the global average."""

    def construct(self, x: Tensor) -> Tensor:
        check_images("AdaptiveAvgPool2d", x, None)
        return ops.adaptive_avg_pool2d(x, self.output_size)


class AdaptiveMaxPool2d(_AdaptivePool2d):
    """The largest value of the image in each of a grid of `output_size` windows that cover it; see
    `AdaptiveAvgPool2d`."""

    def construct(self, x: Tensor) -> Tensor:
        check_images("AdaptiveMaxPool2d", x, None)
        height, width = (e if w is None else w for e, w in zip(x.shape[2:], self.output_size))
        if x.shape[2] % height == 0 and x.shape[3] % width == 0:
            return ops.max_pool2d(x, (x.shape[2] // height, x.shape[3] // width))
        return _largest(_largest(x, 2, height), 3, width)


def _largest(x: Tensor, axis: int, windows: int) -> Tensor:
    """The largest element along `axis` in each window, window k being floor(k n / windows) to ceil((k + 1) n / windows)."""
    extent = x.shape[axis]
    ends = [(k * extent // windows, -(-(k + 1) * extent // windows)) for k in range(windows)]
    width = max(stop - start for start, stop in ends)
    # shorter windows name their last element again, which changes no maximum
    where = np.array([[min(start + k, stop - 1) for k in range(width)] for start, stop in ends], np.int32)
    return ops.amax(ops.gather(x, where, axis), axis + 1)


class _AdaptivePool1d(Cell):
    kind: type[_AdaptivePool2d]

    def __init__(self, output_size: int):
        super().__init__()
        positive_int(type(self).__name__, output_size=output_size)
        self.output_size = int(output_size)
        self.pool = self.kind((1, self.output_size))

    def construct(self, x: Tensor) -> Tensor:
        check_sequences(type(self).__name__, x, None)
        return ops.squeeze(self.pool(ops.expand_dims(x, 2)), 2)

    def extend_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptivePool1d):
    """The mean of (N, C, L) over `output_size` windows that cover the sequence."""

    kind = AdaptiveAvgPool2d


class AdaptiveMaxPool1d(_AdaptivePool1d):
    """The largest value of (N, C, L) in each of `output_size` windows that cover the sequence."""

    kind = AdaptiveMaxPool2d
