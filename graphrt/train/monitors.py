"""Callbacks that print: LossMonitor, TimeMonitor.

In: where training is, from the RunContext. Out: printed lines.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ..errors import ArgumentError, NonFiniteError
from ..frontend.location import user_source
from .hooks import Callback, RunContext
from .report import emit, last_loss


def non_finite_loss(loss: float | np.floating[Any], epoch: int, step: int) -> NonFiniteError:
    """The error for a loss that is NaN or infinite; step counts from 1 in its epoch."""
    return NonFiniteError(
        f"epoch: {epoch} step: {step}. Invalid loss, terminating training.",
        at=user_source(), expected="a finite loss", given=f"a loss of {loss}",
        fix="lower the learning rate; look for NaN or infinity in the data and for labels out of range; "
        "add a small constant before log, sqrt and division",
    )  # fmt: skip


class LossMonitor(Callback):
    """Prints the loss: `epoch: 1 step: 1000, loss is 0.5399815`.

    One line per `per_print_times` steps, in sink mode at most one per sink; with `per_step=True` the steps inside
    sinks are printed too. 0 prints only what `fit` evaluates. Raises NonFiniteError (a ValueError) on NaN or infinity.
    """

    def __init__(self, per_print_times: int = 1, per_step: bool = False):
        if type(per_print_times) is not int or per_print_times < 0:
            raise ArgumentError(
                "LossMonitor: per_print_times must be an int >= 0",
                at=user_source(),
                given=repr(per_print_times),
            )
        self._per_print_times = per_print_times
        self.per_step = bool(per_step)
        self._last_print = 0

    def begin(self, run_context: RunContext) -> None:
        self._last_print = 0

    def step_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        loss = last_loss(parameters.net_outputs)
        epoch, step = parameters.cur_epoch_num, parameters.cur_step_in_epoch
        if not np.isfinite(loss):
            raise non_finite_loss(loss, epoch, step)
        if self._per_print_times and parameters.cur_step_num - self._last_print >= self._per_print_times:
            self._last_print = parameters.cur_step_num
            emit(f"epoch: {epoch} step: {step}, loss is {loss!s}")

    def on_train_epoch_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        if parameters.eval_results:
            emit(f"Eval result: epoch {parameters.cur_epoch_num}, metrics: {parameters.eval_results}")


class TimeMonitor(Callback):
    """Prints how long epochs take: `Train epoch time: 12.345 ms, per step time: 0.123 ms`.

    `data_size`: steps to divide by; None takes the steps that were run. Evaluations in between do not count.
    """

    def __init__(self, data_size: int | None = None):
        if data_size is not None and (type(data_size) is not int or data_size < 1):
            raise ArgumentError(
                "TimeMonitor: data_size must be a positive int", at=user_source(), given=repr(data_size)
            )
        self._data_size = data_size
        self._start = self._evaluation = 0.0

    def epoch_begin(self, run_context: RunContext) -> None:
        self._start = time.perf_counter()

    def on_eval_begin(self, run_context: RunContext) -> None:
        self._evaluation = time.perf_counter()

    def on_eval_end(self, run_context: RunContext) -> None:
        self._start += time.perf_counter() - self._evaluation

    def epoch_end(self, run_context: RunContext) -> None:
        milliseconds = (time.perf_counter() - self._start) * 1e3
        steps = self._data_size or max(1, run_context.original_args().cur_step_in_epoch)
        emit(f"Train epoch time: {milliseconds:5.3f} ms, per step time: {milliseconds / steps:5.3f} ms")
