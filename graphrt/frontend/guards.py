"""What a compiled function depends on besides its arguments, and whether that still holds.

In: the function and the Cells its trace reached. Out: `Guard`s: Python values the trace read and therefore baked in
(globals, closure variables, attributes of Cells, training flags, captured Tensors). Each can say what changed.
"""

from __future__ import annotations

import builtins
import dis
import functools
import itertools
import operator
import os
import sysconfig
import types
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..dtypes import DType
from ..ir import TensorType
from .cell import _TRANSIENT, Cell
from .location import _PACKAGE
from .tensor import Tensor
from .tree import Slot

_SCALARS = (bool, int, float, complex, str, bytes, type(None), DType, Slot, TensorType)
_LIBRARIES = tuple(
    {os.path.abspath(sysconfig.get_path(kind)) + os.sep for kind in ("stdlib", "purelib", "platlib")}
    | {_PACKAGE}
)
MISSING = "<not defined>"


class Same:
    """Equal only to the very same object; keeps it alive, so that its id cannot be reused."""

    __slots__ = ("value",)

    def __init__(self, value: object):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        name = getattr(self.value, "__qualname__", None) or type(self.value).__name__
        return f"<{name} at {id(self.value):#x}>"


def freeze(value: Any, depth: int = 4) -> Any:
    """A hashable stand-in: numbers, strings and containers of them compare by value, other objects by identity."""
    if isinstance(value, _SCALARS):
        # the type keeps 1, 1.0 and True apart; repr makes NaN equal to itself and 0.0 different from -0.0
        return (type(value).__name__, repr(value) if isinstance(value, (float, complex)) else value)
    if depth > 0:
        if isinstance(value, (tuple, list)):
            return (type(value).__name__, *(freeze(v, depth - 1) for v in value))
        if isinstance(value, dict):
            return ("dict", *((freeze(k, 0), freeze(v, depth - 1)) for k, v in value.items()))
        if _is_plain_object(value):  # settings, trainers: what their attributes hold counts
            own = vars(value)
            return (Same(value), *((k, freeze(v, 0)) for k, v in own.items()))
    return Same(value)


def _is_plain_object(value: Any) -> bool:
    excluded = (Cell, Tensor, type, types.ModuleType, types.FunctionType, types.MethodType, np.ndarray)
    module = type(value).__module__.partition(".")[0]
    return hasattr(value, "__dict__") and not isinstance(value, excluded) and module != "graphrt"


@dataclass
class Guard:
    """`read()` gave `expected` when the function was traced; `what` names it for people.

    `places`: (mapping, key, value) triples, and `contents`: (container, its items) pairs. While every mapping still has
    that very object under that key and every container those very objects, nothing can have changed; None: no such
    shortcut exists."""

    what: str
    read: Callable[[], Any]
    expected: Any
    is_cell: bool = False
    places: list[tuple[Any, Any, Any]] | None = None
    contents: list[tuple[Any, tuple[Any, ...]]] = field(default_factory=list)

    def holds(self) -> bool:
        return self.read() == self.expected

    def change(self) -> str:
        """What is different now."""
        if self.is_cell:
            return explain_snapshot(self.what, self.expected, self.read())
        return f"{self.what} changed from {thaw(self.expected)} to {thaw(self.read())}"


def thaw(frozen: Any) -> str:
    """A frozen value as text for people."""
    if not isinstance(frozen, tuple) or not frozen:
        return repr(frozen)
    kind, *rest = frozen
    if kind == "Slot":
        return "a tensor"
    if kind in ("tuple", "list", "set"):
        return f"{kind}({', '.join(map(thaw, rest))})"
    if kind == "dict":
        return "{" + ", ".join(f"{thaw(k)}: {thaw(v)}" for k, v in rest) + "}"
    if isinstance(kind, Same):
        return repr(kind)
    return str(rest[0]) if kind in ("float", "complex") else repr(rest[0])


