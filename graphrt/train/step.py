"""The training step and the evaluation step as traced graphs over whole dataset columns or batches.

In: network, loss function, optimizer; the columns' types and transforms. Out: `Traced` graphs for the compiler.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..dataset.transform import Transform
from ..dtypes import float32, int32
from ..errors import ArgumentError
from ..frontend.location import user_source, warn_user
from ..frontend.trace import Traced, trace
from ..ir import TensorType
from .accumulate import Accumulation
from .clipping import GradientClipping

INDICES = "indices"
Transforms = Mapping[str, tuple[Transform, ...]]


@dataclass(frozen=True)
class Parts:
    """What a Model is made of; builds the functions that are traced.

    `accumulation`: the optimizer runs once for several batches. `loss_scale`: scales the loss
    (`nn.loss_scale.LossScale`). `columns`: names of the dataset's columns, for messages. `quiet`: do not warn (the ragged step is like the full one).
    """

    network: Any
    loss_fn: Any
    optimizer: Any
    clipping: GradientClipping = field(default_factory=GradientClipping)
    accumulation: Accumulation | None = None
    loss_scale: Any = None
    columns: tuple[str, ...] = ()
    quiet: bool = False

    def top_cells(self) -> tuple[Any, ...]:
        """The parts that may be Cells."""
        return self.network, self.loss_fn, self.optimizer, self.accumulation, self.loss_scale

    def cells(self) -> Iterable[Any]:
        """Every Cell reachable from the parts."""
        for part in self.top_cells():
            if hasattr(part, "cells_and_names"):
                for _, cell in part.cells_and_names():
                    yield cell

    def set_train(self) -> None:
        """Put the network and the loss function into training mode."""
        for part in (self.network, self.loss_fn):
            if hasattr(part, "set_train"):
                part.set_train(True)

    def key(self) -> tuple[Any, ...]:
        """What a compiled step depends on besides the data: other parts, modes or parameters need another one."""
        cells = tuple((id(cell), cell.training, vars(cell).get("_precision")) for cell in self.cells())
        parameters = tuple(
            (id(parameter), parameter.requires_grad)
            for part in (self.network, self.optimizer)
            if hasattr(part, "get_parameters")
            for parameter in part.get_parameters()
        )
        return id(self.network), id(self.loss_fn), id(self.optimizer), self.clipping, cells, parameters

    def train(self, *batch: Any) -> Any:
        """One step on a batch: forward, backward, update. Returns the loss, a scalar float32 (the mean if the loss
        function does not reduce; the gradient is then that of the sum, as if backward was seeded with ones)."""
        from ..frontend.gradient import value_and_grad

        if self.optimizer is None:  # the network is itself a whole training step
            if self.loss_fn is not None:
                raise ArgumentError(
                    "Model.train: the model has a loss function but no optimizer", at=user_source(),
                    expected="both, or a network that is a whole training step and neither of them",
                    fix="give it: Model(network, loss_fn, nn.Momentum(network.trainable_params(), 0.01, 0.9))",
                )  # fmt: skip
            self._check_inputs(batch, has_label=False)
            loss = self.network(*batch)
        elif self.loss_scale is not None:
            loss, _, _ = self.loss_scale(self.loss, self.optimizer.parameters, self._update, batch)
        else:
            loss, gradients = value_and_grad(self.loss, None, self.optimizer.parameters)(*batch)
            self._update(gradients)
        if isinstance(loss, (tuple, list)):
            loss = loss[0]
        if loss.ndim > 0:
            if self.optimizer is not None and not self.quiet:
                _warn_of_vector_loss(loss)
            loss = loss.mean()
        return loss.astype(float32, copy=False)

    def _update(self, gradients: Sequence[Any]) -> None:
        """Clipping and the optimizer, at once or once for several batches."""

        def update(grads: Sequence[Any]) -> None:
            self.optimizer(self.clipping(grads))

        if self.accumulation is None:
            update(gradients)
        else:
            self.accumulation(update, gradients)

    def loss(self, *batch: Any) -> Any:
        """The loss of a batch: the last column is the label where there is a loss function."""
        if self.loss_fn is None:
            self._check_inputs(batch, has_label=False)
            return self.network(*batch)
        self._check_columns(batch)
        return self.loss_fn(self.network(*batch[:-1]), batch[-1])

    def evaluate(self, *batch: Any, with_loss: bool) -> tuple[Any, Any, Any]:
        """(loss or None, the network's output, labels) of a batch."""
        self._check_columns(batch)
        output = self.network(*batch[:-1])
        loss = None
        if with_loss:
            if self.loss_fn is None:
                raise ArgumentError(
                    "Model.eval: the metric 'loss' needs a loss function", at=user_source(),
                    fix="give it: Model(network, loss_fn=..., metrics=...)",
                )  # fmt: skip
            loss = self.loss_fn(output, batch[-1])
        return loss, output, batch[-1]

    def _check_columns(self, batch: tuple[Any, ...]) -> None:
        if len(batch) < 2:
            raise ArgumentError(
                "the dataset has one column, but data and label are needed", at=user_source(),
                expected="columns for the network's inputs and, last, the label",
                given=_described(1, self.columns),
                fix="add a label column, or pass a network that returns its own loss and no loss_fn",
            )  # fmt: skip
        self._check_inputs(batch[:-1], has_label=True)

    def _check_inputs(self, inputs: tuple[Any, ...], has_label: bool) -> None:
        """ArgumentError if the network takes another number of inputs than there are."""
        construct = getattr(self.network, "construct", self.network)
        try:
            signature = inspect.signature(construct)
        except (TypeError, ValueError):  # a callable without a signature will say so itself
            return
        try:
            signature.bind(*inputs)
        except TypeError:
            given = _described(len(inputs), self.columns[: len(inputs)])
            label = f" and the label{f' ({self.columns[-1]!r})' if self.columns else ''}"
            raise ArgumentError(
                "the network takes another number of inputs than the dataset has columns"
                + (" before the label" if has_label else ""),
                cell=type(self.network).__name__, at=user_source(), expected=f"construct{signature}",
                given=given + (label if has_label else ""),
                fix=f"choose the columns: dataset.project([...{', label' if has_label else ''}])"
                + ("" if has_label else ", or give a loss function: Model(network, loss_fn, optimizer)"),
            ) from None  # fmt: skip


def _described(count: int, names: Sequence[str]) -> str:
    """ "2 columns ('image', 'mask')"; without the names where they are not known."""
    known = f" ({', '.join(map(repr, names))})" if names else ""
    return f"{count} column{'' if count == 1 else 's'}{known}"


def _warn_of_vector_loss(loss: Any) -> None:
    samples = loss.size
    warn_user(
        f"the loss is a tensor of shape {loss.shape}, not a number: its mean is reported, but the gradient is that of "
        f"its sum, {samples} times as large. If that is not intended, give the loss function reduction='mean'."
    )


def trace_sink_step(
    parts: Parts, columns: Mapping[str, TensorType], transforms: Transforms, batch_size: int, name: str
) -> Traced:
    """The step a sink runs: gathers a batch of every (whole) column by `indices`, transforms it, trains on it."""
    parts = replace(parts, columns=tuple(columns), quiet=name.endswith("ragged"))
    return trace_gathered(parts.train, columns, transforms, batch_size, name)


def trace_gathered(
    function: Callable[..., Any],
    columns: Mapping[str, TensorType],
    transforms: Transforms,
    batch_size: int,
    name: str,
) -> Traced:
    """`function` applied to the transformed batch that `indices` picks out of whole columns."""
    from .. import ops

    def step(**kwargs: Any) -> Any:
        indices = kwargs.pop(INDICES)
        batch = [
            _transformed(ops.gather(tensor, indices, 0), transforms.get(column, ()))
            for tensor, column in zip(kwargs.values(), columns)
        ]
        return function(*batch)

    arguments: dict[str, Any] = {_label(column): type for column, type in columns.items()}
    arguments[INDICES] = TensorType((batch_size,), int32)
    return trace(step, (), arguments, name=name)


def trace_batch(
    function: Callable[..., Any], columns: Mapping[str, TensorType], transforms: Transforms, name: str
) -> Traced:
    """`function` applied to a transformed batch given as arrays."""

    def step(**kwargs: Any) -> Any:
        batch = [_transformed(t, transforms.get(column, ())) for t, column in zip(kwargs.values(), columns)]
        return function(*batch)

    return trace(step, (), {_label(column): type for column, type in columns.items()}, name=name)


def _label(column: str) -> str:
    return f"{column}_column" if column == INDICES else column


def _transformed(tensor: Any, transforms: tuple[Transform, ...]) -> Any:
    for transform in transforms:
        tensor = transform.symbolic(tensor)
    return tensor
