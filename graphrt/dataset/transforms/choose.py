"""Random choices between transforms, for every sample its own: RandomApply, RandomChoice.

In: a sample, a batch or a traced batch. Out: the same, some samples transformed. All transforms are computed for the
whole batch and the results chosen from, so each must keep shape and element type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...frontend.location import user_source
from ..transform import RandomTransform, Transform, probability_threshold

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor


def _checked(name: str, transforms: Any) -> tuple[Transform, ...]:
    items = tuple(transforms) if isinstance(transforms, (list, tuple)) else ()
    wrong = [item for item in items if not isinstance(item, Transform)]
    if wrong or not items:
        raise ArgumentError(
            f"{name}: a list of transforms is needed", at=user_source(),
            expected="transforms of dataset.vision and dataset.transforms",
            given=repr(wrong[0]) if wrong else repr(transforms),
            fix="make the random choice inside your function and map() that",
        )  # fmt: skip
    return items


def _same(name: str, transform: Transform, before: Any, after: Any) -> Any:
    if tuple(before.shape) != tuple(after.shape) or before.dtype != after.dtype:
        raise ShapeError(
            f"{name}: {type(transform).__name__} changes shape or element type", at=user_source(),
            expected=f"{before.dtype}{list(before.shape[1:])}", given=f"{after.dtype}{list(after.shape[1:])}",
        )  # fmt: skip
    return after


@dataclass(frozen=True)
class RandomApply(RandomTransform):
    """All `transforms` in order with probability `prob`, else none of them."""

    transforms: tuple[Transform, ...]
    prob: float = 0.5

    def __init__(self, transforms: Sequence[Transform], prob: float = 0.5):
        object.__setattr__(self, "transforms", _checked("RandomApply", transforms))
        object.__setattr__(self, "_threshold", probability_threshold("RandomApply", prob))
        object.__setattr__(self, "prob", prob)
        self._begin_stream()

    def batch(self, array: np.ndarray) -> np.ndarray:
        chosen = self.draw_array((len(array),)) >> np.uint32(8) < self._threshold  # type: ignore[attr-defined]
        changed = array
        for transform in self.transforms:
            changed = _same("RandomApply", transform, array, transform.batch(changed))
        return np.where(chosen.reshape(-1, *[1] * (array.ndim - 1)), changed, array)

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        count = tensor.shape[0]
        chosen = ops.bitwise_right_shift(self.draw((count,)), 8) < self._threshold  # type: ignore[attr-defined]
        changed = tensor
        for transform in self.transforms:
            changed = _same("RandomApply", transform, tensor, transform.symbolic(changed))
        return ops.where(chosen.reshape((count, *[1] * (tensor.ndim - 1))), changed, tensor)


@dataclass(frozen=True)
class RandomChoice(RandomTransform):
    """One of `transforms`, all equally likely."""

    transforms: tuple[Transform, ...]

    def __init__(self, transforms: Sequence[Transform]):
        object.__setattr__(self, "transforms", _checked("RandomChoice", transforms))
        self._begin_stream()

    def batch(self, array: np.ndarray) -> np.ndarray:
        number = self.draw_array((len(array),)) >> np.uint32(16)
        number = (number * np.uint32(len(self.transforms))) >> np.uint32(16)
        result = array
        for k, transform in enumerate(self.transforms):
            changed = _same("RandomChoice", transform, array, transform.batch(array))
            result = np.where((number == k).reshape(-1, *[1] * (array.ndim - 1)), changed, result)
        return result

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        count = tensor.shape[0]
        number = (self.draw((count,)) >> 16) * len(self.transforms) >> 16
        number = number.astype("int32").reshape((count, *[1] * (tensor.ndim - 1)))
        result = tensor
        for k, transform in enumerate(self.transforms):
            changed = _same("RandomChoice", transform, tensor, transform.symbolic(tensor))
            result = ops.where(number == k, changed, result)
        return result
