"""Model.fast_dev_run: a few steps of everything, after which the model is as it was.

In: a Model and datasets. Out: the losses and metric results of the few steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dataset.pipeline import Dataset
from .evaluate import modes_kept
from .hooks import CallbackList, CallbackParameters
from .loop import run_epochs

if TYPE_CHECKING:
    from .model import Model


@dataclass(frozen=True)
class DryRun:
    """`losses`: float32 array of the training steps; `metrics`: results on the first batches of the validation data."""

    losses: np.ndarray
    metrics: dict[str, Any]

    def __repr__(self) -> str:
        results = f", {self.metrics}" if self.metrics else ""
        return (
            f"<{len(self.losses)} steps ran, losses {self.losses.tolist()}{results}; the model is unchanged>"
        )


def dry_run(model: Model, train_dataset: Dataset, valid_dataset: Dataset | None, steps: int) -> DryRun:
    """See `Model.fast_dev_run`."""
    losses: list[np.ndarray] = []

    class Collect(CallbackList):
        def step_end(self, run_context: Any, sink_losses: np.ndarray) -> None:
            losses.append(sink_losses)

    with _kept(model, [d for d in (train_dataset, valid_dataset) if d is not None]):
        source = model._training_source(train_dataset)
        with closing(source):
            run_epochs(source, Collect(()), CallbackParameters(), epochs=1, sink_mode=True, sink_size=steps)
        metrics: dict[str, Any] = {}
        if valid_dataset is not None and model._metrics:
            metrics = model._evaluation.run(valid_dataset, model._metrics, (), True, batches=steps)
    return DryRun(np.concatenate(losses), metrics)


@contextmanager
def _kept(model: Model, datasets: list[Dataset]) -> Iterator[None]:
    """Parameters, training flags and passes over the data are put back at the end."""
    cells = list(model._parts.cells())
    parameters = {id(p): (p, p.asnumpy()) for cell in cells for p in cell.get_parameters(expand=False)}
    upcoming = [dataset._upcoming_epoch() for dataset in datasets]
    try:
        with modes_kept(cells):
            yield
    finally:
        for parameter, value in parameters.values():
            parameter.set_data(value)
        for dataset, epoch in zip(datasets, upcoming):
            dataset._go_to_epoch(epoch)
