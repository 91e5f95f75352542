"""Functions made of other functions by working on their graph: the frame that gradients and vmap share.

In: a function of Tensors, and a subclass that says what is added to a running trace. Out: a callable that joins the
trace that is running, and otherwise traces itself and runs: compiled if the network is, or if the same kind of call
keeps coming (a training loop written out in Python); interpreted at first.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..context import GRAPH_MODE, get_context
from .cell import Cell
from .guards import freeze
from .specialise import Specialiser
from .trace import Trace, array_of, current_trace, split_arguments, trace, type_of

INTERPRETED_CALLS = 2  # of one kind, before a function that is not part of a compiled network is compiled


class FunctionTransform:
    """A function of Tensors that exists as an addition to a trace; subclasses define `_inline`."""

    def __init__(self, function: Callable[..., Any], prefix: str):
        self._function = function
        self._name = f"{prefix}_{getattr(function, '__name__', type(function).__name__)}"
        self._specialiser: Specialiser | None = None
        self._calls: dict[Any, int] = {}  # interpreted calls by the kind of their arguments
        if not isinstance(function, Cell):
            functools.update_wrapper(self, function, updated=())

        def traced(*args: Any, **kwargs: Any) -> Any:
            running = current_trace()
            assert running is not None
            return self._inline(running, args, kwargs)

        # where argument names are looked up
        vars(traced)["__wrapped__"] = getattr(function, "construct", function)
        self._traced = traced

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        running = current_trace()
        if running is not None:
            return self._inline(running, args, kwargs)
        if self._specialiser is None and get_context("mode") != GRAPH_MODE:
            leaves, structure = split_arguments(args, kwargs)
            if not self._is_repeated(leaves, structure):
                traced = trace(self._traced, args, kwargs, name=self._name)
                if not any(cell._graphrt_compiled for cell in traced.cells):
                    return traced.run_reference([array_of(leaf) for leaf in leaves])
        if self._specialiser is None:  # the network is a compiled one: so is what is made of it
            self._specialiser = Specialiser(self._traced, self._name, reads=self._function)
        return self._specialiser(args, kwargs)

    def _is_repeated(self, leaves: list[Any], structure: Any) -> bool:
        """Whether calls of this kind have come often enough to be worth compiling: a training loop, not a look."""
        if get_context("engine") == "interpreter":
            return False
        signature = (tuple(map(type_of, leaves)), freeze(structure))
        self._calls[signature] = self._calls.get(signature, 0) + 1
        return self._calls[signature] > INTERPRETED_CALLS

    def _inline(self, running: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result as Tensors of the running trace."""
        raise NotImplementedError

    def _reads(self) -> tuple[Any, ...]:
        return (self._function,)

    def _described(self) -> str:
        return str(getattr(self._function, "__qualname__", type(self._function).__name__))
