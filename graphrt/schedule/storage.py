"""Which values live in memory. Everything else is recomputed inside its readers.

In: a graph of primitive ops. Out: the nodes that get a place in memory: what no reader can compute itself, what would
cost too much to compute again, and values that take the place of several others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..ir import Graph, Node
from ..ops import views
from ..ops.base import ContractionOp, ElementOp
from .compose import scalar_constant
from .costs import (
    DEPTH_LIMIT,
    POSITIONAL_LIMIT,
    element_cost,
    inlined_cost,
    is_plain,
    is_virtual,
    reads_per_element,
    recompute_limit,
)


def stored_nodes(graph: Graph, forced: Iterable[Node] = (), virtual: Iterable[Node] = ()) -> set[Node]:
    """The nodes whose values live in memory (`forced` ones always do, `virtual` ones never)."""
    users = graph.users()
    roots = set(graph.roots) | set(forced)
    stored: set[Node] = set()
    free = _positional(graph)
    repeats: dict[Node, float] = {}  # how often an element of the node is evaluated if it is inlined
    for node in reversed(graph.nodes()):
        times = 0.0
        for user in set(users[node]):
            times += reads_per_element(node, user) * (repeats[user] if user not in stored else 1.0)
        repeats[node] = times
        if node.is_input or scalar_constant(node) is not None or node in virtual:
            continue
        if is_virtual(node) and node not in roots:
            continue
        if (
            isinstance(node.op, views.Constant)
            or node in roots
            or not isinstance(node.op, ElementOp)
            or (
                (times - 1.0) * inlined_cost(node) > recompute_limit(node)
                and not (node in free and not any(isinstance(user.op, ContractionOp) for user in users[node]))
            )
        ):
            stored.add(node)
    stored |= _early_factors(graph, stored, users, roots)
    _limit_depth(graph, stored)
    return stored


def _limit_depth(graph: Graph, stored: set[Node]) -> None:
    """Cut chains of inlined nodes that are longer than DEPTH_LIMIT."""
    depth: dict[Node, int] = {}
    for node in graph.nodes():
        if node.is_input or node in stored:
            depth[node] = 0
            continue
        depth[node] = 1 + max((depth[i] for i in node.inputs), default=0)
        if depth[node] > DEPTH_LIMIT and isinstance(node.op, ElementOp):
            stored.add(node)
            depth[node] = 0


def _positional(graph: Graph) -> set[Node]:
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


def _early_factors(
    graph: Graph, stored: set[Node], users: Mapping[Node, Sequence[Node]], roots: set[Node]
) -> set[Node]:
    """Elementwise values to store in place of two or more tensors that only they would still need later.

    The slope of an activation is such a value: backward multiplies by it and needs neither the activation's argument nor
    what was computed on the way. Its own operands are in registers where the activation is computed, so storing
    it costs one tensor and frees them.
    """
    # stored tensors of the same size under a value; None: any other
    leaves: dict[Node, frozenset[Node] | None] = {}
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
