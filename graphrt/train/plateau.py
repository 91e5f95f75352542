"""Callbacks that watch a number and act when it stops improving: EarlyStopping, ReduceLROnPlateau.

In: the loss or the evaluation results after every epoch. Out: the end of training, or smaller learning rates.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_source, warn_user
from .hooks import Callback, CallbackParameters, RunContext
from .rates import adjustable_rates, rate_value
from .report import emit, last_loss

# metrics for which more is better, by a part of their name
_GROWING = (
    "acc",
    "f1",
    "precision",
    "recall",
    "auc",
    "dice",
    "cosine",
    "fbeta",
    "sensitivity",
    "specificity",
)


class Monitor(Callback):
    """Base of callbacks that watch one number.

    `monitor`: "loss" (of the epoch's last step), "eval_loss" (of the validation data), or the name of a metric that
    `Model.fit` evaluates; epochs without an evaluation do not count. `mode`: "min" or "max", what is better; "auto"
    takes "max" for accuracies and other metrics known to grow. `min_delta`: what changes less is no
    improvement. `patience`: for how many epochs without improvement nothing happens. `verbose`: print what is
    done.
    """

    def __init__(self, monitor: str, mode: str, min_delta: float, patience: int, verbose: bool):
        kind = type(self).__name__
        _check(kind, isinstance(monitor, str) and bool(monitor), "monitor", "the name of a metric", monitor)
        _check(kind, mode in ("auto", "min", "max"), "mode", "'auto', 'min' or 'max'", mode)
        _check(kind, _number(min_delta) and min_delta >= 0, "min_delta", "a number >= 0", min_delta)
        _check(kind, type(patience) is int and patience >= 0, "patience", "an int >= 0", patience)
        self.monitor, self.patience, self.verbose = monitor, patience, bool(verbose)
        self.min_delta = float(min_delta)
        growing = any(part in monitor.lower() for part in _GROWING)
        self.mode = mode if mode != "auto" else "max" if growing else "min"
        self.wait, self.best = 0, self._worst()

    def _worst(self) -> float:
        return np.inf if self.mode == "min" else -np.inf

    def state_dict(self) -> dict[str, Any]:
        return {"wait": self.wait, "best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.wait, self.best = state["wait"], state["best"]

    def improves(self, value: float, reference: float) -> bool:
        """Whether `value` is better than `reference` by more than `min_delta`."""
        difference = reference - value if self.mode == "min" else value - reference
        return bool(difference > self.min_delta)

    def begin(self, run_context: RunContext) -> None:
        self.wait, self.best = 0, self._worst()
        parameters = run_context.original_args()
        if self.monitor != "loss" and parameters.get("valid_dataset") is None:
            warn_user(
                f"{type(self).__name__} watches {self.monitor!r}, but nothing is evaluated while training: it will never "
                "act. Pass a valid_dataset to Model.fit, or monitor='loss'."
            )

    def current(self, parameters: CallbackParameters) -> float | None:
        """The watched number after this epoch; None if it was not evaluated. ArgumentError for an unknown name."""
        if self.monitor == "loss":
            return float(last_loss(parameters.net_outputs))
        results = parameters.get("eval_results") or {}
        if not results:
            return None
        if self.monitor not in results:
            raise ArgumentError(
                f"{type(self).__name__}: there is no metric named {self.monitor!r}", at=user_source(),
                expected=", ".join(["loss", "eval_loss", *(name for name in results if name != "eval_loss")]),
                given=f"monitor={self.monitor!r}", fix="add it to Model(metrics=...), or monitor one of these",
            )  # fmt: skip
        value = np.asarray(results[self.monitor])
        if value.size != 1:
            raise ArgumentError(
                f"{type(self).__name__}: {self.monitor!r} is not one number", at=user_source(), expected="a number",
                given=f"shape {list(value.shape)}", fix="monitor a metric that gives a number",
            )  # fmt: skip
        return float(value.reshape(()))


class EarlyStopping(Monitor):
    """Ends training when the monitored number has not improved for `patience` epochs.

    `baseline`: improvements that do not reach it do not reset the waiting. `restore_best_weights`: put back the
    network's parameters of the best epoch. `verbose`: print when it stops. Other arguments: see `Monitor`.
    `stopped_epoch`: the epoch it stopped after, 0 if it did not.
    """

    def __init__(
        self,
        monitor: str = "eval_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: bool = False,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
    ):
        super().__init__(monitor, mode, min_delta, patience, verbose)
        _check(
            "EarlyStopping", baseline is None or _number(baseline), "baseline", "a number or None", baseline
        )
        self.baseline, self.restore_best_weights = baseline, bool(restore_best_weights)
        self.stopped_epoch, self.best_epoch = 0, 0
        self._best_weights: dict[str, Any] = {}  # arrays by parameter name

    def begin(self, run_context: RunContext) -> None:
        super().begin(run_context)
        self.stopped_epoch, self.best_epoch, self._best_weights = 0, 0, {}
        self._run_context = run_context

    def state_dict(self) -> dict[str, Any]:
        more = {"stopped_epoch": self.stopped_epoch, "best_epoch": self.best_epoch}
        return super().state_dict() | more | {"best_weights": self._best_weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.best_epoch, self._best_weights = state["best_epoch"], state["best_weights"]
        if state["stopped_epoch"] and self._is_over():  # with more patience than it had, training goes on
            self.stopped_epoch = state["stopped_epoch"]
            self._run_context.request_stop()

    def _is_over(self) -> bool:
        return self.wait >= max(self.patience, 1)

    def on_train_epoch_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        value = self.current(parameters)
        if value is None:
            return
        self.wait += 1
        if self.improves(value, self.best):
            self.best, self.best_epoch = value, parameters.cur_epoch_num
            if self.restore_best_weights:
                self._best_weights = {p.name: p.asnumpy() for p in _weights(parameters)}
            if self.baseline is None or self.improves(value, self.baseline):
                self.wait = 0
        if self._is_over():
            self.stopped_epoch = parameters.cur_epoch_num
            run_context.request_stop()
            for parameter in _weights(parameters) if self._best_weights else ():
                parameter.set_data(self._best_weights[parameter.name])
            if self._best_weights and self.verbose:
                emit(f"Restoring the weights of the best epoch, {self.best_epoch}.")

    def on_train_end(self, run_context: RunContext) -> None:
        if self.stopped_epoch and self.verbose:
            emit(f"Epoch {self.stopped_epoch:05d}: early stopping")


class ReduceLROnPlateau(Monitor):
    """Multiplies the learning rate by `factor` (< 1) when the monitored number has not improved for `patience` epochs.

    `cooldown`: epochs to wait after a reduction before counting again. `min_lr`: it goes no lower. `verbose`: print
    reductions. The optimizer's learning rate must be a number, not a schedule; nothing is compiled anew. Other
    arguments: see `Monitor`.
    """

    def __init__(
        self,
        monitor: str = "eval_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: bool = False,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0,
    ):
        super().__init__(monitor, mode, min_delta, patience, verbose)
        kind = "ReduceLROnPlateau"
        _check(kind, _number(factor) and 0 <= factor < 1, "factor", "a number in [0, 1)", factor)
        _check(kind, type(cooldown) is int and cooldown >= 0, "cooldown", "an int >= 0", cooldown)
        _check(kind, _number(min_lr) and min_lr >= 0, "min_lr", "a number >= 0", min_lr)
        self.factor, self.cooldown, self.min_lr = float(factor), cooldown, float(min_lr)
        self.cooldown_counter = 0

    def begin(self, run_context: RunContext) -> None:
        super().begin(run_context)
        self.cooldown_counter = 0
        adjustable_rates("ReduceLROnPlateau", run_context.original_args())

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"cooldown_counter": self.cooldown_counter}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.cooldown_counter = state["cooldown_counter"]

    def on_train_epoch_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        value = self.current(parameters)
        if value is None:
            return
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.wait = 0
        if self.improves(value, self.best):
            self.best, self.wait = value, 0
        elif self.cooldown_counter == 0:
            self.wait += 1
            if self.wait >= self.patience and self._reduce(parameters):
                self.cooldown_counter, self.wait = self.cooldown, 0

    def _reduce(self, parameters: CallbackParameters) -> bool:
        """Multiply every scalar learning rate by `factor`, down to `min_lr`; whether any changed."""
        changed = False
        for rate in adjustable_rates("ReduceLROnPlateau", parameters):
            old = rate_value(rate)
            new = max(old * self.factor, self.min_lr)
            if new < old:
                rate.set_data(new)
                changed = True
                if self.verbose:
                    epoch = parameters.cur_epoch_num
                    emit(
                        f"Epoch {epoch:05d}: ReduceLROnPlateau reducing learning rate to {rate_value(rate):g}."
                    )
        return changed


def _weights(parameters: CallbackParameters) -> list[Any]:
    """The network's parameters; a network that is a whole training step has the optimizer's among them."""
    return list(parameters.train_network.get_parameters())


def _number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _check(kind: str, right: bool, name: str, expected: str, given: Any) -> None:
    if not right:
        raise ArgumentError(
            f"{kind}: {name} is not usable", at=user_source(), expected=expected, given=f"{name}={given!r}"
        )
