"""Sweeps whose results and operands are contiguous along different axes: square blocks turned in registers.

    for every block of lanes x lanes positions (a, b):
        register[j] = value at (a + j, b .. b + lanes)      lanes along b, where the operands are contiguous
        transpose the registers
        result at (a .. a + lanes, b + k) = register[k]      lanes along a, where the result is contiguous

Copies between row-major and lane layouts, and the gather of a batch into lanes, are such sweeps; gathering or
scattering their elements one by one costs several times as much.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..schedule.group import Group
from .space import ACCESS_COST, Axis, Point, SlotComposer, Slots, access, access_cost, choose_parallel, nest

SHUFFLES = 4.5  # transposing costs about this much per vector, in units of one contiguous access


@dataclass(frozen=True)
class Turn:
    """`along_stores`, `along_loads`: the domain axes along which results and operands are contiguous."""

    along_stores: int
    along_loads: int
    cost: float


def best_turn(group: Group, slots: Slots, lanes: int) -> Turn | None:
    """The cheapest pair of axes, with its memory cost per element, or None if no pair makes sense."""
    domain = group.domain
    long = [axis for axis, extent in enumerate(domain) if extent >= lanes // 2]
    if len(long) < 2 or any(node.dtype.size != 4 for node in group.stores):
        return None
    turns = []
    for store_axis in long:
        lane, stores = _probe(group, slots, lanes, store_axis)
        kinds = {access(s.address, lane) for s in stores}
        if kinds != {"contiguous"}:
            continue
        for load_axis in long:
            if load_axis == store_axis:
                continue
            lane, stores = _probe(group, slots, lanes, load_axis)
            cost = access_cost([s.value for s in stores], [], lane)
            cost += len(stores) * (1.5 * ACCESS_COST["contiguous"] + SHUFFLES)
            waste = 1.0
            for axis in (store_axis, load_axis):
                waste *= -(-domain[axis] // lanes) * lanes / domain[axis]
            turns.append(Turn(store_axis, load_axis, cost * waste))
    return min(turns, key=lambda t: t.cost, default=None)


def _probe(group: Group, slots: Slots, lanes: int, vector: int) -> tuple[Var, list[ir.Store]]:
    """The group's stores with lanes along one domain axis."""
    lane = Var("lane", lanes)
    index = [as_index(Var(f"i{k}", extent)) for k, extent in enumerate(group.domain)]
    index[vector] = as_index(Var("block", -(-group.domain[vector] // lanes))) * lanes + as_index(lane)
    return lane, SlotComposer(group, slots).stores(index)


def turned_sweep(
    group: Group,
    slots: Slots,
    turn: Turn,
    lanes: int,
    threads: int,
    composer: SlotComposer,
    split: int | None = None,
) -> list[ir.Statement]:
    """The loops of a sweep by square blocks. `threads`: how many to plan for (1: no parallel loop); `split`: the axis
    they should divide among them, None: any."""
    domain = group.domain
    statements: list[ir.Statement] = []
    for count_a, first_a, active_a in _segments(domain[turn.along_stores], lanes):
        for count_b, first_b, active_b in _segments(domain[turn.along_loads], lanes):
            counts = {turn.along_stores: count_a, turn.along_loads: count_b}
            axes = [Axis(f"i{k}", counts.get(k, e), position=k) for k, e in enumerate(domain)]
            choose_parallel(axes, threads, split)

            def block(
                point: Point, first_a=first_a, active_a=active_a, first_b=first_b, active_b=active_b
            ) -> list[ir.Statement]:
                index = [point.indices[k][0] for k in range(len(domain))]
                start_a = (index[turn.along_stores] + first_a) * lanes
                start_b = (index[turn.along_loads] + first_b) * lanes
                return _block(group, composer, turn, index, (start_a, active_a), (start_b, active_b), lanes)

            statements += nest(axes, block)
    return statements


def _segments(extent: int, lanes: int) -> Iterator[tuple[int, int, int]]:
    """(blocks, first block, positions per block) of the full blocks and of the last, partly filled one."""
    full, rest = divmod(extent, lanes)
    if full:
        yield full, 0, lanes
    if rest:
        yield 1, full, rest


def _block(
    group: Group,
    composer: SlotComposer,
    turn: Turn,
    index: list[Index],
    stores: tuple[Index, int],
    loads: tuple[Index, int],
    lanes: int,
) -> list[ir.Statement]:
    """One square block of every result."""
    (start_a, active_a), (start_b, active_b) = stores, loads
    statements: list[ir.Statement] = []
    for node in group.stores:
        slot = composer.slots[node]
        buffer = composer.buffer(slot)
        registers = tuple(ir.Register(f"{node.op.name}{j}", node.dtype, True) for j in range(lanes))
        lane_b, lane_a = Var("load_lane", lanes), Var("store_lane", lanes)
        reads: list[ir.Statement] = []
        for j, register in enumerate(registers):
            at = list(index)
            at[turn.along_stores] = start_a + j
            at[turn.along_loads] = start_b + as_index(lane_b)
            value = composer.value(node, at) if j < active_a else ir.Constant(0, node.dtype)
            reads.append(ir.Assign(register, value))
        statements.append(ir.Loop(lane_b, reads, "vector", active_b))
        statements.append(ir.TransposeLanes(registers))
        writes: list[ir.Statement] = []
        for k in range(active_b):
            at = list(index)
            at[turn.along_stores] = start_a + as_index(lane_a)
            at[turn.along_loads] = start_b + k
            address = slot.layout.address(node.shape, at)
            writes.append(ir.Store(buffer, address, ir.Read(registers[k], lane_a)))
        statements.append(ir.Loop(lane_a, writes, "vector", active_a))
    return statements
