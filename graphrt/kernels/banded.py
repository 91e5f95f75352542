"""Loops that leave out what lies outside a band: blocks that only hold known constants, and terms that are zero.

In: the axes of a nest, the `Band` of its results, the code of a computed and of a constant block. Out: the loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from ..loops import ir
from ..loops.index import Index, Var
from ..schedule.bands import Band, value_band
from ..schedule.group import Group
from .space import Axis, Point, SlotComposer, lane_of, nest

Body = Callable[[Point], list[ir.Statement]]


def results_band(group: Group) -> Band | None:
    """The band outside of which each of a group's results is a constant of its own, or None."""
    bands = [value_band(node) if node.shape == group.domain else None for node in group.stores]
    if None in bands or len({(b.rows, b.columns, b.offset) for b in bands if b is not None}) != 1:
        return None
    return bands[0]


def nest_inside(axes: Sequence[Axis], band: Band, computed: Body, constant: Body) -> list[ir.Statement]:
    """`nest(axes, computed)`, but for blocks outside the band, which `constant` fills.

    The inner one of the band's two axes is walked by two loops that meet where the outer one's block leaves the band.
    Blocks that do not divide their axes are all computed.
    """
    at = max(k for k, axis in enumerate(axes) if axis.position in (band.rows, band.columns))
    axis = axes[at]
    by_columns = axis.position == band.columns
    other = next(a for a in axes if a.position == (band.rows if by_columns else band.columns))
    unit = axis.tile * max(1, axis.lanes)
    if axis.parallel or any(a.extent % (a.tile * max(1, a.lanes)) for a in (axis, other)):
        return nest(axes, computed)

    def cut(place: Point) -> list[ir.Statement]:
        fixed = place.indices[other.position]
        ends = ends_over(fixed, lane_of(fixed[0]) if other.lanes else None)
        if ends is None:
            raise AssertionError("a block's indices differ by more than a constant")
        if by_columns:
            bound = (ends[1] + band.offset + unit) // unit
            inside, outside = replace(axis, high=(bound,)), replace(axis, low=(bound,))
        else:
            bound = (ends[0] - band.offset) // unit
            inside, outside = replace(axis, low=(bound,)), replace(axis, high=(bound,))
        rest = axes[at + 1 :]

        def at_place(body: Body) -> Body:
            return lambda inner: body(Point({**place.indices, **inner.indices}))

        return nest([inside, *rest], at_place(computed)) + nest([outside, *rest], at_place(constant))

    return nest(axes[:at], cut)


def constant_stores(composer: SlotComposer, index: Sequence[Index]) -> list[ir.Store]:
    """A group's results at a place outside of their bands."""
    stores = []
    for node in composer.group.stores:
        band, slot = value_band(node), composer.slots[node]
        assert band is not None
        address = slot.layout.address(node.shape, index)
        stores.append(ir.Store(composer.buffer(slot), address, ir.Constant(band.value, node.dtype)))
    return stores


def ends_over(indices: Iterable[Index], lane: Var | None) -> tuple[Index, Index] | None:
    """The least and the greatest of the indices over all lanes; None if they differ by more than a constant."""
    ends = [end for index in indices for end in _over_lanes(index, lane)]
    if len({end.terms for end in ends}) != 1:
        return None
    return min(ends, key=lambda end: end.constant), max(ends, key=lambda end: end.constant)


def _over_lanes(index: Index, lane: Var | None) -> tuple[Index, Index]:
    factor = index.coefficient(lane) if lane is not None else 0
    if not factor or lane is None:
        return index, index
    rest = index - Index({lane: factor})
    return rest, rest + factor * lane.high
