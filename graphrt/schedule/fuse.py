"""Which nodes share a kernel.

In: an optimized graph of primitive ops. Out: `Group`s in execution order: each computes one anchor (a contraction, a
reduction, a scatter, or nothing for pure elementwise work) and stores one or more results over a common index space.

Three decisions, in this order:
1. `stored_nodes`: what lives in memory. Everything else is recomputed inside its readers.
2. merging: a group whose expression reads another group's result only at the same index joins it (epilogues,
   optimizer updates, several outputs of one sweep), unless that would make a cycle. Max-pool joins the convolution
   whose result nobody else reads: then only one value per window is stored.
3. order: producers first, readers of a state before the group that overwrites it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..ir import Graph, Node, Op
from ..loops.index import Index, Var, as_index, linear, replace, row_major_strides
from ..ops import random as random_ops
from ..ops import views
from ..ops.base import ContractionOp, ElementOp, TiledProductOp, ViewOp
from ..ops.copy import Copy
from ..ops.lane_sums import Conv2dBackwardWeightLanes
from ..ops.scatter import ScatterAdd
from .compose import ReadRecorder, scalar_constant
from .layout import Layout, row_major
from .order import eager_order
from .storage import early_factors, positional
from .window_epilogues import is_window_epilogue

# Heuristics of fusion, in one place. Costs count roughly one per floating-point operation of an element.
EXPENSIVE = {
    "exp": 12, "log": 14, "log1p": 18, "expm1": 16, "tanh": 16, "sigmoid": 14, "erf": 20, "pow": 30, "sin": 20,
    "cos": 20, "sqrt": 6, "rsqrt": 6, "div": 4, "remainder": 8, "floor_div": 8,
}  # fmt: skip
RECOMPUTE_LIMIT = 1.5  # an element may be recomputed when the extra work stays below this
STREAMED_LIMIT = 8.0  # the same where storing it would cost a pass through main memory, and no read is saved
SHORT_AXIS = 8  # an output axis too short to be worth vectorising along
CACHED_BYTES = 1 << 20  # what one core's L2 cache holds
SCATTER_TERMS = 32  # products per result from which scattering results costs less than a sweep of its own
WIDEST_LANES = 16  # of any processor's vectors
DEPTH_LIMIT = 40  # longest chain of inlined nodes


@dataclass(eq=False)
class Group:
    """One kernel: `anchor` is computed by a strategy, `stores` are results over `domain`, in dependency order.

    A result may have another shape than `domain` with as many elements: it is then a reshape of it (`position_in`).
    `window`: the results are one per window of these extents over the last two axes of the anchor."""

    anchor: Node | None
    stores: list[Node]
    domain: tuple[int, ...]
    members: set[Node] = field(default_factory=set)  # stored or anchor nodes computed here
    reads: dict[Node, list[tuple[Index, ...]]] = field(default_factory=dict)
    anchor_reads: set[Node] = field(default_factory=set)
    identity: tuple[Index, ...] = ()  # the index variables `reads` is expressed in
    layout: Layout | None = None
    window: tuple[int, int] | None = None
    name: str = ""

    @property
    def lead(self) -> Node:
        return self.anchor if self.anchor is not None else self.stores[0]

    def position_in(self, shape: tuple[int, ...], index: Sequence[Index]) -> tuple[Index, ...]:
        """The position, in a result of `shape`, of the point `index` of the domain."""
        if shape == self.domain:
            return tuple(index)
        return tuple(as_index(i) for i in views.reshaped_position(index, self.domain, shape))

    def is_own_point(self, shape: tuple[int, ...], index: Sequence[Index]) -> bool:
        """Whether `index` of a tensor of `shape`, in this group's variables, is the element at the domain's own point."""
        if shape == self.domain:
            return tuple(index) == self.identity
        own = linear(self.identity, row_major_strides(self.domain))
        return linear(tuple(index), row_major_strides(shape)) == own


def is_window(op: Op) -> bool:
    """Whether an element of `op` reads several neighbouring elements."""
    return hasattr(op, "window")


def _is_plain(node: Node) -> bool:
    """Whether an element of `node` depends on one element of each operand, or of what is broadcast."""
    return isinstance(node.op, ElementOp) and not is_window(node.op)


def element_cost(node: Node) -> float:
    """Work of one element of `node`, operands excluded."""
    op = node.op
    if is_window(op):
        return 4.0
    if isinstance(op, random_ops.RandomBits):
        return 60.0
    if isinstance(op, ViewOp | views.Constant | views.Iota):
        return 0.0
    if isinstance(op, views.Pad | views.Concat | views.Gather):
        return 1.0
    return float(EXPENSIVE.get(op.name, 1.0))


def stored_nodes(graph: Graph, forced: Iterable[Node] = (), virtual: Iterable[Node] = ()) -> set[Node]:
    """The nodes whose values live in memory (`forced` ones always do, `virtual` ones never)."""
    users = graph.users()
    roots = set(graph.roots) | set(forced)
    stored: set[Node] = set()
    free = positional(graph, element_cost)
    repeats: dict[Node, float] = {}  # how often an element of the node is evaluated if it is inlined
    for node in reversed(graph.nodes()):
        times = 0.0
        for user in set(users[node]):
            times += _reads_per_element(node, user) * (repeats[user] if user not in stored else 1.0)
        repeats[node] = times
        if node.is_input or scalar_constant(node) is not None or node in virtual or _is_virtual(node, roots):
            continue
        if (
            isinstance(node.op, views.Constant)
            or node in roots
            or not isinstance(node.op, ElementOp)
            or (
                (times - 1.0) * _inlined_cost(node) > _recompute_limit(node)
                and not (node in free and not any(isinstance(user.op, ContractionOp) for user in users[node]))
            )
        ):
            stored.add(node)
    stored |= early_factors(graph, stored, users, roots, _is_plain)
    _limit_depth(graph, stored)
    return stored


def _recompute_limit(node: Node) -> float:
    """Extra work allowed to keep a node out of memory: more for large ones that are computed from one other large tensor
    (a normalized activation), since readers would read that many bytes either way."""
    whole = sum(i.type.size == node.type.size and not isinstance(i.op, views.Broadcast) for i in node.inputs)
    return STREAMED_LIMIT if whole <= 1 and node.type.bytes > CACHED_BYTES else RECOMPUTE_LIMIT


def _is_virtual(node: Node, roots: set[Node]) -> bool:
    return isinstance(node.op, ElementOp) and node.op.virtual and node not in roots


def operand_bytes(node: Node) -> int:
    """Memory the operands of a node take, what is never stored counted by its own operands."""
    inner = (operand_bytes(n) if _is_virtual(n, set()) else n.type.bytes for n in node.inputs)
    return sum(inner)


def _inlined_cost(node: Node) -> float:
    """Work of recomputing one element, down to views of it (a producer's own inlining is decided later)."""
    own = element_cost(node)
    if own == 0.0 and node.inputs and isinstance(node.op, ViewOp):
        return max((_inlined_cost(i) if isinstance(i.op, ViewOp) else 0.0) for i in node.inputs)
    return own + 0.5 * max(0, len(node.inputs) - 1)


def _reads_per_element(node: Node, user: Node) -> float:
    """How often `user` evaluates each element of its operand `node`."""
    op = user.op
    if isinstance(op, ContractionOp | TiledProductOp):
        return 64.0
    if is_window(op):
        return 4.0
    if isinstance(op, views.Gather) and node is user.inputs[0]:
        return max(1.0, user.type.size / max(1, node.type.size))
    if isinstance(op, ElementOp) and not isinstance(op, views.Concat):
        return max(1.0, user.type.size / max(1, node.type.size)) if node.type.size else 1.0
    return 1.0


def _limit_depth(graph: Graph, stored: set[Node]) -> None:
    depth: dict[Node, int] = {}
    for node in graph.nodes():
        if node.is_input or node in stored:
            depth[node] = 0
            continue
        depth[node] = 1 + max((depth[i] for i in node.inputs), default=0)
        if depth[node] > DEPTH_LIMIT and isinstance(node.op, ElementOp):
            stored.add(node)
            depth[node] = 0


def domain_vars(shape: tuple[int, ...]) -> tuple[Index, ...]:
    """Fresh index variables over a shape; axes with one element need none."""
    return tuple(as_index(Var(f"i{k}", extent) if extent > 1 else 0) for k, extent in enumerate(shape))


def _group_reads(group: Group, is_stored) -> tuple[dict[Node, list[tuple[Index, ...]]], tuple[Index, ...]]:
    """What the group's stores read from outside (and from members other than by composition)."""
    recorder = ReadRecorder(is_stored)
    index = domain_vars(group.domain)
    for node in group.stores:
        if node is group.anchor:
            continue
        assert isinstance(node.op, ElementOp)
        types = [n.type for n in node.inputs]
        operands = node.inputs
        node.op.element(recorder.builder, index, lambda k, at: recorder.value(operands[k], at), types)  # noqa: B023
    return recorder.reads, index


def _anchor_reads(anchor: Node, is_stored) -> set[Node]:
    """Stored nodes reached from an anchor's operands."""
    found: set[Node] = set()
    stack = list(anchor.inputs)
    seen: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if is_stored(node):
            found.add(node)
        else:
            stack.extend(node.inputs)
    return found


def fuse(
    graph: Graph,
    forced: Iterable[Node] = (),
    layouts: Mapping[Node, Layout] | None = None,
    virtual: Iterable[Node] = (),
) -> list[Group]:
    """The groups of `graph` in execution order.

    `forced` nodes are stored whatever their cost, `virtual` ones never; groups only merge when their results share one
    layout (margins apart).
    """
    stored = stored_nodes(graph, forced, virtual)
    layouts = layouts or {}

    def is_stored(node: Node) -> bool:
        return node in stored or node.is_input

    groups: list[Group] = []
    owner: dict[Node, Group] = {}
    for node in graph.nodes():
        if node not in stored or isinstance(node.op, views.Constant):
            continue
        anchor = None if isinstance(node.op, ElementOp) else node
        layout = layouts.get(node)
        group = Group(anchor, [node], node.shape, {node}, layout=layout.without_margins if layout else None)
        group.reads, group.identity = _group_reads(group, is_stored)
        if anchor is not None:
            group.anchor_reads = _anchor_reads(anchor, is_stored)
        groups.append(group)
        owner[node] = group
    links = _Links(groups, owner)
    users = graph.users()
    roots = set(graph.roots)

    def readers(node: Node) -> set[Group]:
        return _readers(node, users, owner, is_stored)

    _merge_epilogues(groups, owner, links, lambda node: {*readers(node), *([None] if node in roots else [])})
    _merge_siblings(groups, owner, links)
    live = [g for g in groups if g.stores]
    for group in live:
        kept = [n for n in group.stores if n in roots or readers(n) - {group}]
        group.stores = kept or group.stores  # a member read only inside its group stays in registers
    ordered = links.order(live, graph)
    for number, group in enumerate(ordered):
        group.name = f"k{number}_{group.lead.op.name}"
    return ordered


class _Links:
    """The dependency graph of groups, kept transitively queryable while groups merge."""

    def __init__(self, groups: list[Group], owner: dict[Node, Group]):
        import networkx

        self.graph = networkx.DiGraph()
        self.owner = owner
        self.position = {group: k for k, group in enumerate(groups)}
        self.graph.add_nodes_from(groups)
        for group in groups:
            for node in set(group.reads) | group.anchor_reads:
                if node in owner:
                    self.graph.add_edge(owner[node], group)

    def path_avoiding_edge(self, start: Group, end: Group) -> bool:
        """Is there a way from start to end other than the direct edge?"""
        stack = [g for g in self.graph.successors(start) if g is not end]
        seen: set[Group] = set()
        while stack:
            group = stack.pop()
            if group is end:
                return True
            if group in seen:
                continue
            seen.add(group)
            stack.extend(self.graph.successors(group))
        return False

    def connected(self, a: Group, b: Group) -> bool:
        import networkx

        return networkx.has_path(self.graph, a, b) or networkx.has_path(self.graph, b, a)

    def merge(self, into: Group, other: Group) -> None:
        for before in list(self.graph.predecessors(other)):
            if before is not into:
                self.graph.add_edge(before, into)
        for after in list(self.graph.successors(other)):
            if after is not into:
                self.graph.add_edge(into, after)
        self.graph.remove_node(other)
        into.anchor_reads |= other.anchor_reads

    def order(self, groups: list[Group], graph: Graph) -> list[Group]:
        """Producers first, readers of a state before its in-place update, every contraction and reduction as soon as
        what it needs is there, and elementwise work when it is first needed.

        A weight gradient then runs while the activation gradients it reads are still in cache, and their memory is
        free again soon; a copy is made just before it is read. "As soon as": by how many groups a group depends on.
        """
        work = self._with_updates_last(groups, graph)
        before = {g: sorted(work.predecessors(g), key=self.position.__getitem__) for g in work}
        eager = [g for g in work if g.anchor is not None or not work.out_degree(g)]
        return eager_order(before, eager, self.position)

    def _with_updates_last(self, groups: list[Group], graph: Graph):
        """The dependencies of `groups` with an edge from every reader of a state to the group that overwrites it,
        where that makes no cycle."""
        import networkx

        work = self.graph.subgraph(groups).copy()
        readers: dict[Node, set[Group]] = {}
        for group in groups:
            for node in set(group.reads) | group.anchor_reads:
                if node.is_state:
                    readers.setdefault(node, set()).add(group)
        for state, value in graph.updates.items():
            writer = self.owner.get(value)
            if writer is None:
                continue
            for reader in sorted(readers.get(state, ()), key=self.position.__getitem__):
                if reader is not writer and not networkx.has_path(work, writer, reader):
                    work.add_edge(reader, writer)
        return work


def _merge_epilogues(
    groups: list[Group],
    owner: dict[Node, Group],
    links: _Links,
    readers: Callable[[Node], Collection[Group | None]],
) -> None:
    """A later elementwise group that reads a group's result at its own index joins that group, and so does a search
    of windows through a contraction's result."""
    for group in groups:
        if not group.stores:
            continue
        merged = True
        while merged:
            merged = False
            for consumer in sorted(links.graph.successors(group), key=links.position.__getitem__):
                if is_window_epilogue(group, consumer, readers):
                    if links.path_avoiding_edge(group, consumer):
                        continue
                    if group.window is None:
                        group.domain, group.identity = consumer.domain, domain_vars(consumer.domain)
                        group.window = consumer.stores[0].op.window  # type: ignore[attr-defined]
                    _join(group, consumer, owner, links)
                    merged = True
                    break
                if (
                    consumer.anchor is not None
                    or (consumer.domain != group.domain and not _is_reshape(group, consumer))
                    or not (_may_merge(group, consumer) or _may_take_layout(group, consumer, links))
                ):
                    continue
                own = [(node, at) for node, at in consumer.reads.items() if node in group.members]
                if not all(consumer.is_own_point(node.shape, index) for node, at in own for index in at):
                    continue
                if links.path_avoiding_edge(group, consumer):
                    continue
                if group.anchor is not None and not _is_epilogue(group, consumer):
                    continue
                if consumer.domain == group.domain:
                    group.layout = consumer.layout
                _join(group, consumer, owner, links)
                merged = True
                break


def _may_merge(a: Group, b: Group) -> bool:
    """Copies that exist to be separate stay separate; results of one kernel share one layout."""
    if any(isinstance(n.op, Copy) and n.op.reason == "update" for n in b.stores):
        return False
    return a.layout == b.layout or _same_addresses(a, b)


def _is_reshape(group: Group, consumer: Group) -> bool:
    """Whether a strategy computes `group` point by point and `consumer` is a reshape of it: (N, T, C) after (N * T, C).

    Axes that are merged or split must be whole blocks of lanes (but for the first): the lanes of a partly filled block
    would spill over into the next row.
    """
    if group.anchor is None or math.prod(group.domain) != math.prod(consumer.domain) or 0 in group.domain:
        return False
    for own, other in views.matched_axes(group.domain, consumer.domain):
        mine, theirs = ([e for e in shape if e > 1] for shape in (group.domain[own], consumer.domain[other]))
        if mine != theirs and any(extent % WIDEST_LANES for extent in mine[1:]):
            return False
    return True


def _same_addresses(a: Group, b: Group) -> bool:
    """Whether results over the two domains lie at the same places, one being a reshape of the other."""
    if a.domain == b.domain:
        return False
    first, second = (g.layout or row_major(len(g.domain)) for g in (a, b))
    index = list(domain_vars(a.domain))
    if first.lane_axis is not None:
        blocks = Var("block", -(-a.domain[first.lane_axis] // first.lanes))
        index[first.lane_axis] = as_index(blocks) * first.lanes + as_index(Var("lane", first.lanes))
    seen = views.reshaped_position(index, a.domain, b.domain)
    same_size = first.elements(a.domain) == second.elements(b.domain)
    return same_size and first.address(a.domain, index) == second.address(b.domain, seen)


def _may_take_layout(group: Group, consumer: Group, links: _Links) -> bool:
    """Whether a contraction nobody else reads may write its one reader's results in that reader's layout: with enough
    terms per result, scattering them costs less than another sweep."""
    anchor = group.anchor
    if consumer.domain != group.domain:
        return False
    if anchor is None or group.stores != [anchor] or links.graph.out_degree(group) != 1:
        return False
    if not isinstance(anchor.op, ContractionOp) or any(isinstance(n.op, Copy) for n in consumer.stores):
        return False
    terms = anchor.op.flops(*(n.type for n in anchor.inputs)) / max(1, 2 * anchor.type.size)
    return terms >= SCATTER_TERMS and all(n.dtype == anchor.dtype for n in consumer.stores)


def accumulates_in_memory(anchor: Node) -> bool:
    """Whether a contraction sums into its stored result block by block of its operands: few outputs with a short last
    axis (a convolution's weight gradient) over operands that do not fit into the L2 cache."""
    if isinstance(anchor.op, Conv2dBackwardWeightLanes):
        return True
    if not isinstance(anchor.op, ContractionOp) or anchor.type.rank < 3 or anchor.shape[-1] >= SHORT_AXIS:
        return False
    operands = operand_bytes(anchor)
    return operands > CACHED_BYTES and operands > 4 * anchor.type.bytes and anchor.dtype.size >= 4


def _is_epilogue(group: Group, consumer: Group) -> bool:
    """Contractions and reductions absorb arithmetic on their result, not windows or other reads of neighbours.

    Scatters and tiled products absorb nothing: their results are complete only at the end.
    """
    assert group.anchor is not None
    if isinstance(group.anchor.op, ScatterAdd | TiledProductOp) or accumulates_in_memory(group.anchor):
        return False
    return all(isinstance(node.op, ElementOp) and not is_window(node.op) for node in consumer.stores)


def _merge_siblings(groups: list[Group], owner: dict[Node, Group], links: _Links) -> None:
    """Elementwise groups over one index space that read a common buffer become one sweep."""
    live = [g for g in groups if g.stores and g.anchor is None]
    by_domain: dict[tuple, list[Group]] = {}
    for group in live:
        by_domain.setdefault(group.domain, []).append(group)
    for siblings in by_domain.values():
        for k, first in enumerate(siblings):
            if not first.stores:
                continue
            for second in siblings[k + 1 :]:
                if not second.stores or len(first.stores) + len(second.stores) > 8:
                    continue
                common = {n for n in first.reads if n.type.size * 4 >= first.lead.type.size} & set(
                    second.reads
                )
                if common and _may_merge(first, second) and not links.connected(first, second):
                    _join(first, second, owner, links)


def _join(group: Group, other: Group, owner: dict[Node, Group], links: _Links) -> None:
    renamed: dict[Var, Index] = {}
    for own, new in zip(other.identity, group.position_in(other.domain, group.identity)):
        renamed |= {var: new for var in own.vars()}
    for node, indices in other.reads.items():
        if node in group.members:
            continue
        group.reads.setdefault(node, []).extend(
            tuple(replace(i, renamed) for i in index) for index in indices
        )
    group.stores += other.stores
    group.members |= other.members
    for node in other.members:
        owner[node] = group
    other.stores = []
    links.merge(group, other)


def _readers(node: Node, users, owner: dict[Node, Group], is_stored) -> set[Group]:
    """The groups that read a node, directly or through what is composed inside them."""
    found: set[Group] = set()
    stack: list[Node] = list(users[node])
    seen: set[Node] = set()
    while stack:
        user = stack.pop()
        if user in seen:
            continue
        seen.add(user)
        if user in owner:
            found.add(owner[user])
        elif not is_stored(user):
            stack.extend(users[user])
    return found
