"""The verifier names the first node that breaks a rule; graph walks survive depth and refuse cycles."""

from __future__ import annotations

import numpy as np
import pytest

from graphrt.dtypes import float32, float64
from graphrt.errors import VerifyError
from graphrt.ir import Graph, Input, Node, Source, TensorType, apply, input_node, rewrite, topological_order
from graphrt.ir.interpret import evaluate
from graphrt.ir.verify import operand_count, verify
from graphrt.ops import build
from graphrt.ops.elementwise import Add, Tanh
from graphrt.ops.views import Concat, Iota

F4 = TensorType((4,), float32)
X = input_node("x", F4)
W = input_node("w", F4, "state")


def message(graph: Graph, after: str = "") -> str:
    with pytest.raises(VerifyError) as caught:
        verify(graph, after)
    return str(caught.value)


def test_a_good_graph_passes() -> None:
    verify(Graph((X, W), (build.add(X, W),), {W: build.tanh(W)}))


def test_wrong_type_names_pass_node_place_and_both_types() -> None:
    wrong = Node(Tanh(), (X,), TensorType((4,), float64), Source("net.py", 3, "net.act"))
    assert message(Graph((X,), (wrong,)), after="simplify") == (
        "after simplify: %1 tanh: type differs from the op's shape rule\n"
        "  cell:     net.act\n"
        "  at:       net.py:3\n"
        "  expected: float32[4]\n"
        "  given:    float64[4]"
    )


def test_operands_the_shape_rule_refuses() -> None:
    other = input_node("y", TensorType((5,), float32))
    assert "%2 add: add: operands must have one shape" in message(
        Graph((X, other), (Node(Add(), (X, other), F4),))
    )


@pytest.mark.parametrize("operands", [(), (X, X)])
def test_wrong_number_of_operands(operands: tuple[Node, ...]) -> None:
    text = message(Graph((X,), (Node(Tanh(), operands, F4),)))
    assert f"tanh: wrong number of operands\n  expected: 1\n  given:    {len(operands)}" in text


def test_operand_counts_come_from_the_evaluation_rule() -> None:
    assert [operand_count(op) for op in (Iota, Tanh, Add, Concat)] == [0, 1, 2, None]


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (Graph((), (build.tanh(X),)), "input 'x' is read but not listed"),
        (Graph((X, X), (X,)), "two inputs are labelled 'x'"),
        (Graph((X, input_node("x", F4)), (X,)), "two inputs are labelled 'x'"),
        (Graph((X, build.tanh(X)), (X,)), "graph input is a computed value"),
        (Graph((Node(Input("k", "odd"), (), F4),), ()), "input 'k' is of an unknown kind"),
        (Graph((X,), (X,), {X: X}), "update of something that is not a state input"),
        (Graph((X,), (X,), {W: X}), "update of something that is not a state input"),
        (Graph((X, W), (X,), {W: build.reduce_sum(X)}), "update of state 'w' has another type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_inputs_and_updates(graph: Graph, expected: str) -> None:
    assert expected in message(graph)


def test_a_cycle_is_refused_not_walked_forever() -> None:
    first = Node(Tanh(), (X,), F4)
    second = Node(Tanh(), (first,), F4)
    object.__setattr__(first, "inputs", (second,))
    assert "depends on itself" in message(Graph((X,), (second,)))


def test_deep_graphs_do_not_recurse() -> None:
    node = X
    for _ in range(20_000):
        node = apply(Tanh(), node)
    graph = Graph((X,), (node,))
    verify(graph)
    assert len(graph.nodes()) == 20_001
    assert rewrite(graph, lambda node, inputs: None) == graph


def test_order_is_producers_first_and_each_node_once() -> None:
    a = build.tanh(X)
    b = build.add(a, a)
    assert topological_order([b, a]) == [X, a, b]
    assert evaluate([b], {X: np.zeros(4, np.float32)})[0].tolist() == [0.0] * 4


def test_rewrite_keeps_nodes_that_do_not_change() -> None:
    kept, changed = build.tanh(X), build.neg(X)
    graph = Graph((X,), (kept, build.exp(changed)))
    new = rewrite(graph, lambda node, inputs: build.abs(inputs[0]) if node is changed else None)
    assert new.outputs[0] is kept
    assert new.outputs[1].inputs[0].op.name == "abs"
