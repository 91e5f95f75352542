"""A graph whose batch axis is free, found by comparing two traces of the same function.

In: two graphs of one network, traced at batch sizes b and b + 1.
Out: a `SymbolicGraph`: the same nodes, with every extent and integer attribute that follows the batch size
replaced by an `Extent`. What differs in any other way has the batch size baked in, and raises ExportError with the
op and the user's line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..dtypes import DType
from ..errors import ExportError
from ..ir import Graph, Literal, Node, Source


@dataclass(frozen=True)
class Extent:
    """An integer that depends on the batch size: factor * batch + offset."""

    factor: int
    offset: int = 0

    def at(self, batch: int) -> int:
        return self.factor * batch + self.offset

    def __str__(self) -> str:
        text = "batch" if self.factor == 1 else f"{self.factor}*batch"
        return text + (f"{self.offset:+d}" if self.offset else "")


Dimension = int | Extent
BATCH = Extent(1)


@dataclass(frozen=True, eq=False)
class SymbolicNode:
    """A node with a free batch axis. `attributes` are the op's, integers replaced by Extents where they follow the
    batch; `op` is the op of the first trace (its other attributes hold for both)."""

    op: Any
    inputs: tuple[SymbolicNode, ...]
    shape: tuple[Dimension, ...]
    dtype: DType
    attributes: dict[str, Any]
    source: Source | None

    @property
    def name(self) -> str:
        return self.op.name

    @property
    def rank(self) -> int:
        return len(self.shape)

    def static(self, attribute: str) -> Any:
        """The attribute's value, or ExportError when it depends on the batch size."""
        value = self.attributes[attribute]
        if not is_static(value):
            raise self.error(
                f"export: {attribute} of {self.name} depends on the batch size in a way ONNX cannot express",
                given=f"{attribute}={describe(value)}",
            )
        return value

    def extents(self, first: int = 0) -> tuple[int, ...]:
        """The extents from axis `first` on, or ExportError when one of them depends on the batch size."""
        result = self.shape[first:]
        if not is_static(result):
            raise self.error(
                f"export: {self.name} with a batch axis in this place has no ONNX form",
                given=describe(self.shape),
            )
        return result  # type: ignore[return-value]

    def error(self, message: str, **details: Any) -> ExportError:
        """An ExportError that points at the user's line of this node."""
        return ExportError(message, at=self.source, **details)


@dataclass(frozen=True)
class SymbolicGraph:
    """Nodes in topological order; `inputs` holds data and state inputs in the graph's order."""

    inputs: tuple[SymbolicNode, ...]
    outputs: tuple[SymbolicNode, ...]
    nodes: tuple[SymbolicNode, ...]
    name: str

    def users(self) -> dict[SymbolicNode, list[SymbolicNode]]:
        """For every node the nodes that read it, once per read."""
        result: dict[SymbolicNode, list[SymbolicNode]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for operand in node.inputs:
                result[operand].append(node)
        return result


def is_static(value: Any) -> bool:
    """True when nothing in `value` (an attribute or a shape) depends on the batch size."""
    if isinstance(value, tuple):
        return all(is_static(item) for item in value)
    return not isinstance(value, Extent)


def describe(value: Any) -> str:
    """The spelling of a shape or attribute in messages: (batch, 10)."""
    if isinstance(value, tuple):
        return "(" + ", ".join(map(describe, value)) + ("," if len(value) == 1 else "") + ")"
    return str(value)


def free_batch(first: Graph, second: Graph, batch: int) -> SymbolicGraph:
    """The common symbolic form of `first`, traced at `batch`, and `second`, traced at `batch + 1`.

    Raises ExportError when the two differ by more than integers that follow the batch size.
    """
    left, right = first.nodes(), second.nodes()
    made: dict[Node, SymbolicNode] = {}
    number = {node: position for position, node in enumerate(right)}
    for position, (a, b) in enumerate(zip(left, right)):
        wired_alike = len(a.inputs) == len(b.inputs) and all(
            left[number[y]] is x for x, y in zip(a.inputs, b.inputs)
        )
        if type(a.op) is not type(b.op) or a.dtype != b.dtype or not wired_alike:
            raise _differs(a, b)
        inputs = tuple(made[x] for x in a.inputs)
        names = a.op.attributes()
        other = b.op.attributes()
        attributes = {key: _merge(names[key], other[key], batch, a, key) for key in names}
        shape = _merge(a.shape, b.shape, batch, a, "shape")
        made[a] = SymbolicNode(a.op, inputs, shape, a.dtype, attributes, a.source)
        if position == len(left) - 1 and len(left) != len(right):
            raise _differs(a, right[-1])
    if len(left) != len(right):
        raise _differs(left[-1], right[-1])
    return SymbolicGraph(
        tuple(made[n] for n in first.inputs),
        tuple(made[n] for n in first.outputs),
        tuple(made[n] for n in left),
        first.name,
    )


def _merge(a: Any, b: Any, batch: int, node: Node, name: str) -> Any:
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(_merge(x, y, batch, node, name) for x, y in zip(a, b))
    if type(a) is type(b) and (a == b or (a != a and b != b)):
        return a
    if type(a) is int and type(b) is int:
        return Extent(b - a, a - (b - a) * batch)
    shown = (
        "a constant array" if isinstance(a, Literal) and a.array.size > 1 else f"{_value(a)} and {_value(b)}"
    )
    raise ExportError(
        f"export: the batch size is baked into {node.op.name}: {name} differs between batch {batch} and {batch + 1}",
        at=node.source, given=shown,
        fix="derive the value from a tensor (for example with a mean instead of a sum and a division by x.shape[0])",
    )  # fmt: skip


def _value(value: Any) -> str:
    return str(value.array) if isinstance(value, Literal) else str(value)


def _differs(a: Node, b: Node) -> ExportError:
    return ExportError(
        "export: the network computes something else at another batch size",
        at=a.source or b.source, given=f"{a.op.name} at one batch size, {b.op.name} at the next",
        fix="construct must not choose its operations by x.shape[0]",
    )  # fmt: skip
