"""Tiles whose results lie side by side along another axis than their lanes: squares of sums are turned in registers.

    register[u] = sum over the reduced axes, lanes along v      u = u0 .. u0 + lanes, the other operand's axis
    transpose the registers
    results at (v0 + k, u0 .. u0 + lanes) = epilogue(register[k])

So the smaller operand of a weight gradient may be the one that is stored once more, along v, even where the weight (and
with it the optimizer's state) is contiguous along u. `turned_axis` in contraction_plan.py says which tiles these are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..loops import ir
from ..loops.index import Index, Var, as_index
from ..schedule.costs import CACHED_BYTES
from .prefetch import MINIMUM_BYTES
from .space import Axis, Point, access, loads

Place = tuple[Index, ...]


@dataclass(frozen=True)
class Turned:
    """Lanes lie along the output axis `vector` during the sums, along `results` afterwards."""

    vector: int
    results: int
    lanes: int

    def axes(self, outputs: list[Axis]) -> list[Axis]:
        """The output axes with numbers of blocks of lanes as indices of `vector`."""
        return [
            Axis(a.name, a.extent // self.lanes, tile=a.tile, position=a.position)
            if a.position == self.vector
            else a
            for a in outputs
        ]

    def points(self, place: Point, lane: Var) -> list[Place]:
        """The positions of a tile's vectors of sums."""
        blocks = [block * self.lanes + as_index(lane) for block in place.indices[self.vector]]
        return Point({**place.indices, self.vector: blocks}).combinations(sorted(place.indices))

    def row(self, corner: Place, lane: Var, result_lane: Var, number: Index | int) -> Place:
        """Where row `number` of the square whose first vector of sums is at `corner` has its results."""
        at = list(corner)
        at[self.vector] = corner[self.vector] - as_index(lane) + number
        at[self.results] = corner[self.results] + as_index(result_lane)
        return tuple(at)

    def squares(
        self, points: Sequence[Place], registers: Sequence[ir.Register]
    ) -> list[tuple[Place, tuple[ir.Register, ...]]]:
        """The first position and the registers of every square of a tile."""
        found: dict[Place, list[tuple[int, Place, ir.Register]]] = {}
        for point, register in zip(points, registers):
            key = tuple(index for k, index in enumerate(point) if k != self.results)
            found.setdefault(key, []).append((point[self.results].constant, point, register))
        return [
            (members[0][1], tuple(register for _, _, register in members))
            for members in (sorted(group, key=lambda member: member[0]) for group in found.values())
        ]


def turned_tile(
    turned: Turned,
    points: Sequence[Place],
    registers: Sequence[ir.Register],
    lane: Var,
    sums: list[ir.Statement],
    finish: Callable[[list[Place], list[ir.Scalar]], list[ir.Store]],
) -> list[ir.Statement]:
    """The code of one tile: `sums` fills the registers; `finish` composes the results of some positions from values."""
    result_lane = Var("result_lane", turned.lanes)
    statements: list[ir.Statement] = [ir.Loop(lane, sums, "vector")]
    for corner, square in turned.squares(points, registers):
        rows = [turned.row(corner, lane, result_lane, k) for k in range(turned.lanes)]
        stores = finish(rows, [ir.Read(register, result_lane) for register in square])
        statements += [ir.TransposeLanes(square), ir.Loop(result_lane, [*stores], "vector")]
    return statements


def turned_fetches(
    turned: Turned,
    corner: Place,
    lane: Var,
    axis: Axis,
    results: Callable[[Place], list[ir.Store]],
    factor: Callable[[Place, Index], ir.Scalar],
) -> Callable[[Point], list[ir.Statement]]:
    """What to fetch in an iteration over the reduced `axis`: the lines of one row of the square's results, row after row,
    and of the broadcast operand (`factor` at an output and a reduced position), if it is beyond the cache, what the next
    square will read in that iteration."""
    each = axis.count_of_tiles // turned.lanes * axis.tile
    result_lane = Var("result_lane", turned.lanes)

    def next_row(at: Index) -> Place:
        # one line per step: rows come around once while the lanes of a line are walked
        return tuple(
            i + turned.lanes + at % turned.lanes if k == turned.results else i for k, i in enumerate(corner)
        )

    def fetch(window: Point) -> list[ir.Statement]:
        number = window.indices[axis.position][0] // each % turned.lanes
        stores = results(turned.row(corner, lane, result_lane, number))
        touched = {(load.buffer, load.address): False for load in loads(s.value for s in stores)}
        touched |= {(s.buffer, s.address): True for s in stores}
        ahead: list[ir.Statement] = [
            ir.Prefetch(load.buffer, load.address)
            for at in window.indices[axis.position]
            for load in loads([factor(next_row(at), at)])
            if load.buffer.elements * load.buffer.dtype.size > CACHED_BYTES
            and lane not in load.address.vars()
        ]
        return ahead + [
            ir.Prefetch(buffer, address - as_index(result_lane), write)
            for (buffer, address), write in touched.items()
            if buffer.elements * buffer.dtype.size >= MINIMUM_BYTES
            and access(address, result_lane) == "contiguous"
        ]

    return fetch if each else lambda window: []


__all__ = ["Turned", "turned_fetches", "turned_tile"]
