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
from collections.abc import Callable, Iterator
from dataclasses import replace

from ..ir import Node
from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..ops.base import Contraction, ContractionOp
from ..schedule.costs import CACHED_BYTES, operand_bytes
from ..schedule.group import Group
from ..schedule.joining import accumulates_in_memory
from .banded import constant_stores, nest_inside
from .contraction_plan import (
    BLOCK_BYTES,
    NEAR_BYTES,
    SPLIT_COST,
    SPLIT_SLACK,
    Dependence,
    Plan,
    analyse,
    operands,
    restricted_plan,
    turned_axis,
    unroll_of,
)
from .folding import Run, fold, over_run, runs, side_by_side
from .narrowing import narrow, padded_ends, without_zeros
from .partial_sums import Sums, clear_sums, summed_axes
from .plan_choice import PlanChoice, cheapest
from .prefetch import EpilogueFetcher
from .space import (
    SERIAL_WORK,
    Axis,
    Point,
    SlotComposer,
    Slots,
    accumulator_type,
    choose_parallel,
    digits_of,
    domain_order,
    lane_of,
    loads,
    make_kernel,
    may_split,
    nest,
)
from .turned import Turned, turned_fetches, turned_tile
from .windows import covered_extents, results_of


def build_contraction(
    group: Group,
    slots: Slots,
    lanes: int,
    threads: int,
    split: int | None = None,
    plans: PlanChoice = cheapest,
):
    """The kernel of a group whose anchor is a ContractionOp, by the plan that `plans` chooses; with `split`, the output axis to divide among the threads,
    None if that one cannot be, or would cost too much."""
    builder = _Builder(group, slots, lanes, threads, split, plans)
    return builder.kernel() if split is None or builder.may_split(split, threads) else None


