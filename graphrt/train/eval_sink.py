"""Evaluation as one native call: forward pass and metrics of all batches of a resident dataset.

In: what an evaluation step computes, metrics that say what to sum (`Metric.sums`), a resident plan. Out: every metric
has its sums. The step is that of a training sink, with the sums as its states, in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..dataset.plan import ResidentPlan
from ..dtypes import float64
from ..frontend.parameter import Parameter, assign
from ..nn.metrics import Metric
from .evaluate import batch_types
from .source import compiled_step
from .step import trace_gathered

MetricInputs = Callable[[Metric, Sequence[Any]], Sequence[Any]]


def sums_natively(metric: Any) -> bool:
    """Whether the metric says what to sum, and a subclass has not changed what `update` does since."""
    kinds = type(metric).__mro__
    first = next((kind for kind in kinds if {"sums", "update", "clear"} & set(vars(kind))), None)
    return first is not None and first is not Metric and "sums" in vars(first) and metric.is_summable()


class EvaluationSink:
    """A compiled evaluation: `run()` makes one pass and hands every metric its sums."""

    def __init__(
        self,
        forward: Callable[..., Sequence[Any]],
        metrics: Mapping[str, Metric],
        plan: ResidentPlan,
        inputs_of: MetricInputs,
    ):
        self._forward, self._metrics, self._inputs_of = forward, metrics, inputs_of
        self._sums: dict[str, list[Parameter]] = {name: [] for name in metrics}
        sizes = [("eval_step", plan.batch_size), ("eval_step_ragged", plan.ragged_size)]
        types = batch_types(plan.columns)
        traces = [
            trace_gathered(self._step, types, plan.transforms, size, name) for name, size in sizes if size
        ]
        self._compiled = compiled_step(traces, size=plan.size, batch_size=plan.batch_size)

    def _step(self, *batch: Any) -> Any:
        """One batch: the sums grow. The result is what a sink wants for a loss: a finite number."""
        from ..frontend.tensor import Tensor

        outputs = self._forward(*batch)
        for name, metric in self._metrics.items():
            parts = [
                Tensor(p) if not isinstance(p, Tensor) else p
                for p in metric.sums(*self._inputs_of(metric, outputs))
            ]
            states = self._sums[name]
            if not states:
                states += [
                    Parameter(np.zeros(part.shape), name=f"{name}.sum{k}", requires_grad=False)
                    for k, part in enumerate(parts)
                ]
            for state, part in zip(states, parts):
                assign(state, state + part.astype(float64))
        return Tensor(np.float32(0.0))

    def run(self, plan: ResidentPlan) -> None:
        """One pass (or as many as the plan repeats). KeyboardInterrupt after Ctrl-C."""
        for states in self._sums.values():
            for state in states:
                state.set_data(np.zeros(state.shape))
        self._compiled.sink.position = {"step": 0, "epoch": 0, "cursor": 0}
        result = self._compiled.sink.run(
            plan.steps_per_epoch, list(plan.columns.values()), self._compiled.state
        )
        if result.status == "interrupted":
            raise KeyboardInterrupt(f"evaluation was interrupted after {result.done} batches")
        for name, metric in self._metrics.items():
            metric.take_sums([state.asnumpy() for state in self._sums[name]])
