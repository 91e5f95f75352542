"""Emitters of the ops that move elements: broadcast, reshape, transpose, slice, pad, concat, reverse, iota, gather."""

from __future__ import annotations

import numpy as np

from ..dtypes import int64
from .emitters import aligned_value, emitter
from .symbolic import Extent, SymbolicNode
from .writer import Writer, tensor_type

_END = np.iinfo(np.int64).max


@emitter("broadcast")
def _broadcast(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("Expand", aligned_value(writer, node), writer.shape(node.shape))


@emitter("reshape")
def _reshape(writer: Writer, node: SymbolicNode) -> str:
    return writer.reshape(writer.value(node.inputs[0]), node.inputs[0].shape, node.shape)


@emitter("transpose")
def _transpose(writer: Writer, node: SymbolicNode) -> str:
    value, permutation = writer.value(node.inputs[0]), node.static("permutation")
    if node.rank < 2:  # onnx cannot tell the type of an empty list of axes
        return writer.emit("Identity", value)
    return writer.emit("Transpose", value, perm=list(permutation))


@emitter("copy")
def _copy(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("Identity", writer.value(node.inputs[0]))


@emitter("slice")
def _slice(writer: Writer, node: SymbolicNode) -> str:
    """Only the axes that lose elements are named; a stop at the end of an axis stays there at every batch size."""
    starts, stops, steps = (node.attributes[name] for name in ("start", "stop", "step"))
    axes, chosen = [], []
    for axis, extent in enumerate(node.inputs[0].shape):
        start, stop, step = starts[axis], stops[axis], steps[axis]
        if (start, stop, step) == (0, extent, 1):
            continue
        if isinstance(stop, Extent) and isinstance(extent, Extent) and stop.factor == extent.factor:
            stop = stop.offset - extent.offset or _END  # counted from the end
        if any(isinstance(value, Extent) for value in (start, stop, step)):
            (
                node.static("start"),
                node.static("stop"),
                node.static("step"),
            )  # raises, naming what follows the batch
        axes.append(axis)
        chosen.append((start, stop, step))
    value = writer.value(node.inputs[0])
    if not axes:
        return writer.emit("Identity", value)
    columns = [writer.integers(*column) for column in zip(*chosen)]
    return writer.emit("Slice", value, columns[0], columns[1], writer.integers(*axes), columns[2])


@emitter("reverse")
def _reverse(writer: Writer, node: SymbolicNode) -> str:
    axes = node.static("axes")
    value = writer.value(node.inputs[0])
    if not axes:
        return writer.emit("Identity", value)
    count = len(axes)
    backwards = [writer.integers(*[bound] * count) for bound in (-1, -_END)]
    return writer.emit("Slice", value, *backwards, writer.integers(*axes), writer.integers(*[-1] * count))


@emitter("pad")
def _pad(writer: Writer, node: SymbolicNode) -> str:
    low, high, interior = (node.static(name) for name in ("low", "high", "interior"))
    fill = writer.constant(node.static("value"), node.dtype.numpy)
    value, shape = writer.value(node.inputs[0]), list(node.inputs[0].shape)
    for axis, gap in enumerate(interior):
        if gap:
            value = _spread_axis(writer, node, value, shape, axis, gap, fill)
    if not any(low) and not any(high):
        return writer.emit("Identity", value)
    return writer.emit("Pad", value, writer.integers(*low, *high), fill, mode="constant")


def _spread_axis(
    writer: Writer, node: SymbolicNode, value: str, shape: list, axis: int, gap: int, fill: str
) -> str:
    """Puts `gap` fill elements between the elements of one axis: pad a new axis beside it, merge, cut the tail."""
    extent = shape[axis]
    if isinstance(extent, Extent):
        raise node.error("export: padding between the samples of a batch has no ONNX form")
    split = [*shape[: axis + 1], 1, *shape[axis + 1 :]]
    padded = [*shape[: axis + 1], 1 + gap, *shape[axis + 1 :]]
    merged = [*shape[:axis], extent * (1 + gap), *shape[axis + 1 :]]
    after = [0] * len(split)
    after[axis + 1] = gap
    value = writer.unsqueeze(value, [axis + 1])
    value = writer.emit("Pad", value, writer.integers(*[0] * len(split), *after), fill, mode="constant")
    value = writer.reshape(value, padded, merged)
    shape[axis] = max(extent + (extent - 1) * gap, 0)
    ends = [writer.integers(bound) for bound in (0, shape[axis], axis)]
    return writer.emit("Slice", value, *ends)


@emitter("concat")
def _concat(writer: Writer, node: SymbolicNode) -> str:
    return writer.emit("Concat", *map(writer.value, node.inputs), axis=node.static("axis"))


@emitter("iota")
def _iota(writer: Writer, node: SymbolicNode) -> str:
    axis, dtype = node.static("axis"), node.dtype
    extent = node.shape[axis]
    if isinstance(extent, Extent):
        scalar = writer.emit("Squeeze", writer.extent(extent), writer.integers(0))
        zero, one = (writer.constant(k, np.int64) for k in (0, 1))
        positions = writer.emit("Range", zero, scalar, one)
        positions = writer.emit("Cast", positions, to=tensor_type(dtype))
    else:
        positions = writer.constant(np.arange(extent).astype(dtype.numpy))
    after = node.rank - axis - 1
    positions = writer.unsqueeze(positions, range(1, after + 1))
    return writer.emit("Expand", positions, writer.shape(node.shape)) if node.rank > 1 else positions


@emitter("gather")
def _gather(writer: Writer, node: SymbolicNode) -> str:
    """Indices must be inside the axis: graphrt clamps those outside, ONNX forbids them."""
    values, indices = node.inputs
    name = writer.value(indices)
    if indices.dtype.name not in ("int32", "int64"):
        name = writer.emit("Cast", name, to=tensor_type(int64))
    return writer.emit("Gather", writer.value(values), name, axis=node.static("axis"))


@emitter("scatter_add")
def _scatter_add(writer: Writer, node: SymbolicNode) -> str:
    indices, updates = node.inputs
    positions = writer.emit("Cast", writer.value(indices), to=tensor_type(int64))
    positions = writer.unsqueeze(positions, [indices.rank])
    zeros = writer.emit("Expand", writer.constant(0, node.dtype.numpy), writer.shape(node.shape))
    return writer.emit("ScatterND", zeros, positions, writer.value(updates), reduction="add")
