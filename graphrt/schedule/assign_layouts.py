"""Which tensors keep samples in vector lanes, and where a second copy in another layout pays.

In: an optimized graph. Out: the graph with `Copy` nodes where a contraction wants an operand in another order, and the
wanted layout of every stored node (row-major where nothing is said).

The idea: follow axis 0 through ops that keep it (arithmetic, windows, reshapes, convolutions, x @ W). A set of tensors
connected that way shares one batch axis. When a contraction works along it and the batch is large enough, the whole set
is stored with blocks of samples innermost: every weight is then one broadcast shared by all lanes, convolutions need no
edge handling, and the set needs no conversion anywhere inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..ir import Graph, Node, rewrite
from ..loops.builder import Builder
from ..loops.index import Index, Var, as_index
from ..ops.base import ContractionOp, ElementOp, ReductionOp, ViewOp
from ..ops.copy import Copy
from .compose import scalar_constant
from .fuse import stored_nodes
from .layout import Layout, lanes_of

MINIMUM_FILL = 0.5  # the batch must fill at least this part of its lanes
LANE_REDUCE_TERMS = 8  # below this many terms per lane, fold lanes less often: use a row-major copy instead


@dataclass
class Layouts:
    """The graph with copies inserted, wanted layouts, and nodes that must be stored."""

    graph: Graph
    layouts: dict[Node, Layout] = field(default_factory=dict)
    forced: set[Node] = field(default_factory=set)


class _Sets:
    """Union-find over nodes."""

    def __init__(self) -> None:
        self._parent: dict[Node, Node] = {}

    def find(self, node: Node) -> Node:
        root = node
        while self._parent.get(root, root) is not root:
            root = self._parent[root]
        while self._parent.get(node, node) is not root:
            self._parent[node], node = root, self._parent[node]
        return root

    def union(self, a: Node, b: Node) -> None:
        self._parent[self.find(a)] = self.find(b)


def keeps_first_axis(node: Node, operand: int) -> bool:
    """Whether element (i, ...) of `node` reads only elements (i, ...) of this operand, over the same extent."""
    source = node.inputs[operand]
    if not node.shape or not source.shape or source.shape[0] != node.shape[0]:
        return False
    index = tuple(as_index(Var(f"i{k}", e)) for k, e in enumerate(node.shape))
    seen: list[tuple[Index, ...]] = []
    types = [n.type for n in node.inputs]
    builder = Builder()

    def read(k: int, at) -> object:
        if k == operand:
            seen.append(tuple(as_index(i) for i in at))
        return builder.constant(0, types[k].dtype)

    op = node.op
    if isinstance(op, ElementOp):
        op.element(builder, index, read, types)
    elif isinstance(op, ReductionOp):
        window = [as_index(Var(f"r{k}", e)) for k, e in enumerate(op.reduce_extents(types))]
        op.term(builder, index, window, read, types)
    elif isinstance(op, ContractionOp):
        spec = op.contraction(types)
        reduced = [as_index(Var(f"r{k}", e)) for k, e in enumerate(spec.reduce)]
        seen.append(tuple((spec.left_index, spec.right_index)[operand](index, reduced)))
    else:
        return False
    return bool(seen) and all(at[0] == index[0] for at in seen)


def assign_layouts(graph: Graph, lanes: int) -> Layouts:
    """Chooses layouts and inserts copies; see the module docstring."""
    nodes = graph.nodes()
    sets = _Sets()
    for node in nodes:
        if scalar_constant(node) is not None:
            continue
        for k in range(len(node.inputs)):
            if scalar_constant(node.inputs[k]) is None and keeps_first_axis(node, k):
                sets.union(node, node.inputs[k])
    states = {sets.find(n) for n in graph.inputs if n.is_state} | {sets.find(v) for v in graph.updates.values()}
    batched: set[Node] = set()
    for node in nodes:
        if not isinstance(node.op, ContractionOp) or not node.shape:
            continue
        root = sets.find(node)
        extent = node.shape[0]
        fill = extent / (-(-extent // lanes) * lanes)
        if root not in states and keeps_first_axis(node, 0) and fill >= MINIMUM_FILL and node.type.rank in (2, 4):
            batched.add(root)
    stored = stored_nodes(graph)

    def in_lanes(node: Node) -> bool:
        return sets.find(node) in batched and bool(node.shape)

    return _insert_copies(graph, lanes, stored, in_lanes)


def _base(node: Node, stored: set[Node]) -> Node:
    """The stored node a chain of views reads."""
    while isinstance(node.op, ViewOp) and node not in stored and not node.is_input:
        node = node.inputs[0]
    return node


def _insert_copies(graph: Graph, lanes: int, stored: set[Node], in_lanes: Callable[[Node], bool]) -> Layouts:
    roots = set(graph.roots)
    wanted: dict[tuple[Node, str], Node] = {}  # (old base, layout kind) -> replacement node in the new graph
    demands: dict[Node, dict[Node, str]] = {}  # contraction -> {old base: layout kind}
    for node in graph.nodes():
        if isinstance(node.op, ContractionOp):
            demands[node] = _demands(node, stored, roots, in_lanes)
    result = Layouts(graph)
    old_of: dict[Node, Node] = {}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        rebuilt = inputs
        for base, kind in demands.get(node, {}).items():
            key = (base, kind)
            new_base = new_of[base]
            if key not in wanted:
                wanted[key] = Node(Copy("layout"), (new_base,), base.type, base.source)
                result.forced.add(wanted[key])
                if kind == "lanes":
                    result.layouts[wanted[key]] = lanes_of(base.type.rank, 0, lanes)
            rebuilt = tuple(_replace_base(i, new_base, wanted[key]) for i in rebuilt)
        unchanged = all(a is b for a, b in zip(rebuilt, node.inputs))
        new = node if unchanged else Node(node.op, rebuilt, node.type, node.source)
        new_of[node] = new
        old_of[new] = node
        return new

    new_of: dict[Node, Node] = {n: n for n in graph.inputs}
    result.graph = rewrite(graph, rule)
    new_roots = set(result.graph.roots)
    for new, old in old_of.items():
        if in_lanes(old) and new not in new_roots:
            result.layouts.setdefault(new, lanes_of(new.type.rank, 0, lanes))
    return result


def _replace_base(node: Node, base: Node, replacement: Node) -> Node:
    """A chain of views rebuilt over another base."""
    if node is base:
        return replacement
    if not isinstance(node.op, ViewOp):
        return node
    inner = _replace_base(node.inputs[0], base, replacement)
    return node if inner is node.inputs[0] else Node(node.op, (inner,), node.type, node.source)


def _demands(node: Node, stored: set[Node], roots: set[Node], in_lanes) -> dict[Node, str]:
    """Operands this contraction wants in another layout than they have."""
    left, right = (_base(i, stored) for i in node.inputs)

    def has_lanes(base: Node) -> bool:
        return in_lanes(base) and not base.is_input and base not in roots

    if in_lanes(node):
        return {} if has_lanes(left) or not keeps_first_axis(node, 0) else {left: "lanes"}
    spec = node.op.contraction([n.type for n in node.inputs])  # type: ignore[attr-defined]
    terms = 1
    for extent in spec.reduce:
        terms *= extent
    if has_lanes(left) and has_lanes(right) and terms < LANE_REDUCE_TERMS * left.shape[0]:
        return {right: "rows"}
    return {}


__all__ = ["Index", "Layouts", "assign_layouts", "keeps_first_axis"]
