"""What to look at: `file.py:attribute` becomes a network and its neighbours, `32x1x32x32:f32` a tensor type.

In: the strings of the command line. Out: a `Target` and `TensorType`s; ArgumentError for anything unusable.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..dtypes import BY_SHORT, as_dtype
from ..errors import ArgumentError, DTypeError
from ..ir import TensorType

_INPUT = re.compile(r"(?P<shape>scalar|\d+(x\d+)*)(:(?P<dtype>\w+))?")
_SCRIPT_MODULE = "graphrt_dump_target"


@dataclass(frozen=True)
class Target:
    """The network (or function) asked for, and what its module calls `loss_fn` and `optimizer`, if it does."""

    network: Any
    name: str
    loss_fn: Any = None
    optimizer: Any = None


def load_target(text: str) -> Target:
    """The network named by "path/to/script.py:attribute" (or "package.module:attribute").

    The script runs as a module, so its `if __name__ == "__main__":` part does not. A Cell class is instantiated
    without arguments. Errors raised by the script itself are passed on unchanged.
    """
    from ..nn import Cell

    place, separator, attribute = text.rpartition(":")
    if not separator or not place or not attribute:
        raise ArgumentError(
            "the target must name a file and what to show of it", expected="FILE.py:NAME", given=repr(text)
        )
    module = _load_module(place)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ArgumentError(
                f"{place} defines no {attribute!r}",
                expected=_candidates(module) or "a Cell or a function",
                given=text,
            )
        value = getattr(value, part)
    if isinstance(value, type) and issubclass(value, Cell):
        try:
            value = value()
        except TypeError as error:
            raise ArgumentError(
                f"{attribute} cannot be made without arguments: {error}",
                fix=f"give the script a module-level instance (net = {attribute}(...)) and name that",
            ) from None
    if not callable(value):
        raise ArgumentError(
            f"{attribute!r} is not a network",
            expected="a Cell, a Cell class or a function",
            given=type(value).__name__,
        )
    return Target(value, attribute, getattr(module, "loss_fn", None), getattr(module, "optimizer", None))


def parse_input(text: str) -> TensorType:
    """The tensor type of "32x1x32x32:f32", "32:int32" or "scalar:f32" (float32 if no type is given)."""
    match = _INPUT.fullmatch(text.strip())
    if match is None:
        raise ArgumentError(
            "an input must be given as its shape and element type",
            expected="32x1x32x32:f32 or scalar:i32",
            given=repr(text),
        )
    shape = () if match["shape"] == "scalar" else tuple(int(part) for part in match["shape"].split("x"))
    try:
        dtype = as_dtype(match["dtype"] or "f32")
    except DTypeError as error:
        raise ArgumentError(error.message, expected=", ".join(BY_SHORT), given=repr(text)) from None
    if 0 in shape:
        raise ArgumentError("an input must not be empty", expected="extents of at least 1", given=repr(text))
    return TensorType(shape, dtype)


def _load_module(place: str) -> ModuleType:
    path = Path(place)
    if path.suffix != ".py":
        return _import_named(place)
    if not path.is_file():
        raise ArgumentError("no such file", given=repr(place))
    spec = importlib.util.spec_from_file_location(_SCRIPT_MODULE, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_SCRIPT_MODULE] = module  # dataclasses and pickling look their module up by name
    sys.path.insert(0, str(path.resolve().parent))  # as for a script: its neighbours are importable
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def _import_named(place: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and place.startswith(error.name):
            raise ArgumentError("neither a .py file nor an importable module", given=repr(place)) from None
        raise


def _candidates(module: ModuleType) -> str:
    """The names in a module that could be shown."""
    from ..nn import Cell

    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, Cell)
        or (isinstance(value, type) and issubclass(value, Cell) and value.__module__ == module.__name__)
    ]
    return " or ".join(names)
