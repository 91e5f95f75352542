"""Optimizers whose step is measured against the length of each parameter: Lamb, and LARS around another optimizer.

In: one gradient per parameter. Out: new parameters and moments; see `optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...frontend import functional as ops
from ...frontend.parameter import Parameter, assign
from ...frontend.tensor import Tensor
from .adam import checked_betas
from .optimizer import Optimizer, check_number
from .wrapper import OptimizerWrapper


class Lamb(Optimizer):
    """w -= lr |w| / |r| r with r = m' / (sqrt(v') + eps) + weight_decay w (You and others 2020).

    m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2; m' and v' are divided by 1 - b1^t and 1 - b2^t. The factor |w| / |r|
    of a parameter is 1 where either length is zero. Without groups, parameters whose name contains "beta" or "gamma"
    do not decay.
    """

    def __init__(
        self,
        params: Any,
        learning_rate: Any,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: Any = 0.0,
    ):
        super().__init__(learning_rate, params, weight_decay)
        self.beta1, self.beta2, self.eps = checked_betas("Lamb", beta1, beta2, eps, exclusive=True)
        self.beta1_power = self.new_scalar("beta1_power", 1.0)
        self.beta2_power = self.new_scalar("beta2_power", 1.0)
        self.moments1, self.moments2 = self.new_states("lamb_m"), self.new_states("lamb_v")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates, decays = self.rates(), self.decays()
        assign(self.beta1_power, self.beta1_power * self.beta1)
        assign(self.beta2_power, self.beta2_power * self.beta2)
        first, second = 1.0 / (1.0 - self.beta1_power), ops.rsqrt(1.0 - self.beta2_power)
        for k, (parameter, g) in enumerate(zip(self.parameters, self.scaled(gradients))):
            m = self.moments1[k] * self.beta1 + g * (1.0 - self.beta1)
            v = self.moments2[k] * self.beta2 + ops.square(g) * (1.0 - self.beta2)
            assign(self.moments1[k], m)
            assign(self.moments2[k], v)
            direction = m * first / (ops.sqrt(v) * second + self.eps)
            if decays[k] is not None:
                direction = direction + parameter * decays[k]
            length, step = ops.norm(parameter), ops.norm(direction)
            ratio = ops.where(ops.logical_and(length > 0.0, step > 0.0), length / step, 1.0)
            assign(parameter, parameter - direction * (ratio * rates[k]))
        return True


def takes_part(parameter: Parameter) -> bool:
    """The parameters LARS scales unless told otherwise: all but biases and those of layer normalization."""
    return "LayerNorm" not in parameter.name and "bias" not in parameter.name


class LARS(OptimizerWrapper):
    """Hands g' = c (g + weight_decay w) to `optimizer`, c = coefficient |w| / (|g| + weight_decay |w| + epsilon) (You,
    Gitman and Ginsburg 2017).

    c is 1 where |w| or |g| is zero. `use_clip`: min(c / lr, 1) in place of c. The optimizer's weight decay and loss
    scale move here: it no longer applies them itself. `lars_filter(parameter)` chooses who takes part; the gradients of
    the others go to the optimizer as they are, without decay.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        epsilon: float = 1e-05,
        coefficient: float = 0.001,
        use_clip: bool = False,
        lars_filter: Callable[[Parameter], bool] = takes_part,
    ):
        super().__init__(optimizer)
        check_number("LARS", "epsilon", epsilon, minimum=0.0)
        check_number("LARS", "coefficient", coefficient, minimum=0.0)
        self.epsilon, self.coefficient = float(epsilon), float(coefficient)
        self.use_clip = bool(use_clip)
        self._chosen = [bool(lars_filter(parameter)) for parameter in self.parameters]
        self._decay_of, self._scale = optimizer._decay_of, optimizer.loss_scale
        optimizer._decay_of = [0.0] * len(self.parameters)
        optimizer.loss_scale = 1.0

    def construct(self, gradients: Sequence[Tensor]) -> Any:
        rates = self.rates() if self.use_clip else ()
        decays = self.decays()
        scaled = [g if self._scale == 1.0 else g * (1.0 / self._scale) for g in gradients]
        for k, (parameter, g) in enumerate(zip(self.parameters, scaled)):
            if not self._chosen[k]:
                continue
            length, slope = ops.norm(parameter), ops.norm(g)
            bottom, total = slope + self.epsilon, g
            if decays[k] is not None:
                bottom, total = bottom + length * decays[k], g + parameter * decays[k]
            factor = length * self.coefficient / bottom
            factor = ops.where(ops.logical_and(length > 0.0, slope > 0.0), factor, 1.0)
            if self.use_clip:
                factor = ops.minimum(factor / rates[k], 1.0)
            scaled[k] = total * factor
        return self.optimizer(tuple(scaled))
