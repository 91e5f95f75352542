"""Fixed windows of images: CenterCrop, Crop.

In: images (H, W, C) or (H, W). Out: images of the window's size and the same element type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ShapeError
from ...frontend.location import user_source
from ..transform import Transform
from .arrange import Pad
from .check import check_image, integers

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor


@dataclass(frozen=True)
class CenterCrop(Transform):
    """The window of `size` (height, width; an int for both) in the middle.

    An odd pixel left over is cut at the bottom and right. Images that are smaller than the window get a border of
    zeros, the odd pixel of it at the top and left, as MindSpore does.
    """

    size: tuple[int, int]

    def __init__(self, size: int | Sequence[int]):
        height, *width = integers("CenterCrop size", size, (1, 2), 1)
        object.__setattr__(self, "size", (height, *(width or [height])))

    def _window(self, sample_shape: Sequence[int]) -> tuple[Pad, int, int]:
        """The border to add first, and the window's top and left after that."""
        check_image("CenterCrop", sample_shape)
        missing = [max(0, wanted - given) for wanted, given in zip(self.size, sample_shape)]
        top, left = [max(0, given - wanted) // 2 for wanted, given in zip(self.size, sample_shape)]
        (above, beside), (below, right) = [(m + 1) // 2 for m in missing], [m // 2 for m in missing]
        return Pad((beside, above, right, below)), top, left

    def batch(self, array: np.ndarray) -> np.ndarray:
        border, top, left = self._window(array.shape[1:])
        return _cut(border.batch(array), top, left, self.size)

    def symbolic(self, tensor: Tensor) -> Tensor:
        border, top, left = self._window(tensor.shape[1:])
        return _cut(border.symbolic(tensor), top, left, self.size)


@dataclass(frozen=True)
class Crop(Transform):
    """The window of `size` (height, width; an int for both) whose upper left corner is at `coordinates` (top, left).

    Raises ShapeError for images the window does not lie in.
    """

    coordinates: tuple[int, int]
    size: tuple[int, int]

    def __init__(self, coordinates: Sequence[int], size: int | Sequence[int]):
        top, left = integers("Crop coordinates", coordinates, (2,), 0)
        height, *width = integers("Crop size", size, (1, 2), 1)
        object.__setattr__(self, "coordinates", (top, left))
        object.__setattr__(self, "size", (height, *(width or [height])))

    def _check(self, sample_shape: Sequence[int]) -> None:
        check_image("Crop", sample_shape)
        ends = [start + extent for start, extent in zip(self.coordinates, self.size)]
        if any(end > given for end, given in zip(ends, sample_shape)):
            raise ShapeError(
                "Crop: the window reaches beyond the images", at=user_source(),
                expected=f"images of at least {ends}", given=str(list(sample_shape[:2])),
            )  # fmt: skip

    def batch(self, array: np.ndarray) -> np.ndarray:
        self._check(array.shape[1:])
        return _cut(array, *self.coordinates, self.size)

    def symbolic(self, tensor: Tensor) -> Tensor:
        self._check(tensor.shape[1:])
        return _cut(tensor, *self.coordinates, self.size)


def _cut(images: Any, top: int, left: int, size: tuple[int, int]) -> Any:
    return images[:, top : top + size[0], left : left + size[1]]
