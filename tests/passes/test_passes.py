"""The small passes: folding limits, merging, dead state, composites, updates, and the pipeline that runs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from graphrt.dtypes import float32, uint32
from graphrt.errors import ArgumentError, VerifyError
from graphrt.ir import REGISTRY, Graph, Literal, Node, Op, Source, TensorType, apply, input_node, source_scope
from graphrt.ops import build
from graphrt.ops.base import CompositeOp
from graphrt.ops.elementwise import Add, Tanh
from graphrt.ops.views import Constant, Pad
from graphrt.passes import pipeline
from graphrt.passes.append_updates import append_updates
from graphrt.passes.expand_composites import expand_composites
from graphrt.passes.fold_constants import MAX_BYTES, fold_constants
from graphrt.passes.merge_duplicates import merge_duplicates
from graphrt.passes.remove_dead import remove_dead

F4 = TensorType((4,), float32)
X = input_node("x", F4)
W = input_node("w", F4, "state")


def array(*shape: int) -> Node:
    return build.constant(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def folded(node: Node) -> str:
    return fold_constants(Graph((X, W), (node,))).outputs[0].op.name


def test_folding_computes_chains_of_constants() -> None:
    graph = fold_constants(Graph((), (build.add(build.exp(array(3)), array(3)),)))
    assert [n.op.name for n in graph.nodes()] == ["constant"]


def test_folding_mixes_an_array_with_a_repeated_number() -> None:
    assert folded(build.mul(array(3), 0.5)) == "constant"


def test_folding_stops_at_size_work_state_and_what_needs_no_storage() -> None:
    elements = MAX_BYTES // 4
    assert folded(build.neg(array(elements))) == "constant"
    assert folded(build.neg(array(elements + 1))) == "neg"
    assert folded(build.reduce_sum(build.broadcast_to(array(1000, 1), (1000, 100_000)))) == "reduce_sum"
    assert folded(build.add(W, 1.0)) == "add"
    assert folded(build.broadcast_to(array(3), (2, 3))) == "broadcast"
    assert folded(build.iota((4,), 0)) == "iota"
    assert folded(build.sqrt(build.full((4,), 2.0))) == "sqrt"
    assert folded(build.reduce_mean(array(3))) == "reduce_mean"


def merged(*nodes: Node) -> list[Node]:
    return list(merge_duplicates(Graph((X, W), nodes)).outputs)


def test_merging_keeps_the_first_and_its_line() -> None:
    with source_scope(Source("net.py", 1)):
        first = build.tanh(X)
    with source_scope(Source("net.py", 2)):
        second = build.tanh(X)
    a, b = merged(first, second)
    assert a is b is first


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (build.add(X, W), build.add(W, X), True),
        (build.sub(X, W), build.sub(W, X), False),
        (apply(Pad((0,), (1,), (0,), 0.0), X), apply(Pad((0,), (1,), (0,), -0.0), X), False),
        (apply(Pad((0,), (1,), (0,), float("nan")), X), apply(Pad((0,), (1,), (0,), float("nan")), X), True),
        (build.constant(0.0), build.constant(-0.0), False),
        (apply(Constant(Literal(np.ones(3)))), apply(Constant(Literal(np.ones(3)))), True),
        (build.cast(X, "float64"), build.cast(X, "float16"), False),
        (build.exp(build.neg(X)), build.exp(build.neg(X)), True),
    ],
)
def test_merging_is_exact(a: Node, b: Node, same: bool) -> None:
    first, second = merged(a, b)
    assert (first is second) == same


def test_random_bits_of_one_key_merge() -> None:
    key = input_node("key", TensorType((2,), uint32), "state")
    graph = Graph(
        (key,), (build.random_bits(key, (3,)), build.random_bits(key, (3,)), build.random_bits(key, (4,)))
    )
    a, b, c = merge_duplicates(graph).outputs
    assert a is b
    assert a is not c


def test_dead_state_goes_and_data_stays() -> None:
    idle = input_node("idle", F4, "state")
    written = input_node("written", F4, "state")
    graph = remove_dead(Graph((X, W, idle, written), (build.neg(W),), {idle: idle, written: W}))
    assert [n.op.label for n in graph.inputs] == ["x", "w", "written"]
    assert list(graph.updates) == [written]


@pytest.fixture
def endless() -> Iterator[type[Op]]:
    @dataclass(frozen=True)
    class Endless(CompositeOp):
        def infer(self, *types: TensorType) -> TensorType:
            return types[0]

        def expand(self, *x: Node) -> Node:
            return apply(Endless(), *x)

    yield Endless
    del REGISTRY["endless"]


def test_expansion_reaches_composites_inside_composites_and_keeps_lines() -> None:
    with source_scope(Source("net.py", 5, "net.head")):
        loss = build.reduce_mean(build.log_softmax(build.reshape(X, (1, 4))))
    graph = expand_composites(Graph((X,), (loss,)))
    assert not any(isinstance(n.op, CompositeOp) for n in graph.nodes())
    assert {n.source for n in graph.nodes() if not n.is_input} == {Source("net.py", 5, "net.head")}


def test_expansion_that_does_not_end_is_an_error(endless: type[Op]) -> None:
    with pytest.raises(VerifyError, match="endless expands to itself"):
        expand_composites(Graph((X,), (apply(endless(), X),)))


def descend(parameters: list[Node], gradients: list[Node]) -> dict[Node, Node]:
    updates = {}
    for w, g in zip(parameters, gradients):
        moment = input_node(f"moment.{w.op.label}", w.type, "state")
        updates[moment] = build.add(build.mul(moment, 0.5), g)
        updates[w] = build.sub(w, updates[moment])
    return updates


def test_updates_bring_their_state_along() -> None:
    counter = input_node("counter", TensorType((), float32), "state")
    loss = build.reduce_sum(build.mul(W, X))
    before = Graph((X, W, counter), (loss, W), {counter: build.add(counter, 1.0)}, "step")
    after = append_updates(before, [W], descend)
    assert [n.op.label for n in after.inputs] == ["x", "w", "counter", "moment.w"]
    assert [n.op.label for n in after.updates] == ["counter", "moment.w", "w"]
    assert (after.outputs, after.name) == (before.outputs, "step")
    pipeline.run(after)


def test_updates_errors() -> None:
    with pytest.raises(ArgumentError, match="no output to minimise"):
        append_updates(Graph((W,), ()), [W], descend)
    with pytest.raises(ArgumentError, match="'w' is already updated"):
        append_updates(Graph((W,), (build.reduce_sum(W),), {W: W}), [W], descend)


def test_pipeline_records_the_given_graph_and_every_pass() -> None:
    stages: list[tuple[str, Graph]] = []
    graph = Graph((X,), (build.softmax(X),))
    result = pipeline.run(graph, lambda name, g: stages.append((name, g)))
    assert [name for name, _ in stages] == ["graph", *(name for name, _ in pipeline.PASSES)]
    assert stages[0][1] is graph
    assert stages[-1][1] is result


def wrong_type(graph: Graph) -> Graph:
    return Graph(graph.inputs, (Node(Add(), (X, X), TensorType((5,), float32)),))


def other_output(graph: Graph) -> Graph:
    return Graph(graph.inputs, (build.reduce_sum(X),))


def lost_input(graph: Graph) -> Graph:
    return Graph((), (build.zeros((4,)),))


def new_state(graph: Graph) -> Graph:
    return Graph((*graph.inputs, W), graph.outputs)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (wrong_type, "after broken: %1 add: type differs from the op's shape rule"),
        (other_output, "after broken: outputs changed\n  expected: float32[4]\n  given:    float32[]"),
        (lost_input, "after broken: data_inputs changed"),
        (new_state, "after broken: inputs appeared that the graph did not have\n  given:    w"),
    ],
)
def test_pipeline_blames_the_pass_that_broke_the_graph(broken: pipeline.Pass, message: str) -> None:
    graph = Graph((X,), (apply(Tanh(), X),))
    with pytest.raises(VerifyError) as caught:
        pipeline.run(graph, passes=[("broken", broken)])
    assert message in str(caught.value)
