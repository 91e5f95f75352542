"""Reductions: each output element combines many terms; the result flows into the group's epilogue in registers.

Candidates: vectors along an output axis (one accumulator per lane), or along a reduced axis (lanes are combined once
at the end, in a fixed tree).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..loops import ir
from ..loops.builder import identity
from ..loops.index import Index, Var, as_index
from ..ops.base import ReductionOp
from ..schedule.fuse import Group
from .space import (
    SERIAL_WORK,
    Axis,
    Point,
    SlotComposer,
    Slots,
    access_cost,
    accumulator_type,
    choose_parallel,
    lane_of,
    make_kernel,
    nest,
)


@dataclass(frozen=True)
class Choice:
    """Which axis carries the lanes: ("output", axis), ("reduce", axis) or ("none", 0)."""

    where: str
    axis: int


def build_reduction(group: Group, slots: Slots, lanes: int, threads: int):
    """The kernel of a group whose anchor is a ReductionOp."""
    anchor = group.anchor
    assert anchor is not None and isinstance(anchor.op, ReductionOp)
    op, types = anchor.op, [n.type for n in anchor.inputs]
    extents = tuple(op.reduce_extents(types))
    domain = group.domain
    choices = [Choice("output", a) for a, extent in enumerate(domain) if extent > 1]
    choices += [Choice("reduce", a) for a, extent in enumerate(extents) if extent > 1]
    best = min(choices, key=lambda c: _cost(c, group, slots, lanes, extents), default=Choice("none", 0))
    work = math.prod(domain) * math.prod(extents)
    serial = work < SERIAL_WORK or not domain or math.prod(domain) < 2
    composer = SlotComposer(group, slots)
    order = list(slots[group.stores[0]].layout.order)
    outputs = [
        Axis(f"i{a}", domain[a], lanes if best == Choice("output", a) else 0, position=a) for a in order
    ]
    if not serial:
        choose_parallel(outputs, threads)
    reduce_base = len(domain)
    reduced = [
        Axis(f"r{a}", extent, lanes if best == Choice("reduce", a) else 0, position=reduce_base + a)
        for a, extent in enumerate(extents)
    ]

    total_type = accumulator_type(anchor.dtype)

    def term(index: tuple[Index, ...], window: tuple[Index, ...]) -> ir.Scalar:
        value = op.term(
            composer.builder, index, window, lambda k, at: composer.value(anchor.inputs[k], at), types
        )
        return composer.builder.cast(value, total_type)

    counter = iter(range(1 << 30))

    def body(point: Point) -> list[ir.Statement]:
        index = tuple(point.indices[a][0] for a in range(len(domain)))
        lane_output = best.where == "output"
        along = lane_of(index[best.axis]) if lane_output else None
        statements, result = _reduce(op, total_type, index, reduced, term, best, lanes, along, counter)
        composer.overrides = {(anchor, index): composer.builder.cast(result, anchor.dtype)}
        return statements + list(composer.stores(index))

    statements = nest(outputs, body)
    return make_kernel(group.name, composer, statements, lanes, serial)


def _reduce(op, dtype, index, reduced, term, best, lanes, along, counter):
    """Statements that accumulate into registers, and the scalar holding the result."""
    k = next(counter)
    lane_reduce = best.where == "reduce"
    total = ir.Register(f"sum{k}", dtype, along is not None)
    statements: list[ir.Statement] = [ir.Assign(total, identity(op.combine, dtype))]
    if not lane_reduce:

        def accumulate(point: Point) -> list[ir.Statement]:
            window = tuple(point.indices[a.position][0] for a in sorted(reduced, key=lambda a: a.position))
            value = ir.Binary(op.combine, ir.Read(total, along), term(index, window))
            return [ir.Assign(total, value)]

        statements += nest(reduced, accumulate)
        return statements, ir.Read(total, along)
    # Lanes along a reduced axis: a vector register inside, folded into the scalar total at the end of each sweep.
    axis = next(a for a in reduced if a.lanes)
    full, rest = divmod(axis.extent, lanes)
    others = [a for a in reduced if a is not axis]
    for count, first, active in ((full, 0, None), (1 if rest else 0, full, rest)):
        if not count:
            continue
        vector = ir.Register(f"lanes{k}_{first}", dtype, True)
        lane = Var(f"{axis.name}_lane", lanes)
        block = Axis(axis.name, count, position=axis.position)

        def accumulate_lanes(point: Point, vector=vector, lane=lane, first=first) -> list[ir.Statement]:
            indices = {a: i[0] for a, i in point.indices.items()}
            indices[axis.position] = (indices[axis.position] + first) * lanes + as_index(lane)
            window = tuple(indices[a.position] for a in sorted(reduced, key=lambda a: a.position))
            value = ir.Binary(op.combine, ir.Read(vector, lane), term(index, window))
            return [ir.Assign(vector, value)]

        inner: list[ir.Statement] = [ir.Assign(vector, identity(op.combine, dtype))]
        inner += nest([*others, block], accumulate_lanes)
        folded = ir.LaneReduce(op.combine, ir.Read(vector, lane))
        inner.append(ir.Assign(total, ir.Binary(op.combine, ir.Read(total), folded)))
        statements.append(ir.Loop(lane, inner, "vector", active))
    return statements, ir.Read(total)


def _cost(choice: Choice, group: Group, slots: Slots, lanes: int, extents: tuple[int, ...]) -> float:
    """Memory cost per element of one choice."""
    anchor = group.anchor
    assert anchor is not None and isinstance(anchor.op, ReductionOp)
    composer = SlotComposer(group, slots)
    lane = Var("lane", lanes)

    def split(kind: str, axis: int, extent: int) -> Index:
        if choice == Choice(kind, axis):
            return as_index(Var("block", max(1, extent // lanes))) * lanes + as_index(lane)
        return as_index(Var(f"{kind}{axis}", extent))

    index = tuple(split("output", a, e) for a, e in enumerate(group.domain))
    window = tuple(split("reduce", a, e) for a, e in enumerate(extents))
    types = [n.type for n in anchor.inputs]
    value = anchor.op.term(
        composer.builder, index, window, lambda k, at: composer.value(anchor.inputs[k], at), types
    )
    extent = group.domain[choice.axis] if choice.where == "output" else extents[choice.axis]
    waste = -(-extent // lanes) * lanes / max(1, extent)
    terms = max(1, math.prod(extents))
    cost = access_cost([value], [], lane) * waste
    if choice.where == "reduce":
        return cost + 24.0 * lanes / terms + 0.3
    composer.overrides = {(anchor, index): ir.Constant(0, anchor.dtype)}
    stores = composer.stores(index)
    return cost + access_cost([s.value for s in stores], stores, lane) * waste / terms
