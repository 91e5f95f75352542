"""Loss scaling: keeping small gradients of float16 networks from becoming zero (Micikevicius and others 2018).

In: a network that returns its loss, an optimizer, and the factor on the loss, fixed or moving. Out: Cells that do one
training step: gradients of the scaled loss, divided by the factor again; a step whose gradients are not all finite
changes no parameter, and a moving factor becomes smaller. All of it is part of the native step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.conditional import update_where
from ..frontend.gradient import value_and_grad
from ..frontend.parameter import Parameter, ParameterTuple, assign
from ..frontend.tensor import Tensor
from .dense import here, positive_int
from .optim.optimizer import check_number


def all_finite(inputs: Any) -> Tensor:
    """bool 0-d: whether no element of a Tensor, or of the Tensors in a (nested) list or tuple, is NaN or
    infinite. `inputs`: the Tensor, tuple or list."""
    tensors = _leaves(inputs)
    if not tensors:
        raise ArgumentError("all_finite: no tensors given", **here(), given=type(inputs).__name__)
    total: Any = None
    for tensor in tensors:
        finite = ops.reduce_all(ops.isfinite(tensor))
        total = finite if total is None else ops.logical_and(total, finite)
    return total


def _leaves(inputs: Any) -> list[Tensor]:
    if isinstance(inputs, Tensor):
        return [inputs]
    return [leaf for part in inputs for leaf in _leaves(part)] if isinstance(inputs, (tuple, list)) else []


class FixedLossScaleUpdateCell(Cell):
    """A factor that stays `loss_scale_value`."""

    def __init__(self, loss_scale_value: float):
        super().__init__()
        check_number(type(self).__name__, "loss_scale_value", loss_scale_value, minimum=0.0, exclusive=True)
        self.loss_scale_value = float(loss_scale_value)

    def get_loss_scale(self) -> float:
        """The factor at the start."""
        return self.loss_scale_value

    def construct(self, loss_scale: Parameter, overflow: Tensor) -> Tensor:
        """`overflow` (bool 0-d) as it is; `loss_scale` (float32 0-d) stays."""
        return overflow


class DynamicLossScaleUpdateCell(FixedLossScaleUpdateCell):
    """A factor divided by `scale_factor` after a step with overflow, but not below 1, and multiplied by it after
    `scale_window` steps without.

    State: `clean_steps` (int32), the number of steps without overflow since the factor changed.
    """

    def __init__(self, loss_scale_value: float, scale_factor: float, scale_window: int):
        super().__init__(loss_scale_value)
        check_number(type(self).__name__, "scale_factor", scale_factor, minimum=1.0, exclusive=True)
        positive_int(type(self).__name__, scale_window=scale_window)
        self.scale_factor, self.scale_window = float(scale_factor), int(scale_window)
        self.clean_steps = Parameter(np.zeros((), np.int32), name="clean_steps", requires_grad=False)

    def construct(self, loss_scale: Parameter, overflow: Tensor) -> Tensor:
        """Move `loss_scale` (float32 0-d) after a step; `overflow`: bool 0-d, which is returned."""
        steps = self.clean_steps + 1
        full = steps >= self.scale_window
        larger = loss_scale * self.scale_factor
        grown = ops.where(ops.logical_and(full, ops.isfinite(larger)), larger, loss_scale)
        smaller = ops.maximum(loss_scale / self.scale_factor, 1.0)
        assign(loss_scale, ops.where(overflow, smaller, grown))
        assign(self.clean_steps, ops.where(ops.logical_or(overflow, full), 0, steps))
        return overflow

    def extend_repr(self) -> str:
        return f"{self.loss_scale_value}, scale_factor={self.scale_factor}, scale_window={self.scale_window}"


class LossScale(Cell):
    """The factor on the loss and what becomes of it: `update_cell` changes the state `scale_sense` (float32).

    `drops_overflow=False`: overflows are not looked for, and the gradients stay scaled: the optimizer divides them.
    """

    def __init__(self, update_cell: FixedLossScaleUpdateCell, drops_overflow: bool = True):
        super().__init__(auto_prefix=False)
        self.update_cell, self.drops_overflow = update_cell, bool(drops_overflow)
        value = np.float32(update_cell.get_loss_scale())
        self.scale_sense = Parameter(np.full((), value), name="scale_sense", requires_grad=False)

    def construct(
        self,
        loss_function: Callable[..., Any],
        parameters: Sequence[Parameter],
        update: Callable[[tuple[Tensor, ...]], Any],
        inputs: Sequence[Any],
    ) -> tuple[Any, Tensor | None, Tensor]:
        """One step: `update` gets the gradients of loss_function(*inputs) for `parameters`. Returns (what the function
        returned, whether there was an overflow or None, the factor used)."""
        factor = self.scale_sense.value()

        def scaled(*values: Any) -> tuple[Any, Any]:
            result = loss_function(*values)
            loss = result[0] if isinstance(result, (tuple, list)) else result
            return ops.cast(loss, "float32") * factor, result

        (_, result), gradients = value_and_grad(scaled, None, parameters, has_aux=True)(*inputs)
        if not self.drops_overflow:
            update(gradients)
            return result, None, factor
        shrink = 1.0 / factor
        gradients = tuple(g * ops.cast(shrink, g.dtype) for g in gradients)
        finite = all_finite(gradients)
        update_where(finite, update, gradients)
        overflow = ops.logical_not(finite)
        self.update_cell(self.scale_sense, overflow)
        return result, overflow, factor


class TrainOneStepWithLossScaleCell(Cell):
    """One training step with loss scaling. `network` returns its loss; `scale_sense`: a number or 0-d Tensor for a fixed
    factor, or a DynamicLossScaleUpdateCell or FixedLossScaleUpdateCell. Returns (loss, overflow: bool 0-d, factor)."""

    def __init__(self, network: Cell, optimizer: Any, scale_sense: Any):
        super().__init__(auto_prefix=False)
        if isinstance(scale_sense, Tensor):
            scale_sense = float(scale_sense.asnumpy().reshape(()))
        if not isinstance(scale_sense, Cell):
            scale_sense = FixedLossScaleUpdateCell(scale_sense)
        self.network, self.optimizer = network, optimizer
        self.weights = ParameterTuple(optimizer.parameters)
        self.loss_scale = LossScale(scale_sense)

    @property
    def scale_sense(self) -> Parameter:
        """The factor: float32 0-d."""
        return self.loss_scale.scale_sense

    def set_sense_scale(self, sens: Any) -> None:
        """Change the factor."""
        self.scale_sense.set_data(np.float32(sens.asnumpy() if isinstance(sens, Tensor) else sens))

    def construct(self, *inputs: Any) -> tuple[Any, Tensor | None, Tensor]:
        return self.loss_scale(self.network, self.weights, self.optimizer, inputs)
