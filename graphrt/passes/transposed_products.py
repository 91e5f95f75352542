"""A transposed matrix product is the product of the transposed operands in reverse order.

    before:  %2 = matmul(%0, %1) : f32[400,120]
             %3 = transpose(%2, permutation=(1, 0)) : f32[120,400]
    after:   %3 = transpose(%1), %4 = transpose(%0), %5 = matmul(%3, %4) : f32[120,400]

Weight gradients then come out in the weight's own layout, where the optimizer's update can join the product's epilogue.
"""

from __future__ import annotations

from ..ir import Graph, Node, apply, rewrite
from ..ops.contractions import MatMul
from ..ops.views import Transpose


def transposed_products(graph: Graph) -> Graph:
    """Rewrites transpose(matmul(x, y)) where the product has no other reader."""
    users = graph.users()
    roots = set(graph.roots)
    single = {n for n, readers in users.items() if len(readers) == 1 and n not in roots}
    chosen = {
        node
        for node in users
        if isinstance(node.op, Transpose) and _swaps_last(node.op.permutation) and node.inputs[0] in single
        and isinstance(node.inputs[0].op, MatMul)
    }  # fmt: skip

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        if node not in chosen:
            return None
        x, y = inputs[0].inputs
        return apply(MatMul(), swap_last(y), swap_last(x))

    return rewrite(graph, rule)


def _swaps_last(permutation: tuple[int, ...]) -> bool:
    rank = len(permutation)
    return rank >= 2 and permutation == (*range(rank - 2), rank - 1, rank - 2)


def swap_last(node: Node) -> Node:
    """The node with its last two axes exchanged; a transpose of a transpose disappears."""
    rank = node.type.rank
    if isinstance(node.op, Transpose) and _swaps_last(node.op.permutation):
        return node.inputs[0]
    return apply(Transpose((*range(rank - 2), rank - 1, rank - 2)), node)
