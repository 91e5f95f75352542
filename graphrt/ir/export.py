"""Graphs for other tools: a JSON-ready dict, and a networkx graph for DOT, GraphML and analyses.

In: a Graph. Out: plain Python values, or a `networkx.MultiDiGraph` whose edges know the operand number (a node may
read the same value twice, and the order of operands matters, so neither may be lost).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..dtypes import DType
from .graph import Graph
from .node import Node
from .text import VERSION, attribute_texts
from .types import Literal

if TYPE_CHECKING:
    import networkx

JSON_ARRAY_LIMIT = 64  # larger constant arrays are described by type only


def to_json(graph: Graph) -> dict[str, Any]:
    """The graph as dicts, lists, strings and finite numbers, ready for `json.dumps(..., allow_nan=False)`."""
    number = {node: k for k, node in enumerate(graph.nodes())}
    return {
        "version": VERSION,
        "name": graph.name,
        "nodes": [_node_json(node, number) for node in number],
        "inputs": [number[n] for n in graph.inputs],
        "outputs": [number[n] for n in graph.outputs],
        "updates": [{"state": number[s], "value": number[v]} for s, v in graph.updates.items()],
    }


def to_networkx(graph: Graph) -> networkx.MultiDiGraph:
    """Nodes are numbered as in the text; edges run from producer to consumer with the attribute `operand`.

    Node attributes: op, attributes, type, bytes, source, label, and output/state/updates where they apply.
    """
    import networkx

    result = networkx.MultiDiGraph(name=graph.name)
    number = {node: k for k, node in enumerate(graph.nodes())}
    for node, k in number.items():
        attributes = ", ".join(attribute_texts(node.op))
        result.add_node(
            k,
            op=node.op.name,
            attributes=attributes,
            type=str(node.type),
            bytes=node.type.bytes,
            source=str(node.source or ""),
            label=f"%{k} {node.op.name}\n{node.type}",
        )
        for operand, producer in enumerate(node.inputs):
            result.add_edge(number[producer], k, operand=operand)
    for position, node in enumerate(graph.outputs):
        result.nodes[number[node]]["output"] = position
    for state, value in graph.updates.items():
        result.nodes[number[state]]["state"] = True
        result.nodes[number[value]]["updates"] = number[state]
    return result


def _node_json(node: Node, number: dict[Node, int]) -> dict[str, Any]:
    source = node.source
    return {
        "id": number[node],
        "op": node.op.name,
        "operands": [number[i] for i in node.inputs],
        "attributes": {name: _value_json(value) for name, value in node.op.attributes().items()},
        "shape": list(node.shape),
        "dtype": node.dtype.name,
        "bytes": node.type.bytes,
        "source": {"file": source.file, "line": source.line, "cell": source.cell} if source else None,
    }


def _value_json(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_value_json(v) for v in value]
    if isinstance(value, DType):
        return value.name
    if isinstance(value, Literal):
        described = {"dtype": value.type.dtype.name, "shape": list(value.type.shape)}
        if value.array.size <= JSON_ARRAY_LIMIT:
            described["data"] = _value_json([x.item() for x in value.array.ravel()])
        return described
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)  # JSON has no infinity
    return value
