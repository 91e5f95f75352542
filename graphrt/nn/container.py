"""Cells that hold Cells in order: `SequentialCell`, `CellList`, `CellDict`.

In: Cells. Out: children named "0", "1", ..., or after the keys of a dict.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import ArgumentError
from ..frontend.cell import Cell
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
    """Cells in a list that is part of the network; `construct` of the owner decides how they are applied. `vmap` of a
    CellList gives each cell a sample of its own.

    Given as one list or one by one; `auto_prefix`: whether the parameters' names begin with the cell's number.
    """

    _holds_ensemble = True  # see frontend/vmap.py

    def __init__(self, *args: Any, auto_prefix: bool = True):
        super().__init__(auto_prefix=auto_prefix)
        if len(args) == 1 and not isinstance(args[0], (Cell, Mapping)):
            args = tuple(args[0])
        self._set_children(args)

    def construct(self, *args: Any) -> Any:
        raise NotImplementedError("a CellList is not called: call its cells one by one")


class CellDict(Cell):
    """Cells by name, in the order they were given; `construct` of the owner decides how they are applied.
    `cells`: a dict, a CellDict or (name, Cell) pairs."""

    def __init__(self, cells: Any = None):
        super().__init__()
        if cells is not None:
            self.update(cells)

    def update(self, cells: Any) -> None:
        """Add or replace Cells: a dict, a CellDict or (name, Cell) pairs."""
        for name, cell in cells.items() if hasattr(cells, "items") else cells:
            self[name] = cell

    def __setitem__(self, name: str, cell: Cell) -> None:
        if not isinstance(name, str) or not name or hasattr(Cell, name):
            raise ArgumentError("CellDict: not a usable name", **here(), given=repr(name))
        self.insert_child_to_cell(name, cell)

    def __getitem__(self, name: str) -> Cell:
        return self._cells[name]

    def __delitem__(self, name: str) -> None:
        delattr(self, name)

    def __len__(self) -> int:
        return len(self._cells)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._cells))

    def __contains__(self, name: object) -> bool:
        return name in self._cells

    def __bool__(self) -> bool:
        return True

    def keys(self) -> Iterable[str]:
        """The names."""
        return self._cells.keys()

    def values(self) -> Iterable[Cell]:
        """The Cells."""
        return self._cells.values()

    def items(self) -> Iterable[tuple[str, Cell]]:
        """(name, Cell) pairs."""
        return self._cells.items()

    def pop(self, key: str) -> Cell:
        """Take a Cell out and return it."""
        cell = self._cells[key]
        del self[key]
        return cell

    def clear(self) -> None:
        """Take all Cells out."""
        for name in list(self._cells):
            del self[name]

    def construct(self, *args: Any) -> Any:
        raise NotImplementedError("a CellDict is not called: call its cells one by one")
