"""Resize: separable interpolation, written as one small constant matrix per image axis.

In: images (H, W, C) or (H, W). Out: images of the new size and the same element type.

Along each axis output pixel i looks at source position (i + 0.5) * in / out - 0.5 (pixel centres at half integers,
positions beyond the border clamped to it), the convention of OpenCV, PyTorch (align_corners=False) and ONNX
(half_pixel). Integer images are rounded half up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ...dtypes import as_dtype, float32
from ...errors import ArgumentError
from ...frontend.location import user_source
from ..transform import Transform
from .check import check_image, integers

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor


class Inter(IntEnum):
    """How `Resize` finds values between pixels."""

    NEAREST = 0
    LINEAR = 2
    BILINEAR = 2


@lru_cache(maxsize=64)
def interpolation_matrix(size: int, new_size: int, interpolation: Inter) -> np.ndarray:
    """float32[new_size, size]: row i holds the weights of the source pixels of output pixel i (they sum to 1)."""
    matrix = np.zeros((new_size, size), np.float32)
    rows = np.arange(new_size)
    if interpolation is Inter.NEAREST:
        matrix[rows, np.minimum(rows * size // new_size, size - 1)] = 1.0
        return matrix
    position = np.clip((rows + 0.5) * (size / new_size) - 0.5, 0.0, size - 1.0)
    low = np.minimum(np.floor(position).astype(np.int64), size - 1)
    high = np.minimum(low + 1, size - 1)
    weight = (position - low).astype(np.float32)
    np.add.at(matrix, (rows, low), 1.0 - weight)
    np.add.at(matrix, (rows, high), weight)
    return matrix


@dataclass(frozen=True)
class Resize(Transform):
    """Images of another size. `size`: (height, width), or an int: the shorter side, keeping the proportions."""

    size: tuple[int, ...]
    interpolation: Inter = Inter.LINEAR

    def __init__(self, size: int | Sequence[int], interpolation: Inter = Inter.LINEAR):
        if interpolation not in (Inter.NEAREST, Inter.LINEAR):
            raise ArgumentError(
                "Resize: interpolation not supported", at=user_source(),
                expected="Inter.LINEAR or Inter.NEAREST", given=repr(interpolation),
            )  # fmt: skip
        object.__setattr__(self, "size", integers("Resize size", size, (1, 2), 1))
        object.__setattr__(self, "interpolation", Inter(interpolation))

    def _target(self, sample_shape: Sequence[int]) -> tuple[int, int]:
        check_image("Resize", sample_shape)
        height, width = sample_shape[0], sample_shape[1]
        if len(self.size) == 2:
            return self.size[0], self.size[1]
        short = self.size[0]
        if height <= width:
            return short, max(1, short * width // height)
        return max(1, short * height // width), short

    def batch(self, array: np.ndarray) -> np.ndarray:
        new_height, new_width = self._target(array.shape[1:])
        count, height, width = array.shape[:3]
        rows = interpolation_matrix(height, new_height, self.interpolation)
        columns = interpolation_matrix(width, new_width, self.interpolation)
        pixels = array.astype(np.float32).reshape(count, height, -1)
        pixels = np.matmul(rows, pixels).reshape(count * new_height, width, -1)
        pixels = np.matmul(columns, pixels).reshape(count, new_height, new_width, *array.shape[3:])
        if np.issubdtype(
            array.dtype, np.integer
        ):  # weights are convex: no value leaves the range of the type
            pixels = np.floor(pixels + np.float32(0.5))
        return pixels.astype(array.dtype, copy=False)

    def symbolic(self, tensor: Tensor) -> Tensor:
        new_height, new_width = self._target(tensor.shape[1:])
        count, height, width = tensor.shape[:3]
        channels = 1 if tensor.ndim == 3 else tensor.shape[3]
        rows = interpolation_matrix(height, new_height, self.interpolation)
        columns = interpolation_matrix(width, new_width, self.interpolation)
        # two plain matrix products, with the axis to resize moved last
        pixels = tensor.astype(float32, copy=False).reshape((count, height, width, channels))
        pixels = pixels.transpose((0, 2, 3, 1)).reshape((count * width * channels, height)) @ rows.T
        pixels = pixels.reshape((count, width, channels, new_height)).transpose((0, 3, 2, 1))
        pixels = pixels.reshape((count * new_height * channels, width)) @ columns.T
        pixels = pixels.reshape((count, new_height, channels, new_width)).transpose((0, 1, 3, 2))
        pixels = pixels.reshape((count, new_height, new_width, *tensor.shape[3:]))
        if as_dtype(tensor.dtype).is_integer:
            pixels = (pixels + 0.5).floor()
        return pixels.astype(tensor.dtype, copy=False)
