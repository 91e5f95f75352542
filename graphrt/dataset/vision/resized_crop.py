"""RandomResizedCrop: a window of random size, proportions and place, brought to one size.

In: images (H, W, C) or (H, W). Out: images of the wanted size and the same element type. Every image draws for itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from ...dtypes import as_dtype, float32
from ...errors import ArgumentError
from ...frontend.location import user_source
from ..transform import RandomTransform
from .augment import below
from .check import check_image, integers
from .resize import Inter

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor

_STEPS = 64  # areas, and proportions, that a window can have


@lru_cache(maxsize=16)
def window_sizes(
    height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> np.ndarray:
    """int32[n, 2]: (height, width) of equally likely windows: areas evenly spread over `scale`, logarithms of width /
    height over `ratio`, those that fit into the image (Szegedy et al., "Going deeper with convolutions", 2015, as
    torchvision and MindSpore draw it, in steps). The largest window of an allowed shape if none fits."""
    middles = (np.arange(_STEPS) + 0.5) / _STEPS
    area = height * width * (scale[0] + (scale[1] - scale[0]) * middles)[:, None]
    shape = np.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * middles)
    sizes = np.stack([np.round(np.sqrt(area / shape)), np.round(np.sqrt(area * shape))], axis=-1).reshape(
        -1, 2
    )
    fits = (sizes >= 1).all(1) & (sizes[:, 0] <= height) & (sizes[:, 1] <= width)
    if not fits.any():
        inside = min(max(width / height, ratio[0]), ratio[1])
        largest = (min(height, round(width / inside)), min(width, round(height * inside)))
        return np.maximum(np.array([largest]), 1).astype(np.int32)
    return sizes[fits].astype(np.int32)


@dataclass(frozen=True)
class RandomResizedCrop(RandomTransform):
    """A random window brought to `size` (height, width; an int for both) by bilinear interpolation.

    `scale`: smallest and largest area of the window as a share of the image's. `ratio`: smallest and largest width /
    height. `interpolation`: Inter.BILINEAR. `max_attempt` has no effect: only windows that fit are drawn.
    """

    size: tuple[int, int]
    scale: tuple[float, float]
    ratio: tuple[float, float]

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: Inter = Inter.BILINEAR,
        max_attempt: int = 10,
    ):
        height, *width = integers("RandomResizedCrop size", size, (1, 2), 1)
        if interpolation != Inter.BILINEAR:
            raise ArgumentError(
                "RandomResizedCrop: interpolation not supported", at=user_source(),
                expected="Inter.BILINEAR", given=repr(interpolation),
            )  # fmt: skip
        object.__setattr__(self, "size", (height, *(width or [height])))
        for name, value in (("scale", scale), ("ratio", ratio)):
            limits = tuple(float(item) for item in value)
            if len(limits) != 2 or not 0.0 < limits[0] <= limits[1]:
                raise ArgumentError(
                    f"RandomResizedCrop: unusable {name}", at=user_source(),
                    expected="(smallest, largest) with 0 < smallest <= largest", given=repr(value),
                )  # fmt: skip
            object.__setattr__(self, name, limits)
        self._begin_stream()

    def _sizes(self, sample_shape: Sequence[int]) -> np.ndarray:
        check_image("RandomResizedCrop", sample_shape)
        return window_sizes(sample_shape[0], sample_shape[1], self.scale, self.ratio)

    def batch(self, array: np.ndarray) -> np.ndarray:
        sizes, words = self._sizes(array.shape[1:]), self.draw_array((3, len(array)))
        window = sizes[below(words[0], len(sizes))].T
        number = np.arange(len(array))[:, None, None]

        def pixels(y: np.ndarray, x: np.ndarray) -> np.ndarray:
            return array[number, y[:, :, None], x[:, None, :]].astype(np.float32)

        axes = [_taps(window[k], words[1 + k], array.shape[1 + k], self.size[k]) for k in range(2)]
        images = _mixed(axes, pixels, array.ndim)
        if np.issubdtype(array.dtype, np.integer):
            images = np.floor(images + np.float32(0.5))
        return images.astype(array.dtype, copy=False)

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        sizes, words = self._sizes(tensor.shape[1:]), self.draw((3, tensor.shape[0]))
        chosen = below(words[0], len(sizes)).astype("int32")
        count, height, width = tensor.shape[:3]
        flat = tensor.reshape((count * height * width, *tensor.shape[3:]))
        first = np.arange(count, dtype=np.int32)[:, None, None] * (height * width)

        def pixels(y: Tensor, x: Tensor) -> Tensor:
            places = y.reshape((count, -1, 1)) * width + x.reshape((count, 1, -1)) + first
            return ops.gather(flat, places, 0).astype(float32, copy=False)

        axes = []
        for k in range(2):
            window = ops.gather(np.ascontiguousarray(sizes[:, k]), chosen, 0)
            axes.append(_taps(window, words[1 + k], tensor.shape[1 + k], self.size[k]))
        images = _mixed(axes, pixels, tensor.ndim)
        if as_dtype(tensor.dtype).is_integer:
            images = (images + 0.5).floor()
        return images.astype(tensor.dtype, copy=False)


def _taps(window: Any, words: Any, extent: int, new_size: int) -> tuple[Any, Any, Any]:
    """Along one axis of `extent` pixels: the two source pixels int32[N, new_size] of every output pixel, and the weight
    of the second. `window`: its length per image; `words`: random bits for its place."""
    places = (extent - window + 1).astype("uint32")
    start = ((words >> 16) * places >> 16).astype("int32")  # as `below`, with a number of places per image
    position = (np.arange(new_size, dtype=np.float32) + np.float32(0.5)) / np.float32(new_size)
    offset = window.astype("float32").reshape((-1, 1)) * position - np.float32(0.5)
    # offset >= -0.5: with one added, cutting off the fraction is rounding down
    low = (offset + np.float32(1.0)).astype("int32") - 1
    weight = offset - low.astype("float32")
    last = (window - 1).reshape((-1, 1))
    start = start.reshape((-1, 1))
    return start + _between(low, last), start + _between(low + 1, last), weight


def _between(pixel: Any, last: Any) -> Any:
    """`pixel` moved into 0 .. last."""
    if isinstance(pixel, np.ndarray):
        return np.minimum(np.maximum(pixel, 0), last)
    from ... import ops

    return ops.minimum(ops.maximum(pixel, 0), last)


def _mixed(axes: list[tuple[Any, Any, Any]], pixels: Any, rank: int) -> Any:
    """Bilinear interpolation; `pixels(y, x)` reads float32 pixels of the images at (N, rows), (N, columns)."""
    (top, bottom, down), (left, right, across) = axes
    tail = (1,) * (rank - 3)
    across = across.reshape((across.shape[0], 1, across.shape[1], *tail))
    down = down.reshape((down.shape[0], down.shape[1], 1, *tail))
    upper = pixels(top, left) * (1 - across) + pixels(top, right) * across
    lower = pixels(bottom, left) * (1 - across) + pixels(bottom, right) * across
    return upper * (1 - down) + lower * down
