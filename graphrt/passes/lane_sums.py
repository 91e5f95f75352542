"""Weight gradients of large convolutions are summed per lane of samples first, and over the lanes once at the end.

    before:  %2 = conv2d_backward_weight(%0, %1) : f32[16,16,3,3]
    after:   %2 = conv2d_backward_weight_lanes(%0, %1, lanes=16) : f32[16,16,3,3,16]
             %3 = reduce_sum(%2, axes=(4,)) : f32[16,16,3,3]

With samples in vector lanes every product is a whole vector. The operands pass through the cache block by block, and
a block adds to every result: adding vectors to vectors in memory costs far less than folding each to one number.
"""

from __future__ import annotations

from dataclasses import fields

from ..ir import Graph, Node, apply, rewrite
from ..ops.contractions import Conv2dBackwardWeight
from ..ops.lane_sums import Conv2dBackwardWeightLanes
from ..ops.reductions import ReduceSum

LARGE_OPERANDS = (
    1 << 20
)  # bytes: below, the operands stay in a core's cache and one fold per result is enough


def lane_sums(graph: Graph, lanes: int) -> Graph:
    """Splits the weight gradients whose operands exceed the cache, for batches of a multiple of `lanes` (0: none)."""
    return rewrite(graph, lambda node, inputs: _rule(node, inputs, lanes))


def _rule(node: Node, inputs: tuple[Node, ...], lanes: int) -> Node | None:
    op = node.op
    if not isinstance(op, Conv2dBackwardWeight) or not lanes or node.dtype.size < 4:
        return None
    if inputs[0].shape[0] % lanes or sum(i.type.bytes for i in inputs) <= LARGE_OPERANDS:
        return None
    settings = {field.name: getattr(op, field.name) for field in fields(op)}
    parts = apply(Conv2dBackwardWeightLanes(lanes, **settings), *inputs)
    return apply(ReduceSum((4,)), parts)
