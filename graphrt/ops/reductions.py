"""Reductions over axes: sum, max, min, prod as native reductions; mean, argmax, argmin as composites of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..dtypes import int32
from ..errors import DTypeError, ShapeError
from ..ir import Node, TensorType, apply
from .base import CompositeOp, ElementBuilder, Index, Read, ReductionOp, Scalar
from .deferred import build


def _check_axes(name: str, axes: Sequence[int], x: TensorType) -> None:
    if list(axes) != sorted(set(axes)) or not all(0 <= axis < x.rank for axis in axes):
        raise ShapeError(
            f"{name}: axes must be increasing and inside the tensor",
            expected=f"axes of {x.describe()}", given=tuple(axes),
        )  # fmt: skip


def _reduced_shape(shape: Sequence[int], axes: Sequence[int], keepdims: bool) -> tuple[int, ...]:
    if keepdims:
        return tuple(1 if axis in axes else extent for axis, extent in enumerate(shape))
    return tuple(extent for axis, extent in enumerate(shape) if axis not in axes)


def _spread(value: Node, axes: Sequence[int], like: Node) -> Node:
    """A reduced value repeated along the reduced axes to the shape of `like`."""
    return build.broadcast_to(build.reshape(value, _reduced_shape(like.shape, axes, True)), like.shape)


class _Reduction(ReductionOp, abstract=True):
    """Combines the elements along `axes` (increasing); `keepdims` keeps them with extent 1."""

    ufunc: ClassVar[Any]
    axes: tuple[int, ...]
    keepdims: bool
    needs_elements: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        _check_axes(self.name, self.axes, x)
        if x.dtype.kind == "bool":
            raise DTypeError(
                f"{self.name}: element type not accepted", expected="float or int", given=x.describe()
            )
        if self.needs_elements and any(x.shape[axis] == 0 for axis in self.axes):
            raise ShapeError(
                f"{self.name}: an empty axis has no extreme", expected="1 or more", given=x.describe()
            )
        return TensorType(_reduced_shape(x.shape, self.axes, self.keepdims), x.dtype)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        # half precision accumulates in float32, as native code does
        narrow = x.dtype.itemsize == 2 and x.dtype.kind not in "iu"
        working = x.astype(np.float32) if narrow else x
        with np.errstate(all="ignore"):
            result = self.ufunc.reduce(working, axis=self.axes, dtype=working.dtype, keepdims=self.keepdims)
            return np.asarray(result).astype(x.dtype, copy=False)

    def reduce_extents(self, types: Sequence[TensorType]) -> tuple[int, ...]:
        return tuple(types[0].shape[axis] for axis in self.axes)

    def term(
        self,
        b: ElementBuilder,
        index: Sequence[Index],
        window: Sequence[Index],
        read: Read,
        types: Sequence[TensorType],
    ) -> Scalar:
        reduced = dict(zip(self.axes, window))
        kept = iter(index)
        full = []
        for axis in range(types[0].rank):
            if axis in reduced:
                if self.keepdims:
                    next(kept)
                full.append(reduced[axis])
            else:
                full.append(next(kept))
        return read(0, full)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(replace(self, axes=tuple(axis + 1 for axis in self.axes)), x[0])  # type: ignore[type-var]

    def flops(self, *types: TensorType) -> int:
        return types[0].size


@dataclass(frozen=True)
class ReduceSum(_Reduction):
    """The sum along `axes`; zero for an empty axis; integers wrap around."""

    ufunc = np.add
    axes: tuple[int, ...]
    keepdims: bool = False

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (_spread(g, self.axes, x[0]),)


class _Extreme(_Reduction, abstract=True):
    """Max and min: the cotangent is shared equally by the elements that reach the extreme."""

    needs_elements = True

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        reached = build.equal(x[0], _spread(y, self.axes, x[0]))
        count = build.reduce_sum(build.cast(reached, g.dtype), self.axes, keepdims=self.keepdims)
        return (build.where(reached, _spread(build.div(g, count), self.axes, x[0]), 0.0),)


@dataclass(frozen=True)
class ReduceMax(_Extreme):
    """The largest element along `axes`, which must not be empty."""

    combine = "max"
    ufunc = np.maximum
    axes: tuple[int, ...]
    keepdims: bool = False


@dataclass(frozen=True)
class ReduceMin(_Extreme):
    """The smallest element along `axes`, which must not be empty."""

    combine = "min"
    ufunc = np.minimum
    axes: tuple[int, ...]
    keepdims: bool = False


@dataclass(frozen=True)
class ReduceProd(_Reduction):
    """The product along `axes`; one for an empty axis. The gradient is right for zeros too: one zero receives
    the product of the others, two zeros make every gradient zero."""

    combine = "mul"
    ufunc = np.multiply
    axes: tuple[int, ...]
    keepdims: bool = False

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        is_zero = build.equal(x[0], 0.0)
        zeros = _spread(build.reduce_sum(build.cast(is_zero, int32), self.axes), self.axes, x[0])
        safe = build.where(is_zero, 1.0, x[0])
        product = _spread(build.reduce_prod(safe, self.axes), self.axes, x[0])
        at_zero = build.where(build.equal(zeros, 1), product, 0.0)
        elsewhere = build.where(build.equal(zeros, 0), build.div(product, safe), 0.0)
        return (build.mul(_spread(g, self.axes, x[0]), build.where(is_zero, at_zero, elsewhere)),)


@dataclass(frozen=True)
class ReduceMean(CompositeOp):
    """The mean along `axes` of floats."""

    axes: tuple[int, ...]
    keepdims: bool = False

    def _count(self, shape: Sequence[int]) -> int:
        return math.prod(shape[axis] for axis in self.axes)

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        _check_axes(self.name, self.axes, x)
        if not x.dtype.is_float:
            raise DTypeError("reduce_mean: element type not accepted", expected="float", given=x.describe())
        if self._count(x.shape) == 0:
            raise ShapeError(
                "reduce_mean: an empty axis has no mean", expected="1 or more", given=x.describe()
            )
        return TensorType(_reduced_shape(x.shape, self.axes, self.keepdims), x.dtype)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        total = ReduceSum(self.axes, self.keepdims).evaluate(x)
        return np.asarray(total / x.dtype.type(self._count(x.shape)), dtype=x.dtype)

    def expand(self, *x: Node) -> Node:
        return build.div(build.reduce_sum(x[0], self.axes, self.keepdims), float(self._count(x[0].shape)))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
        return (_spread(build.div(g, float(self._count(x[0].shape))), self.axes, x[0]),)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(ReduceMean(tuple(axis + 1 for axis in self.axes), self.keepdims), x[0])

    def flops(self, *types: TensorType) -> int:
        return types[0].size


class _ExtremePosition(CompositeOp, abstract=True):
    """int32 position along `axis` (removed) of the first extreme element. With a NaN on the axis: some
    position of it (the reference rule names the first NaN)."""

    axis: int
    search: ClassVar[Any]

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        _check_axes(self.name, (self.axis,), x)
        if x.dtype.kind == "bool":
            raise DTypeError(
                f"{self.name}: element type not accepted", expected="float or int", given=x.describe()
            )
        if x.shape[self.axis] == 0:
            raise ShapeError(
                f"{self.name}: an empty axis has no extreme", expected="1 or more", given=x.describe()
            )
        return TensorType(_reduced_shape(x.shape, (self.axis,), False), int32)

    def evaluate(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.search(x, axis=self.axis)).astype(np.int32)

    def _first(self, missed: Node) -> Node:
        """The first position where `missed` is false."""
        extent = missed.shape[self.axis]
        position = build.where(missed, extent - 1, build.iota(missed.shape, self.axis, int32))
        return build.reduce_min(position, (self.axis,))

    def vjp(self, g: Node, y: Node, *x: Node) -> tuple[None]:
        return (None,)

    def batch(self, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
        return apply(replace(self, axis=self.axis + 1), x[0])  # type: ignore[type-var]

    def flops(self, *types: TensorType) -> int:
        return 2 * types[0].size


@dataclass(frozen=True)
class ArgMax(_ExtremePosition):
    """The int32 position of the first largest element along `axis`."""

    search = staticmethod(np.argmax)
    axis: int

    def expand(self, *x: Node) -> Node:
        # "not less" instead of "equal": the result stays inside the axis when there are NaNs
        return self._first(
            build.less(x[0], _spread(build.reduce_max(x[0], (self.axis,)), (self.axis,), x[0]))
        )


@dataclass(frozen=True)
class ArgMin(_ExtremePosition):
    """The int32 position of the first smallest element along `axis`."""

    search = staticmethod(np.argmin)
    axis: int

    def expand(self, *x: Node) -> Node:
        return self._first(
            build.greater(x[0], _spread(build.reduce_min(x[0], (self.axis,)), (self.axis,), x[0]))
        )
