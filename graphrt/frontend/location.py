"""Where the user is: the line of their code that is running, and the path of Cells whose `construct` runs.

In: the Python call stack and the Cells entered through `cell_scope`. Out: an `ir.Source` ("model.py", 14,
"LeNet5.conv1 (Conv2d)") for nodes and error messages.
"""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ..errors import GraphrtError
from ..ir import Source

if TYPE_CHECKING:
    from .cell import Cell

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_cells: ContextVar[tuple[tuple[Cell, str], ...]] = ContextVar("graphrt_cells", default=())
_origin: ContextVar[tuple[str, int] | None] = ContextVar("graphrt_origin", default=None)
# where the stacks of helper threads and processes begin
_BOTTOM = ("threading", "concurrent.futures.thread", "concurrent.futures.process", "multiprocessing.process")


def shown_path(filename: str) -> str:
    """The path as the user would type it: relative where the file lies below the working directory."""
    if filename.startswith("<"):  # <stdin>, <ipython-input-...>
        return filename
    try:
        return _shown_from(filename, os.getcwd())
    except FileNotFoundError:
        return filename


@functools.lru_cache(maxsize=1024)  # every operation asks
def _shown_from(filename: str, here: str) -> str:
    absolute, folder = os.path.abspath(filename), here + os.sep
    return absolute[len(folder) :] if absolute.startswith(folder) else absolute


def user_line() -> tuple[str, int]:
    """File and line of the innermost stack frame that is not graphrt's own ("", 0 if there is none)."""
    frame = sys._getframe(1)
    origin = _origin.get()
    while frame is not None:
        if origin is not None and frame.f_globals.get("__name__") in _BOTTOM:
            return origin
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return shown_path(frame.f_code.co_filename), frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return "", 0


def from_here(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` for a helper thread or process: without code of the user on its stack, its errors name the line that
    runs now."""
    origin = user_line()

    def call(*arguments: Any) -> Any:
        token = _origin.set(origin)
        try:
            return function(*arguments)
        finally:
            _origin.reset(token)

    return call


def user_source() -> Source:
    """The user's line together with the path of the running Cell."""
    file, line = user_line()
    return Source(file, line, cell_path())


def warn_user(text: str) -> None:
    """A UserWarning shown at the user's line."""
    file, line = user_line()
    warnings.warn_explicit(text, UserWarning, file or "<graphrt>", line)


def cell_path() -> str:
    """The running Cell's path and class, "LeNet5.conv1 (Conv2d)"; just the class for the outermost Cell; "" outside."""
    stack = _cells.get()
    if not stack:
        return ""
    cell, path = stack[-1]
    return path if len(stack) == 1 else f"{path} ({type(cell).__name__})"


def inside_cell() -> bool:
    """Whether some Cell's `construct` is running."""
    return bool(_cells.get())


@contextmanager
def cell_scope(cell: Cell) -> Iterator[None]:
    """`cell.construct` runs inside."""
    stack = _cells.get()
    token = _cells.set((*stack, (cell, _path_below(stack, cell))))
    try:
        yield
    finally:
        _cells.reset(token)


def _path_below(stack: tuple[tuple[Cell, str], ...], cell: Cell) -> str:
    """The path of `cell`: found below the nearest running Cell that contains it, else its class name."""
    for parent, path in reversed(stack):
        name = _name_below(parent, cell)
        if name is not None:
            return f"{path}.{name}"
    kind = type(cell).__name__
    return f"{stack[-1][1]}.{kind}" if stack else kind


def _name_below(parent: Cell, cell: Cell) -> str | None:
    for name, child in parent._cells.items():
        if child is cell:
            return name
    for name, child in parent.cells_and_names():  # a grandchild called past its parent
        if child is cell and name:
            return name
    return None


def complete(error: GraphrtError, source: Source) -> GraphrtError:
    """`error` with the place filled in where it does not know one yet."""
    if error.at is None and source.file:
        error.at = f"{source.file}:{source.line}"
    error.cell = error.cell or source.cell or None
    error.args = (error._text(),)
    return error
