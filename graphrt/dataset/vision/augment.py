"""Random windows of training images: RandomCrop.

In: images (H, W, C) or (H, W). Out: images of the same element type. Every image of a batch draws for itself, from
`RandomTransform.draw`, so an augmented pipeline gives the same images from Python and inside the native step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ShapeError
from ...frontend.location import user_source
from ..transform import RandomTransform
from .arrange import Border, Pad
from .check import check_image, integers

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor


@dataclass(frozen=True)
class RandomCrop(RandomTransform):
    """A window of `size` at a random place of the image, every place equally likely.

    `size`: (height, width), or an int for both. `padding`: a border added before, as `Pad` takes it; `pad_if_needed`:
    images that are still too small are padded on both sides by what is missing; the border is `fill_value`.
    Raises ShapeError for images smaller than the window. `padding_mode`: the `Border` of what is padded.
    """

    size: tuple[int, int]
    padding: tuple[int, int, int, int]
    pad_if_needed: bool
    fill_value: float
    padding_mode: Border

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill_value: float = 0,
        padding_mode: Border | str = Border.CONSTANT,
    ):
        height, *width = integers("RandomCrop size", size, (1, 2), 1)
        border = Pad(0 if padding is None else padding, fill_value, padding_mode)
        object.__setattr__(self, "size", (height, *(width or [height])))
        object.__setattr__(self, "padding", border.padding)
        object.__setattr__(self, "pad_if_needed", bool(pad_if_needed))
        object.__setattr__(self, "fill_value", fill_value)
        object.__setattr__(self, "padding_mode", border.padding_mode)
        self._begin_stream()

    def _plan(self, sample_shape: Sequence[int]) -> tuple[Pad, int, int]:
        """The border, and how many places the window has from top to bottom and from left to right."""
        check_image("RandomCrop", sample_shape)
        left, top, right, bottom = self.padding
        height, width = sample_shape[0] + top + bottom, sample_shape[1] + left + right
        if self.pad_if_needed:
            more_height, more_width = max(0, self.size[0] - height), max(0, self.size[1] - width)
            left, top, right, bottom = (
                left + more_width,
                top + more_height,
                right + more_width,
                bottom + more_height,
            )
            height, width = height + 2 * more_height, width + 2 * more_width
        if height < self.size[0] or width < self.size[1]:
            raise ShapeError(
                "RandomCrop: the images are smaller than the window", at=user_source(),
                expected=f"at least {list(self.size)} with the padding", given=f"{[height, width]}",
                fix="more padding, or pad_if_needed=True",
            )  # fmt: skip
        border = Pad((left, top, right, bottom), self.fill_value, self.padding_mode)
        return border, height - self.size[0] + 1, width - self.size[1] + 1

    def batch(self, array: np.ndarray) -> np.ndarray:
        border, rows, columns = self._plan(array.shape[1:])
        bits = self.draw_array((2, len(array)))
        top, left = below(bits[0], rows), below(bits[1], columns)
        images, number = border.batch(array), np.arange(len(array))[:, None, None]
        y = top[:, None] + np.arange(self.size[0], dtype=np.uint32)
        x = left[:, None] + np.arange(self.size[1], dtype=np.uint32)
        return images[number, y[:, :, None], x[:, None, :]]

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        border, rows, columns = self._plan(tensor.shape[1:])
        count = tensor.shape[0]
        bits = self.draw((2, count))
        top, left = below(bits[0], rows).astype("int32"), below(bits[1], columns).astype("int32")
        images = border.symbolic(tensor)
        height, width = images.shape[1:3]
        # one gather over all pixels of the batch: where each output pixel lies in it
        top = top + np.arange(count, dtype=np.int32) * height
        y = top.reshape((count, 1, 1)) + np.arange(self.size[0], dtype=np.int32)[:, None]
        x = left.reshape((count, 1, 1)) + np.arange(self.size[1], dtype=np.int32)
        pixel = y * width + x
        return ops.gather(images.reshape((count * height * width, *images.shape[3:])), pixel, 0)


def below(words: Any, count: int) -> Any:
    """Random uint32 words (array or Tensor) as numbers 0 .. count - 1, from their upper 16 bits: exact in 32 bits for
    count <= 65536, more places than a window has along an image's side."""
    return (words >> 16) * count >> 16
