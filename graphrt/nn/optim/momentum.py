"""Gradient descent with and without momentum: SGD, Momentum.

In: one gradient per parameter. Out: new parameters and accumulators; see `optimizer.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ...frontend import functional as ops
from ...frontend.parameter import assign
from ...frontend.tensor import Tensor
from ..dense import here
from .optimizer import Optimizer, check_number


class SGD(Optimizer):
    """w -= lr g'. With momentum m: accum = g in the first step, later m accum + (1 - dampening) g;
    g' = g + m accum if nesterov, else accum."""

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 0.1,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: Any = 0.0,
        nesterov: bool = False,
        loss_scale: float = 1.0,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        check_number("SGD", "momentum", momentum, minimum=0.0)
        check_number("SGD", "dampening", dampening, minimum=0.0)
        if nesterov and (not momentum or dampening):
            raise ArgumentError(
                "SGD: nesterov needs momentum and no dampening", **here(), expected="momentum > 0, dampening = 0",
                given=f"momentum={momentum}, dampening={dampening}",
            )  # fmt: skip
        self.momentum, self.dampening, self.nesterov = float(momentum), float(dampening), bool(nesterov)
        self.accum = self.new_states("accum") if momentum else ()

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        first = ops.equal(self.global_step, 0) if self.momentum and self.dampening else None
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            step = g
            if self.momentum:
                # the accumulators start at zero: only dampening makes the first step different from the others
                new = self.accum[k] * self.momentum + (g * (1.0 - self.dampening) if self.dampening else g)
                if first is not None:
                    new = ops.where(first, g, new)
                assign(self.accum[k], new)
                step = g + new * self.momentum if self.nesterov else new
            assign(parameter, parameter - step * rates[k])
        return True


class Momentum(Optimizer):
    """v = u v + g; w -= lr v, or w -= lr (g + u v) with use_nesterov."""

    def __init__(
        self,
        params: Any,
        learning_rate: Any,
        momentum: float,
        weight_decay: Any = 0.0,
        loss_scale: float = 1.0,
        use_nesterov: bool = False,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        check_number("Momentum", "momentum", momentum, minimum=0.0)
        self.momentum, self.use_nesterov = float(momentum), bool(use_nesterov)
        self.moments = self.new_states("moments")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            new = self.moments[k] * self.momentum + g
            assign(self.moments[k], new)
            step = g + new * self.momentum if self.use_nesterov else new
            assign(parameter, parameter - step * rates[k])
        return True
