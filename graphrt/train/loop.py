"""The training loop: epochs of sinks (or single steps) from a StepSource, with callbacks in between.

In: where steps come from, how many per epoch, callbacks. Out: updated parameters, and errors for losses that are not
finite and for Ctrl-C, both with a true step count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..runtime.result import SinkResult
from .feed import empty_dataset
from .hooks import CallbackList, CallbackParameters, RunContext
from .monitors import non_finite_loss
from .source import StepSource


def run_epochs(
    source: StepSource,
    callbacks: CallbackList,
    parameters: CallbackParameters,
    *,
    epochs: int,
    sink_mode: bool,
    sink_size: int,
    first_epoch: int = 0,
    evaluate: Callable[[int], dict[str, Any]] | None = None,
) -> None:
    """Train. `sink_size` steps per epoch, or one pass over the data with -1 (always, outside sink mode).

    `evaluate(epoch)` runs before an epoch's end callbacks and gives their `eval_results`.
    Raises NonFiniteError when a loss is NaN or infinite, KeyboardInterrupt after Ctrl-C; `end` callbacks run first.
    """
    whole_passes = sink_size == -1 or not sink_mode
    steps = source.steps_per_epoch if whole_passes else sink_size
    if steps == 0:
        raise empty_dataset()
    parameters.update(batch_num=steps or -1, cur_step_num=0, cur_step_in_epoch=0, eval_results={})
    context = RunContext(parameters)
    run = _Run(source, callbacks, parameters, context)
    callbacks.call("on_train_begin", context)
    try:
        for epoch in range(first_epoch + 1, first_epoch + epochs + 1):
            parameters.update(cur_epoch_num=epoch, cur_step_in_epoch=0, eval_results={})
            callbacks.call("on_train_epoch_begin", context)
            if whole_passes:
                source.begin_epoch()
            if sink_mode:
                run.sink(steps, whole_passes)
            else:
                run.single_steps(steps)
            if parameters.cur_step_in_epoch == 0:
                raise empty_dataset()
            parameters.batch_num = parameters.cur_step_in_epoch if steps is None else steps
            if evaluate is not None:
                parameters.eval_results = evaluate(epoch)
            callbacks.call("on_train_epoch_end", context)
            if context.get_stop_requested():
                break
    finally:
        callbacks.call("on_train_end", context)


class _Run:
    """The state of one training run that its sinks share."""

    def __init__(
        self, source: StepSource, callbacks: CallbackList, parameters: CallbackParameters, context: RunContext
    ):
        self.source, self.callbacks, self.parameters, self.context = source, callbacks, parameters, context

    def single_steps(self, steps: int | None) -> None:
        """One native call per step."""
        done = 0
        while (steps is None or done < steps) and not self.context.get_stop_requested():
            if self.sink(1, within_pass=steps is None) == 0:
                break
            done += 1

    def sink(self, steps: int | None, within_pass: bool) -> int:
        """One native call of so many steps, and the callbacks around it; returns how many were done."""
        parameters = self.parameters
        self.callbacks.call("on_train_step_begin", self.context)
        progress = self._progress if self.callbacks.watches_progress else None
        result = self.source.run(steps, progress, within_pass)
        parameters.cur_step_num += result.done
        parameters.cur_step_in_epoch += result.done
        if result.done:
            self._report(result)
        if result.status == "interrupted":
            raise KeyboardInterrupt(
                f"training was interrupted after {parameters.cur_step_num} steps "
                f"(epoch {parameters.cur_epoch_num}, step {parameters.cur_step_in_epoch}); all of them are in the parameters"
            )
        if result.status == "non_finite":  # no LossMonitor said so
            raise non_finite_loss(result.losses[-1], parameters.cur_epoch_num, parameters.cur_step_in_epoch)
        return result.done

    def _report(self, result: SinkResult) -> None:
        from ..frontend.tensor import Tensor

        self.parameters.update(losses=result.losses, net_outputs=Tensor(result.losses[-1]))
        self.callbacks.step_end(self.context, result.losses)

    def _progress(self, done: int, losses: np.ndarray) -> None:
        self.parameters.sink_losses = losses[:done]
        self.callbacks.call("sink_progress", self.context)
