"""Which searches of windows (max-pool) are done on a contraction's result while that is still in registers.

In: a contraction's group and a group that reads its result. Out: whether they may be one kernel, which then stores one
value per window instead of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from ..ir import Node
from ..ops.base import ContractionOp
from ..ops.windows import WindowArgMax, WindowGather
from .group import Group
from .joining import accumulates_in_memory

WINDOW_LIMIT = 4  # elements of the largest window a register tile should have to hold

Readers = Callable[[Node], Collection[Group | None]]  # the groups that read a node; None: the caller does


def is_window_epilogue(group: Group, consumer: Group, readers: Readers) -> bool:
    """Whether the consumer looks through windows that lie side by side at the result of a contraction (after its
    epilogue), every window can be whole in one register tile, and nobody but such consumers needs the result."""
    anchor, op = group.anchor, consumer.stores[0].op if len(consumer.stores) == 1 else None
    if anchor is None or not isinstance(anchor.op, ContractionOp) or accumulates_in_memory(anchor):
        return False
    if not isinstance(op, WindowArgMax | WindowGather) or op.window != op.strides or any(op.padding):
        return False
    if not 1 < math.prod(op.window) <= WINDOW_LIMIT:
        return False
    layout = group.layout
    if layout is None or layout.lane_axis is None or layout.lane_axis >= anchor.type.rank - 2:
        return False
    images = {n for n in group.members if n.shape == anchor.shape}
    search = WindowArgMax(op.window, op.strides)

    def stays_inside(reader: Group | None) -> bool:
        if reader is group:
            return True
        if reader is None or reader.anchor is not None or len(reader.stores) != 1 or reader.layout != layout:
            return False
        position = node = reader.stores[0]
        if node.op == WindowGather(op.window, op.strides) and node.inputs[0] in images:
            position = node.inputs[1]
        return position.op == search and position.inputs[0] in images

    return stays_inside(consumer) and all(stays_inside(r) for image in images for r in readers(image))
