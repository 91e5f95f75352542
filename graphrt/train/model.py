"""Model: network, loss and optimizer as one thing that trains, evaluates and predicts.

In: Cells and datasets. Out: trained parameters, metric results, predictions. Whole training steps are compiled; a
sink runs many of them per native call.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import compiler
from ..amp import training as amp
from ..context import compilation_settings, seed_generation
from ..dataset.pipeline import Dataset
from ..dataset.plan import ResidentPlan, resident_plan
from ..errors import ArgumentError
from ..frontend.location import user_source
from ..frontend.trace import array_of, trace
from ..ir import TensorType
from ..nn.metrics import Loss, as_metrics
from . import arguments
from .accumulate import Accumulation
from .clipping import GradientClipping
from .evaluate import Forward, batch_types, inference
from .evaluation import Evaluation
from .feed import BlockSteps, empty_dataset
from .history import History
from .hooks import CallbackList, CallbackParameters, as_callbacks
from .loop import run_epochs
from .progress import ProgressBar
from .resume import begin_at_epoch, read_for_resume
from .source import CompiledStep, ResidentSteps, StepSource, compiled_step
from .step import Parts, trace_sink_step
from .training_state import TrainingState

if TYPE_CHECKING:
    from ..runtime.profile import Profile
    from .dry_run import DryRun
    from .summary import Summary


class Model:
    """Trains, evaluates and runs a network.

    `network`: a Cell; without `loss_fn` it must return the loss itself, without `optimizer` it must be a whole training
    step (such as `nn.TrainOneStepCell`, or a Cell of your own). `loss_fn(output, label)`: the last column of the
    dataset is the label, the others are the network's inputs. `metrics`: names ("accuracy", "loss", ...), metrics, or a
    dict of them. `eval_network`: used by `eval` instead of network and loss; all its outputs go to the metrics, or with
    `eval_indexes`, the positions of loss, output and label among them, those each metric uses. `boost_level`: "O0".

    `amp_level`: mixed precision by the levels of `amp.auto_mixed_precision`, "O0" (float32) to "O3" or "auto", computed in
    `amp_dtype` (bfloat16 or float16). `loss_scale_manager`: an `amp.LossScaleManager` or None; "auto" takes a dynamic one
    for float16 at O2 and O3.

    `clip_value`: every element of the gradients is clipped to [-clip_value, clip_value]; `clip_norm`: all gradients
    together are scaled down to this Euclidean length.
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
        boost_level: str = "O0",
        *,
        clip_value: float | None = None,
        clip_norm: float | None = None,
        loss_scale_manager: Any = "auto",
        amp_dtype: Any = "bfloat16",
    ):
        arguments.check_network(network)
        arguments.check_boost_level(boost_level)
        loss_scale = None
        if amp_level != "O0" or loss_scale_manager not in ("auto", None):
            loss_scale = amp.prepare(network, amp_level, loss_scale_manager, amp_dtype)
        clipping = GradientClipping(clip_value, clip_norm)
        arguments.check_gradient_options(optimizer, clipping, loss_scale, loss_scale_manager)
        self._parts = Parts(network, loss_fn, optimizer, clipping, loss_scale=loss_scale)
        self._accumulations: dict[int, Accumulation] = {}
        self._eval_network, self._eval_indexes = eval_network, eval_indexes or None
        self._metrics = as_metrics(metrics)
        self._eval_loss = Loss()  # of the validation data, for callbacks that watch it
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
        resume: str | os.PathLike[str] | None = None,
        accumulate: int = 1,
    ) -> History:
        """Train for `epoch` epochs; returns the losses.

        In sink mode an epoch is one native call: `sink_size=-1` one pass over the dataset, `sink_size=k > 0` exactly k
        steps; the next epoch, and the next call with this dataset, goes on where the last one stopped and wraps around
        (datasets that come from Python begin a pass with each call). Without sink mode an epoch is one pass with one
        native call per step, and `sink_size` has no effect. The losses are the same either way.

        `train_dataset`: a dataset, or any iterable of batches (lists, generators, torch DataLoaders): tuples of columns
        or dicts, the label last.
        `progress`: a progress bar; None shows it on a terminal. `accumulate=n`: the optimizer takes the mean gradient
        of every n batches (steps); what is left at the end waits for the next call. `initial_epoch`: how many epochs
        were done before, of the `epoch` in all: the numbering goes on from there, and data that was not read from yet
        is read from the pass that comes next (weights and moments: `load_checkpoint`, `load_param_into_net`).
        `resume`: a directory of `ModelCheckpoint`, or one of its files. Training goes on from the newest whole
        checkpoint as if it had never stopped, to the same last epoch, bit for bit; without one it begins at the
        beginning. Everything else must be as in the interrupted run.
        Raises CheckpointError if nothing in `resume` is whole, or it was made by another program, NonFiniteError when
        a loss is NaN or infinite, KeyboardInterrupt after Ctrl-C (at a step boundary: the parameters are valid),
        ArgumentError and DataError for unusable arguments and data.
        """
        return self._train(
            epoch, train_dataset, callbacks, dataset_sink_mode, sink_size, initial_epoch, progress, accumulate, resume
        )  # fmt: skip

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
        resume: str | os.PathLike[str] | None = None,
        accumulate: int = 1,
    ) -> History:
        """`train`, evaluating `valid_dataset` after every `valid_frequency`-th epoch (or after the epochs listed).

        The results are in the history and, for callbacks, in `eval_results`; the loss of the validation data is among
        them as "eval_loss" where a callback watches it (`monitor="eval_loss"`).
        """
        evaluate: Callable[[int], dict[str, Any]] | None = None
        if valid_dataset is not None:
            arguments.check_valid_frequency(valid_frequency)
            valid_dataset = arguments.check_dataset("Model.fit", valid_dataset)
            users = as_callbacks(callbacks)
            metrics = dict(self._metrics)
            if any(getattr(callback, "monitor", None) == "eval_loss" for callback in users):
                metrics.setdefault("eval_loss", self._eval_loss)
            arguments.check_metrics("Model.fit", metrics)

            def evaluate(number: int) -> dict[str, Any]:
                listed = isinstance(valid_frequency, (list, tuple))
                due = number in valid_frequency if listed else number % valid_frequency == 0  # type: ignore[operator]
                sink_mode = bool(valid_dataset_sink_mode)
                return self._evaluation.run(valid_dataset, metrics, users, sink_mode) if due else {}

        return self._train(
            epoch, train_dataset, callbacks, dataset_sink_mode, sink_size, initial_epoch, progress, accumulate,
            resume, valid_dataset, evaluate,
        )  # fmt: skip

    def _train(
        self,
        epoch: int,
        dataset: Dataset,
        callbacks: Any,
        sink_mode: bool,
        sink_size: int,
        initial_epoch: int,
        progress: bool | None,
        accumulate: int,
        resume: str | os.PathLike[str] | None,
        valid_dataset: Dataset | None = None,
        evaluate: Callable[[int], dict[str, Any]] | None = None,
    ) -> History:
        compiler.prepare()
        arguments.check_positive("Model.train", "epoch", epoch)
        dataset = arguments.check_dataset("Model.train", dataset)
        arguments.check_sink_size("Model.train", sink_size)
        arguments.check_initial_epoch("Model.train", initial_epoch, epoch)
        self._set_accumulation(accumulate)
        users = as_callbacks(callbacks)
        history = next((callback for callback in users if isinstance(callback, History)), None) or History()
        bars = [] if any(isinstance(callback, ProgressBar) for callback in users) else [ProgressBar(progress)]
        # wherever they stand, histories know about a loss before a monitor raises for it (`Callback.records`)
        hidden = [] if history in users else [history]
        resumed = None if resume is None else read_for_resume(resume)
        if resumed is not None:
            resumed.restore_random()
        source = self._training_source(dataset)
        state = TrainingState(self._parts.top_cells(), source, history, users, valid_dataset)
        start = None if resumed is None else resumed.restore(source, state)
        if start is None and initial_epoch:
            begin_at_epoch(source, initial_epoch, sink_size if sink_mode else -1)
        parameters = CallbackParameters(
            train_network=self._parts.network, eval_network=self.eval_network, network=self._parts.network,
            loss_fn=self._parts.loss_fn, optimizer=self._parts.optimizer, metrics=self._metrics,
            train_dataset=dataset, valid_dataset=valid_dataset, list_callback=users, mode="train",
            dataset_sink_mode=bool(sink_mode), sink_size=sink_size, epoch_num=epoch,
            parallel_mode="stand_alone", device_number=1,
            training_state=state, resumed_from=resumed and resumed.manifest,
        )  # fmt: skip
        try:
            run_epochs(
                source, CallbackList(sorted([*bars, *hidden, *users], key=lambda one: one.runs_last)), parameters,
                epochs=epoch - initial_epoch, sink_mode=bool(sink_mode), sink_size=sink_size, first_epoch=initial_epoch,
                evaluate=evaluate, start=start,
            )  # fmt: skip
        finally:
            if isinstance(source, ResidentSteps):
                self._positions[dataset] = (seed_generation(), source.position)
            source.close()
            history.data_wait = source.data_wait
        if isinstance(source, BlockSteps):
            source.report_slow_data()
        return history

    def _set_accumulation(self, count: int) -> None:
        """Average the gradients of `count` batches from now on; sums begun with the same count are kept."""
        arguments.check_positive("Model.train", "accumulate", count)
        if count > 1 and self._parts.optimizer is None:
            raise ArgumentError(
                "Model.train: accumulate needs the model's optimizer, but the network is a whole training step",
                at=user_source(), given=f"accumulate={count}",
                fix="pass network, loss_fn and optimizer to Model, or accumulate in your training step",
            )  # fmt: skip
        wanted = None
        if count > 1:
            wanted = self._accumulations.get(count)
            if wanted is None:
                wanted = self._accumulations[count] = Accumulation(self._parts.optimizer, count)
            elif wanted is not self._parts.accumulation:
                wanted.clear()
        self._parts = replace(self._parts, accumulation=wanted)

    def _training_source(self, dataset: Dataset) -> StepSource:
        """Where the training steps on `dataset` come from, with all Cells in training mode."""
        self._parts.set_train()
        return self._source(dataset)

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
            types = batch_types(plan.columns)
            sizes = [("train_step", plan.batch_size), ("train_step_ragged", plan.ragged_size)]
            traces = [
                trace_sink_step(self._parts, types, plan.transforms, size, name)
                for name, size in sizes
                if size
            ]
            return compiled_step(
                traces, size=plan.size, batch_size=plan.batch_size, shuffle=plan.shuffle, seed=plan.seed
            )

        return self._cached(("resident", plan.signature()), build)

    def _block_step(self, types: dict[str, TensorType], size: int, batch_size: int) -> CompiledStep:
        """The compiled sink over a block of `size` samples that Python fills."""

        def build() -> CompiledStep:
            traced = trace_sink_step(self._parts, types, {}, batch_size, "train_step")
            return compiled_step([traced], size=size, batch_size=batch_size)

        return self._cached(("block", tuple(types.items()), size, batch_size), build)

    def _cached(self, key: Any, build: Callable[[], Any]) -> Any:
        key = (key, self._parts.key(), *compilation_settings().values())
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

        dataset = arguments.check_dataset("Model.profile", dataset)
        arguments.check_positive("Model.profile", "steps", steps)
        return profile_training(self._parts, dataset, int(steps))

    def build(
        self,
        train_dataset: Dataset | None = None,
        valid_dataset: Dataset | None = None,
        sink_size: int = -1,
        epoch: int = 1,
        sink_mode: bool = True,
    ) -> None:
        """Compile ahead what `train` on `train_dataset` and `eval` on `valid_dataset` will run; nothing is trained.

        Only for data in memory: steps on data that Python produces are compiled with its first batch. `sink_size`,
        `epoch` and `sink_mode` change nothing in the compiled step.
        """
        arguments.check_sink_size("Model.build", sink_size)
        arguments.check_positive("Model.build", "epoch", epoch)
        if train_dataset is None and valid_dataset is None:
            raise ArgumentError(
                "Model.build: there is nothing to compile for", at=user_source(),
                fix="pass train_dataset=..., valid_dataset=... or both",
            )  # fmt: skip
        if train_dataset is not None:
            train_dataset = arguments.check_dataset("Model.build", train_dataset)
            self._training_source(train_dataset)
        if valid_dataset is not None:
            valid_dataset = arguments.check_dataset("Model.build", valid_dataset)
            arguments.check_metrics("Model.build", self._metrics)
            self._evaluation.compile(valid_dataset, self._metrics)

    def fast_dev_run(
        self, train_dataset: Dataset, valid_dataset: Dataset | None = None, steps: int = 2
    ) -> DryRun:
        """Check a program before a long run: `steps` training steps and, with metrics, `steps` batches of evaluation.

        Everything is compiled and run as in `fit`; then parameters, optimizer and places in the datasets are put back
        as they were. Raises what `fit` would raise.
        """
        from .dry_run import dry_run

        train_dataset = arguments.check_dataset("Model.fast_dev_run", train_dataset)
        arguments.check_positive("Model.fast_dev_run", "steps", steps)
        return dry_run(self, train_dataset, valid_dataset, int(steps))

    def summary(self, *inputs: Any) -> Summary:
        """A table of the network's layers: name, output shape, parameters and FLOPs of the forward pass (`print` it).

        `inputs`: an example of each input of the network: a shape with the batch axis, such as (1, 28, 28, 1), for
        float32, or an array or Tensor. Without inputs there are no shapes and FLOPs.
        """
        from .summary import summarise

        return summarise(self._parts.network, inputs)

    # -------------------------------------------------------------------------------- evaluation, prediction

    @property
    def _evaluation(self) -> Evaluation:
        return Evaluation(self._parts, self._eval_network, self._eval_indexes, self._cached)

    def eval(
        self, valid_dataset: Dataset, callbacks: Any = None, dataset_sink_mode: bool = True
    ) -> dict[str, Any]:
        """The metrics over one pass of `valid_dataset`, by name; the network runs in inference mode.

        In sink mode the whole pass is one native call, if the data is in memory, all metrics say what to sum (the
        built-in ones do) and no callback listens to single batches; otherwise every batch is one.
        """
        valid_dataset = arguments.check_dataset("Model.eval", valid_dataset)
        arguments.check_metrics("Model.eval", self._metrics)
        users = as_callbacks(callbacks)
        return self._evaluation.run(valid_dataset, self._metrics, users, bool(dataset_sink_mode))

    def predict(self, *predict_data: Any) -> Any:
        """The network's output for these inputs (Tensors or arrays), in inference mode; compiled once per shape."""
        from ..frontend.tensor import Tensor

        inputs = [value if isinstance(value, Tensor) else Tensor(value) for value in predict_data]
        with inference(self._parts.network):
            key = ("predict", tuple(value.type for value in inputs))
            compiled = self._cached(key, lambda: Forward(trace(self._parts.network, inputs, name="predict")))
            return compiled.run(*(array_of(value) for value in inputs))
