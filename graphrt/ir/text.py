"""The text form of graphs: what the dump shows, what golden tests compare, what parses back to an equal graph.

In: a Graph (`to_text`) or its text (`parse`). Out: deterministic text, or the Graph. The form is line by line:

    graphrt ir 1
    graph "step"
    %0 = input(label="x", kind="data") : f32[32,10]  # 1.2 KiB
    %1 = reduce_sum(%0, axes=(1,), keepdims=False) : f32[32] @ "model.py":14 "net.fc1"  # 128 B
    return %1
    update %2 = %3

Operands come first, attributes by name after them; the element type and shape follow `:`, the user's file, line and
Cell path follow `@` (left out where unknown). Text from `#` to the end of a line is a comment. Arrays are spelled with
their type: `f32[2](0.5, 1.0)`, larger ones as `f32[1000](base64="...")`.

Text may come from anywhere, so `parse` executes none of it, works in time and memory proportional to its length, and
answers every mistake with a ParseError that names the line.
"""

from __future__ import annotations

import json
import math
import types
import typing
from dataclasses import fields
from functools import cache
from typing import Any

from ..errors import GraphrtError, ParseError, VerifyError
from .graph import Graph
from .node import Node
from .op import Op, find_op
from .spelling import Line, clip, read_natural, read_string, read_type, read_value, value_text
from .types import Source
from .verify import check_type, verify

VERSION = 1
HEADER = f"graphrt ir {VERSION}"
MAX_LINES = 1_000_000


# Printing


def to_text(graph: Graph) -> str:
    """The text of `graph`, one node per line, producers first. The same graph always gives the same text."""
    number = {node: k for k, node in enumerate(graph.nodes())}
    lines = [HEADER, f"graph {json.dumps(graph.name)}"]
    for node, k in number.items():
        arguments = ", ".join([f"%{number[i]}" for i in node.inputs] + attribute_texts(node.op))
        source = f" @ {_source_text(node.source)}" if node.source else ""
        size = readable_bytes(node.type.bytes)
        lines.append(f"%{k} = {node.op.name}({arguments}) : {node.type}{source}  # {size}")
    lines.append("return " + ", ".join(f"%{number[n]}" for n in graph.outputs))
    lines += [f"update %{number[state]} = %{number[value]}" for state, value in graph.updates.items()]
    return "\n".join(lines) + "\n"


def attribute_texts(op: Op) -> list[str]:
    """The attributes of `op` as `name=value` in declaration order."""
    return [f"{name}={value_text(value)}" for name, value in op.attributes().items()]


