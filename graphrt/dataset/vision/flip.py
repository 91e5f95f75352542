"""Mirror images: HorizontalFlip, VerticalFlip, and the same for some images of a batch at random.

In: images (H, W, C) or (H, W). Out: images of the same shape and element type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from ..transform import RandomTransform, Transform, probability_threshold
from .check import check_image

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor

_VERTICAL, _HORIZONTAL = 1, 2  # axes of a batch


@dataclass(frozen=True)
class _Flip(Transform):
    axis: ClassVar[int]

    def batch(self, array: np.ndarray) -> np.ndarray:
        check_image(type(self).__name__, array.shape[1:])
        return np.flip(array, self.axis)

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        check_image(type(self).__name__, tensor.shape[1:])
        return ops.flip(tensor, self.axis)


@dataclass(frozen=True)
class HorizontalFlip(_Flip):
    """The mirror image, left for right."""

    axis = _HORIZONTAL


@dataclass(frozen=True)
class VerticalFlip(_Flip):
    """The mirror image, top for bottom."""

    axis = _VERTICAL


@dataclass(frozen=True)
class _RandomFlip(RandomTransform):
    prob: float = 0.5

    axis: ClassVar[int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_threshold", probability_threshold(type(self).__name__, self.prob))
        self._begin_stream()

    def batch(self, array: np.ndarray) -> np.ndarray:
        check_image(type(self).__name__, array.shape[1:])
        flipped = self.draw_array((len(array),)) >> np.uint32(8) < self._threshold  # type: ignore[attr-defined]
        return np.where(flipped.reshape(-1, *[1] * (array.ndim - 1)), np.flip(array, self.axis), array)

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        check_image(type(self).__name__, tensor.shape[1:])
        count = tensor.shape[0]
        flipped = ops.bitwise_right_shift(self.draw((count,)), 8) < self._threshold  # type: ignore[attr-defined]
        return ops.where(
            flipped.reshape((count, *[1] * (tensor.ndim - 1))), ops.flip(tensor, self.axis), tensor
        )


@dataclass(frozen=True)
class RandomHorizontalFlip(_RandomFlip):
    """The mirror image, left for right, with probability `prob`."""

    axis = _HORIZONTAL


@dataclass(frozen=True)
class RandomVerticalFlip(_RandomFlip):
    """The mirror image, top for bottom, with probability `prob`."""

    axis = _VERTICAL
