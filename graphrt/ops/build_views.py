"""Build functions that move, cut, join and make tensors. Shapes are static: extents and positions are Python
ints."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..dtypes import DType, as_dtype, float32, int32
from ..errors import ArgumentError, ShapeError
from ..ir import Node, apply, current_source
from . import scatter, views
from .build_elementwise import add, equal, less, mul, where
from .operands import (
    Operand,
    as_node,
    broadcast_to,
    cast,
    constant,
    normal_axes,
    normal_axis,
    promoted,
)

# ---- making ----------------------------------------------------------------------------------------------------


def full(shape: int | Sequence[int], value: object, dtype: DType | str | type | None = None) -> Node:
    """A tensor of `shape` filled with one number (by default float32 for floats, int32 for ints, bool for
    bools). `value`: what every element is."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return broadcast_to(constant(value, dtype), shape)


def zeros(shape: int | Sequence[int], dtype: DType | str | type = float32) -> Node:
    """A tensor of zeros."""
    return full(shape, 0, dtype)


def ones(shape: int | Sequence[int], dtype: DType | str | type = float32) -> Node:
    """A tensor of ones."""
    return full(shape, 1, dtype)


def full_like(x: Operand, value: object, dtype: DType | str | type | None = None) -> Node:
    """A tensor filled with `value`, of the shape and (unless given) the element type of x."""
    x = as_node(x)
    return full(x.shape, value, x.dtype if dtype is None else dtype)


def zeros_like(x: Operand, dtype: DType | str | type | None = None) -> Node:
    """Zeros of the shape and element type of x."""
    return full_like(x, 0, dtype)


def ones_like(x: Operand, dtype: DType | str | type | None = None) -> Node:
    """Ones of the shape and element type of x."""
    return full_like(x, 1, dtype)


def iota(shape: Sequence[int], axis: int, dtype: DType | str | type = int32) -> Node:
    """The position along `axis`, repeated along the other axes of `shape`."""
    return apply(views.Iota(tuple(shape), normal_axis("iota", axis, len(shape)), as_dtype(dtype)))


def arange(
    start: int | float,
    stop: int | float | None = None,
    step: int | float = 1,
    dtype: DType | str | type | None = None,
) -> Node:
    """start, start + step, ... below stop; `arange(n)` is 0 .. n-1. int32 unless a bound is a float
    (float32)."""
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ArgumentError(
            "arange: the step must not be zero", expected="a step != 0", given=0, at=current_source()
        )
    if dtype is None:
        dtype = float32 if any(isinstance(v, float) for v in (start, stop, step)) else int32
    count = max(0, math.ceil((stop - start) / step))
    positions = iota((count,), 0, dtype)
    if step != 1:
        positions = mul(positions, constant(step, dtype))
    return positions if start == 0 else add(positions, constant(start, dtype))


def one_hot(
    indices: Operand,
    depth: int,
    on_value: Operand = 1,
    off_value: Operand = 0,
    axis: int = -1,
    dtype: DType | str | type = float32,
) -> Node:
    """`on_value` where the new axis of extent `depth` equals the index, `off_value` elsewhere (indices
    outside 0..depth-1: everywhere)."""
    indices = as_node(indices)
    if indices.dtype.is_integer and indices.dtype.size < 4:
        indices = cast(indices, int32)
    rank = len(indices.shape) + 1
    axis = normal_axis("one_hot", axis, rank)
    shape = (*indices.shape[:axis], depth, *indices.shape[axis:])
    hit = equal(iota(shape, axis, indices.dtype), expand_dims(indices, axis))
    return where(hit, cast(on_value, dtype), cast(off_value, dtype))


# ---- shape -----------------------------------------------------------------------------------------------------


def reshape(x: Operand, shape: int | Sequence[int]) -> Node:
    """The same elements under another shape; one extent may be -1 (computed from the others)."""
    x = as_node(x)
    target = [shape] if isinstance(shape, (int, np.integer)) else [int(extent) for extent in shape]
    if target.count(-1) > 1:
        raise ShapeError(
            "reshape: only one extent may be -1", expected="at most one -1", given=target, at=current_source()
        )
    if -1 in target:
        known = math.prod(extent for extent in target if extent != -1)
        if known <= 0 or x.type.size % known:
            raise ShapeError(
                "reshape: the number of elements must stay the same",
                expected=f"{x.type.size} elements, from {x.type.describe()}", given=f"{target} with a multiple of {known}",
                at=current_source(),
            )  # fmt: skip
        target[target.index(-1)] = x.type.size // known
    return x if tuple(target) == x.shape else apply(views.Reshape(tuple(target)), x)


