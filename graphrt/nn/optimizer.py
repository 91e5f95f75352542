"""Optimizers: Cells whose call takes gradients and updates parameters.

In: one gradient per parameter, in order. Out: new parameter values, moments and step count: assigned at once when
called eagerly, recorded as updates of the graph inside a trace. The learning rate of step i is read before
`global_step` is incremented.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import ArgumentError, ShapeError
from ..frontend import functional as ops
from ..frontend.cell import Cell
from ..frontend.parameter import Parameter, ParameterTuple, assign
from ..frontend.tensor import Tensor
from .dense import here

_GROUP_KEYS = ("params", "lr", "weight_decay", "grad_centralization", "order_params")


@dataclass
class Group:
    """Parameters that share settings; None takes the optimizer's."""

    parameters: tuple[Parameter, ...]
    learning_rate: Any = None
    weight_decay: float | None = None
    grad_centralization: bool = False


class Optimizer(Cell):
    """Base class: parameters, groups, learning rate, weight decay, loss scale and `global_step`.

    `parameters`: Parameters (any iterable), or dicts with "params" and optionally "lr", "weight_decay" and
    "grad_centralization" (gradients of 2 or more axes minus their mean over all axes but the first).
    `learning_rate`: a number or 0-d Tensor (kept in the Parameter `learning_rate`), an iterable or 1-d Tensor (the
    i-th step takes the i-th value, later steps the last), or a Cell of `global_step`.
    `weight_decay` adds weight_decay * w to the gradient; without groups, parameters whose name contains "beta" or
    "gamma" are left out. `loss_scale` divides the gradients.
    """

    skips_norm_parameters = True  # whether weight decay without groups leaves out "beta" and "gamma"

    def __init__(
        self, learning_rate: Any, parameters: Any, weight_decay: float = 0.0, loss_scale: float = 1.0
    ):
        super().__init__(auto_prefix=False)
        kind = type(self).__name__
        groups, self.is_group = _groups(kind, parameters)
        self.parameters = ParameterTuple(p for group in groups for p in group.parameters)
        _check_names(kind, self.parameters)
        check_number(kind, "weight_decay", weight_decay, minimum=0.0)
        check_number(kind, "loss_scale", loss_scale, minimum=0.0, exclusive=True)
        self.weight_decay, self.loss_scale = float(weight_decay), float(loss_scale)
        self.global_step = Parameter(np.zeros((), np.int32), name="global_step", requires_grad=False)
        self._rates: list[Any] = [self._rate(kind, learning_rate, "learning_rate")]
        self._rate_of: list[int] = []
        self._decay_of: list[float] = []
        self._centralized: list[bool] = []
        for number, group in enumerate(groups):
            which = 0
            if group.learning_rate is not None:
                self._rates.append(self._rate(kind, group.learning_rate, f"learning_rate_group_{number}"))
                which = len(self._rates) - 1
            for parameter in group.parameters:
                self._rate_of.append(which)
                self._decay_of.append(self._decay(parameter, group))
                self._centralized.append(group.grad_centralization and len(parameter.shape) > 1)

    def _rate(self, kind: str, value: Any, name: str) -> Any:
        """A Parameter, a table (1-d Tensor) or a Cell; the first two are attributes called `name`."""
        if isinstance(value, Cell):
            setattr(self, name, value)
            return value
        if isinstance(value, Iterable) and not isinstance(value, (Tensor, np.ndarray)):
            value = list(value)
        rates = np.asarray(value.asnumpy() if isinstance(value, Tensor) else value, np.float32)
        if rates.ndim > 1 or rates.size == 0 or not np.all(np.isfinite(rates)) or np.any(rates < 0):
            raise ArgumentError(
                f"{kind}: the learning rate must be finite and not negative", **here(),
                expected="a number, or one number per step", given=repr(value),
            )  # fmt: skip
        rate: Tensor = Tensor(rates) if rates.ndim else Parameter(rates, name=name, requires_grad=False)
        setattr(self, name, rate)
        return rate

    def _decay(self, parameter: Parameter, group: Group) -> float:
        if group.weight_decay is not None:
            return float(group.weight_decay)
        skips = self.skips_norm_parameters and not self.is_group
        skipped = skips and ("beta" in parameter.name or "gamma" in parameter.name)
        return 0.0 if skipped else self.weight_decay

    def new_states(self, prefix: str, value: float = 0.0) -> ParameterTuple:
        """One state per parameter, of its shape and type, called `prefix.<parameter name>` and filled with `value`."""
        states = []
        for parameter in self.parameters:
            array = np.full(parameter.shape, value, parameter.dtype.numpy)
            state = Parameter(array, name=f"{prefix}.{parameter.name}", requires_grad=False)
            self.insert_param_to_cell(state.name, state)
            states.append(state)
        return ParameterTuple(states)

    def get_lr(self) -> tuple[Tensor, ...]:
        """The learning rate of this step for each parameter, as 0-d Tensors."""
        values = [self._rate_now(rate) for rate in self._rates]
        return tuple(values[which] for which in self._rate_of)

    def _rate_now(self, rate: Any) -> Tensor:
        if isinstance(rate, Cell):
            return rate(self.global_step)
        if rate.ndim == 0:
            return rate
        # gather clamps positions, so steps after the last value of the table keep using that value
        return ops.reshape(ops.gather(rate, ops.reshape(self.global_step, (1,)), 0), ())

    def decayed(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """The gradients divided by the loss scale, with weight decay added (and centralized where asked for)."""
        pairs = zip(self.parameters, self._divided(grads), self._decay_of)
        return self._centred(
            [grad + parameter * decay if decay else grad for parameter, grad, decay in pairs]
        )

    def scaled(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """The gradients divided by the loss scale (and centralized where asked for), for decoupled weight decay."""
        return self._centred(self._divided(grads))

    def _centred(self, grads: list[Tensor]) -> list[Tensor]:
        return [
            g - ops.reduce_mean(g, tuple(range(1, g.ndim)), True) if centralized else g
            for g, centralized in zip(grads, self._centralized)
        ]

    def _divided(self, grads: Sequence[Tensor]) -> list[Tensor]:
        if isinstance(grads, Tensor):
            grads = (grads,)
        if len(grads) != len(self.parameters):
            raise ArgumentError(
                f"{type(self).__name__}: one gradient per parameter is needed", **here(),
                expected=f"{len(self.parameters)} gradients", given=f"{len(grads)} gradients",
                fix="differentiate with weights=optimizer.parameters",
            )  # fmt: skip
        result = []
        for parameter, grad in zip(self.parameters, grads):
            if tuple(grad.shape) != parameter.shape:
                raise ShapeError(
                    f"{type(self).__name__}: the gradient of {parameter.name} has another shape", **here(),
                    expected=parameter.type.describe(), given=grad.type.describe(),
                )  # fmt: skip
            result.append(grad if self.loss_scale == 1.0 else grad * (1.0 / self.loss_scale))
        return result

    def count_step(self) -> None:
        """global_step += 1."""
        assign(self.global_step, self.global_step + 1)

    def extend_repr(self) -> str:
        return f"{len(self.parameters)} parameters, weight_decay={self.weight_decay}"


def _groups(kind: str, parameters: Any) -> tuple[list[Group], bool]:
    items: list[Any] = [parameters] if isinstance(parameters, (Parameter, dict)) else list(parameters)
    if not items:
        raise ArgumentError(
            f"{kind}: no parameters given",
            **here(),
            fix="pass net.trainable_params(); an iterator can be read only once",
        )
    if not any(isinstance(item, dict) for item in items):
        return [Group(_only_parameters(kind, items))], False
    groups: list[Group] = []
    order: list[Parameter] | None = None
    for item in items:
        unknown = set(item) - set(_GROUP_KEYS) if isinstance(item, dict) else {type(item).__name__}
        if unknown:
            raise ArgumentError(
                f"{kind}: unknown entry in a parameter group", **here(), expected=", ".join(_GROUP_KEYS),
                given=", ".join(sorted(unknown)),
            )  # fmt: skip
        if "order_params" in item:
            order = list(item["order_params"])
        if "params" in item:
            members = _only_parameters(kind, list(item["params"]))
            groups.append(
                Group(
                    members, item.get("lr"), item.get("weight_decay"), bool(item.get("grad_centralization"))
                )
            )
    return (groups if order is None else _ordered(kind, groups, order)), True


def _ordered(kind: str, groups: list[Group], order: list[Parameter]) -> list[Group]:
    """The groups cut so that their parameters come in the given order."""
    group_of = {id(p): group for group in groups for p in group.parameters}
    if {id(p) for p in order} != set(group_of):
        raise ArgumentError(f"{kind}: order_params must hold exactly the parameters of all groups", **here())
    return [replace(group_of[id(p)], parameters=(p,)) for p in order]


def _only_parameters(kind: str, items: list[Any]) -> tuple[Parameter, ...]:
    for item in items:
        if not isinstance(item, Parameter):
            raise ArgumentError(
                f"{kind}: every parameter must be a Parameter", **here(), given=type(item).__name__,
                fix="pass net.trainable_params()",
            )  # fmt: skip
    return tuple(items)


def _check_names(kind: str, parameters: Sequence[Parameter]) -> None:
    seen: set[str] = set()
    for parameter in parameters:
        if parameter.name in seen:
            raise ArgumentError(
                f"{kind}: two parameters have the same name", **here(), given=parameter.name,
                fix="give the Parameters names of their own, or register their Cells as attributes of one network",
            )  # fmt: skip
        seen.add(parameter.name)


def check_number(
    kind: str, name: str, value: Any, minimum: float, maximum: float | None = None, exclusive: bool = False
) -> None:
    """Raise ArgumentError unless minimum <= value (< maximum); `exclusive`: minimum itself is refused too."""
    right = isinstance(value, (int, float)) and not isinstance(value, bool)
    right = (
        right
        and (value > minimum if exclusive else value >= minimum)
        and (maximum is None or value < maximum)
    )
    if not right:
        limits = f"{'>' if exclusive else '>='} {minimum:g}" + (
            "" if maximum is None else f" and < {maximum:g}"
        )
        raise ArgumentError(
            f"{kind}: {name} out of range", **here(), expected=limits, given=f"{name}={value!r}"
        )


class SGD(Optimizer):
    """w -= lr g'. With momentum m: accum = g in the first step, later m accum + (1 - dampening) g;
    g' = g + m accum if nesterov, else accum."""

    def __init__(
        self,
        params: Any,
        learning_rate: Any = 0.1,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
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
        rates = self.get_lr()
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
        self.count_step()
        return True


class Momentum(Optimizer):
    """v = u v + g; w -= lr v, or w -= lr (g + u v) with use_nesterov."""

    def __init__(
        self,
        params: Any,
        learning_rate: Any,
        momentum: float,
        weight_decay: float = 0.0,
        loss_scale: float = 1.0,
        use_nesterov: bool = False,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        check_number("Momentum", "momentum", momentum, minimum=0.0)
        self.momentum, self.use_nesterov = float(momentum), bool(use_nesterov)
        self.moments = self.new_states("moments")

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.get_lr()
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            new = self.moments[k] * self.momentum + g
            assign(self.moments[k], new)
            step = g + new * self.momentum if self.use_nesterov else new
            assign(parameter, parameter - step * rates[k])
        self.count_step()
        return True


class Adam(Optimizer):
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
        weight_decay: float = 0.0,
        loss_scale: float = 1.0,
        use_amsgrad: bool = False,
    ):
        super().__init__(learning_rate, params, weight_decay, loss_scale)
        check_number("Adam", "beta1", beta1, minimum=0.0, maximum=1.0)
        check_number("Adam", "beta2", beta2, minimum=0.0, maximum=1.0)
        check_number("Adam", "eps", eps, minimum=0.0, exclusive=True)
        self.beta1, self.beta2, self.eps = float(beta1), float(beta2), float(eps)
        self.use_nesterov, self.use_amsgrad = bool(use_nesterov), bool(use_amsgrad)
        self.beta1_power = Parameter(np.ones((), np.float32), name="beta1_power", requires_grad=False)
        self.beta2_power = Parameter(np.ones((), np.float32), name="beta2_power", requires_grad=False)
        self.moment1, self.moment2 = self.new_states("moment1"), self.new_states("moment2")
        self.vhat = self.new_states("vhat") if use_amsgrad else ()

    def construct(self, gradients: Sequence[Tensor]) -> bool:
        rates = self.get_lr()
        assign(self.beta1_power, self.beta1_power * self.beta1)
        assign(self.beta2_power, self.beta2_power * self.beta2)
        correction = ops.sqrt(1.0 - self.beta2_power) / (1.0 - self.beta1_power)
        for k, (parameter, g) in enumerate(zip(self.parameters, self.decayed(gradients))):
            m = self.moment1[k] * self.beta1 + g * (1.0 - self.beta1)
            v = self.moment2[k] * self.beta2 + ops.square(g) * (1.0 - self.beta2)
            assign(self.moment1[k], m)
            assign(self.moment2[k], v)
            if self.use_amsgrad:
                v = ops.maximum(self.vhat[k], v)
                assign(self.vhat[k], v)
            if self.use_nesterov:
                m = m * self.beta1 + g * (1.0 - self.beta1)
            assign(parameter, parameter - m * (rates[k] * correction) / (ops.sqrt(v) + self.eps))
        self.count_step()
        return True
