"""Where training steps come from: `ResidentSteps` (whole dataset in memory) and the interface shared with feed.py.

In: a compiled sink and its data. Out: `run(steps)`: so many training steps, with every step's loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..dataset.plan import ResidentPlan
from ..frontend.trace import Traced
from ..runtime.result import SinkResult

Progress = Callable[[int, np.ndarray], None]


class StepSource(Protocol):
    """Runs training steps on a dataset, keeping its place in it between calls."""

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps of one pass; None where only a pass can tell."""

    def begin_epoch(self) -> None:
        """Go to the beginning of a pass."""

    def run(
        self, steps: int | None, progress: Progress | None = None, within_pass: bool = False
    ) -> SinkResult:
        """`steps` training steps (None: all that remain of this pass), beginning new passes as needed, or stopping
        early at the end of this one with `within_pass`."""


@dataclass(frozen=True)
class CompiledStep:
    """A sink with the traces it was compiled from (full batch first)."""

    sink: Any
    traces: tuple[Traced, ...]

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Label -> memory of every parameter the step reads or updates."""
        return {label: array for traced in self.traces for label, array in traced.state.items()}


class ResidentSteps:
    """Steps over columns in memory: batches are gathered inside the native loop."""

    def __init__(self, plan: ResidentPlan, step: CompiledStep, position: Mapping[str, int] | None):
        self._plan, self._step = plan, step
        self._columns = list(plan.columns.values())
        step.sink.position = dict(position or {"step": 0, "epoch": 0, "cursor": 0})

    @property
    def position(self) -> dict[str, int]:
        """Where the next step will read: total steps, passes completed, sample of the pass."""
        return dict(self._step.sink.position)

    @property
    def steps_per_epoch(self) -> int:
        return self._plan.steps_per_epoch

    def begin_epoch(self) -> None:
        place = self.position
        if place["cursor"]:
            self._step.sink.position = {**place, "epoch": place["epoch"] + 1, "cursor": 0}

    def run(
        self, steps: int | None, progress: Progress | None = None, within_pass: bool = False
    ) -> SinkResult:
        return self._step.sink.run(
            self.steps_per_epoch if steps is None else steps, self._columns, self._step.state, progress
        )
