"""The base class of optimizers: Cells whose call takes gradients and updates parameters.

In: one gradient per parameter, in order. Out: new parameter values, moments and step count: assigned at once when
called eagerly, recorded as updates of the graph inside a trace. The learning rate of step i is read before
`global_step` is incremented, which happens once per call, after `construct`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from ...frontend import functional as ops
from ...frontend.cell import Cell
from ...frontend.parameter import Parameter, ParameterTuple, assign
from ...frontend.tensor import Tensor
from ...frontend.trace import current_trace
from ..dense import here

_GROUP_KEYS = ("params", "lr", "weight_decay", "grad_centralization", "order_params")


@dataclass
class Group:
    """Parameters that share settings; None takes the optimizer's."""

    parameters: tuple[Parameter, ...]
    learning_rate: Any = None
    weight_decay: Any = None
    grad_centralization: bool = False


class Optimizer(Cell):
    """Base class: parameters, groups, learning rate, weight decay, loss scale and `global_step`.

    `parameters`: Parameters (any iterable), or dicts with "params" and optionally "lr", "weight_decay" and
    "grad_centralization" (gradients of 2 or more axes minus their mean over all axes but the first); a dict with
    "order_params" lists the parameters of all groups in the order of the gradients.
    `learning_rate`: a number or 0-d Tensor (kept in the Parameter `learning_rate`, so that assigning another value
    needs no new compilation), an iterable or 1-d Tensor (the i-th step takes the i-th value, later steps the last), or
    a Cell of `global_step`.
    `weight_decay`: a number or a Cell of `global_step`. It adds weight_decay * w to the gradient; without groups,
    parameters whose name contains "beta" or "gamma" are left out. `loss_scale` divides the gradients.

    Own optimizers define `construct(self, gradients)` with `self.parameters`, `self.get_lr()` and `ops.assign`.
    """

    _compiled_when_repeated = True

    skips_norm_parameters = True  # whether weight decay without groups leaves out "beta" and "gamma"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Optimizers of the user may do anything in Python at each call, so they run as written."""
        super().__init_subclass__(**kwargs)
        if not cls.__module__.startswith("graphrt."):
            cls._compiled_when_repeated = False

    def __init__(self, learning_rate: Any, parameters: Any, weight_decay: Any = 0.0, loss_scale: float = 1.0):
        super().__init__(auto_prefix=False)
        kind = type(self).__name__
        groups, self.is_group = _groups(kind, parameters)
        self.parameters = ParameterTuple(p for group in groups for p in group.parameters)
        _check_names(kind, self.parameters)
        check_number(kind, "loss_scale", loss_scale, minimum=0.0, exclusive=True)
        self.loss_scale = float(loss_scale)
        self.weight_decay = _checked_decay(kind, weight_decay)
        self.global_step = Parameter(np.zeros((), np.int32), name="global_step", requires_grad=False)
        self._rates: list[Any] = [self._rate(kind, learning_rate, "learning_rate")]
        self._rate_of: list[int] = []
        self._decay_of: list[Any] = []  # per parameter: a float (0: none) or a Cell of global_step
        self._centralized: list[bool] = []
        for number, group in enumerate(groups):
            which = 0
            if group.learning_rate is not None:
                self._rates.append(self._rate(kind, group.learning_rate, f"learning_rate_group_{number}"))
                which = len(self._rates) - 1
            own_decay = None if group.weight_decay is None else _checked_decay(kind, group.weight_decay)
            if isinstance(own_decay, Cell):
                self.insert_child_to_cell(f"weight_decay_group_{number}", own_decay)
            for parameter in group.parameters:
                self._rate_of.append(which)
                self._decay_of.append(self._decay(parameter) if own_decay is None else own_decay)
                self._centralized.append(group.grad_centralization and len(parameter.shape) > 1)
        self.is_group_lr = len(self._rates) > 1

    def __setattr__(self, name: str, value: Any) -> None:
        registry = self.__dict__.get("_params", {})
        if name in registry and isinstance(value, (int, float, np.number, np.ndarray)):
            assign(registry[name], np.asarray(value, registry[name].dtype.numpy))
            return
        super().__setattr__(name, value)
        if isinstance(value, ParameterTuple) and name != "parameters":  # states: moments and the like
            for state in value:
                self.insert_param_to_cell(state.name, state)

    def _run_construct(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call `construct`, then count the step (unless `construct` has done so itself)."""
        was_counted = self._watch_step()
        result = super()._run_construct(args, kwargs)
        if not was_counted():
            assign(self.global_step, self.global_step + 1)
        return result

    def _watch_step(self) -> Callable[[], bool]:
        """A function that says whether `global_step` was assigned after this call."""
        trace, step = current_trace(), self.global_step
        if trace is None:
            value = int(step.asnumpy())
            return lambda: int(step.asnumpy()) != value
        key = id(step)
        before = trace.latest.get(key)

        def assigned() -> bool:
            _, first = trace.states.get(key, (None, None))  # the node of its value at the beginning
            return trace.latest.get(key, first) is not (before if before is not None else first)

        return assigned

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

    def _decay(self, parameter: Parameter) -> Any:
        """The optimizer's own weight decay for a parameter whose group has none."""
        skips = self.skips_norm_parameters and not self.is_group
        skipped = skips and ("beta" in parameter.name or "gamma" in parameter.name)
        return 0.0 if skipped else self.weight_decay

    def new_states(self, prefix: str, value: float = 0.0) -> ParameterTuple:
        """One state per parameter, of its shape and type, called `prefix.<parameter name>` and filled with `value`."""
        states = []
        for parameter in self.parameters:
            array = np.full(parameter.shape, value, parameter.dtype.numpy)
            states.append(Parameter(array, name=f"{prefix}.{parameter.name}", requires_grad=False))
        return ParameterTuple(states)

    def new_scalar(self, name: str, value: float) -> Parameter:
        """A float32 state without axes."""
        return Parameter(np.full((), value, np.float32), name=name, requires_grad=False)

    def get_lr(self) -> Any:
        """The learning rate of this step: a 0-d Tensor, or one per parameter if groups have rates of their own."""
        return self.rates() if self.is_group_lr else self._rate_now(self._rates[0])

    def rates(self) -> tuple[Tensor, ...]:
        """The learning rate of this step for each parameter, as 0-d Tensors."""
        values = [self._rate_now(rate) for rate in self._rates]
        return tuple(values[which] for which in self._rate_of)

    def rate_parameters(self) -> list[Parameter]:
        """The learning rates that are plain numbers: one, and one per group that has its own."""
        return [rate for rate in self._rates if isinstance(rate, Parameter)]

    def get_lr_parameter(self, param: Any) -> Any:
        """What holds the learning rate of a Parameter (or of each in a list): a Parameter, a table or a Cell."""
        if not isinstance(param, Parameter):
            return [self.get_lr_parameter(one) for one in param]
        for parameter, which in zip(self.parameters, self._rate_of):
            if parameter is param:
                return self._rates[which]
        raise ArgumentError(
            f"{type(self).__name__}: the optimizer does not have this parameter", **here(), given=param.name
        )

    def decays(self) -> tuple[Any, ...]:
        """The weight decay of this step for each parameter: None, a float, or a 0-d Tensor."""
        cells = {id(d): d(self.global_step) for d in self._decay_of if isinstance(d, Cell)}
        return tuple(cells[id(d)] if isinstance(d, Cell) else d or None for d in self._decay_of)

    def get_weight_decay(self) -> Any:
        """The weight decay of this step: one value, or one per parameter if there are groups."""
        values = tuple(0.0 if d is None else d for d in self.decays())
        if self.is_group:
            return values
        return (
            self.weight_decay(self.global_step) if isinstance(self.weight_decay, Cell) else self.weight_decay
        )

    def _rate_now(self, rate: Any) -> Tensor:
        if isinstance(rate, Cell):
            return rate(self.global_step)
        if rate.ndim == 0:
            return rate
        # gather clamps positions, so steps after the last value of the table keep using that value
        return ops.reshape(ops.gather(rate, ops.reshape(self.global_step, (1,)), 0), ())

    def decayed(self, grads: Sequence[Tensor]) -> list[Tensor]:
        """The gradients divided by the loss scale, with weight decay added (and centralized where asked for)."""
        return self._centred(list(self.decay_weight(self._divided(grads))))

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

    # The steps of `decayed` under the names own optimizers know them by.

    def decay_weight(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """gradient + weight_decay * parameter for each."""
        triples = zip(self.parameters, gradients, self.decays())
        return tuple(g if decay is None else g + parameter * decay for parameter, g, decay in triples)

    def gradients_centralization(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The gradients of groups with grad_centralization minus their mean over all axes but the first."""
        return tuple(self._centred(list(gradients)))

    def scale_grad(self, gradients: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """gradient / loss_scale for each."""
        return tuple(self._divided(gradients))

    def extend_repr(self) -> str:
        decay = type(self.weight_decay).__name__ if isinstance(self.weight_decay, Cell) else self.weight_decay
        return f"{len(self.parameters)} parameters, weight_decay={decay}"


def _checked_decay(kind: str, value: Any) -> Any:
    """A weight decay: a Cell of global_step, or a float >= 0."""
    if isinstance(value, Cell):
        return value
    check_number(kind, "weight_decay", value, minimum=0.0)
    return float(value)


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
