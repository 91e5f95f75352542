"""Hints for the memory a kernel of Winograd's algorithm will touch after the products it is computing.

In: a chunk of tiles and a step of its products. Out: a few `Prefetch` statements for that step.

The transforms of inputs and results touch a chunk's memory in bursts, which would wait for a slow memory; the products
between them take long and touch only scratch. So these fetch the image of the next chunk, and what this chunk's
epilogue will read and write, spread evenly: a burst would fill the queue of outstanding misses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..ir import Node
from ..loops import ir
from ..loops.index import Index, Var, as_index, unravel
from ..schedule.costs import CACHED_BYTES
from . import winograd_lines as lines
from .space import SlotComposer, access, lane_of, loads
from .winograd_plan import NEAR_PRODUCTS
from .winograd_tiles import Chunk


def is_near(products: int, lines: int) -> bool:
    """Whether `lines` to be read, fetched during `products` multiply-adds, may go into the L1 cache: few enough that
    the operands of the products stay there."""
    return products >= NEAR_PRODUCTS * lines


def lines_per_result(composer: SlotComposer, anchor: Node, chunk: Chunk) -> int:
    """How many operands of the epilogue are fetched for each vector of results."""
    read, _ = _at_result(composer, anchor, (chunk.n, Index(), chunk.top, chunk.left))
    return len(_fetch(read, lane_of(chunk.n), True))


def next_tiles(
    composer: SlotComposer,
    node: Node,
    chunk: Chunk,
    margin: int,
    lanes: int,
    step: Index,
    steps: int,
    near: bool,
) -> list[ir.Statement]:
    """At step `step` of `steps`: memory of `node` (N, C, H, W) that the next chunk reads, from `margin` rows and columns
    after its first result on (what comes before was read for the chunks above and to the left)."""
    lane = Var("lane", lanes)
    after = chunk.next(lanes)
    extents = (node.shape[1], chunk.rows.extent, chunk.columns.extent)
    total = math.prod(extents)
    each = -(-total // steps)
    statements: list[ir.Statement] = []
    for j in range(each):
        c, row, column = unravel((step * each + j) % total, extents)
        at = (after.n + as_index(lane), c, after.top + row + margin, after.left + column + margin)
        statements += _fetch(loads([composer.value(node, at)]), lane, near)
    return statements


def results(
    composer: SlotComposer,
    anchor: Node,
    chunk: Chunk,
    outputs: Sequence[Index],
    step: Index,
    steps: int,
    near: bool,
) -> list[ir.Statement]:
    """At step `step` of `steps`: memory that the epilogue of the chunk's results reads and writes, for some output
    channels of the chunk."""
    extents = (len(outputs), chunk.rows.extent, chunk.columns.extent)
    total = math.prod(extents)
    each = -(-total // steps)
    lane = lane_of(chunk.n)
    statements: list[ir.Statement] = []
    for j in range(each):
        o, row, column = unravel((step * each + j) % total, extents)
        at = (chunk.n, outputs[0] + o, chunk.top + row, chunk.left + column)
        read, written = _at_result(composer, anchor, at)
        statements += _fetch(read, lane, near) + _fetch(written, lane, near)
    return statements


def _at_result(
    composer: SlotComposer, anchor: Node, at: tuple[Index, ...]
) -> tuple[list[ir.Load], list[ir.Store]]:
    """What the epilogue of the result at `at` reads and writes."""
    overrides, composer.overrides = composer.overrides, {(anchor, at): lines.ZERO}
    stores = composer.stores(at)
    values = [store.value for store in stores]
    values += [composer.value(node.inputs[0], at) for node in composer.group.sums]
    composer.overrides = overrides
    return loads(values), stores


def _fetch(accesses: Sequence[ir.Load] | Sequence[ir.Store], lane: Var, near: bool) -> list[ir.Statement]:
    """Hints for the lines that hold all lanes, of buffers that do not stay in the cache anyway."""
    return [
        ir.Prefetch(a.buffer, a.address - as_index(lane), isinstance(a, ir.Store), near)
        for a in accesses
        if a.buffer.elements * a.buffer.dtype.size > CACHED_BYTES and access(a.address, lane) == "contiguous"
    ]
