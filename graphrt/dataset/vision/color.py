"""Brightness, contrast and colours: Grayscale, Invert, AdjustBrightness, AdjustContrast, AdjustSaturation, AdjustHue,
RandomColorAdjust.

In: images (H, W, C) or (H, W): uint8, or floating point in 0..1. Out: images of the same element type, whose values are
clipped to that range; uint8 is computed in float32 and rounded half up. The formulas are Pillow's `ImageEnhance`:
an image is mixed with black (brightness), its mean grey (contrast) or its own grey version (saturation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...dtypes import as_dtype, float32
from ...errors import ArgumentError, DTypeError, ShapeError
from ...frontend.location import user_source
from ..transform import RandomTransform, Transform
from .check import check_image

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601: what Pillow and OpenCV call grey


class _Adjustment(Transform):
    """A change of float32 images; `_change` works on arrays and on Tensors alike. `words`: random bits, for those that
    draw."""

    def _change(self, images: Any, largest: float, words: Any) -> Any:
        raise NotImplementedError

    def batch(self, array: np.ndarray) -> np.ndarray:
        return self._adjust_array(array, None)

    def symbolic(self, tensor: Tensor) -> Tensor:
        return self._adjust_tensor(tensor, None)

    def _adjust_array(self, array: np.ndarray, words: Any) -> np.ndarray:
        largest = _largest(type(self).__name__, array.shape[1:], array.dtype)
        images = self._change(array.astype(np.float32), largest, words).clip(0.0, largest)
        if array.dtype == np.uint8:
            images = np.floor(images + np.float32(0.5))
        return images.astype(array.dtype, copy=False)

    def _adjust_tensor(self, tensor: Tensor, words: Any) -> Tensor:
        from ... import ops

        largest = _largest(type(self).__name__, tensor.shape[1:], as_dtype(tensor.dtype).numpy)
        images = ops.clip(self._change(tensor.astype(float32, copy=False), largest, words), 0.0, largest)
        if largest == 255.0:
            images = (images + 0.5).floor()
        return images.astype(tensor.dtype, copy=False)


def _largest(name: str, sample_shape: Sequence[int], dtype: np.dtype) -> float:
    check_image(name, sample_shape)
    if dtype != np.uint8 and not as_dtype(dtype).is_float:
        raise DTypeError(
            f"{name} needs uint8 images, or floating-point ones in 0..1", at=user_source(), given=str(dtype)
        )
    return 255.0 if dtype == np.uint8 else 1.0


def _grey(images: Any) -> Any:
    """(N, H, W, 1) brightness of colour images; grey images stay as they are."""
    if len(images.shape) == 3 or images.shape[3] == 1:
        return images
    red, green, blue = (images[:, :, :, k : k + 1] for k in range(3))
    return red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]


def _check_colour(name: str, shape: Sequence[int]) -> None:
    if len(shape) != 4 or shape[3] != 3:
        raise ShapeError(
            f"{name} needs colour images", at=user_source(), expected="an image (H, W, 3)",
            given=f"a sample of shape {list(shape[1:])}",
        )  # fmt: skip


def _mixed(images: Any, other: Any, factor: Any) -> Any:
    """`factor` of the images and the rest of `other`."""
    return other + (images - other) * factor


@dataclass(frozen=True)
class Grayscale(_Adjustment):
    """Colour images (H, W, 3) without colour: 0.299 R + 0.587 G + 0.114 B, in 1 or 3 equal channels.
    `num_output_channels`: 1 or 3."""

    num_output_channels: int = 1

    def __post_init__(self) -> None:
        if self.num_output_channels not in (1, 3):
            raise ArgumentError(
                "Grayscale: num_output_channels", at=user_source(), expected="1 or 3",
                given=repr(self.num_output_channels),
            )  # fmt: skip

    def _change(self, images: Any, largest: float, words: Any) -> Any:
        _check_colour("Grayscale", images.shape)
        grey = _grey(images)
        return grey if self.num_output_channels == 1 else grey + np.zeros(3, np.float32)


@dataclass(frozen=True)
class Invert(_Adjustment):
    """The negative: 255 - x for uint8, 1 - x for floating point."""

    def _change(self, images: Any, largest: float, words: Any) -> Any:
        return largest - images


@dataclass(frozen=True)
class AdjustBrightness(_Adjustment):
    """Every value times `brightness_factor` (0: black, 1: unchanged)."""

    brightness_factor: float

    def __post_init__(self) -> None:
        _factor("AdjustBrightness", self.brightness_factor)

    def _change(self, images: Any, largest: float, words: Any) -> Any:
        return images * float(self.brightness_factor)


@dataclass(frozen=True)
class AdjustContrast(_Adjustment):
    """Every value's distance from the mean grey of its image times `contrast_factor` (0: grey, 1: unchanged)."""

    contrast_factor: float

    def __post_init__(self) -> None:
        _factor("AdjustContrast", self.contrast_factor)

    def _change(self, images: Any, largest: float, words: Any) -> Any:
        return _mixed(images, _mean_grey(images), float(self.contrast_factor))