class Guards:
    """All guards of one version. Looking at every one of them at every call would cost more than a small step."""

    def __init__(self, guards: list[Guard]):
        self._guards = guards
        self._places = [place for guard in guards for place in guard.places or ()]
        self._contents = [pair for guard in guards for pair in guard.contents]
        self._others = [guard for guard in guards if guard.places is None]

    def hold(self) -> bool:
        """Whether everything the trace relied on is still so."""
        if self._untouched():
            return all(guard.holds() for guard in self._others)
        return all(guard.holds() for guard in self._guards)

    def _untouched(self) -> bool:
        for mapping, key, value in self._places:  # a plain loop: this runs at every call
            if mapping.get(key, MISSING) is not value:
                return False
        for container, items in self._contents:
            if len(container) != len(items) or not all(map(operator.is_, container, items)):
                return False
        return True


class _Closure:
    """A closure variable as a mapping of one entry."""

    __slots__ = ("_cell",)

    def __init__(self, cell: Any):
        self._cell = cell

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self._cell.cell_contents
        except ValueError:
            return default


def _guard(what: str, read: Callable[[], Any], mapping: Any, key: str) -> Guard:
    """The guard of what `mapping` has under `key`."""
    value = mapping.get(key, MISSING)
    contents = None if value is MISSING else _contents_of(value)
    if contents is None:
        return Guard(what, read, read())
    return Guard(what, read, read(), places=[(mapping, key, value)], contents=contents)


def _contents_of(value: Any) -> list[tuple[Any, tuple[Any, ...]]] | None:
    """The containers and items to compare for a value that is still the same object; None where that takes a long
    look: containers of containers, objects with attributes."""
    if not _has_contents(value):
        return []
    if not isinstance(value, (tuple, list)) or any(map(_has_contents, value)):
        return None
    return [(value, tuple(value))]


def _has_contents(value: Any) -> bool:
    """Whether the value may change inside and stay the same object."""
    if isinstance(value, _SCALARS):
        return False
    return isinstance(value, (tuple, list, dict, set)) or _is_plain_object(value)


# ---------------------------------------------------------------------------------- what a function reads


def collect(
    function: Any, cells: Iterable[Cell], arguments: Any, captured: Iterable[tuple[Tensor, Any]]
) -> list[Guard]:
    """All guards of one traced function. `arguments`: its static arguments; `captured`: Tensors made constants."""
    guards: list[Guard] = []
    seen: set[int] = set()
    queue: list[Any] = [function, *cells, arguments]
    keep: list[Any] = []  # bound methods and the like are made on the fly: keep them so that ids stay unique
    while queue:
        value = queue.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        keep.append(value)
        if isinstance(value, Cell):
            guards += cell_guards(value)
            queue += [f for f in _methods(type(value)) if id(f) not in seen]
            queue += value._cells.values()
        elif isinstance(value, types.FunctionType):
            if not _is_library(value):
                for guard, target in _function_guards(value):
                    guards.append(guard)
                    queue.append(target)
        elif isinstance(value, types.MethodType):
            queue += [value.__func__, value.__self__]
        elif isinstance(value, functools.partial):
            queue += [value.func, value.args, value.keywords]
        elif isinstance(value, (tuple, list)):
            queue += value
        elif isinstance(value, dict):
            queue += value.values()
        elif hasattr(value, "_reads"):  # compiled functions, gradient functions
            queue += value._reads()
        elif _is_plain_object(value):
            queue += [v for v in vars(value).values() if callable(v)]
    for tensor, array in captured:
        guards.append(Guard("a tensor used as a constant", lambda t=tensor: Same(t._array), Same(array)))  # type: ignore[misc]
    return guards


def _methods(cls: type) -> list[types.FunctionType]:
    functions = []
    for base in cls.__mro__:
        if not base.__module__.startswith("graphrt."):
            functions += [f for f in vars(base).values() if isinstance(f, types.FunctionType)]
    return [f for f in functions if f.__name__ != "__init__"]


def _is_library(function: types.FunctionType) -> bool:
    return function.__code__.co_filename.startswith(_LIBRARIES)


