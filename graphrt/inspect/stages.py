"""Everything one compilation produces, in the order it happened.

In: a Target, input types. Out: a list of `Stage`s: the traced graph, the training step, the graph after every pass,
the fused kernels with their memory plan, loop IR, LLVM IR and assembly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from ..ir import Graph, TensorType
from .target import Target

LOWERED = ("fused", "loops", "llvm", "asm")
STAGES = ("graph", "grad", *LOWERED)


@dataclass(frozen=True)
class Stage:
    """One thing the compiler made. `kind` is one of STAGES, or "pass" for the graph after the pass `name`.
    `changed` is False when a pass left the graph as it was."""

    kind: str
    name: str
    value: Any
    changed: bool = True

    @property
    def text(self) -> str:
        return str(self.value).rstrip("\n") + "\n"


@dataclass(frozen=True)
class Request:
    """What to compile: the input types, and for the training step the labels' types and the loss class's name.
    `compile` also runs the passes and makes native code; `threads` as in `set_context`."""

    inputs: Sequence[TensorType]
    labels: Sequence[TensorType] = ()
    loss: str | None = None
    training: bool = True
    compile: bool = True
    threads: int | None = None


def collect(target: Target, request: Request) -> list[Stage]:
    """Trace, compile if asked to, and keep every stage."""
    from ..compiler import compile_graph
    from ..context import set_context
    from ..frontend.trace import trace

    stages = []
    with set_context(engine="native"):
        traced = trace(target.network, list(request.inputs), name=_graph_name(target))
        stages.append(Stage("graph", "graph", traced.graph))
        graph = traced.graph
        if request.training:
            graph = training_step(target, request)
            stages.append(Stage("grad", "grad", graph))
        previous = str(graph)

        def record(name: str, value: Any) -> None:
            nonlocal previous
            if not isinstance(value, Graph):
                stages.append(Stage(name, name, value))
                return
            if name == "graph":  # what the passes were given: shown already, as traced
                return
            text = str(value)
            stages.append(Stage("pass", name, value, changed=text != previous))
            previous = text

        if request.compile:
            compile_graph(graph, threads=request.threads, record=record)
    return stages


def training_step(target: Target, request: Request) -> Graph:
    """The graph of one training step: forward, loss, gradients, and the optimizer's updates if there is one.

    Its outputs are the loss and, without an optimizer, the gradients of the trainable parameters.
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
    loss_fn = make_loss(request.loss) if request.loss else target.loss_fn or make_loss("CrossEntropyLoss")
    labels = list(request.labels) or [_default_label(request.inputs)]
    parameters = network.trainable_params()
    count = len(request.inputs)

    def forward(*arguments: Any) -> Any:
        loss = loss_fn(network(*arguments[:count]), *arguments[count:])
        return loss.mean() if loss.ndim else loss

    step = value_and_grad(forward, None, parameters)

    def training(*arguments: Any) -> Any:
        loss, gradients = step(*arguments)
        if target.optimizer is None:
            return loss, gradients
        target.optimizer(gradients)
        return loss

    flags = [(cell, cell.training) for _, cell in network.cells_and_names()]
    network.set_train(True)
    try:
        return trace(training, [*request.inputs, *labels], name=f"{_graph_name(target)}_step").graph
    finally:
        for cell, flag in flags:
            cell.training = flag


def make_loss(name: str) -> Any:
    """The loss of this class name in graphrt.nn."""
    from .. import nn

    loss = getattr(nn, name, None)
    if not (isinstance(loss, type) and issubclass(loss, nn.Cell)):
        raise ArgumentError(
            "no such loss in graphrt.nn", expected="for example CrossEntropyLoss", given=repr(name)
        )
    return loss()


def _default_label(inputs: Sequence[TensorType]) -> TensorType:
    """One class number per sample."""
    from ..dtypes import int32

    return TensorType(inputs[0].shape[:1], int32)


def _graph_name(target: Target) -> str:
    return type(target.network).__name__ if hasattr(target.network, "construct") else target.name
