"""Resize: separable interpolation, written as one small constant matrix per image axis.

In: images (H, W, C) or (H, W). Out: images of the new size and the same element type.

Along each axis output pixel i looks at source position (i + 0.5) * in / out - 0.5 (pixel centres at half integers, what
lies beyond the border is the border), the convention of OpenCV, PyTorch (align_corners=False) and ONNX (half_pixel).
NEAREST takes pixel floor(i * in / out); LINEAR and CUBIC (a = -0.75) weigh 2 and 4 neighbours and AREA the covered part
of every pixel, as OpenCV does; PILCUBIC (a = -0.5) and ANTIALIAS (Lanczos, 3 lobes) widen their kernel when they shrink
an image, as Pillow does. Integer images are computed in float32, rounded half up and clipped to their range.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    """How `Resize` finds values between pixels (the numbers are MindSpore's)."""

    NEAREST = 0
    ANTIALIAS = 1
    LINEAR = 2
    BILINEAR = 2
    CUBIC = 3
    BICUBIC = 3
    AREA = 4
    PILCUBIC = 5


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1.0 - np.abs(x))


def _cubic(a: float) -> Callable[[np.ndarray], np.ndarray]:
    """The cubic convolution kernel of Keys, "Cubic convolution interpolation for digital image processing" (1981)."""

    def kernel(x: np.ndarray) -> np.ndarray:
        x = np.abs(x)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((x - 5) * x + 8) * x * a - 4 * a
        return np.where(x < 1, near, np.where(x < 2, far, 0.0))

    return kernel


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


# mode -> kernel, half its width in pixels, whether it widens when an image shrinks
_KERNELS: dict[Inter, tuple[Callable[[np.ndarray], np.ndarray], int, bool]] = {
    Inter.LINEAR: (_triangle, 1, False),
    Inter.CUBIC: (_cubic(-0.75), 2, False),
    Inter.PILCUBIC: (_cubic(-0.5), 2, True),
    Inter.ANTIALIAS: (_lanczos, 3, True),
}


@lru_cache(maxsize=64)
def interpolation_matrix(size: int, new_size: int, interpolation: Inter) -> np.ndarray:
    """float32[new_size, size]: row i holds the weights of the source pixels of output pixel i (they sum to 1)."""
    rows = np.arange(new_size)
    scale = size / new_size
    if interpolation is Inter.NEAREST:
        matrix = np.zeros((new_size, size))
        matrix[rows, np.minimum(rows * size // new_size, size - 1)] = 1.0
        return matrix.astype(np.float32)
    if interpolation is Inter.AREA:
        pixels = np.arange(size)
        begin, end = rows[:, None] * scale, (rows[:, None] + 1) * scale
        covered = np.minimum(end, pixels + 1) - np.maximum(begin, pixels)
        return (np.maximum(covered, 0.0) / scale).astype(np.float32)
    kernel, support, widens = _KERNELS[interpolation]
    stretch = max(scale, 1.0) if widens else 1.0
    centre = (rows + 0.5) * scale - 0.5
    matrix = np.zeros((new_size, size))
    reach = math.ceil(support * stretch)
    for offset in range(-reach, reach + 2):
        pixel = np.floor(centre).astype(np.int64) + offset
        weight = kernel((pixel - centre) / stretch)
        if widens:  # Pillow leaves out what lies beyond the border
            weight = np.where((pixel >= 0) & (pixel < size), weight, 0.0)
        np.add.at(matrix, (rows, np.clip(pixel, 0, size - 1)), weight)
    return (matrix / matrix.sum(1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Resize(Transform):
    """Images of another size. `size`: (height, width), or an int: the shorter side, keeping the proportions."""

    size: tuple[int, ...]
    interpolation: Inter = Inter.LINEAR

    def __init__(self, size: int | Sequence[int], interpolation: Inter = Inter.LINEAR):
        if interpolation not in list(Inter):
            raise ArgumentError(
                "Resize: interpolation not supported", at=user_source(),
                expected=", ".join(f"Inter.{name}" for name in Inter.__members__), given=repr(interpolation),
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
        if np.issubdtype(array.dtype, np.integer):
            pixels = np.floor(pixels + np.float32(0.5))
            if self._overshoots:
                pixels = pixels.clip(*_limits(array.dtype))
        return pixels.astype(array.dtype, copy=False)

    @property
    def _overshoots(self) -> bool:
        """Whether values can leave the range of those they are made of: some weights are negative."""
        return self.interpolation in (Inter.CUBIC, Inter.PILCUBIC, Inter.ANTIALIAS)

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

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
            if self._overshoots:
                pixels = ops.clip(pixels, *_limits(as_dtype(tensor.dtype).numpy))
        return pixels.astype(tensor.dtype, copy=False)


def _limits(dtype: np.dtype) -> tuple[float, float]:
    """The smallest and largest float32 that an integer type holds."""
    low, high = np.float32(np.iinfo(dtype).min), np.float32(np.iinfo(dtype).max)
    return float(low), float(high if high <= np.iinfo(dtype).max else np.nextafter(high, np.float32(0)))
