"""Which axis of each tensor lies in vector lanes, and where a second copy in another layout pays.

In: an optimized graph. Out: the graph with `Copy` nodes where a contraction wants an operand in another order, and the
wanted layout of every stored node (row-major where nothing is said).

The idea: follow single axes through ops that keep them (arithmetic, windows, reshapes, convolutions, the rows of
x @ W). A set of axes connected that way is one index of the program: the samples of a batch, the tokens of a text. When
contractions work along it with the other operand (the weights) not depending on it, every tensor of the set is stored
with blocks of that axis innermost: each weight is then one broadcast shared by all lanes, forward and backward-data
need no transposed weights, convolutions no edge handling, and nothing inside the set is ever converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from ..ir import Graph, Node, rewrite
from ..loops import ir as loop_ir
from ..loops.builder import Builder
from ..loops.index import Index, Remainder, Var, as_index
from ..ops.base import ContractionOp, ElementOp, ReductionOp, ViewOp
from ..ops.copy import Copy
from ..ops.patches import WindowPatches
from ..ops.views import Broadcast, Reshape
from .compose import Composer, scalar_constant
from .costs import SHORT_AXIS
from .layout import Layout, lanes_of, row_major
from .storage import stored_nodes

MINIMUM_FILL = 0.5  # the axis must fill at least this part of its lanes
MINIMUM_WORK = 0.02  # sets that carry less of the step's contraction work stay row-major
TURN_PER_COPY = 1.0  # turning a vector of results in registers, over copying a vector of an operand

AxisKey = tuple[Node, int]


@dataclass
class Layouts:
    """The graph with copies inserted, wanted layouts, and nodes that must be stored."""

    graph: Graph
    layouts: dict[Node, Layout] = field(default_factory=dict)
    forced: set[Node] = field(default_factory=set)
    virtual: set[Node] = field(default_factory=set)  # pads read straight from their operand's margins


class _Sets:
    """Union-find over axes."""

    def __init__(self) -> None:
        self._parent: dict[AxisKey, AxisKey] = {}

    def find(self, key: AxisKey) -> AxisKey:
        root = key
        while self._parent.get(root, root) != root:
            root = self._parent[root]
        while self._parent.get(key, key) != root:
            self._parent[key], key = root, self._parent[key]
        return root

    def union(self, a: AxisKey, b: AxisKey) -> None:
        self._parent[self.find(a)] = self.find(b)


def assign_layouts(graph: Graph, lanes: int) -> Layouts:
    """Chooses layouts and inserts copies; see the module docstring."""
    lane_axis = choose_lane_axes(graph, lanes)
    return _insert_copies(graph, lanes, stored_nodes(graph), lane_axis)


# ---------------------------------------------------------------------- following axes


def kept_axes(node: Node, lanes: int) -> list[tuple[int, int, int]]:
    """(operand, its axis, output axis) wherever the lanes of the output axis read the lanes of the operand's axis."""
    if not node.shape or not node.inputs:
        return []
    output = tuple(as_index(Var(f"i{k}", extent)) for k, extent in enumerate(node.shape))
    reads = _operand_reads(node, output)
    kept = []
    for operand, positions in reads.items():
        source = node.inputs[operand]
        for axis, extent in enumerate(source.shape):
            for k in range(len(output)):
                if all(_aligned(at[axis], extent, output[k], node.shape[k], lanes) for at in positions):
                    kept.append((operand, axis, k))
                    break
    return kept


