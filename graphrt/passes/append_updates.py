"""A loss graph becomes a training step: gradients of the loss, and the optimizer's updates of state.

graph "loss"                          graph "loss"
%0 = input(label="w", kind="state")   %0 = input(label="w", kind="state")
...                             ->    ...
return %9                             return %9
                                      update %0 = %23      (w - 0.1 * gradient)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import ArgumentError
from ..ir import Graph, Node, topological_order
from .differentiate import gradients

Optimizer = Callable[[Sequence[Node], Sequence[Node]], Mapping[Node, Node]]


def append_updates(graph: Graph, parameters: Sequence[Node], optimizer: Optimizer) -> Graph:
    """`graph` with the updates that `optimizer(parameters, gradients) -> {state: next value}` asks for.

    The loss is `graph.outputs[0]` (a vector of losses counts as its sum); the other outputs are left alone. State
    inputs that the optimizer made (moments, counters) are added to the graph's inputs in the order of the updates.

    Raises ArgumentError for a graph without outputs, or a state that would be updated twice.
    """
    if not graph.outputs:
        raise ArgumentError("append_updates: the graph has no output to minimise")
    updates = dict(optimizer(parameters, gradients(graph.outputs[:1], parameters)))
    for state in updates:
        if state in graph.updates:
            label = state.op.label  # type: ignore[attr-defined]
            raise ArgumentError(f"append_updates: {label!r} is already updated by the graph", at=state.source)
    # dict: an ordered set
    made = dict.fromkeys([*updates, *(n for n in topological_order(updates.values()) if n.is_input)])
    inputs = graph.inputs + tuple(n for n in made if n not in set(graph.inputs))
    return Graph(inputs, graph.outputs, {**graph.updates, **updates}, graph.name)
