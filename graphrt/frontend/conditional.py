"""Assignments that take effect only where a condition holds.

In: a bool Tensor and a function that assigns Parameters. Out: the function's assignments, where the condition holds. It is
an `if` (see paths.py for what that becomes in a compiled step) around nothing but the function: what comes after it is
traced once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from .location import user_source
from .paths import explore
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

    def conditionally() -> None:
        if condition:
            function(*args)

    trace = current_trace()
    if trace is None:
        conditionally()
    else:
        explore(trace, conditionally)
