"""Pooling to a given output size.

In: images (N, C, H, W). Out: (N, C, height, width) of the wanted size.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ArgumentError
from ..frontend import functional_layers as ops
from ..frontend.cell import Cell
from ..frontend.tensor import Tensor
from .conv import check_images
from .dense import here, positive_int


class AdaptiveAvgPool2d(Cell):
    """The mean of the image over a grid of `output_size` windows that cover it. `output_size`: an int, or (height,
    width); None keeps that axis as it is. `AdaptiveAvgPool2d(1)` is the global average."""

    def __init__(self, output_size: int | Sequence[int | None] | None):
        super().__init__()
        layer = "AdaptiveAvgPool2d"
        both = tuple(output_size) if isinstance(output_size, Sequence) else (output_size, output_size)
        if len(both) != 2:
            raise ArgumentError(
                f"{layer}: output_size must be an int or 2 of them", **here(), given=repr(output_size)
            )
        for extent in both:
            if extent is not None:
                positive_int(layer, output_size=extent)
        self.output_size = both

    def construct(self, x: Tensor) -> Tensor:
        check_images("AdaptiveAvgPool2d", x, None)
        return ops.adaptive_avg_pool2d(x, self.output_size)

    def extend_repr(self) -> str:
        return f"output_size={self.output_size}"
