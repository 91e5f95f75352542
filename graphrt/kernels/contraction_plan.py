"""The plan of a contraction: which axis carries the lanes, which register tile, from a small cost model.

In: a `Contraction`, and how each operand's address depends on each axis (`analyse`). Out: a `Plan`. This file is the
only place with tuning numbers of contractions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..ir import Node, TensorType
from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..ops.base import Contraction
from ..ops.patches import WindowPatches
from ..ops.taps import ChosenTaps
from ..ops.views import Pad
from ..schedule.bands import Band, kept_share, tile_share, zero_band
from ..schedule.group import Group
from ..schedule.joining import accumulates_in_memory
from .banded import results_band
from .folding import covers_run
from .space import SlotComposer, Slots, access, loads
from .windows import results_of, window_points

# Tuning numbers of the plan's cost model, in units of one vector FMA.
# By float32 lanes: AVX-512, AVX2, NEON. They have 32, 16 and 32 registers; NEON has no broadcast from memory inside a
# multiply-add, so its broadcasts need registers too.
MAX_ACCUMULATORS = {16: 24, 8: 12, 4: 16}
# Tiles of whole windows: neighbouring columns share what they read, which LLVM keeps in registers while it unrolls.
WINDOW_ACCUMULATORS = {16: 24, 8: 8, 4: 16}
LOAD = 0.45  # a contiguous or broadcast load that hits L1
PAIRED_LOAD = 2.0  # where every lane has factors of its own: they stream in from L2
GATHER_LANE = 1.0  # one lane of a gather
LOOP = 2.5  # branch and index updates of one innermost iteration
LATENCY = 8  # independent accumulators needed to keep the FMA units busy
CROWDED = {
    16: 15,
    8: 7,
    4: 15,
}  # accumulators beyond which two vector operands leave no register to share loads
LANE_REDUCE = 12.0  # folding one accumulator's lanes at the end
LANE_FOLD = 3.0  # the same together with others, into a vector of results
RUN = 12.0  # the epilogue of such a vector
STORE_VARYING = 16.0  # gathering or scattering one vector of results, or of what their epilogue reads
TURN = 4.5  # turning squares of sums in registers, per vector
SELECT = {16: 0.5, 8: 1.3, 4: 1.0}  # choosing between two vectors, lane by lane
SELECTED_LOAD = {16: 1.0}  # a load of something to choose from: it is not part of a multiply-add
LOOKUP = {16: 0.5, 8: 1.0}  # one element of a vector register for every lane
SPARSE_GAIN = 0.9  # sums over windows must cost less than this part of sums over pixels
PEEL_GAIN = 0.01  # part of the products that are with padding from which edges get code of their own
EDGE_TEST = 4.0  # a tile whose reads must be tested against the operand's edges one by one
NEAR_BYTES = 24 << 10  # of an L1 cache, for a panel that many tiles read
BLOCK_BYTES = 3 << 18  # operands of one block, where a contraction goes block by block: half the cache
PREFETCH_WORK = 1024  # vector FMAs of a tile that leave time to fetch its epilogue's operands meanwhile
PREFETCH_SHARE = 0.5  # of a tile's time in which that is asked for
SHORT_ACCUMULATORS = 8  # of tiles whose code should be short
SPLIT_COST = 1.15  # what a plan may cost more than the best one if its split saves a barrier
SPLIT_SLACK = 500.0  # the same in vector FMAs, for small ones
UNROLL_LIMIT = {
    16: 150,
    8: 64,
    4: 64,
}  # FMAs in one innermost block: more room is more for LLVM to hoist and spill


def whole_row(lanes: int) -> int:
    """The longest image row one register tile can hold while a row of the other operand and its weights pass by."""
    return MAX_ACCUMULATORS.get(lanes, 12) * 2 // 3


@dataclass(frozen=True)
class Plan:
    """`vector`: the position (output axes first, then reduced) that carries the lanes, or None. `tiles`: unrolled
    units by position."""

    vector: int | None
    tiles: tuple[int, ...]
    cost: float


@dataclass(frozen=True)
class Zeros:
    """An operand is zero beyond a diagonal between an output and a reduced position: at reduced - output > offset
    (`after`), or at output - reduced > offset."""

    output: int
    reduced: int
    offset: int
    after: bool


@dataclass(frozen=True)
class Dependence:
    """Which positions each operand varies along, and how lanes along a position would touch left, right, output.

    `unrolled_edges` are output positions along which the left operand may leave its bounds together with the last
    reduced axis (that axis is unrolled: a tile over the whole position knows every real tap); `looped_edges` those
    together with another reduced axis (its loop is narrowed, for tiles of one). `zeros`: known zeros of the operands,
    which narrow the loop over a reduced axis. `band`: outside of it every result is a constant."""

    left: frozenset[int]
    right: frozenset[int]
    touch: tuple[tuple[str, str, str], ...]
    unrolled_edges: frozenset[int] = frozenset()
    looped_edges: frozenset[int] = frozenset()
    patches: WindowPatches | ChosenTaps | None = None  # the left operand, if it is selected in registers
    window: tuple[int, int] | None = None  # of the last two output axes: tiles hold whole ones
    zeros: tuple[Zeros, ...] = ()
    band: Band | None = None
    may_turn: bool = False  # squares of sums may be turned in registers before the epilogue
    apart: tuple[
        int, ...
    ] = ()  # by output position: vectors the epilogue would gather or scatter lane by lane


def operands(
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
    right, right_at = anchor.inputs[1], [as_index(i) for i in spec.right_index(out, red)]
    if any(index.high < low or index.low >= high for index, low, high in ranges) or in_padding(left, at):
        return None, composer.value(right, right_at)
    zero = ir.Constant(0, left.dtype)
    value = composer.builder.where_in_range(ranges, lambda: composer.value(left, at), zero)
    if not spec.both_leave:
        return value, composer.value(right, right_at)
    kept = [at[axis] for axis in inside]
    ranges = [(index, 0, extent) for index, extent in zip(right_at, right.shape) if index not in kept]
    return value, composer.builder.where_in_range(ranges, lambda: composer.value(right, right_at), zero)


def in_padding(operand: Node, at: Sequence[Index]) -> bool:
    """Whether an operand made of zeros around another one is certainly zero at this place."""
    pad = operand.op
    if not isinstance(pad, Pad) or pad.value != 0:
        return False
    return any(
        index.high < low or index.low >= extent - high
        for index, low, high, extent in zip(at, pad.low, pad.high, operand.shape)
    )


def analyse(group: Group, spec: Contraction, slots: Slots, lanes: int) -> Dependence:
    """How operands and results depend on each axis; lanes are probed by splitting one axis at a time."""
    anchor = group.anchor
    assert anchor is not None
    extents = spec.output + spec.reduce
    plain = [as_index(Var(f"a{k}", e)) for k, e in enumerate(extents)]
    composer = SlotComposer(group, slots)
    rank = len(spec.output)
    left, right = operands(composer, anchor, spec, plain[:rank], plain[rank:])

    def positions(scalar: ir.Scalar | None) -> frozenset[int]:
        if scalar is None:
            return frozenset()
        return frozenset(
            k for k, index in enumerate(plain) if index.terms and index.terms[0][0] in scalar.vars
        )

    touch = []
    apart: list[int] = []
    for k, extent in enumerate(extents):
        lane = Var("lane", lanes)
        split = list(plain)
        split[k] = as_index(Var("block", max(1, -(-extent // lanes)))) * lanes + as_index(lane)
        probe = SlotComposer(group, slots)
        out = tuple(split[:rank])
        points = window_points(out, group.window)

        def worst(scalar: ir.Scalar | None, lane=lane) -> str:
            kinds = [access(load.address, lane) for load in loads([scalar])] if scalar is not None else []
            return next((kind for kind in ("varying", "contiguous", "uniform") if kind in kinds), "uniform")

        touches = [worst(value) for value in operands(probe, anchor, spec, points[0], split[rank:])]
        if k < len(spec.output):
            probe.overrides = {(anchor, p): ir.Constant(0, anchor.dtype) for p in points}
            stores = [s for p in results_of(points, group.window) for s in probe.stores(p)]
            kinds = [access(s.address, lane) for s in stores]
            touches.append(next((x for x in ("varying", "contiguous", "uniform") if x in kinds), "uniform"))
            reads = loads(s.value for s in stores)
            apart.append(kinds.count("varying") + sum(access(r.address, lane) == "varying" for r in reads))
        else:
            touches.append("uniform")
        touch.append(tuple(touches))
    unrolled, looped = _edges(anchor, spec, plain)
    op = anchor.inputs[0].op
    patches = op if isinstance(op, WindowPatches | ChosenTaps) else None
    sides = positions(left), positions(right)
    known = patches, group.window, _zeros(anchor, spec, plain), results_band(group)
    plain_sums = spec.step is None and patches is None and group.window is None and not unrolled | looped
    plain_stores = not group.sums and {4} == {n.dtype.size for n in group.stores}
    may_turn = plain_sums and plain_stores and not accumulates_in_memory(anchor)
    return Dependence(*sides, tuple(touch), unrolled, looped, *known, may_turn, tuple(apart))  # type: ignore[arg-type]


def turned_axis(
    spec: Contraction, d: Dependence, vector: int, tiles: tuple[int, ...], lanes: int
) -> int | None:
    """The output axis along which a tile's results lie side by side, where they do not along the lanes: tiles that hold
    as many indices of it as there are lanes turn their sums in registers (turned.py). None: results are stored as they
    are."""
    rank = len(spec.output)
    if not d.may_turn or vector >= rank or d.touch[vector][2] != "varying" or spec.output[vector] % lanes:
        return None
    fitting = (k for k in range(rank) if k != vector and tiles[k] == lanes and not spec.output[k] % lanes)
    return next((k for k in fitting if d.touch[k][2] == "contiguous"), None)


def _zeros(anchor: Node, spec: Contraction, plain: list[Index]) -> tuple[Zeros, ...]:
    """The diagonals beyond which an operand is zero, where they lie between one output and one reduced axis."""
    if spec.step is not None:
        return ()
    rank = len(spec.output)
    found = []
    for operand, index_of in zip(anchor.inputs, (spec.left_index, spec.right_index)):
        band = zero_band(operand)
        if band is None:
            continue
        index = index_of(plain[:rank], plain[rank:])
        row, column = as_index(index[band.rows]), as_index(index[band.columns])
        if row in plain[:rank] and column in plain[rank:]:
            found.append(Zeros(plain.index(row), plain.index(column), band.offset, True))
        elif column in plain[:rank] and row in plain[rank:]:
            found.append(Zeros(plain.index(column), plain.index(row), band.offset, False))
    return tuple(found)


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


def sums_over_windows(patches: WindowPatches, image: TensorType, lanes: int) -> bool:
    """Whether a weight gradient should select what every pooling window chose instead of multiplying the zeros around
    it: with a batch that fills the lanes, so that selecting is one instruction, and few selections per product."""
    if image.shape[0] < lanes / 2:
        return False
    taps = patches.kernel[0] * patches.kernel[1]
    selections, _ = patches.selections(*patches.kernel)
    dense = taps * patches.strides[0] * patches.strides[1]
    return taps + selections * SELECT.get(lanes, 1.0) < SPARSE_GAIN * dense


def taps_over_windows(taps: ChosenTaps, batch: int, lanes: int) -> bool:
    """Whether the gradient of an image should look up the weight of what every pooling window chose instead of
    multiplying the zeros around it: with a batch that fills the lanes, and weights that fit in one vector each."""
    if batch < lanes / 2 or lanes not in LOOKUP or taps.section * taps.window[0] > lanes:
        return False
    dense = math.prod(taps.kernel) * math.prod(taps.strides)
    return math.prod(taps.patch) * (1 + LOOKUP[lanes]) < SPARSE_GAIN * dense


def choose_plan(spec: Contraction, dependence: Dependence, lanes: int) -> Plan:
    """The cheapest plan over vector axes and register tiles."""
    best: Plan | None = None
    for plan in _plans(spec, dependence, lanes):
        if best is None or plan.cost < best.cost - 1e-9:
            best = plan
    return best or Plan(None, (1,) * len(spec.output + spec.reduce), 0.0)


def ranked_plans(spec: Contraction, dependence: Dependence, lanes: int, count: int) -> list[Plan]:
    """The `count` cheapest plans (fewer if there are no more), the one `choose_plan` gives first."""
    best = choose_plan(spec, dependence, lanes)
    others = [plan for plan in _plans(spec, dependence, lanes) if plan != best]
    return [best, *sorted(others, key=lambda plan: plan.cost)[: count - 1]]


def _plans(spec: Contraction, dependence: Dependence, lanes: int) -> Iterator[Plan]:
    extents = spec.output + spec.reduce
    for vector in range(len(extents)):
        if extents[vector] < 2 or (dependence.window and vector >= len(spec.output) - 2):
            continue
        if isinstance(dependence.patches, ChosenTaps) and vector != 0:
            continue
        for tiles in _tilings(spec, dependence, vector, lanes):
            yield Plan(vector, tiles, _cost(spec, dependence, vector, tiles, lanes))


def short_plan(spec: Contraction, dependence: Dependence, lanes: int, free: Plan) -> Plan:
    """The cheapest plan with little code and the vector axis of `free`, so that every sum has the same order."""
    extents = spec.output + spec.reduce

    def is_short(tiles: tuple[int, ...]) -> bool:
        """Counting the tiles of what remains at the end of each axis, which have code of their own."""
        units = [_units(extent, lanes, k == free.vector) for k, extent in enumerate(extents)]
        return math.prod(size + count % size for size, count in zip(tiles, units)) <= SHORT_ACCUMULATORS

    return _with_axis_of(free, spec, dependence, lanes, is_short)


def restricted_plan(
    spec: Contraction, dependence: Dependence, lanes: int, free: Plan, split: int, threads: int
) -> Plan:
    """The cheapest plan with the vector axis of `free`, so that every sum has the same order, and tiles small enough
    for the output axis `split` to be divided among the threads. `free` itself where its lanes are folded: the tile
    decides how."""
    if free.vector is None:
        return free
    units = _units((spec.output + spec.reduce)[split], lanes, split == free.vector)
    most = max(1, units // threads)
    if free.tiles[split] <= most:
        return free
    return _with_axis_of(free, spec, dependence, lanes, lambda tiles: tiles[split] <= most)


def _with_axis_of(
    free: Plan,
    spec: Contraction,
    dependence: Dependence,
    lanes: int,
    is_allowed: Callable[[tuple[int, ...]], bool],
) -> Plan:
    """The cheapest plan with the vector axis of `free` and tiles that are allowed; `free` itself if there is none, or where
    lanes are folded: the tile decides how."""
    if free.vector is None or free.vector >= len(spec.output):
        return free
    best: Plan | None = None
    for tiles in _tilings(spec, dependence, free.vector, lanes):
        if is_allowed(tiles):
            cost = _cost(spec, dependence, free.vector, tiles, lanes)
            if best is None or cost < best.cost - 1e-9:
                best = Plan(free.vector, tiles, cost)
    return best or free


def _units(extent: int, lanes: int, is_vector: bool) -> int:
    return -(-extent // lanes) if is_vector else extent


def _sizes(count: int, limit: int) -> list[int]:
    """Tile sizes worth trying for an axis of `count` units: exact divisors, and a few others."""
    sizes = {d for d in range(1, min(count, limit) + 1) if count % d == 0}
    sizes |= {d for d in (2, 3, 4, 5, 6, 7, 8, 12) if d <= min(count, limit)}
    return sorted(sizes)


def _tilings(spec: Contraction, dependence: Dependence, vector: int, lanes: int):
    """Register tiles: up to two axes that only the left operand follows times up to two only the right follows."""
    limit = (WINDOW_ACCUMULATORS if dependence.window else MAX_ACCUMULATORS).get(lanes, 12)
    rank = len(spec.output)
    extents = spec.output + spec.reduce

    if isinstance(dependence.patches, ChosenTaps):  # pixels that see the same windows
        strides = dependence.patches.strides
        for size in _sizes(extents[1], max(1, limit // math.prod(strides))):
            yield (1, size, *strides, 1, 1, 1)
        return

    def sides(operand: frozenset[int], other: frozenset[int]) -> list[list[tuple[int, int]]]:
        axes = [k for k in range(rank) if k in operand and k not in other]
        axes = sorted(axes, key=lambda k: (k == vector, -k))  # blocks of lanes lie in pages far apart: last
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

    windows = dict(zip((rank - 2, rank - 1), dependence.window or ()))
    left_options = sides(dependence.left, dependence.right)
    right_options = sides(dependence.right, dependence.left)
    for left in left_options:
        for right in right_options:
            if math.prod(s for _, s in left + right) > limit:
                continue
            tiles = [1] * len(extents)
            for k, size in left + right:
                tiles[k] = size
            if all(tiles[k] % size == 0 for k, size in windows.items()):
                yield tuple(tiles)


def _cost(spec: Contraction, d: Dependence, vector: int, tiles: tuple[int, ...], lanes: int) -> float:
    """Estimated time of the whole contraction, in vector FMAs."""
    rank = len(spec.output)
    extents = spec.output + spec.reduce
    tile = math.prod(tiles[:rank])
    left_loads = math.prod(tiles[k] for k in range(rank) if k in d.left)
    right_loads = math.prod(tiles[k] for k in range(rank) if k in d.right)
    touch_left, touch_right, touch_out = d.touch[vector]
    unroll, work = unroll_of(spec, d, vector, tile, lanes), float(tile)
    near = PAIRED_LOAD if vector < rank and "uniform" not in (touch_left, touch_right) else LOAD
    if isinstance(d.patches, ChosenTaps):  # a row of taps for every channel and image row, for all columns
        left_loads, unroll, work = tiles[1] * tiles[2], 1, work * (1 + LOOKUP.get(lanes, 1.0))
        touch_left = "contiguous"
    elif d.patches is not None:
        chosen, left_loads = (tiles[1] * count for count in d.patches.selections(tiles[2], tiles[3]))
        unroll, work = 1, work + chosen * SELECT.get(lanes, 1.0)
        near = SELECTED_LOAD.get(lanes, LOAD)
    load = 0.0
    for touch, count in ((touch_left, left_loads), (touch_right, right_loads)):
        load += count * (near if touch != "varying" else GATHER_LANE * lanes)
    steps = float(math.prod(_units(e, lanes, rank + k == vector) for k, e in enumerate(spec.reduce)))
    for zeros in d.zeros:
        if zeros.reduced != vector:
            steps *= _kept(zeros, extents, tiles[zeros.output] * (lanes if zeros.output == vector else 1))
    # Both load ports and FMA units are busy at once; the larger of the two binds, the smaller shows a little.
    per_step = max(work, load) + 0.25 * min(work, load) + LOOP / unroll
    per_step *= max(1.0, (LATENCY / work) if work < LATENCY else 1.0)
    finish = tile * 2.0
    if vector >= rank:
        side_by_side = covers_run(tiles[:rank], spec.output) and d.touch[rank - 1][2] == "contiguous"
        if side_by_side:
            finish = tile * LANE_FOLD + -(-tile // lanes) * RUN
        else:
            finish += tile * LANE_REDUCE
    elif touch_out == "varying":
        turns = turned_axis(spec, d, vector, tiles, lanes) is not None
        finish += tile * (TURN if turns else STORE_VARYING * max(1, d.apart[vector]))
    total = 1.0
    for k in range(rank):
        units = _units(extents[k], lanes, k == vector)
        total *= _tile_factor(units, tiles[k])
        whole = tiles[k] == (extents[k] if k in d.unrolled_edges else 1)
        if k in d.unrolled_edges | d.looped_edges and (k == vector or not whole):
            total *= EDGE_TEST
    if d.band is not None:
        rows, columns = (tiles[k] * (lanes if k == vector else 1) for k in (d.band.rows, d.band.columns))
        if not any(extents[k] % tile_ for k, tile_ in ((d.band.rows, rows), (d.band.columns, columns))):
            total *= tile_share(extents[d.band.rows], extents[d.band.columns], d.band.offset, rows, columns)
    # A partly filled last block of lanes costs as much as a full one: `_units` already rounds up.
    return total * (per_step * steps + finish) / tile


def _kept(zeros: Zeros, extents: tuple[int, ...], tile: int) -> float:
    """The part of a reduced axis that tiles of `tile` outputs walk."""
    if zeros.after:
        return kept_share(extents[zeros.output], extents[zeros.reduced], zeros.offset, tile, True)
    return kept_share(extents[zeros.reduced], extents[zeros.output], zeros.offset, tile, False)


def _tile_factor(units: int, size: int) -> float:
    """Units of work counting that a remainder tile runs less efficiently."""
    full, rest = divmod(units, size)
    return full * size + (rest + 0.35 * (size - rest) if rest else 0)


def unroll_of(spec: Contraction, d: Dependence, vector: int | None, tile: int, lanes: int) -> int:
    """How many innermost reduced indices are unrolled into one block.

    Where both factors are vectors (lanes along a reduced or a batched axis), unrolled positions of a convolution share them,
    and keeping the shared ones costs more registers than a full tile leaves.
    """
    vectors = vector is not None and "uniform" not in d.touch[vector][:2]
    if vectors and tile > CROWDED.get(lanes, 7):
        return 1
    if not spec.reduce or not spec.reduce[-1]:
        return 1
    last, limit = spec.reduce[-1], UNROLL_LIMIT.get(lanes, 64)
    if last * tile <= limit and last <= 8:
        return last
    return next((u for u in (8, 4, 2) if last % u == 0 and u * tile <= limit * 2 // 3), 1)
