"""Adam with decoupled weight decay: the decay is taken off the parameter and not part of the moments.

In: one gradient per parameter. Out: new parameters and moments; see `optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..frontend import functional as ops
from ..frontend.parameter import Parameter, assign
from ..frontend.tensor import Tensor
from .optimizer import Optimizer, check_number


class _DecoupledAdam(Optimizer):
    """Settings and moments; subclasses differ in bias correction and in who decays."""

    def __init__(
        self, params: Any, learning_rate: Any, beta1: float, beta2: float, eps: float, weight_decay: float
    ):
        kind = type(self).__name__
        super().__init__(learning_rate, params, weight_decay)
        check_number(kind, "beta1", beta1, minimum=0.0, maximum=1.0)
        check_number(kind, "beta2", beta2, minimum=0.0, maximum=1.0)
        check_number(kind, "eps", eps, minimum=0.0, exclusive=True)
        self.beta1, self.beta2, self.eps = float(beta1), float(beta2), float(eps)
        self.moment1, self.moment2 = self.new_states("moment1"), self.new_states("moment2")

    def new_moments(self, k: int, g: Tensor) -> tuple[Tensor, Tensor]:
        """b1 m + (1 - b1) g and b2 v + (1 - b2) g^2 of parameter number k, assigned."""
        m = self.moment1[k] * self.beta1 + g * (1.0 - self.beta1)
        v = self.moment2[k] * self.beta2 + ops.square(g) * (1.0 - self.beta2)
        assign(self.moment1[k], m)
        assign(self.moment2[k], v)
        return m, v


class AdamWeightDecay(_DecoupledAdam):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr (m / (sqrt(v) + eps) + weight_decay w).

    There is no bias correction. Without groups, parameters whose name contains "beta" or "gamma" do not decay.
    """

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ):
        super().__init__(params, learning_rate, beta1, beta2, eps, weight_decay)

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.get_lr()
        for k, (parameter, g) in enumerate(zip(self.parameters, self.scaled(gradients))):
            m, v = self.new_moments(k, g)
            step = m / (ops.sqrt(v) + self.eps)
            if self._decay_of[k]:
                step = step + parameter * self._decay_of[k]
            assign(parameter, parameter - step * rates[k])
        self.count_step()
        return True


class AdamW(_DecoupledAdam):
    """w -= lr weight_decay w; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    w -= lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + eps), the formula of PyTorch's AdamW.

    Every parameter decays, whatever its name; groups choose.
    """

    skips_norm_parameters = False

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ):
        super().__init__(params, learning_rate, beta1, beta2, eps, weight_decay)
        self.beta1_power = Parameter(np.ones((), np.float32), name="beta1_power", requires_grad=False)
        self.beta2_power = Parameter(np.ones((), np.float32), name="beta2_power", requires_grad=False)

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.get_lr()
        assign(self.beta1_power, self.beta1_power * self.beta1)
        assign(self.beta2_power, self.beta2_power * self.beta2)
        first = 1.0 / (1.0 - self.beta1_power)
        second = ops.rsqrt(1.0 - self.beta2_power)
        for k, (parameter, g) in enumerate(zip(self.parameters, self.scaled(gradients))):
            m, v = self.new_moments(k, g)
            decay = self._decay_of[k]
            kept = parameter * (1.0 - rates[k] * decay) if decay else parameter
            assign(parameter, kept - m * (rates[k] * first) / (ops.sqrt(v) * second + self.eps))
        self.count_step()
        return True
