"""Contractions: GEMM, batched GEMM and all convolution directions are one shape, a sum of products of two reads.

    for parallel/outer output tiles:
        accumulators (tile of output points, one vector register each) = 0
        for reduced indices:  accumulator[l, r] += left[l] * right[r]
        results = epilogue(accumulators)     bias, activation, optimizer update, ... composed from the graph

The plan (which axis carries the lanes, the register tile, loop order) is chosen by a small cost model from how each
operand's address depends on each axis: `PlanCost` below is the only place with tuning numbers.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from ..ir import Node
from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..ops.base import Contraction, ContractionOp
from ..schedule.fuse import Group
from .pointwise import choose_parallel
from .space import SERIAL_WORK, Axis, Point, SlotComposer, Slots, access, loads, make_kernel, nest

# Tuning numbers of the plan's cost model, in units of one vector FMA.
MAX_ACCUMULATORS = {16: 24, 8: 12, 4: 24}  # by float32 lanes: AVX-512, AVX2, NEON (32, 16 and 32 registers)
LOAD = 0.45  # a contiguous or broadcast load that hits L1
GATHER_LANE = 1.0  # one lane of a gather
LOOP = 2.5  # branch and index updates of one innermost iteration
LATENCY = 8  # independent accumulators needed to keep the FMA units busy
LANE_REDUCE = 12.0  # folding one accumulator's lanes at the end
STORE_VARYING = 16.0  # scattering one vector of results
EDGE_TEST = 4.0  # a tile whose reads must be tested against the operand's edges one by one
UNROLL_LIMIT = 150  # FMAs in one innermost block


@dataclass(frozen=True)
class Plan:
    """`vector`: the position (output axes first, then reduced) that carries the lanes, or None. `tiles`: unrolled
    units by position."""

    vector: int | None
    tiles: tuple[int, ...]
    cost: float


@dataclass(frozen=True)
class Dependence:
    """Which positions each operand varies along, and how lanes along a position would touch left, right, output.

    `unrolled_edges` are output positions along which the left operand may leave its bounds together with the last
    reduced axis (that axis is unrolled: a tile over the whole position knows every real tap); `looped_edges` those
    together with another reduced axis (its loop is narrowed, for tiles of one)."""

    left: frozenset[int]
    right: frozenset[int]
    touch: tuple[tuple[str, str, str], ...]
    unrolled_edges: frozenset[int] = frozenset()
    looped_edges: frozenset[int] = frozenset()


def _operands(
    composer: SlotComposer, anchor: Node, spec: Contraction, out, red, inside: frozenset[int] = frozenset()
) -> tuple[ir.Scalar | None, ir.Scalar]:
    """Both factors at one output and reduced position; the left one is None where it is always padding. Along the
    axes `inside` of the left operand the caller's loops never leave its bounds."""
    left = anchor.inputs[0]
    at = [as_index(i) for i in spec.left_index(out, red)]
    ranges: list[tuple[Index, int, int]] = []
    for axis, (extent, step) in enumerate(zip(left.shape, spec.step or (1,) * len(at))):
        if step > 1:
            ranges.append((at[axis] % step, 0, 1))
            at[axis] = at[axis] // step
        if axis not in inside:
            ranges.append((at[axis], 0, extent))
    if any(index.high < low or index.low >= high for index, low, high in ranges):
        return None, composer.value(anchor.inputs[1], spec.right_index(out, red))
    zero = ir.Constant(0, left.dtype)
    value = composer.builder.where_in_range(ranges, lambda: composer.value(left, at), zero)
    return value, composer.value(anchor.inputs[1], spec.right_index(out, red))


