"""Contractions: GEMM, batched GEMM and all convolution directions are one shape, a sum of products of two reads.

    for parallel/outer output tiles:
        accumulators (tile of output points, one vector register each) = 0
        for reduced indices:  accumulator[l, r] += left[l] * right[r]
        results = epilogue(accumulators)     bias, activation, optimizer update, ... composed from the graph

The plan (which axis carries the lanes, the register tile) comes from `contraction_plan.py`. Three bodies share the
innermost code: lanes along an output axis, lanes along a reduced axis folded once per tile, and the same folded once per
block of operands into a result in memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

from ..ir import Node
from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..ops.base import Contraction, ContractionOp
from ..schedule.fuse import CACHED_BYTES, Group, accumulates_in_memory
from .contraction_plan import Dependence, Plan, analyse, choose_plan, operands, unroll_of
from .space import (
    SERIAL_WORK,
    Axis,
    Point,
    SlotComposer,
    Slots,
    accumulator_type,
    choose_parallel,
    lane_of,
    make_kernel,
    nest,
)


def build_contraction(group: Group, slots: Slots, lanes: int, threads: int):
    """The kernel of a group whose anchor is a ContractionOp."""
    return _Builder(group, slots, lanes, threads).kernel()


class _Builder:
    """What the three bodies share: the plan, the axes, and the composer of the group's expressions."""

    def __init__(self, group: Group, slots: Slots, lanes: int, threads: int):
        anchor = group.anchor
        assert anchor is not None and isinstance(anchor.op, ContractionOp)
        self.group, self.slots, self.lanes, self.anchor = group, slots, lanes, anchor
        self.spec = anchor.op.contraction([n.type for n in anchor.inputs])
        self.dependence = analyse(group, self.spec, slots, lanes)
        self.plan = choose_plan(self.spec, self.dependence, lanes)
        self.rank, extents = len(self.spec.output), self.spec.output + self.spec.reduce
        self.positions = range(self.rank, len(extents))  # of the reduced axes
        self.composer = SlotComposer(group, slots)
        self.sum_type = accumulator_type(anchor.dtype)
        self.serial = math.prod(extents) < SERIAL_WORK
        self._counter = itertools.count()
        self._stream_axes = _stream_axes(self.dependence, self.plan, self.rank)
        vector, tiles = self.plan.vector, self.plan.tiles
        outputs = [
            Axis(f"i{k}", extents[k], lanes if k == vector else 0, tiles[k], position=k)
            for k in slots[group.stores[0]].layout.order
        ]
        self.outputs = _loop_order(outputs, self.dependence, self.plan)
        if not self.serial:
            choose_parallel(self.outputs, threads)
        self.reduced = _reduced_axes(self.spec, self.plan, lanes)

    def kernel(self):
        folds = self.plan.vector is not None and self.plan.vector >= self.rank
        if folds and self.group.stores == [self.anchor] and accumulates_in_memory(self.anchor):
            statements = self._blocked()
        else:
            statements = nest(self.outputs, self._folded_tile if folds else self._tile)
        return make_kernel(self.group.name, self.composer, statements, self.lanes, self.serial)

    # ------------------------------------------------------------------ the innermost code
    def _registers(self, count: int, lanes: bool) -> list[ir.Register]:
        number = next(self._counter)
        return [ir.Register(f"acc{number}_{k}", self.sum_type, lanes) for k in range(count)]

    def _zero(self) -> ir.Constant:
        return ir.Constant(0, self.sum_type)

    def _accumulate(self, points, registers, along, windows, inside=frozenset()) -> list[ir.Statement]:
        """register[point] += left * right for every unrolled window. The operand with more distinct values is walked
        outside: each of its values is loaded, used against the few values of the other operand, and gone, so that only
        the few stay in registers."""
        order = sorted(
            zip(points, registers), key=lambda pair: [pair[0][k].constant for k in self._stream_axes]
        )
        statements: list[ir.Statement] = []
        for window in windows:
            for point, register in order:
                left, right = operands(self.composer, self.anchor, self.spec, point, window, inside)
                if left is None:
                    continue
                left, right = (self.composer.builder.cast(x, self.sum_type) for x in (left, right))
                statements.append(ir.Assign(register, _multiply_add(left, right, ir.Read(register, along))))
        return statements

    def _finish(self, points, totals) -> list[ir.Statement]:
        """The epilogue: results from the finished sums."""
        cast = self.composer.builder.cast
        self.composer.overrides = {
            (self.anchor, p): cast(t, self.anchor.dtype) for p, t in zip(points, totals)
        }
        return [store for p in points for store in self.composer.stores(p)]

    # ------------------------------------------------------------------ lanes along an output axis, or none
    def _tile(self, place: Point) -> list[ir.Statement]:
        points = place.combinations(range(self.rank))
        vector = self.plan.vector
        registers = self._registers(len(points), vector is not None)
        along = lane_of(points[0][vector]) if vector is not None else None
        narrowed, inside = _narrow(self.anchor, self.spec, self.reduced, points, along)

        def inner(window: Point) -> list[ir.Statement]:
            return self._accumulate(points, registers, along, window.combinations(self.positions), inside)

        statements: list[ir.Statement] = [ir.Assign(r, self._zero()) for r in registers]
        statements += nest(narrowed, inner)
        return statements + self._finish(points, [ir.Read(r, along) for r in registers])

    # ------------------------------------------------------------------ lanes along a reduced axis
    def _lane_segments(self, axis: Axis) -> Iterator[tuple[int, int, int | None, Var]]:
        """(blocks, first block, active lanes, lane variable) of the full blocks and of the partly filled last one."""
        full, rest = divmod(axis.extent, self.lanes)
        for count, first, active in ((full, 0, None), (1 if rest else 0, full, rest)):
            if count:
                yield count, first, active, Var(f"{axis.name}_lane", self.lanes)

    def _folded_tile(self, place: Point) -> list[ir.Statement]:
        """Vectors of partial sums, whose lanes are folded once at the end of the tile."""
        points = place.combinations(range(self.rank))
        registers, totals = self._registers(len(points), True), self._registers(len(points), False)
        axis = next(a for a in self.reduced if a.lanes)
        others = [a for a in self.reduced if a is not axis]
        statements: list[ir.Statement] = [ir.Assign(t, self._zero()) for t in totals]
        for count, first, active, lane in self._lane_segments(axis):

            def inner(window: Point, lane=lane, first=first) -> list[ir.Statement]:
                blocks = [(i + first) * self.lanes + as_index(lane) for i in window.indices[axis.position]]
                whole = Point({**window.indices, axis.position: blocks})
                return self._accumulate(points, registers, lane, whole.combinations(self.positions))

            body: list[ir.Statement] = [ir.Assign(r, self._zero()) for r in registers]
            body += nest([Axis(axis.name, count, position=axis.position), *others], inner)
            for total, register in zip(totals, registers):
                folded = ir.LaneReduce("add", ir.Read(register, lane))
                body.append(ir.Assign(total, ir.Binary("add", ir.Read(total), folded)))
            statements.append(ir.Loop(lane, body, "vector", active))
        return statements + self._finish(points, [ir.Read(t) for t in totals])

    # ------------------------------------------------------------------ lanes along a reduced axis, block by block
    def _blocked(self) -> list[ir.Statement]:
        """One block of the operands at a time: it stays in cache while all outputs take their terms from it, and the
        folded sums are added up in the stored result."""
        anchor, slot = self.anchor, self.slots[self.anchor]
        buffer = self.composer.buffer(slot)

        def clear(place: Point) -> list[ir.Statement]:
            points = place.combinations(range(self.rank))
            return [
                ir.Store(buffer, slot.layout.address(anchor.shape, p), ir.Constant(0, anchor.dtype))
                for p in points
            ]

        statements = nest(self.outputs, clear)
        lane_axis = next(a for a in self.reduced if a.lanes)
        row_axis = next((a for a in self.reduced if a is not lane_axis and a.tile == 1), None)
        rows = _rows_per_block(anchor, row_axis, lane_axis)
        others = [a for a in self.reduced if a is not lane_axis and a is not row_axis]
        inner_axes = others if row_axis is None else [replace(row_axis, extent=rows), *others]
        for count, first, active, lane in self._lane_segments(lane_axis):
            outer = [Axis(lane_axis.name, count, position=lane_axis.position)]
            if row_axis is not None:
                outer.append(
                    Axis(f"{row_axis.name}_block", row_axis.extent // rows, position=row_axis.position)
                )

            def tiles(block: Point, lane=lane, first=first, active=active) -> list[ir.Statement]:
                fixed = {
                    lane_axis.position: [
                        (block.indices[lane_axis.position][0] + first) * self.lanes + as_index(lane)
                    ]
                }

                def tile(place: Point) -> list[ir.Statement]:
                    points = place.combinations(range(self.rank))
                    registers = self._registers(len(points), True)

                    def inner(window: Point) -> list[ir.Statement]:
                        indices = {**window.indices, **fixed}
                        if row_axis is not None:
                            start = block.indices[row_axis.position][0] * rows
                            indices[row_axis.position] = [
                                start + i for i in window.indices[row_axis.position]
                            ]
                        windows = Point(indices).combinations(self.positions)
                        return self._accumulate(points, registers, lane, windows)

                    body: list[ir.Statement] = [ir.Assign(r, self._zero()) for r in registers]
                    body += nest(inner_axes, inner)
                    for point, register in zip(points, registers):
                        address = slot.layout.address(anchor.shape, point)
                        folded = ir.LaneReduce("add", ir.Read(register, lane))
                        body.append(
                            ir.Store(buffer, address, ir.Binary("add", ir.Load(buffer, address), folded))
                        )
                    return [ir.Loop(lane, body, "vector", active)]

                return nest(self.outputs, tile)

            statements += nest(outer, tiles)
        return statements


def _rows_per_block(anchor: Node, row_axis: Axis | None, lane_axis: Axis) -> int:
    """How many indices of the row axis one block takes, so that a block's operands fill half the cache at most."""
    if row_axis is None:
        return 1
    operand_bytes = sum(n.type.bytes for n in anchor.inputs) / lane_axis.count
    limit = max(1, int(row_axis.extent * (CACHED_BYTES / 2) / operand_bytes))
    return max(d for d in range(1, row_axis.extent + 1) if row_axis.extent % d == 0 and d <= limit)


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
        if (index.low >= 0 and index.high < extent) or any(other[side] != index for other in reads):
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


def _multiply_add(x: ir.Scalar, y: ir.Scalar, z: ir.Scalar) -> ir.Scalar:
    return ir.Fma(x, y, z) if z.dtype.is_float else ir.Binary("add", ir.Binary("mul", x, y), z)


def _loop_order(outputs: list[Axis], d: Dependence, plan: Plan) -> list[Axis]:
    """Tiles of the vector operand outside, tiles of the broadcast operand inside: the wide panel stays in L1."""
    if plan.vector is None or plan.vector >= len(outputs):
        return outputs
    wide = d.left if plan.vector in d.left else d.right
    return sorted(outputs, key=lambda axis: axis.position not in wide)


def _reduced_axes(spec: Contraction, plan: Plan, lanes: int) -> list[Axis]:
    rank = len(spec.output)
    tile = math.prod(plan.tiles[:rank])
    folds = plan.vector is not None and plan.vector >= rank
    unroll = unroll_of(spec, tile, folds, lanes)
    axes = []
    for k, extent in enumerate(spec.reduce):
        is_vector = rank + k == plan.vector
        last = k == len(spec.reduce) - 1
        axes.append(
            Axis(
                f"r{k}",
                extent,
                lanes if is_vector else 0,
                1 if is_vector or not last else unroll,
                position=rank + k,
            )
        )
    return axes
