"""Physical layouts: where element (i, j, ...) of a tensor lies in its buffer.

A layout is an order of the logical axes, outermost first, and optionally one axis split into lanes: `order=(1,)` with
`lane_axis=0` stores float32[32, 10] as [2][10][16], so that 16 samples sit side by side in one vector register.
The last group of lanes is padded when the axis is not a multiple of the lane count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..loops.index import Index, as_index


@dataclass(frozen=True)
class Layout:
    """`order`: logical axes from slow to fast. `lane_axis`: the axis whose blocks of `lanes` are innermost.

    `margins`: zeros kept around the tensor, (before, after) by logical axis, so that a padded read of it is a plain
    load. Empty: none."""

    order: tuple[int, ...]
    lane_axis: int | None = None
    lanes: int = 1
    margins: tuple[tuple[int, int], ...] = ()

    def blocks(self, shape: Sequence[int]) -> tuple[int, ...]:
        """The extents along `order`, margins included (the lane axis counts its blocks)."""
        return tuple(
            -(-shape[a] // self.lanes) if a == self.lane_axis else shape[a] + sum(self.margin(a))
            for a in self.order
        )

    def margin(self, axis: int) -> tuple[int, int]:
        """Zeros before and after an axis."""
        return self.margins[axis] if self.margins else (0, 0)

    @property
    def without_margins(self) -> Layout:
        return Layout(self.order, self.lane_axis, self.lanes)

    def elements(self, shape: Sequence[int]) -> int:
        """Buffer size in elements, padding included."""
        total = self.lanes
        for extent in self.blocks(shape):
            total *= extent
        return total

    def address(self, shape: Sequence[int], index: Sequence[Index | int]) -> Index:
        """The linear position of an element."""
        step = self.lanes
        result = Index()
        if self.lane_axis is not None:
            result = as_index(index[self.lane_axis]) % self.lanes
        for axis, extent in zip(reversed(self.order), reversed(self.blocks(shape))):
            position = as_index(index[axis])
            if axis == self.lane_axis:
                position = position // self.lanes
            else:
                position = position + self.margin(axis)[0]
            if extent > 1 or axis == self.lane_axis:
                result = result + position * step
            step *= extent
        return result

    def address_as(
        self, shape: Sequence[int], seen: Sequence[int], index: Sequence[Index | int]
    ) -> Index | None:
        """The position of element `index` of the tensor reshaped to `seen`, where the reshape moves nothing: always
        for row-major buffers, and for lanes of axis 0 when that axis keeps its extent. None otherwise."""
        if self.margins:
            return None
        if self.is_row_major:
            return row_major(len(seen)).address(seen, index)
        keeps_axis = bool(shape) and bool(seen) and shape[0] == seen[0]
        if self.lane_axis == 0 and self.order == tuple(range(len(self.order))) and keeps_axis:
            return lanes_of(len(seen), 0, self.lanes).address(seen, index)
        return None

    @property
    def is_row_major(self) -> bool:
        return self.lane_axis is None and not self.margins and self.order == tuple(range(len(self.order)))

    def __str__(self) -> str:
        axes = ",".join(f"{a}/{self.lanes}" if a == self.lane_axis else str(a) for a in self.order)
        around = " margins " + str(self.margins) if self.margins else ""
        return (f"[{axes}|{self.lanes}]" if self.lane_axis is not None else f"[{axes}]") + around


def row_major(rank: int) -> Layout:
    return Layout(tuple(range(rank)))


def lanes_of(rank: int, axis: int, lanes: int) -> Layout:
    """Row-major with `axis` split into lanes: [.., axis / lanes, ..][lanes]."""
    return Layout(tuple(range(rank)), axis, lanes)
