"""Model: network, loss and optimizer as one thing that trains, evaluates and predicts.

In: Cells and datasets. Out: trained parameters, metric results, predictions. Whole training steps are compiled; a
sink runs many of them per native call.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..context import get_context, seed_generation
from ..dataset.pipeline import Dataset
from ..dataset.plan import ResidentPlan, resident_plan
from ..errors import ArgumentError
from ..frontend.location import user_source
from ..frontend.trace import array_of, trace
from ..ir import TensorType
from ..nn.metrics import as_metrics
from .evaluate import Batch, Forward, batch_types, evaluation_batches, inference, run_metrics
from .feed import BlockSteps, empty_dataset
from .hooks import CallbackList, CallbackParameters, RunContext, as_callbacks
from .loop import run_epochs
from .monitors import History
from .progress import ProgressBar
from .source import CompiledStep, ResidentSteps, StepSource
from .step import Parts, trace_batch, trace_sink_step

if TYPE_CHECKING:
    from ..runtime.profile import Profile


class Model:
    """Trains, evaluates and runs a network.

    `network`: a Cell; without `loss_fn` it must return the loss itself, without `optimizer` it must be a whole training
    step (such as `nn.TrainOneStepCell`). `loss_fn(output, label)`: the last column of the dataset is the label, the
    others are the network's inputs. `metrics`: names ("accuracy", "loss", ...), metrics, or a dict of them.
    `eval_network`: used by `eval` instead of network and loss; its outputs go to the metrics.
    `amp_level`: "O0" (float32).
    """

    def __init__(
        self,
        network: Any,
        loss_fn: Any = None,
        optimizer: Any = None,
        metrics: Any = None,
        eval_network: Any = None,
        eval_indexes: Any = None,
        amp_level: str = "O0",
    ):
        if not callable(network) or isinstance(network, type):
            fix = f"make an object of it: {network.__name__}()" if isinstance(network, type) else None
            raise ArgumentError(
                "Model: network must be a Cell", at=user_source(), given=repr(network), fix=fix
            )
        if amp_level != "O0":
            raise ArgumentError(
                "Model: amp_level is not supported", at=user_source(), expected="'O0'", given=repr(amp_level)
            )
        self._parts = Parts(network, loss_fn, optimizer)
        self._eval_network, self._eval_indexes = eval_network, eval_indexes
        self._metrics = as_metrics(metrics)
        self._compiled: dict[Any, Any] = {}
        self._positions: weakref.WeakKeyDictionary[Dataset, tuple[int, dict[str, int]]] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def train_network(self) -> Any:
        """The network being trained."""
        return self._parts.network

    @property
    def predict_network(self) -> Any:
        """The network `predict` runs."""
        return self._parts.network

    @property
    def eval_network(self) -> Any:
        """The network `eval` runs."""
        return self._parts.network if self._eval_network is None else self._eval_network

    # ----------------------------------------------------------------------------------------------- training

    def train(
        self,
        epoch: int,
        train_dataset: Dataset,
        callbacks: Any = None,
        dataset_sink_mode: bool = True,
        sink_size: int = -1,
        initial_epoch: int = 0,
        progress: bool | None = None,
    ) -> History:
        """Train for `epoch` epochs; returns the losses.

        In sink mode an epoch is one native call: `sink_size=-1` one pass over the dataset, `sink_size=k > 0` exactly k
        steps; the next epoch, and the next call with this dataset, goes on where the last one stopped and wraps around
        (datasets that come from Python begin a pass with each call). Without sink mode an epoch is one pass with one
        native call per step, and `sink_size` has no effect. The losses are the same either way.

        `progress`: a progress bar; None shows it on a terminal.
        Raises NonFiniteError when a loss is NaN or infinite, KeyboardInterrupt after Ctrl-C (at a step boundary: the
        parameters are valid), ArgumentError and DataError for unusable arguments and data.
        """
        return self._train(
            epoch,
            train_dataset,
            callbacks,
            dataset_sink_mode,
            sink_size,
            initial_epoch,
            progress,
            evaluate=None,
        )

    def fit(
        self,
        epoch: int,
        train_dataset: Dataset,
        valid_dataset: Dataset | None = None,
        valid_frequency: int | list[int] = 1,
        callbacks: Any = None,
        dataset_sink_mode: bool = True,
        valid_dataset_sink_mode: bool = True,
        sink_size: int = -1,
        initial_epoch: int = 0,
        progress: bool | None = None,
    ) -> History:
        """`train`, evaluating `valid_dataset` after every `valid_frequency`-th epoch (or after the epochs listed)."""
        evaluate: Callable[[int], dict[str, Any]] | None = None
        if valid_dataset is not None:
            listed = isinstance(valid_frequency, (list, tuple))
            if not listed:
                _positive("Model.fit", "valid_frequency", valid_frequency)

            def evaluate(number: int) -> dict[str, Any]:
                due = number in valid_frequency if listed else number % valid_frequency == 0  # type: ignore[operator]
                return self.eval(valid_dataset, callbacks, valid_dataset_sink_mode) if due else {}

        return self._train(
            epoch, train_dataset, callbacks, dataset_sink_mode, sink_size, initial_epoch, progress, evaluate
        )

    def _train(
        self,
        epoch: int,
        dataset: Dataset,
        callbacks: Any,
        sink_mode: bool,
        sink_size: int,
        initial_epoch: int,
        progress: bool | None,
        evaluate: Callable[[int], dict[str, Any]] | None,
    ) -> History:
        _positive("Model.train", "epoch", epoch)
        _check_dataset("Model.train", dataset)
        if not _is_int(sink_size) or (sink_size < 1 and sink_size != -1):
            raise ArgumentError(
                "Model.train: sink_size is not usable", at=user_source(),
                expected="-1 (the whole dataset) or a number of steps > 0", given=f"sink_size={sink_size!r}",
                fix="leave it out for one pass over the dataset per epoch",
            )  # fmt: skip
        if not _is_int(initial_epoch) or initial_epoch < 0:
            raise ArgumentError(
                "Model.train: initial_epoch must be an int >= 0", at=user_source(), given=repr(initial_epoch)
            )
        users = as_callbacks(callbacks)
        history = next((callback for callback in users if isinstance(callback, History)), None) or History()
        bars = [] if any(isinstance(callback, ProgressBar) for callback in users) else [ProgressBar(progress)]
        # History first: it must know about a loss before a monitor raises for it
        hidden = [] if history in users else [history]
        for part in (self._parts.network, self._parts.loss_fn):
            if hasattr(part, "set_train"):
                part.set_train(True)
        source = self._source(dataset)
        parameters = CallbackParameters(
            train_network=self._parts.network, network=self._parts.network, loss_fn=self._parts.loss_fn,
            optimizer=self._parts.optimizer, metrics=self._metrics, train_dataset=dataset, valid_dataset=None,
            list_callback=users, mode="train", dataset_sink_mode=bool(sink_mode), epoch_num=epoch,
        )  # fmt: skip
        try:
            run_epochs(
                source, CallbackList([*bars, *hidden, *users]), parameters,
                epochs=epoch, sink_mode=bool(sink_mode), sink_size=sink_size, first_epoch=initial_epoch,
                evaluate=evaluate,
            )  # fmt: skip
        finally:
            if isinstance(source, ResidentSteps):
                self._positions[dataset] = (seed_generation(), source.position)
        return history

    def _source(self, dataset: Dataset) -> StepSource:
        """Where the steps on `dataset` come from."""
        plan = resident_plan(dataset)
        if plan is None:
            return BlockSteps(dataset, self._block_step)
        if plan.steps_per_pass == 0:
            raise empty_dataset()
        generation, position = self._positions.get(dataset, (None, None))
        return ResidentSteps(
            plan, self._resident_step(plan), position if generation == seed_generation() else None
        )

    def _resident_step(self, plan: ResidentPlan) -> CompiledStep:
        """The compiled sink of a plan, from the cache if this model has trained on such data before."""

        def build() -> CompiledStep:
            from ..compiler import compile_sink

            types = batch_types(plan.columns)
            sizes = [("train_step", plan.batch_size), ("train_step_ragged", plan.ragged_size)]
            traces = tuple(
                trace_sink_step(self._parts, types, plan.transforms, size, name)
                for name, size in sizes
                if size
            )
            sink = compile_sink(
                traces[0].graph, traces[1].graph if len(traces) > 1 else None, size=plan.size,
                batch_size=plan.batch_size, shuffle=plan.shuffle, seed=plan.seed, threads=get_context("threads"),
            )  # fmt: skip
            return CompiledStep(sink, traces)

        return self._cached(("resident", plan.signature()), build)

    def _block_step(self, types: dict[str, TensorType], size: int, batch_size: int) -> CompiledStep:
        """The compiled sink over a block of `size` samples that Python fills."""

        def build() -> CompiledStep:
            from ..compiler import compile_sink

            traced = trace_sink_step(self._parts, types, {}, batch_size, "train_step")
            sink = compile_sink(
                traced.graph, None, size=size, batch_size=batch_size, shuffle=False, seed=0,
                threads=get_context("threads"),
            )  # fmt: skip
            return CompiledStep(sink, (traced,))

        return self._cached(("block", tuple(types.items()), size, batch_size), build)

    def _cached(self, key: Any, build: Callable[[], Any]) -> Any:
        key = (key, self._parts.key(), get_context("engine"), get_context("threads"))
        if key not in self._compiled:
            self._compiled[key] = build()
        return self._compiled[key]

    def profile(self, dataset: Dataset, steps: int = 100) -> Profile:
        """Where the time of a training step goes: a table with a line per kernel (`print` it, `.to_json()`,
        `.to_chrome_trace(path)`).

        Runs `steps` training steps with cycle counters, several times, and keeps the fastest run. It works on copies of
        the parameters: the model and its place in the data stay as they are. Only full batches are measured.
        Raises NonFiniteError when a loss is NaN or infinite, ArgumentError and DataError for unusable arguments.
        """
        from .profile import profile_training

        _check_dataset("Model.profile", dataset)
        _positive("Model.profile", "steps", steps)
        return profile_training(self._parts, dataset, int(steps))

    # -------------------------------------------------------------------------------- evaluation, prediction

    def eval(
        self, valid_dataset: Dataset, callbacks: Any = None, dataset_sink_mode: bool = True
    ) -> dict[str, Any]:
        """The metrics over one pass of `valid_dataset`, by name; the network runs in inference mode.

        `dataset_sink_mode` has no effect: every batch is one native call either way.
        """
        _check_dataset("Model.eval", valid_dataset)
        if not self._metrics:
            raise ArgumentError(
                "Model.eval: the model has no metrics", at=user_source(), expected="at least one",
                fix='give some: Model(network, loss_fn, metrics={"accuracy"})',
            )  # fmt: skip
        listeners = CallbackList(as_callbacks(callbacks))
        parameters = CallbackParameters(
            network=self.eval_network, metrics=self._metrics, valid_dataset=valid_dataset,
            mode="eval", dataset_sink_mode=bool(dataset_sink_mode), list_callback=list(listeners.callbacks),
            cur_step_num=0, net_outputs=None, eval_results={},
            batch_num=-1 if valid_dataset._known_size() is None else valid_dataset.get_dataset_size(),
        )  # fmt: skip
        context = RunContext(parameters)

        def after_batch(count: int, outputs: tuple[Any, ...]) -> None:
            parameters.update(cur_step_num=count, net_outputs=outputs)
            listeners.call("on_eval_step_end", context)

        batches, transforms = evaluation_batches(valid_dataset)
        described = tuple((name, tuple(t.describe() for t in chain)) for name, chain in transforms.items())
        with_loss = any(0 in getattr(metric, "indexes", ()) for metric in self._metrics.values())

        def function(*batch: Any) -> Any:
            if self._eval_network is not None:
                outputs = self._eval_network(*batch)
                return outputs if isinstance(outputs, (tuple, list)) else (outputs,)
            return self._parts.evaluate(*batch, with_loss=with_loss)

        def forward(batch: Batch) -> tuple[Any, ...]:
            types = batch_types(batch)
            key = ("eval", id(self._eval_network), with_loss, tuple(types.items()), described)
            compiled = self._cached(
                key, lambda: Forward(trace_batch(function, types, transforms, "eval_step"))
            )
            outputs = tuple(compiled.run(*batch.values()))
            return outputs if self._eval_indexes is None else tuple(outputs[k] for k in self._eval_indexes)

        with inference(self._parts.network, self._parts.loss_fn, self._eval_network):
            listeners.call("on_eval_begin", context)
            listeners.call("on_eval_epoch_begin", context)
            results = run_metrics(
                batches, forward, self._metrics,
                all_outputs=self._eval_network is not None and self._eval_indexes is None, after_batch=after_batch,
            )  # fmt: skip
        parameters.eval_results = results
        listeners.call("on_eval_epoch_end", context)
        listeners.call("on_eval_end", context)
        return results

    def predict(self, *predict_data: Any) -> Any:
        """The network's output for these inputs (Tensors or arrays), in inference mode; compiled once per shape."""
        from ..frontend.tensor import Tensor

        inputs = [value if isinstance(value, Tensor) else Tensor(value) for value in predict_data]
        with inference(self._parts.network):
            key = ("predict", tuple(value.type for value in inputs))
            compiled = self._cached(key, lambda: Forward(trace(self._parts.network, inputs, name="predict")))
            return compiled.run(*(array_of(value) for value in inputs))


def _is_int(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _positive(method: str, argument: str, value: Any) -> None:
    if not _is_int(value) or value < 1:
        raise ArgumentError(
            f"{method}: {argument} must be a positive int",
            at=user_source(),
            expected=f"{argument} >= 1",
            given=repr(value),
        )


def _check_dataset(method: str, dataset: object) -> None:
    if not isinstance(dataset, Dataset):
        raise ArgumentError(
            f"{method}: a dataset is needed", at=user_source(), expected="a dataset of graphrt.dataset",
            given=type(dataset).__name__, fix="wrap arrays: dataset.NumpySlicesDataset((images, labels)).batch(32)",
        )  # fmt: skip
