"""Many sums at once, each in the lanes of a register of its own: folded into vectors of results.

In: the register of every point of an output tile. Out: statements that fold them, and the tile's points again as runs of
lanes, so that the epilogue (an optimizer's update, say) and the stores work on whole vectors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..loops import ir
from ..loops.index import Index, Var, as_index
from .space import Point, access, loads


@dataclass(frozen=True)
class Run:
    """Points `first` .. `first + count - 1` of a tile, side by side along `lane`, at `index`."""

    first: int
    count: int
    lane: Var
    index: tuple[Index, ...]


def covers_run(tiles: Sequence[int], extents: Sequence[int]) -> bool:
    """Whether the points of a tile follow each other in row-major order: whole axes after the first one it tiles."""
    first = next((k for k, size in enumerate(tiles) if size > 1), len(tiles))
    return first < len(tiles) and all(tiles[k] == extents[k] for k in range(first + 1, len(tiles)))


def runs(place: Point, extents: Sequence[int], lanes: int) -> list[Run] | None:
    """The points of a tile over axes of the given extents as runs of at most `lanes`, None where they do not follow
    each other."""
    sizes = tuple(len(place.indices[k]) for k in range(len(extents)))
    if not covers_run(sizes, extents):
        return None
    found = []
    total = math.prod(sizes)
    outermost = next(k for k, size in enumerate(sizes) if size > 1)
    for first in range(0, total, lanes):
        lane = Var("result_lane", lanes)
        index = list(place.combinations(range(len(extents)))[0])
        rest = as_index(lane) + first
        for k in range(len(extents) - 1, outermost, -1):
            index[k] = index[k] + rest % sizes[k]
            rest = rest // sizes[k]
        index[outermost] = (
            index[outermost] + rest
        )  # not taken modulo its extent: only lanes beyond the tile reach it
        found.append(Run(first, min(lanes, total - first), lane, tuple(index)))
    return found


def side_by_side(stores: Sequence[ir.Store], lane: Var) -> bool:
    """Whether all stores and the reads they depend on touch neighbours in memory, or one element."""
    kinds = [access(store.address, lane) for store in stores]
    kinds += [access(load.address, lane) for load in loads(store.value for store in stores)]
    return "varying" not in kinds and all(access(store.address, lane) == "contiguous" for store in stores)


def fold(
    registers: Sequence[ir.Register], totals: Sequence[ir.Register], run_list: Sequence[Run], lane: Var,
    combine: str, is_first: bool, name: Callable[[], str],
) -> Iterator[ir.Statement]:  # fmt: skip
    """Folds the registers' lanes along `lane` into the totals of all runs, or into what they hold already."""
    for run, total in zip(run_list, totals):
        group = tuple(registers[run.first : run.first + run.count])
        if is_first:
            yield ir.FoldLanes(combine, group, total)
            continue
        part = ir.Register(name(), total.dtype, True)
        yield ir.FoldLanes(combine, group, part)
        yield ir.Assign(total, ir.Binary(combine, ir.Read(total, lane), ir.Read(part, lane)))


def over_run(run: Run, lanes: int, body: list[ir.Statement]) -> ir.Loop:
    """The vector loop over the points of a run."""
    return ir.Loop(run.lane, body, "vector", run.count if run.count < lanes else None)


__all__ = ["Run", "covers_run", "fold", "over_run", "runs", "side_by_side"]
