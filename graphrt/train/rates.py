"""Learning rates that callbacks read and change while training goes on.

In: the optimizer of a run. Out: new values of its scalar learning rates. They are states of the native step, so a
change takes effect with the next step and compiles nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError
from ..frontend.location import user_source
from ..frontend.parameter import Parameter
from .hooks import Callback, CallbackParameters, RunContext


def find_optimizer(parameters: CallbackParameters) -> Any:
    """The optimizer of a run: the model's, or the one inside a network that is a whole training step; else None."""
    from ..nn.optim import Optimizer

    if parameters.get("optimizer") is not None:
        return parameters.optimizer
    network = parameters.get("train_network")
    cells: Any = getattr(network, "cells_and_names", tuple)()
    return next((cell for _, cell in cells if isinstance(cell, Optimizer)), None)


def scalar_rates(parameters: CallbackParameters) -> list[Parameter]:
    """The learning rates that are plain numbers, one per parameter group that has its own; none for schedules."""
    optimizer = find_optimizer(parameters)
    known = getattr(optimizer, "rate_parameters", None)  # an optimizer of the user's own may have none
    return [] if known is None else known()


def adjustable_rates(callback: str, parameters: CallbackParameters) -> list[Parameter]:
    """`scalar_rates`, or ArgumentError if there is none a callback could change."""
    rates = scalar_rates(parameters)
    if not rates:
        optimizer = find_optimizer(parameters)
        raise ArgumentError(
            f"{callback}: the optimizer has no learning rate that can be changed", at=user_source(),
            expected="an optimizer with learning_rate=<a number>",
            given="no optimizer" if optimizer is None else f"{type(optimizer).__name__} with a schedule",
            fix="give the optimizer a number as learning_rate, or leave this callback out",
        )  # fmt: skip
    return rates


def rate_value(rate: Parameter) -> float:
    """The number a user would write: the shortest that is this float32."""
    return float(str(rate.asnumpy()))


class LearningRateScheduler(Callback):
    """Changes the learning rate: `learning_rate_function(rate, step) -> new rate`, asked after every step.

    `step`: steps done so far in this run (an int). In sink mode it is asked once per sink, with the step number at its
    end; `sink_size=1`, or a `LearningRateSchedule` given to the optimizer, changes it in every step. Parameter groups
    with learning rates of their own are asked for one by one.
    """

    def __init__(self, learning_rate_function: Callable[[float, int], float]):
        if not callable(learning_rate_function):
            raise ArgumentError(
                "LearningRateScheduler: a function (rate, step) -> rate is needed", at=user_source(),
                given=repr(learning_rate_function),
            )  # fmt: skip
        self.learning_rate_function = learning_rate_function

    def begin(self, run_context: RunContext) -> None:
        adjustable_rates("LearningRateScheduler", run_context.original_args())

    def step_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        for rate in adjustable_rates("LearningRateScheduler", parameters):
            old = rate_value(rate)
            new = self.learning_rate_function(old, parameters.cur_step_num)
            if not _usable(new):
                raise ArgumentError(
                    "LearningRateScheduler: the function must return a learning rate", at=user_source(),
                    expected="a finite number >= 0", given=repr(new),
                )  # fmt: skip
            if float(new) != old:
                rate.set_data(float(new))


def _usable(value: Any) -> bool:
    try:
        return math.isfinite(float(value)) and float(value) >= 0
    except (TypeError, ValueError):
        return False
