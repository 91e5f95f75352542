"""What shares a kernel, what is updated in place, and what must not be."""

from __future__ import annotations

import numpy as np
import pytest
from differential import mismatch

from graphrt.ir import Graph, Node
from graphrt.ops import build
from graphrt.ops.copy import Copy
from graphrt.schedule.plan import Schedule

from .networks import dense_step, momentum, scheduled, sgd, state, tensor


def stores(planned: Schedule) -> list[list[str]]:
    """Per kernel the ops of its stored results, the anchor's first where there is one."""
    return [[g.lead.op.name, *(n.op.name for n in g.stores if n is not g.lead)] for g in planned.groups]


def arena(planned: Schedule) -> list[Node]:
    return [n for n, slot in planned.slots.items() if slot.kind == "arena"]


def check_values(graph: Graph) -> None:
    """Native results with NaN in the temporaries, on 1 and 2 threads."""
    generator = np.random.default_rng(0)
    values = {n.op.label: generator.integers(0, 4, n.shape).astype(n.dtype.numpy) for n in graph.inputs}
    for threads in (1, 2):
        assert mismatch(graph, values, exact=True, threads=threads, poison=True) is None


# ---- epilogues -------------------------------------------------------------------------------------------------


def dense_with_activation(batch: int) -> Graph:
    x, w, b = tensor("x", batch, 40), state("w", 40, 30), state("b", 30)
    return Graph((x, w, b), (build.relu(build.add(build.matmul(x, w), b)),), {}, "dense")


def test_product_bias_and_activation_are_one_kernel() -> None:
    planned = scheduled(dense_with_activation(5))
    assert stores(planned) == [["mat_mul", "relu"]]
    assert not arena(planned)


def test_product_bias_and_activation_are_one_kernel_for_samples_in_lanes() -> None:
    planned = scheduled(dense_with_activation(32))
    assert ["mat_mul", "relu"] in stores(planned)


def test_inner_layers_are_one_kernel_each_for_samples_in_lanes() -> None:
    planned = scheduled(dense_step(32, sizes=(48, 40, 10)))
    assert stores(planned)[:3] == [["copy"], ["mat_mul", "relu"], ["mat_mul", "add"]]


def test_elementwise_chains_are_one_kernel_with_every_result() -> None:
    x, y = tensor("x", 50, 40), tensor("y", 50, 40)
    total = build.add(build.mul(x, y), 1.0)
    planned = scheduled(Graph((x, y), (build.relu(total), build.tanh(total), total), {}, "chain"))
    assert len(planned.groups) == 1
    assert len(planned.groups[0].stores) == 3
    assert not arena(planned)


def test_a_transposed_reader_does_not_join() -> None:
    """It would read elements another iteration computes."""
    x = tensor("x", 20, 20)
    product = build.matmul(x, x)
    graph = Graph((x,), (build.add(product, build.transpose(product)),), {}, "transposed")
    planned = scheduled(graph)
    assert len(planned.groups) > 1
    check_values(graph)


def test_cheap_work_before_a_sum_is_not_stored() -> None:
    x, y = tensor("x", 50, 40), tensor("y", 50, 40)
    planned = scheduled(Graph((x, y), (build.reduce_sum(build.mul(build.sub(x, y), 2.0), 1),), {}, "sum"))
    assert [g.lead.op.name for g in planned.groups] == ["reduce_sum"]
    assert not arena(planned)


def test_operands_of_a_product_are_computed_once() -> None:
    """An expensive function inside a contraction would be evaluated once per use."""
    x, w = tensor("x", 40, 40), tensor("w", 40, 40)
    planned = scheduled(Graph((x, w), (build.matmul(build.exp(x), w),), {}, "exp"))
    assert any(g.anchor is None and any(n.op.name == "exp" for n in g.members) for g in planned.groups)


def test_no_cycle_through_a_sum() -> None:
    """x - sum(x): the second reader of the product must wait for the reduction of the first."""
    x, w = tensor("x", 20, 30), tensor("w", 30, 20)
    product = build.matmul(x, w)
    graph = Graph((x, w), (build.sub(product, build.reduce_sum(product, 1, True)),), {}, "centre")
    planned = scheduled(graph)
    order = [g.lead.op.name for g in planned.groups]
    assert order.index("mat_mul") < order.index("reduce_sum") < len(order) - 1
    check_values(graph)


def test_groups_come_after_what_they_read() -> None:
    for graph in (dense_step(), dense_step(optimizer=momentum)):
        written: set[Node] = set()
        planned = scheduled(graph)
        stored = {n for g in planned.groups for n in g.stores}
        for group in planned.groups:
            read = (set(group.reads) | group.anchor_reads) & stored - set(group.stores)
            assert read <= written
            written |= set(group.stores)
        assert stored == written


# ---- updates ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [sgd, momentum])
def test_updates_join_the_gradients_kernel(optimizer) -> None:
    """No parameter-sized temporary: the gradient only exists in registers."""
    planned = scheduled(dense_step(batch=8, sizes=(96, 80, 64), optimizer=optimizer))
    parameters = [n for n in planned.graph.inputs if n.is_state and len(n.shape) == 2]
    assert min(n.type.size for n in parameters) > 8 * 96
    layout_copies = [n for n in arena(planned) if isinstance(n.op, Copy) and n.op.reason == "layout"]
    gradients = [n for n in arena(planned) if n.type.size >= 64 * 80 and n not in layout_copies]
    assert not gradients
    for w in parameters:
        (group,) = [g for g in planned.groups if planned.graph.updates[w] in g.stores]
        assert group.anchor is not None and group.anchor.op.name == "mat_mul"


