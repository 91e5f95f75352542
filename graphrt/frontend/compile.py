"""`@graphrt.compile`: run a Cell or function as native code, one version per kind of call.

In: a Cell class, a Cell, or a function (a whole training step with gradients and an optimizer becomes one graph).
Out: the same class or Cell, now compiled when called from outside; or a `CompiledFunction`.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from .cell import Cell
from .location import user_source
from .paths import explore
from .specialise import Specialisation, Specialiser
from .trace import current_trace


class CompiledFunction:
    """A function compiled at its first call with each kind of arguments. Inside another trace it is inlined."""

    def __init__(self, function: Callable[..., Any], tune: bool = False):
        functools.update_wrapper(self, function, updated=())
        self._function = function
        name = getattr(function, "__name__", type(function).__name__)
        self._specialiser = Specialiser(function, name, tune=tune)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        trace = current_trace()
        if trace is not None:
            return explore(trace, lambda: self._function(*args, **kwargs))
        return self._specialiser(args, kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    @property
    def specialisations(self) -> list[Specialisation]:
        """The compiled versions, each with the reason it was made."""
        return list(self._specialiser.specialisations)

    def _reads(self) -> tuple[Any, ...]:
        return (self._function,)

    def __repr__(self) -> str:
        return f"<compiled {getattr(self._function, '__qualname__', self._function)!s}>"


def compile(target: Any = None, *, tune: bool = False) -> Any:
    """Compile a Cell class, a Cell or a function; usable as `@graphrt.compile` and `@graphrt.compile(tune=True)`.

    - a Cell class is returned unchanged in identity: all its instances run compiled when called from outside;
    - a Cell is returned, marked the same way;
    - a function becomes a `CompiledFunction`. It runs with traced Tensors, once per kind of call, or where it decides on
      Tensors (`if x.sum() > 0:`) once per way through it, up to 16. Both sides of such an `if` are computed in every
      call and one is selected, so they must return the same shapes and types; `while` on a Tensor has no end.

    A new version is made when argument shapes or dtypes, Python arguments, training flags, attributes of Cells, or
    globals the function reads have changed; `.specialisations` lists them with reasons. `target`: what is to
    be compiled.

    `tune`: matrix products and convolutions are computed in the way that is fastest on this machine. It is found by
    running the whole graph in several versions, which takes several times as long as compiling it, and kept in the
    compile cache. A training step by `Model` is tuned if one of its Cells is. Results may differ in their last bits from
    those of untuned code, where sums are taken in another order.
    """
    if target is None:
        return functools.partial(compile, tune=tune) if tune else compile
    if isinstance(target, type):
        if issubclass(target, Cell):
            target._graphrt_compiled, target._graphrt_tuned = True, tune
            return target
    elif isinstance(target, Cell):
        target.__dict__.update(_graphrt_compiled=True, _graphrt_tuned=tune)
        return target
    elif isinstance(target, CompiledFunction):
        return target
    elif callable(target):
        return CompiledFunction(target, tune)
    raise ArgumentError(
        "compile: cannot compile this", at=user_source(), expected="a Cell class, a Cell or a function",
        given=repr(target),
    )  # fmt: skip


def jit_class(target: type) -> type:
    """The class itself: instances of plain classes may be used in compiled code without being marked. Present for
    compatibility. `target`: the class."""
    if not isinstance(target, type):
        raise ArgumentError("jit_class: a class is needed", at=user_source(), given=repr(target))
    return target
