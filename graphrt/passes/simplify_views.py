"""Simplifications of ops that only move elements: views of views become one view, views that change nothing vanish,
and a view of one repeated number is that number in another shape. A rule is as in `simplify_arithmetic.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..ir import Node, Op
from ..ops import views as v
from .constants import uniform, uniform_value

Make = Callable[..., Node]
Rule = Callable[[Node, Make], Node | None]


def _of_number(rule: Rule) -> Rule:
    """`rule`, after the check that the view is of one repeated number."""

    def with_check(node: Node, make: Make) -> Node | None:
        value = uniform_value(node.inputs[0])
        return rule(node, make) if value is None else uniform(node.type, value)

    return with_check


def _constant(node: Node, make: Make) -> Node | None:
    """An array of one repeated number needs no storage."""
    value = uniform_value(node) if node.shape else None
    return None if value is None else uniform(node.type, value)


def _iota(node: Node, make: Make) -> Node | None:
    return uniform(node.type, 0) if node.shape[node.op.axis] == 1 else None  # type: ignore[attr-defined]


def _broadcast(node: Node, make: Make) -> Node | None:
    (x,), op = node.inputs, node.op
    if x.shape == node.shape:
        return x
    if isinstance(x.op, v.Broadcast):
        axes = tuple(op.axes[axis] for axis in x.op.axes)  # type: ignore[attr-defined]
        return make(v.Broadcast(node.shape, axes), x.inputs[0])
    if isinstance(x.op, v.Reshape):
        kept = _axes_kept(x.inputs[0].shape, x.shape)
        if kept is not None:
            return make(v.Broadcast(node.shape, tuple(op.axes[axis] for axis in kept)), x.inputs[0])  # type: ignore[attr-defined]
    return None


def _axes_kept(shape: Sequence[int], longer: Sequence[int]) -> tuple[int, ...] | None:
    """Where the axes of `shape` are in `longer`, if `longer` only has more axes of extent 1."""
    kept: list[int] = []
    for axis, extent in enumerate(longer):
        if len(kept) < len(shape) and extent == shape[len(kept)]:
            kept.append(axis)
        elif extent != 1:
            return None
    return tuple(kept) if len(kept) == len(shape) else None


def _reshape(node: Node, make: Make) -> Node | None:
    (x,) = node.inputs
    if x.shape == node.shape:
        return x
    return make(node.op, x.inputs[0]) if isinstance(x.op, v.Reshape) else None


def _transpose(node: Node, make: Make) -> Node | None:
    (x,), permutation = node.inputs, node.op.permutation  # type: ignore[attr-defined]
    if permutation == tuple(range(len(permutation))):
        return x
    if isinstance(x.op, v.Transpose):
        return make(v.Transpose(tuple(x.op.permutation[axis] for axis in permutation)), x.inputs[0])
    return None


def _slice(node: Node, make: Make) -> Node | None:
    (x,), op = node.inputs, node.op
    if x.shape == node.shape:
        return x
    if not isinstance(x.op, v.Slice):
        return None
    start, stop, step = [], [], []
    for axis, count in enumerate(node.shape):
        first = x.op.start[axis] + op.start[axis] * x.op.step[axis]  # type: ignore[attr-defined]
        stride = x.op.step[axis] * op.step[axis]  # type: ignore[attr-defined]
        start.append(first if count else 0)
        stop.append(first + (count - 1) * stride + 1 if count else 0)
        step.append(stride)
    return make(v.Slice(tuple(start), tuple(stop), tuple(step)), x.inputs[0])


def _pad(node: Node, make: Make) -> Node | None:
    (x,), op = node.inputs, node.op
    if x.shape == node.shape:
        return x
    value = uniform_value(x)
    if value is not None and _same_number(value, op.value, x):  # type: ignore[attr-defined]
        return uniform(node.type, value)
    inner = x.op
    both_solid = isinstance(inner, v.Pad) and not any(inner.interior) and not any(op.interior)  # type: ignore[attr-defined]
    if both_solid and _same_number(np.asarray(inner.value, x.dtype.numpy), op.value, x):  # type: ignore[attr-defined]
        low = tuple(a + b for a, b in zip(inner.low, op.low))  # type: ignore[attr-defined]
        high = tuple(a + b for a, b in zip(inner.high, op.high))  # type: ignore[attr-defined]
        return make(v.Pad(low, high, inner.interior, op.value), x.inputs[0])  # type: ignore[attr-defined]
    return None


def _same_number(array: np.ndarray, number: float | int | bool, like: Node) -> bool:
    return array.tobytes() == np.asarray(number, like.dtype.numpy).tobytes()


def _concat(node: Node, make: Make) -> Node | None:
    """Parts without elements go, parts that are concatenations are taken apart, a single part is the result."""
    parts: list[Node] = []
    for part in node.inputs:
        parts += part.inputs if part.op == node.op else [part]
    parts = [part for part in parts if part.type.size] or parts[:1]
    if len(parts) == 1:
        return parts[0] if parts[0].type == node.type else None
    numbers = [uniform_value(part) for part in parts]
    if all(number is not None and number.tobytes() == numbers[0].tobytes() for number in numbers):  # type: ignore[union-attr]
        return uniform(node.type, numbers[0])
    return None if tuple(parts) == node.inputs else make(node.op, *parts)


def _reverse(node: Node, make: Make) -> Node | None:
    (x,), axes = node.inputs, set(node.op.axes)  # type: ignore[attr-defined]
    if isinstance(x.op, v.Reverse):
        axes, x = axes ^ set(x.op.axes), x.inputs[0]
    needed = tuple(sorted(axis for axis in axes if x.shape[axis] > 1))
    if not needed:
        return x
    return None if x is node.inputs[0] and len(needed) == len(axes) else make(v.Reverse(needed), x)


RULES: dict[type[Op], Rule] = {
    v.Constant: _constant,
    v.Iota: _iota,
    v.Broadcast: _broadcast,
    v.Reshape: _of_number(_reshape),
    v.Transpose: _of_number(_transpose),
    v.Slice: _of_number(_slice),
    v.Reverse: _of_number(_reverse),
    v.Gather: _of_number(lambda node, make: None),
    v.Pad: _pad,
    v.Concat: _concat,
}
