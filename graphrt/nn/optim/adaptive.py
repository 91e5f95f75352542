"""Optimizers that choose a step size for every element from the gradients so far: RMSProp, Adagrad, Adadelta, AdaMax,
Rprop, FTRL.

In: one gradient per parameter. Out: new parameters and statistics; see `optimizer.py`. In the formulas g is the
gradient with the weight decay added, lr the learning rate of the step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ...frontend import functional as ops
from ...frontend.parameter import assign
from ...frontend.tensor import Tensor
from ..dense import here
from .adam import checked_betas
from .optimizer import Optimizer, check_number


class RMSProp(Optimizer):
    """s = decay s + (1 - decay) g^2; m = momentum m + lr g / sqrt(s + epsilon); w -= m (Tieleman and Hinton 2012).

    `centered`: also a = decay a + (1 - decay) g, and s - a^2 in place of s under the root. s starts at one, as in
    MindSpore.
    """

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 0.1,
        decay: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        loss_scale: float = 1.0,
        weight_decay: Any = 0.0,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        check_number("RMSProp", "decay", decay, minimum=0.0)
        check_number("RMSProp", "momentum", momentum, minimum=0.0)
        check_number("RMSProp", "epsilon", epsilon, minimum=0.0, exclusive=True)
        self.decay, self.momentum, self.epsilon = float(decay), float(momentum), float(epsilon)
        self.centered = bool(centered)
        self.mg = self.new_states("mean_grad") if centered else ()
        self.ms, self.moment = self.new_states("mean_square", 1.0), self.new_states("moment")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            square = self.ms[k] * self.decay + ops.square(g) * (1.0 - self.decay)
            assign(self.ms[k], square)
            if self.centered:
                mean = self.mg[k] * self.decay + g * (1.0 - self.decay)
                assign(self.mg[k], mean)
                square = square - ops.square(mean)
            step = self.moment[k] * self.momentum + g * rates[k] / ops.sqrt(square + self.epsilon)
            assign(self.moment[k], step)
            assign(parameter, parameter - step)
        return True


class Adagrad(Optimizer):
    """h += g^2; w -= lr g / sqrt(h), with h starting at `accum` (Duchi, Hazan and Singer 2011).

    `update_slots=False` leaves h as it is.
    """

    def __init__(
        self,
        params: Any,
        accum: float = 0.1,
        learning_rate: Any = 0.001,
        update_slots: bool = True,
        loss_scale: float = 1.0,
        weight_decay: Any = 0.0,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        check_number("Adagrad", "accum", accum, minimum=0.0)
        self.update_slots = bool(update_slots)
        self.accum = self.new_states("accum", float(accum))

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            total = self.accum[k]
            if self.update_slots:
                total = total + ops.square(g)
                assign(self.accum[k], total)
            assign(parameter, parameter - g * rates[k] / ops.sqrt(total))
        return True


class Adadelta(Optimizer):
    """a = rho a + (1 - rho) g^2; u = sqrt(d + epsilon) / sqrt(a + epsilon) g; d = rho d + (1 - rho) u^2; w -= lr u
    (Zeiler 2012)."""

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 1.0,
        rho: float = 0.9,
        epsilon: float = 1e-6,
        loss_scale: float = 1.0,
        weight_decay: Any = 0.0,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        if rho != 1.0:
            check_number("Adadelta", "rho", rho, minimum=0.0, maximum=1.0)
        check_number("Adadelta", "epsilon", epsilon, minimum=0.0)
        self.rho, self.epsilon = float(rho), float(epsilon)
        self.accum, self.accum_update = self.new_states("accum"), self.new_states("accum_update")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            total = self.accum[k] * self.rho + ops.square(g) * (1.0 - self.rho)
            step = ops.sqrt(self.accum_update[k] + self.epsilon) / ops.sqrt(total + self.epsilon) * g
            assign(self.accum[k], total)
            assign(
                self.accum_update[k], self.accum_update[k] * self.rho + ops.square(step) * (1.0 - self.rho)
            )
            assign(parameter, parameter - step * rates[k])
        return True


class AdaMax(Optimizer):
    """m = b1 m + (1 - b1) g; v = max(b2 v, |g|); w -= lr / (1 - b1^t) m / (v + eps) (Kingma and Ba 2015)."""

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: Any = 0.0,
        loss_scale: float = 1.0,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        self.beta1, self.beta2, self.eps = checked_betas("AdaMax", beta1, beta2, eps)
        self.beta1_power = self.new_scalar("beta1_power", 1.0)
        self.moment1, self.moment2 = self.new_states("moment1"), self.new_states("moment2")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        assign(self.beta1_power, self.beta1_power * self.beta1)
        correction = 1.0 / (1.0 - self.beta1_power)
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            m = self.moment1[k] * self.beta1 + g * (1.0 - self.beta1)
            v = ops.maximum(self.moment2[k] * self.beta2, ops.abs(g))
            assign(self.moment1[k], m)
            assign(self.moment2[k], v)
            assign(parameter, parameter - m * (rates[k] * correction) / (v + self.eps))
        return True


class Rprop(Optimizer):
    """w -= d sign(g), where d (at first lr) grows by etas[1] while the sign of g stays and shrinks by etas[0] when it
    changes, within `step_sizes`; after a change the element rests for one step (Riedmiller and Braun 1993)."""

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 0.1,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        weight_decay: Any = 0.0,
    ):
        super().__init__(learning_rate, params, weight_decay)
        for name, both in (("etas", etas), ("step_sizes", step_sizes)):
            if not isinstance(both, (tuple, list)) or len(both) != 2:
                raise ArgumentError(
                    f"Rprop: {name} must be 2 numbers", **here(), expected="(smaller, larger)", given=f"{name}={both!r}"
                )  # fmt: skip
        check_number("Rprop", "etas[0]", etas[0], minimum=0.0, maximum=1.0, exclusive=True)
        check_number("Rprop", "etas[1]", etas[1], minimum=1.0, exclusive=True)
        check_number("Rprop", "step_sizes[1]", step_sizes[1], minimum=step_sizes[0])
        self.etas = float(etas[0]), float(etas[1])
        self.step_sizes = float(step_sizes[0]), float(step_sizes[1])
        self.prev, self.step_size = self.new_states("prev"), self.new_states("step_size")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        first = ops.equal(self.global_step, 0)
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            agreement = g * self.prev[k]
            turned = agreement < 0.0
            factor = ops.where(agreement > 0.0, self.etas[1], ops.where(turned, self.etas[0], 1.0))
            size = ops.where(first, rates[k], self.step_size[k]) * factor
            size = ops.clip(size, self.step_sizes[0], self.step_sizes[1])
            used = ops.where(turned, 0.0, g)
            assign(self.prev[k], used)
            assign(self.step_size[k], size)
            assign(parameter, parameter - ops.sign(used) * size)
        return True


class FTRL(Optimizer):
    """h' = h + g^2; u += g - (h'^-p - h^-p) / lr w; w = (sign(u) l1 - u) / (h'^-p / lr + 2 l2) where |u| > l1, else 0
    (McMahan and others 2013), with p = `lr_power` and h starting at `initial_accum`."""

    def __init__(
        self,
        params: Any,
        initial_accum: float = 0.1,
        learning_rate: Any = 0.001,
        lr_power: float = -0.5,
        l1: float = 0.0,
        l2: float = 0.0,
        use_locking: bool = False,
        loss_scale: float = 1.0,
        weight_decay: Any = 0.0,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        check_number("FTRL", "initial_accum", initial_accum, minimum=0.0)
        check_number("FTRL", "-lr_power", -lr_power, minimum=0.0)
        check_number("FTRL", "l1", l1, minimum=0.0)
        check_number("FTRL", "l2", l2, minimum=0.0)
        self.lr_power, self.l1, self.l2 = float(lr_power), float(l1), float(l2)
        self.moments = self.new_states("moments", float(initial_accum))
        self.linear = self.new_states("linear")

    def _power(self, total: Tensor) -> Tensor:
        return ops.sqrt(total) if self.lr_power == -0.5 else ops.pow(total, -self.lr_power)

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.rates()
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            total = self.moments[k] + ops.square(g)
            power = self._power(total)
            linear = self.linear[k] + g - (power - self._power(self.moments[k])) / rates[k] * parameter
            assign(self.moments[k], total)
            assign(self.linear[k], linear)
            new = (ops.sign(linear) * self.l1 - linear) / (power / rates[k] + 2.0 * self.l2)
            assign(parameter, ops.where(ops.abs(linear) > self.l1, new, 0.0))
        return True
