"""Zeros around a stored tensor: the kernel that writes the tensor also clears its margin.

In: slots with margins. Out: loops that clear them, after everything else (`clear_margins`), or on the way, so that memory is
written from beginning to end (`nest_with_margins`): single lines at the ends of rows, written later, would each wait for
main memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

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


Margins = Mapping[Slot, ir.Buffer]  # what to clear around results that are written


def may_clear_inside(margins: Margins, axes: Sequence[Axis]) -> bool:
    """Whether `nest_with_margins` can walk these axes, in this order."""
    whole = all(axis.tile == 1 and not axis.inner and axis.extent % max(1, axis.lanes) == 0 for axis in axes)
    lane_axis = next((axis.position for axis in axes if axis.lanes), None)
    first = _first_margin(margins, axes)
    return (
        whole
        and 0 < first < len(axes)
        and any(axis.lanes for axis in axes[:first])
        and all(slot.layout.lane_axis == lane_axis for slot in margins)
    )


def nest_with_margins(
    axes: Sequence[Axis], margins: Margins, body: Callable[[Point], list[ir.Statement]]
) -> list[ir.Statement]:
    """`nest(axes, body)` that clears what lies before and after each row, plane, ... when it comes past."""
    first = _first_margin(margins, axes)

    def inside(point: Point, depth: int) -> list[ir.Statement]:
        if depth == len(axes):
            return body(point)
        axis = axes[depth]
        statements: list[ir.Statement] = []
        for slot, buffer in margins.items():
            low, _ = slot.layout.margin(axis.position)
            statements += _zeros(slot, buffer, point, axis.position, -low, low, axes[depth + 1 :])
        statements += nest([axis], lambda at: inside(Point({**point.indices, **at.indices}), depth + 1))
        for slot, buffer in margins.items():
            _, high = slot.layout.margin(axis.position)
            statements += _zeros(slot, buffer, point, axis.position, axis.extent, high, axes[depth + 1 :])
        return statements

    return nest(axes[:first], lambda point: inside(point, first))


def _first_margin(margins: Margins, axes: Sequence[Axis]) -> int:
    """The first axis any result has a margin along."""
    found = (k for k, axis in enumerate(axes) if any(any(s.layout.margin(axis.position)) for s in margins))
    return next(found, len(axes))


def _zeros(
    slot: Slot, buffer: ir.Buffer, point: Point, axis: int, start: int, count: int, inner: Sequence[Axis]
) -> list[ir.Statement]:
    """Zeros at the positions start .. start + count - 1 of `axis`, over the padded extents of the `inner` axes."""
    if not count:
        return []
    starts = {axis: start} | {a.position: -slot.layout.margin(a.position)[0] for a in inner}
    padded = [
        Axis(f"m{a.position}", a.extent + sum(slot.layout.margin(a.position)), position=a.position)
        for a in inner
    ]
    walked = [Axis(f"m{axis}", count, position=axis), *padded]

    def clear(at: Point) -> list[ir.Statement]:
        index = [
            at.indices[k][0] + starts[k] if k in starts else point.indices[k][0]
            for k in range(len(slot.node.shape))
        ]
        address = slot.layout.address(slot.node.shape, index)
        return [ir.Store(buffer, address, ir.Constant(0, slot.node.dtype))]

    return nest(walked, clear)
