"""Padding layers: a constant, the mirrored or the repeated border.

In: tensors (..., L), (..., H, W) or (..., D, H, W). Out: the same with more elements on those axes. Paddings are (before,
after) pairs from the last axis on, or one number for all sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.tensor import Tensor
from .dense import here


def _sides(layer: str, padding: Any, axes: int) -> tuple[int, ...]:
    sides = (padding,) * (2 * axes) if isinstance(padding, int) else tuple(padding)
    if len(sides) != 2 * axes or any(isinstance(s, bool) or not isinstance(s, int) for s in sides):
        raise ArgumentError(
            f"{layer}: padding must be an int or {2 * axes} of them", **here(),
            expected="before, after for each axis from the last on", given=repr(padding),
        )  # fmt: skip
    return sides


class _ConstantPad(Cell):
    axes: ClassVar[int]

    def __init__(self, padding: int | Sequence[int], value: float):
        super().__init__()
        self.padding = _sides(type(self).__name__, padding, self.axes)
        self.value = value

    def construct(self, x: Tensor) -> Tensor:
        return ops.pad(x, self.padding, "constant", self.value)

    def extend_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """`value` around the last axis: `padding` is left, right. Negative numbers cut."""

    axes = 1


class ConstantPad2d(_ConstantPad):
    """`value` around the last two axes: `padding` is left, right, top, bottom. Negative numbers cut."""

    axes = 2


class ConstantPad3d(_ConstantPad):
    """`value` around the last three axes: `padding` is left, right, top, bottom, front, back. Negative numbers cut."""

    axes = 3


class ZeroPad2d(ConstantPad2d):
    """Zeros around the last two axes: `padding` is left, right, top, bottom. Negative numbers cut."""

    def __init__(self, padding: int | Sequence[int]):
        super().__init__(padding, 0)


class _BorderPad(Cell):
    """Reads positions inside the tensor for those outside."""

    axes: ClassVar[int]

    def __init__(self, padding: int | Sequence[int]):
        super().__init__()
        layer = type(self).__name__
        self.padding = _sides(layer, padding, self.axes)
        if min(self.padding) < 0:
            raise ArgumentError(f"{layer}: padding must not be negative", **here(), given=repr(padding))

    def positions(self, extent: int, before: int, after: int) -> np.ndarray:
        """The position each element along an axis is taken from: int32, before + extent + after of them."""
        raise NotImplementedError

    def construct(self, x: Tensor) -> Tensor:
        if x.ndim < self.axes:
            raise ShapeError(
                f"{type(self).__name__}: the input has too few axes", **here(), expected=f"{self.axes} axes or more",
                given=x.type.describe(),
            )  # fmt: skip
        for number in range(self.axes):
            axis = x.ndim - 1 - number
            before, after = self.padding[2 * number : 2 * number + 2]
            if before or after:
                x = ops.gather(x, self.positions(x.shape[axis], before, after), axis)
        return x

    def extend_repr(self) -> str:
        return f"padding={self.padding}"


class _ReflectionPad(_BorderPad):
    def positions(self, extent: int, before: int, after: int) -> np.ndarray:
        if max(before, after) >= extent:
            raise ShapeError(
                f"{type(self).__name__}: the padding must be smaller than the axis it mirrors", **here(),
                expected=f"at most {extent - 1}", given=f"{before} and {after}",
            )  # fmt: skip
        where = np.abs(np.arange(-before, extent + after, dtype=np.int32))
        return (extent - 1 - np.abs(extent - 1 - where)).astype(np.int32)


class ReflectionPad1d(_ReflectionPad):
    """The last axis continued by its mirror image without the border itself: `padding` is left, right."""

    axes = 1


class ReflectionPad2d(_ReflectionPad):
    """The last two axes continued by their mirror images without the border: `padding` is left, right, top, bottom."""

    axes = 2


class _ReplicationPad(_BorderPad):
    def positions(self, extent: int, before: int, after: int) -> np.ndarray:
        return np.clip(np.arange(-before, extent + after), 0, extent - 1).astype(np.int32)


class ReplicationPad1d(_ReplicationPad):
    """The last axis continued by its border elements: `padding` is left, right."""

    axes = 1


class ReplicationPad2d(_ReplicationPad):
    """The last two axes continued by their border elements: `padding` is left, right, top, bottom."""

    axes = 2


_MODES = ("CONSTANT", "REFLECT", "SYMMETRIC")


class Pad(Cell):
    """Every axis padded: `paddings` holds a (before, after) pair per axis. `mode`: "CONSTANT" (zeros), "REFLECT" (mirror
    image without the border) or "SYMMETRIC" (with it)."""

    def __init__(self, paddings: Sequence[Sequence[int]], mode: str = "CONSTANT"):
        super().__init__()
        if mode not in _MODES:
            raise ArgumentError(
                "Pad: unknown mode", **here(), expected=" or ".join(map(repr, _MODES)), given=repr(mode)
            )
        pairs = tuple(tuple(p) for p in paddings)
        if any(len(p) != 2 or any(not isinstance(n, int) or n < 0 for n in p) for p in pairs):
            raise ArgumentError(
                "Pad: paddings must be pairs of ints >= 0", **here(), expected="((before, after), ...)", given=repr(paddings)
            )  # fmt: skip
        self.paddings, self.mode = pairs, mode

    def construct(self, x: Tensor) -> Tensor:
        if x.ndim != len(self.paddings):
            raise ShapeError(
                "Pad: one pair per axis",
                **here(),
                expected=f"{len(self.paddings)} axes",
                given=x.type.describe(),
            )
        if self.mode == "CONSTANT":
            return ops.pad(x, self.paddings)
        border = int(self.mode == "SYMMETRIC")
        for axis, (before, after) in enumerate(self.paddings):
            extent = x.shape[axis]
            if max(before, after) > extent - 1 + border:
                raise ShapeError(
                    "Pad: the padding must not be larger than the axis it mirrors", **here(),
                    expected=f"at most {extent - 1 + border}", given=f"{before} and {after} on axis {axis}",
                )  # fmt: skip
            if before or after:
                mode = "symmetric" if border else "reflect"
                where = np.pad(np.arange(extent, dtype=np.int32), (before, after), mode)  # type: ignore[call-overload]
                x = ops.gather(x, where, axis)
        return x

    def extend_repr(self) -> str:
        return f"paddings={self.paddings}, mode={self.mode}"
