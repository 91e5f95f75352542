"""Cells that hold Cells in order: `SequentialCell`, `CellList`; and the small layers that only move values.

In: Cells. Out: children named "0", "1", ...
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import ArgumentError
from ..frontend import functional as ops
from ..frontend import random
from ..frontend.cell import Cell
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from .dense import here


class _Ordered(Cell):
    """Children by position. A Cell that moves takes its parameters' names along: they say where it is now."""

    def __init__(self, auto_prefix: bool = True):
        super().__init__(auto_prefix=auto_prefix)

    def _set_children(self, children: Iterable[Cell]) -> None:
        children = list(children)
        before = [child._place()[1] for child in children if isinstance(child, Cell)]
        for name in list(self._cells):
            self.__dict__.pop(name, None)
        self._cells.clear()
        for position, child in enumerate(children):
            self.insert_child_to_cell(str(position), child)
        for child, old in zip(children, before):
            new = child._place()[1]
            for parameter in child.get_parameters() if old and old != new else ():
                if parameter.name.startswith(old):
                    parameter.name = new + parameter.name[len(old) :]
        self._snapshot = None

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[Cell]:
        return iter(list(self._cells.values()))

    def __bool__(self) -> bool:
        return True

    def _position(self, index: int) -> int:
        if isinstance(index, bool) or not hasattr(index, "__index__"):
            raise TypeError(f"{type(self).__name__} indices are ints or slices, not {type(index).__name__}")
        position = index.__index__()
        if not -len(self) <= position < len(self):
            raise IndexError(f"{type(self).__name__} has {len(self)} cells, no number {index}")
        return position % len(self)

    def __getitem__(self, index: Any) -> Any:
        children = list(self._cells.values())
        if isinstance(index, slice):
            part: Any = type(self)
            return part(children[index])
        return children[self._position(index)]

    def __setitem__(self, index: int, cell: Cell) -> None:
        children = list(self._cells.values())
        children[self._position(index)] = cell
        self._set_children(children)

    def __delitem__(self, index: Any) -> None:
        children = list(self._cells.values())
        if isinstance(index, slice):
            del children[index]
        else:
            del children[self._position(index)]
        self._set_children(children)

    def append(self, cell: Cell) -> Any:
        """Add a Cell at the end."""
        self.insert_child_to_cell(str(len(self)), cell)
        return self

    def extend(self, cells: Iterable[Cell]) -> Any:
        """Add Cells at the end."""
        for cell in cells:
            self.append(cell)
        return self

    def insert(self, index: int, cell: Cell) -> None:
        """Put a Cell in front of number `index`."""
        children = list(self._cells.values())
        children.insert(index, cell)
        self._set_children(children)


class SequentialCell(_Ordered):
    """Cells applied one after the other: `SequentialCell(a, b)`, `SequentialCell([a, b])`, or an OrderedDict."""

    def __init__(self, *args: Any):
        super().__init__()
        if len(args) == 1 and isinstance(args[0], (OrderedDict, dict)):
            for name, cell in args[0].items():
                self.insert_child_to_cell(name, cell)
        else:
            self._set_children(args[0] if len(args) == 1 and not isinstance(args[0], Cell) else args)

    def construct(self, x: Any) -> Any:
        for cell in self._cells.values():
            x = cell(x)
        return x


Sequential = SequentialCell


class CellList(_Ordered):
    """Cells in a list that is part of the network; `construct` of the owner decides how they are applied."""

    def __init__(self, *args: Any, auto_prefix: bool = True):
        super().__init__(auto_prefix=auto_prefix)
        if len(args) == 1 and not isinstance(args[0], (Cell, Mapping)):
            args = tuple(args[0])
        self._set_children(args)

    def construct(self, *args: Any) -> Any:
        raise NotImplementedError("a CellList is not called: call its cells one by one")


class Flatten(Cell):
    """Axes start_dim to end_dim merged into one; by default all but the batch axis."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def construct(self, x: Tensor) -> Tensor:
        return ops.flatten(x, start_dim=self.start_dim, end_dim=self.end_dim)


class Dropout(Cell):
    """In training, each element becomes 0 with probability `p` and is scaled by 1 / (1 - p) otherwise.

    The positional argument is `keep_prob` (1 - p). The random stream is fixed by `set_seed` and moves on with every
    training step; its state is the untrainable parameter `key` (uint32[2]: stream, step).
    """

    def __init__(self, keep_prob: float = 0.5, p: float | None = None, dtype: object = "float32"):
        super().__init__()
        rate = 1.0 - keep_prob if p is None else p
        if isinstance(rate, bool) or not isinstance(rate, (int, float)) or not 0 <= rate < 1:
            given = f"keep_prob={keep_prob!r}" if p is None else f"p={p!r}"
            raise ArgumentError(
                "Dropout: the rate must be in [0, 1)", **here(), expected="0 <= p < 1", given=given
            )
        self.p, self.keep_prob = float(rate), 1.0 - float(rate)
        self.key = Parameter(random.new_key(), requires_grad=False)

    def construct(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        return ops.dropout(x, self.p, key=self.key)

    def extend_repr(self) -> str:
        return f"p={self.p}"
