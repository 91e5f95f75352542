"""Callbacks: code of the user (and of graphrt) that runs between sinks, steps and epochs.

In: a `RunContext`, whose `original_args()` says where training is. Out: whatever the callback does; `request_stop()`
ends training. The ready-made ones are in monitors.py, progress.py, plateau.py, rates.py, history.py and loggers.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_source


class CallbackParameters(dict):
    """Where training is; entries are attributes too (`parameters.cur_epoch_num` or `parameters["cur_epoch_num"]`).

    train_network, eval_network, network, loss_fn, optimizer, metrics, train_dataset, valid_dataset, list_callback;
    mode ("train" or "eval"), dataset_sink_mode, sink_size, parallel_mode ("stand_alone"), device_number (1),
    epoch_num (epochs asked for), batch_num (steps per epoch, -1 while unknown), cur_epoch_num (from 1), cur_step_num
    (steps done by this call of train), cur_step_in_epoch, net_outputs (loss of the last step, a Tensor; while
    evaluating: loss, output and label of the batch), losses (float32 array: every step since the last step_end),
    sink_losses (every step of this epoch so far, while a sink runs), eval_results (of this epoch's evaluation, a dict).
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(
                f"callback parameters have no {name!r}; there are {', '.join(self)}"
            ) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


class RunContext:
    """Handed to every callback."""

    def __init__(self, original_args: CallbackParameters):
        self._parameters = original_args
        self._stop_requested = False

    def original_args(self) -> CallbackParameters:
        """Where training is."""
        return self._parameters

    def request_stop(self) -> None:
        """End training after the present step, in sink mode after the present sink; if there is none, after the next
        one (a resumed run: at once). The evaluation and the callbacks that end an epoch still run. The next call of
        `train` knows nothing of it."""
        self._stop_requested = True

    def get_stop_requested(self) -> bool:
        """Whether some callback asked to stop."""
        return self._stop_requested


class Callback:
    """Base class. Override any of the methods, under their short or their `on_train_...` names.

    In sink mode step_begin and step_end run once per sink, with the last step's loss in `net_outputs` and all losses
    in `losses`. With `per_step = True` step_end runs for every step of the sink after it has returned (parameters are
    then those after the whole sink).
    """

    per_step = False
    runs_last = False  # among the callbacks of a run: sees what the others have done (ModelCheckpoint)
    # step_end only takes down what was done: it runs first, and Ctrl-C does not come in between
    records = False

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs of this callback: numbers, strings, arrays, lists and dicts (tuples come back as
        lists). Checkpoints keep it; `begin` has run again when `load_state_dict` gets it back."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""

    def begin(self, run_context: RunContext) -> None:
        """Before training."""

    def epoch_begin(self, run_context: RunContext) -> None:
        """Before each epoch."""

    def step_begin(self, run_context: RunContext) -> None:
        """Before each step (each sink)."""

    def step_end(self, run_context: RunContext) -> None:
        """After each step (each sink)."""

    def epoch_end(self, run_context: RunContext) -> None:
        """After each epoch."""

    def end(self, run_context: RunContext) -> None:
        """After training, also when it was interrupted or failed."""

    def sink_progress(self, run_context: RunContext) -> None:
        """A few times a second while a sink runs."""

    def on_train_begin(self, run_context: RunContext) -> None:
        """`begin` under its long name."""
        self.begin(run_context)

    def on_train_epoch_begin(self, run_context: RunContext) -> None:
        """`epoch_begin` under its long name."""
        self.epoch_begin(run_context)

    def on_train_step_begin(self, run_context: RunContext) -> None:
        """`step_begin` under its long name."""
        self.step_begin(run_context)

    def on_train_step_end(self, run_context: RunContext) -> None:
        """`step_end` under its long name."""
        self.step_end(run_context)

    def on_train_epoch_end(self, run_context: RunContext) -> None:
        """`epoch_end` under its long name."""
        self.epoch_end(run_context)

    def on_train_end(self, run_context: RunContext) -> None:
        """`end` under its long name."""
        self.end(run_context)

    def on_eval_begin(self, run_context: RunContext) -> None:
        """Before evaluation."""

    def on_eval_epoch_begin(self, run_context: RunContext) -> None:
        """Before the pass over the evaluation data."""

    def on_eval_step_begin(self, run_context: RunContext) -> None:
        """Before each batch of the evaluation."""

    def on_eval_step_end(self, run_context: RunContext) -> None:
        """After each batch of the evaluation."""

    def on_eval_epoch_end(self, run_context: RunContext) -> None:
        """After the pass over the evaluation data."""

    def on_eval_end(self, run_context: RunContext) -> None:
        """After evaluation; `eval_results` holds the metrics."""


class LambdaCallback(Callback):
    """A callback made of functions, each called with the RunContext:
    `LambdaCallback(on_train_epoch_end=print)`. The functions: `on_train_begin`, `on_train_epoch_begin`,
    `on_train_step_begin`, `on_train_step_end`, `on_train_epoch_end`, `on_train_end`, and `on_eval_begin`,
    `on_eval_epoch_begin`, `on_eval_step_begin`, `on_eval_step_end`, `on_eval_epoch_end`, `on_eval_end`;
    see `Callback` for when they are called."""

    def __init__(
        self,
        on_train_epoch_begin: Callable[[RunContext], Any] | None = None,
        on_train_epoch_end: Callable[[RunContext], Any] | None = None,
        on_train_step_begin: Callable[[RunContext], Any] | None = None,
        on_train_step_end: Callable[[RunContext], Any] | None = None,
        on_train_begin: Callable[[RunContext], Any] | None = None,
        on_train_end: Callable[[RunContext], Any] | None = None,
        on_eval_epoch_begin: Callable[[RunContext], Any] | None = None,
        on_eval_epoch_end: Callable[[RunContext], Any] | None = None,
        on_eval_step_begin: Callable[[RunContext], Any] | None = None,
        on_eval_step_end: Callable[[RunContext], Any] | None = None,
        on_eval_begin: Callable[[RunContext], Any] | None = None,
        on_eval_end: Callable[[RunContext], Any] | None = None,
    ):
        given = {name: value for name, value in locals().items() if name.startswith("on_")}
        for name, function in given.items():
            if function is None:
                continue
            if not callable(function):
                raise ArgumentError(
                    f"LambdaCallback: {name} must be a function of the run context", at=user_source(),
                    given=repr(function),
                )  # fmt: skip
            setattr(self, name, function)


class CallbackList:
    """Calls the same method of several callbacks in order."""

    def __init__(self, callbacks: Iterable[Callback]):
        self.callbacks = tuple(callbacks)
        self._begun: list[Callback] = []

    def call(self, method: str, run_context: RunContext) -> None:
        """`method` of every callback."""
        for callback in self.callbacks:
            getattr(callback, method)(run_context)

    def begin(self, run_context: RunContext) -> None:
        """The begin of training."""
        for callback in self.callbacks:
            self._begun.append(callback)
            callback.on_train_begin(run_context)

    def end(self, run_context: RunContext) -> None:
        """The end of training for every callback it has begun for, also where one of them fails; the first failure is
        raised when all have ended."""
        failure: BaseException | None = None
        while self._begun:
            try:
                self._begun.pop(0).on_train_end(run_context)
            except BaseException as error:
                failure = error if failure is None or isinstance(error, SystemExit) else failure
        if failure is not None:
            raise failure

    def record(self, run_context: RunContext) -> None:
        """The end of a sink for those that only take it down."""
        for callback in self.callbacks:
            if callback.records:
                callback.on_train_step_end(run_context)

    def step_end(self, run_context: RunContext, losses: np.ndarray) -> None:
        """The end of a sink of `len(losses)` steps that the parameters already describe as done, for all others."""
        from ..frontend.tensor import Tensor

        parameters = run_context.original_args()
        for callback in self.callbacks:
            if callback.records:
                continue
            if not callback.per_step or len(losses) <= 1:
                callback.on_train_step_end(run_context)
                continue
            after = dict(parameters)
            for k in range(len(losses)):
                back = len(losses) - 1 - k
                parameters.cur_step_num = after["cur_step_num"] - back
                parameters.cur_step_in_epoch = after["cur_step_in_epoch"] - back
                parameters.losses = losses[k : k + 1]
                parameters.net_outputs = Tensor(losses[k])
                callback.on_train_step_end(run_context)
            parameters.update(after)

    def overrides(self, *methods: str) -> bool:
        """Whether some callback does anything in one of these methods."""
        return any(
            method in vars(callback) or getattr(type(callback), method) is not getattr(Callback, method)
            for callback in self.callbacks
            for method in methods
        )

    @property
    def watches_progress(self) -> bool:
        """Whether some callback wants `sink_progress`."""
        return self.overrides("sink_progress")


def as_callbacks(value: Any) -> list[Callback]:
    """The user's `callbacks` argument: None, a Callback, or a list of them; else ArgumentError."""
    items = [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]
    for item in items:
        if not isinstance(item, Callback):
            fix = f"make an object of it: {item.__name__}()" if isinstance(item, type) else None
            raise ArgumentError(
                "callbacks: every element must be a Callback", at=user_source(), given=repr(item), fix=fix
            )
    return items
