"""Local rewrites that make the graph smaller or cheaper and leave every result bit for bit what it was.

    %3 = transpose(%0, permutation=(1, 0))
    %4 = transpose(%3, permutation=(1, 0))     ->     %6 = mul(%0, broadcast(0.25))
    %6 = div(%4, broadcast(4.0))

The rules stand in `simplify_arithmetic.py` and `simplify_views.py`, one function per op. Floating-point identities
that change a result are left out on purpose: x + 0.0 (turns -0.0 into 0.0), x * 0.0 (NaN), (x * a) * b. A pass must
not change the numbers of a training run.
"""

from __future__ import annotations

from ..ir import Graph, Node, Op, apply, rewrite
from . import simplify_arithmetic, simplify_views
from .fold_constants import fold

RULES = {**simplify_arithmetic.RULES, **simplify_views.RULES}


def simplify(graph: Graph) -> Graph:
    """`graph` after all rules, applied from the inputs to the outputs and on what they make, until none applies."""
    return rewrite(graph, lambda node, inputs: _simplest(node.with_inputs(inputs)))


def _make(op: Op, *inputs: Node) -> Node:
    """What rules call to make nodes, so that those are simple from the start."""
    return _simplest(apply(op, *inputs))


def _simplest(node: Node) -> Node:
    while True:
        replacement = None
        if (rule := RULES.get(type(node.op))) is not None:
            replacement = rule(node, _make)
        replacement = replacement or simplify_arithmetic.below_broadcast(node, _make) or fold(node)
        if replacement is None:
            return node
        node = replacement
