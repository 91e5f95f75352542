"""The training step of a network, for looking at: forward, loss, gradients, and updates if an optimizer is known.

In: a Target, the types of its inputs and labels. Out: a Graph.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..frontend.location import user_line
from ..ir import Graph, Node, Source, TensorType
from .target import Target

# Nodes of the loss and the optimizer come from no line of the user's: this is where the text says they are.
PLACE = "<training step>"


def training_step(
    target: Target, inputs: Sequence[TensorType], labels: Sequence[TensorType] = (), loss: str | None = None
) -> Graph:
    """Trace one training step. The outputs are the loss and, without an optimizer, the parameters' gradients.

    `labels`: what the loss takes after the prediction (default: one int32 class number per sample). `loss`: a class
    name of graphrt.nn (default: the script's loss_fn, else CrossEntropyLoss).
    """
    from ..frontend.gradient import value_and_grad
    from ..frontend.trace import trace
    from ..nn import Cell

    network = target.network
    if not isinstance(network, Cell):
        raise ArgumentError(
            "the training step of a function is not known",
            given=target.name,
            fix="name a Cell, or use --stage graph",
        )
    loss_fn = make_loss(loss) if loss else target.loss_fn or make_loss("CrossEntropyLoss")
    labels = list(labels) or [_class_numbers(inputs)]

    def forward(*arguments: Any) -> Any:
        value = loss_fn(network(*arguments[: len(inputs)]), *arguments[len(inputs) :])
        return value.mean() if value.ndim else value

    step = value_and_grad(forward, None, network.trainable_params())

    def training(*arguments: Any) -> Any:
        value, gradients = step(*arguments)
        if target.optimizer is None:
            return value, gradients
        target.optimizer(gradients)
        return value

    training.__signature__ = _signature(network, len(inputs), len(labels))  # type: ignore[attr-defined]
    flags = [(cell, cell.training) for _, cell in network.cells_and_names()]
    network.set_train(True)
    try:
        graph = trace(training, [*inputs, *labels], name=f"{type(network).__name__}_step").graph
    finally:
        for cell, flag in flags:
            cell.training = flag
    return _name_place(graph, user_line())


def make_loss(name: str) -> Any:
    """The loss of this class name in graphrt.nn."""
    from .. import nn

    loss = getattr(nn, name, None)
    if not (isinstance(loss, type) and issubclass(loss, nn.Cell)):
        raise ArgumentError(
            "no such loss in graphrt.nn", expected="for example CrossEntropyLoss", given=repr(name)
        )
    return loss()


def _class_numbers(inputs: Sequence[TensorType]) -> TensorType:
    from ..dtypes import int32

    return TensorType(inputs[0].shape[:1], int32)


def _signature(network: Any, inputs: int, labels: int) -> inspect.Signature:
    """Names for the step's inputs: those of `construct`, then label or label_0, label_1, ..."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    own = [p.name for p in inspect.signature(network.construct).parameters.values() if p.kind in positional]
    names = own[:inputs] + [f"input_{k}" for k in range(len(own), inputs)]
    names += ["label"] if labels == 1 else [f"label_{k}" for k in range(labels)]
    unique = [name if names.count(name) == 1 else f"{name}_{k}" for k, name in enumerate(names)]
    return inspect.Signature([inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in unique])


def _name_place(graph: Graph, outside: tuple[str, int]) -> Graph:
    """`graph` with PLACE instead of `outside`, the line that happened to start this program."""
    made: dict[Node, Node] = {}
    for node in graph.nodes():
        source = node.source
        if source is not None and (source.file, source.line) == outside:
            source = Source(PLACE, 1, source.cell)
        made[node] = Node(node.op, tuple(made[i] for i in node.inputs), node.type, source)
    return Graph(
        tuple(made[n] for n in graph.inputs),
        tuple(made[n] for n in graph.outputs),
        {made[state]: made[value] for state, value in graph.updates.items()},
        graph.name,
    )
