"""JSON and networkx views of a graph keep operand order, repeated operands and updates."""

from __future__ import annotations

import json
import math

import numpy as np

from graphrt.dtypes import float32
from graphrt.ir import Graph, Source, TensorType, apply, input_node
from graphrt.ir.export import to_json, to_networkx
from graphrt.ops import build
from graphrt.ops.views import Pad


def example() -> Graph:
    x = input_node("x", TensorType((2, 3), float32))
    w = input_node("w", TensorType((2, 3), float32), "state")
    squared = apply(build.mul(x, x).op, x, x, source=Source("net.py", 4, "net.square"))
    padded = apply(Pad((0, 0), (0, 1), (0, 0), -math.inf), squared)
    return Graph((x, w), (padded, build.constant(np.arange(100))), {w: build.sub(w, squared)}, "g")


def test_json_is_strict_and_complete() -> None:
    described = json.loads(json.dumps(to_json(example()), allow_nan=False))
    nodes = described["nodes"]
    assert [n["op"] for n in nodes] == ["input", "input", "mul", "pad", "constant", "sub"]
    assert nodes[2]["operands"] == [0, 0]
    assert nodes[2]["source"] == {"file": "net.py", "line": 4, "cell": "net.square"}
    assert nodes[3]["attributes"] == {"low": [0, 0], "high": [0, 1], "interior": [0, 0], "value": "-inf"}
    assert nodes[3]["shape"] == [2, 4]
    assert nodes[3]["bytes"] == 32
    assert nodes[4]["attributes"]["value"] == {"dtype": "int64", "shape": [100]}
    assert nodes[5]["operands"] == [1, 2]
    assert (described["inputs"], described["outputs"]) == ([0, 1], [3, 4])
    assert described["updates"] == [{"state": 1, "value": 5}]


def test_networkx_keeps_parallel_edges_and_operand_numbers() -> None:
    graph = to_networkx(example())
    assert graph.number_of_nodes() == 6
    assert sorted(data["operand"] for _, _, data in graph.in_edges(2, data=True)) == [0, 1]
    assert {source: data["operand"] for source, _, data in graph.in_edges(5, data=True)} == {1: 0, 2: 1}
    assert graph.nodes[2]["source"] == "net.py:4 in net.square"
    assert graph.nodes[3]["output"] == 0
    assert graph.nodes[1]["state"] is True
    assert graph.nodes[5]["updates"] == 1