def flatten(x: Operand, start_axis: int = 1, end_axis: int = -1) -> Node:
    """The axes start_axis..end_axis merged into one; by default everything but the batch axis. A vector or a
    number becomes a vector."""
    x = as_node(x)
    rank = len(x.shape)
    if rank <= 1:
        return reshape(x, (x.type.size,))
    start, end = normal_axis("flatten", start_axis, rank), normal_axis("flatten", end_axis, rank)
    if start > end:
        raise ShapeError(
            "flatten: start after end", expected="start_axis <= end_axis", given=(start_axis, end_axis)
        )
    return reshape(x, (*x.shape[:start], math.prod(x.shape[start : end + 1]), *x.shape[end + 1 :]))


def transpose(x: Operand, permutation: Sequence[int] | None = None) -> Node:
    """Axes reordered: output axis k is input axis permutation[k]; without a permutation all axes are turned
    around."""
    x = as_node(x)
    rank = len(x.shape)
    if permutation is None:
        permutation = range(rank - 1, -1, -1)
    order = tuple(normal_axis("transpose", axis, rank) for axis in permutation)
    return x if order == tuple(range(rank)) else apply(views.Transpose(order), x)


def swap_axes(x: Operand, first: int, second: int) -> Node:
    """Two axes exchanged. `first`, `second`: the axes."""
    x = as_node(x)
    order = list(range(len(x.shape)))
    a, b = (normal_axis("swap_axes", axis, len(order)) for axis in (first, second))
    order[a], order[b] = order[b], order[a]
    return transpose(x, order)


def swap_last_axes(x: Node) -> Node:
    """The transposed matrices of a stack of matrices."""
    return swap_axes(x, -1, -2)


