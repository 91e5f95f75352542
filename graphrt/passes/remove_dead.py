"""State that nobody reads or changes leaves the graph.

    %1 = input(label="unused", kind="state")   ->   (gone)
    update %2 = %2                             ->   (gone)

Nodes without a reader need no pass: a graph is what its outputs and updates reach. Data inputs stay even when unread,
because the caller passes them by position.
"""

from __future__ import annotations

from ..ir import Graph, topological_order


def remove_dead(graph: Graph) -> Graph:
    """`graph` without updates of a state to itself, and without states that are neither read nor updated."""
    updates = {state: value for state, value in graph.updates.items() if value is not state}
    used = set(topological_order((*graph.outputs, *updates.values()))) | set(updates)
    inputs = tuple(n for n in graph.inputs if n in used or not n.is_state)
    return Graph(inputs, graph.outputs, updates, graph.name)
