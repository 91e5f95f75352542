"""The reference interpreter: runs a graph op by op with each op's NumPy rule.

It is the oracle for native code, the engine of eager mode and of constant folding; never the training engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import GraphrtError
from .graph import Graph
from .node import Node, topological_order


def evaluate(roots: Sequence[Node], values: Mapping[Node, np.ndarray]) -> list[np.ndarray]:
    """The arrays of `roots`, given the arrays of the Input nodes they need."""
    environment: dict[Node, np.ndarray] = dict(values)
    for node in topological_order(roots):
        if node in environment:
            continue
        if node.is_input:
            raise GraphrtError(f"interpreter: no value given for input {node.op.label!r}", at=node.source)  # type: ignore[attr-defined]
        result = np.asarray(node.op.evaluate(*(environment[i] for i in node.inputs)))
        if tuple(result.shape) != node.shape or result.dtype != node.dtype.numpy:
            raise GraphrtError(
                f"interpreter: {node.op.name} returned a value of another type",
                at=node.source, expected=node.type.describe(), given=f"{result.dtype}{list(result.shape)}",
            )  # fmt: skip
        environment[node] = result
    return [environment[r] for r in roots]


def interpret(
    graph: Graph, values: Mapping[str, np.ndarray] | Sequence[np.ndarray]
) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
    """Run `graph` on arrays given by input label, or in the order of `graph.inputs`.

    Returns the outputs and the new values of the updated states by label.
    """
    if not isinstance(values, Mapping):
        values = {n.op.label: v for n, v in zip(graph.inputs, values)}  # type: ignore[attr-defined]
    bound = {n: np.asarray(values[n.op.label]).astype(n.dtype.numpy, copy=False) for n in graph.inputs}  # type: ignore[attr-defined]
    results = evaluate(graph.roots, bound)
    count = len(graph.outputs)
    states = [state.op.label for state in graph.updates]  # type: ignore[attr-defined]
    return results[:count], dict(zip(states, results[count:]))
