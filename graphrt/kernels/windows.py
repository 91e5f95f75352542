"""Results that look at whole windows of a contraction (max-pool in its epilogue): points of the contraction and of the
results. Windows lie side by side over the last two axes, from the first pixel on; pixels beyond the last whole window
have no reader and are not computed.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ..loops.index import Index
from ..ops.base import Contraction
from ..schedule.group import Group


def covered_extents(group: Group, spec: Contraction) -> tuple[int, ...]:
    """The part of the contraction's output that windows cover (all of it without windows)."""
    if group.window is None:
        return spec.output
    return (*spec.output[:-2], *(n * size for n, size in zip(group.domain[-2:], group.window)))


def results_of(
    points: Sequence[tuple[Index, ...]], window: tuple[int, int] | None
) -> list[tuple[Index, ...]]:
    """Where the results are that look at the given points, which are whole windows."""
    if window is None:
        return list(points)
    return [
        (*point[:-2], point[-2] // window[0], point[-1] // window[1])
        for point in points
        if point[-2] % window[0] == 0 and point[-1] % window[1] == 0
    ]


def window_points(point: tuple[Index, ...], window: tuple[int, int] | None) -> list[tuple[Index, ...]]:
    """The points of the window whose number in each of the last two axes `point` is; `point` itself without windows."""
    if window is None:
        return [point]
    corner = (*point[:-2], point[-2] * window[0], point[-1] * window[1])
    offsets = itertools.product(range(window[0]), range(window[1]))
    return [(*corner[:-2], corner[-2] + row, corner[-1] + column) for row, column in offsets]