class _Builder:
    """What the three bodies share: the plan, the axes, and the composer of the group's expressions."""

    def __init__(
        self, group: Group, slots: Slots, lanes: int, threads: int, split: int | None, plans: PlanChoice
    ):
        anchor = group.anchor
        assert anchor is not None and isinstance(anchor.op, ContractionOp)
        self.group, self.slots, self.lanes, self.anchor = group, slots, lanes, anchor
        self.spec = anchor.op.contraction([n.type for n in anchor.inputs])
        self.dependence = analyse(group, self.spec, slots, lanes)
        self.plan = self.free_plan = plans(group.name, self.spec, self.dependence, lanes)
        if split is not None:
            self.plan = restricted_plan(self.spec, self.dependence, lanes, self.plan, split, threads)
        self.rank, extents = len(self.spec.output), self.spec.output + self.spec.reduce
        self.positions = range(self.rank, len(extents))  # of the reduced axes
        self.composer = SlotComposer(group, slots)
        self.sum_type = accumulator_type(anchor.dtype)
        self.serial = math.prod(extents) < SERIAL_WORK and split is None
        self._counter = itertools.count()
        self._stream_axes = _stream_axes(self.dependence, self.plan, self.rank)
        vector, tiles = self.plan.vector, self.plan.tiles
        self.turned = self._turned()
        covered = covered_extents(group, self.spec)
        outputs = [
            Axis(f"i{k}", covered[k], lanes if k == vector else 0, tiles[k], position=k)
            for k in domain_order(group, slots)
        ]
        self.outputs = _loop_order(outputs, self.dependence, self.plan, anchor, self._panel_bytes())
        if self.turned is not None:
            self.outputs = self.turned.axes(self.outputs)
        if not self.serial:
            choose_parallel(self.outputs, threads, split, summed_axes(group))
        self.reduced = [
            self._with_digits(axis) for axis in _reduced_axes(self.spec, self.dependence, self.plan, lanes)
        ]
        self.outputs, self.reduced = (
            [self._with_edges(axis) for axis in axes] for axes in (self.outputs, self.reduced)
        )

    def may_split(self, split: int, threads: int) -> bool:
        """Whether the plan with the axis `split` divided among the threads does not cost much more than the best one,
        and is not one that goes block by block through memory, or around a band."""
        if accumulates_in_memory(self.anchor) or self.dependence.band is not None:
            return False
        if split in summed_axes(self.group):
            return False
        is_serial = math.prod(self.spec.output + self.spec.reduce) < SERIAL_WORK
        present = self.free_plan.cost if is_serial else self.free_plan.cost / threads
        if self.plan.cost / threads > SPLIT_COST * present + SPLIT_SLACK:
            return False
        return may_split(self.outputs, threads, split)

    def kernel(self):
        folds = self.plan.vector is not None and self.plan.vector >= self.rank
        if (
            self.group.stores == [self.anchor]
            and accumulates_in_memory(self.anchor)
            and self._has_blocks(folds)
        ):
            statements = self._blocked()
        elif self.turned is not None:
            statements = nest(self.outputs, self._turned_tile)
        elif not folds and self.dependence.band is not None:
            statements = nest_inside(self.outputs, self.dependence.band, self._tile, self._filled)
        else:
            statements = clear_sums(self.composer, self.outputs)
            statements += nest(self.outputs, self._folded_tile if folds else self._tile)
        return make_kernel(self.group.name, self.composer, statements, self.lanes, self.serial)

    def _panel_bytes(self) -> int:
        """What a tile reads of the operand in its lanes."""
        side = self.dependence.left if self.plan.vector in self.dependence.left else self.dependence.right
        width = math.prod(self.plan.tiles[k] for k in range(self.rank) if k in side)
        return width * self.lanes * math.prod(self.spec.reduce) * self.anchor.dtype.size

    def _turned(self) -> Turned | None:
        """How the plan's tiles are turned, if they are."""
        vector = self.plan.vector
        if vector is None:
            return None
        results = turned_axis(self.spec, self.dependence, vector, self.plan.tiles, self.lanes)
        return None if results is None else Turned(vector, results, self.lanes)

    def _has_blocks(self, folds: bool) -> bool:
        """Whether the lanes go along a reduced axis, or there is another one to take blocks of."""
        return folds or (self.plan.vector is not None and bool(self.reduced) and self.reduced[0].tile == 1)

    def _with_digits(self, axis: Axis) -> Axis:
        """A reduced axis whose operands' addresses divide its index (several axes seen as one) as nested loops over the
        digits: otherwise the innermost loop computes quotients and remainders."""
        if axis.lanes:
            return axis
        extents = self.spec.output + self.spec.reduce
        plain = [as_index(Var(f"a{k}", extent)) for k, extent in enumerate(extents)]
        var = Var(axis.name, axis.extent)
        plain[axis.position] = as_index(var)
        probe = SlotComposer(self.group, self.slots)
        factors = operands(probe, self.anchor, self.spec, plain[: self.rank], plain[self.rank :])
        addresses = [load.address for load in loads(f for f in factors if f is not None)]
        inner = digits_of(addresses, var)
        return replace(axis, inner=inner) if inner and inner[-1] % axis.tile == 0 else axis

    def _with_edges(self, axis: Axis) -> Axis:
        """An axis along which the left operand ends in padding, for some of the unrolled indices of other axes, with code
        of its own for the ends: products with padding are left out there."""
        if axis.lanes or axis.parallel or axis.inner:
            return axis
        walked = [a for a in (*self.outputs, *self.reduced) if a is not axis and not a.lanes]
        unrolled = [a.position for a in walked if a.tile == a.extent > 1]
        ends = padded_ends(self.anchor.inputs[0], self.spec, axis.position, axis.tile, unrolled)
        return replace(axis, peel=ends)

    # ------------------------------------------------------------------ the innermost code
    def _name(self) -> str:
        return f"acc{next(self._counter)}"

    def _registers(self, count: int, lanes: bool) -> list[ir.Register]:
        name = self._name()
        return [ir.Register(f"{name}_{k}", self.sum_type, lanes) for k in range(count)]

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
                total = ir.Read(register, along)
                if getattr(self.anchor.op, "pairs", False):
                    statements.append(ir.Assign(register, ir.PairDot(left, right, total)))
                    continue
                left, right = (self.composer.builder.cast(x, self.sum_type) for x in (left, right))
                statements.append(ir.Assign(register, _multiply_add(left, right, total)))
        return statements

    def _finish(self, points, totals, along: Var | None) -> list[ir.Statement]:
        """The epilogue: results from the finished sums, one per window where the group looks through windows, and what
        is added up of them. `along`: the lanes of the points."""
        cast = self.composer.builder.cast
        self.composer.overrides = {
            (self.anchor, p): cast(t, self.anchor.dtype) for p, t in zip(points, totals)
        }
        results = results_of(points, self.group.window)
        sums = Sums(self.composer, results, along, self._name)
        statements = sums.begin()
        for point in results:
            statements += [*sums.add(point), *self.composer.stores(point)]
        return statements + sums.end()

    def _stores(self, points, totals) -> list[ir.Store]:
        """The epilogue of a group that adds nothing up."""
        return [s for s in self._finish(points, totals, None) if isinstance(s, ir.Store)]

    # ------------------------------------------------------------------ lanes along an output axis, or none
    def _tile(self, place: Point) -> list[ir.Statement]:
        points = place.combinations(range(self.rank))
        vector = self.plan.vector
        registers = self._registers(len(points), vector is not None)
        along = lane_of(points[0][vector]) if vector is not None else None
        results = self._finish(points, [ir.Read(r, along) for r in registers], along)
        fetcher = EpilogueFetcher(self.composer, self.reduced, self.rank, vector, self.lanes, self._zero())
        hints = fetcher.hints(place, results, len(points), along)
        return self._sums(points, registers, along, hints) + results

    def _sums(
        self, points, registers, along: Var | None, hints: Callable[[Point], list[ir.Statement]]
    ) -> list[ir.Statement]:
        """The registers filled with the sums of a tile; `hints` are given in each step of the loops."""
        narrowed, inside = narrow(self.anchor, self.spec, self.reduced, self.reduced, {}, points, along)
        narrowed = without_zeros(narrowed, self.dependence.zeros, points, along)

        def inner(window: Point) -> list[ir.Statement]:
            sums = self._accumulate(points, registers, along, window.combinations(self.positions), inside)
            return hints(window) + sums

        statements: list[ir.Statement] = [ir.Assign(r, self._zero()) for r in registers]
        return statements + nest(narrowed, inner)

    def _broadcast(self, point: tuple[Index, ...], window: Index) -> ir.Scalar:
        """The factor of a turned tile that does not vary along the lanes."""
        assert self.turned is not None
        left, right = operands(self.composer, self.anchor, self.spec, point, [window])
        factor = right if self.turned.vector in self.dependence.left else left
        assert factor is not None  # turned sums read no padding
        return factor

    def _turned_tile(self, place: Point) -> list[ir.Statement]:
        assert self.turned is not None
        lane = Var("sum_lane", self.lanes)
        points = self.turned.points(place, lane)
        registers = self._registers(len(points), True)
        hints: Callable[[Point], list[ir.Statement]] = lambda window: []  # noqa: E731
        if len(self.reduced) == 1:
            hints = turned_fetches(
                self.turned,
                points[0],
                lane,
                self.reduced[0],
                lambda at: self._stores([at], [self._zero()]),
                self._broadcast,
            )
        sums = self._sums(points, registers, lane, hints)
        return turned_tile(self.turned, points, registers, lane, sums, self._stores)

    def _filled(self, place: Point) -> list[ir.Statement]:
        """A tile outside the band of the results."""
        return [
            s for point in place.combinations(range(self.rank)) for s in constant_stores(self.composer, point)
        ]

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
        registers = self._registers(len(points), True)
        along = self._result_runs(place)
        totals = self._registers(len(along or points), along is not None)
        axis = next(a for a in self.reduced if a.lanes)
        others = [a for a in self.reduced if a is not axis]
        statements: list[ir.Statement] = [] if along else [ir.Assign(t, self._zero()) for t in totals]
        for number, (count, first, active, lane) in enumerate(self._lane_segments(axis)):

            def inner(window: Point, lane=lane, first=first) -> list[ir.Statement]:
                blocks = [(i + first) * self.lanes + as_index(lane) for i in window.indices[axis.position]]
                whole = Point({**window.indices, axis.position: blocks})
                return self._accumulate(points, registers, lane, whole.combinations(self.positions))

            body: list[ir.Statement] = [ir.Assign(r, self._zero()) for r in registers]
            body += nest([Axis(axis.name, count, position=axis.position), *others], inner)
            if along:
                body += fold(registers, totals, along, lane, "add", number == 0, self._name)
            for total, register in zip(() if along else totals, registers):
                folded = ir.LaneReduce("add", ir.Read(register, lane))
                body.append(ir.Assign(total, ir.Binary("add", ir.Read(total), folded)))
            statements.append(ir.Loop(lane, body, "vector", active))
        for run, total in zip(along or (), totals):
            statements.append(
                over_run(run, self.lanes, self._finish([run.index], [ir.Read(total, run.lane)], run.lane))
            )
        if along:
            return statements
        return [*statements, *self._finish(points, [ir.Read(t) for t in totals], None)]

    def _result_runs(self, place: Point) -> list[Run] | None:
        """The tile's points as vectors of results, where they and all the epilogue reads lie side by side."""
        found = runs(place, self.spec.output, self.lanes)
        for run in found or ():
            probe = SlotComposer(self.group, self.slots)
            probe.overrides = {(self.anchor, run.index): ir.Constant(0, self.anchor.dtype)}
            if not side_by_side(probe.stores(run.index), run.lane):
                return None
        return found

    # ------------------------------------------------------------------ block by block of the operands
    def _blocked(self) -> list[ir.Statement]:
        """One block of the operands at a time: it stays in cache while all outputs take their terms from it and add
        them to the stored result. A block is one index (or lane block) of the first axis, a few of the second."""
        clear = nest(self.outputs, lambda place: self._clear(place.combinations(range(self.rank))))
        lane_axis = next((a for a in self.reduced if a.lanes), None)
        first_axis = lane_axis or self.reduced[0]
        rows_axis = next((a for a in self.reduced if a is not first_axis and a.tile == 1), None)
        rows = _rows_per_block(self.anchor, rows_axis, first_axis.count)
        outer = [replace(first_axis, lanes=0)]
        if rows_axis is not None:
            outer.append(
                Axis(
                    f"{rows_axis.name}_block",
                    rows_axis.extent // rows,
                    position=rows_axis.position,
                )
            )

        others = [a for a in self.reduced if a is not first_axis and a is not rows_axis]
        inner = others if rows_axis is None else [replace(rows_axis, extent=rows), *others]
        statements = clear
        segments = (
            [(first_axis.count, 0, None, None)] if lane_axis is None else self._lane_segments(lane_axis)
        )
        for count, first, active, lane in segments:
            outer[0] = replace(outer[0], extent=count)

            def tiles(block: Point, lane=lane, first=first, active=active) -> list[ir.Statement]:
                position = block.indices[first_axis.position][0] + first
                if lane is not None:
                    position = position * self.lanes + as_index(lane)
                first_index = {first_axis.position: position}
                if rows_axis is not None:
                    first_index[rows_axis.position] = block.indices[rows_axis.position][0] * rows
                return nest(
                    self.outputs, lambda place: self._add_block(place, inner, first_index, lane, active)
                )

            statements += nest(outer, tiles)
        return statements

    def _clear(self, points: list[tuple[Index, ...]]) -> list[ir.Statement]:
        zero = ir.Constant(0, self.anchor.dtype)
        return [ir.Store(self._result, self._address(p), zero) for p in points]

    @property
    def _result(self) -> ir.Buffer:
        return self.composer.buffer(self.slots[self.anchor])

    def _address(self, point: tuple[Index, ...]) -> Index:
        return self.slots[self.anchor].layout.address(self.anchor.shape, point)

    def _add_block(
        self, place: Point, inner: list[Axis], start: dict[int, Index], lane: Var | None, active: int | None
    ) -> list[ir.Statement]:
        """One tile of outputs takes its terms from one block: `inner` axes are looped over, from `start` on. Vectors of results are continued where they are; with lanes along a reduced axis (`lane`) they are folded."""
        points = place.combinations(range(self.rank))
        registers = self._registers(len(points), True)
        along = lane if lane is not None else lane_of(points[0][self.plan.vector])  # type: ignore[index]
        narrowed, inside = narrow(self.anchor, self.spec, self.reduced, inner, start, points, along)

        def sums(window: Point) -> list[ir.Statement]:
            indices = {k: [index] for k, index in start.items()}
            for k, window_indices in window.indices.items():
                indices[k] = [start.get(k, Index()) + index for index in window_indices]
            windows = Point(indices).combinations(self.positions)
            return self._accumulate(points, registers, along, windows, inside)

        def store(point: tuple[Index, ...], total: ir.Scalar) -> ir.Store:
            return ir.Store(self._result, self._address(point), total)

        olds = [ir.Load(self._result, self._address(p)) for p in points]
        starts: list[ir.Scalar] = [self._zero() for _ in points] if lane is not None else list(olds)
        body: list[ir.Statement] = [ir.Assign(r, value) for r, value in zip(registers, starts)]
        body += nest(narrowed, sums)
        if lane is None:
            return body + [store(p, ir.Read(r, along)) for p, r in zip(points, registers)]
        found = self._result_runs(place)
        if found is None:
            for point, register, old in zip(points, registers, olds):
                folded = ir.LaneReduce("add", ir.Read(register, lane))
                body.append(store(point, ir.Binary("add", old, folded)))
            return [ir.Loop(lane, body, "vector", active)]
        totals = self._registers(len(found), True)
        body += fold(registers, totals, found, lane, "add", True, self._name)
        result: list[ir.Statement] = [ir.Loop(lane, body, "vector", active)]
        for run, total in zip(found, totals):
            old = ir.Load(self._result, self._address(run.index))
            added = ir.Binary("add", old, ir.Read(total, run.lane))
            result.append(over_run(run, self.lanes, [store(run.index, added)]))
        return result


