"""Graphs: inputs, outputs, and `updates` (state -> next value), the only notion of state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .node import Node, input_node, source_scope, topological_order
from .op import Input


@dataclass(frozen=True, eq=False)
class Graph:
    """`inputs` lists every Input node in order (data and state); `outputs` the results; `updates` maps state inputs
    to the node whose value replaces them after the graph ran. All reads see the value from before the update."""

    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    updates: Mapping[Node, Node] = field(default_factory=dict)
    name: str = "graph"

    @property
    def roots(self) -> tuple[Node, ...]:
        return self.outputs + tuple(self.updates.values())

    @property
    def data_inputs(self) -> tuple[Node, ...]:
        return tuple(n for n in self.inputs if not n.is_state)

    @property
    def state_inputs(self) -> tuple[Node, ...]:
        return tuple(n for n in self.inputs if n.is_state)

    def nodes(self) -> list[Node]:
        """All nodes, inputs first in their order, then producers before consumers."""
        return topological_order(self.inputs + self.roots)

    def users(self) -> dict[Node, list[Node]]:
        """For every node the nodes that read it (a node reading it twice is listed twice)."""
        result: dict[Node, list[Node]] = {n: [] for n in self.nodes()}
        for node in result:
            for operand in node.inputs:
                result[operand].append(node)
        return result

    def input(self, label: str) -> Node:
        """The input with this label."""
        for node in self.inputs:
            if node.op.label == label:  # type: ignore[attr-defined]
                return node
        raise KeyError(label)

    def __eq__(self, other: object) -> bool:
        """Structural equality: same ops, types, sources and wiring in topological order."""
        if not isinstance(other, Graph):
            return NotImplemented
        return _structure(self) == _structure(other)

    def __hash__(self) -> int:
        return hash((self.name, len(self.inputs), len(self.outputs)))

    def __str__(self) -> str:
        from .text import to_text

        return to_text(self)


def _structure(graph: Graph) -> tuple:
    number = {node: k for k, node in enumerate(graph.nodes())}
    rows = tuple((n.op.key(), tuple(number[i] for i in n.inputs), n.type, n.source) for n in number)
    updates = tuple((number[a], number[b]) for a, b in graph.updates.items())
    return (
        graph.name,
        tuple(number[n] for n in graph.inputs),
        rows,
        tuple(number[n] for n in graph.outputs),
        updates,
    )


def rewrite(graph: Graph, rule: Callable[[Node, tuple[Node, ...]], Node | None]) -> Graph:
    """Rebuild `graph` bottom-up. `rule(node, new_inputs)` returns the replacement, or None to keep the node.

    The rule runs inside the node's source scope, so nodes it makes inherit the user's line. Inputs are kept.
    """
    new: dict[Node, Node] = {}
    for node in graph.nodes():
        inputs = tuple(new[i] for i in node.inputs)
        replacement = None
        if not node.is_input:
            with source_scope(node.source):
                replacement = rule(node, inputs)
        new[node] = node.with_inputs(inputs) if replacement is None else replacement
    return Graph(
        graph.inputs,
        tuple(new[n] for n in graph.outputs),
        {state: new[value] for state, value in graph.updates.items()},
        graph.name,
    )


def substitute(roots: Iterable[Node], replacements: Mapping[Node, Node]) -> list[Node]:
    """Copies of `roots` in which every node of `replacements` is replaced (inlining a graph into another)."""
    new: dict[Node, Node] = dict(replacements)
    roots = list(roots)
    for node in topological_order(roots):
        if node in new:
            continue
        new[node] = node.with_inputs(tuple(new[i] for i in node.inputs))
    return [new[r] for r in roots]


__all__ = ["Graph", "Input", "Node", "input_node", "rewrite", "substitute"]