def _function_guards(function: types.FunctionType) -> list[tuple[Guard, Any]]:
    """A guard and the present value for every global and closure variable the function's code reads."""
    found = []
    namespace = function.__globals__
    for name in _global_names(function.__code__):
        if name not in namespace and hasattr(builtins, name):
            continue
        read = functools.partial(_read_global, namespace, name)
        found.append((_guard(f"global {name!r}", read, namespace, name), namespace.get(name)))
    for module_name, attribute in _module_attributes(function.__code__):
        module = namespace.get(module_name)
        if isinstance(module, types.ModuleType) and not _is_library_module(module):
            read = functools.partial(_read_global, vars(module), attribute)
            found.append(
                (
                    _guard(f"{module_name}.{attribute}", read, vars(module), attribute),
                    vars(module).get(attribute),
                )
            )
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        read_cell = functools.partial(_read_closure, cell)
        try:
            target = cell.cell_contents
        except ValueError:
            target = None
        found.append((_guard(f"variable {name!r}", read_cell, _Closure(cell), name), target))
    for name, default in (function.__kwdefaults__ or {}).items():
        read = functools.partial(freeze, default)
        found.append((_guard(f"default of {name!r}", read, {name: default}, name), default))
    return found


def _read_global(namespace: dict[str, Any], name: str) -> Any:
    return freeze(namespace[name]) if name in namespace else MISSING


def _read_closure(cell: Any) -> Any:
    try:
        return freeze(cell.cell_contents)
    except ValueError:
        return MISSING


@functools.lru_cache(maxsize=1024)
def _global_names(code: types.CodeType) -> tuple[str, ...]:
    """The globals read by this code and the functions and comprehensions defined in it."""
    names: dict[str, None] = {}
    stack = [code]
    while stack:
        current = stack.pop()
        for instruction in dis.get_instructions(current):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                names[instruction.argval] = None
        stack += [c for c in current.co_consts if isinstance(c, types.CodeType)]
    return tuple(names)


@functools.lru_cache(maxsize=1024)
def _module_attributes(code: types.CodeType) -> tuple[tuple[str, str], ...]:
    """(global, attribute) wherever the code reads an attribute straight off a global: `settings.scale`."""
    pairs: dict[tuple[str, str], None] = {}
    stack = [code]
    while stack:
        current = stack.pop()
        instructions = list(dis.get_instructions(current))
        for first, second in itertools.pairwise(instructions):
            if first.opname in ("LOAD_GLOBAL", "LOAD_NAME") and second.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                pairs[first.argval, second.argval] = None
        stack += [c for c in current.co_consts if isinstance(c, types.CodeType)]
    return tuple(pairs)


def _is_library_module(module: types.ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    return file is None or os.path.abspath(file).startswith(_LIBRARIES)


# -------------------------------------------------------------------------------------------------- Cells


def cell_guards(cell: Cell) -> list[Guard]:
    """Guards on the attributes `construct` may have read: numbers, flags, and which child or parameter is which."""
    expected = snapshot(cell)
    attributes = cell.__dict__
    cached = attributes["_snapshot"]
    found = [_contents_of(attributes[name]) for name in cached[1]]
    guard = Guard(type(cell).__name__, lambda: snapshot(cell), expected, is_cell=True)
    if all(contents is not None for contents in found):
        guard.places = [(attributes, "_snapshot", cached)]
        guard.contents = [pair for contents in found for pair in contents or ()]
    return [guard]


def snapshot(cell: Cell) -> tuple[Any, ...]:
    """All attributes of the Cell, frozen. Cached until one is assigned; containers are looked at anew each time."""
    cached = cell.__dict__["_snapshot"]
    if cached is None:
        fixed, containers = [], []
        for name, value in cell.__dict__.items():
            if name in _TRANSIENT or name in ("_cells", "_params", "_owned"):
                continue
            if isinstance(value, (list, dict, set)) or _is_plain_object(value):
                containers.append(name)
            else:
                fixed.append((name, freeze(value)))
        cached = cell.__dict__["_snapshot"] = (tuple(fixed), tuple(containers))
    fixed_part, names = cached
    if not names:
        return fixed_part
    return (*fixed_part, *((name, freeze(cell.__dict__[name])) for name in names))


def explain_snapshot(kind: str, old: tuple[Any, ...], new: tuple[Any, ...]) -> str:
    """The attribute that differs between two snapshots of a Cell."""
    before, after = dict(old), dict(new)
    for name in before.keys() | after.keys():
        if before.get(name) != after.get(name):
            return f"{kind}.{name} changed from {thaw(before.get(name))} to {thaw(after.get(name))}"
    return f"{kind} changed"
