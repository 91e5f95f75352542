"""Zeros around a stored tensor: the loops that clear its margin, added to the kernel that writes the tensor."""

from __future__ import annotations

from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..schedule.plan import Slot
from .space import Axis, Point, choose_parallel, nest


def clear_margins(
    slot: Slot, buffer: ir.Buffer, threads: int, split: int | None = None
) -> list[ir.Statement]:
    """Stores zeros before and after every axis that has a margin, over the whole padded extent of the others.

    `split`: the axis to split over the threads, where there is a choice."""
    layout, shape = slot.layout, slot.node.shape
    zero = ir.Constant(0, slot.node.dtype)
    statements: list[ir.Statement] = []
    for axis, (low, high) in enumerate(layout.margins):
        for count, first in ((low, -low), (high, shape[axis])):
            if not count:
                continue
            starts, axes = [], []
            for other, extent in zip(layout.order, layout.blocks(shape)):
                is_margin = other == axis
                starts.append(first if is_margin else -layout.margin(other)[0])
                axes.append(Axis(f"m{other}", count if is_margin else extent, position=other))
            start = dict(zip(layout.order, starts))
            choose_parallel(axes, threads, split)

            def clear(point: Point, start=start) -> list[ir.Statement]:
                lane = Var("lane", layout.lanes)
                index: list[Index] = []
                for k in range(len(shape)):
                    at = point.indices[k][0]
                    index.append(
                        at * layout.lanes + as_index(lane) if k == layout.lane_axis else at + start[k]
                    )
                return [ir.Loop(lane, [ir.Store(buffer, layout.address(shape, index), zero)], "vector")]

            statements += nest(axes, clear)
    return statements
