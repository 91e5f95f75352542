"""The same as `replay.py` for programs that run op by op: a gradient whose forward has just run starts from the state
that forward started from, and leaves the state that forward left.

In: calls of Cells below an eagerly running Cell, and the assignments in them. Out: `rewound`, a scope in which the
Parameters a call assigned have their earlier values again. What is remembered ends with the outermost Cell's call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .parameter import Parameter


@dataclass(eq=False)
class EagerCall:
    """One call of a Cell. `before`, `after`: the values of the Parameters it assigned, by id."""

    cell: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    parameters: dict[int, Parameter] = field(default_factory=dict)
    before: dict[int, np.ndarray] = field(default_factory=dict)
    after: dict[int, np.ndarray] = field(default_factory=dict)

    def matches(self, cell: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether this was the same call, and nobody assigned its Parameters since."""
        if self.cell is not cell or len(self.args) != len(args) or self.kwargs.keys() != kwargs.keys():
            return False
        same = all(a is b for a, b in zip(self.args, args))
        same = same and all(self.kwargs[name] is kwargs[name] for name in kwargs)
        return same and all(np.array_equal(self.after[k], p._array) for k, p in self.parameters.items())  # type: ignore[arg-type]


@dataclass(eq=False)
class _Frame:
    """What happened so far below the outermost Cell that runs eagerly."""

    running: list[EagerCall] = field(default_factory=list)
    finished: list[EagerCall] = field(default_factory=list)


_frame: ContextVar[_Frame | None] = ContextVar("graphrt_eager_calls", default=None)


@contextmanager
def eager_call(cell: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[None]:
    """`cell(*args, **kwargs)` runs inside."""
    frame = _frame.get()
    if frame is None:
        token = _frame.set(_Frame())
        try:
            yield
        finally:
            _frame.reset(token)
        return
    call = EagerCall(cell, args, kwargs)
    frame.running.append(call)
    try:
        yield
    finally:
        frame.running.pop()
    if call.parameters:
        call.after = {k: np.array(p._array) for k, p in call.parameters.items()}
        frame.finished.append(call)


def about_to_assign(parameter: Parameter) -> None:
    """The running calls assign `parameter`, whose value is still the old one."""
    frame = _frame.get()
    for call in frame.running if frame is not None else ():
        if id(parameter) not in call.parameters:
            call.parameters[id(parameter)] = parameter
            call.before[id(parameter)] = np.array(parameter._array)


@contextmanager
def rewound(cell: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[None]:
    """If the call cell(*args, **kwargs) has just run, its Parameters are as it found them, and afterwards as it left
    them."""
    frame = _frame.get()
    finished = frame.finished if frame is not None else ()
    call = next((c for c in reversed(finished) if c.matches(cell, args, kwargs)), None)
    if call is None:
        yield
        return
    for key, parameter in call.parameters.items():
        parameter._array[...] = call.before[key]  # type: ignore[index]
    try:
        yield
    finally:
        for key, parameter in call.parameters.items():
            parameter._array[...] = call.after[key]  # type: ignore[index]
