"""The state of a training run as arrays and text, and back: what makes a resumed run the run that was interrupted.

In: the parts of a model, its dataset and where its steps come from, the losses so far. Out: a `Snapshot` taken between
two steps; restored into the same program in another process, training goes on with the same bits.

    arrays                        every Parameter by name: weights, moments, global_step, learning rate, random keys
    arrays "graphrt...."          keys of the dataset's transforms, other Parameters of the step, the losses so far
    text                          place in the data, epoch and step counts, seeds, history, state of the callbacks
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import context
from ..dataset import seed as dataset_seed
from ..errors import CheckpointError
from ..frontend import random
from ..frontend.location import user_source
from ..frontend.parameter import Parameter
from .checkpoint import INTERNAL, iterate_named, unique
from .checkpoint_names import not_loaded_text
from .history import History
from .hooks import Callback, CallbackParameters
from .random_keys import dataset_parameters

KEY = "graphrt.training"  # of the text among a file's metadata
LOSSES = f"{INTERNAL}losses"
RANDOM_KEY = f"{INTERNAL}random_key"


@dataclass(frozen=True)
class Snapshot:
    """A training run between two steps. `progress` is JSON."""

    arrays: dict[str, np.ndarray]
    progress: dict[str, Any]

    def metadata(self) -> dict[str, str]:
        """The text part, as a file keeps it."""
        return {"format": "graphrt", KEY: json.dumps(self.progress)}

    @staticmethod
    def read(arrays: dict[str, np.ndarray], metadata: Mapping[str, str], path: object) -> Snapshot:
        """A snapshot from a file. Raises CheckpointError if the file holds none."""
        try:
            progress = json.loads(metadata[KEY])
            _check_progress(progress, arrays)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise CheckpointError(
                f"training cannot be resumed from {path}", at=user_source(),
                expected="a checkpoint of ModelCheckpoint", given="a file of weights",
                fix="load the weights: graphrt.load_param_into_net(net, graphrt.load_checkpoint(file))",
            ) from None  # fmt: skip
        return Snapshot(arrays, progress)


class TrainingState:
    """What a running `Model.train` hands to ModelCheckpoint, and where a resumed one puts a snapshot."""

    def __init__(
        self,
        cells: Sequence[Any],
        source: Any,
        history: History,
        callbacks: Sequence[Callback],
        valid_dataset: Any = None,
    ):
        self._valid_dataset = valid_dataset
        self._cells, self._source = cells, source
        self._history, self._callbacks = history, callbacks

    def parameters(self) -> dict[str, Parameter]:
        """Every Parameter that a training step reads or changes, by the name it is saved under."""
        named = dict(iterate_named(self._cells))
        seen, names = {id(p) for p in named.values()}, set(named)
        # random keys of the training data are in the compiled step, or in the place of a source that reads ahead
        found = [
            (f"{INTERNAL}validation.{number}.{parameter.name}", parameter)
            for number, parameter in enumerate(dataset_parameters(self._valid_dataset))
        ]
        if (key := random.default_key_if_made()) is not None:
            found.append((RANDOM_KEY, key))
        # what else the compiled step uses: keys of its data, Parameters of functions and of objects that are not Cells
        found += [(f"{INTERNAL}step.{label}", p) for label, p in self._source.parameters.items()]
        for name, parameter in found:
            if id(parameter) not in seen:
                seen.add(id(parameter))
                named[unique(name, names)] = parameter
        return named

    def capture(self, parameters: CallbackParameters) -> Snapshot:
        """The run as it is now, between two steps. The arrays are copies."""
        arrays = {name: p.asnumpy() for name, p in self.parameters().items()}
        arrays[LOSSES] = self._history.losses
        position = self._source.position
        arrays |= {f"{INTERNAL}position.{name}": array for name, array in position.pop("arrays", {}).items()}
        progress = {
            "epoch": parameters.cur_epoch_num,
            "step_in_epoch": parameters.cur_step_in_epoch,
            "step": parameters.cur_step_num,
            "epochs_completed": parameters.get("epochs_completed", 0),
            "position": position,
            "data": self._source.description,
            "random": {"global": context.random_state(), "dataset": dataset_seed.random_state()},
            "history": _plain(self._history.progress()),
            "callbacks": {
                name: _with_arrays_apart(callback.state_dict(), arrays)
                for name, callback in self._named_callbacks()
            },
        }
        return Snapshot(arrays, progress)

    def _named_callbacks(self) -> Iterator[tuple[str, Callback]]:
        names: set[str] = set()
        for callback in self._callbacks:
            yield unique(type(callback).__name__, names), callback

    def check_data(self, snapshot: Snapshot, path: object) -> None:
        """Raise CheckpointError if the snapshot was taken with other data: its place would mean nothing here."""
        expected, given = snapshot.progress["data"], json.loads(json.dumps(self._source.description))
        if expected != given:
            raise CheckpointError(
                f"the checkpoint was made with another dataset: {path}", at=user_source(),
                expected=_differing(expected, given), given=_differing(given, expected),
                fix="resume with the dataset and batch size of the interrupted run, or load the weights alone",
            )  # fmt: skip

    def restore(self, snapshot: Snapshot, path: object) -> None:
        """Put a snapshot's values into the Parameters. Raises CheckpointError, before any of them is changed, if the
        program is another one: other names, other shapes."""
        if RANDOM_KEY in snapshot.arrays:
            random.default_key()
        parameters = self.parameters()
        not_state = {LOSSES, *snapshot.progress.get("appended", ())}
        saved = {
            name: array
            for name, array in snapshot.arrays.items()
            if name not in not_state and not name.startswith((f"{INTERNAL}position.", f"{INTERNAL}callback."))
        }
        missing = [name for name in parameters if name not in saved]
        extra = [name for name in saved if name not in parameters]
        wrong = [
            f"{name}: {saved[name].dtype}{list(saved[name].shape)} for {p.type.describe()}"
            for name, p in parameters.items()
            if name in saved and (saved[name].shape != p.shape or saved[name].dtype != p.dtype.numpy)
        ]
        if missing or extra or wrong:
            problems = [
                f"not in the checkpoint: {not_loaded_text(missing, extra)}" if missing else "",
                f"only in the checkpoint: {not_loaded_text(extra, ())}" if extra else "",
                f"of another type: {'; '.join(wrong)}" if wrong else "",
            ]
            raise CheckpointError(
                f"the checkpoint was made by another program: {path}", at=user_source(),
                expected="the same network, optimizer and dataset transforms",
                given="; ".join(filter(None, problems)),
                fix="resume the program that wrote it, or load what fits with graphrt.load_param_into_net",
            )  # fmt: skip
        for name, parameter in parameters.items():
            assert parameter._array is not None
            parameter._array[...] = saved[name]

    def restore_callbacks(self, snapshot: Snapshot) -> None:
        """Give the History and the callbacks the state they had; they have just begun."""
        progress = snapshot.progress
        in_epoch = 0 if progress["epochs_completed"] == progress["epoch"] else progress["step_in_epoch"]
        self._history.continue_from(progress["history"], snapshot.arrays[LOSSES], in_epoch)
        for name, callback in self._named_callbacks():
            if progress["callbacks"].get(name):
                callback.load_state_dict(_with_arrays_back(progress["callbacks"][name], snapshot.arrays))


def _check_progress(progress: Any, arrays: Mapping[str, np.ndarray]) -> None:
    """Raise KeyError or TypeError unless the text has all its parts, of the right kind."""
    counts = [progress[name] for name in ("epoch", "step_in_epoch", "step", "epochs_completed")]
    tables = [progress[name] for name in ("position", "data", "random", "history", "callbacks")]
    tables += [progress["history"][name] for name in ("history", "evaluated")]
    lists = [progress["history"][name] for name in ("epoch", "steps")]
    lists += [values for table in tables[-2:] for values in table.values()]
    seeds = [
        progress["random"]["dataset"],
        *(progress["random"]["global"][n] for n in ("entropy", "streams")),
    ]
    seed, losses = progress["random"]["global"]["seed"], arrays[LOSSES]
    right = (
        all(type(number) is int and number >= 0 for number in (*counts, *seeds, 0 if seed is None else seed))
        and all(isinstance(table, dict) for table in tables)
        and all(isinstance(values, list) for values in lists)
        and losses.ndim == 1
        and losses.dtype == np.float32
    )
    if not right:
        raise TypeError


def restore_random(snapshot: Snapshot) -> None:
    """Put the seeds back. Before steps are compiled: the seed of shuffling is part of them."""
    context.restore_random_state(snapshot.progress["random"]["global"])
    dataset_seed.restore_random_state(snapshot.progress["random"]["dataset"])


def position_of(snapshot: Snapshot) -> dict[str, Any]:
    """The place in the data, as `StepSource.position` gave it."""
    prefix = f"{INTERNAL}position."
    arrays = {n.removeprefix(prefix): a for n, a in snapshot.arrays.items() if n.startswith(prefix)}
    return {**snapshot.progress["position"], **({"arrays": arrays} if arrays else {})}


_ARRAY = "graphrt.array"  # the only key of a dict that stands for an array


def _with_arrays_apart(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """`_plain`, but arrays are added to `arrays` and their names put in their place."""
    if isinstance(value, Mapping):
        return {str(name): _with_arrays_apart(item, arrays) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_arrays_apart(item, arrays) for item in value]
    array = value.asnumpy() if hasattr(value, "asnumpy") else value
    if isinstance(array, np.ndarray) and array.dtype != object:
        name = f"{INTERNAL}callback.{len(arrays)}"
        arrays[name] = array.copy()
        return {_ARRAY: name}
    return _plain(value)


def _with_arrays_back(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, Mapping):
        if set(value) == {_ARRAY}:
            return np.array(arrays[value[_ARRAY]])
        return {name: _with_arrays_back(item, arrays) for name, item in value.items()}
    return [_with_arrays_back(item, arrays) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """The value as JSON knows it: NumPy numbers and arrays become Python's."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if hasattr(value, "asnumpy"):
        return value.asnumpy().tolist()
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    return (
        ", ".join(f"{name}={value}" for name, value in one.items() if other.get(name) != value) or "nothing"
    )
