"""Ops that move elements without computing: broadcast, reshape, transpose, slice, pad, concat, reverse. Every shape
and position is a static int.

Gather is in `gathering.py`, the sources of constant values (Iota, Constant) in `sources.py`; they can be imported from
here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np

from ..dtypes import as_dtype, int32
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import ElementBuilder, ElementOp, Index, Read, Scalar, ViewOp
from .batching import everywhere
from .deferred import build
from .gathering import Gather
from .indexing import linear_index
from .sources import Constant, Iota


def _check_axes_count(name: str, what: str, values: Sequence[int], rank: int) -> None:
    if len(values) != rank:
        raise ShapeError(
            f"{name}: {what} must have one entry per axis", expected=f"{rank} entries", given=values
        )


@dataclass(frozen=True)
class Broadcast(ViewOp):
    """Repeats axes of extent 1 and adds new axes. `axes[k]` is the output axis of input axis k (increasing)."""

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        increasing = all(a < b for a, b in zip(self.axes, self.axes[1:]))
        inside = all(0 <= axis < len(self.shape) for axis in self.axes)
        if len(self.axes) != x.rank or not increasing or not inside:
            raise ShapeError(
                "broadcast: axes must name one output axis per input axis, in increasing order",
                expected=f"{x.rank} axes below {len(self.shape)}", given=self.axes,
            )  # fmt: skip
        if any(extent not in (1, self.shape[axis]) for extent, axis in zip(x.shape, self.axes)):
            expected = [self.shape[axis] for axis in self.axes]
            raise ShapeError("broadcast: extents must be equal or 1", expected=expected, given=list(x.shape))
        return TensorType(self.shape, x.dtype)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        extents = dict(zip(self.axes, x.shape))
        aligned = x.reshape([extents.get(axis, 1) for axis in range(len(self.shape))])
        return np.broadcast_to(aligned, self.shape)

    def source_index(self, index: Sequence[Index], types: Sequence[TensorType]) -> tuple[Index, ...]:
        return tuple(0 if extent == 1 else index[axis] for extent, axis in zip(types[0].shape, self.axes))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        source = x[0].shape
        kept = {axis for axis, extent in zip(self.axes, source) if extent == self.shape[axis]}
        summed = tuple(axis for axis in range(len(self.shape)) if axis not in kept)
        return (build.reshape(build.reduce_sum(g, summed), source),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        axes = (0, *(axis + 1 for axis in self.axes))
        return apply(Broadcast((size, *self.shape), axes), x[0])


def matched_axes(shape: Sequence[int], target: Sequence[int]) -> list[tuple[slice, slice]]:
    """The axes of two shapes with as many elements (more than none), from the left in the smallest parts with equal
    products: (12, 64, 8) and (768, 4, 2) give (12, 64) with (768,) and (8,) with (4, 2)."""
    parts: list[tuple[slice, slice]] = []
    a = b = 0
    while a < len(shape) or b < len(target):
        first_a, first_b, left, right = a, b, 1, 1
        while left != right or (a == first_a and b == first_b):
            if a < len(shape) and (left < right or b == len(target) or (left == right and a == first_a)):
                left, a = left * shape[a], a + 1
            else:
                right, b = right * target[b], b + 1
        parts.append((slice(first_a, a), slice(first_b, b)))
    return parts


def reshaped_position(
    index: Sequence[Index], shape: Sequence[int], target: Sequence[int]
) -> tuple[Index | int, ...]:
    """The position in `target` of the element at `index` of `shape`, two shapes with as many elements.

    Axes are matched from the left (`matched_axes`), so that an axis both shapes have keeps its index as it is: also one
    that a partly filled block of lanes exceeds.
    """
    if 0 in shape or 0 in target:
        return (0,) * len(target)
    result: list[Index | int] = []
    for own, other in matched_axes(shape, target):
        part = linear_index(index[own], shape[own])
        below = whole = math.prod(target[other])
        for extent in target[other]:
            below //= extent
            if extent == 1:
                result.append(0)
            elif below * extent == whole:  # nothing above this axis: no wrap to remove
                result.append(part // below)
            else:
                result.append(part // below % extent)
    return tuple(result)


@dataclass(frozen=True)
class Reshape(ViewOp):
    """The same elements in row-major order under another shape (all extents given)."""

    shape: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        result = TensorType(self.shape, types[0].dtype)
        if result.size != types[0].size or any(extent < 0 for extent in self.shape):
            raise ShapeError(
                "reshape: the number of elements must stay the same",
                expected=f"{types[0].size} elements, from {types[0].describe()}",
                given=f"{list(self.shape)} with {result.size} elements",
            )
        return result

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x.reshape(self.shape)

    def source_index(self, index: Sequence[Index], types: Sequence[TensorType]) -> tuple[Index, ...]:
        return reshaped_position(index, self.shape, types[0].shape)

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.reshape(g, x[0].shape),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(Reshape((size, *self.shape)), x[0])


@dataclass(frozen=True)
class Transpose(ViewOp):
    """Output axis k is input axis permutation[k]."""

    permutation: tuple[int, ...]
    onnx: ClassVar[str | None] = None

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if sorted(self.permutation) != list(range(x.rank)):
            raise ShapeError(
                "transpose: not a permutation of the axes",
                expected=f"each of 0..{x.rank - 1} once" if x.rank else "()", given=self.permutation,
            )  # fmt: skip
        return TensorType(tuple(x.shape[axis] for axis in self.permutation), x.dtype)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return x.transpose(self.permutation)

    def inverse(self) -> tuple[int, ...]:
        """The permutation that undoes this one."""
        return tuple(sorted(range(len(self.permutation)), key=self.permutation.__getitem__))

    def source_index(self, index: Sequence[Index], types: Sequence[TensorType]) -> tuple[Index, ...]:
        return tuple(index[position] for position in self.inverse())

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.transpose(g, self.inverse()),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(Transpose((0, *(axis + 1 for axis in self.permutation))), x[0])


@dataclass(frozen=True)
class Slice(ViewOp):
    """x[start:stop:step] with one non-negative int per axis, 0 <= start <= stop <= extent, step >= 1."""

    start: tuple[int, ...]
    stop: tuple[int, ...]
    step: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        for what in ("start", "stop", "step"):
            _check_axes_count("slice", what, getattr(self, what), x.rank)
        shape = []
        for axis, (low, high, step) in enumerate(zip(self.start, self.stop, self.step)):
            if not 0 <= low <= high <= x.shape[axis] or step < 1:
                raise ShapeError(
                    f"slice: bounds of axis {axis} are not usable",
                    expected=f"0 <= start <= stop <= {x.shape[axis]}, step >= 1", given=f"{low}:{high}:{step}",
                )  # fmt: skip
            shape.append(-(-(high - low) // step))
        return TensorType(tuple(shape), x.dtype)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        bounds = tuple(slice(*b) for b in zip(self.start, self.stop, self.step))
        return np.asarray(x[bounds])

    def source_index(self, index: Sequence[Index], types: Sequence[TensorType]) -> tuple[Index, ...]:
        return tuple(i * step + low for i, low, step in zip(index, self.start, self.step))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        source = x[0].shape
        low, high = [], []
        for extent, count, start, step in zip(source, y.shape, self.start, self.step):
            covered = (count - 1) * step + 1 if count else 0
            low.append(start)
            high.append(extent - start - covered)
        return (build.pad_interior(g, low, high, [step - 1 for step in self.step]),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(Slice((0, *self.start), (size, *self.stop), (1, *self.step)), x[0])


@dataclass(frozen=True)
class Pad(ElementOp):
    """Surrounds x with `value`: low[k] before, high[k] after, interior[k] between the elements of axis k (all
    >= 0)."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]
    value: float | int | bool = 0

    def _spans(self, shape: Sequence[int]) -> list[int]:
        """The extent of every axis without low and high."""
        return [extent + max(extent - 1, 0) * gap for extent, gap in zip(shape, self.interior)]

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        for what in ("low", "high", "interior"):
            amounts = getattr(self, what)
            _check_axes_count("pad", what, amounts, x.rank)
            if any(amount < 0 for amount in amounts):
                raise ShapeError(
                    f"pad: {what} must not be negative", expected=">= 0 on every axis", given=amounts
                )
        spans = self._spans(x.shape)
        return TensorType(tuple(a + s + b for a, s, b in zip(self.low, spans, self.high)), x.dtype)

    def _inside(self, shape: Sequence[int]) -> tuple[slice, ...]:
        spans = self._spans(shape)
        return tuple(slice(a, a + s, gap + 1) for a, s, gap in zip(self.low, spans, self.interior))

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        result = self.infer(TensorType(x.shape, as_dtype(x.dtype)))
        padded = np.full(result.shape, self.value, dtype=x.dtype)
        padded[self._inside(x.shape)] = x
        return padded

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        (x,) = types
        value = b.constant(self.value, x.dtype)
        inner = [i - low for i, low in zip(index, self.low)]
        ranges = [
            (coordinate, 0, span)
            for coordinate, span, low, high in zip(inner, self._spans(x.shape), self.low, self.high)
            if low or high
        ]

        def inside() -> Scalar:
            # an axis of one element has one position, whatever the guard compares
            at = [
                0 if extent == 1 else c // (gap + 1) for c, gap, extent in zip(inner, self.interior, x.shape)
            ]
            element = read(0, at)
            for coordinate, gap in zip(inner, self.interior):
                if gap:
                    phase = b.index_value(coordinate % (gap + 1), int32)
                    element = b.select(b.binary("eq", phase, b.constant(0, int32)), element, value)
            return element

        return b.where_in_range(ranges, inside, value) if ranges else inside()

    def flops(self, *types: TensorType) -> int:
        return 0

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        inside = self._inside(x[0].shape)
        start, stop, step = ([getattr(s, what) for s in inside] for what in ("start", "stop", "step"))
        return (build.slice_static(g, start, stop, step),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(Pad((0, *self.low), (0, *self.high), (0, *self.interior), self.value), x[0])


@dataclass(frozen=True)
class Concat(ElementOp):
    """One or more tensors joined along `axis`; the other extents and the element types are equal."""

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        if not types:
            raise ArgumentError("concat: no tensors given", expected="at least one")
        first = types[0]
        if not 0 <= self.axis < first.rank:
            raise ShapeError("concat: axis out of range", expected=f"0..{first.rank - 1}", given=self.axis)
        for other in types[1:]:
            if other.dtype != first.dtype:
                raise DTypeError(
                    "concat: element types differ", expected=first.describe(), given=other.describe()
                )
            same = other.rank == first.rank and all(
                a == b for axis, (a, b) in enumerate(zip(first.shape, other.shape)) if axis != self.axis
            )
            if not same:
                raise ShapeError(
                    f"concat: extents must agree on every axis but {self.axis}",
                    expected=first.describe(), given=other.describe(),
                )  # fmt: skip
        shape = list(first.shape)
        shape[self.axis] = sum(t.shape[self.axis] for t in types)
        return TensorType(tuple(shape), first.dtype)

    def evaluate(self, *x: np.ndarray) -> np.ndarray:
        return np.concatenate(x, axis=self.axis)

    def element(
        self, b: ElementBuilder, index: Sequence[Index], read: Read, types: Sequence[TensorType]
    ) -> Scalar:
        def part(operand: int, offset: int) -> Scalar:
            start = 0 if types[operand].shape[self.axis] == 1 else index[self.axis] - offset
            return read(operand, [start if axis == self.axis else i for axis, i in enumerate(index)])

        if len(types) == 1:
            return part(0, 0)
        element = b.constant(0, types[0].dtype)
        offset = 0
        for operand, operand_type in enumerate(types):
            end = offset + operand_type.shape[self.axis]
            # each read has its own guard: `element` of the earlier parts is already guarded by theirs
            element = b.where_in_range(
                [(index[self.axis], offset, end)], partial(part, operand, offset), element
            )
            offset = end
        return element

    def flops(self, *types: TensorType) -> int:
        return 0

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node, ...]:
        parts, offset = [], 0
        for operand in x:
            end = offset + operand.shape[self.axis]
            start = [offset if axis == self.axis else 0 for axis in range(len(y.shape))]
            stop = [end if axis == self.axis else extent for axis, extent in enumerate(y.shape)]
            parts.append(build.slice_static(g, start, stop))
            offset = end
        return tuple(parts)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(Concat(self.axis + 1), *everywhere(size, x, batched))


@dataclass(frozen=True)
class Reverse(ViewOp):
    """The order of the elements turned around along `axes`."""

    axes: tuple[int, ...]

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if len(set(self.axes)) != len(self.axes) or not all(0 <= axis < x.rank for axis in self.axes):
            raise ShapeError(
                "reverse: axes out of range or repeated",
                expected=f"0..{x.rank - 1}, each once",
                given=self.axes,
            )
        return x

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.flip(x, self.axes)

    def source_index(self, index: Sequence[Index], types: Sequence[TensorType]) -> tuple[Index, ...]:
        extents = types[0].shape
        return tuple(i * -1 + (extents[k] - 1) if k in self.axes else i for k, i in enumerate(index))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (build.reverse(g, self.axes),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(Reverse(tuple(axis + 1 for axis in self.axes)), x[0])


__all__ = [
    "Broadcast", "Concat", "Constant", "Gather", "Iota", "Pad", "Reshape", "Reverse", "Slice", "Transpose",
]  # fmt: skip
