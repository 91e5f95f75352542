"""Evaluation and prediction: compiled forward passes over batches.

In: network, dataset, metrics. Out: metric results. Resident data is passed raw, its transforms run natively; other data
arrives transformed from Python. Every batch shape (the ragged last one too) has its own executable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np

from ..dataset.parallel import add_note
from ..dataset.pipeline import Dataset
from ..dataset.plan import resident_plan
from ..dataset.reader import prefetched
from ..dtypes import as_dtype
from ..errors import ArgumentError
from ..frontend.location import user_source
from ..frontend.trace import Traced
from ..ir import TensorType
from ..nn.metrics import Metric
from .feed import empty_dataset, not_batched
from .step import Transforms

Batch = dict[str, np.ndarray]
TraceBatch = Callable[[dict[str, TensorType], Transforms], Traced]


@contextmanager
def inference(*parts: Any) -> Iterator[None]:
    """All Cells of `parts` are in inference mode inside, and as they were afterwards."""
    cells = [cell for part in parts if hasattr(part, "cells_and_names") for _, cell in part.cells_and_names()]
    with modes_kept(cells):
        for cell in cells:
            if cell.training:
                cell.training = False
        yield


@contextmanager
def modes_kept(cells: Iterable[Any]) -> Iterator[None]:
    """Whatever is done to them inside, the Cells are in training or inference mode as before afterwards."""
    before = [(cell, cell.training) for cell in cells]
    try:
        yield
    finally:
        for cell, training in before:
            if cell.training != training:
                cell.training = training


def batch_types(batch: Mapping[str, np.ndarray]) -> dict[str, TensorType]:
    """Column -> type of a batch."""
    return {name: TensorType(tuple(array.shape), as_dtype(array.dtype)) for name, array in batch.items()}


class Forward:
    """A compiled function of a batch; `run` returns its outputs as the function nests them, as arrays."""

    def __init__(self, traced: Traced):
        from ..compiler import compile_graph

        self._traced, self._executable = traced, compile_graph(traced.graph, tune=traced.is_tuned)

    def run(self, *arrays: np.ndarray) -> Any:
        return self._traced.restore(self._executable(*arrays, state=self._traced.state))


def evaluation_batches(dataset: Dataset) -> tuple[Iterator[Batch], Transforms]:
    """The batches of one pass in order, and the transforms still to be applied to them."""
    plan = resident_plan(dataset)
    if plan is None:
        names = dataset.get_col_names()
        rows = prefetched(dataset)
        if dataset._is_endless:
            rows = islice(rows, dataset.get_dataset_size())
        return (_checked(dict(zip(names, row))) for row in rows), {}

    def batches() -> Iterator[Batch]:
        assert plan is not None
        for _ in range(plan.repeat):
            for step in range(plan.steps_per_pass):
                start = step * plan.batch_size
                stop = min(start + plan.batch_size, plan.size)
                yield {name: array[start:stop] for name, array in plan.columns.items()}

    return batches(), plan.transforms


def _checked(batch: Batch) -> Batch:
    for name, array in batch.items():
        if array.ndim == 0:
            raise not_batched(name)
    return {name: np.ascontiguousarray(array) for name, array in batch.items()}


def run_metrics(
    batches: Iterator[Batch],
    forward: Callable[[Batch], tuple[Any, ...]],
    metrics: Mapping[str, Metric],
    *,
    all_outputs: bool,
    before_batch: Callable[[int], None],
    after_batch: Callable[[int, tuple[Any, ...]], None],
) -> None:
    """Update every metric with every batch. `forward` gives (loss, output, label), or other outputs."""
    count = 0
    first: dict[str, TensorType] = {}
    for batch in batches:
        before_batch(count + 1)
        try:
            outputs = forward(batch)
        except Exception as error:
            _note_other_types(error, count, first, batch_types(batch))
            raise
        first = first or batch_types(batch)
        count += 1
        for metric in metrics.values():
            metric.update(*metric_inputs(metric, outputs, all_outputs))
        after_batch(count, outputs)
    if count == 0:
        raise empty_dataset()


def _note_other_types(
    error: Exception, number: int, first: Mapping[str, TensorType], types: Mapping[str, TensorType]
) -> None:
    """Batches may differ in shape; where that is what the network fails at, the error shall say which one it was."""
    for name, before in first.items():
        now = types[name]
        if now.shape[1:] != before.shape[1:] or now.dtype != before.dtype:
            given, expected = (f"{type.dtype}{list(type.shape)}" for type in (now, before))
            add_note(
                error, f"batch {number} of the dataset: column {name!r} is {given}, in the first {expected}"
            )


def metric_inputs(metric: Metric, outputs: Sequence[Any], all_outputs: bool) -> Sequence[Any]:
    """What a metric is given: the outputs its `indexes` name; all of them with `all_outputs`, unless it was told which."""
    if all_outputs and "indexes" not in vars(metric):
        return outputs
    chosen = getattr(metric, "indexes", None) or (1, 2)
    if max(chosen) >= len(outputs):
        raise ArgumentError(
            f"Model.eval: {type(metric).__name__} asks for output {max(chosen)} of the evaluation", at=user_source(),
            expected=f"0 to {len(outputs) - 1}", given=f"indexes={tuple(chosen)}",
            fix="choose others with metric.set_indexes([...]), or return more from eval_network",
        )  # fmt: skip
    return [outputs[k] for k in chosen]
