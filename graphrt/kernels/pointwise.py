"""Elementwise sweeps: every stored result of a group at every index of its domain, one vector at a time.

The strategy tries each way of walking the domain (flattened where all addresses allow it, vectorised along any axis)
and keeps the one whose memory accesses are cheapest.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..loops import ir
from ..loops.index import Index, Quotient, Remainder, Var, as_index, unravel
from ..schedule.bands import Band
from ..schedule.costs import CACHED_BYTES, element_cost
from ..schedule.group import Group
from .banded import constant_stores, nest_inside, results_band
from .margins import clear_margins, may_clear_inside, nest_with_margins
from .partial_sums import Sums, clear_sums, summed_axes
from .space import (
    SERIAL_WORK,
    Axis,
    Point,
    SlotComposer,
    Slots,
    access_cost,
    choose_parallel,
    domain_order,
    lane_of,
    make_kernel,
    may_split,
    nest,
)
from .transpose import Turn, best_turn, turned_sweep

UNROLLED_EXTENT = 4  # axes up to this long are unrolled when that decides comparisons at compile time


@dataclass
class Walk:
    """A way of walking the domain: `extents` of the walked axes (some flattened together: `groups` lists the logical
    axes of each), and which walked axis carries the lanes."""

    groups: tuple[tuple[int, ...], ...]
    extents: tuple[int, ...]
    vector: int

    def index(self, domain: Sequence[int], walked: Sequence[Index]) -> tuple[Index, ...]:
        result: list[Index] = [Index()] * len(domain)
        for axes, position in zip(self.groups, walked):
            for axis, index in zip(axes, unravel(position, tuple(domain[a] for a in axes))):
                result[axis] = index
        return tuple(result)


def walks(domain: tuple[int, ...], order: Sequence[int]) -> list[Walk]:
    """Candidate walks: axes in `order`, every suffix flattened, any single axis as the vector axis."""
    rank = len(domain)
    if rank == 0:
        return [Walk(((),), (1,), 0)]
    found = []
    for flat in range(rank, 0, -1):  # how many innermost axes are flattened into one
        groups = (*((a,) for a in order[: rank - flat]), tuple(order[rank - flat :]))
        extents = tuple(math.prod(domain[a] for a in axes) for axes in groups)
        found.append(Walk(groups, extents, len(groups) - 1))
    for vector in range(rank - 1):
        groups = tuple((a,) for a in order)
        found.append(Walk(groups, tuple(domain[a] for a in order), vector))
    return found


def build_pointwise(group: Group, slots: Slots, lanes: int, threads: int, split: int | None = None):
    """The kernel of a group without anchor; with `split`, the axis of the domain to divide among the threads, None if
    that one cannot be."""
    if group.sums:
        return _build_summing(group, slots, lanes, threads, split)
    domain = group.domain
    first = slots[group.stores[0]].layout
    best = min(walks(domain, first.order), key=lambda w: _cost(w, group, slots, lanes))
    work = math.prod(domain) * sum(element_cost(n) + 1 for n in group.stores)
    serial = work < SERIAL_WORK and split is None
    composer = SlotComposer(group, slots)
    turn = best_turn(group, slots, lanes)
    if turn is not None and turn.cost < _cost(best, group, slots, lanes):
        if split is not None and not _has_blocks(domain, turn, split, lanes, threads):
            return None
        statements = turned_sweep(group, slots, turn, lanes, 1 if serial else threads, composer, split)
        statements += _cleared_afterwards(group, composer, 1 if serial else threads, split)
        return make_kernel(group.name, composer, statements, lanes, serial)
    axes = [
        Axis(f"i{k}", extent, lanes if k == best.vector else 0, position=k)
        for k, extent in enumerate(best.extents)
    ]
    for axis in _tested_axes(best, group, slots, lanes):
        axes[axis].tile = axes[axis].extent
    walked_split = next((k for k, part in enumerate(best.groups) if split in part), None)
    band = _walked_band(best, group)
    if split is not None and (
        band is not None or walked_split is None or not may_split(axes, threads, walked_split)
    ):
        return None
    if not serial:
        choose_parallel(axes, threads, walked_split)
    _turn_back(axes, group)

    def body(point: Point) -> list[ir.Statement]:
        walked = point.combinations(range(len(axes)))
        return [store for at in walked for store in composer.stores(best.index(domain, at))]

    def constants(point: Point) -> list[ir.Statement]:
        walked = point.combinations(range(len(axes)))
        return [store for at in walked for store in constant_stores(composer, best.index(domain, at))]

    margins = {slots[n]: composer.buffer(slots[n]) for n in group.results if slots[n].layout.margins}
    if margins and band is None and all(len(part) == 1 for part in best.groups):
        separate = [replace(axis, position=best.groups[axis.position][0]) for axis in axes]
        if may_clear_inside(margins, separate):

            def stores(point: Point) -> list[ir.Statement]:
                return [*composer.stores(point.combinations(range(len(separate)))[0])]

            statements = nest_with_margins(separate, margins, stores)
            return make_kernel(group.name, composer, statements, lanes, serial)
    statements = nest(axes, body) if band is None else nest_inside(axes, band, body, constants)
    statements += _cleared_afterwards(group, composer, 1 if serial else threads, split)
    return make_kernel(group.name, composer, statements, lanes, serial)


def _cleared_afterwards(
    group: Group, composer: SlotComposer, threads: int, split: int | None
) -> list[ir.Statement]:
    """Loops that clear the margins of the results."""
    slots = [composer.slots[node] for node in group.results]
    return [
        statement
        for slot in slots
        if slot.layout.margins
        for statement in clear_margins(slot, composer.buffer(slot), threads, split)
    ]


def _turn_back(axes: list[Axis], group: Group) -> None:
    """Walk large results from their last block to the first: contractions go forward, so that what the one before wrote
    last, or read last, is met first, before it has left the cache, and the next one begins with what is written last."""
    large = any(node.type.bytes > CACHED_BYTES for node in group.stores)
    axes[0].backwards = large and len(axes) > 1


def _build_summing(group: Group, slots: Slots, lanes: int, threads: int, split: int | None):
    """A sweep that adds up what it computes, with the lanes its results are stored with: the innermost loops that every sum
    runs along keep the sums in registers."""
    assert group.layout is not None and group.layout.lane_axis is not None
    barred = summed_axes(group)
    composer = SlotComposer(group, slots)
    axes = [
        Axis(f"i{k}", group.domain[k], lanes if k == group.layout.lane_axis else 0, position=k)
        for k in domain_order(group, slots)
    ]
    if split is not None and (split in barred or not may_split(axes, threads, split)):
        return None
    choose_parallel(axes, threads, split, barred)
    _turn_back(axes, group)
    count = 0
    while all(axes[-1 - count].position in summed for summed in group.summed_axes):
        count += 1
    outer, inner = axes[: len(axes) - count], axes[len(axes) - count :]
    numbers = itertools.count()

    def body(point: Point) -> list[ir.Statement]:
        lane = lane_of(point.indices[group.layout.lane_axis][0])  # type: ignore[index,union-attr]

        def places(inside: Point) -> list[tuple[Index, ...]]:
            return Point({**point.indices, **inside.indices}).combinations(range(len(axes)))

        first = Point({axis.position: [Index()] for axis in inner})
        sums = Sums(composer, places(first), lane, lambda: f"sum{next(numbers)}")

        def one(inside: Point) -> list[ir.Statement]:
            statements: list[ir.Statement] = []
            for at in places(inside):
                statements += [*sums.add(at), *composer.stores(at)]
            return statements

        return [*sums.begin(), *nest(inner, one), *sums.end()]

    statements = clear_sums(composer, axes) + nest(outer, body)
    statements += _cleared_afterwards(group, composer, threads, split)
    return make_kernel(group.name, composer, statements, lanes, False)


def _has_blocks(domain: Sequence[int], turn: Turn, split: int, lanes: int, threads: int) -> bool:
    """Whether the axis `split` of a turned sweep has enough blocks for the threads."""
    unit = lanes if split in (turn.along_stores, turn.along_loads) else 1
    return may_split([Axis("block", domain[split] // unit, position=split)], threads, split)


def _walked_band(walk: Walk, group: Group) -> Band | None:
    """The results' band between two walked axes, if they have one and neither axis is flattened with others."""
    band = results_band(group)
    if band is None or (band.rows,) not in walk.groups or (band.columns,) not in walk.groups:
        return None
    return replace(band, rows=walk.groups.index((band.rows,)), columns=walk.groups.index((band.columns,)))


