"""The verifier: a graph goes in, and comes out untouched or as a VerifyError naming the first node that breaks a rule.

It runs after every pass, so a wrong rewrite is reported next to the pass that made it and not as a wrong number.
"""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

from ..errors import GraphrtError, VerifyError
from .graph import Graph
from .node import Node
from .op import Input

INPUT_KINDS = ("data", "state")


def verify(graph: Graph, after: str = "") -> None:
    """Checks that `graph` keeps the rules of the IR; `after` names the pass to blame in the message.

    - no node depends on itself; every operand is a node
    - every node's type is what its op's shape rule gives for its operands
    - `graph.inputs` are Input nodes, each once, with distinct labels, and every Input that is read is among them
    - updates go from state inputs to values of the same type

    Raises VerifyError naming the node, what was expected and what was given.
    """
    blame = f"after {after}: " if after else ""
    nodes = graph.nodes()
    number = {node: k for k, node in enumerate(nodes)}
    _check_inputs(graph, nodes, blame)
    for node in nodes:
        if not node.is_input:
            check_type(node, f"{blame}%{number[node]} {node.op.name}")
    for state, value in graph.updates.items():
        _check_update(graph, state, value, blame)


def _check_inputs(graph: Graph, nodes: list[Node], blame: str) -> None:
    labels: set[str] = set()
    for node in graph.inputs:
        op = node.op
        if not isinstance(op, Input):
            raise VerifyError(
                f"{blame}graph input is a computed value", at=node.source, expected="input", given=op.name
            )
        if op.kind not in INPUT_KINDS:
            raise VerifyError(
                f"{blame}input {op.label!r} is of an unknown kind",
                at=node.source, expected=" or ".join(INPUT_KINDS), given=op.kind,
            )  # fmt: skip
        if op.label in labels:
            raise VerifyError(f"{blame}two inputs are labelled {op.label!r}", at=node.source)
        labels.add(op.label)
    listed = set(graph.inputs)
    for node in nodes:
        if isinstance(node.op, Input) and node not in listed:
            raise VerifyError(f"{blame}input {node.op.label!r} is read but not listed", at=node.source)


def check_type(node: Node, name: str) -> None:
    """Checks one node, not an Input, against its op's operand count and shape rule; `name` begins the message."""
    given = [operand.type.describe() for operand in node.inputs]
    count = operand_count(type(node.op))  # type: ignore[arg-type]  # mypy looks for __hash__ in the class itself
    if count is not None and count != len(given):
        raise VerifyError(
            f"{name}: wrong number of operands", at=node.source, expected=count, given=len(given)
        )
    try:
        expected = node.op.infer(*(operand.type for operand in node.inputs))
    except GraphrtError as error:
        raise VerifyError(
            f"{name}: {error.message}", at=node.source, expected=error.expected, given=error.given
        ) from error
    except Exception as error:  # an operand count or attribute the shape rule never thought of
        raise VerifyError(
            f"{name}: operands or attributes do not fit: {error}", at=node.source, given=", ".join(given)
        ) from error
    if expected != node.type:
        raise VerifyError(
            f"{name}: type differs from the op's shape rule",
            at=node.source, expected=expected.describe(), given=node.type.describe(),
        )  # fmt: skip


@cache
def operand_count(op: Any) -> int | None:
    """How many operands an op takes: what its reference evaluation takes. None if it takes any number."""
    parameters = list(inspect.signature(op.evaluate).parameters.values())[1:]
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters):
        return None
    return len(parameters)


def _check_update(graph: Graph, state: Node, value: Node, blame: str) -> None:
    if not state.is_state or state not in set(graph.inputs):
        raise VerifyError(
            f"{blame}update of something that is not a state input", at=state.source, given=state.op.name
        )
    label = state.op.label  # type: ignore[attr-defined]
    if value.type != state.type:
        raise VerifyError(
            f"{blame}update of state {label!r} has another type",
            at=value.source, expected=state.type.describe(), given=value.type.describe(),
        )  # fmt: skip
