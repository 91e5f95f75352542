"""Everything one compilation produces, in the order it happened.

In: a Target, input types. Out: a list of `Stage`s: the traced graph, the training step, the graph after every pass,
the fused kernels with their memory plan, loop IR, LLVM IR and assembly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..ir import Graph, TensorType
from .target import Target
from .training import training_step

if TYPE_CHECKING:
    from ..runtime.program import LoweredStep

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
        parts = self.value if isinstance(self.value, (list, tuple)) else [self.value]
        return "\n".join(str(part).rstrip("\n") + "\n" for part in parts)


@dataclass(frozen=True)
class Request:
    """What to produce: the kinds wanted, the input types, for the training step the labels' types and the loss
    class's name; `training` compiles that step instead of the forward pass. `threads` as in `set_context`."""

    wanted: frozenset[str]
    inputs: Sequence[TensorType]
    labels: Sequence[TensorType] = ()
    loss: str | None = None
    training: bool = True
    threads: int | None = None


def collect(target: Target, request: Request) -> list[Stage]:
    """The stages of the wanted kinds, in the order they came about. Nothing is compiled further than they need."""
    from ..compiler import lower, optimize
    from ..frontend.trace import trace

    stages: list[Stage] = []
    graph = trace(target.network, list(request.inputs), name=_graph_name(target)).graph
    stages.append(Stage("graph", "graph", graph))
    if request.training:
        graph = training_step(target, request.inputs, request.labels, request.loss)
        stages.append(Stage("grad", "grad", graph))
    previous = str(graph)

    def record(name: str, value: Any) -> None:
        nonlocal previous
        if isinstance(value, Graph):
            if name != "graph":  # what the passes were given is there already, as traced
                stages.append(Stage("pass", name, value, changed=str(value) != previous))
            previous = str(value)
        elif name == "llvm":
            stages.extend(_machine_code(value, with_assembly="asm" in request.wanted))
        else:
            stages.append(Stage(name, name, value))

    if request.wanted.intersection(("pass", *LOWERED)):
        graph = optimize(graph, record)
    if request.wanted.intersection(LOWERED):
        lower(graph, threads=request.threads, record=record)
    return [stage for stage in stages if stage.kind in request.wanted]


def _machine_code(step: LoweredStep, with_assembly: bool) -> list[Stage]:
    """The whole LLVM module of a step with its entry, and its assembly."""
    from ..codegen import jit
    from ..codegen.target import target
    from ..runtime.program import once_text

    text = once_text(step, target())
    result = [Stage("llvm", "llvm", text)]
    if with_assembly:
        jit.initialise()
        result.append(Stage("asm", "asm", jit.assembly(text, target())))
    return result


def _graph_name(target: Target) -> str:
    return type(target.network).__name__ if hasattr(target.network, "construct") else target.name
