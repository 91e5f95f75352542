"""The training loop: epochs of sinks (or single steps) from a StepSource, with callbacks in between.

In: where steps come from, how many per epoch, callbacks. Out: updated parameters, and errors for losses that are not
finite and for Ctrl-C, both with a true step count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..runtime.result import SinkResult
from ..runtime.workers import Interruption, interrupts_deferred
from .feed import empty_dataset
from .hooks import CallbackList, CallbackParameters, RunContext
from .monitors import non_finite_loss
from .source import Progress, StepSource, watching


@dataclass(frozen=True)
class Start:
    """Where a resumed run goes on: in epoch `epoch` after `step_in_epoch` of its steps, `step` steps in all.

    `epoch_ended`: its end callbacks have run too. `pass_ended`: the data of the epoch has come to its end. `restore`
    gives the callbacks their state. `losses`: of the steps done, float32.
    """

    epoch: int
    step_in_epoch: int
    step: int
    epoch_ended: bool
    pass_ended: bool
    restore: Callable[[], None]
    losses: np.ndarray


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
    start: Start | None = None,
) -> None:
    """Train. `sink_size` steps per epoch, or one pass over the data with -1 (always, outside sink mode).

    With `start` the run goes on from there, up to the same last epoch. `evaluate(epoch)` runs before an epoch's end
    callbacks and gives their `eval_results`.
    Raises NonFiniteError when a loss is NaN or infinite, KeyboardInterrupt after Ctrl-C; `end` callbacks run first.
    Ctrl-C is acted upon between steps, never between a step and its place in all counts.
    """
    whole_passes = sink_size == -1 or not sink_mode
    steps = source.steps_per_epoch if whole_passes else sink_size
    if steps == 0:
        raise empty_dataset()
    parameters.update(
        batch_num=steps or -1, cur_step_num=0, cur_step_in_epoch=0, eval_results={}, epochs_completed=first_epoch,
    )  # fmt: skip
    next_epoch = first_epoch + 1
    if start is not None:
        next_epoch = start.epoch + start.epoch_ended
        parameters.update(
            cur_epoch_num=start.epoch, cur_step_num=start.step, cur_step_in_epoch=start.step_in_epoch,
            epochs_completed=next_epoch - 1,
        )  # fmt: skip
    context = RunContext(parameters)
    run = _Run(source, callbacks, parameters, context)
    parameters.interrupt = run.interrupt
    try:
        callbacks.begin(context)
        if start is not None and (start.epoch_ended or next_epoch > first_epoch + epochs):
            start.restore()
        for epoch in range(next_epoch, first_epoch + epochs + 1):
            if start is not None and context.get_stop_requested():  # what was stopped early stays stopped
                break
            parameters.update(cur_epoch_num=epoch, cur_step_in_epoch=0, eval_results={})
            callbacks.call("on_train_epoch_begin", context)
            left = steps
            if start is not None and epoch == start.epoch:  # in the middle of this epoch
                done = run.go_on(start)
                left = 0 if start.pass_ended else None if steps is None else max(0, steps - done)
                if context.get_stop_requested():
                    if done == 0:
                        break
                    left = 0
            elif whole_passes:
                source.begin_epoch()
            if left == 0:
                pass
            elif sink_mode:
                run.sink(left, whole_passes)
            else:
                run.single_steps(left)
            if parameters.cur_step_in_epoch == 0:
                raise empty_dataset()
            done = parameters.cur_step_in_epoch
            cut_short = context.get_stop_requested() and not sink_mode and (steps is None or done < steps)
            if not cut_short:
                parameters.batch_num = done if steps is None else steps
            if evaluate is not None:
                parameters.eval_results = evaluate(epoch)
            callbacks.call("on_train_epoch_end", context)
            if not cut_short:
                parameters.epochs_completed = epoch
            if context.get_stop_requested():
                break
    except BaseException as error:
        parameters.error = error
        raise
    finally:
        callbacks.end(context)
        # both lead back to the run: the dataset and its workers would outlive it
        parameters.update(interrupt=None, error=None)


class _Run:
    """The state of one training run that its sinks share."""

    def __init__(
        self, source: StepSource, callbacks: CallbackList, parameters: CallbackParameters, context: RunContext
    ):
        self.source, self.callbacks, self.parameters, self.context = source, callbacks, parameters, context
        self._interruption: Interruption | None = None  # of the sink that runs now

    def interrupt(self) -> None:
        """What Ctrl-C does, for other signal handlers: KeyboardInterrupt, inside a sink at the next step boundary."""
        if self._interruption is None:
            raise KeyboardInterrupt
        self._interruption.requested = True
        self.source.stop()

    def go_on(self, start: Start) -> int:
        """Be in the middle of the epoch `start` tells of; returns how many of its steps are done."""
        self.parameters.cur_step_in_epoch = start.step_in_epoch
        if len(start.losses):
            self._describe(start.losses[-1:])  # for an epoch of which nothing is left but its end
        start.restore()
        return start.step_in_epoch

    def _describe(self, losses: np.ndarray) -> None:
        from ..frontend.tensor import Tensor

        self.parameters.update(losses=losses, net_outputs=Tensor(losses[-1]))

    def single_steps(self, steps: int | None) -> None:
        """One native call per step, until somebody asks to stop."""
        done = 0
        while steps is None or done < steps:
            if self.sink(1, within_pass=True) == 0 or self.context.get_stop_requested():
                break
            done += 1

    def sink(self, steps: int | None, within_pass: bool) -> int:
        """One native call of so many steps, and the callbacks around it; returns how many were done."""
        parameters = self.parameters
        self.callbacks.call("on_train_step_begin", self.context)
        progress = self._progress if self.callbacks.watches_progress else None
        with interrupts_deferred(self.source.stop) as interruption:
            self._interruption = interruption
            try:
                result = self._account(steps, watching(interruption, progress), within_pass)
            finally:
                self._interruption = None
        if result.done:
            self.callbacks.step_end(self.context, result.losses)
        if result.status == "interrupted" or (interruption.requested and result.status == "finished"):
            raise KeyboardInterrupt(
                f"training was interrupted after {parameters.cur_step_num} steps "
                f"(epoch {parameters.cur_epoch_num}, step {parameters.cur_step_in_epoch}); all of them are in the parameters"
            )
        if result.status == "non_finite":  # no LossMonitor said so
            raise non_finite_loss(result.losses[-1], parameters.cur_epoch_num, parameters.cur_step_in_epoch)
        self.source.raise_failure()
        return result.done

    def _account(self, steps: int | None, progress: Progress, within_pass: bool) -> SinkResult:
        """Run a sink and count its steps. Where it does not get that far nobody knows how many were done."""
        parameters = self.parameters
        parameters.inside_sink = True
        result = self.source.run(steps, progress, within_pass)
        parameters.cur_step_num += result.done
        parameters.cur_step_in_epoch += result.done
        if result.done:
            self._describe(result.losses)
            self.callbacks.record(self.context)
        parameters.inside_sink = False
        return result

    def _progress(self, done: int, losses: np.ndarray) -> None:
        self.parameters.sink_losses = losses[:done]
        self.callbacks.call("sink_progress", self.context)
