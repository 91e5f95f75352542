"""Profiles a model's training step: compiles it with cycle counters and runs it on copies of the parameters.

In: the parts of a Model, a dataset. Out: a `Profile`. The model's parameters and place in the data stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..context import get_context
from ..dataset.pipeline import Dataset
from ..dataset.plan import ResidentPlan, resident_plan
from ..errors import ArgumentError
from ..frontend.location import user_source
from ..frontend.parameter import aligned
from ..runtime.ceilings import machine_ceilings
from ..runtime.profile import Profile, from_windows, measure
from .evaluate import batch_types, modes_kept
from .feed import empty_dataset, not_batched
from .step import Parts, trace_sink_step

STREAMED_BATCHES = 16  # how many batches of data that comes from Python are collected and gone round


def profile_training(parts: Parts, dataset: Dataset, steps: int) -> Profile:
    """Full batches only: the short one at the end of a pass is left out. Raises ArgumentError for the interpreter,
    DataError for an empty dataset."""
    from ..compiler import lower, optimize
    from ..runtime.sink import Sink
    from ..runtime.workers import default_threads

    if get_context("engine") == "interpreter":
        raise ArgumentError(
            "Model.profile: the interpreter has no kernels to measure", at=user_source(),
            expected='engine="native"', given='engine="interpreter"', fix='set_context(engine="native")',
        )  # fmt: skip
    plan = resident_plan(dataset) or _streamed_plan(dataset)
    if plan.steps_per_pass == 0:
        raise empty_dataset()
    threads = get_context("threads") or default_threads()
    stages: dict[str, Any] = {}
    with modes_kept(parts.cells()):
        parts.set_train()
        traced = trace_sink_step(
            parts, batch_types(plan.columns), plan.transforms, plan.batch_size, "train_step"
        )
    step = lower(optimize(traced.graph), threads=threads, record=stages.__setitem__, profile=True, sink=True)
    sink = Sink(
        [step],
        size=plan.size,
        batch_size=plan.batch_size,
        shuffle=plan.shuffle,
        seed=plan.seed,
        threads=threads,
        steady=True,
    )
    state = {label: aligned(array) for label, array in traced.state.items()}  # as parameters are
    name = f"{type(parts.network).__name__}, batch {plan.batch_size}"
    columns = list(plan.columns.values())
    windows, schedule = measure(sink, columns, state, steps), stages["fused"].schedule
    profile = from_windows(windows, schedule, machine_ceilings(sink.threads), name)
    if profile.gflops * 1e9 > profile.ceilings.flops:  # they were measured when the machine was busy
        profile = from_windows(windows, schedule, machine_ceilings(sink.threads, refresh=True), name)
    return profile


def _streamed_plan(dataset: Dataset) -> ResidentPlan:
    """The first batches of data that comes from Python, as a dataset in memory."""
    names = tuple(dataset.get_col_names())
    batches: list[tuple[np.ndarray, ...]] = []
    for row in dataset._rows(0):
        if row[0].ndim == 0:
            raise not_batched(names[0])
        if len(batches) == STREAMED_BATCHES or (batches and len(row[0]) != len(batches[0][0])):
            break
        batches.append(tuple(np.array(array) for array in row))
    if not batches:
        raise empty_dataset()
    columns = {name: np.concatenate([batch[k] for batch in batches]) for k, name in enumerate(names)}
    size = len(batches[0][0])
    return ResidentPlan(
        columns, {name: () for name in names}, shuffle=False, size=size * len(batches), batch_size=size,
        drop_remainder=True, repeat=1,
    )  # fmt: skip
