"""Gradient accumulation: the gradients of several batches are averaged and the optimizer runs once for all of them.

In: the gradients of one batch, an optimizer. Out: updates of the traced step. Everything happens inside the native
step: the sums and the number of batches in them are states, so training may stop and go on between any two batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..frontend.cell import Cell
from ..frontend.conditional import update_where
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
        from .. import ops

        batches = self.batches + 1
        due = ops.equal(batches, self.count)
        sums = [total + gradient for total, gradient in zip(self.sums, gradients)]
        # without control flow in the step, the optimizer's new states are computed for every batch and kept when due
        update_where(due, optimizer, [total * (1.0 / self.count) for total in sums])
        assign(self.batches, ops.where(due, 0, batches))
        for state, total in zip(self.sums, sums):
            assign(state, ops.where(due, ops.zeros_like(total), total))
