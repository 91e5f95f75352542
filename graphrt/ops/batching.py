"""Batching: a graph for one sample becomes the graph for many samples at once; what batching rules are made of.

    %2 = matmul(%0, %1)     f32[3,5]          %4 = reshape(%3, shape=(12, 4))      %0 of all samples, f32[4,3,4]
    %3 = reduce_sum(%2, axes=(0,))     ->     %5 = matmul(%4, %1)                  %1 is one for all
                                              %6 = reshape(%5, shape=(4, 3, 5))
                                              %7 = reduce_sum(%6, axes=(1,))

A batching rule, `op.batch(size, x, batched)`, gets operands of which some (`batched`) have one more axis in front, of
extent `size`, and returns the op's results for all samples, stacked along an axis in front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import VerifyError
from ..ir import Node, Op, TensorType, apply, source_scope, topological_order
from .deferred import build


def batch_nodes(
    outputs: Sequence[Node],
    size: int,
    batched: Mapping[Node, Node],
    replaced: Mapping[Node, Node] | None = None,
) -> list[Node]:
    """`outputs` for all samples at once; those that do not depend on a batched node stay without the axis in front.

    `batched`: for some nodes below `outputs`, the node that holds all samples along a new axis in front; `replaced`:
    nodes for which another one of the same type is taken. Every new node carries the source of the one it stands for.
    """
    new: dict[Node, Node] = {**(replaced or {}), **batched}
    has_axis: set[Node] = set(batched)
    for node in topological_order(outputs):
        if node in new:
            continue
        inputs = tuple(new[i] for i in node.inputs)
        flags = [i in has_axis for i in node.inputs]
        if not any(flags):
            new[node] = node.with_inputs(inputs)
            continue
        with source_scope(node.source):
            new[node] = node.op.batch(size, inputs, flags)
        has_axis.add(node)
        expected = TensorType((size, *node.shape), node.dtype)
        if new[node].type != expected:
            raise VerifyError(
                f"{node.op.name}: the batching rule gave a result of another type", at=node.source,
                expected=expected.describe(), given=new[node].type.describe(),
            )  # fmt: skip
    return [new[n] for n in outputs]


def spread(x: Node, size: int) -> Node:
    """x repeated along a new axis in front."""
    return build.broadcast_to(x, (size, *x.shape))


def everywhere(size: int, x: Sequence[Node], batched: Sequence[bool]) -> list[Node]:
    """The operands, all of them with the axis in front."""
    return [node if has else spread(node, size) for node, has in zip(x, batched)]


def move_axis(x: Node, source: int, target: int) -> Node:
    """x with one axis in another place."""
    order = [axis for axis in range(len(x.shape)) if axis != source]
    order.insert(target, source)
    return build.transpose(x, order)


def merge_into(x: Node, axis: int) -> Node:
    """(B, ..., n, ...) -> (..., B * n, ...): the axis in front becomes the slow part of axis `axis` of a sample."""
    moved = move_axis(x, 0, axis)
    shape = moved.shape
    return build.reshape(moved, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))


def split_from(y: Node, axis: int, size: int) -> Node:
    """The inverse of `merge_into`."""
    shape = (*y.shape[:axis], size, y.shape[axis] // size, *y.shape[axis + 1 :])
    return move_axis(build.reshape(y, shape), axis, 0)


def shifted_rows(indices: Node, rows: int) -> Node:
    """Indices (B, ...) into tables of `rows` rows as int32 indices into the B tables put one after the other.

    They are clamped into their own table first, as the ops do with those outside.
    """
    low = build.constant(0, indices.dtype)
    clamped = build.maximum(indices, low)
    if build.fits(rows - 1, indices.dtype):
        clamped = build.minimum(clamped, build.constant(rows - 1, indices.dtype))
    start = build.mul(build.iota(indices.shape, 0, "int32"), rows)
    return build.add(build.cast(clamped, "int32"), start)


def one_by_one(op: Op, size: int, x: Sequence[Node], batched: Sequence[bool]) -> Node:
    """The batching rule of ops made after batching is done, which hardly anybody will batch: sample by sample."""
    results = []
    for k in range(size):
        operands = [build.getitem(node, k) if has else node for node, has in zip(x, batched)]
        result = apply(op, *operands)
        results.append(build.reshape(result, (1, *result.shape)))
    return build.concat(results, 0)
