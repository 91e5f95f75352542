"""Gradients as a graph transform: paths, zeros, composites, sources, higher orders, and errors. (Each op's own rule is
checked against finite differences in tests/ops.)"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from random_graphs import random_graph, random_values

from graphrt.dtypes import float32, float64, int32
from graphrt.errors import ArgumentError, DTypeError, VerifyError
from graphrt.ir import (
    REGISTRY,
    Node,
    Op,
    Source,
    TensorType,
    apply,
    input_node,
    source_scope,
    topological_order,
)
from graphrt.ir.interpret import evaluate
from graphrt.ops import build
from graphrt.ops.base import CompositeOp
from graphrt.passes.differentiate import gradients


def vector(label: str = "x", size: int = 3) -> Node:
    return input_node(label, TensorType((size,), float64))


def values(nodes: list[Node], **arrays: object) -> list[list[float]]:
    inputs = [n for n in topological_order(nodes) if n.is_input]
    bound = {n: np.asarray(arrays[n.op.label], n.dtype.numpy) for n in inputs}
    return [result.tolist() for result in evaluate(nodes, bound)]


def test_product_and_chain_rule() -> None:
    x, y = vector("x"), vector("y")
    loss = build.reduce_sum(build.mul(build.mul(x, y), x))
    assert values(gradients([loss], [x, y]), x=[1, 2, 3], y=[4, 5, 6]) == [[8, 20, 36], [1, 4, 9]]


def test_cotangents_default_to_ones_and_can_be_given() -> None:
    x = vector()
    y = build.mul(x, x)
    assert values(gradients([y], [x]), x=[1, 2, 3]) == [[2, 4, 6]]
    seed = build.constant(np.array([1.0, 10.0, 100.0]))
    assert values(gradients([y], [x], [seed]), x=[1, 2, 3]) == [[2, 40, 600]]


def test_several_outputs_add_up_and_an_output_may_be_a_target() -> None:
    x = vector()
    y = build.mul(x, 3.0)
    assert values(gradients([y, x, y], [x, y]), x=[0, 0, 0]) == [[7, 7, 7], [2, 2, 2]]


def test_intermediate_target_sees_everything_behind_it() -> None:
    x = vector()
    y = build.mul(x, x)
    loss = build.reduce_sum(build.mul(y, y))
    assert values(gradients([loss], [y, x]), x=[1, 2, 3]) == [[2, 8, 18], [4, 32, 108]]


def test_no_path_gives_zeros_without_storage() -> None:
    x, other = vector(), vector("other", 5)
    (zero,) = gradients([build.reduce_sum(x)], [other])
    assert zero.type == other.type
    assert zero.op.name == "broadcast"
    assert values([zero]) == [[0] * 5]


def test_integers_and_comparisons_stop_the_gradient() -> None:
    x = vector()
    positive = build.cast(build.greater(x, 0.0), float64)
    assert values(gradients([build.reduce_sum(build.mul(positive, x))], [x]), x=[-1, 2, 3]) == [[0, 1, 1]]
    whole = build.cast(build.cast(x, int32), float64)
    assert values(gradients([whole], [x]), x=[1, 2, 3]) == [[0, 0, 0]]


def test_what_does_not_reach_a_target_is_not_differentiated() -> None:
    x, big = vector(), vector("big", 1000)
    loss = build.add(build.reduce_sum(build.exp(big)), build.reduce_sum(x))
    reached = topological_order(gradients([loss], [x]))
    assert max(n.type.size for n in reached) == 3


def test_backward_nodes_carry_the_line_of_their_forward_node() -> None:
    x = vector()
    with source_scope(Source("net.py", 3, "net.act")):
        y = build.tanh(x)
    with source_scope(Source("net.py", 4, "loss")):
        loss = build.reduce_sum(y)
    (dx,) = gradients([loss], [x])
    made = [n for n in topological_order([dx]) if n not in topological_order([loss])]
    assert {str(n.source) for n in made} >= {"net.py:3 in net.act"}
    assert dx.source == Source("net.py", 3, "net.act")


def test_gradient_of_gradient_of_gradient() -> None:
    x = vector(size=1)
    y = build.mul(build.mul(x, x), build.mul(x, x))
    orders = [y]
    for _ in range(4):
        orders += gradients([orders[-1]], [x])
    assert values(orders, x=[2.0]) == [[16], [32], [48], [48], [24]]


@pytest.fixture
def composite() -> Iterator[type[Op]]:
    """x * y squared, without a gradient rule of its own; registered only while the test runs."""

    @dataclass(frozen=True)
    class SquareOfProduct(CompositeOp):
        def infer(self, *types: TensorType) -> TensorType:
            return types[0]

        def expand(self, *x: Node) -> Node:
            product = build.mul(x[0], x[1])
            return build.mul(product, product)

    yield SquareOfProduct
    del REGISTRY["square_of_product"]


def test_composites_without_a_rule_use_their_expansion(composite: type[Op]) -> None:
    x = vector()
    other = build.add(build.mul(x, 3.0), 1.0)  # one operand is computed from the other
    for operands, expected in (((x, other), [2 * 4 * 7, 2 * 14 * 13]), ((x, x), [4 * 1, 4 * 8])):
        y = apply(composite(), *operands)
        whole = gradients([build.reduce_sum(y)], [x])
        apart = gradients([build.reduce_sum(y.op.expand(*operands))], [x])
        given = {"x": [1, 2, 3]}
        assert values(whole, **given) == values(apart, **given)
        assert values(whole, **given)[0][:2] == expected
        assert not any(n.is_input and n is not x for n in topological_order(whole))


def test_errors_name_the_place() -> None:
    x = vector()
    with source_scope(Source("net.py", 8, "net")):
        position = build.argmax(x, 0)
    with pytest.raises(DTypeError) as caught:
        gradients([position], [x])
    assert str(caught.value) == (
        "only floats have gradients\n  cell:     net\n  at:       net.py:8\n  expected: float\n  given:    int32[]"
    )
    with pytest.raises(DTypeError):
        gradients([x], [position])
    with pytest.raises(ArgumentError, match="cotangents must have the types of the outputs"):
        gradients([x], [x], [build.constant(1.0)])
    with pytest.raises(ArgumentError):
        gradients([x], [x], [])


@pytest.fixture
def wrong_rule() -> Iterator[type[Op]]:
    @dataclass(frozen=True)
    class WrongRule(Op):
        def infer(self, *types: TensorType) -> TensorType:
            return types[0]

        def vjp(self, g: Node, y: Node, *x: Node) -> tuple[Node]:
            return (build.reduce_sum(g),)

    yield WrongRule
    del REGISTRY["wrong_rule"]


def test_a_gradient_rule_of_the_wrong_type_is_caught_at_once(wrong_rule: type[Op]) -> None:
    x = vector()
    with pytest.raises(VerifyError) as caught:
        gradients([apply(wrong_rule(), x)], [x])
    assert "wrong_rule: the gradient rule gave a cotangent of another type" in str(caught.value)


@pytest.mark.parametrize("seed", range(12))
def test_random_graphs_against_finite_differences(seed: int) -> None:
    graph = random_graph(seed, nodes=8, dtype=float64, training=False)
    targets = [n for n in graph.inputs if n.dtype.is_float]
    given = {n: v for n, v in zip(graph.inputs, random_values(graph, seed).values())}
    for node in targets:  # away from 0, where relu, abs and the conditions have kinks
        given[node] = np.where(np.abs(given[node]) < 1e-3, 0.3, given[node])
    found = evaluate(gradients(graph.outputs[:1], targets), given)
    generator, step = np.random.default_rng(seed), 1e-6
    for node, gradient in zip(targets, found):
        direction = generator.normal(size=node.shape)
        ends = [
            evaluate(graph.outputs[:1], {**given, node: given[node] + s * direction})[0]
            for s in (step, -step)
        ]
        assert np.sum(gradient * direction) == pytest.approx(
            (ends[0] - ends[1]) / (2 * step), rel=1e-4, abs=1e-6
        )


def test_float32_gradients_stay_float32() -> None:
    x = input_node("x", TensorType((3,), float32))
    assert gradients([build.reduce_mean(build.exp(x))], [x])[0].type == x.type
