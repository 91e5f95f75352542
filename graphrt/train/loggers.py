"""Callbacks that write a run down: CSVLogger, JSONLogger, TensorBoardLogger (SummaryCollector).

In: losses, learning rate and evaluation results, from the RunContext. Out: files other programs read. All of them
write between native calls; the losses of the steps inside a sink are written when it returns.
"""

from __future__ import annotations

import csv
import json
import os
import time
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ..errors import ArgumentError
from ..frontend.location import user_source
from .hooks import Callback, CallbackParameters, RunContext
from .rates import rate_value, scalar_rates


class _EpochLog(Callback):
    """Base: gathers one record per epoch and hands it to `write_epoch`."""

    def __init__(self) -> None:
        self._sum, self._count, self._last = 0.0, 0, float("nan")  # of the losses of this epoch
        self._started = 0.0

    def write_epoch(self, record: dict[str, Any]) -> None:
        """Write the entries of one epoch."""
        raise NotImplementedError

    def epoch_begin(self, run_context: RunContext) -> None:
        self._sum, self._count, self._started = 0.0, 0, time.perf_counter()

    def step_end(self, run_context: RunContext) -> None:
        losses = run_context.original_args().losses
        self._sum += float(losses.sum(dtype=np.float64))
        self._count += len(losses)
        self._last = float(losses[-1])

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum, "count": self._count, "last": self._last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sum, self._count, self._last = state["sum"], state["count"], state["last"]

    def epoch_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        record: dict[str, Any] = {
            "epoch": int(parameters.cur_epoch_num),
            "step": int(parameters.cur_step_num),
            "loss": self._sum / max(1, self._count),
            "last_loss": self._last,
            "seconds": time.perf_counter() - self._started,
        }
        record |= _rates(parameters)
        for name, value in (parameters.get("eval_results") or {}).items():
            plain = np.asarray(value).tolist()
            record[f"eval_{name}" if name in record else name] = plain
        self.write_epoch(record)


def _rates(parameters: CallbackParameters) -> dict[str, float]:
    """The learning rates that are plain numbers: "learning_rate", "learning_rate_1", ..."""
    values = [rate_value(rate) for rate in scalar_rates(parameters)]
    return {f"learning_rate_{k}" if k else "learning_rate": value for k, value in enumerate(values)}


class _TextLog(_EpochLog):
    """Base: the records go to a text file, which is open while training runs.

    Its folder is made. A resumed run continues its file from where it was at the checkpoint, `append` any file. Raises
    ArgumentError if it cannot be written."""

    _file: TextIO | None = None

    def __init__(self, filename: Any, append: bool):
        super().__init__()
        self._filename, self._append = filename, bool(append)

    def begin(self, run_context: RunContext) -> None:
        append = self._append or run_context.original_args().get("resumed_from") is not None
        try:
            target = Path(os.fspath(self._filename))
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = open(target, "a" if append else "w", encoding="utf-8", newline="")  # noqa: SIM115 (see `end`)
        except (OSError, TypeError) as error:
            raise ArgumentError(
                f"{type(self).__name__}: the file cannot be written", at=user_source(), given=repr(self._filename),
                expected=str(error),
            ) from None  # fmt: skip

    def end(self, run_context: RunContext) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        if self._file is not None:
            self._file.flush()
            state["bytes"] = os.fstat(self._file.fileno()).st_size
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        if self._file is not None and os.fstat(self._file.fileno()).st_size > state["bytes"]:
            self._file.truncate(state["bytes"])  # what was written after the checkpoint comes again


