"""Which elementwise values are worth a place in memory, beyond what their own cost says (`fuse.stored_nodes`).

In: a graph and the nodes stored so far. Out: values that need no memory because they follow from their position, and
values to store because they take the place of several others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..ir import Graph, Node
from ..ops import views
from ..ops.base import ElementOp
from .compose import scalar_constant

POSITIONAL_LIMIT = 3  # work up to which a value that reads nothing is computed wherever it is used


def positional(graph: Graph, element_cost: Callable[[Node], float]) -> set[Node]:
    """Values that follow from their position by little work, as a causal mask does: nothing is read to compute them."""
    work: dict[Node, float] = {}
    for node in graph.nodes():
        if isinstance(node.op, views.Iota) or scalar_constant(node) is not None:
            work[node] = 0.0
        elif isinstance(node.op, ElementOp) and not node.is_input and all(i in work for i in node.inputs):
            cost = element_cost(node) + sum(work[operand] for operand in node.inputs)
            if cost <= POSITIONAL_LIMIT:
                work[node] = cost
    return set(work)


def early_factors(
    graph: Graph,
    stored: set[Node],
    users: Mapping[Node, Sequence[Node]],
    roots: set[Node],
    is_plain: Callable[[Node], bool],
) -> set[Node]:
    """Elementwise values to store in place of two or more tensors that only they would still need later.

    The slope of an activation is such a value: backward multiplies by it and needs neither the activation's argument nor
    what was computed on the way. Its own operands are in registers where the activation is computed, so storing
    it costs one tensor and frees them.
    """
    leaves: dict[
        Node, frozenset[Node] | None
    ] = {}  # stored tensors of the same size under a value; None: any other
    for node in graph.nodes():
        if node.is_input or not is_plain(node):
            leaves[node] = None if node.type.size > 1 else frozenset()
            continue
        found: frozenset[Node] | None = frozenset()
        for operand in node.inputs:
            if scalar_constant(operand) is not None:
                continue
            if operand.type.size != node.type.size and not isinstance(node.op, views.Broadcast):
                found = None
            elif operand in stored:
                if operand.type.size == node.type.size:
                    found = None if found is None else found | {operand}
            else:
                inner = leaves[operand]
                found = None if found is None or inner is None else found | inner
        leaves[node] = found
    chosen: set[Node] = set()
    for node, own in leaves.items():
        if node in stored or not own or len(own) < 2 or own & roots or any(leaf.is_input for leaf in own):
            continue
        if any(_leaves_within(user, leaves, own) for user in users[node]):
            continue  # a larger value may be chosen
        if all(_serves(leaf, node, own, leaves, users, stored) for leaf in own):
            chosen.add(node)
    return chosen


def _leaves_within(node: Node, leaves: Mapping[Node, frozenset[Node] | None], own: frozenset[Node]) -> bool:
    found = leaves.get(node)
    return found is not None and bool(found) and found <= own


def _serves(leaf: Node, node: Node, own: frozenset[Node], leaves, users, stored: set[Node]) -> bool:
    """Whether every reader of `leaf` other than `node` is computed from `own` alone, so that it runs together with it."""
    stack, seen = [leaf], set()
    while stack:
        for user in users[stack.pop()]:
            if user is node or user in seen:
                continue
            seen.add(user)
            if not _leaves_within(user, leaves, own):
                return False
            if user not in stored:
                stack.append(user)
    return True
