"""Where training steps come from: `ResidentSteps` (whole dataset in memory) and the interface shared with feed.py.

In: a compiled sink and its data. Out: `run(steps)`: so many training steps, with every step's loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..context import get_context
from ..dataset.plan import ResidentPlan
from ..frontend.parameter import Parameter
from ..frontend.trace import Traced
from ..runtime.result import SinkResult
from ..runtime.workers import Interruption

Progress = Callable[[int, np.ndarray], None]


class StepSource(Protocol):
    """Runs training steps on a dataset, keeping its place in it between calls."""

    @property
    def steps_per_epoch(self) -> int | None:
        """Steps of one pass; None where only a pass can tell."""

    @property
    def position(self) -> dict[str, Any]:
        """Where the next step will read: plain numbers, and arrays by name under "arrays" where there are some."""

    @property
    def at_pass_begin(self) -> bool:
        """Whether the next step is the first of a pass."""

    @property
    def description(self) -> dict[str, Any]:
        """What a position makes sense with: plain values that must be the same when it is restored."""

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Every Parameter that the compiled steps read or update, by label."""

    @property
    def cells(self) -> dict[int, Any]:
        """id -> every Cell that ran in the compiled steps."""

    def restore(self, position: Mapping[str, Any]) -> None:
        """Go on from a `position`."""

    @property
    def data_wait(self) -> float:
        """The share of the time of `run` that was spent waiting for data."""

    def begin_epoch(self) -> None:
        """Go to the beginning of a pass."""

    def close(self) -> None:
        """Let threads and files go; a later `run` begins a new pass."""

    def run(
        self, steps: int | None, progress: Progress | None = None, within_pass: bool = False
    ) -> SinkResult:
        """`steps` training steps (None: all that remain of this pass), beginning new passes as needed, or stopping
        early at the end of this one with `within_pass`. `progress` is called between steps; KeyboardInterrupt from it
        ends the run with status "interrupted"."""

    def stop(self) -> None:
        """End the `run` that is under way at the next step boundary. For signal handlers of the thread that runs it."""

    def raise_failure(self) -> None:
        """Raise what ended the last `run` before its time; the steps it had done are in its result."""


def watching(interruption: Interruption, progress: Progress | None = None) -> Progress:
    """`progress` that also ends the run if Ctrl-C was pressed where `StepSource.stop` came too early to be seen."""

    def watch(done: int, losses: np.ndarray) -> None:
        if interruption.requested:
            raise KeyboardInterrupt
        if progress is not None and done:
            progress(done, losses)

    return watch


@dataclass(frozen=True)
class CompiledStep:
    """A sink with the traces it was compiled from (full batch first)."""

    sink: Any
    traces: tuple[Traced, ...]

    def stop(self) -> None:
        """End the run that is under way at its next step boundary (the interpreter asks `progress` instead)."""
        self.sink.stop()

    @property
    def state(self) -> dict[str, np.ndarray]:
        """Label -> memory of every parameter the step reads or updates."""
        return {label: array for traced in self.traces for label, array in traced.state.items()}

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Label -> every Parameter the step reads or updates."""
        return {label: parameter for traced in self.traces for label, parameter in traced.parameters.items()}

    @property
    def cells(self) -> dict[int, Any]:
        """id -> every Cell that ran in the step."""
        return {id(cell): cell for traced in self.traces for cell in traced.cells}


def compiled_step(
    traces: Sequence[Traced], *, size: int, batch_size: int, shuffle: bool = False, seed: int = 0
) -> CompiledStep:
    """The step of `traces`, looped over `size` samples: over full batches, and with a second trace over the ragged one at
    the end of a pass, too."""
    from ..compiler import compile_sink

    sink = compile_sink(
        traces[0].graph, traces[1].graph if len(traces) > 1 else None, size=size, batch_size=batch_size,
        shuffle=shuffle, seed=seed, threads=get_context("threads"), tune=traces[0].is_tuned,
    )  # fmt: skip
    return CompiledStep(sink, tuple(traces))


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

    def restore(self, position: Mapping[str, Any]) -> None:
        self._step.sink.position = dict(position)

    def place_after(self, steps: int) -> dict[str, int]:
        """The position after so many steps from the beginning of training."""
        passes, batches = divmod(steps, self._plan.steps_per_pass)
        return {"step": steps, "epoch": passes, "cursor": batches * self._plan.batch_size}

    @property
    def at_pass_begin(self) -> bool:
        return self.position["cursor"] == 0

    @property
    def description(self) -> dict[str, Any]:
        plan = self._plan
        return {
            "samples": plan.size, "batch_size": plan.batch_size, "drop_remainder": plan.drop_remainder,
            "shuffle": plan.shuffle, "columns": list(plan.columns),
        }  # fmt: skip

    @property
    def parameters(self) -> dict[str, Parameter]:
        return self._step.parameters

    @property
    def cells(self) -> dict[int, Any]:
        return self._step.cells

    @property
    def steps_per_epoch(self) -> int:
        return self._plan.steps_per_epoch

    @property
    def data_wait(self) -> float:
        return 0.0

    def close(self) -> None:
        """Nothing is open."""

    def stop(self) -> None:
        self._step.stop()

    def raise_failure(self) -> None:
        """Reading memory does not fail."""

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