def _mean_grey(images: Any) -> Any:
    grey = _grey(images)
    count = grey.shape[0]
    mean = grey.reshape((count, -1)).mean(1)
    return mean.reshape((count, *[1] * (len(images.shape) - 1)))


def _factor(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
        raise ArgumentError(f"{name}: the factor must be a number >= 0", at=user_source(), given=repr(value))


@dataclass(frozen=True)
class AdjustSaturation(_Adjustment):
    """Every value's distance from the grey of its pixel times `saturation_factor` (0: grey, 1: unchanged)."""

    saturation_factor: float

    def __post_init__(self) -> None:
        _factor("AdjustSaturation", self.saturation_factor)

    def _change(self, images: Any, largest: float, words: Any) -> Any:
        _check_colour("AdjustSaturation", images.shape)
        return _mixed(images, _grey(images), float(self.saturation_factor))


@dataclass(frozen=True)
class AdjustHue(_Adjustment):
    """Every colour turned by `hue_factor` of the colour circle, -0.5 .. 0.5 (1/3: red becomes green); the largest and
    the smallest channel of a pixel keep their values, so greys stay."""

    hue_factor: float

    def __post_init__(self) -> None:
        _hue_range("AdjustHue", (self.hue_factor, self.hue_factor))

    def _change(self, images: Any, largest: float, words: Any) -> Any:
        _check_colour("AdjustHue", images.shape)
        return _turned(images, float(self.hue_factor))


def _turned(images: Any, turns: Any) -> Any:
    """Colour images with their hue (A. R. Smith, "Color gamut transform pairs", 1978) moved by `turns` of the circle.

    With v the largest channel and s the spread, and the hue h counted in sixths of the circle from red, a channel is
    v - s max(0, min(k, 4 - k, 1)) at k = (h + 5, 3, 1 for red, green, blue) modulo 6.
    """
    library: Any = np
    if not isinstance(images, np.ndarray):
        from ... import ops as library
    red, green, blue = (images[:, :, :, k : k + 1] for k in range(3))
    high = library.maximum(library.maximum(red, green), blue)
    spread = high - library.minimum(library.minimum(red, green), blue)
    scale = 1.0 / library.where(spread > 0.0, spread, np.float32(1.0))
    of_green_or_blue = library.where(high == green, (blue - red) * scale + 2.0, (red - green) * scale + 4.0)
    hue = library.where(high == red, (green - blue) * scale, of_green_or_blue) + turns * 6.0
    channels = []
    for place in (5.0, 3.0, 1.0):
        k = hue + place
        k = k - 6.0 * library.floor(k * np.float32(1 / 6))
        part = library.minimum(library.minimum(k, 4.0 - k), np.float32(1.0))
        channels.append(high - spread * library.maximum(part, np.float32(0.0)))
    return np.concatenate(channels, 3) if library is np else library.concat(channels, 3)


@dataclass(frozen=True)
class RandomColorAdjust(RandomTransform, _Adjustment):
    """Random brightness, contrast, saturation and hue, for every image its own, in this order.

    Each range is (smallest, largest) factor, or a number f for (max(0, 1 - f), 1 + f); (1, 1) changes nothing. `hue` is
    a range of turns of the colour circle inside -0.5 .. 0.5, or a number f for (-f, f); (0, 0) changes nothing.
    """

    brightness: tuple[float, float]
    contrast: tuple[float, float]
    saturation: tuple[float, float]
    hue: tuple[float, float]

    def __init__(
        self,
        brightness: float | Sequence[float] = (1, 1),
        contrast: float | Sequence[float] = (1, 1),
        saturation: float | Sequence[float] = (1, 1),
        hue: float | Sequence[float] = (0, 0),
    ):
        ranges = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        for name, value in ranges.items():
            object.__setattr__(self, name, _range(name, value))
        hues = (-hue, hue) if isinstance(hue, (int, float)) else tuple(hue)
        object.__setattr__(self, "hue", _hue_range("RandomColorAdjust", hues))
        self._begin_stream()

    @property
    def _draws(self) -> int:
        return 3 + (self.hue != (0.0, 0.0))

    def batch(self, array: np.ndarray) -> np.ndarray:
        return self._adjust_array(array, self.draw_array((self._draws, len(array))))

    def symbolic(self, tensor: Tensor) -> Tensor:
        return self._adjust_tensor(tensor, self.draw((self._draws, tensor.shape[0])))

    def _change(self, images: Any, largest: float, words: Any) -> Any:
        shape = (images.shape[0], *[1] * (len(images.shape) - 1))

        def factor(k: int, limits: tuple[float, float]) -> Any:
            unit = (words[k] >> 8).astype("float32") * float(2.0**-24)
            return (unit * (limits[1] - limits[0]) + limits[0]).reshape(shape)

        def clipped(changed: Any) -> Any:
            if isinstance(changed, np.ndarray):
                return changed.clip(0.0, largest)
            from ... import ops

            return ops.clip(changed, 0.0, largest)

        if self.brightness != (1.0, 1.0):
            images = clipped(images * factor(0, self.brightness))
        if self.contrast != (1.0, 1.0):
            images = clipped(_mixed(images, _mean_grey(images), factor(1, self.contrast)))
        if self.saturation != (1.0, 1.0):
            _check_colour("RandomColorAdjust with saturation", images.shape)
            images = _mixed(images, _grey(images), factor(2, self.saturation))
        if self.hue != (0.0, 0.0):
            _check_colour("RandomColorAdjust with hue", images.shape)
            images = _turned(clipped(images), factor(3, self.hue))
        return images


def _hue_range(name: str, value: tuple[Any, ...]) -> tuple[float, float]:
    numbers = all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value)
    if len(value) != 2 or not numbers or not -0.5 <= value[0] <= value[1] <= 0.5:
        raise ArgumentError(
            f"{name}: hue is turned by a part of the colour circle", at=user_source(),
            expected="numbers in -0.5 .. 0.5, the smaller one first", given=repr(value),
        )  # fmt: skip
    return float(value[0]), float(value[1])


def _range(name: str, value: Any) -> tuple[float, float]:
    limits = (max(0.0, 1.0 - value), 1.0 + value) if isinstance(value, (int, float)) else tuple(value)
    if len(limits) != 2 or not 0.0 <= limits[0] <= limits[1]:
        raise ArgumentError(
            f"RandomColorAdjust: unusable range of {name}", at=user_source(),
            expected="(smallest, largest) with 0 <= smallest <= largest", given=repr(value),
        )  # fmt: skip
    return float(limits[0]), float(limits[1])