def readable_bytes(count: int) -> str:
    """128 B, 1.5 KiB, 20.0 MiB, ..."""
    if count < 1024:
        return f"{count} B"
    scale = min(int(math.log2(count)) // 10, 6)
    return f"{count / 1024**scale:.1f} {'KMGTPE'[scale - 1]}iB"


def _source_text(source: Source) -> str:
    cell = f" {json.dumps(source.cell)}" if source.cell else ""
    return f"{json.dumps(source.file)}:{source.line}{cell}"


# Parsing


def parse(text: str) -> Graph:
    """The graph that `to_text` printed. Raises ParseError naming the line for anything else."""
    if text.count("\n") > MAX_LINES:
        raise ParseError("graph text is too long", expected=f"at most {MAX_LINES} lines")
    lines = text.split("\n")
    if lines[0].strip() != HEADER:
        raise ParseError(
            "graph text, line 1: not a graph of this version", expected=HEADER, given=clip(lines[0])
        )
    name: str | None = None
    nodes: dict[str, Node] = {}
    outputs: tuple[Node, ...] | None = None
    updates: dict[Node, Node] = {}
    for number, content in enumerate(lines[1:], start=2):
        line = Line(content, number)
        if line.kind == "end":
            continue
        if name is None:
            line.take("word", "graph")
            name = read_string(line)
        elif line.kind == "node" and outputs is None:
            key = line.take("node")
            if key in nodes:
                raise line.error(f"{clip(key)} is defined twice")
            line.take("mark", "=")
            nodes[key] = _node(line, nodes)
        elif line.kind == "word" and line.token == "return" and outputs is None:
            line.take("word")
            outputs = _operands(line, nodes)
        elif line.kind == "word" and line.token == "update" and outputs is not None:
            line.take("word")
            state = _operand(line, nodes)
            line.take("mark", "=")
            if state in updates:
                raise line.error("a state is updated twice")
            updates[state] = _operand(line, nodes)
        else:
            raise line.error("unexpected text", expected="a node" if outputs is None else "an update")
        line.take("end")
    if name is None or outputs is None:
        raise ParseError("graph text ends too early", expected='graph "name", nodes, return')
    graph = Graph(tuple(n for n in nodes.values() if n.is_input), outputs, updates, name)
    try:
        verify(graph)
    except GraphrtError as error:
        raise ParseError(
            f"graph text: {error.message}",
            at=error.at,
            cell=error.cell,
            expected=error.expected,
            given=error.given,
        ) from None
    return graph


def _node(line: Line, nodes: dict[str, Node]) -> Node:
    """`op(operands, attributes) : type @ source`"""
    name = line.take("word")
    cls = find_op(name)
    if cls is None:
        raise line.error(f"unknown op {clip(name)}")
    line.take("mark", "(")
    operands: list[Node] = []
    attributes: dict[str, Any] = {}
    while not line.at(")"):
        if line.kind == "node" and not attributes:
            operands.append(_operand(line, nodes))
        else:
            attribute = line.take("word")
            if attribute in attributes:
                raise line.error(f"{name}: attribute {clip(attribute)} is given twice")
            line.take("mark", "=")
            attributes[attribute] = read_value(line)
        if not line.skip(","):
            break
    line.take("mark", ")")
    line.take("mark", ":")
    type = read_type(line)
    source = _source(line) if line.skip("@") else None
    node = Node(_make_op(line, cls, attributes), tuple(operands), type, source)
    if node.is_input and operands:
        raise line.error("input: takes no operands")
    if not node.is_input:
        try:
            check_type(node, name)
        except VerifyError as error:
            raise line.error(error.message, error.expected, error.given) from None
    return node


def _make_op(line: Line, cls: type[Op], attributes: dict[str, Any]) -> Op:
    hints = _attribute_types(cls)  # type: ignore[arg-type]  # mypy looks for __hash__ in the class itself
    for attribute, value in attributes.items():
        if attribute not in hints:
            raise line.error(
                f"{cls.name}: unknown attribute {clip(attribute)}",
                expected=", ".join(hints) or "no attributes", given=attribute,
            )  # fmt: skip
        if not _conforms(value, hints[attribute]):
            raise line.error(
                f"{cls.name}: attribute {attribute} has a value of another type",
                expected=hints[attribute], given=value_text(value),
            )  # fmt: skip
    try:
        return cls(**attributes)
    except Exception as error:  # a missing attribute, or one the op's own checks refuse
        raise line.error(f"{cls.name}: {clip(error)}") from None


def _operand(line: Line, nodes: dict[str, Node]) -> Node:
    key = line.take("node")
    if key not in nodes:
        raise line.error(f"{clip(key)} is used before it is defined")
    return nodes[key]


def _operands(line: Line, nodes: dict[str, Node]) -> tuple[Node, ...]:
    result = []
    while line.kind == "node":
        result.append(_operand(line, nodes))
        if not line.skip(","):
            break
    return tuple(result)


def _source(line: Line) -> Source:
    file = read_string(line)
    line.take("mark", ":")
    number = read_natural(line)
    return Source(file, number, read_string(line) if line.kind == "string" else "")


# Attribute types, from the annotations of the op's dataclass


@cache
def _attribute_types(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _conforms(value: Any, hint: Any) -> bool:
    """Whether an attribute value is of the annotated type (an int is also a float, a bool is not an int)."""
    if hint is Any:
        return True
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_conforms(value, option) for option in typing.get_args(hint))
    if origin is tuple:
        items = typing.get_args(hint)
        if not isinstance(value, tuple):
            return False
        if len(items) == 2 and items[1] is Ellipsis:
            return all(_conforms(v, items[0]) for v in value)
        return len(items) == len(value) and all(map(_conforms, value, items))
    if hint is float:
        return value.__class__ in (float, int)
    if hint is None or hint is type(None):
        return value is None
    if isinstance(hint, type):
        return value.__class__ is hint
    return True  # a looser annotation than the ones above: left to the op's own checks