def _operand_reads(node: Node, output: tuple[Index, ...]) -> dict[int, list[tuple[Index, ...]]]:
    """The positions of each operand that one output element reads."""
    types = [n.type for n in node.inputs]
    builder = Builder()
    reads: dict[int, list[tuple[Index, ...]]] = {}

    def read(k: int, at: Iterable[Index | int]) -> object:
        reads.setdefault(k, []).append(tuple(as_index(i) for i in at))
        return builder.constant(0, types[k].dtype)

    op = node.op
    if isinstance(op, Broadcast):
        return {}  # what is broadcast is small: it is read in whatever layout it has
    if isinstance(op, ElementOp):
        op.element(builder, output, read, types)
    elif isinstance(op, ReductionOp):
        window = [as_index(Var(f"r{k}", e)) for k, e in enumerate(op.reduce_extents(types))]
        op.term(builder, output, window, read, types)
    elif isinstance(op, ContractionOp):
        spec = op.contraction(types)
        reduced = [as_index(Var(f"r{k}", e)) for k, e in enumerate(spec.reduce)]
        read(0, spec.left_index(output, reduced))
        read(1, spec.right_index(output, reduced))
    same_rank = {k: at for k, at in reads.items() if len(node.inputs[k].shape) == len(node.shape)}
    return reads if isinstance(op, Reshape | ContractionOp | ViewOp) else same_rank


def _aligned(index: Index, extent: int, variable: Index, output_extent: int, lanes: int) -> bool:
    """Whether blocks of lanes of the output variable are blocks of lanes of this operand axis."""
    if extent <= 1 or output_extent <= 1:
        return False
    if index == variable:
        return extent == output_extent
    if not variable.terms or extent % lanes or output_extent % lanes:
        return False
    var = variable.terms[0][0]
    if index.coefficient(var) == 1:  # an axis split in two: the variable is the fast part
        others = [(a, c) for a, c in index.terms if a != var]
        return index.constant % lanes == 0 and all(c % lanes == 0 for _, c in others)
    if (
        len(index.terms) == 1 and not index.constant and index.terms[0][1] == 1
    ):  # two axes merged into the variable
        atom = index.terms[0][0]
        return isinstance(atom, Remainder) and atom.index == variable and atom.divisor % lanes == 0
    return False


