"""Composite ops become smaller ops, until only primitive ones are left.

%1 = reduce_mean(%0, axes=(1,), keepdims=False)   ->   %1 = reduce_sum(%0, axes=(1,), keepdims=False)
                                                       %4 = div(%1, broadcast(10.0))
"""

from __future__ import annotations

from ..errors import VerifyError
from ..ir import Graph, Node, rewrite
from ..ops.base import CompositeOp

MAX_DEPTH = 100  # composites inside composites; more means that an op expands to itself


def expand_composites(graph: Graph) -> Graph:
    """`graph` without CompositeOp nodes. The new nodes carry the source of the composite they came from."""
    for _ in range(MAX_DEPTH):
        if not any(isinstance(node.op, CompositeOp) for node in graph.nodes()):
            return graph
        graph = rewrite(graph, _expand)
    left = next(node for node in graph.nodes() if isinstance(node.op, CompositeOp))
    raise VerifyError(f"{left.op.name} expands to itself", at=left.source)


def _expand(node: Node, inputs: tuple[Node, ...]) -> Node | None:
    return node.op.expand(*inputs) if isinstance(node.op, CompositeOp) else None