def expand_dims(x: Operand, axis: int) -> Node:
    """A new axis of extent 1 at `axis` of the result."""
    x = as_node(x)
    axis = normal_axis("expand_dims", axis, len(x.shape) + 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


def squeeze(x: Operand, axis: int | Sequence[int] | None = None) -> Node:
    """Axes of extent 1 removed: the named ones, or all."""
    x = as_node(x)
    if axis is None:
        return reshape(x, [extent for extent in x.shape if extent != 1])
    axes = normal_axes("squeeze", axis, len(x.shape))
    if any(x.shape[k] != 1 for k in axes):
        raise ShapeError(
            "squeeze: only axes of extent 1 can be removed", expected=f"extent 1 on axes {axes}",
            given=x.type.describe(), at=current_source(),
        )  # fmt: skip
    return reshape(x, [extent for k, extent in enumerate(x.shape) if k not in axes])


def reverse(x: Operand, axes: int | Sequence[int]) -> Node:
    """The order of elements turned around along `axes`."""
    x = as_node(x)
    named = normal_axes("reverse", axes, len(x.shape))
    return apply(views.Reverse(named), x) if named else x


# ---- cutting and joining ---------------------------------------------------------------------------------------


def slice_static(
    x: Operand, start: Sequence[int], stop: Sequence[int], step: Sequence[int] | None = None
) -> Node:
    """x[start:stop:step] with one entry per axis, 0 <= start <= stop <= extent, step >= 1."""
    x = as_node(x)
    step = tuple(step) if step is not None else (1,) * len(x.shape)
    op = views.Slice(tuple(start), tuple(stop), step)
    whole = op == views.Slice((0,) * len(x.shape), x.shape, (1,) * len(x.shape))
    return x if whole else apply(op, x)


def pad_interior(
    x: Operand,
    low: Sequence[int],
    high: Sequence[int],
    interior: Sequence[int],
    value: float | int | bool = 0,
) -> Node:
    """x surrounded (low, high) and spread out (interior) with `value`; one entry per axis, all >= 0."""
    x = as_node(x)
    low, high, interior = tuple(low), tuple(high), tuple(interior)
    return apply(views.Pad(low, high, interior, value), x) if any(low + high + interior) else x


def pad(x: Operand, padding: Sequence[int] | Sequence[Sequence[int]], value: float | int | bool = 0) -> Node:
    """x surrounded by `value`. `padding` is one (before, after) pair per axis, or a flat tuple of pairs that
    starts at the last axis: (left, right, top, bottom, ...). Negative amounts cut."""
    x = as_node(x)
    rank = len(x.shape)
    pairs: list[tuple]
    if any(isinstance(entry, (list, tuple)) for entry in padding):
        pairs = [tuple(entry) for entry in padding]  # type: ignore[arg-type]
    else:
        if len(padding) % 2 or len(padding) > 2 * rank:
            raise ShapeError(
                "pad: a flat padding holds a pair for each of the last axes",
                expected=f"an even number of entries, at most {2 * rank}", given=tuple(padding), at=current_source(),
            )  # fmt: skip
        flat: list[tuple] = [(padding[k], padding[k + 1]) for k in range(0, len(padding), 2)]
        pairs = [(0, 0)] * (rank - len(flat)) + flat[::-1]
    if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        raise ShapeError(
            "pad: one (before, after) pair per axis",
            expected=f"{rank} pairs",
            given=padding,
            at=current_source(),
        )
    low, high = [p[0] for p in pairs], [p[1] for p in pairs]
    padded = pad_interior(x, [max(v, 0) for v in low], [max(v, 0) for v in high], [0] * rank, value)
    start = [max(-v, 0) for v in low]
    return slice_static(padded, start, [e - max(-v, 0) for e, v in zip(padded.shape, high)])


def concat(xs: Sequence[Operand], axis: int = 0) -> Node:
    """Tensors joined along an existing axis; element types are promoted."""
    if not xs:
        raise ArgumentError("concat: no tensors given", expected="at least one", at=current_source())
    nodes = promoted(*[as_node(x) for x in xs])
    axis = normal_axis("concat", axis, len(nodes[0].shape))
    return nodes[0] if len(nodes) == 1 else apply(views.Concat(axis), *nodes)


def stack(xs: Sequence[Operand], axis: int = 0) -> Node:
    """Tensors of one shape joined along a new axis."""
    nodes = [as_node(x) for x in xs]
    if nodes:
        axis = normal_axis("stack", axis, len(nodes[0].shape) + 1)
    for node in nodes:
        if node.shape != nodes[0].shape:
            raise ShapeError(
                "stack: all tensors need one shape", expected=nodes[0].type.describe(), given=node.type.describe(),
                at=current_source(),
            )  # fmt: skip
    return concat([expand_dims(node, axis) for node in nodes], axis)


def split(x: Operand, size_or_sections: int | Sequence[int], axis: int = 0) -> tuple[Node, ...]:
    """x cut along `axis` into pieces of one size (the last may be smaller) or of the given sizes."""
    x = as_node(x)
    axis = normal_axis("split", axis, len(x.shape))
    extent = x.shape[axis]
    if isinstance(size_or_sections, int):
        if size_or_sections < 1:
            raise ArgumentError(
                "split: the size must be positive",
                expected=">= 1",
                given=size_or_sections,
                at=current_source(),
            )
        sizes = [min(size_or_sections, extent - k) for k in range(0, extent, size_or_sections)]
    else:
        sizes = list(size_or_sections)
        if sum(sizes) != extent or any(size < 0 for size in sizes):
            raise ShapeError(
                "split: the sizes must add up to the axis", expected=extent, given=sizes, at=current_source()
            )
    pieces, offset = [], 0
    for size in sizes:
        start = [offset if k == axis else 0 for k in range(len(x.shape))]
        stop = [offset + size if k == axis else e for k, e in enumerate(x.shape)]
        pieces.append(slice_static(x, start, stop))
        offset += size
    return tuple(pieces)


# ---- picking by computed positions -----------------------------------------------------------------------------


def gather(x: Operand, indices: Operand, axis: int = 0) -> Node:
    """x taken along `axis` at integer `indices`, whose shape replaces that axis; positions outside are
    clamped."""
    x, indices = as_node(x), as_node(indices)
    return apply(views.Gather(normal_axis("gather", axis, len(x.shape))), x, indices)


def scatter_add(indices: Operand, updates: Operand, rows: int) -> Node:
    """Updates (indices.shape + rest) added up by index: (rows,) + rest; the transpose of `gather` on axis 0."""
    return apply(scatter.ScatterAdd(rows), as_node(indices), as_node(updates))


def wrap_negative(indices: Operand, extent: int) -> Node:
    """Positions counted from the end made positive: -1 is extent - 1. Unsigned indices stay as they are."""
    indices = as_node(indices)
    if indices.dtype.kind != "int":
        return indices
    if extent > np.iinfo(indices.dtype.numpy).max:
        indices = cast(indices, int32)
    return where(less(indices, 0), add(indices, extent), indices)