def choose_lane_axes(graph: Graph, lanes: int) -> dict[Node, int]:
    """The lane axis of every node that should have one."""
    nodes = graph.nodes()
    sets = _Sets()
    kept: dict[Node, list[tuple[int, int, int]]] = {}
    for node in nodes:
        if scalar_constant(node) is not None:
            continue
        kept[node] = kept_axes(node, lanes)
        for operand, axis, k in kept[node]:
            if scalar_constant(node.inputs[operand]) is None:
                sets.union((node, k), (node.inputs[operand], axis))
    fixed = {n for n in graph.inputs if n.is_state} | set(graph.updates.values())
    barred = {sets.find((n, k)) for n in fixed for k in range(n.type.rank)}
    work: dict[AxisKey, float] = {}
    total = 0.0
    for node in nodes:
        if not isinstance(node.op, ContractionOp):
            continue
        flops = float(node.op.flops(*(n.type for n in node.inputs)))
        total += flops
        for k, extent in enumerate(node.shape):
            if not extent:
                continue
            carried = [operand for operand, _, out in kept[node] if out == k]
            fill = extent / (-(-extent // lanes) * lanes)
            root = sets.find((node, k))
            if len(carried) == 1 and fill >= MINIMUM_FILL and root not in barred:
                work[root] = work.get(root, 0.0) + flops * fill * fill
    chosen = [root for root in work if work[root] >= MINIMUM_WORK * total]
    rank_of = {root: number for number, root in enumerate(sorted(chosen, key=lambda r: -work[r]))}
    axes = {n: _lane_axis(n, sets, rank_of, kept.get(n, [])) for n in nodes if scalar_constant(n) is None}
    return {node: axis for node, axis in axes.items() if axis is not None}


def _lane_axis(
    node: Node, sets: _Sets, rank_of: dict[AxisKey, int], kept: list[tuple[int, int, int]]
) -> int | None:
    """The axis of the set with most work; of two axes in one set (queries and keys), the left operand's."""
    best: tuple[int, int, int] | None = None
    for k in range(node.type.rank):
        number = rank_of.get(sets.find((node, k)))
        if number is None:
            continue
        from_left = any(operand == 0 and out == k for operand, _, out in kept)
        candidate = (number, 0 if from_left else 1, k)
        if best is None or candidate < best:
            best = candidate
    return best[2] if best is not None else None


# ---------------------------------------------------------------------- copies


class _Prober(Composer):
    """Answers reads of stored nodes with loads in their assigned layouts, and remembers which node was read where."""

    def __init__(self, layout_of: Callable[[Node], Layout], stored: set[Node]):
        super().__init__()
        self._layout_of, self._stored = layout_of, stored
        self.reads: list[tuple[Node, tuple[Index, ...], Index]] = []

    def stored(self, node: Node, index: tuple[Index, ...]) -> loop_ir.Scalar | None:
        if node not in self._stored and not node.is_input:
            return None
        address = self._layout_of(node).address(node.shape, index)
        self.reads.append((node, index, address))
        return loop_ir.Load(loop_ir.Buffer("probe", node.dtype, 1), address)


def _insert_copies(graph: Graph, lanes: int, stored: set[Node], lane_axis: dict[Node, int]) -> Layouts:
    roots = set(graph.roots)

    def layout_of(node: Node) -> Layout:
        if node.is_input or node in roots or node not in lane_axis:
            return row_major(node.type.rank)
        return lanes_of(node.type.rank, lane_axis[node], lanes)

    demands = {}
    for node in graph.nodes():
        if isinstance(node.op, ContractionOp):
            vector = lane_axis.get(node, node.type.rank - 1)
            usual = _demands(node, vector, lanes, layout_of, stored)
            demands[node] = _cheaper_demands(node, vector, usual, lanes, layout_of, stored)
    result = Layouts(graph)
    copies: dict[tuple[Node, Layout], Node] = {}
    new_of: dict[Node, Node] = {n: n for n in graph.inputs}
    old_of: dict[Node, Node] = {}

    def rule(node: Node, inputs: tuple[Node, ...]) -> Node | None:
        rebuilt = list(inputs)
        for operand, (base, layout) in demands.get(node, {}).items():
            new_base = new_of[base]
            if (base, layout) not in copies:
                copy = Node(Copy("layout"), (new_base,), base.type, base.source)
                copies[base, layout] = copy
                result.forced.add(copy)
                result.layouts[copy] = layout
            rebuilt[operand] = _replace_base(rebuilt[operand], new_base, copies[base, layout])
        unchanged = all(a is b for a, b in zip(rebuilt, node.inputs))
        new = node if unchanged else Node(node.op, tuple(rebuilt), node.type, node.source)
        new_of[node] = new
        old_of[new] = node
        return new

    result.graph = rewrite(graph, rule)
    new_roots = set(result.graph.roots)
    for new, old in old_of.items():
        if old in lane_axis and new not in new_roots:
            result.layouts.setdefault(new, lanes_of(new.type.rank, lane_axis[old], lanes))
    return result


def _replace_base(node: Node, base: Node, replacement: Node) -> Node:
    """A chain of views, or what is selected from them, rebuilt over another base."""
    if node is base:
        return replacement
    if not isinstance(node.op, ViewOp | WindowPatches):
        return node
    inner = _replace_base(node.inputs[0], base, replacement)
    if inner is node.inputs[0]:
        return node
    return Node(node.op, (inner, *node.inputs[1:]), node.type, node.source)


Demands = dict[int, tuple[Node, Layout]]  # operand -> stored node, wanted layout


def _cheaper_demands(
    node: Node,
    vector: int,
    usual: Demands,
    lanes: int,
    layout_of: Callable[[Node], Layout],
    stored: set[Node],
) -> Demands:
    """What the contraction wants if its lanes go along the other operand's axis, where that operand is so much smaller that
    turning squares of results in registers (kernels/turned.py) pays; else `usual`."""
    if len(usual) != 1 or node.dtype.size != 4 or node.shape[vector] % lanes:
        return usual
    spec = node.op.contraction([n.type for n in node.inputs])  # type: ignore[attr-defined]
    if spec.step is not None or isinstance(node.inputs[0].op, WindowPatches):
        return usual
    ((carrier, (base, _)),) = usual.items()
    output = [as_index(Var(f"i{k}", e)) for k, e in enumerate(spec.output)]
    reduced = [as_index(Var(f"r{k}", e)) for k, e in enumerate(spec.reduce)]
    reads = [index_of(output, reduced) for index_of in (spec.left_index, spec.right_index)]
    used = [frozenset().union(*(as_index(i).vars() for i in at)) for at in reads]
    best, least = usual, float(base.type.size)
    for other, index in enumerate(output):
        (var,) = index.vars() or (None,)
        if (
            other == vector
            or var in used[carrier]
            or var not in used[1 - carrier]
            or node.shape[other] % lanes
        ):
            continue
        demands = _demands(node, other, lanes, layout_of, stored)
        cost = sum(b.type.size for b, _ in demands.values()) + TURN_PER_COPY * node.type.size
        if carrier not in demands and cost < least:
            best, least = demands, cost
    return best


def _demands(
    node: Node, vector: int, lanes: int, layout_of: Callable[[Node], Layout], stored: set[Node]
) -> Demands:
    """Operands this contraction wants in another layout.

    The output axis `vector` (its lane axis, or its last axis where it has none) carries the lanes; the operand that carries it
    must be contiguous along it. Outputs with a short last axis (the kernel columns of a convolution's weight gradient)
    are left alone: their strategy keeps lanes along the reduced samples and folds them once at the end.
    """
    op = node.op
    assert isinstance(op, ContractionOp)
    if isinstance(node.inputs[0].op, WindowPatches):
        return _patch_demands(node, lanes, layout_of, stored)
    spec = op.contraction([n.type for n in node.inputs])
    extent = node.shape[vector]
    if extent < SHORT_AXIS or not all(spec.reduce) or not all(spec.output):
        return {}
    lane = Var("lane", lanes)
    output = [as_index(Var(f"i{k}", e)) for k, e in enumerate(spec.output)]
    output[vector] = as_index(Var("block", -(-extent // lanes))) * lanes + as_index(lane)
    reduced = [as_index(Var(f"r{k}", e)) for k, e in enumerate(spec.reduce)]
    result = {}
    for operand, index_of in enumerate((spec.left_index, spec.right_index)):
        base, at, address = _base_read(node.inputs[operand], index_of(output, reduced), layout_of, stored)
        if base is None or lane not in address.vars() or address.coefficient(lane) == 1:
            continue
        wanted = _contiguous_layout(at, lane, lanes)
        if wanted is None and base.type.size == node.inputs[operand].type.size:
            # Views lie between the stored node and the axis: copy what they show instead.
            base = node.inputs[operand]
            wanted = _contiguous_layout(tuple(as_index(i) for i in index_of(output, reduced)), lane, lanes)
        if wanted is not None:
            result[operand] = (base, wanted)
    return result


def _patch_demands(
    node: Node, lanes: int, layout_of: Callable[[Node], Layout], stored: set[Node]
) -> dict[int, tuple[Node, Layout]]:
    """The image patches are selected from, with samples in lanes: only then selecting is one instruction."""
    image, position = node.inputs[0].inputs
    index = [as_index(Var(f"i{k}", e)) for k, e in enumerate(image.shape)]
    base, _, _ = _base_read(image, index, layout_of, stored)
    in_lanes = layout_of(position).lane_axis == 0
    if base is None or base.shape != image.shape or not in_lanes or layout_of(base).lane_axis is not None:
        return {}
    return {0: (base, lanes_of(base.type.rank, 0, lanes))}


def _contiguous_layout(at: tuple[Index, ...], lane: Var, lanes: int) -> Layout | None:
    """The layout in which a tensor read at `at` is contiguous along the lanes."""
    along = [k for k, index in enumerate(at) if index.coefficient(lane) == 1]
    if not along:
        return None
    return row_major(len(at)) if along[0] == len(at) - 1 else lanes_of(len(at), along[0], lanes)


def _base_read(
    node: Node, index, layout_of, stored: set[Node]
) -> tuple[Node | None, tuple[Index, ...], Index]:
    """The one stored node an operand reads through views, the position and the address read."""
    prober = _Prober(layout_of, stored)
    position = [as_index(i) for i in index]
    prober.value(node, position)
    if len(prober.reads) != 1:
        return None, (), Index()
    return prober.reads[0]


__all__ = ["Layouts", "assign_layouts", "choose_lane_axes", "kept_axes"]
