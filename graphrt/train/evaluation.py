"""Model.eval: which way an evaluation runs, and the callbacks around it.

In: the parts of a Model, metrics, a dataset. Out: the metrics' results. Where the data is in memory, every metric says
what to sum and nobody listens to single batches, the whole pass is one native call; otherwise it is one call per batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..dataset.pipeline import Dataset
from ..dataset.plan import resident_plan
from ..nn.metrics import Metric
from .eval_sink import EvaluationSink, sums_natively
from .evaluate import (
    Batch,
    Forward,
    batch_types,
    evaluation_batches,
    inference,
    metric_inputs,
    run_metrics,
)
from .feed import empty_dataset
from .hooks import Callback, CallbackList, CallbackParameters, RunContext
from .step import Parts, trace_batch

Cached = Callable[[Any, Callable[[], Any]], Any]  # (key, make) -> what was made for this key


@dataclass(frozen=True)
class Evaluation:
    """How a Model evaluates. `network`: used instead of network and loss; `indexes`: which of its outputs are (loss,
    output, label). `cached` keeps what was compiled."""

    parts: Parts
    network: Any
    indexes: Any
    cached: Cached

    def run(
        self,
        dataset: Dataset,
        metrics: dict[str, Metric],
        callbacks: Sequence[Callback],
        sink_mode: bool,
        batches: int | None = None,
    ) -> dict[str, Any]:
        """The results by name, over one pass, or over the first `batches` of it."""
        listeners = CallbackList(callbacks)
        size = dataset._size()
        parameters = CallbackParameters(
            network=self.network or self.parts.network, eval_network=self.network or self.parts.network,
            train_network=self.parts.network, loss_fn=self.parts.loss_fn, optimizer=self.parts.optimizer,
            metrics=metrics, valid_dataset=dataset, train_dataset=None, mode="eval", dataset_sink_mode=sink_mode,
            parallel_mode="stand_alone", device_number=1, list_callback=list(callbacks), cur_step_num=0,
            cur_epoch_num=1, epoch_num=1, net_outputs=None, eval_results={}, batch_num=-1 if size is None else size,
        )  # fmt: skip
        context = RunContext(parameters)
        with inference(self.parts.network, self.parts.loss_fn, self.network):
            listeners.call("on_eval_begin", context)
            listeners.call("on_eval_epoch_begin", context)
            for metric in metrics.values():
                metric.clear()
            if not (sink_mode and batches is None and self._in_one_call(dataset, metrics, listeners)):
                self._by_batch(dataset, metrics, listeners, context, batches)
            results = {name: metric.eval() for name, metric in metrics.items()}
        parameters.eval_results = results
        listeners.call("on_eval_epoch_end", context)
        listeners.call("on_eval_end", context)
        return results

    def compile(self, dataset: Dataset, metrics: dict[str, Metric]) -> None:
        """Compile what `run` needs for this dataset, without running it (data in memory only)."""
        with inference(self.parts.network, self.parts.loss_fn, self.network):
            plan = resident_plan(dataset)
            if plan is not None and plan.steps_per_pass and all(map(sums_natively, metrics.values())):
                self._sink(plan, metrics)

    def _in_one_call(self, dataset: Dataset, metrics: dict[str, Metric], listeners: CallbackList) -> bool:
        """The whole pass natively; False, with nothing done, where that is not possible."""
        plan = resident_plan(dataset)
        if plan is None or listeners.overrides("on_eval_step_begin", "on_eval_step_end"):
            return False
        if not all(map(sums_natively, metrics.values())):
            return False
        if plan.steps_per_pass == 0:
            raise empty_dataset()
        self._sink(plan, metrics).run(plan)
        return True

    def _sink(self, plan: Any, metrics: dict[str, Metric]) -> EvaluationSink:
        described = tuple((name, id(metric), metric.indexes) for name, metric in metrics.items())
        key = ("evaluation sink", id(self.network), self._key_indexes(), described, plan.signature())
        forward = self._forward(metrics)

        def inputs_of(metric: Metric, outputs: Sequence[Any]) -> Sequence[Any]:
            return metric_inputs(metric, outputs, self._all_outputs)

        return self.cached(key, lambda: EvaluationSink(forward, metrics, plan, inputs_of))

    def _by_batch(
        self,
        dataset: Dataset,
        metrics: dict[str, Metric],
        listeners: CallbackList,
        context: RunContext,
        limit: int | None,
    ) -> None:
        """One native call per batch, metrics in NumPy."""
        parameters = context.original_args()
        function, with_loss = self._forward(metrics), self._with_loss(metrics)
        rows, transforms = evaluation_batches(dataset)
        described = tuple((name, tuple(t.describe() for t in chain)) for name, chain in transforms.items())

        def forward(batch: Batch) -> tuple[Any, ...]:
            types = batch_types(batch)
            key = ("eval", id(self.network), self._key_indexes(), with_loss, tuple(types.items()), described)
            compiled = self.cached(
                key, lambda: Forward(trace_batch(function, types, transforms, "eval_step"))
            )
            return tuple(compiled.run(*batch.values()))

        def before_batch(count: int) -> None:
            parameters.cur_step_num = count
            listeners.call("on_eval_step_begin", context)

        def after_batch(count: int, outputs: tuple[Any, ...]) -> None:
            parameters.net_outputs = outputs
            listeners.call("on_eval_step_end", context)

        run_metrics(
            itertools.islice(rows, limit), forward, metrics, all_outputs=self._all_outputs,
            before_batch=before_batch, after_batch=after_batch,
        )  # fmt: skip

    def _forward(self, metrics: dict[str, Metric]) -> Callable[..., tuple[Any, ...]]:
        """What is traced: the outputs of a batch."""
        with_loss = self._with_loss(metrics)

        def function(*batch: Any) -> tuple[Any, ...]:
            if self.network is None:
                return self.parts.evaluate(*batch, with_loss=with_loss)
            outputs = self.network(*batch)
            outputs = tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)
            return outputs if self.indexes is None else tuple(outputs[k] for k in self.indexes)

        return function

    @property
    def _all_outputs(self) -> bool:
        return self.network is not None and self.indexes is None

    def _key_indexes(self) -> Any:
        return None if self.indexes is None else tuple(self.indexes)

    @staticmethod
    def _with_loss(metrics: dict[str, Metric]) -> bool:
        return any(0 in (getattr(metric, "indexes", None) or ()) for metric in metrics.values())
