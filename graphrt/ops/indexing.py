"""Index arithmetic shared by op families."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Index


def linear_index(index: Sequence[Index], shape: Sequence[int]) -> Index:
    """The row-major position of `index` in an array of this shape."""
    position: Index = 0
    for coordinate, extent in zip(index, shape):
        position = position * extent + coordinate
    return position
