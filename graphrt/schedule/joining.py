"""Which groups may be one kernel.

In: two groups. Out: whether the second may be computed where the first is: as its epilogue, on values that are still in
registers, or as another result of the same sweep. What the graph around them forbids (cycles) is `fuse.py`'s affair.
"""

from __future__ import annotations

import math

from ..ir import Node
from ..loops.index import Var, as_index
from ..ops import views
from ..ops.base import ContractionOp, TiledProductOp
from ..ops.copy import Copy
from ..ops.lane_sums import Conv2dBackwardWeightLanes
from ..ops.scatter import ScatterAdd
from .costs import (
    CACHED_BYTES,
    SCATTER_TERMS,
    SHORT_AXIS,
    SWEEP_RESULTS,
    WIDEST_LANES,
    is_plain,
    operand_bytes,
)
from .group import Group, domain_vars
from .layout import row_major


def is_epilogue(group: Group, consumer: Group, sole_reader: bool) -> bool:
    """Whether the elementwise `consumer` reads what `group` computes only at its own point, so that it can follow there.

    `sole_reader`: nobody else reads a result of the group."""
    if consumer.anchor is not None or not (consumer.domain == group.domain or _is_reshape(group, consumer)):
        return False
    if not (_agree_on_layout(group, consumer) or (sole_reader and _may_take_layout(group, consumer))):
        return False
    own = [
        (node, index)
        for node, indices in consumer.reads.items()
        if node in group.members
        for index in indices
    ]
    if not all(consumer.is_own_point(node.shape, index) for node, index in own):
        return False
    return group.anchor is None or _absorbs(group.anchor, consumer)


def are_siblings(first: Group, second: Group) -> bool:
    """Whether two elementwise groups over one index space read a common buffer, so that one sweep serves both."""
    if len(first.stores) + len(second.stores) > SWEEP_RESULTS or not _agree_on_layout(first, second):
        return False
    return any(n in second.reads and n.type.size * 4 >= first.lead.type.size for n in first.reads)


def accumulates_in_memory(anchor: Node) -> bool:
    """Whether a contraction sums into its stored result block by block of its operands: few outputs with a short last
    axis (a convolution's weight gradient) over operands that do not fit into the L2 cache."""
    if isinstance(anchor.op, Conv2dBackwardWeightLanes):
        return True
    if not isinstance(anchor.op, ContractionOp) or anchor.type.rank < 3 or anchor.shape[-1] >= SHORT_AXIS:
        return False
    operands = operand_bytes(anchor)
    return operands > CACHED_BYTES and operands > 4 * anchor.type.bytes and anchor.dtype.size >= 4


def _absorbs(anchor: Node, consumer: Group) -> bool:
    """Contractions and reductions absorb arithmetic on their result, not windows or other reads of neighbours.

    Scatters and tiled products absorb nothing: their results are complete only at the end.
    """
    if isinstance(anchor.op, ScatterAdd | TiledProductOp) or accumulates_in_memory(anchor):
        return False
    return all(is_plain(node) for node in consumer.stores)


def _agree_on_layout(a: Group, b: Group) -> bool:
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


def _may_take_layout(group: Group, consumer: Group) -> bool:
    """Whether a contraction may write its one reader's results in that reader's layout: with enough terms per result,
    scattering them costs less than another sweep."""
    anchor = group.anchor
    if anchor is None or consumer.domain != group.domain or group.stores != [anchor]:
        return False
    if not isinstance(anchor.op, ContractionOp) or any(isinstance(n.op, Copy) for n in consumer.stores):
        return False
    terms = anchor.op.flops(*(n.type for n in anchor.inputs)) / max(1, 2 * anchor.type.size)
    return terms >= SCATTER_TERMS and all(n.dtype == anchor.dtype for n in consumer.stores)
