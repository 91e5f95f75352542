"""Replacing and lengthening columns: Fill, Concatenate, PadEnd.

In: a column of any shape. Out: a column of the same element type.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...frontend.location import user_source
from ..transform import Transform

if TYPE_CHECKING:
    from ...frontend.tensor import Tensor


@dataclass(frozen=True)
class Fill(Transform):
    """Every element becomes `fill_value`; shape and element type stay."""

    fill_value: float

    def batch(self, array: np.ndarray) -> np.ndarray:
        return np.full_like(array, self.fill_value)

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        return ops.full(tensor.shape, self.fill_value, tensor.dtype)


@dataclass(frozen=True)
class Concatenate(Transform):
    """`prepend` before and `append` after every sample, along `axis` of the sample."""

    axis: int
    prepend: tuple[float, ...] | None
    append: tuple[float, ...] | None

    def __init__(self, axis: int = 0, prepend: object = None, append: object = None):
        if axis not in (0, -1):
            raise ArgumentError(
                "Concatenate: only vectors are lengthened",
                at=user_source(),
                expected="axis=0 or -1",
                given=axis,
            )
        object.__setattr__(self, "axis", 0)
        for name, value in (("prepend", prepend), ("append", append)):
            values = None if value is None else np.asarray(value)
            if values is not None and values.ndim != 1:
                raise ArgumentError(
                    f"Concatenate: {name} must be a vector",
                    at=user_source(),
                    given=f"shape {list(values.shape)}",
                )
            object.__setattr__(self, name, None if values is None else tuple(values.tolist()))

    def _pieces(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """What comes before and after a batch of this shape."""
        if len(shape) != 2:
            raise ShapeError(
                "Concatenate needs vectors",
                at=user_source(),
                expected="samples of one axis",
                given=list(shape[1:]),
            )
        before, after = (
            [np.broadcast_to(np.array(values, dtype), (shape[0], len(values)))] if values else []
            for values in (self.prepend, self.append)
        )
        return before, after

    def batch(self, array: np.ndarray) -> np.ndarray:
        before, after = self._pieces(array.shape, array.dtype)
        return np.concatenate([*before, array, *after], axis=1)

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops
        from ...frontend.tensor import Tensor

        before, after = self._pieces(tensor.shape, tensor.dtype.numpy)
        pieces = [Tensor(np.ascontiguousarray(piece)) for piece in before] + [tensor]
        pieces += [Tensor(np.ascontiguousarray(piece)) for piece in after]
        return ops.concat(pieces, 1) if len(pieces) > 1 else tensor


@dataclass(frozen=True)
class PadEnd(Transform):
    """Samples of shape `pad_shape`: cut at the end of an axis where they are longer, filled with `pad_value` (None: 0)
    where they are shorter. None in `pad_shape` leaves an axis as it is."""

    pad_shape: tuple[int | None, ...]
    pad_value: float = 0

    def __init__(self, pad_shape: Sequence[int | None], pad_value: float | None = None):
        sizes = tuple(pad_shape)
        if not all(size is None or (type(size) is int and size >= 1) for size in sizes):
            raise ArgumentError(
                "PadEnd: pad_shape must be positive ints or None", at=user_source(), given=repr(pad_shape)
            )
        object.__setattr__(self, "pad_shape", sizes)
        object.__setattr__(self, "pad_value", 0 if pad_value is None else pad_value)

    def _target(self, sample_shape: tuple[int, ...]) -> list[int]:
        if len(sample_shape) != len(self.pad_shape):
            raise ShapeError(
                "PadEnd: pad_shape has another number of axes than the samples", at=user_source(),
                expected=f"{len(sample_shape)} axes", given=repr(self.pad_shape),
            )  # fmt: skip
        return [given if wanted is None else wanted for wanted, given in zip(self.pad_shape, sample_shape)]

    def batch(self, array: np.ndarray) -> np.ndarray:
        target = self._target(array.shape[1:])
        window = tuple(slice(size) for size in (None, *target))
        array = array[window]
        widths = [(0, 0), *((0, wanted - given) for wanted, given in zip(target, array.shape[1:]))]
        return np.pad(array, widths, constant_values=array.dtype.type(self.pad_value))

    def symbolic(self, tensor: Tensor) -> Tensor:
        from ... import ops

        for axis, size in enumerate(self._target(tensor.shape[1:]), 1):
            if size < tensor.shape[axis]:
                window = (*[slice(None)] * axis, slice(size))
                tensor = tensor[window]
            elif size > tensor.shape[axis]:
                shape = list(tensor.shape)
                shape[axis] = size - tensor.shape[axis]
                tensor = ops.concat([tensor, ops.full(tuple(shape), self.pad_value, tensor.dtype)], axis)
        return tensor
