"""Reductions: each output element combines many terms; the result flows into the group's epilogue in registers.

Candidates: vectors along an output axis (one accumulator per lane), or along a reduced axis (lanes are combined once
at the end, in a fixed tree; those of neighbouring outputs together, into a vector of results).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..loops import ir
from ..loops.builder import identity
from ..loops.index import Index, Var, as_index
from ..ops.base import ReductionOp
from ..schedule.group import Group
from .contraction_plan import MAX_ACCUMULATORS
from .folding import fold, over_run, runs, side_by_side
from .space import (
    SERIAL_WORK,
    Axis,
    Point,
    SlotComposer,
    Slots,
    access_cost,
    accumulator_type,
    choose_parallel,
    domain_order,
    lane_of,
    make_kernel,
    may_split,
    nest,
)

FOLDED_OUTPUTS = 4  # neighbouring outputs from which folding their lanes together pays
FOLDED_VECTORS = 32  # per output, up to which it does: longer sums should walk through memory in one stream


@dataclass(frozen=True)
class Choice:
    """Which axis carries the lanes: ("output", axis), ("reduce", axis) or ("none", 0)."""

    where: str
    axis: int


def build_reduction(group: Group, slots: Slots, lanes: int, threads: int, split: int | None = None):
    """The kernel of a group whose anchor is a ReductionOp; with `split`, the axis of the domain to divide among the
    threads, None if that one cannot be."""
    anchor = group.anchor
    assert anchor is not None and isinstance(anchor.op, ReductionOp)
    op, types = anchor.op, [n.type for n in anchor.inputs]
    extents = tuple(op.reduce_extents(types))
    domain = group.domain
    choices = [Choice("output", a) for a, extent in enumerate(domain) if extent > 1]
    choices += [Choice("reduce", a) for a, extent in enumerate(extents) if extent > 1]
    best = min(choices, key=lambda c: _cost(c, group, slots, lanes, extents), default=Choice("none", 0))
    work = math.prod(domain) * math.prod(extents)
    serial = (work < SERIAL_WORK and split is None) or not domain or math.prod(domain) < 2
    composer = SlotComposer(group, slots)
    order = domain_order(group, slots)
    outputs = [
        Axis(f"i{a}", domain[a], lanes if best == Choice("output", a) else 0, position=a) for a in order
    ]
    short = math.prod(extents) <= FOLDED_VECTORS * lanes
    folded = short and _folded_outputs(best, group, slots, lanes, outputs)
    if folded:
        outputs[-1].tile = min(outputs[-1].extent, lanes, MAX_ACCUMULATORS.get(lanes, lanes))
    if split is not None and not may_split(outputs, threads, split):
        return None
    if not serial:
        choose_parallel(outputs, threads, split)
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

    def folded_body(point: Point) -> list[ir.Statement]:
        found = runs(point, domain, lanes)
        if found is None:  # a single output
            return body(point)
        points = point.combinations(range(len(domain)))
        totals = [ir.Register(f"sums{next(counter)}", total_type, True) for _ in found]
        statements = _reduce_lanes(
            op.combine, total_type, points, reduced, term, lanes, totals, found, counter
        )
        for run, total in zip(found, totals):
            value = composer.builder.cast(ir.Read(total, run.lane), anchor.dtype)
            composer.overrides = {(anchor, run.index): value}
            statements.append(over_run(run, lanes, list(composer.stores(run.index))))
        return statements

    def body(point: Point) -> list[ir.Statement]:
        index = tuple(point.indices[a][0] for a in range(len(domain)))
        lane_output = best.where == "output"
        along = lane_of(index[best.axis]) if lane_output else None
        statements, result = _reduce(op, total_type, index, reduced, term, best, lanes, along, counter)
        composer.overrides = {(anchor, index): composer.builder.cast(result, anchor.dtype)}
        return statements + list(composer.stores(index))

    statements = nest(outputs, folded_body if folded else body)
    return make_kernel(group.name, composer, statements, lanes, serial)


def _folded_outputs(best: Choice, group: Group, slots: Slots, lanes: int, outputs: list[Axis]) -> bool:
    """Whether neighbours along the innermost output axis should be folded together: their results, and all that the
    epilogue reads, lie side by side."""
    if best.where != "reduce" or not outputs or outputs[-1].position != len(group.domain) - 1:
        return False
    if outputs[-1].extent < FOLDED_OUTPUTS:
        return False
    lane = Var("result_lane", lanes)
    index = [as_index(Var(f"i{k}", extent)) for k, extent in enumerate(group.domain)]
    index[-1] = as_index(Var("block", -(-group.domain[-1] // lanes))) * lanes + as_index(lane)
    probe = SlotComposer(group, slots)
    assert group.anchor is not None
    probe.overrides = {(group.anchor, tuple(index)): ir.Constant(0, group.anchor.dtype)}
    return side_by_side(probe.stores(index), lane)


def _reduce_lanes(combine, dtype, points, reduced, term, lanes, totals, found, counter) -> list[ir.Statement]:
    """Vectors of partial results for several outputs, folded together."""
    k = next(counter)
    registers = [ir.Register(f"lanes{k}_{j}", dtype, True) for j in range(len(points))]
    axis = next(a for a in reduced if a.lanes)
    others = [a for a in reduced if a is not axis]
    full, rest = divmod(axis.extent, lanes)
    statements: list[ir.Statement] = []
    for count, first, active in ((full, 0, None), (1 if rest else 0, full, rest)):
        if not count:
            continue
        lane = Var(f"{axis.name}_lane", lanes)

        def accumulate(window: Point, lane=lane, first=first) -> list[ir.Statement]:
            indices = {a: i[0] for a, i in window.indices.items()}
            indices[axis.position] = (indices[axis.position] + first) * lanes + as_index(lane)
            at = tuple(indices[a.position] for a in sorted(reduced, key=lambda a: a.position))
            return [
                ir.Assign(register, ir.Binary(combine, ir.Read(register, lane), term(point, at)))
                for point, register in zip(points, registers)
            ]

        body: list[ir.Statement] = [ir.Assign(r, identity(combine, dtype)) for r in registers]
        body += nest([*others, Axis(axis.name, count, position=axis.position)], accumulate)
        body += fold(registers, totals, found, lane, combine, not statements, lambda: f"fold{next(counter)}")
        statements.append(ir.Loop(lane, body, "vector", active))
    return statements


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
