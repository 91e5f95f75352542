"""The Adam family: Adam, and with decoupled weight decay (the decay is taken off the parameter and is no part of the
moments) AdamWeightDecay and AdamW.

In: one gradient per parameter. Out: new parameters and moments; see `optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...frontend import functional as ops
from ...frontend.parameter import Parameter, ParameterTuple, assign
from ...frontend.tensor import Tensor
from .optimizer import Optimizer, check_number


class MomentOptimizer(Optimizer):
    """beta1, beta2 and eps, and the two moments of every gradient; subclasses differ in bias correction and in how
    weights decay. They make the states: `moment1` and `moment2`, and the powers of both betas where they correct."""

    moment1: ParameterTuple
    moment2: ParameterTuple
    beta1_power: Parameter
    beta2_power: Parameter

    def __init__(
        self,
        params: Any,
        learning_rate: Any,
        beta1: float,
        beta2: float,
        eps: float,
        weight_decay: Any,
        loss_scale: float = 1.0,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        self.beta1, self.beta2, self.eps = checked_betas(type(self).__name__, beta1, beta2, eps)

    def count_powers(self) -> None:
        """beta1^t and beta2^t of this step, assigned."""
        assign(self.beta1_power, self.beta1_power * self.beta1)
        assign(self.beta2_power, self.beta2_power * self.beta2)

    def new_moments(self, k: int, g: Tensor) -> tuple[Tensor, Tensor]:
        """b1 m + (1 - b1) g and b2 v + (1 - b2) g^2 of parameter number k, assigned."""
        m = self.moment1[k] * self.beta1 + g * (1.0 - self.beta1)
        v = self.moment2[k] * self.beta2 + ops.square(g) * (1.0 - self.beta2)
        assign(self.moment1[k], m)
        assign(self.moment2[k], v)
        return m, v


def checked_betas(
    kind: str, beta1: float, beta2: float, eps: float, exclusive: bool = False
) -> tuple[float, float, float]:
    """The decay rates of two moments, 0 <= beta < 1 (`exclusive`: not 0), and eps > 0, as floats."""
    check_number(kind, "beta1", beta1, minimum=0.0, maximum=1.0, exclusive=exclusive)
    check_number(kind, "beta2", beta2, minimum=0.0, maximum=1.0, exclusive=exclusive)
    check_number(kind, "eps", eps, minimum=0.0, exclusive=True)
    return float(beta1), float(beta2), float(eps)


class Adam(MomentOptimizer):
    """m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps).

    Weight decay is part of the gradient (L2). `use_nesterov`: b1 m + (1 - b1) g in place of m. `use_amsgrad`: the
    largest v so far in place of v.
    """

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        use_locking: bool = False,
        use_nesterov: bool = False,
        weight_decay: Any = 0.0,
        loss_scale: float = 1.0,
        use_amsgrad: bool = False,
    ):
        super().__init__(params, learning_rate, beta1, beta2, eps, weight_decay, loss_scale)
        self.use_nesterov, self.use_amsgrad = bool(use_nesterov), bool(use_amsgrad)
        self.beta1_power = self.new_scalar("beta1_power", 1.0)
        self.beta2_power = self.new_scalar("beta2_power", 1.0)
        self.moment1, self.moment2 = self.new_states("moment1"), self.new_states("moment2")
        self.vhat = self.new_states("vhat") if use_amsgrad else ()

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        self.count_powers()
        correction = ops.sqrt(1.0 - self.beta2_power) / (1.0 - self.beta1_power)
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            m, v = self.new_moments(k, g)
            if self.use_amsgrad:
                v = ops.maximum(self.vhat[k], v)
                assign(self.vhat[k], v)
            if self.use_nesterov:
                m = m * self.beta1 + g * (1.0 - self.beta1)
            assign(parameter, parameter - m * (rates[k] * correction) / (ops.sqrt(v) + self.eps))
        return True


class AdamWeightDecay(MomentOptimizer):
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
        weight_decay: Any = 0.0,
    ):
        super().__init__(params, learning_rate, beta1, beta2, eps, weight_decay)
        self.moment1, self.moment2 = self.new_states("moment1"), self.new_states("moment2")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates, decays = self.rates(), self.decays()
        for k, (parameter, g) in enumerate(zip(self.parameters, self.scaled(gradients))):
            m, v = self.new_moments(k, g)
            step = m / (ops.sqrt(v) + self.eps)
            if decays[k] is not None:
                step = step + parameter * decays[k]
            assign(parameter, parameter - step * rates[k])
        return True


class AdamW(MomentOptimizer):
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
        weight_decay: Any = 0.01,
    ):
        super().__init__(params, learning_rate, beta1, beta2, eps, weight_decay)
        self.moment1, self.moment2 = self.new_states("moment1"), self.new_states("moment2")
        self.beta1_power = self.new_scalar("beta1_power", 1.0)
        self.beta2_power = self.new_scalar("beta2_power", 1.0)

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates, decays = self.rates(), self.decays()
        self.count_powers()
        first = 1.0 / (1.0 - self.beta1_power)
        second = ops.rsqrt(1.0 - self.beta2_power)
        for k, (parameter, g) in enumerate(zip(self.parameters, self.scaled(gradients))):
            m, v = self.new_moments(k, g)
            kept = parameter if decays[k] is None else parameter * (1.0 - rates[k] * decays[k])
            assign(parameter, kept - m * (rates[k] * first) / (ops.sqrt(v) * second + self.eps))
        return True
