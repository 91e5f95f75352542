"""Gradient accumulation: the gradients of several batches are averaged and the optimizer runs once for all of them.

In: the gradients of one batch, an optimizer. Out: updates of the traced step. Everything happens inside the native
step: the sums and the number of batches in them are states, so training may stop and go on between any two batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..frontend.cell import Cell
from ..frontend.parameter import Parameter, ParameterTuple, assign


class Accumulation(Cell):
    """Runs `optimizer` with the mean gradient of every `count` batches.

    States: `accumulated.<parameter>`, the sums so far, and `accumulated_batches` (int32), how many batches are in them.
    """

    def __init__(self, optimizer: Any, count: int):
        super().__init__(auto_prefix=False)
        self.count = count
        self.batches = Parameter(np.zeros((), np.int32), name="accumulated_batches", requires_grad=False)
        sums = []
        for parameter in optimizer.parameters:
            zeros = np.zeros(parameter.shape, parameter.dtype.numpy)
            state = Parameter(zeros, name=f"accumulated.{parameter.name}", requires_grad=False)
            self.insert_param_to_cell(state.name, state)
            sums.append(state)
        self.sums = ParameterTuple(sums)

    def clear(self) -> None:
        """Forget the gradients collected so far."""
        for state in (self.batches, *self.sums):
            state.set_data(np.zeros(state.shape, state.dtype.numpy))

    def construct(self, optimizer: Callable[[Sequence[Any]], Any], gradients: Sequence[Any]) -> None:
        """Add the gradients of a batch; `optimizer(mean gradients)` takes effect in every `count`-th call."""
        for total, gradient in zip(self.sums, gradients):
            assign(total, total + gradient)
        assign(self.batches, self.batches + 1)
        # the native step has no control flow: it computes the optimizer's new states for every batch and takes them when due
        if self.batches == self.count:
            optimizer([total * (1.0 / self.count) for total in self.sums])
            self.clear()
