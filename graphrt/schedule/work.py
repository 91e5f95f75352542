"""How much a step computes, and how many threads that is worth."""

from __future__ import annotations

from ..ir import Graph

# Below this many operations a step takes some tens of microseconds on one core, and barriers eat what a second one gains.
SINGLE_THREAD_FLOPS = 4_000_000


def total_flops(graph: Graph) -> int:
    """The arithmetic of one run of `graph`, by its ops' own counts."""
    return sum(n.op.flops(*(i.type for i in n.inputs)) for n in graph.nodes() if not n.is_input)


def useful_threads(graph: Graph, available: int) -> int:
    """`available`, or 1 for a step too small to gain from a second thread."""
    return 1 if total_flops(graph) < SINGLE_THREAD_FLOPS else available
