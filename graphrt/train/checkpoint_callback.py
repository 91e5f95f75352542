"""ModelCheckpoint: saves the whole state of a training run while it goes on, so that it can be resumed.

In: where training is, from the RunContext. Out: files in a directory, see checkpoint_store.py for their form.
"""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentError, CheckpointError
from ..frontend.cell import Cell
from ..frontend.location import user_source
from . import checkpoint_store, durable, training_state, weights_file
from .checkpoint import as_array
from .checkpoint_store import Manifest
from .hooks import Callback, CallbackParameters, RunContext
from .training_state import Snapshot

TERMINATED = 128 + signal.SIGTERM  # exit status of a process that ended because of SIGTERM


class CheckpointConfig:
    """When ModelCheckpoint saves, and what it keeps.

    `save_checkpoint_steps`: save when so many steps have passed since the last time (0: see the next); in sink mode
    that is looked at after each sink. `save_checkpoint_seconds`: save when so many seconds have passed; without effect
    beside save_checkpoint_steps. `keep_checkpoint_max`: delete all but the newest so many (0: see the next).
    `keep_checkpoint_per_n_minutes`: keep one per so many minutes, and the newest; without effect beside
    keep_checkpoint_max. `async_save`: write in a thread; the arrays are copied before training goes on.
    `saved_network`: save only the parameters of this Cell; training cannot be resumed from such files. `append_info`:
    a list of "epoch_num", "step_num" and dicts name -> number, saved beside the parameters. `exception_save`: also save
    when training ends by an error, Ctrl-C or SIGTERM (which then ends the program with status 143); the state is that
    after the last whole step. Nothing is saved while the loss is NaN or infinite.

    integrated_save, enc_mode, crc_check, remove_redundancy and format have no effect; `enc_key` raises ArgumentError.
    """

    def __init__(
        self,
        save_checkpoint_steps: int = 1,
        save_checkpoint_seconds: int = 0,
        keep_checkpoint_max: int = 5,
        keep_checkpoint_per_n_minutes: int = 0,
        integrated_save: bool = True,
        async_save: bool = False,
        saved_network: Cell | None = None,
        append_info: Sequence[str | dict[str, Any]] | None = None,
        enc_key: object = None,
        enc_mode: str = "AES-GCM",
        exception_save: bool = False,
        crc_check: bool = False,
        remove_redundancy: bool = False,
        format: str = "safetensors",
    ):
        counts = {
            "save_checkpoint_steps": save_checkpoint_steps, "save_checkpoint_seconds": save_checkpoint_seconds,
            "keep_checkpoint_max": keep_checkpoint_max, "keep_checkpoint_per_n_minutes": keep_checkpoint_per_n_minutes,
        }  # fmt: skip
        for name, value in counts.items():
            if value is not None and (type(value) is not int or value < 0):
                raise ArgumentError(
                    f"CheckpointConfig: {name} must be an int >= 0", at=user_source(), given=repr(value)
                )
        if not save_checkpoint_steps and not save_checkpoint_seconds:
            raise ArgumentError(
                "CheckpointConfig: nothing says when to save", at=user_source(),
                expected="save_checkpoint_steps > 0 or save_checkpoint_seconds > 0", given="0 for both",
            )  # fmt: skip
        if enc_key is not None:
            raise ArgumentError(
                "CheckpointConfig: files are not encrypted",
                at=user_source(),
                given="enc_key",
                fix="leave it out",
            )
        if saved_network is not None and not isinstance(saved_network, Cell):
            raise ArgumentError(
                "CheckpointConfig: saved_network must be a Cell",
                at=user_source(),
                given=type(saved_network).__name__,
            )
        for entry in append_info or ():
            if not isinstance(entry, dict) and entry not in ("epoch_num", "step_num"):
                raise ArgumentError(
                    "CheckpointConfig: append_info has an unknown entry", at=user_source(),
                    expected='"epoch_num", "step_num" or a dict name -> number', given=repr(entry),
                )  # fmt: skip
        self.save_checkpoint_steps = save_checkpoint_steps or 0
        self.save_checkpoint_seconds = 0 if save_checkpoint_steps else save_checkpoint_seconds
        self.keep_checkpoint_max = keep_checkpoint_max or 0
        self.keep_checkpoint_per_n_minutes = 0 if keep_checkpoint_max else keep_checkpoint_per_n_minutes or 0
        self.integrated_save, self.async_save = bool(integrated_save), bool(async_save)
        self.saved_network, self.append_info = saved_network, list(append_info or ())
        self.exception_save = bool(exception_save)


