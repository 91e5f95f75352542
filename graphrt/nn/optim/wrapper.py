"""Optimizers around another optimizer: the base class, and the moving average of the weights.

In: an optimizer; then one gradient per parameter. Out: what the inner optimizer does, with something before or after it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import ArgumentError
from ...frontend import functional as ops
from ...frontend.cell import Cell
from ...frontend.parameter import Parameter, ParameterTuple, assign
from ...frontend.tensor import Tensor
from ...frontend.trace import current_trace
from ..dense import here
from .optimizer import Optimizer, check_number

_FORWARDED = ("parameters", "global_step", "learning_rate", "weight_decay", "is_group", "is_group_lr")


class OptimizerWrapper(Optimizer):
    """Base class: has the parameters, the learning rate and the `global_step` of `optimizer`, which counts the steps.

    Subclasses define `construct(self, gradients)`, which calls `self.optimizer(gradients)`.
    """

    def __init__(self, optimizer: Optimizer):
        Cell.__init__(self, auto_prefix=False)
        if not isinstance(optimizer, Optimizer):
            raise ArgumentError(
                f"{type(self).__name__}: an optimizer is needed", **here(), expected="nn.Momentum(...), ...",
                given=type(optimizer).__name__,
            )  # fmt: skip
        self.optimizer = optimizer
        self._rates, self._rate_of = optimizer._rates, optimizer._rate_of
        self._decay_of, self._centralized = optimizer._decay_of, optimizer._centralized
        self.loss_scale = 1.0

    def __getattr__(self, name: str) -> Any:
        if name in _FORWARDED and "optimizer" in self.__dict__:
            return getattr(self.__dict__["optimizer"], name)
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FORWARDED:
            setattr(self.optimizer, name, value)
        else:
            super().__setattr__(name, value)

    def construct(self, gradients: Sequence[Tensor]) -> Any:
        return self.optimizer(gradients)

    def extend_repr(self) -> str:
        return ""


class ExponentialMovingAverage(OptimizerWrapper):
    """`optimizer`, and after each step average = decay * average + (1 - decay) * w for every parameter w, inside the
    native step.

    `average` holds the averages, named "ema.<parameter name>", which start as the weights at construction. `warm_up`:
    while it is smaller, (1 + t) / (10 + t) takes the place of `decay`, t being the number of steps done before: early
    weights are forgotten soon. To evaluate or save with the averages:

        with optimizer.averaged():
            model.eval(dataset)
    """

    def __init__(self, optimizer: Optimizer, decay: float = 0.999, warm_up: bool = False):
        super().__init__(optimizer)
        check_number("ExponentialMovingAverage", "decay", decay, minimum=0.0, maximum=1.0)
        self.decay, self.warm_up = float(decay), bool(warm_up)
        self.average = ParameterTuple(
            Parameter(p.asnumpy(), name=f"ema.{p.name}", requires_grad=False) for p in self.parameters
        )

    def construct(self, gradients: Sequence[Tensor]) -> Any:
        keep: Any = self.decay
        if self.warm_up:
            done = ops.cast(self.global_step, "float32")
            keep = ops.minimum((done + 1.0) / (done + 10.0), self.decay)
        result = self.optimizer(gradients)
        for average, parameter in zip(self.average, self.parameters):
            assign(average, average * keep + parameter * (1.0 - keep))
        return result

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The parameters hold their averages inside the `with` block, and their own values again after it."""
        if current_trace() is not None:
            raise ArgumentError(
                "ExponentialMovingAverage: averaged() cannot be used inside compiled code", **here(),
                fix="put the with statement around the call of the compiled function",
            )  # fmt: skip
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for average, parameter in zip(self.average, self.parameters):
            kept = parameter.asnumpy()
            assign(parameter, average.asnumpy())
            assign(average, kept)
