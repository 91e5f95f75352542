"""Model.summary: a table of a network's layers.

In: a network and an example of its inputs. Out: for every Cell that computes or owns something its output shape, its
parameters and the arithmetic of one forward pass. The network is traced, not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..dtypes import float32
from ..errors import ArgumentError
from ..frontend.location import user_source
from ..frontend.tensor import Tensor
from ..frontend.trace import trace, type_of
from ..ir import Node, TensorType, topological_order
from .evaluate import inference


@dataclass(frozen=True)
class Row:
    """One Cell. `output`: its shape, None where it was not called; `parameters`: elements of its own floating-point
    Parameters, `trainable` of them with requires_grad; `flops`: of its own arithmetic, in one forward pass."""

    name: str
    kind: str
    output: str | None
    parameters: int
    trainable: int
    flops: int | None


@dataclass(frozen=True)
class Summary:
    """The rows and their totals; printing it shows the table."""

    network: str
    rows: tuple[Row, ...]

    @property
    def parameters(self) -> int:
        """Elements of all parameters (shared ones count once)."""
        return sum(row.parameters for row in self.rows)

    @property
    def trainable(self) -> int:
        """Elements of the parameters with requires_grad."""
        return sum(row.trainable for row in self.rows)

    @property
    def flops(self) -> int | None:
        """Floating-point operations of one forward pass on the example; None without one."""
        counted = [row.flops for row in self.rows if row.flops is not None]
        return sum(counted) if counted else None

    def __str__(self) -> str:
        traced = self.flops is not None
        header = [
            "layer",
            "kind",
            *(["output"] if traced else []),
            "parameters",
            *(["FLOPs"] if traced else []),
        ]
        lines = [
            [row.name, row.kind, *([row.output or "-"] if traced else []), f"{row.parameters:,}",
             *([f"{row.flops:,}"] if traced else [])]
            for row in self.rows
        ]  # fmt: skip
        widths = [max(len(line[k]) for line in [header, *lines]) for k in range(len(header))]
        numbers = {header.index("parameters"), len(header) - 1}

        def text(line: Sequence[str]) -> str:
            cells = (c.rjust(w) if k in numbers else c.ljust(w) for k, (c, w) in enumerate(zip(line, widths)))
            return "  ".join(cells).rstrip()

        rule = "-" * len(text(header).ljust(sum(widths) + 2 * len(widths) - 2))
        total = f"{self.network}: {self.parameters:,} parameters, {self.trainable:,} trainable"
        if traced:
            total += f", {self.flops:,} FLOPs forward"
        return "\n".join([text(header), rule, *map(text, lines), rule, total])

    __repr__ = __str__


def summarise(network: Any, inputs: Sequence[Any]) -> Summary:
    """See `Model.summary`. Raises ArgumentError for a network that is not a Cell or an unusable example, and what
    tracing the network raises."""
    if not hasattr(network, "cells_and_names"):
        raise ArgumentError(
            "Model.summary: the network must be a Cell", at=user_source(), given=repr(network)
        )
    cells = dict(network.cells_and_names())
    outputs: dict[int, str] = {}
    flops: dict[str, int] = {}
    if inputs:
        examples = [_example(k, value) for k, value in enumerate(inputs)]
        with inference(network), _watched(cells.values(), outputs):
            traced = trace(network, examples, name="summary")
        flops = _flops_by_path(traced.graph.outputs)
    root = type(network).__name__
    rows: list[Row] = []
    seen: set[int] = set()
    for name, cell in cells.items():
        # random keys and counters are Parameters too, but nobody means them by the size of a network
        own = [p for p in cell.get_parameters(expand=False) if p.dtype.is_float and id(p) not in seen]
        seen.update(id(p) for p in own)
        arithmetic = flops.pop(f"{root}.{name}" if name else root, 0)
        if own or arithmetic or not cell.name_cells():
            sizes = [(p.size, p.requires_grad) for p in own]
            rows.append(
                Row(
                    name or f"({root})", type(cell).__name__, outputs.get(id(cell)), sum(n for n, _ in sizes),
                    sum(n for n, trains in sizes if trains), arithmetic if inputs else None,
                )
            )  # fmt: skip
    if sum(flops.values()):  # of Cells that are not attributes of the network
        rows.append(Row("(others)", "-", None, 0, 0, sum(flops.values())))
    return Summary(root, tuple(rows))


def _example(position: int, value: Any) -> TensorType:
    """The type of an input: of an array or Tensor, or float32 of a shape."""
    if isinstance(value, (Tensor, TensorType, np.ndarray)):
        return type_of(value)
    try:
        shape = tuple(int(extent) for extent in value)
    except (TypeError, ValueError):
        shape = (-1,)
    if any(extent < 1 for extent in shape):
        raise ArgumentError(
            f"Model.summary: input {position} is not usable", at=user_source(),
            expected="a shape with the batch axis, such as (1, 28, 28, 1), or an array", given=repr(value),
            fix="pass one shape per input of the network: model.summary((32, 10))",
        )  # fmt: skip
    return TensorType(shape, float32)


@contextmanager
def _watched(cells: Any, outputs: dict[int, str]) -> Iterator[None]:
    """While the network is traced: the shape each Cell returns, by id."""
    watched = list(cells)

    def watch(cell: Any) -> None:
        construct = cell.construct

        def recording(*args: Any, **kwargs: Any) -> Any:
            result = construct(*args, **kwargs)
            outputs[id(cell)] = _shapes(result)
            return result

        cell.__dict__["construct"] = recording  # past __setattr__: nothing of the Cell's state changes

    own = {id(cell): cell.__dict__["construct"] for cell in watched if "construct" in cell.__dict__}
    try:
        for cell in watched:
            watch(cell)
        yield
    finally:
        for cell in watched:
            if id(cell) in own:
                cell.__dict__["construct"] = own[id(cell)]
            else:
                cell.__dict__.pop("construct", None)


def _shapes(result: Any) -> str:
    if isinstance(result, Tensor):
        return str(list(result.shape))
    if isinstance(result, (tuple, list)):
        return ", ".join(_shapes(item) for item in result)
    return "-"


def _flops_by_path(outputs: Sequence[Node]) -> dict[str, int]:
    """FLOPs of the nodes by the path of the Cell they come from."""
    from ..ir import Graph
    from ..ops.base import ContractionOp
    from ..passes.expand_composites import expand_composites
    from ..runtime.kernel_work import contraction_terms

    order = topological_order(outputs)
    graph = Graph(tuple(n for n in order if n.is_input), tuple(outputs), {}, "summary")
    result: dict[str, int] = {}
    for node in topological_order(expand_composites(graph).outputs):
        if node.is_input:
            continue
        types = [operand.type for operand in node.inputs]
        if isinstance(node.op, ContractionOp):
            count = 2 * contraction_terms(node.op.contraction(types), types[0])
        else:
            count = node.op.flops(*types)
        path = (node.source.cell if node.source is not None else "").split(" (")[0]
        result[path] = result.get(path, 0) + count
    return result