def analyse(group: Group, spec: Contraction, slots: Slots, lanes: int) -> Dependence:
    """How operands and results depend on each axis; lanes are probed by splitting one axis at a time."""
    anchor = group.anchor
    assert anchor is not None
    extents = spec.output + spec.reduce
    plain = [as_index(Var(f"a{k}", e)) for k, e in enumerate(extents)]
    composer = SlotComposer(group, slots)
    rank = len(spec.output)
    left, right = _operands(composer, anchor, spec, plain[:rank], plain[rank:])

    def positions(scalar: ir.Scalar | None) -> frozenset[int]:
        if scalar is None:
            return frozenset()
        return frozenset(k for k, index in enumerate(plain) if index.terms and index.terms[0][0] in scalar.vars)

    touch = []
    for k, extent in enumerate(extents):
        lane = Var("lane", lanes)
        split = list(plain)
        split[k] = as_index(Var("block", max(1, -(-extent // lanes)))) * lanes + as_index(lane)
        probe = SlotComposer(group, slots)
        out = tuple(split[:rank])

        def worst(scalar: ir.Scalar | None, lane=lane) -> str:
            kinds = [access(load.address, lane) for load in loads([scalar])] if scalar is not None else []
            return next((kind for kind in ("varying", "contiguous", "uniform") if kind in kinds), "uniform")

        touches = [worst(value) for value in _operands(probe, anchor, spec, out, split[rank:])]
        if k < len(spec.output):
            probe.overrides = {(anchor, out): ir.Constant(0, anchor.dtype)}
            kinds = [access(s.address, lane) for s in probe.stores(out)]
            touches.append(next((x for x in ("varying", "contiguous", "uniform") if x in kinds), "uniform"))
        else:
            touches.append("uniform")
        touch.append(tuple(touches))
    unrolled, looped = _edges(anchor, spec, plain)
    return Dependence(positions(left), positions(right), tuple(touch), unrolled, looped)  # type: ignore[arg-type]


def _edges(anchor: Node, spec: Contraction, plain: list[Index]) -> tuple[frozenset[int], frozenset[int]]:
    """Output positions whose left index may leave the operand, by the reduced axis that moves it there."""
    rank = len(spec.output)
    unrolled: set[int] = set()
    looped: set[int] = set()
    for index, extent in zip(spec.left_index(plain[:rank], plain[rank:]), anchor.inputs[0].shape):
        index = as_index(index)
        if index.low >= 0 and index.high < extent:
            continue
        variables = index.vars()
        last = any(v in variables for v in plain[-1].vars())
        for k in range(rank):
            if plain[k].vars() & variables:
                (unrolled if last else looped).add(k)
    return frozenset(unrolled), frozenset(looped)


def choose_plan(spec: Contraction, dependence: Dependence, lanes: int) -> Plan:
    """The cheapest plan over vector axes and register tiles."""
    extents = spec.output + spec.reduce
    best: Plan | None = None
    for vector in range(len(extents)):
        if extents[vector] < 2:
            continue
        for tiles in _tilings(spec, dependence, vector, lanes):
            cost = _cost(spec, dependence, vector, tiles, lanes)
            if best is None or cost < best.cost - 1e-9:
                best = Plan(vector, tiles, cost)
    if best is None:
        best = Plan(None, (1,) * len(extents), 0.0)
    return best


def _units(extent: int, lanes: int, is_vector: bool) -> int:
    return -(-extent // lanes) if is_vector else extent


def _sizes(count: int, limit: int) -> list[int]:
    """Tile sizes worth trying for an axis of `count` units: exact divisors, and a few others."""
    sizes = {d for d in range(1, min(count, limit) + 1) if count % d == 0}
    sizes |= {d for d in (2, 3, 4, 5, 6, 7, 8, 12) if d <= min(count, limit)}
    return sorted(sizes)


def _tilings(spec: Contraction, dependence: Dependence, vector: int, lanes: int):
    """Register tiles: up to two axes that only the left operand follows times up to two only the right follows."""
    limit = MAX_ACCUMULATORS.get(lanes, 12)
    rank = len(spec.output)
    extents = spec.output + spec.reduce

    def sides(operand: frozenset[int], other: frozenset[int]) -> list[list[tuple[int, int]]]:
        axes = [k for k in range(rank) if k in operand and k not in other]
        axes = sorted(axes, key=lambda k: (k != vector, -k))
        options: list[list[tuple[int, int]]] = [[]]
        for k in axes:
            for size in _sizes(_units(extents[k], lanes, k == vector), limit):
                if size > 1:
                    options.append([(k, size)])
        for a, b in itertools.combinations(axes, 2):
            for size_a in _sizes(_units(extents[a], lanes, a == vector), limit):
                for size_b in _sizes(_units(extents[b], lanes, b == vector), limit):
                    if size_a > 1 and size_b > 1 and size_a * size_b <= limit:
                        options.append([(a, size_a), (b, size_b)])
        return options

    left_options = sides(dependence.left, dependence.right)
    right_options = sides(dependence.right, dependence.left)
    for left in left_options:
        for right in right_options:
            if math.prod(s for _, s in left + right) > limit:
                continue
            tiles = [1] * len(extents)
            for k, size in left + right:
                tiles[k] = size
            yield tuple(tiles)


def _cost(spec: Contraction, d: Dependence, vector: int, tiles: tuple[int, ...], lanes: int) -> float:
    """Estimated time of the whole contraction, in vector FMAs."""
    rank = len(spec.output)
    extents = spec.output + spec.reduce
    tile = math.prod(tiles[:rank])
    left_loads = math.prod(tiles[k] for k in range(rank) if k in d.left)
    right_loads = math.prod(tiles[k] for k in range(rank) if k in d.right)
    touch_left, touch_right, touch_out = d.touch[vector]
    load = 0.0
    for touch, count in ((touch_left, left_loads), (touch_right, right_loads)):
        load += count * (LOAD if touch != "varying" else GATHER_LANE * lanes)
    unroll = _unroll(spec, tile)
    steps = math.prod(_units(e, lanes, rank + k == vector) for k, e in enumerate(spec.reduce))
    # Both load ports and FMA units are busy at once; the larger of the two binds, the smaller shows a little.
    per_step = max(tile, load) + 0.25 * min(tile, load) + LOOP / unroll
    per_step *= max(1.0, (LATENCY / tile) if tile < LATENCY else 1.0)
    finish = tile * 2.0
    if vector >= rank:
        finish += tile * LANE_REDUCE
    elif touch_out == "varying":
        finish += tile * STORE_VARYING
    total = 1.0
    for k in range(rank):
        units = _units(extents[k], lanes, k == vector)
        total *= _tile_factor(units, tiles[k])
        whole = tiles[k] == (extents[k] if k in d.unrolled_edges else 1)
        if k in d.unrolled_edges | d.looped_edges and (k == vector or not whole):
            total *= EDGE_TEST
    # A partly filled last block of lanes costs as much as a full one: `_units` already rounds up.
    return total * (per_step * steps + finish) / tile


def _tile_factor(units: int, size: int) -> float:
    """Units of work counting that a remainder tile runs less efficiently."""
    full, rest = divmod(units, size)
    return full * size + (rest + 0.35 * (size - rest) if rest else 0)


def _unroll(spec: Contraction, tile: int) -> int:
    """How many innermost reduced indices are unrolled into one block."""
    if not spec.reduce or not spec.reduce[-1]:
        return 1
    last = spec.reduce[-1]
    if last * tile <= UNROLL_LIMIT and last <= 8:
        return last
    return next((u for u in (8, 4, 2) if last % u == 0 and u * tile <= UNROLL_LIMIT // 1.5 and u * tile <= 96), 1)


def build_contraction(group: Group, slots: Slots, lanes: int, threads: int):
    """The kernel of a group whose anchor is a ContractionOp."""
    anchor = group.anchor
    assert anchor is not None and isinstance(anchor.op, ContractionOp)
    spec = anchor.op.contraction([n.type for n in anchor.inputs])
    dependence = analyse(group, spec, slots, lanes)
    plan = choose_plan(spec, dependence, lanes)
    rank, extents = len(spec.output), spec.output + spec.reduce
    composer = SlotComposer(group, slots)
    order = list(slots[group.stores[0]].layout.order)
    outputs = [
        Axis(f"i{k}", extents[k], lanes if k == plan.vector else 0, plan.tiles[k], position=k) for k in order
    ]
    outputs = _loop_order(outputs, dependence, plan)
    serial = math.prod(extents) < SERIAL_WORK
    if not serial:
        choose_parallel(outputs, threads)
    reduced = _reduced_axes(spec, plan, lanes)
    is_float = anchor.dtype.is_float
    vector_reduce = plan.vector is not None and plan.vector >= rank
    counter = itertools.count()
    stream_axes = _stream_axes(dependence, plan, rank)

    def streamed(point: tuple[Index, ...]) -> tuple[int, ...]:
        """Sort key that walks the operand with more distinct values outside: each of them is loaded, used against the
        few values of the other operand, and gone, so that only the few stay in registers."""
        return tuple(point[k].constant for k in stream_axes)

    def accumulate(points, registers, along, windows, inside=frozenset()) -> list[ir.Statement]:
        statements: list[ir.Statement] = []
        for window in windows:
            for point, register in sorted(zip(points, registers), key=lambda pair: streamed(pair[0])):
                left, right = _operands(composer, anchor, spec, point, window, inside)
                if left is None:
                    continue
                statements.append(ir.Assign(register, _multiply_add(left, right, ir.Read(register, along), is_float)))
        return statements

    def body(point: Point) -> list[ir.Statement]:
        points = point.combinations(range(rank))
        number = next(counter)
        has_lanes = plan.vector is not None
        registers = [ir.Register(f"acc{number}_{k}", anchor.dtype, has_lanes) for k in range(len(points))]
        zero = ir.Constant(0, anchor.dtype)
        statements: list[ir.Statement] = [ir.Assign(r, zero) for r in registers]
        if vector_reduce:
            return statements + _lane_reduced(points, registers)
        along = points[0][plan.vector].terms[-1][0] if plan.vector is not None else None

        narrowed, inside = _narrow(anchor, spec, reduced, points, along)

        def inner(place: Point) -> list[ir.Statement]:
            windows = place.combinations(range(rank, len(extents)))
            return accumulate(points, registers, along, windows, inside)

        statements += nest(narrowed, inner)
        composer.overrides = {(anchor, p): ir.Read(r, along) for p, r in zip(points, registers)}
        return statements + _finish(points)

    def _lane_reduced(points, registers) -> list[ir.Statement]:
        """Lanes along a reduced axis: accumulate vectors, then fold each accumulator's lanes once."""
        totals = [ir.Register(f"{r.name}_total", anchor.dtype, False) for r in registers]
        zero = ir.Constant(0, anchor.dtype)
        statements: list[ir.Statement] = [ir.Assign(t, zero) for t in totals]
        axis = next(a for a in reduced if a.lanes)
        others = [a for a in reduced if a is not axis]
        full, rest = divmod(axis.extent, lanes)
        for count, first, active in ((full, 0, None), (1 if rest else 0, full, rest)):
            if not count:
                continue
            lane = Var(f"{axis.name}_lane", lanes)
            block = Axis(axis.name, count, position=axis.position)

            def inner(place: Point, lane=lane, first=first) -> list[ir.Statement]:
                blocks = [(i + first) * lanes + as_index(lane) for i in place.indices[axis.position]]
                whole = Point({**place.indices, axis.position: blocks})
                return accumulate(points, registers, lane, whole.combinations(range(rank, len(extents))))

            loop_body: list[ir.Statement] = [ir.Assign(r, zero) for r in registers]
            loop_body += nest([block, *others], inner)
            for total, register in zip(totals, registers):
                folded = ir.LaneReduce("add", ir.Read(register, lane))
                loop_body.append(ir.Assign(total, ir.Binary("add", ir.Read(total), folded)))
            statements.append(ir.Loop(lane, loop_body, "vector", active))
        composer.overrides = {(anchor, p): ir.Read(t) for p, t in zip(points, totals)}
        return statements + _finish(points)

    def _finish(points) -> list[ir.Statement]:
        return [store for p in points for store in composer.stores(p)]

    statements = nest(outputs, body)
    return make_kernel(group.name, composer, statements, lanes, serial)


def _narrow(
    anchor: Node, spec: Contraction, reduced: list[Axis], points: list[tuple[Index, ...]], lane: Var | None
) -> tuple[list[Axis], frozenset[int]]:
    """Reduced loops narrowed to the real taps of a tile, and the left operand's axes they keep inside its bounds."""
    if spec.step is not None:
        return reduced, frozenset()
    symbols = [as_index(Var(axis.name, axis.extent)) for axis in reduced]
    inside: set[int] = set()
    bounds: dict[int, tuple[list[Index], list[Index]]] = {}
    reads = [[as_index(i) for i in spec.left_index(point, symbols)] for point in points]
    for side, extent in enumerate(anchor.inputs[0].shape):
        index = reads[0][side]
        if index.low >= 0 and index.high < extent or any(other[side] != index for other in reads):
            continue
        if lane in index.vars():  # lanes need different bounds: their reads are tested instead
            continue
        moving = [k for k, symbol in enumerate(symbols) if symbol.vars() & index.vars()]
        if len(moving) != 1 or reduced[moving[0]].tile != 1 or reduced[moving[0]].lanes:
            continue
        symbol = symbols[moving[0]]
        factor = index.coefficient(symbol.terms[0][0])
        if abs(factor) != 1:
            continue
        rest = index - symbol * factor
        low, high = (-rest, extent - rest) if factor == 1 else (rest - extent + 1, rest + 1)
        lows, highs = bounds.setdefault(moving[0], ([], []))
        lows.append(low)
        highs.append(high)
        inside.add(side)
    narrowed = [
        replace(axis, low=tuple(bounds[k][0]), high=tuple(bounds[k][1])) if k in bounds else axis
        for k, axis in enumerate(reduced)
    ]
    return narrowed, frozenset(inside)


def _stream_axes(d: Dependence, plan: Plan, rank: int) -> list[int]:
    """Output axes of the operand with more distinct tile values first."""
    counts = [math.prod(plan.tiles[k] for k in range(rank) if k in side) for side in (d.left, d.right)]
    first, second = (d.left, d.right) if counts[0] > counts[1] else (d.right, d.left)
    return [k for k in range(rank) if k in first] + [k for k in range(rank) if k in second and k not in first]


def _multiply_add(x: ir.Scalar, y: ir.Scalar, z: ir.Scalar, is_float: bool) -> ir.Scalar:
    return ir.Fma(x, y, z) if is_float else ir.Binary("add", ir.Binary("mul", x, y), z)


def _loop_order(outputs: list[Axis], d: Dependence, plan: Plan) -> list[Axis]:
    """Tiles of the vector operand outside, tiles of the broadcast operand inside: the wide panel stays in L1."""
    if plan.vector is None or plan.vector >= len(outputs):
        return outputs
    wide = d.left if plan.vector in d.left else d.right
    return sorted(outputs, key=lambda axis: axis.position not in wide)


def _reduced_axes(spec: Contraction, plan: Plan, lanes: int) -> list[Axis]:
    rank = len(spec.output)
    tile = math.prod(plan.tiles[:rank])
    unroll = _unroll(spec, tile)
    axes = []
    for k, extent in enumerate(spec.reduce):
        is_vector = rank + k == plan.vector
        last = k == len(spec.reduce) - 1
        axes.append(Axis(f"r{k}", extent, lanes if is_vector else 0, 1 if is_vector or not last else unroll, position=rank + k))
    return axes
