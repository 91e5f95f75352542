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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
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
    """`read()` gave `expected` when the function was traced; `what` names it for people. `untouched()`: a quick look
    that is True only where nothing can have changed."""

    what: str
    read: Callable[[], Any]
    expected: Any
    is_cell: bool = False
    untouched: Callable[[], bool] | None = None

    def holds(self) -> bool:
        return (self.untouched is not None and self.untouched()) or self.read() == self.expected

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


def _guard(what: str, read: Callable[[], Any], peek: Callable[[], Any]) -> Guard:
    """`peek()`: the value itself, not frozen."""
    expected, value = read(), peek()
    same = None if value is MISSING else _quick_look(value)
    return Guard(what, read, expected, untouched=None if same is None else lambda: same(peek()))


def _quick_look(value: Any) -> Callable[[Any], bool] | None:
    """A test whether something is `value` and still has the contents it has now; None where that takes a long look."""
    if not _has_contents(value):
        return lambda other: other is value
    if isinstance(value, (tuple, list)):
        contents = tuple(value)
    elif isinstance(value, dict):
        contents = (*value.keys(), *value.values())
    else:
        return None
    if any(map(_has_contents, contents)):
        return None
    if isinstance(value, dict):
        return lambda other: other is value and _identical((*other.keys(), *other.values()), contents)
    return lambda other: other is value and _identical(other, contents)


def _identical(values: Sequence[Any], others: Sequence[Any]) -> bool:
    return len(values) == len(others) and all(map(operator.is_, values, others))


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
        peek = functools.partial(namespace.get, name, MISSING)
        found.append((_guard(f"global {name!r}", read, peek), namespace.get(name)))
    for module_name, attribute in _module_attributes(function.__code__):
        module = namespace.get(module_name)
        if isinstance(module, types.ModuleType) and not _is_library_module(module):
            read = functools.partial(_read_global, vars(module), attribute)
            peek = functools.partial(vars(module).get, attribute, MISSING)
            found.append((_guard(f"{module_name}.{attribute}", read, peek), vars(module).get(attribute)))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        read_cell = functools.partial(_read_closure, cell)
        try:
            target = cell.cell_contents
        except ValueError:
            target = None
        found.append(
            (_guard(f"variable {name!r}", read_cell, functools.partial(_peek_closure, cell)), target)
        )
    for name, default in (function.__kwdefaults__ or {}).items():
        read = functools.partial(freeze, default)
        found.append((_guard(f"default of {name!r}", read, functools.partial(_identity, default)), default))
    return found


def _read_global(namespace: dict[str, Any], name: str) -> Any:
    return freeze(namespace[name]) if name in namespace else MISSING


def _read_closure(cell: Any) -> Any:
    try:
        return freeze(cell.cell_contents)
    except ValueError:
        return MISSING


def _identity(value: Any) -> Any:
    return value


def _peek_closure(cell: Any) -> Any:
    try:
        return cell.cell_contents
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
    looks = [(name, _quick_look(attributes[name])) for name in cached[1]]

    def untouched() -> bool:
        if attributes["_snapshot"] is not cached:
            return False
        return not looks or all(look is not None and look(attributes[name]) for name, look in looks)

    return [Guard(type(cell).__name__, lambda: snapshot(cell), expected, is_cell=True, untouched=untouched)]


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
