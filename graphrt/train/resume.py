"""Resuming: a checkpoint found on disk, put into a Model that is about to train.

In: a directory or file of ModelCheckpoint. Out: where the training loop goes on (`loop.Start`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, GraphrtError
from ..frontend.location import user_source
from . import checkpoint_store, training_state
from .checkpoint_store import Manifest
from .loop import Start
from .report import emit
from .source import ResidentSteps
from .training_state import Snapshot, TrainingState


@dataclass(frozen=True)
class Resumed:
    """A checkpoint to go on from."""

    manifest: Manifest
    snapshot: Snapshot

    def restore_random(self) -> None:
        """Put the seeds back; to be done before a step is compiled."""
        training_state.restore_random(self.snapshot)

    def restore(self, source: Any, state: TrainingState) -> Start:
        """Put everything else back. Raises CheckpointError if the program is another one than was interrupted."""
        state.check_data(self.snapshot, self.manifest.path)
        try:
            source.restore(training_state.position_of(self.snapshot))
        except (GraphrtError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"the checkpoint's place in the data is not usable: {self.manifest.path}", at=user_source(),
                given=str(self.snapshot.progress["position"]),
                fix="resume with the dataset of the interrupted run, or load the weights alone",
            ) from error  # fmt: skip
        state.restore(self.snapshot, self.manifest.path)
        progress = self.snapshot.progress
        epoch_ended = progress["epochs_completed"] >= progress["epoch"]
        return Start(
            progress["epoch"], progress["step_in_epoch"], progress["step"],
            epoch_ended=epoch_ended,
            pass_ended=progress["step_in_epoch"] > 0 and source.steps_per_epoch is None and source.at_pass_begin,
            restore=lambda: state.restore_callbacks(self.snapshot),
            losses=self.snapshot.arrays[training_state.LOSSES],
        )  # fmt: skip


def begin_at_epoch(source: Any, epochs: int, sink_size: int) -> None:
    """Go to where the data stands after so many epochs of `sink_size` steps (-1: passes), unless it was read from
    before. Random keys of the dataset's transforms are not known and stay as they are."""
    position = source.position
    if isinstance(source, ResidentSteps):
        if not any(position.values()):
            source.restore(
                source.place_after(epochs * (source.steps_per_epoch if sink_size == -1 else sink_size))
            )
    elif sink_size == -1 and not position["pass"] and source.at_pass_begin:
        source.restore({**position, "pass": epochs})


def read_for_resume(place: str | os.PathLike[str]) -> Resumed | None:
    """The newest whole checkpoint of a directory, or the one named; None if there is none yet.

    Says where training goes on; warns of what was skipped. Raises CheckpointError where that is not possible.
    """
    found = checkpoint_store.load_for_resume(Path(place))
    if found is None:
        return None
    manifest, content = found
    snapshot = Snapshot.read(content.arrays, content.metadata, manifest.path)
    emit(f"resuming from {manifest.path}: epoch {manifest.epoch}, step {manifest.step}")
    return Resumed(manifest, snapshot)