def _tested_axes(walk: Walk, group: Group, slots: Slots, lanes: int) -> list[int]:
    """Short walked axes that the expression compares with bounds (pads, concatenations): unrolled, the comparisons are
    decided at compile time and only the part that applies is left."""
    short = [k for k, extent in enumerate(walk.extents) if 1 < extent <= UNROLLED_EXTENT and k != walk.vector]
    if not short:
        return []
    _, walked, stores = _probe(walk, group, slots, lanes)
    seen: set[int] = set()
    tested: set[Var] = set()
    stack = [store.value for store in stores]
    while stack:
        node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            tested |= node.index.vars() if isinstance(node, ir.InRange) else set()
            stack.extend(ir.children(node))
    return [k for k in short if walked[k].vars() & tested]


def _probe(walk: Walk, group: Group, slots: Slots, lanes: int) -> tuple[Var, list[Index], list[ir.Store]]:
    """The lane variable, the walked indices and the stores of one vector of a walk."""
    lane = Var("lane", lanes)
    walked = []
    for k, extent in enumerate(walk.extents):
        if k == walk.vector:
            walked.append(as_index(Var("block", max(1, extent // lanes))) * lanes + as_index(lane))
        else:
            walked.append(as_index(Var(f"i{k}", extent)))
    return lane, walked, SlotComposer(group, slots).stores(walk.index(group.domain, walked))


def _cost(walk: Walk, group: Group, slots: Slots, lanes: int) -> float:
    """Memory cost per element of a walk."""
    lane, _, stores = _probe(walk, group, slots, lanes)
    extent = walk.extents[walk.vector]
    waste = -(-extent // lanes) * lanes / max(1, extent)
    inner = 1.0 if walk.vector == len(walk.extents) - 1 else 1.1
    flat = 1.0 + 0.01 * len(walk.extents)
    return access_cost([s.value for s in stores], stores, lane) * waste * inner * flat + _index_arithmetic(
        stores, lane
    )


def _index_arithmetic(stores: list[ir.Store], lane: Var) -> float:
    """Extra cost of quotients and remainders that differ between lanes."""
    from .space import loads

    addresses = [s.address for s in stores] + [load.address for load in loads(s.value for s in stores)]
    atoms = [atom for address in addresses for atom, _ in address.terms]
    return 6.0 * sum(isinstance(a, Quotient | Remainder) and lane in a.index.vars() for a in atoms)
