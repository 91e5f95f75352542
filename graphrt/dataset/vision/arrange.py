"""Moving pixels without changing them: HWC2CHW, Pad.

In: images (H, W, C) or (H, W). Out: images of the same element type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ArgumentError
from ...frontend.location import user_source
from ..transform import Transform
from .check import check_image, integers

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor


class Border(str, Enum):
    """What `Pad` puts around an image."""

    CONSTANT = "constant"
    EDGE = "edge"  # the outermost pixels again
    REFLECT = "reflect"  # the image mirrored at its outermost pixels, which do not come twice
    SYMMETRIC = "symmetric"  # the image mirrored at its border


@dataclass(frozen=True)
class HWC2CHW(Transform):
    """(H, W, C) to (C, H, W); an image without channels (H, W) stays as it is."""

    def batch(self, array: np.ndarray) -> np.ndarray:
        check_image("HWC2CHW", array.shape[1:])
        return array if array.ndim == 3 else np.ascontiguousarray(array.transpose(0, 3, 1, 2))

    def symbolic(self, tensor: Tensor) -> Tensor:
        check_image("HWC2CHW", tensor.shape[1:])
        return tensor if tensor.ndim == 3 else tensor.transpose((0, 3, 1, 2))


@dataclass(frozen=True)
class Pad(Transform):
    """A border around (H, W, C) or (H, W) images, of `fill_value` or made from the image (`padding_mode`).

    `padding`: an int for all sides, (left and right, top and bottom), or (left, top, right, bottom).
    """

    padding: tuple[int, int, int, int]
    fill_value: float = 0
    padding_mode: Border = Border.CONSTANT

    def __init__(
        self,
        padding: int | Sequence[int],
        fill_value: float = 0,
        padding_mode: Border | str = Border.CONSTANT,
    ):
        sides = integers("Pad padding", padding, (1, 2, 4), 0)
        left, top = sides[0], sides[1 % len(sides)]
        right, bottom = (sides[2], sides[3]) if len(sides) == 4 else (left, top)
        if padding_mode not in list(Border):
            raise ArgumentError(
                "Pad: padding_mode not supported", at=user_source(),
                expected=", ".join(f"Border.{border.name}" for border in Border), given=repr(padding_mode),
            )  # fmt: skip
        if isinstance(fill_value, bool) or not isinstance(fill_value, (int, float, np.number)):
            raise ArgumentError("Pad: fill_value must be a number", at=user_source(), given=repr(fill_value))
        object.__setattr__(self, "padding", (left, top, right, bottom))
        object.__setattr__(self, "fill_value", fill_value)
        object.__setattr__(self, "padding_mode", Border(padding_mode))

    def _widths(self, sample_shape: Sequence[int]) -> list[tuple[int, int]]:
        check_image("Pad", sample_shape)
        left, top, right, bottom = self.padding
        return [(0, 0), (top, bottom), (left, right)] + [(0, 0)] * (len(sample_shape) - 2)

    def batch(self, array: np.ndarray) -> np.ndarray:
        widths = self._widths(array.shape[1:])
        if self.padding_mode is not Border.CONSTANT:
            return np.pad(array, widths, self.padding_mode.value)  # type: ignore[call-overload]
        return np.pad(array, widths, constant_values=array.dtype.type(self.fill_value))

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        left, top, right, bottom = self.padding
        widths = self._widths(tensor.shape[1:])
        image = tensor
        if self.padding_mode is not Border.CONSTANT:
            for axis in (1, 2):
                places = np.pad(
                    np.arange(tensor.shape[axis], dtype=np.int32), widths[axis], self.padding_mode.value
                )  # type: ignore[call-overload]
                image = ops.gather(image, places, axis)
            return image
        for axis, before, after in ((1, top, bottom), (2, left, right)):
            pieces = [image]
            for count, front in ((before, True), (after, False)):
                if count:
                    shape = list(image.shape)
                    shape[axis] = count
                    border = ops.full(tuple(shape), self.fill_value, tensor.dtype)
                    pieces = [border, *pieces] if front else [*pieces, border]
            image = ops.concat(pieces, axis) if len(pieces) > 1 else image
        return image
