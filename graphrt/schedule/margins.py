"""Padding without a copy: tensors that convolutions read with a margin of zeros are stored with that margin.

In: a graph with its layouts. Out: for each tensor whose `Pad` is only read by contractions, a layout with margins; the
`Pad` itself then needs no memory and no sweep, its element is a load from the margin or the inside of the tensor. The
kernel that writes the tensor also clears the margin.
"""

from __future__ import annotations

from dataclasses import replace

from ..ir import Graph, Node
from ..ops.base import ContractionOp, TiledProductOp, ViewOp
from ..ops.views import Constant, Pad
from .layout import Layout


def add_margins(graph: Graph, layouts: dict[Node, Layout]) -> set[Node]:
    """Puts margins into `layouts` where they replace a padded copy; returns the `Pad` nodes that are then virtual."""
    users = graph.users()
    roots = set(graph.roots)
    virtual: set[Node] = set()
    margins: dict[Node, list[tuple[int, int]]] = {}
    for node in users:
        if not _is_margin(node, layouts) or node in roots or node.inputs[0] in roots:
            continue
        if not users[node] or not all(
            isinstance(user.op, ContractionOp | TiledProductOp) for user in users[node]
        ):
            continue
        assert isinstance(node.op, Pad)
        source = node.inputs[0]
        widest = margins.setdefault(source, [(0, 0)] * source.type.rank)
        for axis, (low, high) in enumerate(zip(node.op.low, node.op.high)):
            widest[axis] = (max(widest[axis][0], low), max(widest[axis][1], high))
        virtual.add(node)
    for source, widest in margins.items():
        layouts[source] = replace(layouts[source], margins=tuple(widest))
    return virtual


def _is_margin(node: Node, layouts: dict[Node, Layout]) -> bool:
    """Whether this is zero padding, outside the lane axis, of a tensor that lies in the arena with lanes."""
    if not isinstance(node.op, Pad) or node.op.value != 0 or any(node.op.interior):
        return False
    source = node.inputs[0]
    layout = layouts.get(source)
    if (
        source.is_input
        or isinstance(source.op, ViewOp | Constant | Pad)
        or layout is None
        or layout.lane_axis is None
    ):
        return False
    return not node.op.low[layout.lane_axis] and not node.op.high[layout.lane_axis]