@pytest.mark.parametrize("batch", [32, 64])
def test_with_samples_in_lanes_no_parameter_is_copied(batch: int) -> None:
    planned = scheduled(dense_step(batch=batch, sizes=(200, 180, 150)))
    smallest = min(n.type.size for n in planned.graph.inputs if n.is_state and len(n.shape) == 2)
    assert all(n.type.size < smallest for n in arena(planned))


def deferred(planned: Schedule) -> set[str]:
    """States written by a copy at the end."""
    return {
        s.op.label
        for s, v in planned.graph.updates.items()
        if isinstance(v.op, Copy) and v.op.reason == "update"
    }


def test_an_elementwise_update_is_in_place() -> None:
    w, x = state("w", 30, 30), tensor("x", 30, 30)
    graph = Graph((w, x), (), {w: build.add(build.mul(w, 0.5), x)}, "decay")
    planned = scheduled(graph)
    assert not deferred(planned) and not arena(planned) and len(planned.groups) == 1
    check_values(graph)


def unsafe_graphs() -> dict[str, tuple[Graph, set[str]]]:
    w, x = state("w", 20, 20), tensor("x", 20, 20)
    product = build.matmul(w, x)
    return {
        "transposed": (Graph((w,), (), {w: build.transpose(w)}, "g"), {"w"}),
        "transposed sum": (Graph((w,), (), {w: build.add(w, build.transpose(w))}, "g"), {"w"}),
        "reversed": (Graph((w,), (), {w: build.reverse(w, 1)}, "g"), {"w"}),
        "shifted": (
            Graph((w,), (), {w: build.concat([build.getitem(w, slice(1, None)), build.getitem(w, slice(0, 1))])}, "g"),
            {"w"},
        ),
        "product with itself": (Graph((w, x), (), {w: product}, "g"), {"w"}),
        "product and itself": (Graph((w, x), (), {w: build.add(w, product)}, "g"), {"w"}),
    }  # fmt: skip


@pytest.mark.parametrize("name", unsafe_graphs())
def test_updates_that_read_other_positions_go_through_a_copy(name: str) -> None:
    graph, expected = unsafe_graphs()[name]
    assert deferred(scheduled(graph)) == expected
    check_values(graph)


def test_swapped_states() -> None:
    w, v = state("w", 20, 30), state("v", 20, 30)
    graph = Graph((w, v), (build.add(w, 1.0),), {w: v, v: w}, "swap")
    assert deferred(scheduled(graph))
    check_values(graph)


def test_three_states_in_a_ring() -> None:
    a, b, c = (state(n, 17) for n in "abc")
    updates = {a: build.add(b, 1.0), b: build.add(c, 1.0), c: build.add(a, 1.0)}
    check_values(Graph((a, b, c), (), updates, "ring"))


def test_readers_of_the_old_value_run_before_the_update() -> None:
    """The product needs w as it was, whatever the order in which things are written down."""
    w, x = state("w", 30, 30), tensor("x", 30, 30)
    graph = Graph((w, x), (build.matmul(x, w), build.reduce_sum(w, 0)), {w: build.mul(w, 0.5)}, "reader")
    planned = scheduled(graph)
    writer = next(k for k, g in enumerate(planned.groups) if planned.graph.updates[w] in g.stores)
    for number, group in enumerate(planned.groups):
        if w in group.reads or w in group.anchor_reads:
            assert number <= writer
    check_values(graph)


def test_a_reader_that_depends_on_the_update_forces_a_copy() -> None:
    """The second kernel reads the new value and, elsewhere, the old one: w cannot be overwritten between them."""
    w, x = state("w", 20, 20), tensor("x", 20, 20)
    new = build.add(w, x)
    graph = Graph((w, x), (build.matmul(new, w),), {w: new}, "both")
    assert deferred(scheduled(graph)) == {"w"}
    check_values(graph)


# ---- roots -----------------------------------------------------------------------------------------------------


def test_outputs_that_are_inputs_constants_or_twice_the_same() -> None:
    x, w = tensor("x", 5, 4), state("w", 5, 4)
    total = build.add(x, w)
    table = build.constant(np.arange(6, dtype=np.float32))
    graph = Graph((x, w), (x, w, total, total, table, table, x), {w: total}, "roots")
    planned = scheduled(graph)
    assert len({planned.slots[n] for n in planned.graph.outputs}) == 7
    check_values(graph)


def test_a_state_that_keeps_its_value() -> None:
    w, v = state("w", 5), state("v", 5)
    check_values(Graph((w, v), (), {w: w, v: w}, "kept"))


def test_unread_inputs_and_empty_graphs() -> None:
    x, w = tensor("x", 5), state("w", 5)
    check_values(Graph((x, w), (), {}, "nothing"))
    check_values(Graph((x, w), (build.constant(3.0),), {}, "number"))


def test_long_chains_are_cut() -> None:
    x = tensor("x", 20)
    y = x
    for _ in range(300):
        y = build.add(build.mul(y, 0.5), x)
    planned = scheduled(Graph((x,), (y,), {}, "deep"))
    assert 1 <= len(arena(planned)) + len(planned.groups) < 60
