"""Nodes that compute the same thing become one (hash-consing).

    %2 = exp(%0)                           %2 = exp(%0)
    %3 = exp(%0)               ->          %4 = mul(%2, %2)
    %4 = mul(%2, %3)

Same means: the same op with bitwise the same attributes, the same operands (in either order where the op does not
care) and the same type. The source of the first one is kept. Two RandomBits of one key are equal by definition, and
so they merge too.
"""

from __future__ import annotations

from typing import Any

from ..ir import Graph, Node, Op, rewrite
from ..ops import elementwise as e

COMMUTATIVE: tuple[type[Op], ...] = (
    e.Add, e.Mul, e.Equal, e.NotEqual, e.LogicalAnd, e.LogicalOr, e.LogicalXor, e.BitwiseAnd, e.BitwiseOr,
    e.BitwiseXor, e.MultiplyHigh,
)  # fmt: skip


def merge_duplicates(graph: Graph) -> Graph:
    """`graph` in which no two nodes compute the same value in the same way."""
    first: dict[tuple[Any, ...], Node] = {}
    number: dict[Node, int] = {node: k for k, node in enumerate(graph.inputs)}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node:
        operands = [number[i] for i in inputs]
        if isinstance(node.op, COMMUTATIVE):
            operands.sort()
        kept = first.setdefault((node.op.key(), *operands, node.type), node.with_inputs(inputs))
        number.setdefault(kept, len(number))
        return kept

    return rewrite(graph, rule)
