"""Training loops of one's own over sinks: `DatasetHelper`, `connect_network_with_dataset`, `data_sink`.

    helper = DatasetHelper(dataset, dataset_sink_mode=True, sink_size=100, epoch_num=10)
    net = connect_network_with_dataset(train_step_cell, helper)
    for epoch in range(10):
        for inputs in helper:             # once per sink; inputs is empty: the native loop reads the data itself
            loss = net(*inputs)           # 100 training steps; the loss of the last one

In: a Cell or function that is a whole training step on a batch, a dataset. Out: the same, running many steps per call.
The steps are those of `Model` on that network (train/source.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..context import get_context
from ..dataset.pipeline import Dataset
from ..errors import ArgumentError
from ..frontend.cell import Cell
from ..frontend.location import user_source
from ..frontend.tensor import Tensor
from ..runtime.workers import interrupts_deferred
from .arguments import check_dataset, check_positive, check_sink_size
from .feed import empty_dataset
from .model import Model
from .monitors import non_finite_loss
from .source import StepSource, watching


class DatasetHelper:
    """What to loop over: in sink mode one empty tuple per loop, otherwise the batches of one pass as tuples of Tensors.

    `sink_size`: steps per sink; -1 takes one pass over the dataset. `epoch_num`: how often the data is looped over
    (outside sink mode later loops are empty, as MindSpore has it; in sink mode there is no limit). Raises ArgumentError
    for unusable arguments.
    """

    def __init__(
        self, dataset: Dataset, dataset_sink_mode: bool = True, sink_size: int = -1, epoch_num: int = 1
    ):
        dataset = check_dataset("DatasetHelper", dataset)
        check_sink_size("DatasetHelper", sink_size)
        if not isinstance(dataset_sink_mode, bool):
            raise ArgumentError(
                "DatasetHelper: dataset_sink_mode must be True or False",
                at=user_source(),
                given=repr(dataset_sink_mode),
            )
        check_positive("DatasetHelper", "epoch_num", epoch_num)
        self.dataset, self.dataset_sink_mode = dataset, dataset_sink_mode
        self._sink_size = int(sink_size)
        self._batches = (
            None if dataset_sink_mode else dataset.create_tuple_iterator(num_epochs=int(epoch_num))
        )

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        if self._batches is None:
            yield ()
        else:
            yield from self._batches

    def sink_size(self) -> int:
        """Steps per turn of the loop: 1 outside sink mode."""
        if not self.dataset_sink_mode:
            return 1
        return self.dataset.get_dataset_size() if self._sink_size == -1 else self._sink_size

    def types_shapes(self) -> tuple[list[np.dtype], list[list[int]]]:
        """The element type and the shape of every column of a batch."""
        return self.dataset.output_types(), self.dataset.output_shapes()

    def stop_send(self) -> None:
        """Nothing is sent anywhere: the native loop reads the data in place. Present for compatibility."""

    continue_send = release = stop_send


class _Sinks:
    """Runs sinks of a training step; keeps its place in the data between them."""

    def __init__(self, step: Any, dataset: Dataset, sink_size: int):
        self._step, self._dataset, self._sink_size = step, dataset, sink_size
        self._model = Model(step)
        self._source: StepSource | None = None
        self._key: Any = None
        self._cells: dict[int, Cell] = {}  # that ran inside a step which is a function
        self._flags: tuple[Any, ...] = ()
        self._calls = 0

    def run(self) -> Tensor:
        """One sink; the loss of its last step (the mean where the step returns several, the first of a tuple).

        Raises NonFiniteError when a loss is NaN or infinite, KeyboardInterrupt after Ctrl-C.
        """
        source = self._current_source()
        self._calls += 1
        whole_pass = self._sink_size == -1
        if whole_pass:
            source.begin_epoch()
        steps = source.steps_per_epoch if whole_pass else self._sink_size
        with interrupts_deferred(source.stop) as interruption:
            result = source.run(steps, watching(interruption), whole_pass)
        if not isinstance(self._step, Cell):  # known now that it has been traced
            self._cells = source.cells
            self._flags = self._flags_now()
        if result.status == "interrupted" or (interruption.requested and result.status == "finished"):
            raise KeyboardInterrupt(
                f"interrupted after {result.done} steps of a sink; they are in the parameters"
            )
        if result.status == "non_finite":
            raise non_finite_loss(result.losses[-1], self._calls, result.done)
        source.raise_failure()
        if result.done == 0:
            raise empty_dataset()
        return Tensor(result.losses[-1])

    def _current_source(self) -> StepSource:
        """The steps as they are to be compiled now: `set_train` may have been called since the last sink."""
        if self._source is not None and self._flags != self._flags_now():
            self._model, self._key = Model(self._step), None
        key = (self._model._parts.key(), get_context("engine"), get_context("threads"))
        if self._source is None or key != self._key:
            position = None if self._source is None else self._source.position
            if self._source is not None:
                self._source.close()
            self._source, self._key = self._model._source(self._dataset), key
            if position is not None:
                self._source.restore(position)
        return self._source

    def _flags_now(self) -> tuple[Any, ...]:
        return tuple(cell.training for cell in self._cells.values())


class ConnectedNetwork(Cell):
    """A training step connected with a dataset: called without arguments it runs a sink, with a batch one step."""

    def __init__(self, network: Any, helper: DatasetHelper):
        super().__init__(auto_prefix=False)
        self.network = network
        self._sinks = _Sinks(network, helper.dataset, helper._sink_size)

    def __call__(self, *inputs: Any) -> Any:
        return self.network(*inputs) if inputs else self._sinks.run()


def connect_network_with_dataset(network: Any, dataset_helper: DatasetHelper) -> Any:
    """`network` (a whole training step, such as `nn.TrainOneStepCell`) reading its batches from the helper's dataset.

    In sink mode the result is called without arguments and runs `sink_size` steps natively; it returns the loss of the
    last one, a float32 scalar. The place in the data is kept between calls and wraps around. `set_train()` may be
    called later. Outside sink mode the result is `network` itself. Raises ArgumentError for other arguments.
    `dataset_helper`: the DatasetHelper whose loop will call the returned network.
    """
    if not isinstance(dataset_helper, DatasetHelper):
        raise ArgumentError(
            "connect_network_with_dataset: a DatasetHelper is needed", at=user_source(),
            given=type(dataset_helper).__name__, fix="connect_network_with_dataset(net, DatasetHelper(dataset))",
        )  # fmt: skip
    if not callable(network) or isinstance(network, type):
        raise ArgumentError(
            "connect_network_with_dataset: a Cell is needed", at=user_source(), given=repr(network)
        )
    return ConnectedNetwork(network, dataset_helper) if dataset_helper.dataset_sink_mode else network


def data_sink(
    fn: Callable[..., Any],
    dataset: Dataset,
    sink_size: int = 1,
    jit_config: object = None,
    input_signature: object = None,
) -> Callable[[], Tensor]:
    """`fn`, a training step on the columns of a batch, as a function without arguments that runs `sink_size` steps.

        def train_step(data, label):
            (loss, _), grads = grad_fn(data, label)
            optimizer(grads)
            return loss
        sink = data_sink(train_step, dataset, sink_size=100)
        loss = sink()          # 100 steps

    The result returns the loss of the last step, a float32 scalar (the first output of `fn`). The place in the data is
    kept between calls and wraps around; `sink_size=-1` is one pass. What `fn` reads (globals, attributes) is fixed by
    the first call, except the training mode of Cells. jit_config and input_signature have no effect.
    """
    if not callable(fn) or isinstance(fn, type):
        raise ArgumentError("data_sink: a function is needed", at=user_source(), given=repr(fn))
    dataset = check_dataset("data_sink", dataset)
    check_sink_size("data_sink", sink_size)
    return _Sinks(fn, dataset, int(sink_size)).run