class ModelCheckpoint(Callback):
    """Saves `PREFIX-EPOCH_STEP.safetensors` and its manifest in `directory` (default: the working directory).

    Each file holds everything a resumed run needs (`Model.train(..., resume=directory)`), and can be read as weights
    with `load_checkpoint`. A file counts only when it is on disk as a whole; a crash leaves the older ones intact. STEP
    counts from 1 in its epoch. A run that is not resumed leaves the files of an earlier run alone: it takes the prefix
    PREFIX_1, PREFIX_2, ... . Raises CheckpointError during training if a checkpoint cannot be written.
    `config`: a `CheckpointConfig`, by default every step and the five latest files.
    """

    runs_last = True

    def __init__(
        self,
        prefix: str = "CKP",
        directory: str | os.PathLike[str] | None = None,
        config: CheckpointConfig | None = None,
    ):
        if not isinstance(prefix, str) or not prefix or re.search(r"[/\\\0]", prefix) or prefix[0] == ".":
            raise ArgumentError(
                "ModelCheckpoint: prefix must begin file names", at=user_source(),
                expected="a string without / that does not begin with a dot", given=repr(prefix),
            )  # fmt: skip
        if config is not None and not isinstance(config, CheckpointConfig):
            raise ArgumentError(
                "ModelCheckpoint: config must be a CheckpointConfig",
                at=user_source(),
                given=type(config).__name__,
            )
        self._wanted_prefix, self._directory = prefix, Path(directory or ".")
        self._config = config or CheckpointConfig()
        self._prefix, self._number = prefix, 0
        self._saved_step, self._saved_time, self._kept_time = 0, 0.0, -float("inf")
        self._latest: Manifest | None = None
        self._to_discard: Manifest | None = None
        self._writer: _Writer | None = None
        self._terminated = False
        self._previous_handler: Any = None

    @property
    def latest_ckpt_file_name(self) -> str:
        """The path of the checkpoint saved last; empty before the first."""
        return "" if self._latest is None else str(self._latest.path)

    # ------------------------------------------------------------------------------------------------- training

    def begin(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(
                f"ModelCheckpoint: the directory cannot be made: {self._directory}", at=user_source(),
                given=error.strerror or str(error),
            ) from error  # fmt: skip
        resumed: Manifest | None = parameters.get("resumed_from")
        goes_on = resumed is not None and resumed.path.parent.resolve() == self._directory.resolve()
        wanted = resumed.prefix if resumed is not None and goes_on else self._wanted_prefix
        durable.clear_abandoned(self._directory)
        checkpoint_store.clear_unfinished(self._directory, wanted, training_state.KEY)
        found, rejected = checkpoint_store.manifests(self._directory)
        self._number = max((manifest.number for manifest in found), default=0)
        paths = [one.path for one in found] + [one.path for one in rejected]
        taken = {checkpoint_store.prefix_of(path) for path in paths}
        self._prefix, number = wanted, 0
        while self._prefix in taken and not goes_on:
            number += 1
            self._prefix = f"{wanted}_{number}"
        if goes_on and self._config.keep_checkpoint_max:  # a process may have been killed before it did
            checkpoint_store.prune(self._directory, wanted, self._config.keep_checkpoint_max)
        self._saved_step, self._saved_time = parameters.cur_step_num, time.monotonic()
        self._kept_time, self._to_discard = -float("inf"), None
        self._writer = _Writer() if self._config.async_save else None
        self._terminated = False
        if self._config.exception_save:
            self._catch_termination(parameters)

    def step_end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        if self._config.save_checkpoint_steps:
            due = parameters.cur_step_num - self._saved_step >= self._config.save_checkpoint_steps
        else:
            due = time.monotonic() - self._saved_time >= self._config.save_checkpoint_seconds
        # in the middle of an epoch: what its end does would be done again by a run that goes on
        if due or run_context.get_stop_requested():
            self._save(parameters)

    def end(self, run_context: RunContext) -> None:
        parameters = run_context.original_args()
        try:
            if self._saved_step != parameters.cur_step_num and self._wanted_at_end(parameters):
                self._save(parameters)
            if self._writer is not None:
                self._writer.wait()
        finally:
            if self._previous_handler is not None:
                signal.signal(signal.SIGTERM, self._previous_handler)
                self._previous_handler = None
        if self._terminated:
            raise SystemExit(TERMINATED)

    def _wanted_at_end(self, parameters: CallbackParameters) -> bool:
        error = parameters.get("error")
        if error is None:
            return True
        if not self._config.exception_save or isinstance(error, CheckpointError):  # it cannot be written
            return False
        if parameters.get("inside_sink"):
            warnings.warn(
                "ModelCheckpoint: training failed inside a sink; the older checkpoints are the newest state that is "
                "known as a whole",
                stacklevel=2,
            )
            return False
        return True

    # --------------------------------------------------------------------------------------------------- saving

    def _save(self, parameters: CallbackParameters) -> None:
        losses = parameters.get("losses")
        if losses is not None and len(losses) and not np.isfinite(losses[-1]):
            return  # a resumed run would only fail again
        snapshot = self._snapshot(parameters)
        epoch, step = parameters.cur_epoch_num, parameters.cur_step_in_epoch
        path = self._directory / f"{self._prefix}-{epoch}_{step}{weights_file.SUFFIX}"
        self._number += 1
        number = self._number

        def write() -> None:
            content = weights_file.encode(snapshot.arrays, snapshot.metadata())
            self._latest = checkpoint_store.save(path, content, epoch=epoch, step=step, number=number)
            self._thin_out(self._latest)

        if self._writer is None:
            write()
        else:
            self._writer.start(write)
        # not if Ctrl-C came first
        self._saved_step, self._saved_time = parameters.cur_step_num, time.monotonic()

    def _snapshot(self, parameters: CallbackParameters) -> Snapshot:
        config = self._config
        if config.saved_network is not None:
            arrays = {p.name: p.asnumpy() for p in config.saved_network.get_parameters()}
            snapshot = Snapshot(arrays, {})
        else:
            snapshot = parameters.training_state.capture(parameters)
        appended: dict[str, Any] = {}
        for entry in config.append_info:
            if entry == "epoch_num":
                appended["epoch_num"] = np.int32(parameters.cur_epoch_num)
            elif entry == "step_num":
                appended["step_num"] = np.int32(parameters.cur_step_num)
            elif isinstance(entry, dict):
                appended.update(entry)
        taken = [name for name in appended if name in snapshot.arrays]
        if taken:
            raise ArgumentError(
                "CheckpointConfig: append_info uses names of parameters",
                at=user_source(),
                given=", ".join(taken),
            )
        snapshot.arrays.update({name: as_array(value, name) for name, value in appended.items()})
        snapshot.progress["appended"] = list(appended)
        return snapshot

    def _thin_out(self, newest: Manifest) -> None:
        if self._config.keep_checkpoint_max:
            checkpoint_store.prune(self._directory, self._prefix, self._config.keep_checkpoint_max)
        elif self._config.keep_checkpoint_per_n_minutes:
            if self._to_discard is not None:
                checkpoint_store.discard(self._to_discard)
            now = time.monotonic()
            kept = now - self._kept_time >= 60 * self._config.keep_checkpoint_per_n_minutes
            self._kept_time = now if kept else self._kept_time
            self._to_discard = None if kept else newest

    # -------------------------------------------------------------------------------------------------- signals

    def _catch_termination(self, parameters: CallbackParameters) -> None:
        """SIGTERM ends training like Ctrl-C does, at a step boundary, unless the program has its own handler. Programs
        in the background of a shell ignore SIGINT, so that signal is not used for it."""
        main = threading.current_thread() is threading.main_thread()
        if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
            return

        def handle(number: int, frame: object) -> None:
            if not self._terminated:  # a second one must not break off the saving
                self._terminated = True
                parameters.interrupt()

        self._previous_handler = signal.signal(signal.SIGTERM, handle)


class _Writer:
    """Runs one task at a time in a thread; an error of a task is raised by the next call."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, task: Any) -> None:
        self.wait()

        def run() -> None:
            try:
                task()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="graphrt-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until the last task has ended."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        error, self._error = self._error, None
        if error is not None:
            raise error
