"""Nodes: an op applied to nodes, with one output of a static type and the user's source position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ..errors import GraphrtError, VerifyError
from .op import Input, Op
from .types import Source, TensorType

_current_source: ContextVar[Source | None] = ContextVar("graphrt_source", default=None)
_observer: ContextVar[Callable[[Node], Node] | None] = ContextVar("graphrt_node_observer", default=None)


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One value of a graph. Nodes compare by identity; `merge_duplicates` merges equal ones."""

    op: Op
    inputs: tuple[Node, ...]
    type: TensorType
    source: Source | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self):
        return self.type.dtype

    @property
    def is_input(self) -> bool:
        return isinstance(self.op, Input)

    @property
    def is_state(self) -> bool:
        return isinstance(self.op, Input) and self.op.kind == "state"

    def with_inputs(self, inputs: tuple[Node, ...]) -> Node:
        """This op reading other nodes of the same types; the node itself if they are the ones it reads."""
        return self if inputs == self.inputs else _made(Node(self.op, inputs, self.type, self.source))

    def __repr__(self) -> str:
        return f"<{self.op.name}: {self.type}>"


@contextmanager
def source_scope(source: Source | None) -> Iterator[None]:
    """Nodes made inside get this source position."""
    token = _current_source.set(source)
    try:
        yield
    finally:
        _current_source.reset(token)


@contextmanager
def nodes_observed(observer: Callable[[Node], Node]) -> Iterator[None]:
    """Every node made inside is shown to `observer`, which returns the node to take in its place."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


def _made(node: Node) -> Node:
    observer = _observer.get()
    return node if observer is None else observer(node)


def current_source() -> Source | None:
    """The source position new nodes get."""
    return _current_source.get()


def apply(op: Op, *inputs: Node, source: Source | None = None) -> Node:
    """The node of `op` applied to `inputs`; its type comes from the op's shape rule.

    Errors of the shape rule are completed with the source position.
    """
    source = source or current_source()
    try:
        result = op.infer(*(n.type for n in inputs))
    except GraphrtError as error:
        if error.at is None and source is not None:
            raise type(error)(
                error.message,
                cell=error.cell,
                at=source,
                expected=error.expected,
                given=error.given,
                fix=error.fix,
            ) from None
        raise
    return _made(Node(op, tuple(inputs), result, source))


def input_node(label: str, type: TensorType, kind: str = "data", source: Source | None = None) -> Node:
    """A graph input."""
    return Node(Input(label, kind), (), type, source or current_source())


def topological_order(roots: Iterable[Node]) -> list[Node]:
    """Every node reachable from `roots`, producers first; deterministic; iterative (deep graphs are fine).

    Raises VerifyError if a node is its own ancestor.
    """
    order: list[Node] = []
    done: set[int] = set()
    path: set[int] = set()  # nodes whose inputs are being visited: meeting one again is a cycle
    stack: list[tuple[Node, int]] = [(root, 0) for root in reversed(list(roots))]
    while stack:
        node, position = stack.pop()
        if id(node) in done:
            continue
        while position < len(node.inputs) and id(node.inputs[position]) in done:
            position += 1
        if position == len(node.inputs):
            done.add(id(node))
            path.discard(id(node))
            order.append(node)
        else:
            path.add(id(node))
            operand = node.inputs[position]
            if id(operand) in path:
                raise VerifyError(f"graph: {operand.op.name} depends on itself", at=operand.source)
            stack.append((node, position))
            stack.append((operand, 0))
    return order
