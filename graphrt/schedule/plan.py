"""The schedule of one step: groups in order, a slot for every stored node.

In: an optimized graph. Out: `Schedule`. Results and states are bound to the caller's memory in row-major order;
everything else lives in the arena in the layout `assign_layouts` wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..ir import Graph, Node
from ..ops import views
from ..ops.copy import Copy
from .assign_layouts import Layouts, assign_layouts
from .compose import scalar_constant
from .fuse import fuse
from .group import Group
from .layout import Layout, row_major
from .margins import add_margins
from .partial_sums import add_sum_layouts

if TYPE_CHECKING:
    from .memory import MemoryPlan


@dataclass(frozen=True)
class Slot:
    """Where a stored node lives: which kind of memory, and its physical layout."""

    node: Node
    kind: str  # "data" | "state" | "output" | "constant" | "arena"
    layout: Layout
    label: str = ""

    @property
    def elements(self) -> int:
        return self.layout.elements(self.node.shape)

    @property
    def bytes(self) -> int:
        return self.elements * self.node.dtype.size


@dataclass(frozen=True)
class Schedule:
    graph: Graph
    groups: list[Group]
    slots: Mapping[Node, Slot]

    def report(self, memory: MemoryPlan) -> str:
        """The kernels and the memory plan as text."""
        lines = [f"{len(self.groups)} kernels"]
        for group in self.groups:
            lines.append(f"{group.name}  over {list(group.domain)}")
            for node in group.stores:
                slot = self.slots[node]
                where = f"   # {node.source}" if node.source else ""
                lines.append(
                    f"    {slot.kind} {slot.label} {slot.layout}: {node.type} = {node.op.name}{where}"
                )
        return "\n".join([*lines, str(memory)])


def schedule(graph: Graph, lanes: int) -> Schedule:
    """Fusion, layouts and slots for `graph`."""
    graph = _separate_roots(graph)
    layouts = assign_layouts(graph, lanes)
    layouts.virtual = add_margins(layouts.graph, layouts.layouts)
    add_sum_layouts(layouts.graph, layouts.layouts)
    groups = _fused(layouts)
    unsafe = _unsafe_updates(layouts.graph, groups)
    if unsafe:
        layouts = _defer_updates(layouts, unsafe)
        groups = _fused(layouts)
    return Schedule(layouts.graph, groups, _slots(layouts, groups))


def _separate_roots(graph: Graph) -> Graph:
    """Gives every output and every update a node of its own that is not an input or a constant."""
    seen: set[Node] = set()

    def own(node: Node) -> Node:
        if node.is_input or isinstance(node.op, views.Constant) or node in seen:
            node = Node(Copy("root"), (node,), node.type, node.source)
        seen.add(node)
        return node

    updates = {state: own(value) for state, value in graph.updates.items()}
    return Graph(graph.inputs, tuple(own(n) for n in graph.outputs), updates, graph.name)


def _unsafe_updates(graph: Graph, groups: list[Group]) -> list[Node]:
    """States whose writer runs before another reader of the old value, or reads it at other positions itself."""
    position = {node: k for k, group in enumerate(groups) for node in group.members}
    unsafe = []
    for state, value in graph.updates.items():
        if isinstance(value.op, Copy) and value.op.reason == "update":
            continue
        writer = position[value]
        for number, group in enumerate(groups):
            by_anchor = state in group.anchor_reads
            if state not in group.reads and not by_anchor:
                continue
            elsewhere = any(not group.is_own_point(state.shape, at) for at in group.reads.get(state, ()))
            if number > writer or (number == writer and (by_anchor or elsewhere)):
                unsafe.append(state)
                break
    return unsafe


def _defer_updates(layouts: Layouts, unsafe: list[Node]) -> Layouts:
    """Writes those states through a temporary and a copy that runs after all readers."""
    graph = layouts.graph
    updates = dict(graph.updates)
    forced = set(layouts.forced)
    for state in unsafe:
        value = updates[state]
        forced.add(value)
        updates[state] = Node(Copy("update"), (value,), value.type, value.source)
    graph = Graph(graph.inputs, graph.outputs, updates, graph.name)
    return replace(layouts, graph=graph, forced=forced)


def _fused(layouts: Layouts) -> list[Group]:
    return fuse(layouts.graph, layouts.forced, layouts.layouts, layouts.virtual)


def _slots(layouts: Layouts, groups: list[Group]) -> dict[Node, Slot]:
    graph = layouts.graph
    slots: dict[Node, Slot] = {}
    for node in graph.inputs:
        slots[node] = Slot(node, node.op.kind, row_major(node.type.rank), node.op.label)  # type: ignore[attr-defined]
    constants = (n for n in graph.nodes() if isinstance(n.op, views.Constant) and scalar_constant(n) is None)
    for number, node in enumerate(constants):
        slots[node] = Slot(node, "constant", row_major(node.type.rank), f"constant{number}")
    for state, value in graph.updates.items():
        slots[value] = slots[state]
    for number, node in enumerate(graph.outputs):
        slots[node] = Slot(node, "output", row_major(node.type.rank), f"output{number}")
    for group in groups:
        for node in group.stores:
            if node not in slots:
                layout = layouts.layouts.get(node, row_major(node.type.rank))
                slots[node] = Slot(node, "arena", layout, f"t{len(slots)}")
    return slots
