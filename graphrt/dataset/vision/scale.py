"""Changing pixel values: Rescale, Normalize, ToTensor.

In: images of any numeric element type. Out: float32 images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...dtypes import DType, as_dtype, float32
from ...errors import ArgumentError, ShapeError
from ...frontend.location import user_source
from ..transform import Transform
from .check import check_image

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor


@dataclass(frozen=True)
class Rescale(Transform):
    """float32(x) * rescale + shift, element by element."""

    rescale: float
    shift: float

    def batch(self, array: np.ndarray) -> np.ndarray:
        return array.astype(np.float32) * np.float32(self.rescale) + np.float32(self.shift)

    def symbolic(self, tensor: Tensor) -> Tensor:
        return tensor.astype(float32, copy=False) * float(self.rescale) + float(self.shift)


@dataclass(frozen=True)
class Normalize(Transform):
    """(float32(x) - mean) / std, with one mean and std per channel (or one for all).

    `is_hwc=True`: channels are the last axis (H, W, C); False: the first (C, H, W).
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_hwc: bool = True

    def __init__(self, mean: Sequence[float], std: Sequence[float], is_hwc: bool = True):
        values = {"mean": mean, "std": std}
        for name, value in values.items():
            items = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value,)
            object.__setattr__(self, name, tuple(float(item) for item in items))
        object.__setattr__(self, "is_hwc", bool(is_hwc))
        if len(self.mean) != len(self.std) or not self.mean:
            raise ArgumentError(
                "Normalize: mean and std need one value per channel", at=user_source(),
                expected=f"{len(self.mean)} values in std", given=f"{len(self.std)}",
            )  # fmt: skip
        if any(not item > 0.0 for item in self.std):
            raise ArgumentError("Normalize: std must be positive", at=user_source(), given=repr(self.std))

    def _constants(self, sample_shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """mean and std shaped to broadcast against a batch."""
        check_image("Normalize", sample_shape)
        channel_axis = -1 if self.is_hwc else 0
        channels = sample_shape[channel_axis] if len(sample_shape) == 3 else 1
        if len(self.mean) not in (1, channels):
            raise ShapeError(
                "Normalize: mean and std do not fit the number of channels", at=user_source(),
                expected=f"{channels} value(s)", given=f"{len(self.mean)} values, images of shape {list(sample_shape)}",
                fix="give one value per channel; is_hwc=False if the channels come first",
            )  # fmt: skip
        shape = [1] * (len(sample_shape) + 1)
        shape[-1 if self.is_hwc else 1] = len(self.mean)
        return np.array(self.mean, np.float32).reshape(shape), np.array(self.std, np.float32).reshape(shape)

    def batch(self, array: np.ndarray) -> np.ndarray:
        mean, std = self._constants(array.shape[1:])
        return (array.astype(np.float32) - mean) / std

    def symbolic(self, tensor: Tensor) -> Tensor:
        mean, std = self._constants(tensor.shape[1:])
        pixels = tensor.astype(float32, copy=False)
        if len(self.mean) == 1:  # plain numbers are simpler for the compiler than arrays to broadcast
            return (pixels - self.mean[0]) / self.std[0]
        return (pixels - mean) / std


@dataclass(frozen=True)
class ToTensor(Transform):
    """(H, W, C) or (H, W) pixels in 0..255 to (C, H, W) in 0..1, of a floating-point `output_type`."""

    output_type: DType = float32

    def __init__(self, output_type: object = float32):
        object.__setattr__(self, "output_type", as_dtype(output_type))
        if not self.output_type.is_float:
            raise ArgumentError(
                "ToTensor: values in 0..1 need a floating-point type",
                at=user_source(),
                given=repr(output_type),
            )

    def batch(self, array: np.ndarray) -> np.ndarray:
        pixels = array.astype(np.float32) / np.float32(255.0)
        return self._arrange(pixels.astype(self.output_type.numpy, copy=False))

    def symbolic(self, tensor: Tensor) -> Tensor:
        pixels = tensor.astype(float32, copy=False) / 255.0
        return self._arrange(pixels.astype(self.output_type, copy=False))

    def _arrange(self, images: Any) -> Any:
        check_image("ToTensor", images.shape[1:])
        if len(images.shape) == 3:
            count, height, width = images.shape
            return images.reshape((count, 1, height, width))
        return images.transpose((0, 3, 1, 2))
