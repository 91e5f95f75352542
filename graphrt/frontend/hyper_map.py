"""Functions mapped over nested tuples, and functions chosen by the kinds of their arguments.

In: functions, and tuples or lists of Tensors (gradients, accumulators). Out: the results in the same nesting. This is
how MindSpore programs write "for every gradient"; Python's own loops work as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from .location import user_source
from .parameter import Parameter
from .tensor import Tensor


class Map:
    """`Map(fn)(xs, ys)`, or `Map()(fn, xs, ys)`: fn applied to the elements of tuples or lists of one length.

    `reverse`: from the last element to the first (the results stay in order). Raises ArgumentError where lengths
    differ. `ops`: the function, or None to give it as the first argument of the call.
    """

    nested = False

    def __init__(self, ops: Callable[..., Any] | None = None, reverse: bool = False):
        self.ops, self.reverse = ops, reverse

    def __call__(self, *args: Any) -> Any:
        if self.ops is None:
            if not args or not callable(args[0]):
                raise ArgumentError(
                    f"{type(self).__name__}: the first argument is the function", at=user_source(),
                    given=repr(args[0]) if args else "nothing", fix=f"write {type(self).__name__}()(fn, xs)",
                )  # fmt: skip
            return self._map(args[0], args[1:], top=True)
        return self._map(self.ops, args, top=True)

    def _map(self, function: Callable[..., Any], values: tuple[Any, ...], top: bool = False) -> Any:
        sequences = [isinstance(v, (tuple, list)) for v in values]
        if not values or not (any(sequences) and (top or self.nested)):
            return function(*values)
        lengths = [len(v) for v, is_sequence in zip(values, sequences) if is_sequence]
        if not all(sequences) or len(set(lengths)) != 1:
            raise ArgumentError(
                f"{type(self).__name__}: the tuples must have one length", at=user_source(),
                given=", ".join(f"{len(v)}" if s else type(v).__name__ for v, s in zip(values, sequences)),
            )  # fmt: skip
        positions = range(lengths[0])
        results: dict[int, Any] = {}
        for k in reversed(positions) if self.reverse else positions:
            results[k] = self._map(function, tuple(v[k] for v in values))
        ordered = [results[k] for k in positions]
        return ordered if isinstance(values[0], list) else tuple(ordered)


class HyperMap(Map):
    """`Map` that goes down into nested tuples and lists."""

    nested = True


_KINDS: dict[str, Callable[[Any], bool]] = {
    "Tensor": lambda v: isinstance(v, (Tensor, np.ndarray)),
    "Parameter": lambda v: isinstance(v, Parameter),
    "Ref": lambda v: isinstance(v, Parameter),
    "Bool": lambda v: isinstance(v, bool),
    "Int": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "Float": lambda v: isinstance(v, float),
    "Number": lambda v: isinstance(v, (int, float)),
    "String": lambda v: isinstance(v, str),
    "Tuple": lambda v: isinstance(v, tuple),
    "List": lambda v: isinstance(v, list),
    "Function": callable,
    "None": lambda v: v is None,
}


class MultitypeFuncGraph:
    """One name for several functions: a call runs the first one registered for the kinds of its arguments.

    `@name.register("Tensor", "Number")` registers; kinds are Tensor, Parameter, Bool, Int, Float, Number, String,
    Tuple, List, Function, None. Raises ArgumentError for a call that no registered function fits.
    `read_value` is accepted and has no meaning here.
    """

    def __init__(self, name: str, read_value: bool = False):
        self.name, self.read_value = name, read_value
        self._entries: list[tuple[tuple[str, ...], Callable[..., Any]]] = []

    def register(self, *kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """A decorator that registers a function for arguments of these kinds."""
        for kind in kinds:
            if kind not in _KINDS:
                raise ArgumentError(
                    f"{self.name}: unknown kind of argument", at=user_source(), expected=", ".join(_KINDS),
                    given=repr(kind),
                )  # fmt: skip

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self._entries.append((kinds, function))
            return function

        return add

    def __call__(self, *args: Any) -> Any:
        for kinds, function in self._entries:
            if len(kinds) == len(args) and all(_KINDS[kind](value) for kind, value in zip(kinds, args)):
                return function(*args)
        raise ArgumentError(
            f"{self.name}: no function is registered for these arguments", at=user_source(),
            expected=" or ".join(f"({', '.join(kinds)})" for kinds, _ in self._entries) or "none is registered",
            given=f"({', '.join(type(value).__name__ for value in args)})",
        )  # fmt: skip

    def _reads(self) -> tuple[Any, ...]:
        return tuple(function for _, function in self._entries)
