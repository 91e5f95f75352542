"""What a register tile's epilogue will read and write is fetched into the cache while the tile's products are summed.

In: the buffers and addresses one tile's results are composed from. Out: `ir.Prefetch` statements for the loop over the
reduced axis, a few per iteration: a burst before the loop would fill the queue of outstanding misses and stall it.

    rows of lines        addresses that lie side by side, for example 6 rows of 4 lines
    iteration i          line number i // step of every row, with `step` such that half the iterations fetch the tile;
                         the others fetch what lies behind it, which the next tile will want

Which of its lanes or iterations a fetch serves does not matter: it changes no value and may name any address.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..loops import ir
from ..loops.index import Index, Var, unravel
from ..schedule.costs import CACHED_BYTES
from .contraction_plan import PREFETCH_SHARE, PREFETCH_WORK
from .space import Axis, Point, SlotComposer, access, loads

LINE = 64  # bytes of a cache line
MINIMUM_BYTES = 128 << 10  # smaller buffers stay in the caches by themselves
SHARE = 4  # at most one fetch for so many multiply-adds


@dataclass(frozen=True)
class Row:
    """`lines` cache lines of a buffer from `start` on."""

    buffer: ir.Buffer
    start: Index
    lines: int
    writes: bool


def touched(
    statements: Sequence[ir.Statement], values: Iterable[ir.Scalar] = ()
) -> list[tuple[ir.Buffer, Index, bool]]:
    """(buffer, address, whether it is written) of what straight-line code, and some values more, load and store."""
    stores = [s for s in statements if isinstance(s, ir.Store)]
    values = [*(s.value for s in statements if isinstance(s, ir.Store | ir.Assign)), *values]
    found = [(load.buffer, load.address, False) for load in loads(values)]
    return found + [(store.buffer, store.address, True) for store in stores]


def rows_of(statements: Sequence[ir.Statement], lane: Var) -> list[Row]:
    """The rows of lines that straight-line code touches along the lanes."""
    places: dict[tuple[ir.Buffer, tuple], set[int]] = {}
    found = touched(statements)
    written = {buffer for buffer, _, writes in found if writes}
    for buffer, address, _ in found:
        if buffer.elements * buffer.dtype.size < MINIMUM_BYTES or address.coefficient(lane) != 1:
            continue
        rest = address - Index({lane: 1})
        if rest.is_affine and lane not in rest.vars():
            places.setdefault((buffer, rest.terms), set()).add(rest.constant)
    rows: list[Row] = []
    for (buffer, terms), constants in places.items():
        width = LINE // buffer.dtype.size
        ordered = sorted(constants)
        first = 0
        for k in range(1, len(ordered) + 1):
            if k == len(ordered) or ordered[k] - ordered[k - 1] > max(width, lane.extent):
                lines = -(-(ordered[k - 1] - ordered[first] + lane.extent) // width)
                rows.append(Row(buffer, Index(terms, ordered[first]), lines, buffer in written))
                first = k
    return rows


def fetches(
    rows: list[Row], iterations: int, unit: int, multiply_adds: int
) -> Callable[[Index], list[ir.Statement]]:
    """`place(index)`: the fetches of the iteration whose reduced index is `index`, a multiple of `unit`.

    `multiply_adds`: how many one iteration has. Nothing is fetched where there are too many rows for that, or too few
    iterations for their lines.
    """
    longest = max((row.lines for row in rows), default=0)
    if not rows or len(rows) * SHARE > multiply_adds or iterations < longest:
        return lambda index: []
    step = 1
    while step * 4 * longest <= iterations:
        step *= 2

    def place(index: Index) -> list[ir.Statement]:
        line = index // (step * unit)
        return [
            ir.Prefetch(row.buffer, row.start + line * (LINE // row.buffer.dtype.size), row.writes)
            for row in rows
        ]

    return place


@dataclass
class EpilogueFetcher:
    """What a contraction fetches for the results of its register tiles.

    `reduced`: its loops inside a tile; `rank`: of its results, whose axis `vector` carries `lanes` lanes; `zero`: a sum,
    as far as addresses depend on one."""

    composer: SlotComposer
    reduced: list[Axis]
    rank: int
    vector: int | None
    lanes: int
    zero: ir.Scalar

    def hints(
        self, place: Point, results: list[ir.Statement], tile: int, along: Var | None
    ) -> Callable[[Point], list[ir.Statement]]:
        """What to fetch for the results of a tile in each step of its loops over reduced axes."""
        if along is not None and len(self.reduced) == 1:
            (axis,) = self.reduced
            fetch = fetches(rows_of(results, along), axis.extent // axis.tile, axis.tile, tile * axis.tile)
            return lambda window: fetch(window.indices[axis.position][0])
        if along is not None and self._is_far(results, tile):
            return lambda window: self._prefetches(place, window, along)
        return lambda window: []

    def _is_far(self, results: list[ir.Statement], tile: int) -> bool:
        """Whether the epilogue touches memory beyond the cache and the sums take long enough to fetch it meanwhile."""
        if self.composer.group.window is not None:
            return False
        buffers = {buffer for buffer, _, _ in touched(results)}
        terms = math.prod(axis.extent for axis in self.reduced)
        return tile * terms >= PREFETCH_WORK and any(_exceeds_cache(buffer) for buffer in buffers)

    def _prefetches(self, place: Point, window: Point, lane: Var) -> list[ir.Statement]:
        """Hints for what the epilogue of this tile will read and write, a few per step of the reduced loops: a tile's
        lines all at once would fill the queue of outstanding misses, and the sums would wait behind them."""
        anchor = self.composer.group.anchor
        assert anchor is not None
        step, steps = Index(), 1
        for axis in self.reduced:
            step = step * axis.count_of_tiles + window.indices[axis.position][0] // axis.tile
            steps *= axis.count_of_tiles
        tile = tuple(len(place.indices[k]) for k in range(self.rank))
        each = -(-math.prod(tile) // max(1, int(steps * PREFETCH_SHARE)))
        statements: list[ir.Statement] = []
        for k in range(each):
            at = unravel((step * each + k) % math.prod(tile), tile)
            point = tuple(
                place.indices[axis][0] + offset * (self.lanes if axis == self.vector else 1)
                for axis, offset in enumerate(at)
            )
            overrides, self.composer.overrides = self.composer.overrides, {(anchor, point): self.zero}
            results = self.composer.stores(point)
            terms = [self.composer.value(node.inputs[0], point) for node in self.composer.group.sums]
            self.composer.overrides = overrides
            statements += [
                ir.Prefetch(buffer, address, write)
                for buffer, address, write in touched(results, terms)
                if _exceeds_cache(buffer) and access(address, lane) == "contiguous"
            ]
        return statements


def _exceeds_cache(buffer: ir.Buffer) -> bool:
    return buffer.elements * buffer.dtype.size > CACHED_BYTES
