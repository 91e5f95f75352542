"""What a training run did: every step's loss, and per epoch the loss and the evaluations.

In: where training is, from the RunContext. Out: lists and arrays; `plot()` draws them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_source
from .hooks import Callback, RunContext


class History(Callback):
    """Remembers losses and evaluations: what `Model.train` and `Model.fit` return.

    `epoch`: epoch numbers; `history["loss"]`: mean loss of each epoch; `history["net_output"]`: last loss of each;
    `history[<metric>]`: results of evaluations ("eval_loss" for the metric "loss"), made after the epochs
    `evaluated[<metric>]`; `losses`: float32 array of every step's loss; `data_wait`: the share of the time of training
    steps that was spent waiting for data from Python (0 for data in memory).
    """

    records = True

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}
        self.evaluated: dict[str, list[int]] = {}
        self._steps: list[int] = []  # steps done at the end of each epoch
        self._sinks: list[np.ndarray] = []
        self._epoch_sinks: list[np.ndarray] = []
        self.data_wait = 0.0

    @property
    def losses(self) -> np.ndarray:
        """Every step's loss, float32."""
        return np.concatenate(self._sinks) if self._sinks else np.zeros(0, np.float32)

    def begin(self, run_context: RunContext) -> None:
        self._clear()  # a History tells about one run

    def epoch_begin(self, run_context: RunContext) -> None:
        self._epoch_sinks = []

    def step_end(self, run_context: RunContext) -> None:
        losses = run_context.original_args().losses
        self._sinks.append(losses)
        self._epoch_sinks.append(losses)

    def epoch_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        losses = np.concatenate(self._epoch_sinks)
        self.epoch.append(parameters.cur_epoch_num)
        self._steps.append(parameters.cur_step_num)
        self._add("loss", float(losses.mean(dtype=np.float64)))
        self._add("net_output", float(losses[-1]))
        # an evaluated metric must not be mixed up with the training loss
        results = {f"eval_{n}" if n == "loss" else n: v for n, v in (parameters.eval_results or {}).items()}
        for name, value in results.items():
            self._add(name, value)
            self.evaluated.setdefault(name, []).append(parameters.cur_epoch_num)

    def _add(self, name: str, value: Any) -> None:
        self.history.setdefault(name, []).append(value)

    def progress(self) -> dict[str, Any]:
        """All but the losses, for a checkpoint."""
        return {
            "epoch": self.epoch,
            "history": self.history,
            "evaluated": self.evaluated,
            "steps": self._steps,
        }

    def continue_from(self, progress: dict[str, Any], losses: np.ndarray, step_in_epoch: int) -> None:
        """Go on from a `progress` and its `losses`, of which the last `step_in_epoch` are of the present epoch."""
        self.epoch, self.history = list(progress["epoch"]), dict(progress["history"])
        self.evaluated, self._steps = dict(progress["evaluated"]), list(progress["steps"])
        self._sinks = [losses]
        self._epoch_sinks = [losses[len(losses) - step_in_epoch :]] if step_in_epoch else []

    def plot(self, path: Any = None) -> Any:
        """Draw the loss of every step (and its mean per epoch) and, beside it, the metrics over the epochs.

        `path`: a file to write (its ending chooses the format: .png, .svg, .pdf). Returns the matplotlib Figure,
        which a notebook shows after `%matplotlib inline`. Needs matplotlib; raises ArgumentError without it, or before
        any step was trained.
        """
        if not self._sinks:
            raise ArgumentError(
                "History.plot: there is nothing to plot", at=user_source(),
                fix="train first: history = model.train(...)",
            )  # fmt: skip
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise ArgumentError(
                "History.plot: matplotlib is not installed", at=user_source(),
                fix='install it: pip install "graphrt[plot]"',
            ) from None  # fmt: skip
        numbers = {
            name: values
            for name, values in self.history.items()
            if name not in ("loss", "net_output") and all(np.ndim(value) == 0 for value in values)
        }
        figure = Figure(figsize=(11 if numbers else 6, 4), layout="constrained")
        axes = figure.subplots(1, 2 if numbers else 1, squeeze=False)[0]
        losses = self.losses
        axes[0].plot(np.arange(1, len(losses) + 1), losses, linewidth=0.8, alpha=0.5, label="step")
        if self.epoch:
            axes[0].plot(self._steps, self.history["loss"], marker="o", label="mean of epoch")
        axes[0].set(xlabel="step", ylabel="loss")
        axes[0].legend()
        for name, values in numbers.items():
            axes[1].plot(self.evaluated[name], values, marker="o", label=name)
        if numbers:
            axes[1].set(xlabel="epoch")
            axes[1].legend()
        if path is not None:
            figure.savefig(path)
        return figure

    def __repr__(self) -> str:
        return f"<History of {len(self.losses)} steps: {self.history}>"
