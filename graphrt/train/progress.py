"""The progress bar: steps, epoch, loss and steps per second on a terminal or in a notebook.

In: where training is, a few times a second. Out: one line on stderr that disappears at the end; nothing elsewhere.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from .hooks import Callback, RunContext
from .report import last_loss

INTERVAL = 0.1  # seconds between two drawings


def is_interactive() -> bool:
    """Whether somebody watches: stderr is a terminal, or this is a notebook."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())


class ProgressBar(Callback):
    """One bar over all steps of a training run. `enabled`: None shows it where somebody watches."""

    def __init__(self, enabled: bool | None = None):
        self._enabled = enabled
        self._bar: Any = None
        self._shown = 0.0  # when it was last drawn after a step

    def begin(self, run_context: RunContext) -> None:
        if self._enabled is False or (self._enabled is None and not is_interactive()):
            return
        from tqdm.auto import tqdm

        parameters = run_context.original_args()
        total = parameters.epoch_num * parameters.batch_num if parameters.batch_num > 0 else None
        self._bar = tqdm(total=total, unit="step", leave=False, dynamic_ncols=True, file=sys.stderr)

    def sink_progress(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        self._show(parameters, parameters.cur_step_num + len(parameters.sink_losses), parameters.sink_losses)

    def step_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        now = time.perf_counter()
        if now - self._shown >= INTERVAL:  # step by step, drawing would cost more than training
            self._shown = now
            self._show(parameters, parameters.cur_step_num, parameters.losses)

    def epoch_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        self._show(parameters, parameters.cur_step_num, parameters.losses)

    def _show(self, parameters: Any, steps: int, losses: Any) -> None:
        if self._bar is None:
            return
        self._bar.set_description(f"epoch {parameters.cur_epoch_num}/{parameters.epoch_num}", refresh=False)
        if len(losses):
            self._bar.set_postfix_str(f"loss {last_loss(losses[-1]):.4g}", refresh=False)
        self._bar.update(steps - self._bar.n)

    def end(self, run_context: RunContext) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