def _rows_per_block(anchor: Node, row_axis: Axis | None, parts: int) -> int:
    """How many indices of the row axis one block takes, so that a block's operands (one of `parts`) fill half the
    cache at most."""
    if row_axis is None:
        return 1
    limit = max(1, int(row_axis.extent * BLOCK_BYTES / (operand_bytes(anchor) / parts)))
    return max(d for d in range(1, row_axis.extent + 1) if row_axis.extent % d == 0 and d <= limit)


def _stream_axes(d: Dependence, plan: Plan, rank: int) -> list[int]:
    """Output axes of the operand with more distinct tile values first."""
    counts = [math.prod(plan.tiles[k] for k in range(rank) if k in side) for side in (d.left, d.right)]
    first, second = (d.left, d.right) if counts[0] > counts[1] else (d.right, d.left)
    return [k for k in range(rank) if k in first] + [k for k in range(rank) if k in second and k not in first]


def _multiply_add(x: ir.Scalar, y: ir.Scalar, z: ir.Scalar) -> ir.Scalar:
    return ir.Fma(x, y, z) if z.dtype.is_float else ir.Binary("add", ir.Binary("mul", x, y), z)


def _loop_order(outputs: list[Axis], d: Dependence, plan: Plan, anchor: Node, panel: int) -> list[Axis]:
    """Tiles of the vector operand outside, tiles of the broadcast operand inside: the wide panel stays in L1. If it does not
    fit, and the broadcast operand not in L2, the latter goes outside: it then is read from beyond L2 only once."""
    if plan.vector is None or plan.vector >= len(outputs):
        return outputs
    left, right = anchor.inputs
    wide, other, narrow = (d.left, right, d.right) if plan.vector in d.left else (d.right, left, d.left)
    if panel > NEAR_BYTES and other.type.bytes > CACHED_BYTES:
        wide = narrow
    return sorted(outputs, key=lambda axis: axis.position not in wide)


def _reduced_axes(spec: Contraction, d: Dependence, plan: Plan, lanes: int) -> list[Axis]:
    rank = len(spec.output)
    tile = math.prod(plan.tiles[:rank])
    unroll = unroll_of(spec, d, plan.vector, tile, lanes) if d.patches is None else 1
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
