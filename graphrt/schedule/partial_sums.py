"""Sums that are taken where their terms are computed: the statistics of a convolution's results, of a batch, ...

In: reductions of large tensors that lie with one axis in lanes. Out: which of them a group may take along, and their
layout. Such a sum keeps the lane axis, so that a vector of terms is added to a vector of sums; the sweep that would read
the whole tensor again is gone. The kernel of the group clears the sums and adds to them tile by tile, always in the same
order (`kernels/partial_sums.py`).
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Graph, Node
from ..ops.base import ContractionOp, TiledProductOp
from ..ops.reductions import ReduceSum
from .compose import ReadRecorder
from .costs import CACHED_BYTES, SUM_BLOCKS
from .group import Group, domain_vars
from .joining import accumulates_in_memory
from .layout import Layout, lanes_of


def add_sum_layouts(graph: Graph, layouts: dict[Node, Layout]) -> None:
    """Gives sums over large tensors the lanes of their terms."""
    roots = set(graph.roots)
    for node in graph.nodes():
        if node in roots or not isinstance(node.op, ReduceSum) or node.op.keepdims or node.dtype.size < 4:
            continue
        terms, layout = node.inputs[0], layouts.get(node.inputs[0])
        if terms.type.bytes <= CACHED_BYTES or not node.dtype.is_float or layout is None:
            continue
        axis = layout.lane_axis
        if axis is None or axis in node.op.axes:
            continue
        if -(-terms.shape[axis] // layout.lanes) >= SUM_BLOCKS:
            kept = [a for a in range(terms.type.rank) if a not in node.op.axes]
            layouts[node] = lanes_of(len(kept), kept.index(axis), layout.lanes)


def may_take_sum(group: Group, consumer: Group, is_stored: Callable[[Node], bool]) -> bool:
    """Whether `consumer` is a sum of what can be computed at the points of `group`, from what the group has there. It then
    is made ready to join: its reads are those of one point."""
    anchor, node = group.anchor, consumer.anchor
    if node is None or consumer.stores != [node] or not isinstance(node.op, ReduceSum):
        return False
    if consumer.layout is None or consumer.layout.lane_axis is None or group.layout is None:
        return False
    kept = [a for a in range(node.inputs[0].type.rank) if a not in node.op.axes]
    if node.inputs[0].shape != group.domain or group.layout.lane_axis != kept[consumer.layout.lane_axis]:
        return False
    if group.window is not None or not (anchor is None or isinstance(anchor.op, ContractionOp)):
        return False
    if anchor is not None and (isinstance(anchor.op, TiledProductOp) or accumulates_in_memory(anchor)):
        return False
    identity = domain_vars(group.domain)
    recorder = ReadRecorder(is_stored)
    recorder.value(node.inputs[0], identity)
    for read, indices in recorder.reads.items():
        if read in group.members and any(read.shape != group.domain or at != identity for at in indices):
            return False
    consumer.anchor, consumer.domain, consumer.identity = None, group.domain, identity
    consumer.reads, consumer.anchor_reads = recorder.reads, set()
    return True
