"""Further functions of `graphrt.ops` that cut, join, index, make and order tensors, composed of those in
`functional.py`.

In: Tensors, Parameters, numbers, arrays. Out: Tensors. Shapes are static: extents and positions are Python ints.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError, ShapeError
from ..ops.operands import limits, lowest
from . import functional as base
from .location import user_source
from .tensor import Tensor

BLOCK = 32  # elements of a running sum that are added up directly; above, sums of blocks are
SWEEPS = 8  # comparisons per element that picking one extreme is worth


def _axis(name: str, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ShapeError(
            f"{name}: axis out of range", at=user_source(), expected=f"{-rank} to {rank - 1}", given=axis
        )
    return axis % rank


# ------------------------------------------------------------------------------------- cutting and joining


def chunk(input: Any, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """At most `chunks` pieces of equal size along `axis`, the last one smaller if need be."""
    if chunks < 1:
        raise ArgumentError("chunk: at least one piece", at=user_source(), expected=">= 1", given=chunks)
    return base.split(input, max(1, -(-input.shape[axis] // chunks)), axis)


def unbind(input: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """The slices along `dim`, without that axis."""
    return tuple(base.squeeze(piece, dim) for piece in base.split(input, 1, dim))


def unstack(input_x: Any, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along `axis`, without that axis; the inverse of `stack`."""
    return unbind(input_x, axis)


def narrow(input: Any, axis: int, start: int, length: int) -> Tensor:
    """`length` elements from `start` on along `axis`."""
    index: list[Any] = [slice(None)] * input.ndim
    index[_axis("narrow", axis, input.ndim)] = slice(start, start + length)
    return base.getitem(input, tuple(index))


def strided_slice(
    input_x: Any, begin: Sequence[int], end: Sequence[int], strides: Sequence[int] | None = None
) -> Tensor:
    """input_x[begin:end:strides] with one entry per axis, as NumPy means it."""
    steps = [1] * len(begin) if strides is None else strides
    return base.getitem(input_x, tuple(slice(*bounds) for bounds in zip(begin, end, steps)))


def tile(input: Any, dims: Sequence[int] | int) -> Tensor:
    """input repeated dims[k] times along axis k, counted from the last."""
    given = (dims,) if isinstance(dims, int) else tuple(dims)
    counts = (1,) * (input.ndim - len(given)) + given
    shape = (1,) * (len(counts) - input.ndim) + tuple(input.shape)
    x = base.reshape(input, [e for extent in shape for e in (1, extent)])
    x = base.broadcast_to(x, [e for count, extent in zip(counts, shape) for e in (count, extent)])
    return base.reshape(x, [count * extent for count, extent in zip(counts, shape)])


def repeat_interleave(input: Any, repeats: int, axis: int | None = None) -> Tensor:
    """Every element (of the flattened input without `axis`) repeated `repeats` times in place."""
    x = base.reshape(input, (-1,)) if axis is None else input
    axis = _axis("repeat_interleave", 0 if axis is None else axis, x.ndim)
    shape = tuple(x.shape)
    x = base.reshape(x, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    x = base.broadcast_to(x, (*shape[: axis + 1], repeats, *shape[axis + 1 :]))
    return base.reshape(x, (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :]))


def roll(input: Any, shifts: int | Sequence[int], dims: int | Sequence[int] | None = None) -> Tensor:
    """Elements moved by `shifts` along `dims` (of the flattened input without), those at the end to the start."""
    if dims is None:
        return base.reshape(roll(base.reshape(input, (-1,)), shifts, 0), input.shape)
    amounts = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = (dims,) if isinstance(dims, int) else tuple(dims)
    x = input
    for amount, axis in zip(amounts, axes, strict=True):
        extent = x.shape[axis]
        cut = extent - amount % extent if extent else 0
        if cut != extent:
            x = base.concat([narrow(x, axis, cut, extent - cut), narrow(x, axis, 0, cut)], axis)
    return x


