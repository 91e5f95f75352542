"""Loops that leave out what contributes nothing: taps in the padding, and known zeros.

In: a contraction's loops and the points of one tile of its results. Out: reduced loops with bounds; how many tiles at both
ends of a loop deserve code of their own.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from ..ir import Node
from ..loops.index import Index, Var, as_index
from ..ops.base import Contraction
from ..ops.views import Pad
from .banded import ends_over
from .contraction_plan import PEEL_GAIN, Zeros, in_padding
from .space import Axis


def narrow(
    anchor: Node,
    spec: Contraction,
    reduced: list[Axis],
    loops: list[Axis],
    start: dict[int, Index],
    points: list[tuple[Index, ...]],
    lane: Var | None,
) -> tuple[list[Axis], frozenset[int]]:
    """The loops over reduced axes narrowed to the real taps of a tile, and the left operand's axes they keep inside its
    bounds. `start`: where a loop over a reduced axis begins, or the one index of an axis without a loop."""
    if spec.step is not None:
        return loops, frozenset()
    symbols = {axis.position: as_index(Var(axis.name, axis.extent)) for axis in loops}
    at = [start.get(a.position, Index()) + symbols.get(a.position, Index()) for a in reduced]
    inside: set[int] = set()
    bounds: dict[int, tuple[list[Index], list[Index]]] = {}
    reads = [[as_index(i) for i in spec.left_index(point, at)] for point in points]
    for side, extent in enumerate(anchor.inputs[0].shape):
        index = reads[0][side]
        if (index.low >= 0 and index.high < extent) or any(other[side] != index for other in reads):
            continue
        if lane in index.vars():  # lanes need different bounds: their reads are tested instead
            continue
        moving = [axis for axis in loops if symbols[axis.position].vars() & index.vars()]
        if len(moving) != 1 or moving[0].tile != 1 or moving[0].lanes or moving[0].inner:
            continue
        symbol = symbols[moving[0].position]
        factor = index.coefficient(symbol.terms[0][0])
        if abs(factor) != 1:
            continue
        rest = index - symbol * factor
        low, high = (-rest, extent - rest) if factor == 1 else (rest - extent + 1, rest + 1)
        lows, highs = bounds.setdefault(moving[0].position, ([], []))
        lows.append(low)
        highs.append(high)
        inside.add(side)
    narrowed = [
        replace(axis, low=tuple(bounds[axis.position][0]), high=tuple(bounds[axis.position][1]))
        if axis.position in bounds
        else axis
        for axis in loops
    ]
    return narrowed, frozenset(inside)


def without_zeros(
    reduced: list[Axis], diagonals: tuple[Zeros, ...], points: list[tuple[Index, ...]], lane: Var | None
) -> list[Axis]:
    """Reduced loops that leave out what an operand's known zeros make zero for the whole tile."""
    result = list(reduced)
    for zeros in diagonals:
        k = next(k for k, axis in enumerate(reduced) if axis.position == zeros.reduced)
        axis = result[k]
        unit = axis.unit
        if axis.lanes or axis.extent % unit:
            continue
        ends = ends_over((point[zeros.output] for point in points), lane)
        if ends is None:
            continue
        if zeros.after:
            result[k] = replace(axis, high=(*axis.high, (ends[1] + zeros.offset + unit) // unit))
        else:
            result[k] = replace(axis, low=(*axis.low, (ends[0] - zeros.offset) // unit))
    return result


def padded_ends(
    operand: Node, spec: Contraction, axis: int, tile: int, unrolled: Sequence[int]
) -> tuple[int, int]:
    """How many tiles at both ends of an axis meet padding of the left operand at some of the unrolled places of other
    axes; none where that is a small part of all places."""
    if not isinstance(operand.op, Pad):
        return 0, 0
    rank, extents = len(spec.output), spec.output + spec.reduce
    plain = [as_index(Var(f"a{k}", extent)) for k, extent in enumerate(extents)]
    left = [as_index(i) for i in spec.left_index(plain[:rank], plain[rank:])]
    sides = [k for k, index in enumerate(left) if plain[axis].vars() & index.vars()]
    if not any(operand.op.low[k] or operand.op.high[k] for k in sides):
        return 0, 0
    together = [k for k in unrolled if any(plain[k].vars() & left[side].vars() for side in sides)]
    counts = [0] * (extents[axis] // tile)
    for value in range(len(counts) * tile):
        for places in itertools.product(*(range(extents[k]) for k in together)):
            values = dict(zip((axis, *together), (value, *places)))
            at = [as_index(values[k]) if k in values else index for k, index in enumerate(plain)]
            padded = in_padding(operand, [as_index(i) for i in spec.left_index(at[:rank], at[rank:])])
            counts[value // tile] += padded
    if sum(counts) < PEEL_GAIN * extents[axis] * math.prod(extents[k] for k in together):
        return 0, 0
    ends = (next((k for k, count in enumerate(c) if not count), len(c)) for c in (counts, counts[::-1]))
    before, after = ends
    return before, min(after, len(counts) - before)
