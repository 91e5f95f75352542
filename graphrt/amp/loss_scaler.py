"""Loss scaling by hand, for training steps written as functions.

    (loss, logits), grads = grad_fn(data, label)         # whose forward returns loss_scaler.scale(loss)
    grads = loss_scaler.unscale(grads)
    finite = amp.all_finite(grads)
    amp.update_where(finite, optimizer, grads)           # or: if finite: optimizer(grads)
    loss_scaler.adjust(finite)

In: Tensors, alone or in tuples and lists. Out: the same, multiplied or divided by the factor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..frontend import functional as ops
from ..frontend.location import user_source
from ..frontend.parameter import Parameter
from ..frontend.tensor import Tensor
from ..nn.loss_scale import DynamicLossScaleUpdateCell, FixedLossScaleUpdateCell


def _times(inputs: Any, factor: Tensor) -> Any:
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(_times(part, factor) for part in inputs)
    return inputs * ops.cast(factor, inputs.dtype)


class LossScaler(ABC):
    """Base class: `scale` before the backward pass, `unscale` after it, `adjust` at the end of the step."""

    scale_value: Tensor

    @abstractmethod
    def adjust(self, grads_finite: Any) -> Any:
        """Change the factor after a step; `grads_finite`: bool 0-d."""

    def scale(self, inputs: Any) -> Any:
        """inputs * factor."""
        return _times(inputs, self.scale_value)

    def unscale(self, inputs: Any) -> Any:
        """inputs / factor."""
        return _times(inputs, 1.0 / self.scale_value)


class StaticLossScaler(LossScaler):
    """A factor that stays `scale_value`."""

    def __init__(self, scale_value: float):
        value = FixedLossScaleUpdateCell(scale_value).get_loss_scale()
        self.scale_value = Parameter(np.full((), value, np.float32), name="scale_value", requires_grad=False)

    def adjust(self, grads_finite: Any) -> bool:
        """Changes nothing; returns False."""
        return False


class DynamicLossScaler(LossScaler):
    """A factor divided by `scale_factor` (not below 1) after a step whose gradients are not finite, and multiplied by it
    after `scale_window` finite steps.

    The factor is the Parameter `scale_value`, the number of finite steps since it changed the Parameter `counter`.
    """

    def __init__(self, scale_value: float, scale_factor: float, scale_window: int):
        self._update = DynamicLossScaleUpdateCell(scale_value, scale_factor, scale_window)
        self.scale_factor, self.scale_window = self._update.scale_factor, self._update.scale_window
        self.scale_value = Parameter(
            np.full((), self._update.loss_scale_value, np.float32), name="scale_value", requires_grad=False
        )
        self.counter = self._update.clean_steps
        self.counter.name = "counter"

    def adjust(self, grads_finite: Any) -> bool:
        """Change the factor; `grads_finite`: bool 0-d, from `all_finite`. Returns True."""
        finite = grads_finite if isinstance(grads_finite, Tensor) else Tensor(np.asarray(grads_finite))
        if finite.shape != () or finite.dtype.kind != "bool":
            raise ArgumentError(
                "DynamicLossScaler.adjust: one truth value is needed", at=user_source(), expected="bool[]",
                given=finite.type.describe(), fix="pass amp.all_finite(grads)",
            )  # fmt: skip
        self._update(self.scale_value, ops.logical_not(finite))
        return True