class CSVLogger(_TextLog):
    """Writes a line per epoch to a CSV file: epoch, step, loss (mean), last_loss, seconds, learning_rate, metrics.

    `filename`: written anew by each run, continued by a resumed one and with `append=True`. The header has the columns of the first
    epoch; a metric that `fit` evaluates only in later epochs needs `columns`, the names of all columns
    wanted. `separator`: between the columns.
    """

    def __init__(
        self, filename: Any, separator: str = ",", append: bool = False, columns: list[str] | None = None
    ):
        super().__init__(filename, append)
        if not isinstance(separator, str) or len(separator) != 1:
            raise ArgumentError(
                "CSVLogger: separator must be one character", at=user_source(), given=repr(separator)
            )
        self._separator = separator
        self._columns = list(columns) if columns else None
        self._writer: Any = None

    def begin(self, run_context: RunContext) -> None:
        super().begin(run_context)
        self._writer = None

    def write_epoch(self, record: dict[str, Any]) -> None:
        assert self._file is not None
        if self._writer is None:
            self._writer = csv.DictWriter(
                self._file, self._columns or list(record), delimiter=self._separator, lineterminator="\n",
                extrasaction="ignore",
            )  # fmt: skip
            if self._file.tell() == 0:
                self._writer.writeheader()
        self._writer.writerow(record)
        self._file.flush()


class JSONLogger(_TextLog):
    """Writes a JSON object per epoch, one per line (JSON Lines), with the entries of `CSVLogger`.

    `per_step=True`: before it a line `{"epoch": 1, "step": 17, "loss": 0.3}` for every step. `append`: continue the
    file, as a resumed run does. NaN and infinity are written as null. `filename`: the file.
    """

    def __init__(self, filename: Any, append: bool = False, per_step: bool = False):
        super().__init__(filename, append)
        self._steps = bool(per_step)

    def step_end(self, run_context: RunContext) -> None:
        super().step_end(run_context)
        parameters = run_context.original_args()
        if self._steps:
            first = parameters.cur_step_num - len(parameters.losses) + 1
            for step, loss in enumerate(parameters.losses.tolist(), first):
                self._line({"epoch": parameters.cur_epoch_num, "step": step, "loss": loss})

    def write_epoch(self, record: dict[str, Any]) -> None:
        self._line(record)
        assert self._file is not None
        self._file.flush()

    def _line(self, record: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(_finite(record), allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


class TensorBoardLogger(_EpochLog):
    """Writes event files for TensorBoard: "step/loss" for every step, and per epoch "epoch/loss",
    "epoch/learning_rate" and "epoch/<metric>".

    `log_dir`: their folder. `every`: of the steps, write each so-manieth. Needs tensorboardX; raises ArgumentError
    without it.
    """

    def __init__(self, log_dir: Any = "runs", every: int = 1):
        super().__init__()
        if type(every) is not int or every < 1:
            raise ArgumentError(
                "TensorBoardLogger: every must be a positive int", at=user_source(), given=repr(every)
            )
        try:
            import tensorboardX
        except ImportError:
            raise ArgumentError(
                f"{type(self).__name__}: tensorboardX is not installed", at=user_source(),
                fix='install it: pip install "graphrt[tensorboard]"; or use JSONLogger, which needs nothing',
            ) from None  # fmt: skip
        self._make = tensorboardX.SummaryWriter
        self._log_dir, self._every = str(log_dir), every
        self._writer: Any = None

    def begin(self, run_context: RunContext) -> None:
        self._writer = self._make(self._log_dir)

    def step_end(self, run_context: RunContext) -> None:
        super().step_end(run_context)
        parameters = run_context.original_args()
        first = parameters.cur_step_num - len(parameters.losses) + 1
        for step in range(first + (-first) % self._every, parameters.cur_step_num + 1, self._every):
            self._writer.add_scalar("step/loss", float(parameters.losses[step - first]), step)

    def write_epoch(self, record: dict[str, Any]) -> None:
        for name, value in record.items():
            if name not in ("epoch", "step") and isinstance(value, (int, float)):
                self._writer.add_scalar(f"epoch/{name}", value, record["epoch"])
        self._writer.flush()

    def end(self, run_context: RunContext) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class SummaryCollector(TensorBoardLogger):
    """TensorBoardLogger under MindSpore's name: losses every `collect_freq` steps, learning rate and
    metrics. `summary_dir`: the folder of the event files."""

    def __init__(self, summary_dir: Any, collect_freq: int = 10):
        super().__init__(summary_dir, collect_freq)
