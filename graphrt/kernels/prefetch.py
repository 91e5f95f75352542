"""What a register tile's epilogue will read and write is fetched into the cache while the tile's products are summed.

In: the buffers and addresses one tile's results are composed from. Out: `ir.Prefetch` statements for the loop over the
reduced axis, a few per iteration: a burst before the loop would fill the queue of outstanding misses and stall it.

    rows of lines        addresses that lie side by side, for example 6 rows of 4 lines
    iteration i          line number i // step of every row, with `step` such that half the iterations fetch the tile;
                         the others fetch what lies behind it, which the next tile will want

Which of its lanes or iterations a fetch serves does not matter: it changes no value and may name any address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..loops import ir
from ..loops.index import Index, Var
from .space import loads

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
