"""Build functions that reduce axes. `axes` is an int, several ints or None (all); negative axes count from
the end."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Node, apply
from . import reductions
from .build_elementwise import logical_not, mul, not_equal, sqrt, square, sub
from .build_views import reshape
from .operands import Operand, as_node, cast, normal_axes, normal_axis, promoted

Axes = int | Sequence[int] | None


def reduce_sum(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """The sum along `axes` in x's type (bool counts as int32); zero along an empty axis."""
    (x,) = promoted(x, numeric=True)
    named = normal_axes("reduce_sum", axes, len(x.shape))
    return apply(reductions.ReduceSum(named, keepdims), x) if named else x


def reduce_mean(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """The mean along `axes`; integers and bool are averaged as float32."""
    (x,) = promoted(x, floating=True)
    named = normal_axes("reduce_mean", axes, len(x.shape))
    return apply(reductions.ReduceMean(named, keepdims), x) if named else x


def reduce_max(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """The largest element along `axes`."""
    (x,) = promoted(x, numeric=True)
    named = normal_axes("reduce_max", axes, len(x.shape))
    return apply(reductions.ReduceMax(named, keepdims), x) if named else x


def reduce_min(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """The smallest element along `axes`."""
    (x,) = promoted(x, numeric=True)
    named = normal_axes("reduce_min", axes, len(x.shape))
    return apply(reductions.ReduceMin(named, keepdims), x) if named else x


def reduce_prod(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """The product along `axes` in x's type (bool counts as int32); one along an empty axis."""
    (x,) = promoted(x, numeric=True)
    named = normal_axes("reduce_prod", axes, len(x.shape))
    return apply(reductions.ReduceProd(named, keepdims), x) if named else x


def reduce_any(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """Whether any element along `axes` is not zero, as bool."""
    return cast(reduce_max(cast(not_equal(x, 0), "int32"), axes, keepdims), "bool")


def reduce_all(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """Whether every element along `axes` is not zero, as bool."""
    return logical_not(reduce_any(logical_not(x), axes, keepdims))


def variance(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """The mean squared distance from the mean (biased: divided by the count)."""
    (x,) = promoted(x, floating=True)
    return reduce_mean(square(sub(x, reduce_mean(x, axes, keepdims=True))), axes, keepdims)


def norm(x: Operand, axes: Axes = None, keepdims: bool = False) -> Node:
    """The Euclidean length along `axes`."""
    (x,) = promoted(x, floating=True)
    return sqrt(reduce_sum(mul(x, x), axes, keepdims))


def _position(
    op: type[reductions.ArgMax] | type[reductions.ArgMin], x: Operand, axis: int | None, keepdims: bool
) -> Node:
    (x,) = promoted(x, numeric=True)
    original = x.shape
    if axis is None:
        x, axis = reshape(x, (x.type.size,)), 0
        kept: Sequence[int] = (1,) * len(original)
    else:
        axis = normal_axis(op.name, axis, len(x.shape))
        kept = (*original[:axis], 1, *original[axis + 1 :])
    position = apply(op(axis), x)
    return reshape(position, kept) if keepdims else position


def argmax(x: Operand, axis: int | None = None, keepdims: bool = False) -> Node:
    """The int32 position of the first largest element along `axis` (None: of the flattened tensor)."""
    return _position(reductions.ArgMax, x, axis, keepdims)


def argmin(x: Operand, axis: int | None = None, keepdims: bool = False) -> Node:
    """The int32 position of the first smallest element along `axis` (None: of the flattened tensor)."""
    return _position(reductions.ArgMin, x, axis, keepdims)


def unbroadcast(g: Operand, shape: Sequence[int]) -> Node:
    """g summed over the axes along which `shape` was broadcast (from the right) to g's shape."""
    g = as_node(g)
    offset = len(g.shape) - len(shape)
    repeated = [k for k in range(len(g.shape)) if k < offset or (shape[k - offset] == 1 and g.shape[k] != 1)]
    return reshape(reduce_sum(g, repeated), shape)
