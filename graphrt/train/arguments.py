"""Checks of what users pass to Model: each raises an ArgumentError that names the method and the argument."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dataset.iterable import as_dataset
from ..dataset.pipeline import Dataset
from ..errors import ArgumentError
from ..frontend.location import user_source, warn_user


def is_int(value: object) -> bool:
    """Whether it is an integer (NumPy's too) and not a bool."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def check_positive(method: str, argument: str, value: Any) -> None:
    """An int >= 1."""
    if not is_int(value) or value < 1:
        raise ArgumentError(
            f"{method}: {argument} must be a positive int", at=user_source(), expected=f"{argument} >= 1",
            given=repr(value),
        )  # fmt: skip


def check_sink_size(method: str, sink_size: Any) -> None:
    """-1 or an int >= 1."""
    if not is_int(sink_size) or (sink_size < 1 and sink_size != -1):
        raise ArgumentError(
            f"{method}: sink_size is not usable", at=user_source(),
            expected="-1 (the whole dataset) or a number of steps > 0", given=f"sink_size={sink_size!r}",
            fix="leave it out for one pass over the dataset per epoch",
        )  # fmt: skip


def check_initial_epoch(method: str, initial_epoch: Any, epoch: int) -> None:
    """An int in 0 .. epoch - 1."""
    if not is_int(initial_epoch) or initial_epoch < 0:
        raise ArgumentError(
            f"{method}: initial_epoch must be an int >= 0", at=user_source(), given=repr(initial_epoch)
        )
    if initial_epoch >= epoch:
        raise ArgumentError(
            f"{method}: epoch is the number of the last epoch, and must be larger than initial_epoch", at=user_source(),
            expected=f"epoch > {initial_epoch}", given=f"epoch={epoch}, initial_epoch={initial_epoch}",
            fix="add them: epoch=initial_epoch + the epochs to train now",
        )  # fmt: skip


def check_dataset(method: str, dataset: object) -> Dataset:
    """A dataset of graphrt.dataset, or an iterable of batches, as a dataset."""
    found = as_dataset(dataset)
    if not isinstance(found, Dataset):
        raise ArgumentError(
            f"{method}: a dataset is needed", at=user_source(),
            expected="a dataset of graphrt.dataset, or an iterable of batches", given=type(dataset).__name__,
            fix="wrap arrays: dataset.NumpySlicesDataset((images, labels)).batch(32)",
        )  # fmt: skip
    return found


def check_network(network: Any) -> None:
    """Something callable that is not a class."""
    if not callable(network) or isinstance(network, type):
        fix = f"make an object of it: {network.__name__}()" if isinstance(network, type) else None
        raise ArgumentError("Model: network must be a Cell", at=user_source(), given=repr(network), fix=fix)


def check_boost_level(level: Any) -> None:
    """MindSpore's switch for approximations that trade accuracy for speed: there are none here."""
    if level != "O0":
        raise ArgumentError(
            "Model: boost_level is not supported", at=user_source(), expected="'O0'", given=repr(level),
            fix="leave it out",
        )  # fmt: skip


def check_metrics(method: str, metrics: Any) -> None:
    """At least one metric."""
    if not metrics:
        raise ArgumentError(
            f"{method}: the model has no metrics", at=user_source(), expected="at least one",
            fix='give some: Model(network, loss_fn, metrics={"accuracy"})',
        )  # fmt: skip


def check_valid_frequency(value: Any) -> None:
    """An int >= 1, or a list of epoch numbers."""
    if not isinstance(value, (list, tuple)):
        check_positive("Model.fit", "valid_frequency", value)
    elif not all(is_int(epoch) and epoch >= 1 for epoch in value):
        raise ArgumentError(
            "Model.fit: valid_frequency must be a positive int or a list of epochs", at=user_source(),
            expected="epochs >= 1", given=repr(value),
        )  # fmt: skip


def check_gradient_options(optimizer: Any, clipping: Any, loss_scale: Any, manager: Any) -> None:
    """What happens between the backward pass and the optimizer needs the model's own optimizer, and clipping needs
    gradients that are not scaled."""
    if optimizer is None and clipping:
        raise ArgumentError(
            "Model: gradients are clipped between the backward pass and the optimizer, but there is no optimizer",
            at=user_source(), fix="pass optimizer=..., or clip the gradients in your training step",
        )  # fmt: skip
    if optimizer is None and loss_scale is not None and not isinstance(manager, str):
        raise ArgumentError(
            "Model: the loss is scaled before the backward pass, but there is no optimizer", at=user_source(),
            given=f"loss_scale_manager={type(manager).__name__}",
            fix="pass optimizer=..., or scale the loss in your training step",
        )  # fmt: skip
    if clipping and loss_scale is not None and not loss_scale.drops_overflow:
        raise ArgumentError(
            "Model: gradients would be clipped while they are scaled by the loss scale", at=user_source(),
            given="clipping and drop_overflow_update=False",
            fix="give the loss scale manager drop_overflow_update=True",
        )  # fmt: skip
    if optimizer is not None and loss_scale is not None and not loss_scale.drops_overflow:
        scale, divided = (
            float(loss_scale.update_cell.get_loss_scale()),
            getattr(optimizer, "loss_scale", None),
        )
        if divided is not None and divided != scale:
            warn_user(
                f"the loss is multiplied by {scale:g}, but the optimizer divides its gradients by {divided:g}: give the "
                f"optimizer loss_scale={scale:g}, or the loss scale manager drop_overflow_update=True"
            )
