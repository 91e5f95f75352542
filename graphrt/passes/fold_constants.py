"""Nodes computed from constants alone become constants.

    %0 = constant(value=f32[](0.1))
    %1 = constant(value=f32[](3.0))     ->    %2 = constant(value=f32[](0.3))
    %2 = mul(%0, %1)

Only small results of little work are folded, and Broadcast and Iota never: a kernel computes their elements for
nothing, a folded array would have to be stored and read. State is not constant, and is never folded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..ir import Graph, Literal, Node, apply, rewrite
from ..ops.base import CompositeOp, Elementwise
from ..ops.views import Broadcast, Constant

MAX_BYTES = 64 * 1024
MAX_WORK = 10_000_000  # arithmetic operations, and elements read


def fold_constants(graph: Graph) -> Graph:
    """`graph` with every node computed whose operands are constants, or broadcasts of constants, and whose result is
    at most 64 KiB."""
    return rewrite(graph, lambda node, inputs: fold(node.with_inputs(inputs)))


def fold(node: Node) -> Node | None:
    """The constant that `node` computes, or None if it should stay."""
    operands = [_constant_array(operand) for operand in node.inputs]
    if not operands or any(operand is None for operand in operands):
        return None
    if isinstance(node.op, (Broadcast, CompositeOp)) or node.type.bytes > MAX_BYTES:
        return None
    if isinstance(node.op, Elementwise) and all(isinstance(x.op, Broadcast) for x in node.inputs):
        return None  # better computed before the broadcast, see simplify_arithmetic.below_broadcast
    types = [operand.type for operand in node.inputs]
    if max(node.op.flops(*types), *(type.size for type in types)) > MAX_WORK:
        return None
    with np.errstate(all="ignore"):
        return apply(Constant(Literal(node.op.evaluate(*operands))))  # type: ignore[arg-type]


def _constant_array(node: Node) -> Any:
    """The array of a constant, or a strided view of it for a broadcast constant; None for anything else."""
    op = node.op
    if isinstance(op, Constant):
        return op.value.array
    if isinstance(op, Broadcast) and isinstance(node.inputs[0].op, Constant):
        return op.evaluate(node.inputs[0].op.value.array)
    return None