def movedim(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Axes `source` put at the places `destination`; the others keep their order."""
    sources = [_axis("movedim", a, x.ndim) for a in ([source] if isinstance(source, int) else source)]
    targets = [
        _axis("movedim", a, x.ndim) for a in ([destination] if isinstance(destination, int) else destination)
    ]
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for target, axis in sorted(zip(targets, sources)):
        order.insert(target, axis)
    return base.transpose(x, order)


moveaxis = movedim


def hstack(tensors: Sequence[Any]) -> Tensor:
    """Tensors joined along axis 1, vectors along their only axis."""
    return base.concat(tensors, 0 if tensors[0].ndim == 1 else 1)


def vstack(inputs: Sequence[Any]) -> Tensor:
    """Tensors joined along axis 0, vectors as rows."""
    return base.concat([base.expand_dims(x, 0) if x.ndim == 1 else x for x in inputs], 0)


def ravel(input: Any) -> Tensor:
    """All elements along one axis."""
    return base.reshape(input, (-1,))


def meshgrid(*inputs: Any, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Vectors repeated over the grid they span; indexing "xy" exchanges the first two axes, "ij" does not."""
    if indexing not in ("xy", "ij"):
        raise ArgumentError(
            "meshgrid: unknown indexing", at=user_source(), expected="'xy' or 'ij'", given=repr(indexing)
        )
    shape = [x.shape[0] for x in inputs]
    grids = []
    for k, x in enumerate(inputs):
        aligned = base.reshape(x, [x.shape[0] if axis == k else 1 for axis in range(len(inputs))])
        grid = base.broadcast_to(aligned, shape)
        grids.append(base.swapaxes(grid, 0, 1) if indexing == "xy" and len(inputs) > 1 else grid)
    return tuple(grids)


# ------------------------------------------------------------------------------------------------- making


def eye(n: int, m: int | None = None, dtype: Any = "float32") -> Tensor:
    """The (n, m) matrix with ones on the diagonal."""
    return base.one_hot(base.arange(n), n if m is None else m, dtype=dtype)


def linspace(start: float, end: float, steps: int) -> Tensor:
    """`steps` numbers from start to end at equal distances, both included."""
    if steps < 2:
        return base.full((max(steps, 0),), float(start))
    return base.add(base.mul(base.arange(steps, dtype="float32"), (end - start) / (steps - 1)), float(start))


def _band(input: Any, diagonal: int, lower: bool) -> Tensor:
    rows, columns = input.shape[-2:]
    row = base.expand_dims(base.arange(rows), 1)
    column = base.expand_dims(base.arange(columns), 0)
    offset = base.sub(column, row)
    seen = base.less_equal(offset, diagonal) if lower else base.greater_equal(offset, diagonal)
    return base.where(seen, input, base.zeros((), input.dtype))


def tril(input: Any, diagonal: int = 0) -> Tensor:
    """The matrices (..., M, N) with zeros above the given diagonal."""
    return _band(input, diagonal, lower=True)


def triu(input: Any, diagonal: int = 0) -> Tensor:
    """The matrices (..., M, N) with zeros below the given diagonal."""
    return _band(input, diagonal, lower=False)


def diag(input: Any) -> Tensor:
    """The diagonal matrix of a vector, or the diagonal of a matrix."""
    if input.ndim == 1:
        n = input.shape[0]
        return base.where(eye(n, dtype="bool"), base.expand_dims(input, 0), base.zeros((), input.dtype))
    rows, columns = input.shape
    positions = base.mul(base.arange(min(rows, columns)), columns + 1)
    return base.gather(base.reshape(input, (-1,)), positions, 0)


def trace(input: Any) -> Tensor:
    """The sum of the diagonal of a matrix."""
    return base.reduce_sum(diag(input))


# ----------------------------------------------------------------------------------------------- indexing


def index_select(input: Any, axis: int, index: Any) -> Tensor:
    """The slices of input along `axis` at the positions `index` (a vector)."""
    return base.gather(input, index, axis)


def embedding(input: Any, weight: Any) -> Tensor:
    """The rows of `weight` (entries, features) named by the integers of `input`: input.shape + (features,)."""
    return base.gather(weight, input, 0)


def gather_elements(input: Any, dim: int, index: Any) -> Tensor:
    """result[i][j] = input[index[i][j]][j] for dim 0, and so on for other axes and ranks. The result has the shape of
    `index`, whose other extents are at most those of input; negative positions count from the end."""
    index = index if isinstance(index, Tensor) else Tensor(index)
    dim = _axis("gather_elements", dim, input.ndim)
    fits = index.ndim == input.ndim and all(
        axis == dim or own <= extent for axis, (own, extent) in enumerate(zip(index.shape, input.shape))
    )
    if not fits:
        raise ShapeError(
            "gather_elements: index does not fit the input", at=user_source(),
            expected=f"{input.ndim} axes, none longer than {list(input.shape)} but axis {dim}", given=list(index.shape),
        )  # fmt: skip
    strides = [math.prod(input.shape[axis + 1 :]) for axis in range(input.ndim)]
    chosen = base.cast(index, "int32")
    if index.dtype.kind == "int":
        chosen = base.where(base.less(chosen, 0), base.add(chosen, input.shape[dim]), chosen)
    position = base.mul(chosen, strides[dim])
    for axis, stride in enumerate(strides):
        if axis != dim and index.shape[axis] > 1:
            own = [index.shape[axis] if k == axis else 1 for k in range(index.ndim)]
            position = base.add(position, base.mul(base.reshape(base.arange(own[axis]), own), stride))
    return base.gather(base.reshape(input, (-1,)), position, 0)


def gather_d(x: Any, dim: int, index: Any) -> Tensor:
    """The same as `gather_elements`."""
    return gather_elements(x, dim, index)


def gather_nd(input_x: Any, indices: Any) -> Tensor:
    """input_x at the positions `indices` (..., K), which name the first K axes: indices.shape[:-1] + the other axes."""
    count = indices.shape[-1]
    shape = tuple(input_x.shape)
    position: Any = 0
    for k in range(count):
        part = base.reshape(narrow(indices, -1, k, 1), indices.shape[:-1])
        position = base.add(base.mul(position, shape[k]), part) if k else part
    return base.gather(base.reshape(input_x, (math.prod(shape[:count]), *shape[count:])), position, 0)


def masked_fill(input_x: Any, mask: Any, value: Any) -> Tensor:
    """`value` where mask holds, else input_x; the element type is that of input_x."""
    value = base.cast(value, input_x.dtype) if isinstance(value, Tensor) else value
    return base.cast(base.where(mask, value, input_x), input_x.dtype)


def unsorted_segment_sum(input_x: Any, segment_ids: Any, num_segments: int) -> Tensor:
    """The sums of the rows of input_x (segment_ids.shape + rest) that share a segment: (num_segments,) + rest."""
    return base._scatter_add(segment_ids, input_x, num_segments)


# -------------------------------------------------------------------------------------- running sums, order


def cumsum(x: Any, axis: int, dtype: Any = None) -> Tensor:
    """The sums of the elements up to each position along `axis`, in blocks of 32; `dtype`: to sum in another type."""
    x = x if dtype is None else base.cast(x, dtype)
    axis = _axis("cumsum", axis, x.ndim)
    return movedim(_running(movedim(x, axis, -1), base.reduce_sum, base.add, 0), -1, axis)


def cumprod(input: Any, dim: int, dtype: Any = None) -> Tensor:
    """The products of the elements up to each position along `dim`; `dtype`: to multiply in another type. The gradient
    is right for zeros too."""
    x = input if dtype is None else base.cast(input, dtype)
    dim = _axis("cumprod", dim, x.ndim)
    return movedim(_running(movedim(x, dim, -1), base.reduce_prod, base.mul, 1), -1, dim)


def _running(
    x: Tensor, reduced: Callable[..., Tensor], combined: Callable[..., Tensor], neutral: int
) -> Tensor:
    """Along the last axis, each element combined with all before it: blocks first, then what is before each block."""
    extent = x.shape[-1]
    if extent <= BLOCK:
        before = base.greater_equal(base.expand_dims(base.arange(extent), 1), base.arange(extent))
        return reduced(base.where(before, base.expand_dims(x, -2), base.full((), neutral, x.dtype)), -1)
    blocks = -(-extent // BLOCK)
    padded = base.pad(x, (0, blocks * BLOCK - extent), value=neutral) if extent % BLOCK else x
    inner = _running(base.reshape(padded, (*x.shape[:-1], blocks, BLOCK)), reduced, combined, neutral)
    totals = base.reshape(narrow(inner, -1, BLOCK - 1, 1), inner.shape[:-1])
    ends = narrow(_running(totals, reduced, combined, neutral), -1, 0, blocks - 1)
    earlier = base.pad(ends, (1, 0), value=neutral)
    result = base.reshape(combined(inner, base.expand_dims(earlier, -1)), padded.shape)
    return narrow(result, -1, 0, extent) if extent % BLOCK else result


def _order(x: Tensor, count: int, descending: bool) -> Tensor:
    """The positions (..., count) of the first elements of x (..., n) in order; equal ones stay in order, NaN counts as
    the largest. Every pair is compared: n * n work without branches."""
    extent = x.shape[-1]
    own, other = base.expand_dims(x, -1), base.expand_dims(x, -2)
    position = base.arange(extent)
    earlier = base.less(position, base.expand_dims(position, 1))  # the other stands before this one
    ahead = base.greater(other, own) if descending else base.less(other, own)
    same = base.logical_not(base.logical_or(base.less(other, own), base.greater(other, own)))
    if x.dtype.is_float:
        own_nan, other_nan = base.isnan(own), base.isnan(other)
        one_nan, other_only = base.logical_xor(own_nan, other_nan), other_nan if descending else own_nan
        ahead = base.logical_or(ahead, base.logical_and(one_nan, other_only))
        same = base.logical_and(same, base.logical_not(one_nan))
    rank = base.reduce_sum(base.cast(base.logical_or(ahead, base.logical_and(same, earlier)), "int32"), -1)
    hit = base.equal(base.expand_dims(rank, -2), base.expand_dims(base.arange(count), 1))
    return base.reduce_sum(base.where(hit, position, 0), -1)


def _picked(x: Tensor, count: int, descending: bool) -> Tensor:
    """The same positions as `_order`, one after the other: the first of the extremes among what is left."""
    extent = x.shape[-1]
    position = base.arange(extent)
    left = base.full(x.shape, True)
    nan = base.isnan(x) if x.dtype.is_float else None
    outermost = lowest(x.dtype) if descending else limits(x.dtype)[1]
    found = []
    for _ in range(count):
        proper = left if nan is None else base.logical_and(left, base.logical_not(nan))
        candidates = base.where(proper, x, base.full((), outermost, x.dtype))
        best = base.amax(candidates, -1, True) if descending else base.amin(candidates, -1, True)
        hit = base.logical_and(proper, base.equal(x, best))
        if nan is not None:  # the largest of all: taken first, or when nothing else is left
            preferred, other = (base.logical_and(left, nan), hit) if descending else (hit, left)
            exists = base.greater(base.amax(base.cast(preferred, "int32"), -1, True), 0)
            hit = base.where(exists, preferred, other)
        chosen = base.amin(base.where(hit, position, extent - 1), -1, True)
        left = base.logical_and(left, base.not_equal(position, chosen))
        found.append(chosen)
    return base.concat(found, -1)


def topk(
    input: Any, k: int, dim: int | None = None, largest: bool = True, sorted: bool = True
) -> tuple[Tensor, Tensor]:
    """`(values, positions)` of the k largest (or smallest) elements along `dim` (the last by default), in order; of
    equal ones the first. Compares every pair: right for axes of up to some thousand elements. `sorted` is
    accepted: the result always is."""
    axis = _axis("topk", -1 if dim is None else dim, input.ndim)
    extent = input.shape[axis]
    if not 0 <= k <= extent:
        raise ArgumentError(
            "topk: k must be within the axis", at=user_source(), expected=f"0 to {extent}", given=k
        )
    last = movedim(input, axis, -1)
    few = 0 < k * SWEEPS <= extent
    positions = (_picked if few else _order)(last, k, largest)
    values = gather_elements(last, -1, positions)
    return movedim(values, -1, axis), movedim(positions, -1, axis)


def sort(input: Any, axis: int = -1, descending: bool = False) -> tuple[Tensor, Tensor]:
    """`(values, positions)`: the elements along `axis` in order, and where each came from; see `topk`.
    `descending`: the largest first."""
    return topk(input, input.shape[axis], axis, largest=descending)


def argsort(input: Any, axis: int = -1, descending: bool = False) -> Tensor:
    """The positions that put the elements along `axis` in order. `descending`: the largest first."""
    return sort(input, axis, descending)[1]


def median(input: Any, axis: int = -1, keepdims: bool = False) -> tuple[Tensor, Tensor]:
    """`(values, positions)` of the middle elements along `axis`, the lower of the two for even extents; with `keepdims`
    the axis stays, of extent 1. NaN counts as the largest."""
    axis = _axis("median", axis, input.ndim)
    if input.shape[axis] == 0:
        raise ShapeError("median: the axis is empty", at=user_source(), given=list(input.shape))
    middle = (input.shape[axis] - 1) // 2
    values, positions = (narrow(x, axis, middle, 1) for x in topk(input, middle + 1, axis, largest=False))
    return (values, positions) if keepdims else (base.squeeze(values, axis), base.squeeze(positions, axis))


__all__ = [
    "argsort", "chunk", "cumprod", "cumsum", "diag", "embedding", "eye", "gather_d", "gather_elements", "gather_nd",
    "hstack", "index_select", "linspace", "masked_fill", "median", "meshgrid", "moveaxis", "movedim", "narrow", "ravel",
    "repeat_interleave", "roll", "sort", "strided_slice", "tile", "topk", "trace", "tril", "triu", "unbind",
    "unsorted_segment_sum", "unstack", "vstack",
]  # fmt: skip
