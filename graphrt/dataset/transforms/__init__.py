"""Transforms of any column: element types, one-hot labels, filling and padding, random choices.

In: a sample, a batch or a traced batch of any column (see `dataset/transform.py`). Out: the same, transformed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...dtypes import DType, as_dtype, float32
from ...errors import ArgumentError, DataError, DTypeError
from ...frontend.location import user_source
from ..transform import Transform
from .choose import RandomApply, RandomChoice
from .fill import Concatenate, Fill, PadEnd

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor


@dataclass(frozen=True)
class TypeCast(Transform):
    """Converts the elements to another type (`graphrt.int32`, "int32", `np.int32`). `output_type`: the
    type; `data_type` is another name of it."""

    output_type: DType

    def __init__(self, output_type: object = None, data_type: object = None):
        # `data_type` is the keyword of release 1.1
        chosen = output_type if output_type is not None else data_type
        object.__setattr__(self, "output_type", as_dtype(chosen))

    def batch(self, array: np.ndarray) -> np.ndarray:
        return array.astype(self.output_type.numpy, copy=False)

    def symbolic(self, tensor: Tensor) -> Tensor:
        return tensor.astype(self.output_type, copy=False)


@dataclass(frozen=True)
class OneHot(Transform):
    """Integer labels to vectors of length `num_classes`.

    A label k becomes zeros with a one at k, of the label's element type. With `smoothing_rate` s > 0 the vector is
    float32: 1 - s + s / num_classes at k, s / num_classes elsewhere. Labels of shape () or (1,).
    """

    num_classes: int
    smoothing_rate: float = 0.0

    def __post_init__(self) -> None:
        if type(self.num_classes) is not int or self.num_classes < 1:
            raise ArgumentError(
                "OneHot: num_classes must be a positive int", at=user_source(), given=repr(self.num_classes)
            )
        if not 0.0 <= self.smoothing_rate <= 1.0:
            raise ArgumentError(
                "OneHot: smoothing_rate out of range", at=user_source(),
                expected="0 <= smoothing_rate <= 1", given=repr(self.smoothing_rate),
            )  # fmt: skip

    def _check(self, shape: tuple[int, ...], dtype: DType) -> None:
        if not dtype.is_integer:
            raise DTypeError(
                "OneHot needs integer labels", at=user_source(), expected="an integer element type",
                given=str(dtype), fix="put transforms.TypeCast(graphrt.int32) before it",
            )  # fmt: skip
        if shape not in ((), (1,)):
            raise DataError(
                "OneHot needs one label per sample",
                at=user_source(),
                expected="shape [] or [1]",
                given=list(shape),
            )

    def batch(self, array: np.ndarray) -> np.ndarray:
        self._check(array.shape[1:], as_dtype(array.dtype))
        labels = array.reshape(len(array), 1)
        outside = (labels < 0) | (labels >= self.num_classes)
        if outside.any():
            raise DataError(
                "OneHot: a label is out of range", at=user_source(),
                expected=f"0 <= label < {self.num_classes}", given=int(labels[outside][0]),
                fix="raise num_classes or correct the labels",
            )  # fmt: skip
        hot = labels == np.arange(self.num_classes)
        if self.smoothing_rate == 0.0:
            return hot.astype(array.dtype)
        return self._smooth(hot.astype(np.float32))

    def symbolic(self, tensor: Tensor) -> Tensor:
        self._check(tensor.shape[1:], tensor.dtype)
        # (1, classes), not (classes,): `equal` takes the latter, beside as many samples, for a mistake
        classes = np.arange(self.num_classes).astype(tensor.dtype.numpy)[None]
        hot = tensor.reshape(tensor.shape[0], 1) == classes
        if self.smoothing_rate == 0.0:
            return hot.astype(tensor.dtype)
        return self._smooth(hot.astype(float32))

    def _smooth(self, hot: Any) -> Any:
        rate = self.smoothing_rate
        return hot * np.float32(1.0 - rate) + np.float32(rate / self.num_classes)


class Compose:
    """Several operations as one: `Compose([a, b])(x) == b(a(x))`. `Dataset.map` takes it apart again.
    `transforms`: the operations in order."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]):
        self.transforms = list(transforms)

    def __call__(self, *sample: Any) -> Any:
        for transform in self.transforms:
            sample = transform(*sample)
            sample = sample if isinstance(sample, tuple) else (sample,)
        return sample[0] if len(sample) == 1 else sample

    def __repr__(self) -> str:
        return f"Compose({self.transforms!r})"


__all__ = [
    "Compose", "Concatenate", "Fill", "OneHot", "PadEnd", "RandomApply", "RandomChoice", "TypeCast",
]  # fmt: skip
