"""Assignments that take effect only where a condition holds.

In: a bool Tensor and a function that assigns Parameters. Out: inside a trace, updates that choose between the new and the
old value (a compiled step has no control flow); in eager calls the function runs or does not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from .location import user_source
from .tensor import Tensor
from .trace import current_trace


def update_where(condition: Tensor, function: Callable[..., Any], *args: Any) -> None:
    """function(*args), whose assignments to Parameters count only where `condition` (bool, 0-d) is True.

    For example `update_where(amp.all_finite(grads), optimizer, grads)`. Raises ArgumentError for another condition.
    """
    if condition.shape != () or condition.dtype.kind != "bool":
        raise ArgumentError(
            "update_where: the condition must be one truth value", at=user_source(), expected="bool[]",
            given=condition.type.describe(),
        )  # fmt: skip
    trace = current_trace()
    if trace is None:
        if bool(condition.asnumpy()):
            function(*args)
        return
    from .functional import where

    before = dict(trace.latest)
    function(*args)
    for key, (_, first) in list(trace.states.items()):
        old, new = before.get(key, first), trace.latest[key]
        if new is not old:
            trace.latest[key] = trace.lift(where(condition, trace.tensor(new), trace.tensor(old)))
