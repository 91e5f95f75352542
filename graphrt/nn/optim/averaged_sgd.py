"""ASGD: gradient descent that also keeps the mean of the weights.

In: one gradient per parameter. Out: new parameters and averages; see `optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...frontend import functional as ops
from ...frontend.parameter import assign
from ...frontend.tensor import Tensor
from .optimizer import Optimizer, check_number


class ASGD(Optimizer):
    """w = w (1 - lambd eta) - eta g; average += (w - average) mu (Polyak and Juditsky 1992).

    eta = lr / (1 + lambd lr t)^alpha and mu = 1 / max(1, t - t0), t being the number of steps done before. The averages
    are in `ax`; until step `t0` they are the weights themselves.
    """

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 0.1,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: Any = 0.0,
    ):
        super().__init__(learning_rate, params, weight_decay)
        check_number("ASGD", "lambd", lambd, minimum=0.0)
        check_number("ASGD", "alpha", alpha, minimum=0.0)
        check_number("ASGD", "t0", t0, minimum=0.0)
        self.lambd, self.alpha, self.t0 = float(lambd), float(alpha), float(t0)
        self.ax = self.new_states("ax")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        done = ops.cast(self.global_step, "float32")
        mu = 1.0 / ops.maximum(done - self.t0, 1.0)
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            eta = rates[k] / ops.pow(done * (rates[k] * self.lambd) + 1.0, self.alpha)
            new = parameter * (1.0 - eta * self.lambd) - g * eta
            assign(parameter, new)
            assign(self.ax[k], ops.where(ops.equal(mu, 1.0), new, self.ax[k] + (new - self.ax[k]) * mu))
        return True
