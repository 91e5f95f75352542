"""Python indexing of tensors: x[...] with ints, slices, None, Ellipsis and integer tensors, as NumPy means
it.

In: a node and whatever stands between the brackets. Out: a node. Boolean masks have no static shape and are
refused.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dtypes import bool_, int32
from ..errors import ArgumentError, DTypeError, ShapeError
from ..ir import Node, current_source
from .build_elementwise import add, clip, mul
from .build_views import gather, reshape, reverse, slice_static, transpose, wrap_negative
from .operands import Operand, as_node, broadcast_shapes, broadcast_to, cast, constant


@dataclass
class _Plan:
    """What an index means, axis by axis: a static slice first, then new and dropped axes, then gathered axes."""

    start: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)
    step: list[int] = field(default_factory=list)
    reversed_axes: list[int] = field(default_factory=list)
    shape: list[int] = field(default_factory=list)  # after the slice, with new axes and without dropped ones
    picks: list[tuple[int, Any]] = field(default_factory=list)  # (axis of `shape`, integer index)

    def add_slice(self, start: int, stop: int, step: int) -> None:
        self.start.append(start)
        self.stop.append(stop)
        self.step.append(step)


def getitem(x: Operand, index: object) -> Node:
    """x[index]. Integers outside an axis are an error; computed positions outside are clamped, negative ones
    count from the end. Raises ShapeError, DTypeError or ArgumentError."""
    x = as_node(x)
    items = _expand_ellipsis(x, index if isinstance(index, tuple) else (index,))
    gathers = any(_is_array(item) for item in items)
    plan = _Plan()
    axis = 0
    for item in items:
        if item is None:
            plan.shape.append(1)
            continue
        extent = x.shape[axis]
        if isinstance(item, slice):
            _plan_slice(plan, axis, item, extent)
        elif _is_array(item):
            plan.add_slice(0, extent, 1)
            plan.picks.append((len(plan.shape), item))
            plan.shape.append(extent)
        else:
            position = _position(x, axis, item, extent)
            if gathers:  # beside arrays, NumPy treats an int as a 0-d array: it decides where their axes go
                plan.add_slice(0, extent, 1)
                plan.picks.append((len(plan.shape), position))
                plan.shape.append(extent)
            else:
                plan.add_slice(position, position + 1, 1)
        axis += 1
    result = slice_static(x, plan.start, plan.stop, plan.step)
    result = reshape(reverse(result, plan.reversed_axes), plan.shape)
    return _pick(result, plan.picks) if plan.picks else result


def _is_array(item: object) -> bool:
    return isinstance(item, (Node, np.ndarray, list))


def _expand_ellipsis(x: Node, items: tuple) -> list:
    """The index with Ellipsis written out, one entry per axis of x (plus None entries)."""
    used = sum(item is not None and item is not Ellipsis for item in items)
    if sum(item is Ellipsis for item in items) > 1:
        raise ArgumentError(
            "indexing: only one ... is possible", expected="at most one", given=items, at=current_source()
        )
    if used > len(x.shape):
        raise ShapeError(
            "indexing: more indices than axes", expected=f"at most {len(x.shape)}, for {x.type.describe()}",
            given=used, at=current_source(),
        )  # fmt: skip
    rest = [slice(None)] * (len(x.shape) - used)
    expanded: list = []
    for item in items:
        if item is Ellipsis:
            expanded += rest
            rest = []
        else:
            expanded.append(item)
    return expanded + rest


def _plan_slice(plan: _Plan, axis: int, item: slice, extent: int) -> None:
    try:
        positions = range(*item.indices(extent))
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            "indexing: bounds of a slice must be Python ints, the step not zero", expected="start:stop:step",
            given=f"{item.start}:{item.stop}:{item.step}", at=current_source(),
        ) from error  # fmt: skip
    count = len(positions)
    if count == 0:
        plan.add_slice(0, 0, 1)
    elif positions.step > 0:
        plan.add_slice(positions[0], positions[-1] + 1, positions.step)
    else:  # cut forwards, then turned around
        plan.add_slice(positions[-1], positions[0] + 1, -positions.step)
        plan.reversed_axes.append(axis)
    plan.shape.append(count)


def _position(x: Node, axis: int, item: Any, extent: int) -> int:
    if isinstance(item, (bool, np.bool_)):
        raise _mask_error(item)
    try:
        position = operator.index(item)
    except TypeError:
        raise DTypeError(
            "indexing: not an index", expected="int, slice, None, ... or an integer tensor",
            given=type(item).__name__, at=current_source(),
        ) from None  # fmt: skip
    if not -extent <= position < extent:
        raise ShapeError(
            f"indexing: axis {axis} has no element {position}", expected=f"{-extent} to {extent - 1}",
            given=f"{position}, into {x.type.describe()}", at=current_source(),
        )  # fmt: skip
    return position % extent


def _mask_error(item: object) -> DTypeError:
    given = item.type.describe() if isinstance(item, Node) else "a bool index"
    return DTypeError(
        "indexing: a bool mask gives a result without a static shape", expected="an integer index", given=given,
        fix="ops.where(mask, x, other), or multiply by the mask", at=current_source(),
    )  # fmt: skip


def _pick(x: Node, picks: list[tuple[int, Any]]) -> Node:
    """x with the picked axes replaced by the (broadcast) shape of the integer indices. Adjacent picked axes
    leave the new axes in their place; separated ones put them in front, as NumPy does."""
    axes = [axis for axis, _ in picks]
    indices = []
    for axis, item in picks:
        node = constant(item, int32) if isinstance(item, int) else as_node(item)
        if node.dtype == bool_:
            raise _mask_error(node)
        if not node.dtype.is_integer:
            raise DTypeError(
                "indexing: positions must be integers", expected="int32", given=node.type.describe(),
                at=current_source(),
            )  # fmt: skip
        indices.append(wrap_negative(node, x.shape[axis]))
    if len(indices) == 1:
        return gather(x, indices[0], axes[0])
    shape = broadcast_shapes("indexing", *indices)
    extents = [x.shape[axis] for axis in axes]
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    target = axes[0] if adjacent else 0
    others = [axis for axis in range(len(x.shape)) if axis not in axes]
    moved = transpose(x, others[:target] + axes + others[target:])
    merged = reshape(moved, (*moved.shape[:target], math.prod(extents), *moved.shape[target + len(axes) :]))
    position = None
    for node, extent in zip(indices, extents):
        coordinate = clip(broadcast_to(cast(node, int32), shape), 0, extent - 1)
        position = coordinate if position is None else add(mul(position, extent), coordinate)
    assert position is not None
    return gather(merged, position, target)
